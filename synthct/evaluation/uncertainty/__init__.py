"""Whether predicted standard deviations are worth anything."""
