"""The picture of a calibration: error against standard deviation, and what k of it cover."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from synthct.evaluation.uncertainty.calibration import Calibration, normal_coverage
from synthct.whole_file import write_whole


def write_calibration_plot(path: Path, before: Calibration, after: Calibration | None, title: str) -> None:
    """Write a PNG, replacing the one that was there.

    Parameters
    ----------
    before, after
        As predicted, and multiplied by the factor; None: there is none.
    title
        Model, modes and cases.
    """
    figure = Figure(figsize=(11, 5.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    reliability, coverage = figure.subplots(1, 2)
    drawn = [(before, "as predicted", "C0", "o")]
    if after is not None:
        drawn.append((after, f"× {before.factor:.2f}", "C1", "s"))
    largest = max(max(*found.deviation, *found.error) for found, *_ in drawn) * 1.05 or 1.0
    reliability.plot([0, largest], [0, largest], color="0.6", linestyle="--", label="ideal")
    ideal = [100 * normal_coverage(k) for k in before.coverage]
    coverage.plot(list(before.coverage), ideal, color="0.6", linestyle="--", marker="_", label="normal distribution")
    for found, label, colour, marker in drawn:
        reliability.plot(found.deviation, found.error, color=colour, marker=marker, markersize=4, label=label)
        shares = [100 * share for share in found.coverage.values()]
        coverage.plot(list(found.coverage), shares, color=colour, marker=marker, label=label)
    reliability.set(
        xlabel="predicted standard deviation (HU, RMS of the bin)",
        ylabel="error (HU, RMS of the bin)",
        title="Reliability: does the error grow with the SD?",
        xlim=(0, largest),
        ylim=(0, largest),
    )
    coverage.set(
        xlabel="k",
        ylabel="voxels with |error| ≤ k SD (%)",
        title="Coverage: does k SD cover what it says?",
        ylim=(0, 102),
        xticks=list(before.coverage),
    )
    for axes in (reliability, coverage):
        axes.grid(color="0.9")
        axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_whole(path, picture.getvalue())
