"""A synthetic CT against its reference: one pair, or many."""
