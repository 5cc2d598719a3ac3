"""Nodule templates from volumes that a network made: the largest part of each mask becomes a shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.templates import Template, cut_templates
from synthct.volumes.geometry import array_of, image_from_array
from synthct.volumes.read import read_image


def templates_of_generated(folder: Path | str, events: Events = SILENT) -> list[Template]:
    """Return a template for every generated pair whose mask holds a whole nodule.

    Of a mask only the largest part that hangs together counts. A pair is left out, with a warning, where its mask is
    empty, or the nodule is cut off by the border or too small. A template's ``source`` says which model and pair it is
    from, and its class.

    Parameters
    ----------
    folder
        As `synthct generate` writes it, of a 3D model with masks.

    Raises
    ------
    UserError
        No such folder, images without masks, slices (a slice has no shape), or no nodule at all.
    """
    folder = Path(folder).expanduser()
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        pairs, model = list(manifest["pairs"]), str(manifest["model"]["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} holds no generated pairs.",
            "Its manifest.json is missing or of another kind.",
            "Give a folder that `synthct generate` has finished.",
        ) from error
    templates = []
    for number, pair in enumerate(pairs):
        events.progress(number, len(pairs), "templates", str(pair["id"]))
        if "mask" not in pair:
            raise UserError(
                f"The pairs of {folder} have no masks.",
                f"The model {model} makes images alone.",
                "Train with `--data.masks channel`.",
            )
        image, mask = (read_image(folder / pair[kind], single_slice=True) for kind in ("image", "mask"))
        if min(mask.GetSize()) < 2:
            raise UserError(
                f"The pairs of {folder} are slices.",
                "A slice of a nodule has no shape that could be planted.",
                "Train with three entries in `data.size`, as 32, 32, 32.",
            )
        parts, count = ndimage.label(array_of(mask) != 0, np.ones((3, 3, 3)))
        if not count:
            events.warning(f"The mask of {pair['id']} is empty.", "There is no nodule in it.")
            continue
        largest = (parts == np.bincount(parts.ravel())[1:].argmax() + 1).astype(np.uint8)
        names = (f"The image of {pair['id']}", f"the mask of {pair['id']}")
        try:
            (template,) = cut_templates(
                image, image_from_array(largest, mask), str(pair["id"]), "labels", None, names=names
            )
        except UserError as error:
            events.warning(error.what, error.why)
            continue
        source = {**template.facts["source"], "model": model, "seed": manifest["seed"], "class": pair.get("class")}
        name = f"{model}-{manifest['seed']}-{pair['index']:05d}"
        templates.append(Template(name, template.shape, {**template.facts, "source": source}, template.preview))
    if not templates:
        raise UserError(
            f"No pair of {folder} holds a whole nodule.",
            f"{len(pairs)} were looked at; their masks are empty or reach the border.",
            "Train longer, or look at the masks.",
        )
    return templates
