"""A model's card, ``model.json``: what it translates, from what to what, and what it was trained on.

Plain JSON that explains itself, so that a viewer can show it without torch. Its keys:

``format``
    1, the layout described here.
``name``, ``task``, ``input``, ``target``, ``anatomy``, ``sequence``
    What it is called and what it translates (``"mr-to-ct"``, ``"MR"``, ``"CT"``, ``"pelvis"``, ``"T2w"``).
``network``, ``in_channels``, ``out_channels``
    Entry of the network registry: ``{"name": ..., options}``, and its channels: ``neighbours`` · 2 + 1, times the
    classes where ``input_scaling`` is ``one-hot``.
``classes``
    Names of the output's channels where they are scores of classes (tasks ``"ct-to-tissues"``, of each voxel, and
    ``"ct-to-class"``, of the whole image) in place of HU; the input is then a CT, and ``target_scaling`` and
    ``hu_range`` are that CT's. Absent in a model that translates.
``input_scaling``, ``target_scaling``
    ``to_dict()`` of the intensity scalings. ``one-hot`` and ``lidc-label`` are of label numbers: the input of such a
    model (task ``"label-to-ct"``) is a label map, which is resampled by nearest neighbour.
``planes``, ``neighbours``
    Planes it was trained on (axial, coronal, sagittal) and slices on either side as further input channels.
``size``
    Rows and columns of a training sample: the size of a tile. Three entries, slices, rows and columns: a 3D network,
    and the size of its window; it has no ``neighbours``, and its ``planes`` are ``["axial"]``.
``spacing``
    x, y, z in mm after reorientation to axial (x to the left, y to the back, z to the head); null, or null or 0 in
    one place: the input's own is kept.
``hu_range``
    Lowest and highest HU of the output.
``bias_correction``
    True where the training inputs were N4-corrected: the input is then corrected too.
``dropout``
    Whether its network has dropout layers, which Monte-Carlo dropout needs; absent: not known.
``body_only``
    True where the network learned inside the body alone: what it gives outside means nothing and is made air.
``statistics``
    Of the training inputs, for the warning when an input is unlike them:
    ``{"spacing_mm": [[low, high] for x, y, z], "extent_mm": [[low, high] for x, y, z], "intensity_p99": [low, high],
    "histogram": {"mean", "distance_p95", "cases"}, "features": {"mean", "sd", "distance_p95", "cases"}}``; see
    `synthct.synthesis.likeness.training_statistics`. And, for `synthct qa`, ``"bone_fraction"``, ``"air_fraction"`` and
    ``"body_ml"``, each [low, high] over the training CTs; see `synthct.evaluation.images.body_content`.
``training``
    Preset, cohort summary, steps, date, scores.
``intended_use``
    One sentence for the user.
``weights_sha256``
    Of ``weights.safetensors`` beside it.

A model of the task ``"ct-to-class"`` also has ``preparation``, ``fit`` and ``mask_scaling`` (that of masks whose
features are asked for), as below, and:

``class_of``
    What the manifest said of a case that is its class: ``"diagnosis"`` or ``"centre"``.

A model that makes images from noise (task ``"noise-to-ct"``, ``input`` ``"noise"``) has no ``input_scaling``,
``neighbours``, ``statistics``, ``bias_correction`` and ``body_only``; its ``network`` takes latents, ``in_channels`` is
the first entry of ``latent_shape``, ``size`` that of what it gives, ``out_channels`` the channels of that, and:

``latent_shape``
    Of one latent: ``[1024]``, or a volume of noise.
``channels``
    What is made: ``["image"]`` or ``["image", "mask"]``.
``masks``
    How the mask is made: ``"none"``, ``"channel"`` (the second channel) or ``"joined"`` (one channel, the slices of the
    image first, then as many of the mask).
``mask_scaling``
    ``to_dict()`` of the mask's scaling: which values the mask had in training; null without masks.
``preparation``
    What was done to the training images before, as in the recipe; the leak check does the same to its cases.
``fit``
    How training images came to ``size``: ``"crop"``, ``"centre"``, ``"resize"`` or ``"montage"``.
``montage``
    With ``fit`` ``"montage"``: ``slice``, rows and columns of each slice on the picture, and ``slices``, how many are
    taken from it (the median of the training volumes).
``spacing``
    x, y, z in mm of what is made: the median of the training images' after they came to ``size``.
``planes``
    In 2D, planes of the slices that it learned.
``class_names``
    Names of the classes that it can be asked for, in the order of their numbers; empty: none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from synthct.errors import UserError
from synthct.synthesis.models_folder import installed_folder

FORMAT = 1
NOISE_TASK = "noise-to-ct"
CARD = "model.json"
WEIGHTS = "weights.safetensors"
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".bin")
PLANES = ("axial", "coronal", "sagittal")

_NEEDED: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "network": dict,
    "in_channels": int,
    "out_channels": int,
    "input_scaling": dict,
    "target_scaling": dict,
    "size": list,
    "hu_range": list,
    "weights_sha256": str,
}
_FROM_NOISE: dict[str, type | tuple[type, ...]] = {
    **{key: kind for key, kind in _NEEDED.items() if key != "input_scaling"},
    "latent_shape": list,
    "channels": list,
    "masks": str,
    "spacing": list,
    "class_names": list,
}
_DEFAULTS: dict[str, Any] = {
    "task": "mr-to-ct",
    "input": "MR",
    "target": "CT",
    "planes": ["axial"],
    "neighbours": 0,
    "spacing": None,
    "bias_correction": False,
    "body_only": False,
    "statistics": {},
    "training": {},
}


def model_folder(path: Path | str) -> Path:
    """Return the folder that holds ``model.json``.

    For a model folder, a run folder, one of a model's two files, or the name of an installed model (which a file or
    folder of the same name goes before).

    Raises
    ------
    UserError
        Nothing there, no model in it, or a pickle file, which is never opened.
    """
    path = Path(path)
    if path.suffix.lower() in PICKLES:
        raise UserError(
            f"{path} is a pickle file and is not opened.",
            "A pickle can run any program when it is loaded.",
            f"Give a model folder with {CARD} and {WEIGHTS}.",
        )
    if path.name in (CARD, WEIGHTS):
        path = path.parent
    if not path.exists():
        installed = installed_folder(str(path))
        if installed is None:
            raise UserError(
                f"The model {path} does not exist.",
                "It is no file or folder, nor the name of an installed model.",
                "Give a run folder or a model folder, or a name that `synthct models` lists.",
            )
        path = installed
    for folder in (path, path / "model"):
        if (folder / CARD).is_file():
            return folder
    why = f"It has no {CARD}."
    if path.is_dir() and any(entry.suffix.lower() in PICKLES for entry in path.iterdir()):
        why = f"It has no {CARD}; pickle files are not opened, since they can run any program when loaded."
    elif (path / "checkpoints").is_dir():
        why = "The run has not kept a model yet: the first one is written after the first validation."
    raise UserError(f"{path} holds no model.", why, f"Give a run folder or a folder with {CARD} and {WEIGHTS}.")


def card_of(path: Path | str) -> dict[str, Any]:
    """Read and check the card of the model at ``path`` (see `model_folder`), without its weights.

    Raises
    ------
    UserError
        Missing, unreadable or incomplete card, or one of a newer format.
    """
    return parse_card(model_folder(path) / CARD)


def parse_card(path: Path) -> dict[str, Any]:
    """Read and check one ``model.json``; optional keys get their defaults."""
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"The model card {path} cannot be read.", f"{error}.", "Fetch or export it again.") from error
    if not isinstance(card, dict) or not isinstance(card.get("format"), int):
        raise UserError(f"{path} is not a model card.", "It has no format number.", "Choose another model.")
    if card["format"] > FORMAT:
        raise UserError(
            f"The model {path.parent} is of format {card['format']}.",
            f"This version of SyntheticCT reads format {FORMAT}.",
            "Update SyntheticCT.",
        )
    check_card(card, str(path))
    if is_from_noise(card):
        return {"training": {}, "planes": ["axial"], **card}
    return {**_DEFAULTS, **card}


def is_from_noise(card: dict[str, Any]) -> bool:
    """Whether the model makes images from noise in place of translating one."""
    return card.get("task") == NOISE_TASK


def require_translation(card: dict[str, Any]) -> None:
    """Refuse a model that makes images from noise where an image is to be translated.

    Raises
    ------
    UserError
        Naming the model.
    """
    if is_from_noise(card):
        raise UserError(
            f"The model {card['name']} translates no image.",
            "It makes images from noise.",
            "Use it with `synthct generate`, or choose a model that takes an MR or a label map.",
        )


def require_generation(card: dict[str, Any]) -> None:
    """Refuse a model that translates images where new ones are to be made.

    Raises
    ------
    UserError
        Naming the model.
    """
    if not is_from_noise(card):
        raise UserError(
            f"The model {card['name']} makes no images from noise.",
            f"It takes an image: {card['input']}.",
            "Use it with `synthct synthesize`, or choose a model of the task noise-to-ct.",
        )


def check_card(card: dict[str, Any], origin: str) -> None:
    """Check that what synthesis needs is there and of the right type; ``origin`` is named in errors.

    Raises
    ------
    UserError
        Naming the key.
    """
    for key, kind in (_FROM_NOISE if is_from_noise(card) else _NEEDED).items():
        value = card.get(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            state = f"It is {value!r}." if key in card else "It is missing."
            raise UserError(f"`{key}` of {origin} cannot be used.", state, "Export the model again.")
    problems = {
        "size": len(card["size"]) not in (2, 3) or not all(_is_count(side) and side > 0 for side in card["size"]),
        "hu_range": len(card["hu_range"]) != 2 or not all(_is_number(limit) for limit in card["hu_range"]),
        "planes": not set(card.get("planes", [])) <= set(PLANES),
        "neighbours": not _is_count(card.get("neighbours", 0)),
        "spacing": not _is_spacing(card.get("spacing")),
        "network": not isinstance(card["network"].get("name"), str),
        "classes": not isinstance(card.get("classes", []), list),
    }
    for key, wrong in problems.items():
        if wrong:
            raise UserError(f"`{key}` of {origin} cannot be used.", f"It is {card.get(key)!r}.", "Export it again.")
    if is_from_noise(card):
        _check_from_noise(card, origin)
        return
    if len(card["size"]) == 3 and (card.get("neighbours", 0) or card.get("planes", ["axial"]) != ["axial"]):
        raise UserError(
            f"`neighbours` or `planes` of {origin} cannot be used.",
            "Its `size` has three entries, those of a 3D network, which has no neighbours and axial slices.",
            "Export the model again.",
        )
    expected = (2 * card.get("neighbours", 0) + 1) * one_hot_classes(card)
    given = len(card["classes"]) if card.get("classes") else 1
    if card["in_channels"] != expected or card["out_channels"] != given:
        raise UserError(
            f"`in_channels` or `out_channels` of {origin} cannot be used.",
            f"With {card.get('neighbours', 0)} neighbours and this input scaling they must be {expected} and {given}; "
            f"they are {card['in_channels']} and {card['out_channels']}.",
            "Export the model again.",
        )


def _check_from_noise(card: dict[str, Any], origin: str) -> None:
    masks = card["masks"]
    latent, spacing = card["latent_shape"], card["spacing"]
    problems = {
        "masks": masks not in ("none", "channel", "joined") or (masks == "joined" and card["size"][0] % 2),
        "channels": card["channels"] != (["image"] if masks == "none" else ["image", "mask"]),
        "mask_scaling": (masks == "none") != (card.get("mask_scaling") is None),
        "latent_shape": not latent or not all(_is_count(side) and side > 0 for side in latent),
        "in_channels": not latent or card["in_channels"] != latent[0],
        "out_channels": card["out_channels"] != (2 if masks == "channel" else 1),
        "spacing": not _is_spacing(spacing) or not all(spacing),
        "montage": card.get("fit") == "montage" and not _is_montage(card.get("montage"), card["size"]),
        "class_names": len(set(map(str, card["class_names"]))) != len(card["class_names"]),
    }
    for key, wrong in problems.items():
        if wrong:
            raise UserError(f"`{key}` of {origin} cannot be used.", f"It is {card.get(key)!r}.", "Export it again.")


def _is_montage(value: Any, size: list[int]) -> bool:
    """Whether ``value`` says how slices lie on a picture of ``size``."""
    cell, slices = (value.get("slice"), value.get("slices")) if isinstance(value, dict) else (None, None)
    if not (isinstance(cell, list) and len(cell) == len(size) == 2 and all(_is_count(side) and side for side in cell)):
        return False
    return isinstance(slices, int) and 0 < slices <= (size[0] // cell[0]) * (size[1] // cell[1])


def one_hot_classes(card: dict[str, Any]) -> int:
    """Return how many channels a slice of the input becomes: one per class, or 1 where it is not one-hot."""
    scaling = card.get("input_scaling", {})
    classes = scaling.get("classes", 7) if scaling.get("name") == "one-hot" else 1
    return classes if _is_count(classes) else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_spacing(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 3 and all(v is None or (_is_number(v) and v >= 0) for v in value)
