"""Lists of scores summed up, compared and tested."""
