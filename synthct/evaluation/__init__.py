"""How far a synthetic CT is from its reference: scores that carry their definitions."""
