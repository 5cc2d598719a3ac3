"""SynthEval: masks against reference masks, and the experiment whether a network finds more with synthetic data."""
