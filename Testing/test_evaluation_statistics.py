"""Summaries, paired tests and the table of groups, against hand-computed cases and published p-values."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from synthct.errors import UserError
from synthct.evaluation.statistics.groups import as_markdown, compare_groups
from synthct.evaluation.statistics.summary import compare_paired, holm, summarise
from synthct.evaluation.statistics.table import read_score_table

PUBLISHED = Path(__file__).parent / "published" / "lidc_segmentation_scores.csv"
SCORES = ("sensitivity_percent", "dice_percent", "f2_percent")


def write_table(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return read_score_table(path)


def test_a_summary_computed_by_hand():
    found = summarise([1.0, 2.0, 3.0, 6.0, math.nan])
    assert (found.n, found.left_out, found.mean, found.median) == (4, 1, 3.0, 2.5)
    assert found.sd_population == pytest.approx(math.sqrt(14 / 4))
    assert found.sd_sample == pytest.approx(math.sqrt(14 / 3))
    half = 1.96 * math.sqrt(14 / 3) / 2
    assert found.ci95_normal == pytest.approx((3 - half, 3 + half))
    assert 1 <= found.ci95_bootstrap[0] < 3 < found.ci95_bootstrap[1] <= 6


def test_the_bootstrap_interval_of_many_values_is_that_of_a_normal_mean():
    values = np.random.default_rng(1).normal(10, 2, 400)
    found = summarise(values)
    assert found.ci95_bootstrap == pytest.approx(found.ci95_normal, abs=0.05)
    assert found.ci95_bootstrap == summarise(values).ci95_bootstrap  # the same seed, the same interval


@pytest.mark.parametrize(
    ("values", "n", "note"),
    [([], 0, "no values"), ([2.0], 1, "One value"), ([1.0, math.inf], 2, "infinite"), ([math.nan], 0, "no values")],
)
def test_a_summary_says_what_is_not_defined(values, n, note):
    found = summarise(values)
    assert found.n == n and note in found.notes[0] and math.isnan(found.sd_sample)


def test_paired_tests_are_scipys_and_effects_are_as_defined():
    random = np.random.default_rng(0)
    base = random.normal(50, 10, 20)
    group = base + random.normal(2, 3, 20)
    found = compare_paired(group, base, margin=4)
    assert found.p_t == pytest.approx(stats.ttest_rel(group, base).pvalue, rel=1e-12)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(group, base).pvalue, rel=1e-12)
    difference = group - base
    assert found.effect_dz == pytest.approx(difference.mean() / difference.std(ddof=1))
    interval = stats.ttest_rel(group, base).confidence_interval(0.95)
    assert found.ci95_difference == pytest.approx((interval.low, interval.high))
    one_sided = [
        stats.ttest_1samp(difference, -4, alternative="greater").pvalue,
        stats.ttest_1samp(difference, 4, alternative="less").pvalue,
    ]
    assert found.p_tost == pytest.approx(max(one_sided), rel=1e-9)


def test_rank_biserial_by_hand():
    # ranks of |d|: 1, 2, 3, 4; below zero only the smallest: (9 - 1) / 10
    assert compare_paired([-1, 2, 3, 4], [0, 0, 0, 0]).effect_rank == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("group", "base", "note"),
    [
        ([1.0], [2.0], "One pair has no p-value"),
        ([], [], "no pairs"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "identical"),
        ([2.0, 3.0, 4.0], [1.0, 2.0, 3.0], "same amount"),
    ],
)
def test_no_p_value_without_a_reason(group, base, note):
    found = compare_paired(group, base, margin=1)
    assert math.isnan(found.p_t) and math.isnan(found.p_tost) and note in found.notes[0]


def test_pairs_that_are_not_defined_are_left_out_and_counted():
    found = compare_paired([1, 2, math.nan, 4, math.inf, 7], [0, 0, 0, 1, 0, 2])
    assert (found.n, found.left_out, found.difference) == (4, 2, 2.75)


def test_holm_by_hand():
    assert holm([0.01, 0.04, math.nan, 0.03]) == pytest.approx([0.03, 0.06, math.nan, 0.06], nan_ok=True)
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_the_published_p_values_and_means():
    table = read_score_table(PUBLISHED).where_unit("patient", {"nodule_present": "yes"})
    found = compare_groups(table, "training_set", "real_344", "patient")
    assert found.units == 48
    p_values = {(each.stratum, each.group, each.score): each.test.p_t for each in found.comparisons}
    published = {
        "synthetic_344": ((0.013, 3), (0.065, 3), (0.047, 3)),
        "synthetic_1400": ((0.0004, 4), (0.0037, 4), (0.0022, 4)),
        "real_59_synthetic_590": ((0.140, 3), (0.838, 3), (0.384, 3)),
    }
    for group, expected in published.items():
        for score, (p, digits) in zip(SCORES, expected, strict=True):
            assert round(p_values["iterations=100k", group, score], digits) == p, (group, score)
    means = {
        "synthetic_344": (37.73, 29.36, 32.08),
        "synthetic_1400": (33.36, 24.90, 27.84),
        "real_59_synthetic_590": (54.90, 37.36, 42.86),
        "real_344": (49.10, 36.80, 40.31),
    }
    for group, expected in means.items():
        got = [found.summaries["iterations=100k", group, score].mean for score in SCORES]
        assert got == pytest.approx(expected, abs=0.0051), group
    summary = found.summaries["iterations=100k", "synthetic_344", "dice_percent"]
    assert round(summary.median, 2) == 28.94


def test_the_command_writes_what_it_prints(tmp_path):
    output, table = tmp_path / "stats.json", tmp_path / "stats.md"
    words = f"statistics --scores {PUBLISHED} --group training_set --baseline real_344 --pair-by patient"
    words += f" --where nodule_present=yes --margin 5 --output {output} --table {table}"
    command = [sys.executable, "-m", "synthct", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    content = json.loads(output.read_text())
    assert content["units"] == 48 and "Holm" in content["definitions"]["holm"]
    first = next(each for each in content["comparisons"] if each["score"] == "sensitivity_percent")
    assert first["group"] == "synthetic_344" and first["p_t"] == pytest.approx(0.0133, abs=1e-4)
    assert first["p_t_holm"] > first["p_t"] and first["p_tost"] > 0.05
    assert (
        content["margin"] == 5
        and "p (within ± 5)" in done.stdout
        and "margin of 5 was taken for each of" in done.stdout
    )
    assert table.read_text().strip() in done.stdout
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and "--overwrite" in again.stderr


def test_a_property_that_one_table_misprints_counts_once(tmp_path):
    lines = ["group,patient,ill,score", "a,1,yes,1", "b,1,no,2", "a,2,no,3", "b,2,no,4", "a,3,yes,5", "b,3,yes,7"]
    table = write_table(tmp_path / "s.csv", lines).where_unit("patient", {"ill": "yes"})
    found = compare_groups(table, "group", "a", "patient")
    assert found.units == 2 and found.comparisons[0].test.difference == 1.5


def test_units_without_a_partner_are_named(tmp_path):
    lines = ["group,patient,score", "a,1,1", "b,1,2", "a,2,3", "b,3,4"]
    found = compare_groups(write_table(tmp_path / "s.csv", lines), "group", "a", "patient")
    assert "2 of its or the baseline's units have no partner" in found.notes[0]
    assert found.notes[1] == "One pair has no p-value. (all comparisons)" and f"- {found.notes[1]}" in as_markdown(
        found
    )
    assert found.comparisons[0].test.n == 1 and math.isnan(found.comparisons[0].test.p_t)


@pytest.mark.parametrize(
    ("lines", "options", "words"),
    [
        (["group,patient,score", "a,1,1", "a,1,2"], {}, "1 2 times in group a"),
        (["group,patient,score", "a,1,1"], {"baseline": "c"}, "no group named c"),
        (["group,patient,score", "a,1,1"], {"group": "set"}, "no column set"),
        (["group,patient,score", "a,1,x", "b,1,2"], {"scores": ["score"]}, "'x' in the column score"),
        (["group,patient", "a,1"], {}, "no column of numbers"),
        (["group,patient,score", "a,1"], {}, "Line 2"),
        (["group,patient,score"], {}, "holds no scores"),
        (["group,group,score", "a,1,1"], {}, "twice"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(tmp_path, lines, options, words):
    chosen = {"group": "group", "baseline": "a", "unit": "patient", **options}
    with pytest.raises(UserError, match=words):
        compare_groups(write_table(tmp_path / "scores.csv", lines), **chosen)


def test_a_condition_that_nobody_meets_names_the_values(tmp_path):
    with pytest.raises(UserError, match="There are no, yes"):
        read_score_table(PUBLISHED).where_unit("patient", {"nodule_present": "perhaps"})


def test_the_published_table_is_whole():
    with PUBLISHED.open() as file:
        assert len(list(csv.DictReader(file))) == 6 * 56
