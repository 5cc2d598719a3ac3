"""Whether a segmentation network gets better with synthetic data."""
