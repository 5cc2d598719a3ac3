"""SynthEval: a pair, a cohort and doses judged, as tables, curves and maps of the scene."""
