"""How sure a model is of every voxel: several predictions of one volume, their mean and their standard deviation.

The predictions differ by Monte-Carlo dropout (Gal and Ghahramani 2016), by mirror images or planes of the input
(test-time augmentation), or by the model (deep ensembles, Lakshminarayanan et al. 2017). What the standard deviation
is worth against true errors is a matter of calibration: `synthct.evaluation.uncertainty.calibration`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.synthesis.card import PLANES
from synthct.synthesis.device import choose_device
from synthct.synthesis.likeness.comparison import Likeness
from synthct.synthesis.likeness.watch import unlikeness
from synthct.synthesis.model_file import Model
from synthct.synthesis.model_grid import model_grid
from synthct.synthesis.translate import check_input, find_body, translate
from synthct.synthesis.uncertainty.monte_carlo import MonteCarloDropout, has_dropout
from synthct.synthesis.uncertainty.passes import PassEvents
from synthct.volumes.bias import correct_bias
from synthct.volumes.geometry import axial_order, axial_view, grid_of, image_from_array, resample_onto

MODES = ("dropout", "flips", "planes", "models")
FLIPS = ("left-right", "front-back", "head-foot")
"""Mirror axes, in the order x, y, z of an axial image."""
DESCRIPTION = "standard deviation HU"
"""What the file of the standard deviation says of itself (NIfTI's descrip)."""


@dataclass(frozen=True)
class Uncertainty:
    """What the predictions differ by.

    Parameters
    ----------
    modes
        One or more of `MODES`; several are combined.
    samples
        Predictions in all with ``dropout``, at least; the other modes give one prediction per combination.
    seed
        Of dropout. On one device the same seed and batch give the same result.
    flips
        Mirror axes of ``flips``, one or more of `FLIPS`; every combination of them, the input as it is included.

    Raises
    ------
    UserError
        An unknown mode or axis, or fewer than two samples.
    """

    modes: tuple[str, ...]
    samples: int = 10
    seed: int = 0
    flips: tuple[str, ...] = ("left-right",)

    def __post_init__(self) -> None:
        for what, chosen, known in (("mode of uncertainty", self.modes, MODES), ("flip", self.flips, FLIPS)):
            if not chosen:
                raise UserError(f"No {what} was chosen.", todo=f"Choose one or more of {', '.join(known)}.")
            for name in chosen:
                if name not in known:
                    raise UserError(f"There is no {what} {name}.", f"Known: {', '.join(known)}.", "Correct the option.")
        if self.samples < 2:
            raise UserError(f"{self.samples} sample has no standard deviation.", todo="Ask for 2 or more; 10 is usual.")


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n − 1) of several predictions, on the grid of the input."""

    mean: sitk.Image
    """int16 HU, rounded."""
    deviation: sitk.Image
    """float32 HU, rounded to 0.1; 0 outside the mask."""
    predictions: int
    likeness: Likeness | None = None
    """Whether the input is like the first model's training data, where that was asked for."""


@dataclass(frozen=True)
class _Prediction:
    """One pass: which model in which planes, mirrored along which axes."""

    model: int
    planes: tuple[str, ...]
    flips: tuple[str, ...]

    def __str__(self) -> str:
        return " and ".join(self.planes) + (f", mirrored {' and '.join(self.flips)}" if self.flips else "")


def translate_with_uncertainty(
    image: sitk.Image,
    models: Sequence[Model],
    uncertainty: Uncertainty,
    planes: Sequence[str] | None = None,
    mask: sitk.Image | str | None = None,
    device: str | torch.device = "auto",
    batch: int | None = None,
    events: Events = SILENT,
    name: str = "The input",
    likeness: bool = False,
) -> Spread:
    """Translate a volume several times and return mean and standard deviation per voxel.

    Body mask, bias correction and intensity scaling are found once, in the input as it is, and serve every
    prediction. Mean and squared deviations are kept running (Welford 1962): memory does not grow with the
    predictions.

    Parameters
    ----------
    image, mask, device, batch, events, name
        As for `synthct.synthesis.translate.translate`; progress counts all predictions.
    models
        One, or several with the mode ``models``.
    likeness
        Compare the input with the first model's training data, too (`synthct.synthesis.likeness.watch.unlikeness`).
    planes
        With the mode ``planes`` each is a prediction of its own; else they are averaged as usual. None: with
        ``planes`` those that the model was trained on if they are several, else all three; without it the first of
        the model's.

    Raises
    ------
    UserError
        A mode that these models do not have (no dropout layer, one model, planes of a 3D model), fewer than two
        predictions, or as `synthct.synthesis.translate.translate` does.
    """
    _check(models, uncertainty)
    predictions = _predictions(models, uncertainty, planes)
    device = choose_device(device)
    check_input(image, models[0], name, events)
    region = None if mask is None else find_body(image, mask, models[0], name, events)
    running = _Running(image)
    found = _Found(image, region, name, events)
    alike = None
    if likeness:
        alike = found.likeness(models[0], torch.device(device))
    ready: tuple[int, sitk.Image, Model] | None = None
    heard: set[str] = set()
    for number, prediction in enumerate(predictions):
        if ready is None or ready[0] != prediction.model:
            ready = (prediction.model, *found.prepared(models[prediction.model]))
        _, source, model = ready
        if "dropout" in uncertainty.modes:
            model = replace(model, network=MonteCarloDropout(model.network, (uncertainty.seed, number)))
        label = f"prediction {number + 1} of {len(predictions)}: {prediction}"
        try:
            result = translate(
                _mirrored(source, prediction.flips),
                model,
                prediction.planes,
                None if region is None else _mirrored(region, prediction.flips),
                device,
                batch,
                PassEvents(events, number, len(predictions), label, heard),
                name,
            )
        finally:
            models[prediction.model].network.eval()
        result = _mirrored(result, prediction.flips)  # a view does not keep its image alive
        running.add(sitk.GetArrayViewFromImage(result))
    return replace(running.spread(), likeness=alike)


def planes_of(model: Model, uncertainty: Uncertainty, planes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the planes that `translate_with_uncertainty` works in, its default where ``planes`` is None."""
    if planes:
        return tuple(dict.fromkeys(planes))
    trained = tuple(model.card.get("planes") or ["axial"])
    if "planes" not in uncertainty.modes:
        return trained[:1]
    return trained if len(trained) > 1 else PLANES


def _check(models: Sequence[Model], uncertainty: Uncertainty) -> None:
    if len(models) > 1 and "models" not in uncertainty.modes:
        raise UserError(
            f"{len(models)} models were given.", "They serve the uncertainty `models` alone.", "Add it, or give one."
        )
    if "models" in uncertainty.modes and len(models) < 2:
        raise UserError("The uncertainty `models` needs two models or more.", "One was given.", "Give others, too.")
    for model in models:
        if "dropout" in uncertainty.modes and not has_dropout(model.network):
            raise UserError(
                f"The model {model.card['name']} has no dropout.",
                "Monte-Carlo dropout leaves out parts of the network at random as its training did.",
                "Choose flips or planes, or train a model whose network has dropout.",
            )
        if "planes" in uncertainty.modes and len(model.card["size"]) == 3:
            raise UserError(
                f"The model {model.card['name']} is a 3D one.", "It works in no plane.", "Choose flips or dropout."
            )


def _predictions(models: Sequence[Model], uncertainty: Uncertainty, planes: Sequence[str] | None) -> list[_Prediction]:
    """Every pass in order, those of one model in a row."""
    mirrors: list[tuple[str, ...]] = [()]
    if "flips" in uncertainty.modes:
        axes = [axis for axis in FLIPS if axis in uncertainty.flips]
        mirrors = [flips for count in range(len(axes) + 1) for flips in itertools.combinations(axes, count)]
    found = []
    for number, model in enumerate(models):
        chosen = planes_of(model, uncertainty, planes)
        views = [(plane,) for plane in chosen] if "planes" in uncertainty.modes else [chosen]
        found.append([_Prediction(number, view, flips) for view in views for flips in mirrors])
    repeats = 1
    if "dropout" in uncertainty.modes:
        repeats = -(-uncertainty.samples // sum(len(own) for own in found))
    every = [prediction for own in found for prediction in own * repeats]
    if len(every) < 2:
        raise UserError(
            "One prediction has no standard deviation.",
            f"The uncertainty {', '.join(uncertainty.modes)} gives one in this plane alone.",
            "Choose more planes, or another mode.",
        )
    return every


class _Found:
    """What is found in the input once, for every model and for its likeness: the body, and the bias field's correction.

    Parameters
    ----------
    image, region, name, events
        As `translate_with_uncertainty` has them; ``region`` is the mask on the image's grid.
    """

    def __init__(self, image: sitk.Image, region: sitk.Image | None, name: str, events: Events) -> None:
        self._image, self._region, self._name, self._events = image, region, name, events
        self._bodies: dict[tuple[bool, bool], sitk.Image | None] = {}
        self._corrected: dict[tuple[bool, bool], sitk.Image] = {}

    def body(self, model: Model) -> sitk.Image | None:
        """Return the mask, or the body as `synthct.synthesis.translate.find_body` finds it for this kind of input."""
        if self._region is not None:
            return self._region
        kind = _kind(model)
        if kind not in self._bodies:
            self._bodies[kind] = find_body(self._image, None, model, self._name, self._events)
        return self._bodies[kind]

    def corrected(self, model: Model) -> tuple[sitk.Image, Model]:
        """Return the image bias-corrected where the model wants it, and the model that wants it no more."""
        if not model.card.get("bias_correction"):
            return self._image, model
        kind = _kind(model)
        if kind not in self._corrected:
            self._corrected[kind] = correct_bias(self._image, self.body(model))
        return self._corrected[kind], replace(model, card={**model.card, "bias_correction": False})

    def likeness(self, model: Model, device: torch.device) -> Likeness:
        """Compare the input with a model's training data."""
        body = self.body(model) if model.card.get("bias_correction") else self._region
        image, model = self.corrected(model)
        return unlikeness(image, model, body, device, self._events, self._name)

    def prepared(self, model: Model) -> tuple[sitk.Image, Model]:
        """Return the image bias-corrected where the model wants it, and the model with its scaling bound to it."""
        image, model = self.corrected(model)
        card: dict[str, Any] = dict(model.card)
        scaling = model.input_scaling
        if scaling.percentiles is None or scaling.low is not None:
            return image, model
        lowest = float(sitk.GetArrayViewFromImage(self._image).min())
        grid = grid_of(image)
        work = model_grid(grid, card.get("spacing"))
        sampled, inside = image, self.body(model)
        if work is not grid:  # as the network will see it
            sampled = resample_onto(image, work, "linear", outside=lowest)
            inside = None if inside is None else resample_onto(inside, work, "nearest", 0)
        covered = None if inside is None else axial_view(sitk.GetArrayViewFromImage(inside), sampled)
        card["input_scaling"] = scaling.fit(axial_view(sitk.GetArrayViewFromImage(sampled), sampled), covered).to_dict()
        return image, replace(model, card=card)


def _kind(model: Model) -> tuple[bool, bool]:
    """Whether a model takes label maps, and whether it takes CTs: what the search for a body depends on."""
    return model.input_scaling.classes is not None, str(model.card.get("input", "MR")).upper() == "CT"


def _mirrored(image: sitk.Image, flips: Sequence[str]) -> sitk.Image:
    """The voxels mirrored along the image axes nearest to the named ones, the grid as it is; its own inverse."""
    if not flips:
        return image
    order, _ = axial_order(image)
    axes = tuple(2 - order[FLIPS.index(flip)] for flip in flips)
    return image_from_array(np.flip(sitk.GetArrayViewFromImage(image), axes), image)


class _Running:
    """Mean and sum of squared deviations of what was added so far, float32, a slice at a time."""

    def __init__(self, image: sitk.Image) -> None:
        self._grid = grid_of(image)
        shape = self._grid.size[::-1]
        self._mean = np.zeros(shape, np.float32)
        self._squares = np.zeros(shape, np.float32)
        self._count = 0

    def add(self, hu: np.ndarray) -> None:
        """Add one prediction, int16, z, y, x."""
        self._count += 1
        for plane, mean, squares in zip(hu, self._mean, self._squares, strict=True):
            before = plane - mean
            mean += before / self._count
            squares += before * (plane - mean)

    def spread(self) -> Spread:
        """Round; what was added is no longer needed."""
        mean = image_from_array(np.rint(self._mean, out=self._mean).astype(np.int16), self._grid)
        self._squares /= self._count - 1
        np.sqrt(np.maximum(self._squares, 0, out=self._squares), out=self._squares)
        deviation = image_from_array(np.round(self._squares, 1, out=self._squares), self._grid)
        deviation.SetMetaData("ITK_FileNotes", DESCRIPTION)
        return Spread(mean, deviation, self._count)
