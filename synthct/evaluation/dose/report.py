"""Two doses compared, as one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthct.evaluation.page import bullets, heading, page, paragraph, picture, table
from synthct.evaluation.plain_values import number_text

_METRICS = ("d98_gy", "d95_gy", "d50_gy", "d2_gy", "mean_gy")


def dose_page(content: Mapping[str, Any], slices: bytes, volumes: bytes | None) -> str:
    """Return the page.

    Parameters
    ----------
    content
        What the JSON file holds.
    slices, volumes
        PNG of a slice, and of the dose-volume histograms where there are structures.
    """
    parts = [
        table(["what", "file"], [[name, content["files"][name]] for name in content["files"]]),
        paragraph(
            f"100 % is {content['normalisation_gy']:g} Gy; judged are voxels from {content['threshold_percent']:g} % "
            f"on. SyntheticCT {content['version']}."
        ),
    ]
    if content["notes"]:
        parts += [heading("Read first"), bullets(content["notes"])]
    rows = [
        [name, f"{each['pass_percent']:.2f} %", number_text(each["mean"]), str(each["voxels"])]
        for name, each in content["gamma"].items()
    ]
    differences = (
        "mean_difference_gy",
        "mean_absolute_difference_gy",
        "mean_difference_percent",
        "largest_difference_gy",
    )
    parts += [
        heading(f"Gamma, {content['gamma_kind']}"),
        table(["criterion", "pass", "mean gamma", "voxels"], rows),
        heading("Difference"),
        table(["evaluated − reference", "value"], [[name, number_text(content[name])] for name in differences]),
        picture(slices, "reference dose, difference and gamma in the slice of the highest dose"),
    ]
    if volumes is not None:
        head = ["structure", "ml", *(f"{name[:-3]}: reference, evaluated, difference (Gy; %)" for name in _METRICS)]
        parts += [heading("Structures"), picture(volumes, "dose-volume histograms")]
        parts.append(table(head, [_row(name, row) for name, row in content["structures"].items()]))
    parts += [heading("Definitions"), bullets(f"{name}: {text}" for name, text in content["definitions"].items())]
    return page("Two doses compared", parts)


def _row(name: str, row: Mapping[str, Any]) -> list[str]:
    cells = [
        f"{row[metric]['reference']:.2f}, {row[metric]['evaluated']:.2f}, {row[metric]['difference']:+.2f} "
        f"({row[metric]['difference_percent']:+.2f} %)"
        for metric in _METRICS
    ]
    return [name, f"{row['volume_ml']:.1f}", *cells]
