"""How a network that makes a CT is judged: HU on whole volumes, input | sCT | CT | difference in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from synthct.data.cache import Volume
from synthct.events import Events
from synthct.training.judge import Criterion, Judge, Slab
from synthct.training.model_card import with_features
from synthct.training.sample_grid import write_sample_grid
from synthct.training.validation import MAE, validate
from synthct.training.watch import DIVERSITY, diversity
from synthct.volumes.scaling import make_scaling


class TranslationJudge(Judge):
    """See `Judge`; ``card`` is that of the model as it is applied."""

    criterion = Criterion(MAE, "mae_hu")

    def __init__(self, card: Mapping[str, Any]) -> None:
        self._card = card

    def validate(
        self, network: nn.Module, cases: Sequence[tuple[Volume, Slab]], fabric: Fabric, events: Events
    ) -> dict[str, float]:
        return validate(network, self._card, cases, fabric, events)

    def draw(
        self, path: Path, network: nn.Module, shown: Mapping[str, Tensor], title: str, device: torch.device
    ) -> dict[str, float]:
        with torch.no_grad():
            parts = [network(part.to(device)).float().cpu() for part in shown["input"].split(1)]
        scaling = make_scaling(self._card["target_scaling"])
        synthetic = _slices(torch.cat(parts), 0)
        middle = _slices(shown["input"], self._card["neighbours"])
        target, mask = (_slices(shown[name], 0) for name in ("target", "mask"))
        applied, wanted = scaling.invert(synthetic), scaling.invert(target)
        if self._card["body_only"]:
            applied[mask == 0] = scaling.range[0]
        source = make_scaling(self._card["input_scaling"])
        if source.classes is not None:
            middle = source.invert(middle)
        write_sample_grid(path, middle, applied, wanted, mask, title, source.classes)
        share = diversity(applied, wanted, mask)
        return {} if share is None else {DIVERSITY: share}

    def described(
        self, card: Mapping[str, Any], network: nn.Module, training: Sequence[Volume], device: torch.device
    ) -> dict[str, Any]:
        return with_features(card, network, training, device)


def _slices(samples: Tensor, channel: int) -> NDArray[Any]:
    """Return one channel of (N, C, rows, columns), or of the middle slices of 3D samples, as (N, rows, columns)."""
    images = samples[:, channel]
    array: NDArray[Any] = (images if images.ndim == 3 else images[:, images.shape[1] // 2]).numpy()
    return array
