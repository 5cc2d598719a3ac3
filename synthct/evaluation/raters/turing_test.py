"""A visual Turing test made and scored: real and generated volumes, blinded, shuffled and cut alike (row C13)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct import __version__
from synthct.errors import UserError
from synthct.evaluation.plain_values import without_nan
from synthct.evaluation.raters.ratings import DEFINITIONS, agreement, discrimination
from synthct.turing_folder import FORMAT, ITEMS, KEY, TEST, open_test, raters, read_answers
from synthct.volumes.geometry import Grid, array_of, grid_of, require_same_grid, resample_onto, to_axial
from synthct.volumes.hu import AIR_HU
from synthct.volumes.read import read_image
from synthct.volumes.write import write_image
from synthct.whole_file import write_whole

SOFT_TISSUE = (-1000.0, 600.0)
"""Window shown unless told otherwise, in HU."""
PARTS = 3
"""A rater sees one of so many slabs of each volume."""
_SMALLEST = 8
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class Source:
    """One volume, in HU, and its mask."""

    image: Path
    mask: Path | None


def find_sources(folder: Path) -> list[Source]:
    """Return the volumes of ``folder/images`` with those of ``folder/masks`` of the same name, or of ``folder`` alone.

    Raises
    ------
    UserError
        No volumes there.
    """
    images = folder / "images" if (folder / "images").is_dir() else folder
    found = sorted(path for path in images.iterdir() if path.name.lower().endswith(_ENDINGS)) if images.is_dir() else []
    if not found:
        raise UserError(
            f"{folder} holds no volumes.",
            "No NIfTI, NRRD or MetaImage file is in it or in its folder images.",
            "Choose a folder of volumes.",
        )
    masks = folder / "masks"
    return [Source(path, masks / path.name if (masks / path.name).is_file() else None) for path in found]


def prepare_test(
    real: Sequence[Source],
    generated: Sequence[Source],
    folder: Path,
    count: int | None = None,
    seed: int = 0,
    window: tuple[float, float] = SOFT_TISSUE,
    parts: int = PARTS,
) -> int:
    """Write a blinded test: ``count`` volumes of each kind, drawn and shuffled by ``seed``.

    Nothing but the voxels may tell: all items get the coarsest spacing and the smallest size that any of them has,
    one slab of ``parts`` (drawn) along the body, int16 clipped to the window, an origin of 0 and plain names; a mask
    is shown only if every volume has one.

    Parameters
    ----------
    folder
        New; its ``test.json`` is written last.

    Returns
    -------
    int
        How many items there are.

    Raises
    ------
    UserError
        The folder exists, there are fewer volumes than asked for, one file is in both kinds, or what is common to all
        is too small to look at.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty.", "Nothing is replaced unasked.", "Choose a new folder.")
    _require_distinct(real, generated)
    most = min(len(real), len(generated))
    number = most if count is None else count
    if not 1 <= number <= most:
        raise UserError(
            f"{number} volumes of each kind cannot be shown.",
            f"There are {len(real)} real and {len(generated)} generated ones.",
            f"Ask for 1 to {most}.",
        )
    random = np.random.default_rng(seed)
    chosen = [(source, True) for source in _drawn(real, number, random)]
    chosen += [(source, False) for source in _drawn(generated, number, random)]
    chosen = [chosen[place] for place in random.permutation(len(chosen))]
    slabs = [int(part) for part in random.integers(0, parts, len(chosen))]
    masked = all(source.mask is not None for source, _ in chosen)
    spacing, size = _common([source for source, _ in chosen], parts)
    names = [f"{place:03d}" for place in range(1, len(chosen) + 1)]
    key = {}
    for name, (source, is_real), part in zip(names, chosen, slabs, strict=True):
        for kind, image in _cut(source, masked, part, parts, spacing, size, window):
            write_image(image, folder / ITEMS / f"{name}{kind}.nii.gz")
        key[name] = {"real": is_real, "image": str(source.image), "part": part + 1}
    write_whole(folder / KEY, json.dumps(key, indent=2) + "\n")
    facts = {"format": FORMAT, "seed": seed, "window": list(window), "parts": parts, "spacing_mm": list(spacing)}
    write_whole(folder / TEST, json.dumps({**facts, "size": list(size), "items": names}, indent=2) + "\n")
    return len(names)


def score_test(folder: Path) -> dict[str, Any]:
    """Return each rater's means and AUC, those of the raters' mean, and the raters' agreement; NaN as None.

    A rater who has not answered all items counts for the answered ones; agreement is over the items that all have
    rated.

    Raises
    ------
    UserError
        No test, no key, or no answers.
    """
    test = open_test(folder)
    key = _key(folder)
    names = [item.name for item in test.items]
    answers = {rater: read_answers(folder, rater) for rater in raters(folder)}
    answers = {rater: found for rater, found in answers.items() if found}
    if not answers:
        raise UserError(f"Nobody has answered the test {folder} yet.", todo="Rate its items in SynthEval.")
    unknown = sorted({item for found in answers.values() for item in found} - set(names))
    if unknown:
        raise UserError(
            f"The answers of {folder} name items that it does not have: {', '.join(unknown[:5])}.",
            "They belong to another test.",
            "Put the right answers there.",
        )
    table = {rater: {item: answer.rating for item, answer in found.items()} for rater, found in answers.items()}
    shared = [name for name in names if all(name in found for found in table.values())]
    content: dict[str, Any] = {
        "items": len(names),
        "raters": {
            rater: {
                **_told(found, key),
                "answered": len(found),
                "seconds_median": float(np.median([answer.seconds for answer in answers[rater].values()])),
            }
            for rater, found in table.items()
        },
        "definitions": DEFINITIONS,
        "version": __version__,
    }
    if len(table) > 1 and shared:
        ratings = np.array([[found[name] for found in table.values()] for name in shared])
        content["mean of raters"] = _told(dict(zip(shared, ratings.mean(1).tolist(), strict=True)), key)
        content["agreement"] = asdict(agreement(ratings))
    result: dict[str, Any] = without_nan(content)
    return result


def rating_rows(folder: Path) -> list[dict[str, Any]]:
    """Return one row per rater and item: who rated what how, and what it was."""
    key = _key(folder)
    return [
        {
            "rater": rater,
            "item": item,
            "rating": answer.rating,
            "real": "yes" if key[item]["real"] else "no",
            "image": key[item]["image"],
            "seconds": answer.seconds,
        }
        for rater in raters(folder)
        for item, answer in read_answers(folder, rater).items()
        if item in key
    ]


def _require_distinct(real: Sequence[Source], generated: Sequence[Source]) -> None:
    both = {source.image.resolve() for source in real} & {source.image.resolve() for source in generated}
    if both:
        raise UserError(
            f"{min(both)} is among the real and the generated volumes.", todo="Choose two different folders."
        )


def _drawn(sources: Sequence[Source], number: int, random: np.random.Generator) -> list[Source]:
    return [sources[place] for place in sorted(random.choice(len(sources), number, replace=False))]


def _common(sources: Sequence[Source], parts: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the coarsest spacing along each axis and the smallest size at that spacing; a slab's along the body."""
    grids = [grid_of(to_axial(read_image(source.image))) for source in sources]
    spacing = np.max([grid.spacing for grid in grids], axis=0)
    extents = np.array([np.asarray(grid.size) * grid.spacing for grid in grids])
    extents[:, 2] /= parts
    size = np.floor(extents.min(axis=0) / spacing + 1e-6).astype(int)
    if size.min() < _SMALLEST:
        shown = " × ".join(map(str, size))
        raise UserError(
            f"What every volume has in common is {shown} voxels.",
            f"Less than {_SMALLEST} along an axis cannot be judged.",
            "Leave out the smallest volume, or ask for fewer parts.",
        )
    return tuple(float(length) for length in spacing), tuple(int(side) for side in size)


def _cut(
    source: Source,
    masked: bool,
    part: int,
    parts: int,
    spacing: Sequence[float],
    size: Sequence[int],
    window: tuple[float, float],
) -> Iterator[tuple[str, sitk.Image]]:
    """Yield the slab of image and mask, on the common grid, with the ending of the file's name."""
    original = read_image(source.image)
    image = to_axial(original)
    grid = grid_of(image)
    extent = np.asarray(grid.size) * grid.spacing
    centre = extent / 2
    centre[2] = extent[2] * (part + 0.5) / parts
    first = (centre - np.asarray(size) * spacing / 2 + np.asarray(spacing) / 2) / grid.spacing - 0.5
    origin = (grid.index_to_world @ (*first, 1))[:3]
    target = Grid(tuple(size), tuple(spacing), tuple(map(float, origin)), grid.direction)  # type: ignore[arg-type]
    slab = array_of(resample_onto(image, target, "linear", AIR_HU))
    yield "", _bare(np.rint(np.clip(slab, *window)).astype(np.int16), spacing)
    if masked and source.mask is not None:
        mask = read_image(source.mask)
        require_same_grid(original, mask, (str(source.image), str(source.mask)))
        yield "_mask", _bare(array_of(resample_onto(to_axial(mask), target, "nearest")).astype(np.uint8), spacing)


def _bare(array: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    """An image with no trace of where it came from."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(length) for length in spacing])
    return image


def _key(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads((folder / KEY).read_text(encoding="utf-8"))
        return {str(name): dict(entry) for name, entry in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder} has no {KEY} that can be read.",
            f"{error}. It tells which items are real.",
            "Put the key back that was taken away for the raters.",
        ) from error


def _told(ratings: Mapping[str, float], key: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    real = [rating for item, rating in ratings.items() if key[item]["real"]]
    generated = [rating for item, rating in ratings.items() if not key[item]["real"]]
    return asdict(discrimination(real, generated))
