"""Network architectures: one file each, nothing but torch.nn. They never read files."""
