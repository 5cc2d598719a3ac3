"""Groups of scores against a baseline, unit by unit: one table of summaries and one of paired tests (row B11)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synthct import __version__
from synthct.errors import UserError
from synthct.evaluation.plain_values import number_text, without_nan
from synthct.evaluation.statistics.summary import DEFINITIONS, PairedTest, Summary, compare_paired, holm, summarise
from synthct.evaluation.statistics.table import Row, ScoreTable, number

TESTS = ("p_t", "p_wilcoxon")
"""The tests whose p-values are corrected for how many comparisons there are."""


@dataclass(frozen=True)
class Comparison:
    """One score of one group against the baseline of its stratum."""

    stratum: str
    group: str
    score: str
    test: PairedTest
    holm: dict[str, float]
    """p-values of ``TESTS``, corrected over all comparisons of the table."""


@dataclass(frozen=True)
class GroupComparison:
    """Summaries by (stratum, group, score), the comparisons, and what the reader must know."""

    summaries: dict[tuple[str, str, str], Summary]
    comparisons: list[Comparison]
    units: int
    notes: list[str]
    margin: float | None = None
    """Of the test of equivalence; None: it was not asked for."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, NaN as None, and the definition of every number."""
        return {
            "units": self.units,
            "margin": self.margin,
            "notes": self.notes,
            "summaries": [
                {"stratum": stratum, "group": group, "score": score, **without_nan(dataclasses.asdict(summary))}
                for (stratum, group, score), summary in self.summaries.items()
            ],
            "comparisons": [
                {
                    "stratum": each.stratum,
                    "group": each.group,
                    "score": each.score,
                    **without_nan(dataclasses.asdict(each.test)),
                    **{f"{name}_holm": without_nan(p) for name, p in each.holm.items()},
                }
                for each in self.comparisons
            ],
            "definitions": DEFINITIONS,
            "version": __version__,
        }


def compare_groups(
    table: ScoreTable,
    group: str,
    baseline: str,
    unit: str,
    scores: Sequence[str] = (),
    margin: float | None = None,
    seed: int = 0,
) -> GroupComparison:
    """Summarise every group and test each against ``baseline``, paired by ``unit``.

    Where a unit occurs several times in one group, the columns that tell the rows apart (iterations, a fold) split
    the table into strata, each with a baseline of its own.

    Parameters
    ----------
    table
        One row per unit, group and stratum.
    scores
        Columns to compare; none: every column of numbers.
    margin
        For the test of equivalence, in the scores' unit; None leaves it out.

    Raises
    ------
    UserError
        Unknown column, no row of the baseline, rows that cannot be told apart, a cell that is no number.
    """
    table.require(group, unit, *scores)
    chosen = list(scores) or table.score_columns(but=(group, unit))
    if not chosen:
        raise UserError(f"{table.name} has no column of numbers.", todo="Name the scores that are to be compared.")
    if not any(row[group] == baseline for row in table.rows):
        names = ", ".join(sorted({row[group] for row in table.rows}))
        raise UserError(f"{table.name} has no {group} named {baseline}.", f"There are {names}.", "Correct --baseline.")
    apart = table.strata(group, unit, chosen)
    notes = [f"The table is compared within {', '.join(apart)}, which tells repeated rows apart."] if apart else []
    strata: dict[str, dict[str, dict[str, Row]]] = {}
    for row in table.rows:
        stratum = ", ".join(f"{column}={row[column]}" for column in apart)
        strata.setdefault(stratum, {}).setdefault(row[group], {})[row[unit]] = row
    summaries: dict[tuple[str, str, str], Summary] = {}
    tests: list[tuple[str, str, str, PairedTest]] = []
    for stratum, groups in strata.items():
        for name, rows in groups.items():
            for score in chosen:
                summaries[stratum, name, score] = summarise([_number(row, score, table) for row in rows.values()], seed)
        if baseline not in groups:
            notes.append(f"There is no {baseline} in {stratum}: its groups are summarised and not compared.")
            continue
        for name, rows in groups.items():
            if name != baseline:
                shared = [each for each in rows if each in groups[baseline]]
                unpaired = len(rows.keys() ^ groups[baseline].keys())
                if unpaired:
                    notes.append(f"{name}: {unpaired} of its or the baseline's units have no partner and are left out.")
                tests += [
                    (stratum, name, score, _test(rows, groups[baseline], shared, score, margin, table))
                    for score in chosen
                ]
    notes += _reasons(tests)
    if margin is not None and len(chosen) > 1:
        notes.append(f"The margin of {margin:g} was taken for each of {len(chosen)} scores, whatever its unit is.")
    corrected = {name: holm([getattr(test, name) for *_, test in tests]) for name in TESTS}
    comparisons = [
        Comparison(stratum, name, score, test, {each: corrected[each][place] for each in TESTS})
        for place, (stratum, name, score, test) in enumerate(tests)
    ]
    return GroupComparison(summaries, comparisons, len({row[unit] for row in table.rows}), notes, margin)


def as_markdown(result: GroupComparison) -> str:
    """Return both tables as Markdown, strata and groups in the order of the file."""
    lines = ["| group | score | n | mean ± SD (sample) | median | 95 % CI |", "|---|---|---|---|---|---|"]
    for (stratum, group, score), each in result.summaries.items():
        low, high = each.ci95_normal
        lines.append(
            f"| {_named(group, stratum)} | {score} | {each.n} | {number_text(each.mean)} ± "
            f"{number_text(each.sd_sample)} | {number_text(each.median)} | {number_text(low)} to {number_text(high)} |"
        )
    equal = "" if result.margin is None else f" p (within ± {result.margin:g}) |"
    lines += [
        "",
        f"| group − baseline | score | pairs | difference | p (t) | Holm | p (Wilcoxon) | Holm | d |{equal}",
        f"|---|---|---|---|---|---|---|---|---|{'---|' if equal else ''}",
    ]
    for one in result.comparisons:
        test = one.test
        lines.append(
            f"| {_named(one.group, one.stratum)} | {one.score} | {test.n} | {number_text(test.difference)} | "
            f"{number_text(test.p_t)} | {number_text(one.holm['p_t'])} | {number_text(test.p_wilcoxon)} | "
            f"{number_text(one.holm['p_wilcoxon'])} | {number_text(test.effect_dz)} |"
            + (f" {number_text(test.p_tost)} |" if equal else "")
        )
    return "\n".join([*lines, "", *(f"- {note}" for note in result.notes)]).rstrip() + "\n"


def _reasons(tests: Sequence[tuple[str, str, str, PairedTest]]) -> list[str]:
    """Return why p-values are missing, each reason once with the comparisons it holds for."""
    about: dict[str, list[str]] = {}
    for stratum, group, score, test in tests:
        for note in test.notes:
            about.setdefault(note, []).append(f"{_named(group, stratum)} {score}")
    return [
        f"{note} ({'all comparisons' if len(where) == len(tests) else ', '.join(where)})"
        for note, where in about.items()
    ]


def _test(
    rows: dict[str, Row],
    base: dict[str, Row],
    shared: Sequence[str],
    score: str,
    margin: float | None,
    table: ScoreTable,
) -> PairedTest:
    return compare_paired(
        [_number(rows[each], score, table) for each in shared],
        [_number(base[each], score, table) for each in shared],
        margin,
    )


def _number(row: Row, column: str, table: ScoreTable) -> float:
    try:
        return number(row[column])
    except ValueError:
        raise UserError(
            f"{table.name} has {row[column]!r} in the column {column}.", "It is not a number.", "Correct the cell."
        ) from None


def _named(group: str, stratum: str) -> str:
    return f"{group} ({stratum})" if stratum else group
