"""A model's card, scores and devices as text that a widget shows."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from synthct.errors import UserError

_GIB = 2**30
_MOST_WARNINGS = 5

SCORES = {
    "mae_hu": ("Mean absolute error", "{:.1f} HU"),
    "me_hu": ("Mean error", "{:+.1f} HU"),
    "psnr_2500_db": ("PSNR (range 2500 HU)", "{:.2f} dB"),
    "psnr_synthrad2023_db": ("PSNR (SynthRAD 2023)", "{:.2f} dB"),
    "psnr_synthrad2025_db": ("PSNR (SynthRAD 2025)", "{:.2f} dB"),
    "ssim_synthrad2023": ("SSIM (SynthRAD 2023)", "{:.4f}"),
    "msssim_synthrad2025": ("MS-SSIM (SynthRAD 2025)", "{:.4f}"),
    "mae_air_hu": ("Mean absolute error, air", "{:.1f} HU"),
    "mae_soft_hu": ("Mean absolute error, soft tissue", "{:.1f} HU"),
    "mae_bone_hu": ("Mean absolute error, bone", "{:.1f} HU"),
    "dice_bone": ("Dice of bone", "{:.3f}"),
    "dice_air": ("Dice of air", "{:.3f}"),
    "slice_jump": ("Slice jump (1: none)", "{:.2f}"),
    "checkerboard_stride2": ("Checkerboard of stride 2 (CT: 1)", "{:.2f}"),
    "checkerboard_stride4": ("Checkerboard of stride 4 (CT: 1)", "{:.2f}"),
}
"""Name for people and format of the scores, in the order shown."""


def card_html(card: Mapping[str, Any]) -> str:
    """Return what a user should know of a model before applying it, as a small HTML table."""
    training = card.get("training") or {}
    from_noise = "latent_shape" in card
    rows = {
        "Makes": _made(card) if from_noise else None,
        "Translates": None
        if from_noise
        else " to ".join(filter(None, (_words(card.get("sequence") or card.get("input")), card.get("target")))),
        "Anatomy": card.get("anatomy"),
        "Planes": card.get("planes") if not from_noise or len(card["size"]) == 2 else None,
        "Classes": card.get("class_names"),
        "Range": "{} to {} HU".format(*card["hu_range"]) if card.get("hu_range") else None,
        "Trained by": training.get("preset"),
        "Trained on": training.get("cohort"),
        "Steps": training.get("steps"),
        "Date": training.get("date"),
        "Scores": _scores(training.get("scores")),
        "Intended use": card.get("intended_use"),
    }
    lines = "".join(
        f"<tr><td><b>{name}</b>&nbsp;</td><td>{html.escape(_words(value))}</td></tr>"
        for name, value in rows.items()
        if value
    )
    return f"<b>{html.escape(str(card.get('name', '')))}</b><table>{lines}</table>"


def error_html(error: UserError) -> str:
    """Return what is wrong in red, and why and what to do below."""
    rest = html.escape(" ".join(filter(None, (error.why, error.todo))))
    return f"<span style='color:#c0392b'>{html.escape(error.what)}</span><br>{rest}"


def warning_lines(texts: Sequence[str]) -> list[str]:
    """Return warnings in amber, a line each: the first five, and how many more there are."""
    lines = [html.escape(text) for text in texts[:_MOST_WARNINGS]]
    if len(texts) > _MOST_WARNINGS:
        lines.append(f"… and {len(texts) - _MOST_WARNINGS} more.")
    return [f"<span style='color:#b9770e'>{line}</span>" for line in lines]


def score_rows(scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (key, name, value with unit) of the scores that are there, in reading order."""
    rows = []
    for key, value in sorted(scores.items(), key=lambda item: _order(item[0])):
        if isinstance(value, int | float) and not isinstance(value, bool):
            name, pattern = SCORES.get(key, (key, "{:.4g}"))
            rows.append((key, name, pattern.format(value)))
    return rows


def device_text(device: Mapping[str, Any]) -> str:
    """Return one line for a device: what it is, how much memory is free, why there is no better one."""
    text = str(device.get("label") or device["name"])
    if text.lower() != device["name"] and not text.lower().startswith(device["name"]):
        text += f" ({device['name']})"
    if device.get("free_bytes") is not None:
        text += f", {device['free_bytes'] / _GIB:.1f}"
        text += f" of {device['total_bytes'] / _GIB:.1f} GiB free" if device.get("total_bytes") else " GiB free"
    return f"{text}. {device['reason']}" if device.get("reason") else text


def _made(card: Mapping[str, Any]) -> str:
    """Say what a model makes from noise; sides are those of what its network gives."""
    what = "pairs of image and mask" if card.get("masks", "none") != "none" else "images"
    sides = list(card["size"])
    if card.get("masks") == "joined":
        sides[0] //= 2  # the mask's slices lie after the image's
    spacing = " × ".join(f"{side:g}" for side in card["spacing"])
    if card.get("fit") == "montage":
        rows, columns = card["montage"]["slice"]
        sides = [card["montage"]["slices"], rows, columns]
    return f"{what}, {' × '.join(str(side) for side in reversed(sides))} voxels of {spacing} mm"


def _order(key: str) -> tuple[int, str]:
    names = list(SCORES)
    return (names.index(key) if key in names else len(names), key)


def _scores(scores: Any) -> str:
    if not isinstance(scores, Mapping):
        return _words(scores)
    return ", ".join(f"{name} {value}" for _, name, value in score_rows(scores))


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value)
    return str(value)
