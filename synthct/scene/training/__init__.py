"""The section "Training": cases, recipe, the run and its curves."""
