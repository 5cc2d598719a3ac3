"""How sure a model is, voxel by voxel, and whether that is right."""
