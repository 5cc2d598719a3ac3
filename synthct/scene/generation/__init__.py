"""Generate pairs, in LabelToCT: volumes with masks from noise, and the way between two seeds."""
