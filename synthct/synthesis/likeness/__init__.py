"""Whether an input is like what a model was trained on."""
