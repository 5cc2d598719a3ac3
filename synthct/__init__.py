"""SyntheticCT: synthetic CT from MR and from label maps. Research software, not a medical device."""

__version__ = "0.1.0"
