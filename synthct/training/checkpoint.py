"""A training's state on disk: written aside, synced, renamed; at every moment one complete checkpoint can be read.

``RUN/checkpoints/last/`` holds ``networks.safetensors``, ``ema.safetensors``, ``method.safetensors`` (the image pool),
``state.pt`` (optimisers and what is not a tensor, read with ``weights_only=True``) and ``checkpoint.json`` with the
step and the SHA-256 of every file. No generator state is kept: every random draw follows from seed and step.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from synthct.errors import UserError

FORMAT = 1
SUMMARY = "checkpoint.json"
LAST, NEXT, PREVIOUS = "last", ".next.part", ".previous"


def save_checkpoint(
    folder: Path, summary: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    """Replace ``folder/last`` by a new checkpoint.

    Parameters
    ----------
    folder
        ``RUN/checkpoints``.
    summary
        Plain JSON values that ``read_summary`` returns.
    tensors
        File name without suffix → tensors by name; each becomes one safetensors file.
    state
        Tensors and plain values (numbers, strings, lists, dicts) in any nesting.

    Raises
    ------
    UserError
        When the disk is full or the folder cannot be written; the last checkpoint stays.
    """
    aside = folder / NEXT
    try:
        _finish_renaming(folder)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for name, entries in tensors.items():
            save_file({key: _owned(value) for key, value in entries.items()}, aside / f"{name}.safetensors")
        torch.save(dict(state), aside / "state.pt")
        hashes = {path.name: _synced_hash(path) for path in sorted(aside.iterdir())}
        with open(aside / SUMMARY, "w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, **summary, "sha256": hashes}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(aside)
        if (folder / LAST).exists():
            (folder / LAST).replace(folder / PREVIOUS)
        aside.replace(folder / LAST)
        _sync_folder(folder)
        shutil.rmtree(folder / PREVIOUS, ignore_errors=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        _finish_renaming(folder)
        shutil.rmtree(aside, ignore_errors=True)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        full = full or shutil.disk_usage(_existing(folder)).free < 1_000_000 or "No space left" in str(error)
        raise UserError(
            f"The checkpoint in {folder} could not be written.",
            ("The disk is full." if full else f"{error}.") + " The checkpoint before it is kept.",
            f"{'Free some space' if full else 'Make the folder writable'} and go on with --resume.",
        ) from error


def read_summary(folder: Path) -> dict[str, Any] | None:
    """What ``save_checkpoint`` was given as ``summary``, or None where ``folder`` has no checkpoint.

    Raises
    ------
    UserError
        When the checkpoint is damaged or of a newer format.
    """
    _finish_renaming(folder)
    path = folder / LAST / SUMMARY
    if not (folder / LAST).exists():
        return None
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        version = int(summary["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, str(error)) from error
    if version > FORMAT:
        raise UserError(
            f"The checkpoint {folder / LAST} has format {version}.",
            f"This synthct reads formats up to {FORMAT}.",
            "Resume with the version of synthct that wrote it, or a newer one.",
        )
    return dict(summary)


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return summary, tensors and state as given to ``save_checkpoint``, all on the CPU.

    Raises
    ------
    UserError
        When there is no checkpoint, or one of its files is missing or damaged.
    """
    summary = read_summary(folder)
    if summary is None:
        raise UserError(f"{folder} holds no checkpoint.", todo="Start the training instead of resuming it.")
    last = folder / LAST
    tensors = {}
    try:
        for name, expected in summary["sha256"].items():
            if hashlib.sha256((last / name).read_bytes()).hexdigest() != expected:
                raise _damaged(last / name, "its SHA-256 is not the recorded one")
            if name.endswith(".safetensors"):
                tensors[name.removesuffix(".safetensors")] = load_file(last / name)
        state = torch.load(last / "state.pt", map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, KeyError) as error:
        raise _damaged(last, str(error)) from error
    return summary, tensors, state


def take_tensors_out(tree: Any, prefix: str = "") -> tuple[Any, dict[str, Tensor]]:
    """Split nested dicts and lists into the same tree with ``{"tensor": key}`` in place of tensors, and the tensors."""
    if isinstance(tree, Tensor):
        return {"tensor": prefix}, {prefix: tree}
    if isinstance(tree, Mapping | list | tuple):
        items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        parts = {key: take_tensors_out(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in items}
        tensors = {name: tensor for _, found in parts.values() for name, tensor in found.items()}
        rest = {key: part for key, (part, _) in parts.items()}
        return (rest if isinstance(tree, Mapping) else list(rest.values())), tensors
    return tree, {}


def put_tensors_back(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo ``take_tensors_out`` (tuples come back as lists)."""
    if isinstance(tree, Mapping):
        if set(tree) == {"tensor"}:
            return tensors[tree["tensor"]]
        return {key: put_tensors_back(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [put_tensors_back(value, tensors) for value in tree]
    return tree


def _finish_renaming(folder: Path) -> None:
    """Bring a folder in order that was left between the two renames: the newest complete checkpoint is ``last``."""
    last, aside, previous = folder / LAST, folder / NEXT, folder / PREVIOUS
    if not last.exists() and previous.exists():
        (aside if (aside / SUMMARY).exists() else previous).replace(last)
    if last.exists():
        shutil.rmtree(previous, ignore_errors=True)


def _owned(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _synced_hash(path: Path) -> str:
    with open(path, "rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return digest


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder; its file system logs renames
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"The checkpoint {path} is damaged.", f"{why}.", "Start a new training with --initial-model RUN/model."
    )
