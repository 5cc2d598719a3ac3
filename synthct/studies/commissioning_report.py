"""The commissioning as a page that can be printed and filed: verdict, criteria, scores, pictures, what was locked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synthct.errors import UserError
from synthct.evaluation.page import banner, bullets, code, heading, page, paragraph, picture, table
from synthct.studies.commissioning_pictures import criteria_picture
from synthct.whole_file import write_whole

_WORDS = {True: "passed", False: "FAILED", None: "NOT JUDGED"}
_KINDS = {True: "good", False: "bad", None: "unsure"}
_SHOWN = (
    "mae_hu", "me_hu", "mae_soft_hu", "mae_bone_hu", "dice_bone", "psnr_synthrad2023_db", "ssim_synthrad2023",
    "water_equivalent_me_mm", "water_equivalent_p95_mm", "water_equivalent_max_mm",
)  # fmt: skip


def write_report(content: Mapping[str, Any], pictures: Mapping[str, tuple[bytes, bytes]], path: Path) -> None:
    """Write the page.

    Parameters
    ----------
    content
        As ``commissioning.json`` holds it.
    pictures
        Case → PNG of its slices, PNG of its water-equivalent differences.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    model = content["model"]
    parts = [
        paragraph(f"{content['date']}, {len(content['cases'])} cases, preparation: {content['preparation']}."),
        verdict(content),
        heading("Criteria"),
        table(
            ["criterion", "found", "result", "cases", "furthest case"],
            [
                [row["criterion"], _text(row["value"]), _WORDS[row["passed"]], str(row["cases"]), row["furthest_case"]]
                for row in content["criteria"]
            ],
            [_KINDS[row["passed"]] for row in content["criteria"]],
        ),
        picture(criteria_picture(content["criteria"], content["cases"]), "Every case's score beside the limits"),
    ]
    if content["notes"]:
        parts += [heading("Read first"), bullets(content["notes"])]
    parts += [heading("Scores by case"), _scores(content["cases"])]
    parts += [heading("Model"), _model(model), heading("Where the HU come from"), _origins(content)]
    parts.append(heading("Cases"))
    for case, row in content["cases"].items():
        likeness = row["likeness"]["sentence"].replace("This input", "The MR", 1).replace("this input", "the MR", 1)
        parts.append(paragraph(f"{case}: {likeness}"))
        if row["notes"]:
            parts.append(bullets(row["notes"]))
        slices, maps = pictures[case]
        parts.append(picture(slices, f"{case}: MR, synthetic CT, CT and their difference"))
        parts.append(picture(maps, f"{case}: difference in water-equivalent path, seen along each beam"))
    water = content["water_equivalent"]
    parts += [
        heading("Definitions"),
        table(["score", "definition"], [[name, text] for name, text in content["definitions"].items()]),
        paragraph("Region: the MR's body where the CT was measured."),
        paragraph(
            f"Water-equivalent paths: {water['quantity']} by {water['table']}, parallel rays {water['ray_mm']:g} mm "
            f"apart at the gantry angles {', '.join(f'{angle:g}°' for angle in water['angles'])} (IEC 61217, head "
            "first and supine: 0° from the front, 90° from the patient's left), inside the body alone."
        ),
        heading("Locked"),
        paragraph(
            "What the verdict was reached with. `synthct commission --verify FOLDER --model MODEL` says whether any of "
            "it has changed since. The hashes show accidental changes; they are no signature."
        ),
        _locked(content),
    ]
    try:
        write_whole(path, page(f"Commissioning of {model['name']}", parts))
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another folder.") from error


def verdict(content: Mapping[str, Any]) -> str:
    """The overall result in one coloured sentence."""
    counts = {word: sum(row["passed"] is value for row in content["criteria"]) for value, word in _WORDS.items()}
    if content["passed"]:
        return banner(f"Passed: all {counts['passed']} criteria hold.", "good")
    text = f"Failed: {counts['FAILED']} of {len(content['criteria'])} criteria do not hold"
    if counts["NOT JUDGED"]:
        text += f", {counts['NOT JUDGED']} could not be judged"
    return banner(f"{text}.", "bad")


def _scores(cases: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [[case, *(_text(row["scores"].get(name)) for name in _SHOWN)] for case, row in cases.items()]
    for label, function in (("mean", np.mean), ("SD", lambda values: np.std(values, ddof=1))):
        summary = [label]
        for name in _SHOWN:
            values = [row["scores"].get(name) for row in cases.values()]
            numbers = [float(value) for value in values if isinstance(value, int | float)]
            summary.append(_text(float(function(numbers))) if len(numbers) > 1 else "–")
        rows.append(summary)
    return table(["case", *_SHOWN], rows, [""] * len(cases) + ["plain"] * 2)


def _model(model: Mapping[str, Any]) -> str:
    card = model["card"]
    rows = [
        [key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
        for key, value in card.items()
        if key not in ("statistics", "format")
    ]
    return table(["card", model["name"]], rows)


def _origins(content: Mapping[str, Any]) -> str:
    found: dict[tuple[str, str, str], list[str]] = {}
    for case, row in content["cases"].items():
        found.setdefault((row["ct"]["scanner"], row["ct"]["kv"], row["ct"]["kernel"]), []).append(case)
    rows = [[f"these cases: {', '.join(cases)}", *origin] for origin, cases in found.items()]
    rows.append(["the model's training CTs", content["ct_behind_the_training_hu"], "", ""])
    return table(["CTs of", "scanner", "kV", "kernel"], rows)


def _locked(content: Mapping[str, Any]) -> str:
    locked = content["locked"]
    rows = [[key.replace("_", " "), code(str(value))] for key, value in locked.items() if key != "software"]
    rows += [[key.replace("_", " "), code(value)] for key, value in locked["software"].items()]
    return table(["what", "value"], rows)


def _text(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, int | float) else str(value)
