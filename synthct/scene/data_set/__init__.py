"""Step 4 of LabelToCT: a data set made by a job, resumed, opened."""
