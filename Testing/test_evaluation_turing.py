"""Ratings against published tables, and a blinded test from folders to its scores."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.evaluation.raters.ratings import agreement, discrimination
from synthct.evaluation.raters.turing_test import find_sources, prepare_test, score_test
from synthct.turing_folder import open_test, raters, read_answers, save_answer

RATERS = ("MD 1", "Radiologist", "MD 2")
REAL = [[2, 4, 7], [4, 5, 4], [3, 5, 7], [4, 3, 4], [5, 4, 5]]
GENERATED = [[3, 5, 8], [5, 6, 6], [2, 3, 2], [3, 6, 7], [4, 4, 8]]
"""Ratings of five real and five generated volumes by three raters, as published (row C13)."""


def volume(path, value, size=(30, 28, 33), spacing=(1.0, 1.0, 2.0), direction=None, mask=True):
    """A volume whose slices tell their number, off the origin."""
    array = np.full(size[::-1], value, np.int16) + np.arange(size[2], dtype=np.int16)[:, None, None]
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-100.0, 50.0, 700.0))
    if direction:
        image.SetDirection(direction)
    for folder, content in (("images", image), ("masks", image > value + 10))[: 2 if mask else 1]:
        (path / folder).mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(content, str(path / folder / f"case{value}.nii.gz"))


@pytest.fixture
def folders(tmp_path):
    for value in (0, 100, 200):
        volume(tmp_path / "real", value)
    for value in (-500, -600, -700, -800):
        volume(tmp_path / "made", value, size=(26, 40, 50), spacing=(1.5, 1.0, 1.0))
    return tmp_path


def test_the_published_means_and_what_they_say():
    published = {"MD 1": (3.6, 3.4), "Radiologist": (4.2, 4.8), "MD 2": (5.4, 6.2)}
    for place, rater in enumerate(RATERS):
        found = discrimination([row[place] for row in REAL], [row[place] for row in GENERATED])
        assert (found.mean_real, found.mean_generated) == pytest.approx(published[rater])
        assert found.auc_ci95[0] < 0.5 < found.auc_ci95[1]  # none of them could tell
    # by hand for MD 1: 3: above 2, 5: above 2, 4, 3, 4 and level with 5, 2: level with 2, 3: level and above, 4
    assert discrimination([r[0] for r in REAL], [r[0] for r in GENERATED]).auc == pytest.approx(11 / 25)


def test_agreement_is_that_of_shrout_and_fleiss():
    table = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    found = agreement(table)
    assert found.icc == pytest.approx(0.2898, abs=5e-5)
    assert found.icc_ci95 == pytest.approx((0.019, 0.761), abs=5e-4)
    assert agreement(np.repeat(table[:, :1], 3, axis=1)).icc == pytest.approx(1)
    assert math.isnan(agreement(table[:1]).icc) and math.isnan(agreement(np.full((4, 3), 5.0)).icc)


@pytest.mark.parametrize(
    ("real", "generated", "auc"), [([1, 2], [3, 4], 1.0), ([3, 4], [1, 2], 0.0), ([5, 5], [5, 5], 0.5)]
)
def test_auc_at_its_ends(real, generated, auc):
    found = discrimination(real, generated)
    assert found.auc == auc and found.auc_ci95 == (auc, auc)
    assert math.isnan(discrimination([], generated).auc)


def test_nothing_but_the_voxels_tells(folders):
    count = prepare_test(find_sources(folders / "real"), find_sources(folders / "made"), folders / "test", seed=3)
    test = open_test(folders / "test")
    assert count == 6 == len(test.items)
    key = json.loads((folders / "test" / "key.json").read_text())
    images = [sitk.ReadImage(str(item.image)) for item in test.items]
    facts = {
        (i.GetSize(), i.GetSpacing(), i.GetOrigin(), i.GetDirection(), i.GetPixelID(), tuple(i.GetMetaDataKeys()))
        for i in images
    }
    assert len(facts) == 1 and images[0].GetSpacing() == (1.5, 1.0, 2.0)
    assert images[0].GetSize() == (20, 28, 8)  # 30 mm across; of 50 mm along the body a third, in 2 mm slices
    assert {item.mask is not None for item in test.items} == {True}
    assert [entry["real"] for entry in key.values()].count(True) == 3
    assert [entry["real"] for entry in key.values()] not in ([True] * 3 + [False] * 3, [False] * 3 + [True] * 3)
    for item, image in zip(test.items, images, strict=True):
        value = float(np.median(sitk.GetArrayFromImage(image)))
        assert (value > -100) == key[item.name]["real"]
        middle = {1: 5.3, 2: 16, 3: 26.7}[key[item.name]["part"]] * (1 if key[item.name]["real"] else 50 / 33)
        base = int("".join(c for c in key[item.name]["image"].rsplit("case")[-1] if c in "-0123456789"))
        assert value - base == pytest.approx(middle, abs=1.5)  # the slab lies where the key says
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(item.mask)))
        inside = sitk.GetArrayFromImage(image) > base + 10
        assert np.mean((mask > 0) == inside) > 0.85  # but for the slice in which the limit is crossed


def test_the_same_seed_gives_the_same_test_and_another_another(folders):
    order = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare_test(find_sources(folders / "real"), find_sources(folders / "made"), folders / name, 2, seed)
        order[name] = json.loads((folders / name / "key.json").read_text())
    assert order["a"] == order["b"] != order["c"]


def test_masks_are_shown_to_all_or_to_none(folders):
    volume(folders / "real", 300, mask=False)
    prepare_test(find_sources(folders / "real"), find_sources(folders / "made"), folders / "test", 4)
    assert all(item.mask is None for item in open_test(folders / "test").items)


def test_answers_are_saved_one_by_one_and_scored(folders):
    test = folders / "test"
    words = f"turing prepare {test} --real {folders}/real --generated {folders}/made --count 3 --seed 1"
    subprocess.run([sys.executable, "-m", "synthct", *words.split()], check=True, capture_output=True)
    key = json.loads((test / "key.json").read_text())
    for place, rater in enumerate(RATERS[:2]):
        for number, item in enumerate(open_test(test).items):
            kind = REAL if key[item.name]["real"] else GENERATED
            save_answer(test, rater, item.name, kind[number % 3][place], seconds=4.5)
            assert len(read_answers(test, rater)) == number + 1
    first = open_test(test).items[0].name
    save_answer(test, "MD 1", first, 10, 1)
    assert read_answers(test, "MD 1")[first].rating == 10 and len(read_answers(test, "MD 1")) == 6
    assert raters(test) == ["MD 1", "Radiologist"]
    words = f"turing score {test} --output {folders}/s.json --table {folders}/s.csv"
    done = subprocess.run([sys.executable, "-m", "synthct", *words.split()], capture_output=True, text=True)
    assert done.returncode == 0 and "agreement of 2 raters" in done.stdout, done.stderr
    content = json.loads((folders / "s.json").read_text())
    rows = list(csv.DictReader((folders / "s.csv").open()))
    ratings = [float(row["rating"]) for row in rows if row["rater"] == "MD 1" and row["real"] == "yes"]
    assert len(rows) == 12 and content["raters"]["MD 1"]["mean_real"] == pytest.approx(np.mean(ratings))
    assert content["agreement"]["items"] == 6 and content["mean of raters"]["real"] == 3


def test_a_rater_who_is_not_through_counts_for_what_is_answered(folders):
    prepare_test(find_sources(folders / "real"), find_sources(folders / "made"), folders / "test", 1)
    with pytest.raises(UserError, match="Nobody has answered"):
        score_test(folders / "test")
    save_answer(folders / "test", "A", "001", 3, 1)
    found = score_test(folders / "test")["raters"]["A"]
    assert found["answered"] == 1 and found["auc"] is None


def test_what_makes_no_test_is_refused(folders):
    real, made = find_sources(folders / "real"), find_sources(folders / "made")
    with pytest.raises(UserError, match="3 real and 4 generated"):
        prepare_test(real, made, folders / "t1", 4)
    with pytest.raises(UserError, match="among the real and the generated"):
        prepare_test(real, real, folders / "t2")
    with pytest.raises(UserError, match="in common is 20 × 28 × 1"):
        prepare_test(real, made, folders / "t3", parts=20)
    with pytest.raises(UserError, match="not empty"):
        prepare_test(real, made, folders / "real")
    with pytest.raises(UserError, match="holds no volumes"):
        find_sources(folders / "nowhere")
    with pytest.raises(UserError, match="no visual Turing test"):
        open_test(folders / "real")
    prepare_test(real, made, folders / "test")
    for rater in ("", "../a", "a/b", " a"):
        with pytest.raises(UserError, match="rater's name"):
            save_answer(folders / "test", rater, "001", 3, 1)
    with pytest.raises(UserError, match="scale is 0 to 10"):
        save_answer(folders / "test", "A", "001", 11, 1)
    save_answer(folders / "test", "A", "901", 1, 1)
    with pytest.raises(UserError, match="another test"):
        score_test(folders / "test")
    (folders / "test" / "key.json").unlink()
    with pytest.raises(UserError, match="Put the key back"):
        score_test(folders / "test")
