"""The table of a segmentation experiment, its tests, a picture and a page (row B11)."""

from __future__ import annotations

import math
from pathlib import Path

from synthct import __version__
from synthct.evaluation import page
from synthct.evaluation.masks.report import PRESENT
from synthct.evaluation.masks.scores import definitions
from synthct.evaluation.plain_values import write_json
from synthct.evaluation.statistics.bars import score_bars
from synthct.evaluation.statistics.groups import GroupComparison, as_markdown, compare_groups
from synthct.evaluation.statistics.table import ScoreTable, number, read_score_table
from synthct.locks import turn
from synthct.studies.segmentation.experiment import GROUP, PATIENT, Experiment
from synthct.whole_file import write_whole

SCORES = ("dice_percent", "sensitivity_percent", "f2_percent")
"""What is compared, as published; the other columns of ``scores.csv`` are there for `synthct statistics`."""
WITH_LESION = "patients with a lesion"


def write_experiment_report(experiment: Experiment) -> Path:
    """Join the scores of all arms and write ``scores.csv``, table, picture and page.

    Groups are compared over the test patients with a lesion, as published; all patients are summed up too. What lies
    there from before is replaced.

    Returns
    -------
    Path
        ``table.md``.
    """
    with turn(experiment.folder / ".reporting"):
        return _write(experiment)


def _write(experiment: Experiment) -> Path:
    folder, recipe = experiment.folder, experiment.recipe
    parts = [experiment.scores_of(arm).read_text(encoding="utf-8") for arm in recipe.all_arms]
    head = parts[0].splitlines(keepends=True)[0]
    write_whole(folder / "scores.csv", head + "".join(part[len(head) :] for part in parts))
    table = read_score_table(folder / "scores.csv")
    groups = {}
    if any(row[PRESENT] == "yes" for row in table.rows):
        groups[WITH_LESION] = table.where_unit(PATIENT, {PRESENT: "yes"})
    if any(row[PRESENT] == "no" for row in table.rows):
        groups["all test patients"] = table
    results = {
        name: compare_groups(rows, GROUP, recipe.baseline, PATIENT, SCORES, seed=recipe.seed)
        for name, rows in groups.items()
    }
    patients = {name: len({row[PATIENT] for row in rows.rows}) for name, rows in groups.items()}
    text = _markdown(experiment, results, patients)
    write_whole(folder / "table.md", text)
    content = {name: {"patients": patients[name], **result.to_dict()} for name, result in results.items()}
    write_json(
        {
            "experiment": recipe.name,
            "baseline": recipe.baseline,
            "arms": experiment.counts(),
            "checked": experiment.checked,
            "results": content,
            "score_definitions": {name: definitions()[name] for name in SCORES},
            "synthct": __version__,
        },
        folder / "table.json",
    )
    picture = _picture(experiment, groups.get(WITH_LESION, table))
    write_whole(folder / "dice.png", picture)
    write_whole(folder / "report.html", _page(experiment, results, patients, picture))
    return folder / "table.md"


def _short(experiment: Experiment, results: dict[str, GroupComparison]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of one line per arm: means over the patients with a lesion."""
    result = results.get(WITH_LESION) or next(iter(results.values()))
    tests = {(one.stratum, one.group, one.score): one.test for one in result.comparisons}
    head = [
        "arm",
        "trained on",
        "Dice, mean",
        "Dice, median",
        "sensitivity",
        "F2",
        "p of Dice (t, against the baseline)",
    ]
    rows = []
    counts = experiment.counts()
    for stratum, group in dict.fromkeys((stratum, group) for stratum, group, _ in result.summaries):
        dice, sensitivity, f2 = (
            result.summaries[stratum, group, score] for score in ("dice_percent", "sensitivity_percent", "f2_percent")
        )
        test = tests.get((stratum, group, "dice_percent"))
        p = "baseline" if group == experiment.recipe.baseline else _p(test.p_t) if test is not None else "–"
        name = f"{group} ({stratum})" if stratum else group
        means = [_number(value) for value in (dice.mean, dice.median, sensitivity.mean, f2.mean)]
        rows.append([name, counts[group], *means, p])
    return head, rows


def _markdown(experiment: Experiment, results: dict[str, GroupComparison], patients: dict[str, int]) -> str:
    head, rows = _short(experiment, results)
    lines = [f"# {experiment.recipe.name}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    for name, result in results.items():
        lines += ["", f"## {name[0].upper()}{name[1:]} ({patients[name]})", "", as_markdown(result).rstrip()]
    lines += ["", "## What was looked at for leaks", "", *(f"- {line}" for line in experiment.checked)]
    return "\n".join(lines) + "\n"


def _page(experiment: Experiment, results: dict[str, GroupComparison], patients: dict[str, int], picture: bytes) -> str:
    recipe = experiment.recipe
    head, rows = _short(experiment, results)
    unchecked = [line for line in experiment.checked if "NOT CHECKED" in line]
    parts = [
        page.paragraph(f"{recipe.source} Test: {len(experiment.cases.test)} cases of {recipe.test.set}."),
        page.banner(
            unchecked[0] if unchecked else "No test case was seen in any training that is known.",
            "unsure" if unchecked else "good",
        ),
        page.heading("Arms"),
        page.table(head, rows),
        page.picture(picture, "Dice of every test patient, one bar for each arm"),
    ]
    for name, result in results.items():
        parts.append(page.heading(f"{name[0].upper()}{name[1:]} ({patients[name]})"))
        for block in as_markdown(result).strip().split("\n\n"):
            lines = block.splitlines()
            if lines[0].startswith("|"):
                cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
                parts.append(page.table(cells[0], cells[2:]))
            else:
                parts.append(page.bullets(line.removeprefix("- ") for line in lines))
    meant = definitions()
    parts += [
        page.heading("What was looked at for leaks"),
        page.bullets(experiment.checked),
        page.heading("Definitions"),
        page.bullets([f"{name}: {meant[name]}" for name in SCORES]),
        page.paragraph(f"Made by synthct {__version__}; the recipe lies beside this page."),
    ]
    return page.page(f"Segmentation experiment: {recipe.name}", parts)


def _picture(experiment: Experiment, table: ScoreTable) -> bytes:
    """Draw the Dice of each patient, of networks after their last iterations."""
    scores: dict[str, dict[str, float]] = {}
    for arm in experiment.recipe.all_arms:
        last = str(experiment.marks(arm)[-1])
        of_arm: dict[str, float] = {}
        for row in table.rows:
            if row[GROUP] == arm.name and row["iterations"] == last:
                of_arm[row[PATIENT]] = number(row["dice_percent"])
        scores[arm.name] = of_arm
    patients = sorted({row[PATIENT] for row in table.rows})
    return score_bars(scores, patients, "Dice in percent", experiment.recipe.name)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _p(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}"
