"""What looks at images so that sets of them can be compared: a trained classifier, weights given by hand, statistics.

All take one channel: a mask goes through the same network as an image, scaled by its own scaling, and a pair is the
features of its image followed by those of its mask. Nothing is ever downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from synthct.errors import UserError
from synthct.evaluation.distribution.image_statistics import SPREAD_FLOOR, image_statistics
from synthct.networks.registry import build_network
from synthct.networks.resnet_classifier import DEPTHS, pooled_features
from synthct.options import typed
from synthct.recipe import CLASS_TASK, Data, Preparation
from synthct.synthesis.card import PICKLES
from synthct.synthesis.model_file import load_model
from synthct.synthesis.predictor import is_out_of_memory
from synthct.synthesis.weights_hash import checked_hash

STATISTICS = "statistics"
SIZE = (64, 64, 64)
"""Slices, rows and columns that images are brought to where no model says it; single slices to the last two."""
_CT, _MASKS = {"name": "hagan-ct"}, {1: {"name": "hagan-mask-binary"}, 2: {"name": "hagan-mask"}}


@dataclass(frozen=True)
class FeatureModel:
    """How images become rows of numbers.

    Parameters
    ----------
    name
        For a person.
    definition
        What the features are, in one or two sentences.
    data
        How an image comes to the network: size, fit, scalings.
    network
        None: `image_statistics`.
    sha256
        Of the network's weights.
    classes
        That it tells; empty: none.
    class_of
        What of a case they are: diagnosis or centre.
    """

    name: str
    definition: str
    data: Data
    preparation: Preparation = field(default_factory=Preparation)
    network: nn.Module | None = None
    sha256: str | None = None
    classes: tuple[str, ...] = ()
    class_of: str = "diagnosis"

    @property
    def standardised(self) -> bool:
        """Whether features are brought to the mean and spread of the real images before they are compared."""
        return self.network is None

    def of(
        self, samples: NDArray[np.float32], device: torch.device
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return features (samples, features) of one channel and the probabilities of the classes, if it has any.

        Parameters
        ----------
        samples
            (samples, \\*size), scaled.
        """
        if self.network is None:
            return np.stack([image_statistics(sample[None]) for sample in samples]).astype(np.float32), None
        images = torch.from_numpy(np.ascontiguousarray(samples))[:, None]
        try:
            found, shares = pooled_features(self.network.to(device), images.to(device))
        except RuntimeError as error:
            if device.type == "cpu" or not is_out_of_memory(error):
                raise
            found, shares = pooled_features(self.network.cpu(), images)  # slower, and it fits
        return found.cpu().numpy(), None if shares is None else shares.cpu().numpy()

    def scaled(self, features: NDArray[Any], real: NDArray[Any]) -> NDArray[np.float64]:
        """Return features as they are compared: where `standardised` from the mean of ``real`` in units of its spread.

        A kernel distance depends on where 0 is; the others do not.
        """
        if not self.standardised:
            return np.asarray(features, np.float64)
        reference = np.asarray(real, np.float64)
        return (features - reference.mean(axis=0)) / np.maximum(reference.std(axis=0), SPREAD_FLOOR)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that name it in a report."""
        return {
            "name": self.name,
            "definition": self.definition,
            "sha256": self.sha256,
            "classes": list(self.classes),
            "size": list(self.data.size),
            "fit": self.data.fit,
            "scaling": dict(self.data.target_scaling),
            "mask_scaling": dict(self.data.mask_scaling),
        }


def open_features(
    features: str, network: str | None, size: tuple[int, ...] | None, flat: bool, mask_values: int | None
) -> FeatureModel:
    """Return what ``--features`` names.

    Parameters
    ----------
    features
        ``statistics``; a model or run of the task ct-to-class, or the name of an installed one; or, with ``network``, a
        safetensors file.
    network
        ``resnet10`` to ``resnet200``: what the weights in a file are of.
    size
        That images are brought to; a trained model says its own, and this must be None.
    flat
        Whether the images are single slices.
    mask_values
        Highest value in masks, 1 or 2; None: as the model was told, else 1.

    Raises
    ------
    UserError
        Unknown, of another task, a pickle, weights that do not fit, or a size where the model has its own.
    """
    if features == STATISTICS or network is not None:
        data = Data(
            size=size or (SIZE[1:] if flat else SIZE),
            fit="resize",
            target_scaling=_CT,
            mask_scaling=_MASKS[mask_values or 1],
        )
        if network is None:
            return _statistics(data)
        if features == STATISTICS:
            raise UserError("--features statistics has no network.", todo="Leave out --network.")
        return _given(Path(features), network, data)
    if Path(features).suffix.lower() == ".safetensors" and not Path(features).with_name("model.json").is_file():
        raise UserError(
            f"What network the weights {features} are of is not known.",
            "There is no model.json beside them.",
            "Say it: --network resnet50, or resnet10 to resnet200.",
        )
    if size is not None:
        raise UserError(
            f"--size cannot be given with the model {features}.", "It says itself what it takes.", "Leave it out."
        )
    return _trained(features, mask_values)


def _statistics(data: Data) -> FeatureModel:
    axes = len(data.size)
    return FeatureModel(
        STATISTICS,
        "Simple statistics of each image, no network: shares of the voxels in 8 parts of the grey scale, means of its "
        f"{2**axes} {'octants' if axes == 3 else 'quadrants'}, contrast and sharpness at three scales; each from "
        "its mean among the real images in units of its standard deviation there. "
        "They know nothing of anatomy, and their Fréchet distance is "
        "not an FID.",
        data,
    )


def _trained(path: str, mask_values: int | None) -> FeatureModel:
    model = load_model(path)
    card = model.card
    if card["task"] != CLASS_TASK:
        raise UserError(
            f"The model {card['name']} cannot give features.",
            f"Its task is {card['task']}; features come from one that learned to tell classes ({CLASS_TASK}).",
            "Train one: `synthct train --preset synthct-features-resnet`, or take --features statistics.",
        )
    values: Mapping[str, Any] = card.get("mask_scaling") or _MASKS[1]
    data = Data(
        size=tuple(card["size"]),
        planes=tuple(card["planes"]),
        fit=card["fit"],
        target_scaling=card["input_scaling"],
        mask_scaling=dict(values) if mask_values is None else _MASKS[mask_values],
    )
    classes, scores = tuple(card["classes"]), card["training"].get("scores", {})
    told = f", {100 * scores['accuracy']:.0f} % of held-out cases right" if "accuracy" in scores else ""
    return FeatureModel(
        card["name"],
        f"What a {len(data.size)}D ResNet-{card['network'].get('depth', 18)} pools before its last layer; it was "
        f"trained to tell the {card['class_of']} of images ({', '.join(classes)}){told}.",
        data,
        typed(Preparation, card["preparation"], "the model's card", "preparation"),
        model.network,
        card["weights_sha256"],
        classes,
        card["class_of"],
    )


def _given(path: Path, network: str, data: Data) -> FeatureModel:
    """Return a MONAI ResNet with the weights of a safetensors file; its last layer, if there is one, is left away."""
    depth = re.fullmatch(r"resnet(\d+)", network)
    if depth is None or int(depth[1]) not in DEPTHS:
        raise UserError(
            f"There is no network {network} for features.", f"Known: {', '.join(f'resnet{n}' for n in DEPTHS)}."
        )
    if path.suffix.lower() in PICKLES:
        raise UserError(
            f"{path} is a pickle file and is not opened.",
            "A pickle can run any program when it is loaded.",
            "Have it converted to safetensors by someone who trusts it.",
        )
    if not path.is_file():
        raise UserError(f"The weights {path} do not exist.", todo="Give a safetensors file.")
    digest = checked_hash(path)
    try:
        weights = {name.removeprefix("module."): value for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise UserError(f"The weights {path} cannot be read.", f"{error}.", "Fetch them again.") from error
    weights = {name: value for name, value in weights.items() if not name.startswith("fc.")}
    entry = {
        "name": "resnet-classifier",
        "depth": int(depth[1]),
        "dimensions": len(data.size),
        "shortcut": "B" if any(".downsample." in name for name in weights) else "A",
        "shortcut_bias": any(name.endswith("downsample.0.bias") for name in weights),
    }
    built = build_network(entry, 1, 0)
    problem = _misfit(built, weights)
    if problem:
        raise UserError(
            f"The weights {path} do not fit a {network} of one channel in {len(data.size)}D.",
            problem,
            "Give weights of MONAI's ResNet, and the --network and --size that they were trained with.",
        )
    built.load_state_dict(weights)
    return FeatureModel(
        f"{path.name} ({network})",
        f"What a {len(data.size)}D {network} with the weights of {path.name} pools; what it was trained on, and how "
        "its images were scaled, is for you to know. Here they come as −1024 to 600 HU scaled to −1 to 1.",
        data,
        network=built.eval().requires_grad_(False),
        sha256=digest,
    )


def _misfit(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> str:
    """Say in words which weight does not fit; nothing where all do."""
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name, shape in wanted.items():
        if found.get(name) != shape:
            return f"{name} should be {shape} and is {found.get(name, 'missing')}."
    strange = sorted(set(found) - set(wanted))
    return f"{strange[0]} is not known there." if strange else ""
