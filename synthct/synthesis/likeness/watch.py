"""Is this input like what the model was trained on?

`Watch` answers it beside a translation, for the price of the histogram alone; `unlikeness` answers it for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import numpy as np
import SimpleITK as sitk
import torch

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.synthesis.card import PLANES
from synthct.synthesis.input_checks import cut_off_sides, warn_of_cut_off
from synthct.synthesis.likeness.comparison import Likeness, compare
from synthct.synthesis.likeness.features import FeatureProbe
from synthct.synthesis.likeness.sampled_features import sampled_features
from synthct.synthesis.likeness.training_statistics import intensity_histogram
from synthct.synthesis.model_file import Model
from synthct.synthesis.model_grid import model_grid
from synthct.synthesis.planes import along_plane
from synthct.volumes.bias import correct_bias
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import axial_order, axial_view, grid_of, resample_onto, same_grid

_COARSE = 500_000
_BRIGHT_SAMPLE = 2_000_000


class Watch:
    """Looks at the input and listens to the network while a translation goes on; judges when left.

    Parameters
    ----------
    model
        That is applied.
    events
        Hears a warning where the input is unlike the training data, or where the body is cut off.
    name
        What warnings call the input.

    Attributes
    ----------
    likeness
        What was found, once the translation is done.
    cut_off
        Sides on which the body goes on beyond the image.

    Examples
    --------
    >>> with Watch(model) as watch:  # doctest: +SKIP
    ...     translate(image, model, watch=watch)
    >>> watch.likeness.sentence  # doctest: +SKIP
    """

    def __init__(self, model: Model, events: Events = SILENT, name: str = "The input") -> None:
        self.likeness = Likeness()
        self.cut_off: list[str] = []
        self._model, self._events, self._name = model, events, name
        self._probe = FeatureProbe(model.network)
        self._sampled: np.ndarray | None = None
        self._shows_body: np.ndarray | None = None
        self._seen: tuple[list[float], list[float], float, np.ndarray] | None = None

    def __enter__(self) -> Watch:
        self._probe.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._probe.__exit__(kind, error, trace)
        if kind is None and self._seen is not None:
            self._judge()

    def look(self, image: sitk.Image, body: sitk.Image | None, planes: Sequence[str], device: torch.device) -> None:
        """Look at the image as the network is about to see it: corrected, with the model's spacing.

        Parameters
        ----------
        image
            3D.
        body
            Mask on the grid of ``image``; None: found in a coarse copy, and all is compared where there is none.
        planes
            That are translated; only the first plane of the card has known features, so that for others a few slices
            of it are translated besides.
        device
            Where that is done.
        """
        order, _ = axial_order(image)
        spacing = [image.GetSpacing()[axis] for axis in order]
        extent = [spacing[n] * image.GetSize()[axis] for n, axis in enumerate(order)]
        if self._model.input_scaling.classes is not None:  # label numbers have no intensities, and are checked already
            self._probe.__exit__(None, None, None)
            self._seen = (spacing, extent, 0.0, np.zeros(0))
            return
        small, body = (image, body) if body is not None else _coarse(image, self._model)
        voxels = axial_view(sitk.GetArrayViewFromImage(small), small)
        covered = None if body is None else axial_view(sitk.GetArrayViewFromImage(body), body)
        scaling = self._model.input_scaling.fit(voxels, covered)
        step = max(1, round((voxels.size / _BRIGHT_SAMPLE) ** (1 / 3)))
        brightest = float(np.percentile(voxels[::step, ::step, ::step], 99))
        self._seen = (spacing, extent, brightest, intensity_histogram(voxels, covered, scaling))
        if covered is not None:
            self.cut_off = cut_off_sides(covered, [small.GetSpacing()[axis] for axis in order])
            warn_of_cut_off(self.cut_off, self._name, self._events)
        plane = self._model.card["planes"][0]
        if covered is not None and len(self._model.card["size"]) == 2:
            shown = np.asarray(along_plane(covered, plane).any((1, 2)))
            count = image.GetSize()[order[2 - PLANES.index(plane)]]
            self._shows_body = shown[np.linspace(0, len(shown) - 1, count).round().astype(int)]
        if list(planes) != [plane]:
            self._probe.__exit__(None, None, None)
            whole = axial_view(sitk.GetArrayViewFromImage(image), image)
            self._sampled = sampled_features(self._model, whole, covered if small is image else None, scaling, device)

    def begin_block(self, start: int, stop: int) -> None:
        """Take note that slices [start, stop) come next: only those with body count, as in the card's statistics."""
        self._probe.listening = self._shows_body is None or bool(self._shows_body[start:stop].any())

    def _judge(self) -> None:
        assert self._seen is not None
        features = self._sampled if self._sampled is not None else self._probe.features
        self.likeness = compare(self._model.card, *self._seen, features)
        if self.likeness.unlike:
            self._events.warning(
                self.likeness.sentence.replace("This input", self._name, 1), todo="Expect a worse result."
            )


def unlikeness(
    image: sitk.Image,
    model: Model,
    body: sitk.Image | None = None,
    device: str | torch.device = "cpu",
    events: Events = SILENT,
    name: str = "The input",
) -> Likeness:
    """Compare an MR with a model's training data without translating it: a few of its slices go through the network.

    Parameters
    ----------
    image
        3D, as it would be given to `synthct.synthesis.translate.translate`.
    body
        Mask of the body; None: found in the image.
    device, events, name
        See `Watch`.

    Raises
    ------
    UserError
        The image is constant, or the mask is empty.
    """
    labels = model.input_scaling.classes is not None
    if body is None and not labels:
        try:
            body = body_mask(image)
        except UserError as error:
            events.warning(f"No body was found in {name}.", str(error), "All of it is compared.")
    elif body is not None and not same_grid(body, image):
        body = resample_onto(body, image, "nearest", 0)
    if model.card.get("bias_correction"):
        image = correct_bias(image, body)
    work = model_grid(grid_of(image), model.card.get("spacing"))
    lowest = float(sitk.GetArrayViewFromImage(image).min())
    image = resample_onto(image, work, "nearest" if labels else "linear", outside=lowest)
    body = None if body is None else resample_onto(body, work, "nearest", 0)
    watch = Watch(model, events, name)
    with watch:
        watch.look(image, body, (), torch.device(device))
    return watch.likeness


def _coarse(image: sitk.Image, model: Model) -> tuple[sitk.Image, sitk.Image | None]:
    """Every n-th voxel of an image, and the body found in that; None where there is none."""
    step = max(1, round((image.GetNumberOfPixels() / _COARSE) ** (1 / 3)))
    steps = [min(step, max(1, size // 8)) for size in image.GetSize()]
    small = image[:: steps[0], :: steps[1], :: steps[2]]
    try:
        return small, body_mask(small, "ct" if str(model.card.get("input", "MR")).upper() == "CT" else "mr")
    except UserError:
        return small, None
