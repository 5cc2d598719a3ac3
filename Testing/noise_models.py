"""Models from noise with random weights, for the tests of everything that uses one."""

from synthct.networks.registry import build_network
from synthct.synthesis.model_file import save_model


def model_at(folder, size=(8, 16, 16), masks="channel", classes=(), seed=0, network=None):
    """A model from noise on disk with random weights; without ``network`` a small DCGAN."""
    network = network or {"name": "dcgan-generator", "width": 4, "levels": 1, "norm": "none", "initialisation": "he"}
    if classes:
        network["classes"] = len(classes)
    channels = 2 if masks == "channel" else 1
    card = {
        "name": "tiny",
        "task": "noise-to-ct",
        "input": "noise",
        "target": "CT",
        "network": network,
        "in_channels": 5,
        "out_channels": channels,
        "latent_shape": [5],
        "channels": ["image"] if masks == "none" else ["image", "mask"],
        "masks": masks,
        "mask_scaling": None if masks == "none" else {"name": "hagan-mask-binary"},
        "target_scaling": {"name": "hagan-ct"},
        "fit": "centre",
        "planes": ["axial"],
        "size": list(size),
        "spacing": [1.5, 2.0, 3.0],
        "hu_range": [-1024, 600],
        "class_names": list(classes),
    }
    save_model(folder, build_network(network, 5, channels, tuple(size), seed=seed), card)
    return folder
