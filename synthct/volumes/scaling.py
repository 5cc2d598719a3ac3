"""Named, invertible maps from a volume's intensities to what a network sees. They are stored with the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthct.errors import UserError

_SAMPLE = 2_000_000
"""Percentiles are taken from at most about this many voxels, on a regular lattice."""


@dataclass(frozen=True)
class Scaling:
    """The straight line that takes ``low`` to −1 and ``high`` to 1.

    Attributes
    ----------
    name
        Key in `SCALINGS`.
    low, high
        Source values (HU, MR units, label numbers) that become −1 and 1; None until `fit` where they depend on the
        volume.
    clip
        Whether values beyond are cut off at −1 and 1 by `apply`.
    percentiles
        Percentiles of the voxels inside the body that `fit` takes as ``low`` and ``high``; None: a fixed window.
    classes
        The source values are label numbers, 0 to ``classes`` − 1; None: they are intensities.
    one_hot
        Label numbers pass unchanged: the network gives each class a channel (`synthct.networks.one_hot`).
    noise
        A training adds to the label number of each voxel a draw between 0 and this (row B4).
    """

    name: str
    low: float | None
    high: float | None
    clip: bool = True
    percentiles: tuple[float, float] | None = None
    classes: int | None = None
    one_hot: bool = False
    noise: float = 0.0

    def fit(self, array: np.ndarray, mask: np.ndarray | None = None) -> Scaling:
        """Return the scaling bound to one volume; a fixed window, or one bound already, is returned as it is.

        Parameters
        ----------
        array
            Voxels of the whole volume, any shape.
        mask
            Same shape; voxels other than 0 are the body. None: all voxels.

        Raises
        ------
        UserError
            When the volume is constant inside the body.
        """
        if self.percentiles is None or self.low is not None:
            return self
        step = max(1, round((array.size / _SAMPLE) ** (1 / max(1, array.ndim))))
        lattice = tuple(slice(None, None, step) for _ in array.shape)
        values = array[lattice]
        if mask is not None:
            inside = values[mask[lattice] > 0]
            values = inside if inside.size else array[mask > 0]
        if values.size == 0:
            raise UserError(
                "The body mask is empty.", "The intensity scaling is taken from inside the body.", "Check the mask."
            )
        low, high = (float(value) for value in np.percentile(values, self.percentiles))
        if not high > low:
            raise UserError(
                "The image is constant inside the body.",
                f"Its {self.percentiles[0]:g} % and {self.percentiles[1]:g} % percentiles are both {low:g}.",
                "Give an image with content.",
            )
        return dataclasses.replace(self, low=low, high=high)

    @property
    def range(self) -> tuple[float, float]:
        """``(low, high)`` in source units."""
        if self.low is None or self.high is None:
            raise ValueError(f"scaling {self.name} has not been fitted to a volume")
        return self.low, self.high

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Map source values to the network's, float32, same shape; one new array is made."""
        low, high = self.range
        out = np.multiply(array, np.float32(2 / (high - low)), dtype=np.float32)
        out -= np.float32((high + low) / (high - low))
        if self.clip:
            np.clip(out, -1, 1, out=out)
        return out

    def invert(self, array: np.ndarray) -> np.ndarray:
        """Map network values back to source values, float32, same shape; nothing is clipped or rounded."""
        low, high = self.range
        out = np.multiply(array, np.float32((high - low) / 2), dtype=np.float32)
        out += np.float32((high + low) / 2)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values from which `make_scaling` makes the same scaling again."""
        if self.percentiles is not None:
            content: dict[str, Any] = {"name": self.name, "low": self.percentiles[0], "high": self.percentiles[1]}
            return content if self.low is None else {**content, "fitted": list(self.range)}
        if self.one_hot:
            return {"name": self.name, "classes": self.classes}
        if self.noise:
            return {"name": self.name, "noise": self.noise}
        if self.classes is not None or self.name in _FIXED:
            return {"name": self.name}
        return {"name": self.name, "low": self.low, "high": self.high}


_FIXED: dict[str, Scaling] = {
    scaling.name: scaling
    for scaling in (
        # Row A3: (HU − 250) / 1250, clipped.
        Scaling("umea-ct", -1000.0, 1500.0),
        # Row A3: [0, 2000] → [−1, 1]; the text prints (v − 1000) / 2000, which does not give that range.
        Scaling("umea-mr", 0.0, 2000.0),
        # Row C2: the range that was kept, and the two that were tried and found worse.
        Scaling("hagan-ct", -1024.0, 600.0),
        Scaling("hagan-ct-wide", -2048.0, 3071.0),
        Scaling("hagan-ct-1200", -2048.0, 1200.0),
        # Row C2: mask values 0…2, or a binary mask.
        Scaling("hagan-mask", 0.0, 2.0),
        Scaling("hagan-mask-binary", 0.0, 1.0),
        # Row B5: CT / 2000, not clipped.
        Scaling("lidc-ct", -2000.0, 2000.0, clip=False),
    )
}

_OPTIONS: dict[str, dict[str, float]] = {
    # HU from `low` to `high`, clipped. Our own recipes.
    "ct-window": {"low": -1024.0, "high": 2000.0},
    # Percentiles inside the body, taken from each volume: MR intensities have no unit. Our own recipes.
    "mr-percentile": {"low": 0.5, "high": 99.5},
    # Row B5's alternative: as many channels as classes. Our own recipes have more: "outside the body", "windpipe".
    "one-hot": {"classes": 7},
    # Row B5: label / 3 − 1, as the text prints it for six classes: 0…5 become −1…0.67. Noise: row B4, 0.05 there.
    "lidc-label": {"noise": 0.0},
}
_MOST_CLASSES = 256

SCALINGS: dict[str, dict[str, float]] = {**{name: {} for name in _FIXED}, **_OPTIONS}
"""Name of each scaling → its options and their defaults."""


def make_scaling(options: Mapping[str, Any]) -> Scaling:
    """Build a scaling from ``{"name": ..., option: value, ...}`` (a recipe's entry or `Scaling.to_dict`).

    Raises
    ------
    UserError
        Unknown name or option, or limits in the wrong order; the message names it.
    """
    name = options.get("name")
    if name not in SCALINGS:
        raise UserError(
            f"There is no intensity scaling named {name}.", f"Known: {', '.join(SCALINGS)}.", "Correct the recipe."
        )
    known = {**SCALINGS[name]}
    given = {key: value for key, value in options.items() if key != "name"}
    fitted = given.pop("fitted", None) if name == "mr-percentile" else None
    for key, value in given.items():
        if key not in known:
            raise UserError(
                f"The intensity scaling {name} has no option `{key}`.", f"Known: {', '.join(known) or 'none'}."
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"`{key}` of the intensity scaling {name} must be a number.", f"It is {value!r}.")
        known[key] = float(value)
    if name in _FIXED:
        return _FIXED[name]
    if name == "one-hot":
        classes = int(known["classes"])
        if classes != known["classes"] or not 2 <= classes <= _MOST_CLASSES:
            raise UserError(f"`classes` of the scaling one-hot cannot be {known['classes']:g}.", "Give 2 to 256.")
        return Scaling(name, -1.0, 1.0, clip=False, classes=classes, one_hot=True)
    if name == "lidc-label":
        if not 0 <= known["noise"] < 1:
            raise UserError(f"`noise` of the scaling lidc-label cannot be {known['noise']:g}.", "Give 0 to below 1.")
        return Scaling(name, 0.0, 6.0, clip=False, classes=6, noise=known["noise"])
    low, high = known["low"], known["high"]
    if not low < high:
        raise UserError(f"`low` of the intensity scaling {name} must be below `high`.", f"They are {low:g}, {high:g}.")
    if name == "ct-window":
        return Scaling(name, low, high)
    if low < 0 or high > 100:
        raise UserError(f"The intensity scaling {name} takes percentiles.", f"{low:g} and {high:g} are not in 0…100.")
    if fitted is None:
        return Scaling(name, None, None, percentiles=(low, high))
    return Scaling(name, float(fitted[0]), float(fitted[1]), percentiles=(low, high))
