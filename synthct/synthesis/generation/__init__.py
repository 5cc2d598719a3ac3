"""Images and masks from noise: one pair, many, a way between two, and whether a patient is repeated."""
