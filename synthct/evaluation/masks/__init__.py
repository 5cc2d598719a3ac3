"""A segmentation against its reference mask."""
