"""Step 1 of LabelToCT: a CT or a segmentation becomes a label map of a table of classes."""
