"""A cohort of cases: manifest, checks, preparation, split, cache, slices and augmentation."""
