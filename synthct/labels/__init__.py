"""Label maps, nodules and where they come from."""
