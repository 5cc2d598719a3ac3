"""Training methods: one file each, readable beside its paper. They never know where a batch came from."""
