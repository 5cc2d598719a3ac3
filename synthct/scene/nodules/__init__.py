"""Step 2 of LabelToCT: nodules planted by a click, previewed, listed, undone."""
