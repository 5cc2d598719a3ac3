"""Save and load a trained model: ``model.json`` beside ``weights.safetensors``. Data alone, never pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from synthct.errors import UserError
from synthct.networks.one_hot import LabelChannels
from synthct.networks.registry import build_network
from synthct.synthesis.card import (
    CARD,
    FORMAT,
    WEIGHTS,
    check_card,
    is_from_noise,
    model_folder,
    one_hot_classes,
    parse_card,
    require_translation,
)
from synthct.synthesis.uncertainty.monte_carlo import has_dropout
from synthct.synthesis.weights_hash import checked_hash
from synthct.volumes.scaling import Scaling, make_scaling


@dataclass
class Model:
    """A network with everything needed to apply it.

    Parameters
    ----------
    network
        Takes (N, slices, rows, columns) scaled intensities or label numbers, returns (N, 1, rows, columns); or takes
        latents. In eval mode.
    card
        See `synthct.synthesis.card`.
    folder
        Where it came from, if from a file.
    """

    network: nn.Module
    card: dict[str, Any]
    folder: Path | None = None

    @property
    def input_scaling(self) -> Scaling:
        """Scaling of the source intensities, not yet fitted to a volume; a model from noise has none and is refused."""
        require_translation(self.card)
        return make_scaling(self.card["input_scaling"])

    @property
    def target_scaling(self) -> Scaling:
        """Scaling of the HU."""
        return make_scaling(self.card["target_scaling"])

    @property
    def divisor(self) -> int:
        """Number that rows and columns of the network's input must be multiples of."""
        return int(getattr(self.network, "divisor", 1))


def save_model(folder: Path | str, network: nn.Module, card: Mapping[str, Any]) -> Path:
    """Write ``network`` and ``card`` as a model folder, replacing the model that was there, and return the folder.

    Both files are written aside and synced before the first is renamed, so that a process killed at any moment
    leaves a model that loads. ``format``, ``weights_sha256`` and ``dropout`` of the card are set here.

    Raises
    ------
    UserError
        The card lacks something, or the folder cannot be written.
    """
    folder = Path(folder)
    weights = save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    card = {**card, "format": FORMAT, "weights_sha256": digest, "dropout": has_dropout(network)}
    text = json.dumps(card, indent=2, ensure_ascii=False)
    check_card(json.loads(text), "the model card")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_synced(_aside(folder / WEIGHTS), weights)
        _write_synced(_aside(folder / CARD), text.encode())
        _aside(folder / WEIGHTS).replace(folder / WEIGHTS)
        _aside(folder / CARD).replace(folder / CARD)
    except OSError as error:
        raise UserError(
            f"The model cannot be written to {folder}.", f"{error.strerror}.", "Free space or choose another folder."
        ) from error
    return folder


def load_model(path: Path | str, device: torch.device | str = "cpu") -> Model:
    """Load the model at ``path``: a run folder, a model folder or one of its files.

    Raises
    ------
    UserError
        Missing, truncated, of a newer format, with a wrong hash, an unknown network, or a pickle in place of
        safetensors (never loaded).
    """
    folder = model_folder(path)
    card = parse_card(folder / CARD)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise UserError(f"The model {folder} has no {WEIGHTS}.", todo="Copy or fetch the whole folder.")
    found = checked_hash(weights)
    if found != card["weights_sha256"] and _aside(folder / CARD).is_file():
        card = parse_card(_aside(folder / CARD))  # saving was cut between the two renames
    if found != card["weights_sha256"]:
        raise UserError(
            f"The weights {weights} are not those of the model card.",
            f"Their SHA-256 is {found[:12]}… and should be {card['weights_sha256'][:12]}….",
            "The file is truncated or was changed: copy or fetch the whole folder again.",
        )
    network = _network_of(card)
    try:
        network.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise UserError(
            f"The weights {weights} do not fit the network {card['network']['name']}.",
            f"{str(error).splitlines()[0]}",
            "Copy or export the model again.",
        ) from error
    network.requires_grad_(False)
    return Model(network.eval().to(device), card, folder)


def _network_of(card: Mapping[str, Any]) -> nn.Module:
    """Build the network that a card names, with weights of no meaning."""
    if is_from_noise(dict(card)):
        network = build_network(card["network"], card["in_channels"], card["out_channels"], tuple(card["size"]))
        if list(network.latent_shape) != card["latent_shape"]:  # type: ignore[arg-type]
            raise UserError(
                f"The latents of the model {card['name']} do not fit its network.",
                f"The card says {card['latent_shape']}, the network takes {list(network.latent_shape)}.",  # type: ignore[arg-type]
                "Copy or export the model again.",
            )
        return network
    slices, classes = 2 * card["neighbours"] + 1, one_hot_classes(dict(card))
    labels = LabelChannels(slices, classes) if classes > 1 else None
    return build_network(card["network"], slices, card["out_channels"], labels=labels)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _write_synced(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
