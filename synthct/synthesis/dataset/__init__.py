"""Label maps with planted nodules and their CTs, volume by volume."""
