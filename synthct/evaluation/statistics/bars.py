"""Bars of one score per patient, side by side for each group (row B11)."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_COLOURS = ("#4a90c2", "#e07b39", "#5a9e5a", "#b05fa8", "#c9b03a", "#7a7a7a", "#c65b4e", "#3fa7a0")
_WIDEST_INCHES = 60.0


def score_bars(scores: Mapping[str, Mapping[str, float]], patients: Sequence[str], label: str, title: str) -> bytes:
    """Return a PNG with a bar for each patient and group; what is not defined has no bar.

    Parameters
    ----------
    scores
        Group → patient → score.
    patients
        In their order along the axis.
    label
        Of the axis of the scores.
    """
    each = 0.08 * len(scores) + 0.2
    figure = Figure(figsize=(min(_WIDEST_INCHES, max(6.0, 1.5 + each * len(patients))), 3.8), dpi=100, layout="tight")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    width = 0.85 / max(1, len(scores))
    for number, (group, by_patient) in enumerate(scores.items()):
        places = [place + (number - (len(scores) - 1) / 2) * width for place in range(len(patients))]
        heights = [_finite(by_patient.get(patient, math.nan)) for patient in patients]
        axis.bar(places, heights, width, label=group, color=_COLOURS[number % len(_COLOURS)])
    axis.set(ylabel=label, title=title, xlim=(-0.6, len(patients) - 0.4))
    axis.set_xticks(range(len(patients)), patients, rotation=90, fontsize=7)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
