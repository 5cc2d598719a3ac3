"""A trained model applied: the model file, translation of a volume, devices, the warm worker."""
