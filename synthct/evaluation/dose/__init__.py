"""What a synthetic CT does to the dose: two doses compared, and without any the water-equivalent path."""
