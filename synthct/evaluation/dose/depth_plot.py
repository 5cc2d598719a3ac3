"""Pictures of water-equivalent depth: curves along the central ray, and maps of the difference over all rays."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from synthct.evaluation.dose.water_equivalent import DepthProfile, PathDifference

REFERENCE, SYNTHETIC = "CT", "synthetic CT"
_COLOURS = {REFERENCE: "black", SYNTHETIC: "tab:orange"}
_ROW_INCHES, _WIDTH_INCHES = 2.9, 11.0


def depth_picture(
    profiles: Sequence[DepthProfile], differences: Sequence[PathDifference], quantity: str, title: str
) -> bytes:
    """Return a PNG, one row per angle: depth curves, their difference and, where there is one, the map over the rays.

    Parameters
    ----------
    profiles
        With the names `REFERENCE` and, where two volumes are compared, `SYNTHETIC`.
    differences
        Of the same angles, or empty where there is one volume alone.
    quantity
        What was integrated, for the axes.
    """
    columns = [5.0, 3.0, 3.6] if differences else [5.0]
    figure = Figure(
        figsize=(_WIDTH_INCHES if differences else 6.5, _ROW_INCHES * len(profiles) + 0.6),
        dpi=100,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    rows = figure.subplots(len(profiles), len(columns), squeeze=False, width_ratios=columns)
    limit = _limit(differences)
    for row, profile in zip(rows, profiles, strict=True):
        last = profile is profiles[-1]
        for name, water in profile.water_mm.items():
            row[0].plot(profile.depth_mm, water, label=name, color=_COLOURS.get(name), linewidth=1.3)
        row[0].plot(profile.depth_mm, profile.depth_mm, color="0.7", linewidth=0.8, linestyle=":", label="water")
        row[0].set(
            ylabel=f"{profile.angle:g}°\nwater-equivalent (mm)", xlabel="depth behind the skin (mm)" if last else ""
        )
        if profile is profiles[0]:
            row[0].set_title(f"by {quantity}", fontsize=9)
            row[0].legend(fontsize=8)
        if not differences:
            continue
        error = profile.water_mm[SYNTHETIC] - profile.water_mm[REFERENCE]
        row[1].axhline(0, color="0.7", linewidth=0.8)
        row[1].plot(profile.depth_mm, error, color="tab:red", linewidth=1.3)
        reach = max(1.0, 1.1 * float(np.abs(error).max()))
        row[1].set(ylim=(-reach, reach), ylabel="sCT − CT (mm)", xlabel="depth (mm)" if last else "")
    for row, difference in zip(rows, differences, strict=False):
        shown = draw_difference(row[2], difference, limit)
        figure.colorbar(shown, ax=row[2], label="sCT − CT (mm)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def map_picture(differences: Sequence[PathDifference]) -> bytes:
    """Return a PNG of the maps alone, side by side with one colour bar."""
    figure = Figure(figsize=(2.6 * len(differences) + 0.9, 3.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(differences), squeeze=False)[0]
    limit = _limit(differences)
    for axis, difference in zip(axes, differences, strict=True):
        shown = draw_difference(axis, difference, limit)
    figure.colorbar(shown, ax=list(axes), label="sCT − CT (mm)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def draw_difference(axis: Axes, difference: PathDifference, limit: float) -> AxesImage:
    """Draw one map as seen along the beam, the head up; return what a colour bar needs."""
    numbers = difference.numbers()
    height, width = (n * step for n, step in zip(difference.difference_mm.shape, difference.spacing_mm, strict=True))
    shown = axis.imshow(
        np.ma.masked_invalid(difference.difference_mm),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        origin="lower",
        extent=(0, width, 0, height),
    )
    axis.set(facecolor="0.85")
    axis.tick_params(labelsize=7)
    axis.set_title(
        f"{difference.angle:g}°: {numbers['mean_mm']:+.1f} ± {numbers['sd_mm']:.1f} mm, "
        f"largest {numbers['max_abs_mm']:.1f}",
        fontsize=8,
    )
    return shown


def _limit(differences: Sequence[PathDifference]) -> float:
    """Half width of the colour scale: the 98th percentile of what there is, 1 mm at least."""
    sizes = [np.abs(d.difference_mm[np.isfinite(d.difference_mm)]) for d in differences]
    together = np.concatenate(sizes) if sizes else np.empty(0)
    return max(1.0, float(np.percentile(together, 98))) if together.size else 1.0
