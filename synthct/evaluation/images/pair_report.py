"""Everything that is measured on one pair, and the page that shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from synthct import __version__
from synthct.evaluation.images import curves, regions
from synthct.evaluation.images.pair import Pair
from synthct.evaluation.images.pair_pictures import curves_picture, histogram_picture, profile_picture, slices_picture
from synthct.evaluation.images.scores import DEFINITIONS, Scores, scores_of
from synthct.evaluation.page import bullets, heading, page, paragraph, picture, table
from synthct.evaluation.plain_values import number_text, without_nan
from synthct.volumes.segments import Segments

Line = tuple[Sequence[float], Sequence[float]]
"""Two ends in R, A, S mm."""


@dataclass(frozen=True)
class Evaluation:
    """One pair, measured."""

    pair: Pair
    scores: Scores
    regions: list[dict[str, Any]]
    bone: dict[float, float]
    slices: curves.SliceCurve
    histogram: Any
    profile: curves.Profile | None
    definitions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it but the images as plain JSON values; NaN as None."""
        content = {
            **self.scores.to_dict(),
            "regions": self.regions,
            "bone_curve": {f"{limit:g}": value for limit, value in self.bone.items()},
            "slice_curve": {
                "height_mm": self.slices.height_mm.tolist(),
                "mae_hu": self.slices.mae_hu.tolist(),
                "me_hu": self.slices.me_hu.tolist(),
            },
            "joint_histogram": {
                "range_hu": list(curves.HISTOGRAM_RANGE),
                "bins": curves.HISTOGRAM_BINS,
                "counts": self.histogram.tolist(),
            },
            "voxels_sha256": _digest(self.pair),
            "version": __version__,
        }
        if self.profile is not None:
            content["line_profile"] = {
                "distance_mm": self.profile.distance_mm.tolist(),
                "reference_hu": self.profile.reference_hu.tolist(),
                "synthetic_hu": self.profile.synthetic_hu.tolist(),
            }
        content["definitions"].update(
            {name: curves.DEFINITIONS[name] for name in curves.DEFINITIONS if name in content}
        )
        if self.regions:
            content["definitions"]["regions"] = regions.DEFINITIONS
        result: dict[str, Any] = without_nan(content)
        return result


def _digest(pair: Pair) -> str:
    """Of both CTs as they were compared: tells the same images under two names."""
    digest = hashlib.sha256()
    for array in (pair.reference, pair.synthetic):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def evaluate_pair(pair: Pair, segments: Segments | None = None, line: Line | None = None) -> Evaluation:
    """Measure everything on ``pair``.

    Raises
    ------
    UserError
        A line that misses the image.
    """
    profile = None if line is None else curves.line_profile(pair, *line)  # refused before the long work
    return Evaluation(
        pair,
        scores_of(pair),
        [] if segments is None else regions.score_regions(pair, segments),
        curves.bone_curve(pair),
        curves.slice_curve(pair),
        curves.joint_histogram(pair),
        profile,
    )


def pair_page(found: Evaluation, title: str, sources: Mapping[str, str]) -> str:
    """Return the page of one pair; ``sources`` says by name which files it was measured on."""
    scores = found.scores
    parts = [
        table(["what", "file"], [[name, path] for name, path in sources.items()]),
        paragraph(f"Scored {scores.region}: {scores.voxels} voxels. SyntheticCT {__version__}."),
    ]
    if scores.notes:
        parts += [heading("Read first"), bullets(scores.notes)]
    rows = [[name, number_text(value), DEFINITIONS[name]] for name, value in scores.values.items()]
    parts += [
        heading("Scores"),
        table(["score", "value", "definition"], rows),
        heading("Slices"),
        picture(slices_picture(found.pair, "red: the synthetic CT is too dense, blue: too thin"), "slices and error"),
        heading("Where and at which HU it errs"),
        picture(curves_picture(found.bone, found.slices), "error by slice, and Dice of bone by threshold"),
        picture(histogram_picture(found.histogram), "joint histogram of HU"),
    ]
    if found.profile is not None:
        parts += [heading("Along the line"), picture(profile_picture(found.profile), "HU along the line")]
    if found.regions:
        head = ["region", "voxels", *regions.DEFINITIONS]
        shown = [
            [row["region"], str(row["voxels"]), *(number_text(row[name]) for name in head[2:])] for row in found.regions
        ]
        parts += [heading("Regions"), table(head, shown)]
        parts.append(bullets(f"{name}: {text}" for name, text in regions.DEFINITIONS.items()))
    parts += [heading("Definitions"), bullets(f"{name}: {text}" for name, text in curves.DEFINITIONS.items())]
    return page(title, parts)
