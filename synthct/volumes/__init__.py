"""Read, write, compare and resample images; body mask, registration, bias field and intensity scalings."""
