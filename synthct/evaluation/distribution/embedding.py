"""Features of many images as points on a plane, so that a person sees which sets lie apart (row C12)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

PERPLEXITY, LEARNING_RATE = 10.0, 200.0
"""Row C12."""
MOST = 2000
"""Points that are placed, at most: evenly chosen of more."""
_MARKERS = {"real": "o", "synthetic": "X"}


def embed(features: NDArray[np.floating[Any]], seed: int = 0) -> tuple[NDArray[np.float64], str]:
    """Return places on a plane and in words how they were found: t-SNE, or without scikit-learn two principal axes.

    Distances between groups on a t-SNE mean nothing, only who is near whom; principal axes are a straight projection.

    Parameters
    ----------
    features
        (samples, features), two samples or more.

    Returns
    -------
    tuple
        (samples, 2), and a sentence.
    """
    count = len(features)
    if count < 2:
        raise ValueError(f"a plane needs two samples or more, got {count}")
    principal = _principal(np.asarray(features, np.float64))
    if count < 4:
        return principal, f"The two principal axes: {count} samples are too few for a t-SNE."
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError:
        return principal, (
            "The two principal axes. For a t-SNE install scikit-learn (pip install 'synthct[embedding]')."
        )
    perplexity, why = PERPLEXITY, ""
    if perplexity >= count:
        perplexity = max(1.0, (count - 1) // 3)
        why = f" in place of {PERPLEXITY:g}, which {count} samples are too few for"
    found = TSNE(
        perplexity=perplexity, learning_rate=LEARNING_RATE, init=_start(principal), random_state=seed
    ).fit_transform(np.asarray(features, np.float32))
    return found.astype(np.float64), (
        f"t-SNE with perplexity {perplexity:g}{why} and learning rate {LEARNING_RATE:g}, seed {seed}. Who is near whom "
        "means something; distances between groups, and their sizes, do not."
    )


def draw_embedding(places: NDArray[np.float64], sets: Sequence[str], sources: Sequence[str], title: str) -> bytes:
    """Return a PNG: a colour for each source, a circle for each real sample and a cross for each synthetic one.

    Parameters
    ----------
    places
        (samples, 2).
    sets
        ``"real"`` or ``"synthetic"`` for each sample.
    sources
        Where each comes from: centre, class, or the set.
    """
    figure = Figure(figsize=(8, 5.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    kinds = sorted(set(zip(sets, sources, strict=True)))
    shown, beyond = _near(places)
    colours = {source: f"C{number % 10}" for number, source in enumerate(dict.fromkeys(kind[1] for kind in kinds))}
    for which, source in kinds:
        chosen = [pair == (which, source) for pair in zip(sets, sources, strict=True)]
        axes.scatter(
            shown[chosen, 0],
            shown[chosen, 1],
            s=26,
            marker=_MARKERS[which],
            color=colours[source],
            edgecolors="white",
            linewidths=0.4,
            label=which if source == which else f"{which}: {source}",
        )
    axes.set(title=title, xticks=[], yticks=[])
    if beyond:
        axes.set_xlabel(f"{beyond} of {len(places)} samples lie farther out and are drawn at the edge", fontsize=8)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _near(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return places with those far out brought to the edge, and how many: a t-SNE of few samples flings some away."""
    low, high = np.quantile(places, [0.1, 0.9], axis=0)
    reach = 0.75 * (high - low)
    near = np.clip(places, low - reach, high + reach)
    return near, int((near != places).any(axis=1).sum())


def chosen_points(count: int) -> NDArray[np.int64]:
    """Return which of ``count`` samples are placed: all, or `MOST` of them."""
    return np.linspace(0, count - 1, min(count, MOST)).round().astype(np.int64)


def _principal(features: NDArray[np.float64]) -> NDArray[np.float64]:
    apart = features - features.mean(axis=0)
    left, values, _ = np.linalg.svd(apart, full_matrices=False)
    places = left[:, :2] * values[:2]
    return np.pad(places, [(0, 0), (0, 2 - places.shape[1])])


def _start(principal: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return small first places along the principal axes, so that the picture does not hang on the seed alone."""
    spread = principal[:, 0].std() or 1.0
    return (principal / spread * 1e-4).astype(np.float32)
