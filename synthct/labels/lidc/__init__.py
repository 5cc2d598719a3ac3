"""LIDC-IDRI: annotations of four readers into nodules on a CT's grid."""
