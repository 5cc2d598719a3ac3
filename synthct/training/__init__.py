"""The run: loop, checkpoints, events, validation on whole volumes, model selection."""
