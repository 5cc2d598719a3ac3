"""Step 3 of LabelToCT: the label map becomes a CT, after an edit only where it changed."""
