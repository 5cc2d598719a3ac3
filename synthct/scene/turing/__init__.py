"""SynthEval: the visual Turing test."""
