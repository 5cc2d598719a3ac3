"""Finding cases in folders of many shapes, the manifest, the clinical table and the split."""

from __future__ import annotations

import dataclasses
import json
import shutil
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from synthct.data.cohort import Case, Cohort, read_cohort, write_cohort
from synthct.data.discovery import find_cases
from synthct.data.split import (
    Split,
    folds,
    read_split,
    split_by_patient,
    split_by_slab,
    split_cohort,
    write_split,
)
from synthct.errors import UserError
from synthct.events import Events

DICOM = Path(__file__).parents[2] / "shared/data/sarcoma_dicom/STS_023.zip"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["STS_004_MR.nii.gz", "STS_004_CT.nii.gz", "b-ct.NRRD", "b-MR.mha"], ["STS_004", "b"]),
        (["1BA001/mr.nii.gz", "1BA001/ct.nii.gz", "1BA001/mask.nii.gz"], ["1BA001"]),
        (["Brain/p 1/MR.nii", "Brain/p 1/CT.nii"], ["Brain_p 1"]),
        (["MR/x.nii.gz", "CT/x.nii.gz", "mr/y.mhd", "CT/y.nrrd"], ["x", "y"]),
        (["Jörg Müller/MRI_T1.nii.gz", "Jörg Müller/CT.nii.gz"], ["Jörg Müller"]),
        (["sub-1/anat/sub-1_T2w.nii.gz", "sub-1/ct/sub-1_ct.nii.gz"], ["sub-1_sub-1"]),
        (["p1_MR_ax.nii", "p1_CT_ax.nii"], ["p1_ax"]),
    ],
)
def test_pairs_are_found(tmp_path: Path, files: list[str], ids: list[str]) -> None:
    touch(tmp_path, *files)
    cohort, leftovers = find_cases(tmp_path)
    assert [case.id for case in cohort] == ids
    assert not leftovers
    for case in cohort:
        assert case.mr != case.ct and case.mr.is_file() and case.ct.is_file()
        assert (case.mask is not None) == any("mask" in name for name in files)


def test_one_pair_in_the_folder_itself_is_named_after_it(tmp_path: Path) -> None:
    touch(tmp_path / "Kopf", "mr.nii.gz", "ct.nii.gz")
    assert find_cases(tmp_path / "Kopf")[0].cases[0].id == "Kopf"


def test_the_two_ways_to_write_an_umlaut_are_one_name(tmp_path: Path) -> None:
    touch(tmp_path, unicodedata.normalize("NFC", "ä_MR.nii"), unicodedata.normalize("NFD", "ä_CT.nii"))
    assert len(find_cases(tmp_path)[0]) == 1


def test_leftovers_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a_MR.nii", "a_CT.nii", "b_MR.nii", "c_GTV.nii", "d_MR.nii", "d_MR.mha", "d_CT.nii", ".x_CT.nii")
    cohort, leftovers = find_cases(tmp_path)
    assert [case.id for case in cohort] == ["a"]
    told = "\n".join(str(finding) for finding in leftovers)
    assert "b_MR.nii: It has no partner: no CT found." in told
    assert "c_GTV.nii" in told and "d_MR.mha, d_MR.nii: 2 files claim to be the same image" in told
    assert ".x_CT" not in told


@pytest.mark.parametrize("files", [[], ["a_MR.nii"], ["scan.nii"]])
def test_a_folder_without_a_pair_is_refused(tmp_path: Path, files: list[str]) -> None:
    touch(tmp_path, *files)
    with pytest.raises(UserError, match="No pair"):
        find_cases(tmp_path)


@pytest.mark.skipif(not DICOM.is_file(), reason="no real DICOM here")
def test_dicom_series_are_paired_by_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(DICOM) as archive:
        archive.extractall(tmp_path)
    for kind in ("MR_T1", "CT"):  # a few slices are enough to find them
        for path in sorted((tmp_path / "STS_023" / kind / "image").iterdir())[8:]:
            path.unlink()
    cohort, leftovers = find_cases(tmp_path)
    case = cohort.cases[0]
    assert (case.id, case.mr.parts[-2:], case.ct.parts[-2:]) == ("STS_023", ("MR_T1", "image"), ("CT", "image"))
    assert case.mr_series is None and not leftovers

    mixed = tmp_path / "mixed" / "patient one"
    mixed.mkdir(parents=True)
    for number, path in enumerate(tmp_path.glob("STS_023/*/image/*.dcm")):
        shutil.move(path, mixed / f"{number}.dcm")
    case = find_cases(tmp_path / "mixed")[0].cases[0]
    assert case.id == "patient one" and case.mr == case.ct == mixed
    assert case.mr_series and case.ct_series and case.mr_series != case.ct_series


def cohort_of(count: int, root: Path = Path(), per_patient: int = 1) -> Cohort:
    cases = [
        Case(
            f"c{n}",
            root / f"{n}_MR.nii",
            root / f"{n}_CT.nii",
            patient=f"p{n // per_patient}",
            sex="FM"[n // per_patient % 2],
            diagnosis=f"type {n // per_patient % 3}",
        )
        for n in range(count)
    ]
    return Cohort(tuple(cases), root)


def test_a_manifest_survives_the_move_of_its_folder(tmp_path: Path) -> None:
    root = tmp_path / "Ordner ä"
    cohort = cohort_of(3, root)
    for case in cohort:
        touch(root, case.mr.name, case.ct.name)
    excluded = dataclasses.replace(cohort.cases[1], excluded="badly aligned")
    cohort = dataclasses.replace(cohort, cases=(cohort.cases[0], excluded, cohort.cases[2]))
    write_cohort(cohort, root / "cohort.json")
    with pytest.raises(UserError, match="exists already"):
        write_cohort(cohort, root / "cohort.json")
    root.rename(tmp_path / "moved")
    moved = read_cohort(tmp_path / "moved" / "cohort.json")
    assert [case.mr for case in moved] == [tmp_path / "moved" / case.mr.name for case in cohort]
    assert moved.cases[1].excluded == "badly aligned" and [case.id for case in moved.used] == ["c0", "c2"]
    assert moved["c2"].sex == "F"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "cannot be read"),
        ('{"cases": []}', "no cases"),
        ('{"format": 99, "cases": []}', "format 99"),
        ('{"cases": [{"id": "a", "mr": "a.nii"}]}', "lacks `ct`"),
        ('{"cases": [{"id": "a", "mr": "a.nii", "ct": "a.nii", "colour": 1}]}', "colour"),
        ('{"cases": [{"id": "a", "mr": "nowhere.nii", "ct": "a.nii"}]}', "nowhere.nii does not exist"),
        ('{"cases": [{"id": "../a", "mr": "a.nii", "ct": "a.nii"}]}', "cannot be a file name"),
        ('{"cases": [{"id": "a", "mr": "a.nii", "ct": "a.nii"}, {"id": "A", "mr": "a.nii", "ct": "a.nii"}]}', "twice"),
    ],
)
def test_a_bad_manifest_is_refused_by_name(tmp_path: Path, content: str, named: str) -> None:
    touch(tmp_path, "a.nii")
    (tmp_path / "cohort.json").write_text(content)
    with pytest.raises(UserError, match=named):
        read_cohort(tmp_path / "cohort.json")


def test_the_clinical_table_is_read_and_its_strangers_named(tmp_path: Path) -> None:
    touch(tmp_path, "a_MR.nii", "a_CT.nii", "b_MR.nii", "b_CT.nii")
    (tmp_path / "cases.csv").write_text("ID;Sex;Center;Patient\nA;F;Umeå;P 1\nzz;M;x;\n", encoding="utf-8-sig")
    cohort, findings = find_cases(tmp_path)
    assert (cohort["a"].sex, cohort["a"].centre, cohort["a"].patient) == ("F", "Umeå", "P 1")
    assert cohort["b"].sex is None
    assert len(findings) == 1 and "zz" in findings[0].what
    (tmp_path / "cases.csv").write_text("name,sex\na,F\n")
    with pytest.raises(UserError, match="no column `id`"):
        find_cases(tmp_path)


def test_a_split_is_by_patient_stratified_and_repeatable() -> None:
    cohort = cohort_of(200, per_patient=2)
    split = split_by_patient(cohort, seed=4)
    assert split == split_by_patient(cohort, seed=4) != split_by_patient(cohort, seed=5)
    assert [len(split.part(part)) for part in ("training", "validation", "test")] == [160, 20, 20]
    owners = [{cohort[name].patient for name in split.part(part)} for part in ("training", "validation", "test")]
    assert not owners[0] & owners[1] and not owners[0] & owners[2] and not owners[1] & owners[2]
    strata = Counter((cohort[name].sex, cohort[name].diagnosis) for name in split.validation + split.test)
    assert len(strata) == 6 and max(strata.values()) - min(strata.values()) <= 4


@pytest.mark.parametrize("patients", [3, 4, 5, 9, 11])
def test_each_part_of_a_small_cohort_has_a_patient(patients: int) -> None:
    split = split_by_patient(cohort_of(patients))
    assert min(len(split.training), len(split.validation), len(split.test)) >= 1
    assert len(split.training) + len(split.validation) + len(split.test) == patients


def test_fractions_may_leave_parts_empty_and_must_add_up() -> None:
    split = split_by_patient(cohort_of(20), (0.75, 0.0, 0.25))
    assert (len(split.training), len(split.validation), len(split.test)) == (15, 0, 5)
    for fractions in ((0.8, 0.1, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)):
        with pytest.raises(UserError, match="fractions"):
            split_by_patient(cohort_of(20), fractions)


def test_excluded_cases_are_in_no_part() -> None:
    cohort = cohort_of(5)
    cohort = dataclasses.replace(cohort, cases=(dataclasses.replace(cohort.cases[0], excluded="x"), *cohort.cases[1:]))
    split = split_by_patient(cohort)
    assert "c0" not in split.training + split.validation + split.test


@pytest.mark.parametrize(("count", "patients"), [(4, 20), (3, 3), (5, 21)])
def test_folds_test_every_patient_once(count: int, patients: int) -> None:
    splits = folds(cohort_of(patients), count, seed=1)
    tested = Counter(name for split in splits for name in split.test)
    assert len(tested) == patients and set(tested.values()) == {1}
    for split in splits:
        assert split.training and split.validation
        assert len({*split.training, *split.validation, *split.test}) == patients


def test_too_few_patients_for_folds_are_refused() -> None:
    with pytest.raises(UserError, match="5 folds"):
        folds(cohort_of(4), 5)


def test_slabs_keep_their_distance() -> None:
    split = split_by_slab({"a": 26, "b": 100}, gap=2)
    for name, count in (("a", 26), ("b", 100)):
        used = {part: [k for a, b in split.slabs[part][name] for k in range(a, b)] for part in split.slabs}
        assert set(used) == {"training", "validation", "test"}
        held_out = used["validation"] + used["test"]
        assert min(abs(k - other) for k in used["training"] for other in held_out) > 2
        assert min(abs(k - other) for k in used["validation"] for other in used["test"]) > 2
        assert len(used["training"]) >= count * 0.45 and max(used["training"]) == count - 1
    assert not split_by_slab({"a": 26}, (0.8, 0.0, 0.2)).validation
    with pytest.raises(UserError, match="9 slices"):
        split_by_slab({"a": 9}, gap=4)


def test_few_patients_are_split_by_slab_with_a_warning() -> None:
    told: list[dict[str, object]] = []
    split = split_cohort(cohort_of(2), {"c0": 40, "c1": 40}, events=Events(listener=told.append))
    assert split.slabs and split.training == ("c0", "c1")
    assert "fewer than 3 patients" in str(told[0]["what"])
    assert not split_cohort(cohort_of(3), {}).slabs


def test_a_split_is_stored_and_checked(tmp_path: Path) -> None:
    for split in (split_by_patient(cohort_of(10)), split_by_slab({"c0": 40})):
        write_split(split, tmp_path / "split.json")
        assert read_split(tmp_path / "split.json", cohort_of(10)) == split
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"training": ["c0", "c2"], "test": ["c1"]}))
    assert read_split(path, cohort_of(4)) == Split(("c0", "c2"), (), ("c1",))
    with pytest.raises(UserError, match="patient p0 into training and test"):
        read_split(path, cohort_of(4, per_patient=2))
    with pytest.raises(UserError, match="names the case c2"):
        read_split(path, cohort_of(2))
    path.write_text("[]")
    with pytest.raises(UserError, match=r"mine\.json"):
        read_split(path)
