"""The picture of a data set: histograms of what was measured, and a map of its cases, coloured by source (row C1)."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from synthct.data.analysis import Measured, by_source, columns
from synthct.whole_file import write_whole

_TITLES = {
    "in_plane": "in-plane size (pixels)",
    "slices": "slices",
    "pixel_mm": "pixel (mm)",
    "slice_mm": "slice spacing (mm)",
    "lowest_hu": "lowest HU",
    "highest_hu": "highest HU",
}
PERPLEXITY, LEARNING_RATE = 10, 200
"""Of t-SNE (row C12)."""


def write_analysis_plot(path: Path, measured: Sequence[Measured], title: str) -> None:
    """Write a PNG of six histograms and the map of cases, replacing the one that was there."""
    figure = Figure(figsize=(15, 7.5), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(3, 2)).flat
    sources = by_source(measured)
    colours = [
        f"C{number}" if len(sources) <= 10 else (number / len(sources), 0.4, 0.6) for number in range(len(sources))
    ]
    for axis, (name, label) in zip(left.subplots(2, 3).flat, _TITLES.items(), strict=True):
        values = [columns(members)[name] for members in sources.values()]
        together = np.concatenate(values)
        if len(together):
            edges = np.histogram_bin_edges(together, min(20, max(5, len(together) // 2)))
            axis.hist(values, edges, stacked=True, color=colours, label=list(sources))
        axis.set(xlabel=label, ylabel="cases")
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis = right.subplots()
    known = [one for one in measured if one.features is not None]
    if len(known) > 2:
        places, way = case_map(np.stack([one.features for one in known if one.features is not None]))
        for colour, source in zip(colours, sources, strict=True):
            own = [place for place, one in zip(places, known, strict=True) if one.source == source]
            if own:
                axis.scatter(*np.transpose(own), color=colour, label=f"{source} ({len(own)})", s=18)
        for place, one in zip(places, known, strict=True):
            if one.odd:
                axis.annotate(one.case, place, fontsize=7)
        axis.set(title=f"cases by {way}; odd ones are named", xticks=[], yticks=[])
        axis.legend()
    else:
        axis.set_axis_off()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, picture.getvalue())


def case_map(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Return a place in the plane for each case, near where features (cases, features) are alike, and how it was found.

    t-SNE with the perplexity and learning rate of row C12 where scikit-learn is installed and there are cases enough
    for that perplexity; else the two principal components.
    """
    if importlib.util.find_spec("sklearn") is not None and len(features) > 3 * PERPLEXITY:
        from sklearn.manifold import TSNE

        embedding = TSNE(perplexity=PERPLEXITY, learning_rate=LEARNING_RATE, init="pca", random_state=0)
        return embedding.fit_transform(features), "t-SNE"
    left, sizes, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    places: NDArray[np.float64] = left[:, :2] * sizes[:2]
    return places, "principal components"
