"""A segmentation network learns on patches of CTs."""
