"""Sets of images compared by their features."""
