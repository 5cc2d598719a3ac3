"""Many images, alone or as pairs with masks, from a model and a seed, by one process or several that share them.

In the output folder: ``images/`` and ``masks/`` with one NIfTI each per pair; ``records/ID.json``, what is known of
each; and, once all are there, ``manifest.json``, which joins them, and ``cohort.json``, with which a network can be
trained on them. Pair n depends on the model, the seed and n alone.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch
from torch import Tensor

from synthct.data.cohort import Case, Cohort, write_cohort
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.locks import share_lock, turn
from synthct.methods.noise import draw_latents
from synthct.synthesis.card import require_generation
from synthct.synthesis.cohort_synthesis import own_device
from synthct.synthesis.generation.pair import MaskOptions, make_pair
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.rank import Rank
from synthct.volumes.write import write_image
from synthct.whole_file import write_whole

FORMAT = 1
MANIFEST, COHORT, RECORDS, IMAGES, MASKS = "manifest.json", "cohort.json", "records", "images", "masks"
BEGUN = "generate"
MOST = 1_000_000


def generate(
    model: Path | str | Model,
    folder: Path | str,
    count: int,
    seed: int = 0,
    between: int | None = None,
    class_name: str | None = None,
    masks: MaskOptions | None = None,
    device: str = "auto",
    overwrite: bool = False,
    events: Events = SILENT,
    rank: Rank | None = None,
    truncation: float | None = None,
) -> Path:
    """Make ``count`` pairs into ``folder``; what is there already, made in the same way, is left as it is.

    A larger count adds pairs to a folder, a smaller one is refused. With ``between`` the pairs are a sequence (row D5):
    from the first latent of ``seed`` to the first of ``between``, both ends among them, along the great circle between
    them.

    Parameters
    ----------
    class_name
        Of the card's ``class_names``; None: they come in turn.
    masks
        What is done to the masks.
    device
        ``auto``, ``cpu`` or ``cuda:N``; of several processes each takes a GPU of its own.
    overwrite
        Make all anew in place of the pairs that lie in ``folder``; those beyond ``count`` are removed.
    rank
        Which share of the pairs is made; None: all.
    truncation
        Of a StyleGAN2, ψ of `synthct.networks.stylegan2.StyleGAN2Generator`; None: as its recipe says.

    Returns
    -------
    Path
        The manifest; not there yet where other processes are still at work.

    Raises
    ------
    UserError
        A model that translates, an unknown class, a count that is none, a truncation for a network without one, or
        a folder that was made otherwise or holds more pairs.
    """
    rank, masks, folder = rank or Rank(), masks or MaskOptions(), Path(folder).expanduser()
    chosen = own_device(device, rank)
    model = model if isinstance(model, Model) else load_model(model, chosen)
    model.network.to(chosen)
    check_request(model, count, seed, between, class_name)
    settings = _settings(model, count, seed, between, class_name, masks)
    if truncation is not None:
        model = truncated(model, truncation)
        settings["truncation"] = truncation
    own = range(rank.number, count, rank.world)
    with share_lock(folder / RECORDS, rank.number, rank.world):
        _refuse_foreign(folder, overwrite)
        todo = list(own) if overwrite else _still_to_do(own, folder, settings)
        _settle_surplus(folder, count, overwrite)
        for done, number in enumerate(todo, len(own) - len(todo)):
            events.progress(done, len(own), "pairs", pair_name(number))
            latent = latent_of(model, number, count, seed, between, chosen)
            _make(model, number, latent, class_name, masks, folder, settings)
        events.progress(len(own), len(own), "pairs")
    manifest = _join(folder, count, settings)
    written = str(manifest.absolute()) if manifest.exists() else None
    events.result(output=str(folder.absolute()), manifest=written, pairs=len(own))
    return manifest


def pair_name(number: int) -> str:
    """Return what pair ``number`` is called."""
    return f"pair_{number:05d}"


def latent_of(
    model: Model, number: int, count: int, seed: int, between: int | None, device: torch.device | str
) -> Tensor:
    """Return the latent of pair ``number``; see `generate`."""
    shape = model.card["latent_shape"]
    if between is None:
        return draw_latents(shape, 1, seed, device, first=number)[0]
    ends = [draw_latents(shape, 1, end, device)[0] for end in (seed, between)]
    return interpolated(ends[0], ends[1], number / max(1, count - 1))


def interpolated(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return the latent at ``share``, 0 to 1, of the way from ``a`` to ``b`` along the great circle (row D5).

    A straight line would pass near 0, where no latent of a training lies; direction and length change evenly
    (spherical linear interpolation, White 2016).
    """
    lengths = a.norm(), b.norm()
    cosine = float(torch.clamp((a * b).sum() / (lengths[0] * lengths[1]), -1, 1))
    angle = math.acos(cosine)
    if math.sin(angle) < 1e-6:  # the same direction, or opposite ones: no circle is the shortest
        return (1 - share) * a + share * b
    direction = (math.sin((1 - share) * angle) * a / lengths[0] + math.sin(share * angle) * b / lengths[1]) / math.sin(
        angle
    )
    return direction * ((1 - share) * lengths[0] + share * lengths[1])


def check_request(model: Model, count: int, seed: int, between: int | None, class_name: str | None) -> None:
    """Refuse a model that translates, a count or a seed that is none, and an unknown class; see `generate`."""
    require_generation(model.card)
    least = 1 if between is None else 2
    if not least <= count <= MOST:
        raise UserError(f"{count} pairs cannot be made.", todo=f"Give {least} to {MOST}.")
    for number in (seed, between):
        if number is not None and number < 0:
            raise UserError(f"The seed cannot be {number}.", todo="Give 0 or more.")
    names = model.card["class_names"]
    if class_name is not None and class_name not in names:
        known = f"It knows {', '.join(names)}." if names else "It was trained without classes."
        raise UserError(
            f"The model {model.card['name']} has no class {class_name}.", known, "Leave it out, or correct it."
        )


def truncated(model: Model, truncation: float) -> Model:
    """Return ``model`` with another truncation; the one given stays as it is."""
    if not hasattr(model.network, "truncation"):
        raise UserError(
            f"The model {model.card['name']} knows no truncation.",
            "Only StyleGAN2's styles have a mean that images can be drawn towards.",
            "Leave it out.",
        )
    if not 0 <= truncation <= 1:
        raise UserError(f"The truncation cannot be {truncation:g}.", todo="Give a number between 0 and 1.")
    network = copy.copy(model.network)
    network.__dict__["truncation"] = truncation
    return dataclasses.replace(model, network=network)


def _settings(
    model: Model, count: int, seed: int, between: int | None, class_name: str | None, masks: MaskOptions
) -> dict[str, Any]:
    """What all pairs of a folder have in common, as plain values."""
    settings: dict[str, Any] = {
        "model": {"name": model.card["name"], "weights_sha256": model.card.get("weights_sha256")},
        "seed": seed,
        "class": class_name,
        "threshold": masks.threshold,
        "minimum_mm3": masks.minimum_mm3,
    }
    settings |= {"largest_only": True} if masks.largest_only else {}
    return settings if between is None else {**settings, "between": between, "steps": count}


def class_number(model: Model, number: int, class_name: str | None, between: bool) -> int | None:
    """Return which class pair ``number`` is of: the one named, else all in turn, but the first between two seeds."""
    names = model.card["class_names"]
    if not names:
        return None
    return names.index(class_name) if class_name is not None else 0 if between else number % len(names)


def _make(
    model: Model,
    number: int,
    latent: Tensor,
    class_name: str | None,
    masks: MaskOptions,
    folder: Path,
    settings: Mapping[str, Any],
) -> None:
    """Make one pair and write it, its record last."""
    name = pair_name(number)
    chosen = class_number(model, number, class_name, "between" in settings)
    image, mask = make_pair(model, latent, chosen, masks)
    record: dict[str, Any] = {"id": name, "index": number, "image": f"{IMAGES}/{name}.nii.gz", "settings": settings}
    write_image(image, folder / record["image"], overwrite=True)
    flags = []
    if mask is not None:
        record["mask"] = f"{MASKS}/{name}.nii.gz"
        write_image(mask, folder / record["mask"], overwrite=True)
        voxels = int(sitk.GetArrayViewFromImage(mask).sum())
        record["mask_mm3"] = round(voxels * math.prod(mask.GetSpacing()), 3)
        flags += [] if voxels else ["empty mask"]
    else:
        (folder / MASKS / f"{name}.nii.gz").unlink(missing_ok=True)  # of another model that was there before
    if chosen is not None:
        record["class"] = model.card["class_names"][chosen]
    values = sitk.GetArrayViewFromImage(image)
    flags += ["constant image"] if values.min() == values.max() else []
    path = folder / RECORDS / f"{name}.json"
    try:
        write_whole(path, json.dumps({**record, "flags": flags}, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another folder.") from error


def _still_to_do(numbers: Sequence[int], folder: Path, settings: Mapping[str, Any]) -> list[int]:
    """Return the pairs that are not there; refuse those that were made otherwise."""
    todo = []
    for number in numbers:
        record = _record(folder, number)
        if record is None:
            todo.append(number)
        elif record["settings"] != json.loads(json.dumps(settings)):
            changed = [key for key in {**settings, **record["settings"]}
                       if record["settings"].get(key) != settings.get(key)]  # fmt: skip
            raise UserError(
                f"{folder} holds pairs that were made otherwise.",
                f"Another {', '.join(changed)}.",
                "Choose another folder, or replace them with --overwrite.",
            )
        elif not all((folder / record[kind]).is_file() for kind in ("image", "mask") if kind in record):
            todo.append(number)
    return todo


def _settle_surplus(folder: Path, count: int, overwrite: bool) -> None:
    """Refuse a folder with more than ``count`` pairs; with ``overwrite`` remove the lists and those beyond."""
    surplus = sorted(
        path
        for path in (folder / RECORDS).glob("pair_*.json")
        if path.stem[5:].isdigit() and int(path.stem[5:]) >= count
    )
    if surplus and not overwrite:
        there = 1 + int(surplus[-1].stem[5:])
        raise UserError(
            f"{folder} holds more pairs already, up to {surplus[-1].stem}.",
            "Nothing is taken away from a set that others may have listed.",
            f"Give --count {there} or more, choose another folder, or make all anew with --overwrite.",
        )
    if overwrite:
        for path in (folder / MANIFEST, folder / COHORT, *surplus):
            path.unlink(missing_ok=True)
        for record in surplus:
            for kind in (IMAGES, MASKS):
                (folder / kind / f"{record.stem}.nii.gz").unlink(missing_ok=True)


def _refuse_foreign(folder: Path, overwrite: bool) -> None:
    """Refuse a folder with results that this command has not begun; a mark says that it has."""
    mark = folder / RECORDS / BEGUN
    there = [name for name in (IMAGES, MASKS, MANIFEST, COHORT) if (folder / name).exists()]
    if there and not mark.exists() and not overwrite:
        raise UserError(
            f"{folder} holds {', '.join(there)} already.",
            "They were not made by `synthct generate`.",
            "Choose another folder.",
        )
    mark.touch()


def _record(folder: Path, number: int) -> dict[str, Any] | None:
    try:
        text = (folder / RECORDS / f"{pair_name(number)}.json").read_text(encoding="utf-8")
        record: dict[str, Any] = json.loads(text)
        return record if record["index"] == number and isinstance(record["settings"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _join(folder: Path, count: int, settings: Mapping[str, Any]) -> Path:
    """Write manifest and cohort if all pairs are there; return the manifest's path."""
    manifest = folder / MANIFEST
    plain = json.loads(json.dumps(settings))
    records = [_record(folder, number) for number in range(count)]
    found = [record for record in records if record is not None and record["settings"] == plain]
    if len(found) < count:
        return manifest
    entries = [{key: value for key, value in record.items() if key != "settings"} for record in found]
    cases = tuple(
        Case(
            entry["id"],
            None,
            folder / entry["image"],
            folder / entry["mask"] if "mask" in entry else None,
            diagnosis=entry.get("class"),
        )
        for entry in entries
    )
    with turn(folder / RECORDS / "joining"):
        write_cohort(Cohort(cases, folder), folder / COHORT, overwrite=True)
        content = {"format": FORMAT, **plain, "pairs": entries}
        write_whole(manifest, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return manifest
