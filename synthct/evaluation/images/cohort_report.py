"""Many pairs: a table of scores, its summary with intervals, and a page that leads to each case's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from synthct import __version__
from synthct.evaluation.images.pair_list import ListedPair
from synthct.evaluation.images.regions import DEFINITIONS as REGION_DEFINITIONS
from synthct.evaluation.images.scores import DEFINITIONS
from synthct.evaluation.page import Marked, bullets, heading, page, paragraph, picture, table
from synthct.evaluation.plain_values import counted, number_text, without_nan
from synthct.evaluation.statistics.bars import score_bars
from synthct.evaluation.statistics.summary import DEFINITIONS as STATISTICS
from synthct.evaluation.statistics.summary import summarise

Found = Mapping[str, Mapping[str, Any]]
"""By the pair's name, what `Evaluation.to_dict` says."""
_SHOWN = (
    "mae_hu", "me_hu", "mae_soft_hu", "mae_bone_hu", "dice_bone", "psnr_synthrad2023_db", "ssim_synthrad2023",
    "msssim_synthrad2025", "slice_jump",
)  # fmt: skip


def scores_csv(pairs: Sequence[ListedPair], found: Found) -> str:
    """Return one row per pair: case, group, region, every score; empty where a score is not defined."""
    names = [name for name in DEFINITIONS if any(name in each for each in found.values())]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["case", "group", "region", *names])
    for pair in pairs:
        each = found[pair.name]
        writer.writerow([pair.case, pair.group, each["region"], *(_cell(each.get(name)) for name in names)])
    return text.getvalue()


def regions_csv(pairs: Sequence[ListedPair], found: Found) -> str:
    """Return one row per pair and region, or nothing where no pair has regions."""
    rows = [(pair, row) for pair in pairs for row in found[pair.name]["regions"]]
    if not rows:
        return ""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    names = ["region", "voxels", *REGION_DEFINITIONS]
    writer.writerow(["case", "group", *names])
    for pair, row in rows:
        writer.writerow([pair.case, pair.group, *(_cell(row[name]) for name in names)])
    return text.getvalue()


def cohort_summary(pairs: Sequence[ListedPair], found: Found, seed: int = 0) -> dict[str, Any]:
    """Return every score summed up over the cases of each group, and the definitions."""
    groups: dict[str, list[str]] = {}
    for pair in pairs:
        groups.setdefault(pair.group, []).append(pair.name)
    names = [name for name in DEFINITIONS if any(name in each for each in found.values())]
    content = {
        "cases": len(pairs),
        "groups": {
            group: {
                name: asdict(summarise([_number(found[member].get(name)) for member in members], seed))
                for name in names
            }
            for group, members in groups.items()
        },
        "notes": _notes(pairs, found),
        "definitions": {**{name: DEFINITIONS[name] for name in names}, "summary": STATISTICS},
        "version": __version__,
    }
    result: dict[str, Any] = without_nan(content)
    return result


def cohort_page(pairs: Sequence[ListedPair], found: Found, summary: Mapping[str, Any]) -> str:
    """Return the page of all cases: the summary, the table that leads to each case's page, the definitions."""
    names = [name for name in _SHOWN if any(name in each for each in found.values())]
    parts = [paragraph(f"{counted(len(pairs), 'case')}. SyntheticCT {__version__}.")]
    if summary["notes"]:
        parts += [heading("Read first"), bullets(_shared_notes(summary["notes"], len(pairs)))]
    bars = {
        group: {pair.case: _number(found[pair.name]["mae_hu"]) for pair in pairs if pair.group == group}
        for group in summary["groups"]
    }
    cases = list(dict.fromkeys(pair.case for pair in pairs))
    parts.append(picture(score_bars(bars, cases, "mean absolute error (HU)", ""), "MAE of every case, by group"))
    for group, scores in summary["groups"].items():
        parts.append(heading(f"Summary{f' of {group}' if group else ''}"))
        rows = [
            [
                name,
                str(each["n"]),
                f"{number_text(each['mean'])} ± {number_text(each['sd_sample'])}",
                number_text(each["median"]),
                " to ".join(number_text(end) for end in each["ci95_normal"]),
                " to ".join(number_text(end) for end in each["ci95_bootstrap"]),
            ]
            for name, each in scores.items()
        ]
        parts.append(table(["score", "n", "mean ± SD (sample)", "median", "95 % CI", "95 % CI (bootstrap)"], rows))
    parts.append(heading("Cases"))
    linked = [
        [_link(pair), pair.group, *(number_text(_number(found[pair.name].get(name))) for name in names)]
        for pair in pairs
    ]
    parts.append(table(["case", "group", *names], linked))
    parts.append(heading("Definitions"))
    parts.append(
        table(["score", "definition"], [[name, DEFINITIONS[name]] for name in summary["groups"][pairs[0].group]])
    )
    parts.append(table(["summary", "definition"], [[name, text] for name, text in STATISTICS.items()]))
    return page("Synthetic CTs against their references", parts)


def _notes(pairs: Sequence[ListedPair], found: Found) -> dict[str, list[str]]:
    notes = {pair.name: list(found[pair.name]["notes"]) for pair in pairs}
    first: dict[tuple[str, str], str] = {}
    for pair in pairs:
        other = first.setdefault((pair.group, found[pair.name]["voxels_sha256"]), pair.name)
        if other != pair.name:
            notes[pair.name].append(f"Its CTs are those of {other}, voxel by voxel: one case counts twice.")
    return {name: each for name, each in notes.items() if each}


def _shared_notes(notes: Mapping[str, Sequence[str]], cases: int) -> list[str]:
    """Return each note once, with the cases that it is about."""
    about: dict[str, list[str]] = {}
    for name, each in notes.items():
        for note in each:
            about.setdefault(note, []).append(name)
    return [f"{'All cases' if len(names) == cases else ', '.join(names)}: {note}" for note, names in about.items()]


def _link(pair: ListedPair) -> Marked:
    from html import escape

    return Marked(f'<a href="cases/{quote(pair.name)}.html">{escape(pair.case)}</a>')


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _cell(value: Any) -> Any:
    return "" if value is None else value
