"""The comparison of two sets of images as one page: in words, in numbers with their definitions, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthct import __version__
from synthct.evaluation.distribution.scores import DEFINITIONS
from synthct.evaluation.page import bullets, code, heading, page, paragraph, picture, table
from synthct.volumes.scaling import make_scaling

_NAMES = {
    "fid": "Fréchet distance",
    "kid": "Kernel distance",
    "kid_subsets": "Kernel distance over subsets",
    "mmd": "MMD, Gaussian kernel",
    "precision": "Precision",
    "recall": "Recall",
    "inception_score": "Inception score",
}


def distribution_page(content: Mapping[str, Any], places: bytes, how: str) -> str:
    """Return the page.

    Parameters
    ----------
    content
        What the JSON file holds.
    places
        PNG of the samples on a plane, and ``how`` it was made, in words.
    """
    model, equal = content["features"], content["at_equal_numbers"]
    parts = [
        paragraph(
            f"{content['synthetic']['samples']} synthetic against {content['real']['samples']} real {content['by']}. "
            f"SyntheticCT {__version__}."
        ),
        heading("In words"),
        bullets(content["words"]),
        heading("Read first"),
        bullets(content["notes"]),
        heading("Numbers"),
        table(["score", "value", "definition"], [_row(name, content["scores"]) for name in _shown(content["scores"])]),
    ]
    if equal is not None:
        parts.append(heading(f"At equal numbers: {equal['samples']} of each"))
        parts.append(
            paragraph(
                f"Mean and standard deviation over {equal['draws']} random divisions of the real set by patient: one "
                "half against the other, and the same half against as many synthetic samples."
            )
        )
        rows = [
            [_NAMES[name], *(_spread(equal[which][name]) for which in ("real_against_real", "synthetic_against_real"))]
            for name in equal["real_against_real"]
        ]
        parts.append(table(["score", "real against real", "synthetic against real"], rows))
    parts += [
        heading("The samples on a plane"),
        paragraph(how),
        picture(places, "Every sample as a point; real ones as circles, synthetic ones as crosses."),
        heading("The features"),
        paragraph(model["definition"]),
        table(
            ["", ""],
            [
                ["name", model["name"]],
                ["SHA-256 of the weights", code(model["sha256"] or "no network")],
                ["features", str(model["features"])],
                ["classes", ", ".join(model["classes"]) or "none"],
                ["images come to", f"{'×'.join(map(str, model['size']))} ({model['fit']})"],
                ["scaling of images", _scaling(model["scaling"], " HU")],
                ["scaling of masks", _scaling(model["mask_scaling"], "")],
            ],
        ),
        heading("The sets"),
        table(
            ["", "folder", "images", "samples"],
            [[which, code(s["folder"]), str(s["images"]), str(s["samples"])] for which, s in _sets(content)],
        ),
    ]
    return page("Synthetic against real images, as sets", parts)


def _sets(content: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(which, content[which]) for which in ("real", "synthetic")]


def _shown(scores: Mapping[str, Any]) -> list[str]:
    return [name for name in _NAMES if name in scores]


def _row(name: str, scores: Mapping[str, Any]) -> list[str]:
    value = scores[name]
    if value is None:
        text = "not defined"
    elif name == "kid_subsets":
        text = f"{_spread(value)}; {value['subsets']} subsets of {value['size']}"
    elif name == "inception_score":
        text = f"{value:.3f} (real {scores['inception_score_real']:.3f})"
    else:
        text = f"{value:.4g}"
    return [_NAMES[name], text, DEFINITIONS[name]]


def _scaling(options: Mapping[str, Any], unit: str) -> str:
    low, high = make_scaling(options).range
    return f"{low:g} to {high:g}{unit} become −1 to 1 ({options['name']})"


def _spread(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.4g} ± {value['sd']:.2g}"
