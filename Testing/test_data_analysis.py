"""``synthct cohort --analyse``: tables and a picture by source, on real files, with every odd volume named."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair

from synthct.__main__ import main
from synthct.data.analysis import analyse, by_source, columns, source_of, summary
from synthct.data.analysis_plot import case_map
from synthct.data.cohort import Case, Cohort
from synthct.events import read_events


def write(path, shape, spacing, seed, change=lambda hu: hu):
    ct = phantom_pair(shape, seed, spacing)[1]
    image = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(ct)))
    image.SetSpacing(spacing)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two centres with their own grids; in the second a constant volume, one without air, one of thick slices."""
    folder = tmp_path_factory.mktemp("Fälle mit Leerzeichen")
    cases = []

    def add(name, *rest, centre=None):
        cases.append(Case(name, None, write(folder / f"{name}.nii.gz", *rest), centre=centre))

    for number in range(4):
        add(f"CHUM-{number:03d}", (6 + number, 20, 20), (1.0, 1.0, 3.0), number)
    for number in range(4):
        add(f"x{number}", (10, 24, 26), (2.0, 2.0, 2.0), 10 + number, centre="Bergen")
    add("flat", (10, 24, 26), (2.0, 2.0, 2.0), 20, lambda hu: np.full_like(hu, -5), centre="Bergen")
    add("airless", (10, 24, 26), (2.0, 2.0, 2.0), 21, lambda hu: np.maximum(hu, 0), centre="Bergen")
    add("thick", (10, 24, 26), (2.0, 2.0, 7.0), 22, centre="Bergen")
    add("oblong", (10, 24, 26), (1.0, 2.0, 2.0), 23, lambda hu: hu * 5, centre="Bergen")
    broken = folder / "broken.nii.gz"
    broken.write_bytes(b"no image")
    cases.append(Case("CHUM-900", None, broken))
    return Cohort(tuple(cases), folder)


def test_source_is_the_centre_or_how_the_id_begins(tmp_path):
    ct = tmp_path / "a.nii"
    assert source_of(Case("CHUM-001", None, ct)) == "CHUM"
    assert source_of(Case("CHUM-001", None, ct, centre="CHUS")) == "CHUS"
    assert source_of(Case("phantom_03", None, ct)) == "phantom"
    assert source_of(Case("003", None, ct)) == "003"


def test_every_case_is_measured(cohort):
    found = {one.case: one for one in analyse(cohort)}
    assert found["CHUM-002"].size == (20, 20, 8)
    assert found["CHUM-002"].slices == 8
    assert found["CHUM-002"].spacing == pytest.approx((1, 1, 3))
    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(cohort["CHUM-002"].ct)))
    assert found["CHUM-002"].hu == (hu.min(), hu.max())
    assert {source: len(members) for source, members in by_source(list(found.values())).items()} == {
        "Bergen": 8,
        "CHUM": 5,
    }
    assert columns([found["CHUM-000"], found["CHUM-900"]])["slice_mm"].tolist() == [3.0]


def test_odd_volumes_are_named(cohort):
    odd = {one.case: " ".join(one.odd) for one in analyse(cohort) if one.odd}
    assert set(odd) == {"flat", "airless", "thick", "oblong", "CHUM-900"}
    assert "constant: -5" in odd["flat"]
    assert "no air" in odd["airless"]
    assert "7 mm apart, those of Bergen mostly 2 mm" in odd["thick"]
    assert "not square: 1×2 mm" in odd["oblong"] and "below what a CT has" in odd["oblong"]
    assert "broken.nii.gz" in odd["CHUM-900"]


def test_summary_has_a_row_for_each_source_and_a_line_for_each_finding(cohort):
    lines = summary(analyse(cohort)).splitlines()
    assert lines[1].startswith("Bergen") and lines[2].startswith("CHUM")
    assert "6…9 (median 7.5)" in lines[2]
    assert any(line.startswith("flat: It is constant") for line in lines)


def test_command_writes_tables_and_picture(tmp_path, capsys):
    folder = tmp_path / "data"
    for number in range(3):
        for name, spacing in (("A", (1.0, 1.0, 1.0)), ("B", (1.5, 1.5, 4.0))):
            write(folder / "images" / f"{name}{number}.nii.gz", (16, 40, 40), spacing, number)
    write(folder / "images" / "B9.nii.gz", (16, 40, 40), (1.5, 1.5, 4.0), 9, lambda hu: np.zeros_like(hu))
    command = ["cohort", str(folder), "--task", "noise-to-ct", "--output", str(tmp_path / "cohort.json")]
    events = tmp_path / "events.jsonl"
    assert main([*command, "--analyse", str(tmp_path / "analysis"), "--events", str(events)]) == 0
    printed = capsys.readouterr().out
    assert "B9: It is constant" in printed

    with (tmp_path / "analysis" / "cases.csv").open(encoding="utf-8") as file:
        cases = {row["case"]: row for row in csv.DictReader(file)}
    assert len(cases) == 7
    assert (cases["A0"]["source"], cases["A0"]["slices"], cases["A0"]["spacing_z_mm"]) == ("A", "16", "1")
    assert "constant" in cases["B9"]["odd"]
    with (tmp_path / "analysis" / "sources.csv").open(encoding="utf-8") as file:
        sources = {row["source"]: row for row in csv.DictReader(file)}
    assert (sources["B"]["cases"], sources["B"]["odd"], sources["B"]["slice_mm_median"]) == ("4", "1", "4")
    result = next(event for event in read_events(events)[0] if event["kind"] == "result")
    picture = sitk.GetArrayFromImage(sitk.ReadImage(result["analysis_picture"]))
    assert picture.shape[1] > 800 and picture.std() > 5
    assert json.loads((tmp_path / "cohort.json").read_text())["cases"]

    assert main([*command, "--overwrite"]) == 0
    again = [*command[:-1], str(tmp_path / "other.json"), "--analyse", str(tmp_path / "analysis")]
    assert main(again) != 0
    assert "not empty" in capsys.readouterr().err


def test_map_puts_like_cases_together():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (6, 20)), rng.normal(6, 1, (6, 20))])
    places, way = case_map(features)
    assert way == "principal components"
    assert places.shape == (12, 2)
    first, second = places[:6, 0], places[6:, 0]
    assert max(first) < min(second) or max(second) < min(first)
