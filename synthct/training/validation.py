"""Scores of the network in training on whole volumes that it does not learn from."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from synthct.data.cache import Volume
from synthct.errors import UserError
from synthct.evaluation.images.voxelwise import SYNTHRAD_2023, mae, psnr
from synthct.events import Events
from synthct.synthesis.model_file import Model
from synthct.synthesis.prepared import translate_prepared
from synthct.training.judge import Slab
from synthct.volumes.scaling import make_scaling

MAE, PSNR = "validation/mae_hu", "validation/psnr_synthrad2023_db"


def validate(
    network: nn.Module, card: Mapping[str, Any], cases: Sequence[tuple[Volume, Slab]], fabric: Fabric, events: Events
) -> dict[str, float]:
    """Translate every case in the first of the card's planes and score it inside the body mask.

    The volumes are prepared already, so that nothing of the card's preparation is done again. Several processes
    share the cases.

    Returns
    -------
    dict
        ``validation/mae_hu`` (not clipped) and ``validation/psnr_synthrad2023_db`` (section F), means over cases.
    """
    scores = []
    for volume, slab in cases[fabric.global_rank :: fabric.world_size]:
        synthetic, ct, mask = _translated(network, card, volume, slab, str(fabric.device), events)
        if mask.any():
            low, high = SYNTHRAD_2023
            noise = psnr(ct, synthetic, mask, data_range=high - low, clip=SYNTHRAD_2023)
            scores.append((mae(ct, synthetic, mask), noise))
    scores = gathered(scores, fabric)
    if not scores:
        raise UserError(
            "No validation case shows the body in the slices that are scored.",
            "The body mask is empty there.",
            "Look at the masks, or give another split.",
        )
    means = np.mean(scores, axis=0)
    return {MAE: float(means[0]), PSNR: float(means[1])}


def gathered(scores: list[Any], fabric: Fabric) -> list[Any]:
    """Return the scores of all processes, in the order of their ranks."""
    if fabric.world_size == 1:
        return scores
    shares: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(shares, scores)
    return [score for share in shares for score in share]


def as_applied(network: nn.Module) -> nn.Module:
    """Return a network as it will be applied: in eval mode, single precision; a copy where that needs one."""
    if any(parameter.dtype == torch.float64 for parameter in network.parameters()):
        return copy.deepcopy(network).float().eval()
    return network.eval()


def _translated(
    network: nn.Module, card: Mapping[str, Any], volume: Volume, slab: Slab, device: str, events: Events
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Synthetic CT, CT (HU) and mask of the scored slices, z, y, x."""
    card = dict(card)
    first, last = 0, volume.shape[0]
    if slab is not None:  # only the slab and its neighbours are translated, scaled as the whole volume is
        first, last = max(0, slab[0] - card["neighbours"]), min(last, slab[1] + card["neighbours"])
        card["input_scaling"] = make_scaling(card["input_scaling"]).fit(volume.input, volume.mask).to_dict()
    start, stop = slab or (first, last)
    ct, mask = np.asarray(volume.ct[start:stop]), np.asarray(volume.mask[start:stop]) > 0
    if not mask.any():
        return ct, ct, mask
    # The body is known already; to find it again in every volume and epoch would take longer than the network.
    mr, body = volume.input[first:last], volume.mask[first:last]
    synthetic = translate_prepared(Model(network, card), mr, volume.spacing, body, device, events)
    return synthetic[start - first : stop - first], ct, mask
