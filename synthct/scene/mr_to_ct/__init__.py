"""What MRtoCT alone has: synthesis, bulk densities, water-equivalent depth, checks, uncertainty, DICOM export."""
