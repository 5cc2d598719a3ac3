"""A folder of generated pairs held against the cases that its model may have learned: flags, and a picture."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from synthct.data.cache import open_cache
from synthct.data.cohort import Cohort
from synthct.data.fitting import fitted
from synthct.data.noise_batches import NoiseBatches
from synthct.data.preparation import prepare_cohort
from synthct.events import SILENT, Events
from synthct.options import typed
from synthct.recipe import NOISE_TASK, Data, Preparation
from synthct.synthesis.generation.leak_check import LeakCheck, Nearest
from synthct.synthesis.generation.pair import montage_of
from synthct.volumes.read import read_image
from synthct.volumes.scaling import make_scaling
from synthct.whole_file import write_whole

PICTURE = "closest_pairs.png"
FLAG = "too close to a training case"
SHOWN = 8
MOST = 4096
"""Training images that are compared with, at most; of slices evenly chosen ones of every case."""

Image = NDArray[np.float32]


def check_generated(
    manifest: Path, card: Mapping[str, Any], cohort: Cohort, events: Events = SILENT
) -> list[dict[str, Any]]:
    """Compare the images of a finished folder with those of ``cohort`` and write what was found into its manifest.

    Every pair gets ``training_neighbour`` (`Nearest.to_dict`) and, where it is too close, the flag `FLAG`; the manifest
    gets ``leak_check`` with the rule; beside it `PICTURE` shows the closest pairs. The rule is that of
    `synthct.synthesis.generation.leak_check`. The cohort is prepared and brought to size
    as the model's training images were.

    Parameters
    ----------
    manifest
        That of `synthct.synthesis.generation.generate.generate`.
    card
        Of the model that made the folder.

    Returns
    -------
    list of dict
        The manifest's entries of those that are too close.

    Raises
    ------
    UserError
        The cohort has too few patients, or a file cannot be read.
    """
    folder = manifest.parent
    content = json.loads(manifest.read_text(encoding="utf-8"))
    if card["fit"] == "crop":
        events.warning(
            "Training images are compared by the window in their middle.",
            f"The model {card['name']} learned windows at random places, and a copy of another place is not found.",
            "Look at the generated images, too.",
        )
    scaling = make_scaling(card["target_scaling"])
    with tempfile.TemporaryDirectory() as aside:
        check = _reference(card, cohort, Path(aside), events)
    found: list[tuple[Nearest, Image]] = []
    for done, entry in enumerate(content["pairs"]):
        events.progress(done, len(content["pairs"]), "leak check", entry["id"])
        image = _as_generated(folder / entry["image"], card, scaling.apply)
        nearest = check.nearest(image)
        entry["training_neighbour"] = nearest.to_dict()
        entry["flags"] = [*(flag for flag in entry["flags"] if flag != FLAG), *([FLAG] if nearest.flagged else [])]
        found.append((nearest, image))
    content["leak_check"] = {"cohort_images": len(cohort.used), **check.to_dict()}
    _write_picture(folder / PICTURE, check, found, [entry["id"] for entry in content["pairs"]])
    write_whole(manifest, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    flagged = [entry for entry in content["pairs"] if FLAG in entry["flags"]]
    if flagged:
        events.warning(
            f"{len(flagged)} of {len(found)} generated images come too close to a training case: "
            f"{', '.join(entry['id'] for entry in flagged[:5])}{', ...' if len(flagged) > 5 else ''}.",
            " ".join(flagged[0]["training_neighbour"]["reasons"]),
            f"Look at {folder / PICTURE}, and give no flagged pair away: it may show a patient.",
        )
    events.result(
        output=str(folder.absolute()),
        manifest=str(manifest.absolute()),
        pairs=len(found),
        flagged=[entry["id"] for entry in flagged],
        picture=str((folder / PICTURE).absolute()),
    )
    return flagged


def _reference(card: Mapping[str, Any], cohort: Cohort, aside: Path, events: Events) -> LeakCheck:
    """Return the check with the cohort's images as the training saw them."""
    montage = montage_of(card)
    laid_out: dict[str, Any] = {} if montage is None else {"montage_slice": montage.cell}
    data = Data(
        planes=tuple(card["planes"]),
        size=tuple(card["size"]),
        fit=card["fit"],
        masks=card["masks"],
        target_scaling=card["target_scaling"],
        mask_scaling=card["mask_scaling"] or Data().mask_scaling,
        **laid_out,
    )
    preparation = typed(Preparation, card.get("preparation", {}), "the model's card", "preparation")
    prepared = prepare_cohort(cohort.for_task(NOISE_TASK), preparation, aside / "prepared", events)
    shared = cohort.preparation is not None and os.access(prepared.root, os.W_OK)
    volumes = open_cache(prepared, prepared.root / ".cache" if shared else aside / "cache", events)
    images, cases, patients = [], [], []
    for case in prepared.used:
        batches = NoiseBatches({case.id: fitted(volumes[case.id], data)}, [case.id], data, 1, 0)
        count = 1 if len(data.size) == 3 or montage else max(1, MOST // len(prepared.used))
        for sample in batches.preview(count)["target"].numpy():
            image = _without_mask(sample, data.masks)
            images.append(montage.take_back(image, card["montage"]["slices"]) if montage else image.copy())
            cases.append(case.id)
            patients.append(case.patient_id)
    return LeakCheck(images[:MOST], cases[:MOST], patients[:MOST])


def _without_mask(sample: Image, masks: str) -> Image:
    image: Image = sample[0]
    return image[: len(image) // 2] if masks == "joined" else image


def _as_generated(path: Path, card: Mapping[str, Any], scaled: Any) -> Image:
    """Return a written image as the network gave it, but for the rounding of HU: a slice or a volume, −1 to 1."""
    image: Image = scaled(sitk.GetArrayFromImage(read_image(path, single_slice=True)).astype(np.float32))
    flat = len(card["size"]) == 2 and montage_of(card) is None and 1 in image.shape
    return np.squeeze(image, image.shape.index(1)) if flat else image


def _write_picture(path: Path, check: LeakCheck, found: list[tuple[Nearest, Image]], names: list[str]) -> None:
    """Draw the generated images that come nearest, by either measure, above the training image that each repeats."""

    def apart(nearest: Nearest) -> tuple[float, float]:
        """Distance and unlikeness in units of their limits."""
        return (
            nearest.distance / max(nearest.distance_limit, 1e-9),
            (1 - nearest.ms_ssim) / max(1 - nearest.ms_ssim_limit, 1e-9),
        )

    order = sorted(range(len(found)), key=lambda number: min(apart(found[number][0])))[:SHOWN]
    figure = Figure(figsize=(max(6.0, 1.9 * len(order)), 5.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Generated images (above) and the training case nearest to each (below); red: too close")
    grid = figure.subplots(2, len(order), squeeze=False)
    for column, number in zip(grid.T, order, strict=True):
        nearest, image = found[number]
        by_features = f"features {nearest.distance:.3f}", check.picture(nearest.place), nearest.case
        by_likeness = f"MS-SSIM {nearest.ms_ssim:.3f}", check.picture(nearest.similar_place), nearest.similar_case
        distance, unlikeness = apart(nearest)
        label, other, case = by_features if distance < unlikeness else by_likeness
        colour = "red" if nearest.flagged else "black"
        for axis, picture, title in zip(column, (image, other), (names[number], f"{case}\n{label}"), strict=True):
            axis.set(xticks=[], yticks=[])
            axis.set_title(title, fontsize=8, color=colour)
            axis.imshow(_middle(picture), cmap="gray", vmin=-1, vmax=1)
            for spine in axis.spines.values():
                spine.set_edgecolor(colour)
    written = io.BytesIO()
    figure.savefig(written, format="png")
    write_whole(path, written.getvalue())


def _middle(image: Image) -> Image:
    return image if image.ndim == 2 else image[len(image) // 2]
