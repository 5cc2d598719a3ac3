"""What a segmentation network looks at: occlusion maps and Grad-CAM as volumes on the CT's grid (row D7).

Both explain one number: how much more the network speaks for a lesion than against it (the difference of the two
classes' scores), mean over the voxels that it calls a lesion in one window. Occlusion (Zeiler, Fergus 2014) covers
block after block and says how much that number falls; Grad-CAM (Selvaraju et al. 2017; over a region, Vinogradova et
al. 2020) weighs features by the gradient of that number. Neither says that what it shows is a sound reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn.functional import interpolate

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.networks.segmenters import bottleneck
from synthct.synthesis.model_file import Model
from synthct.synthesis.predictor import is_out_of_memory
from synthct.synthesis.segment import as_seen, lesion_probability
from synthct.volumes.geometry import back_from_axial, image_from_array, resample_onto, to_axial

METHODS = ("occlusion", "grad-cam")
_CPU_BATCH, _GPU_BATCH = 4, 32
"""Covered windows at once; halved where the memory is too small."""
_AIR = -1.0
_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Explanation:
    """A map, and what it is of."""

    image: sitk.Image
    """Float32 on the grid of the CT, 0 outside the window. Occlusion: how much the score falls where a voxel is covered
    (above 0: the network needs it). Grad-CAM: 0 to 1, the largest being 1."""
    centre_ras: tuple[float, float, float]
    """Middle of the window in mm."""
    score: float
    """What is explained; above 0 the network is for a lesion."""
    voxels: int
    """Over how many of the network's voxels it is a mean."""
    found: bool
    """Whether the network calls them a lesion; False: they are those that it holds most likely."""


def explain(
    model: Model,
    ct: sitk.Image,
    method: Literal["occlusion", "grad-cam"],
    device: torch.device,
    at: Sequence[float] | None = None,
    block: int | None = None,
    layer: str | None = None,
    events: Events = SILENT,
) -> Explanation:
    """Explain what ``model`` says about one window of ``ct``.

    Parameters
    ----------
    model
        As from `synthct.synthesis.segment.load_segmenter`.
    at
        Middle of the window, RAS mm; None: the middle of the largest lesion that is found, or the likeliest voxel.
    block
        Occlusion: side in voxels of what is covered, with the window's mean, every half block; None: a sixth of the
        window, and at least 4.
    layer
        Grad-CAM: name of the part of the network whose features are weighed; None: the coarsest features.
    events
        Hears progress.

    Raises
    ------
    UserError
        A place outside the CT, a block that does not fit, an unknown layer.
    """
    axial, scaled = as_seen(model, ct)
    size = tuple(model.card["size"])
    network = model.network.to(device)
    probability = lesion_probability(network, scaled, size, device)
    middle = _middle(probability) if at is None else _index(axial, at)
    window, inside = _window(scaled, middle, size)
    patch = torch.from_numpy(window)[None, None].to(device)
    with torch.no_grad():
        likely = torch.softmax(network(patch).float(), dim=1)[:, 1:]
    valid = torch.zeros_like(likely, dtype=torch.bool)
    valid[0, 0][_within(inside)] = True
    found = bool((likely[valid] >= 0.5).any())
    region = valid & (likely >= (0.5 if found else 0.5 * float(likely[valid].max())))
    if method == "occlusion":
        heat, score = _occlusion(network, patch, region, _block(block, size), events)
    else:
        heat, score = _grad_cam(network, patch, region, layer)
    whole = np.zeros(scaled.shape, np.float32)
    whole[tuple(part for _, part in inside)] = heat[_within(inside)]
    image = back_from_axial(resample_onto(image_from_array(whole, axial), to_axial(ct)), ct)
    centre = np.array(axial.TransformIndexToPhysicalPoint([int(index) for index in reversed(middle)])) * _RAS
    ras = (round(float(centre[0]), 2), round(float(centre[1]), 2), round(float(centre[2]), 2))
    return Explanation(image, ras, score, int(region.sum()), found)


def _score(network: nn.Module, patches: Tensor, region: Tensor) -> Tensor:
    """Return, for each patch, the mean over ``region`` of the lesion's score minus the background's."""
    scores = network(patches)[:, :, region[0, 0]].float()
    return (scores[:, 1] - scores[:, 0]).mean(dim=1)


def _occlusion(
    network: nn.Module, patch: Tensor, region: Tensor, block: int, events: Events
) -> tuple[np.ndarray, float]:
    size = patch.shape[2:]
    filling = float(patch.mean())
    starts = [sorted({*range(0, side - block, max(1, block // 2)), side - block}) for side in size]
    boxes = [tuple(slice(start, start + block) for start in place) for place in itertools.product(*starts)]
    total, count = np.zeros(size), np.zeros(size)
    done, batch = 0, _CPU_BATCH if patch.device.type == "cpu" else _GPU_BATCH
    with torch.inference_mode():
        whole = float(_score(network, patch, region)[0])
        while done < len(boxes):
            events.progress(done, len(boxes), "occlusion")
            some = boxes[done : done + batch]
            covered = patch.repeat(len(some), 1, 1, 1, 1)
            for window, box in zip(covered, some, strict=True):
                window[0][box] = filling
            try:
                scores = _score(network, covered, region).tolist()
            except (RuntimeError, MemoryError) as error:
                if batch == 1 or not is_out_of_memory(error):
                    raise
                batch //= 2
                continue
            for box, score in zip(some, scores, strict=True):
                total[box] += whole - score
                count[box] += 1
            done += len(some)
    events.progress(len(boxes), len(boxes), "occlusion")
    return (total / count).astype(np.float32), whole


def _grad_cam(network: nn.Module, patch: Tensor, region: Tensor, layer: str | None) -> tuple[np.ndarray, float]:
    part = bottleneck(network) if layer is None else _named(network, layer)
    kept: list[Tensor] = []
    hook = part.register_forward_hook(lambda _part, _given, features: kept.append(features))
    try:
        with torch.enable_grad():
            score = _score(network, patch.clone().requires_grad_(True), region)[0]
            features = kept[0]
            (gradient,) = torch.autograd.grad(score, features)
    finally:
        hook.remove()
    weights = gradient.mean(dim=(2, 3, 4), keepdim=True)
    heat = torch.relu((weights * features).sum(dim=1, keepdim=True)).detach()
    heat = interpolate(heat, size=patch.shape[2:], mode="trilinear", align_corners=False)[0, 0]
    largest = float(heat.max())
    return np.asarray((heat / largest if largest else heat).cpu().numpy(), np.float32), float(score.detach())


def _named(network: nn.Module, layer: str) -> nn.Module:
    parts = dict(network.named_modules())
    if layer not in parts or not layer:
        some = ", ".join(list(parts)[1:13])
        raise UserError(f"The network has no part {layer}.", f"It begins with {some}, ….", "Correct --layer.")
    return parts[layer]


def _middle(probability: np.ndarray) -> list[int]:
    """Return the middle of the largest lesion, a voxel of it; the likeliest voxel where there is none."""
    parts, count = ndimage.label(probability >= 0.5)
    if not count:
        return [int(index) for index in np.unravel_index(int(probability.argmax()), probability.shape)]
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    voxels = np.argwhere(parts == largest)
    nearest = voxels[np.square(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]
    return [int(index) for index in nearest]


def _index(image: sitk.Image, at: Sequence[float]) -> list[int]:
    point = (np.asarray(at, float) * _RAS).tolist()
    index = image.TransformPhysicalPointToIndex(point)
    if any(not 0 <= place < length for place, length in zip(index, image.GetSize(), strict=True)):
        raise UserError(
            f"The point {', '.join(f'{value:g}' for value in at)} lies outside the CT.",
            "It is taken as right, anterior, superior in mm.",
            "Correct --at.",
        )
    return list(reversed(index))


def _window(
    scaled: np.ndarray, middle: Sequence[int], size: Sequence[int]
) -> tuple[np.ndarray, list[tuple[int, slice]]]:
    """Return the window about ``middle``, padded with air, and per axis where what was read begins and comes from."""
    inside = []
    for place, side, length in zip(middle, size, scaled.shape, strict=True):
        start = min(max(0, place - side // 2), max(0, length - side))
        part = slice(start, min(length, start + side))
        inside.append(((side - (part.stop - part.start)) // 2, part))
    window = np.full(tuple(size), _AIR, np.float32)
    window[_within(inside)] = scaled[tuple(part for _, part in inside)]
    return window, inside


def _within(inside: Sequence[tuple[int, slice]]) -> tuple[slice, ...]:
    """Return where in a window what was read lies."""
    return tuple(slice(before, before + part.stop - part.start) for before, part in inside)


def _block(block: int | None, size: Sequence[int]) -> int:
    chosen = max(min(4, min(size)), min(size) // 6) if block is None else block
    if not 1 <= chosen <= min(size):
        raise UserError(
            f"A block of {chosen} voxels does not fit.", f"The network's window is {'×'.join(map(str, size))}."
        )
    return chosen


def summary(explanation: Explanation, method: str) -> dict[str, Any]:
    """Return what a reader of the map must know, as plain JSON values."""
    meaning = {
        "occlusion": "how much the score falls where a voxel is covered by the window's mean",
        "grad-cam": "features weighed by the score's gradient, negative ones left out, scaled to a largest of 1",
    }
    return {
        "method": method,
        "map": meaning[method],
        "score": round(explanation.score, 4),
        "score_is": "lesion's score minus background's, mean over the voxels called a lesion"
        if explanation.found
        else "lesion's score minus background's, mean over the likeliest voxels: nothing is called a lesion",
        "voxels": explanation.voxels,
        "centre_ras": list(explanation.centre_ras),
    }
