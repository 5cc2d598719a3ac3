"""What is wrong with a pair is found and named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair

from synthct.data.checks import CaseCheck, check_case, check_cohort, table, without_bad_cases
from synthct.data.cohort import Case, Cohort

SARCOMA = Path(__file__).parents[2] / "shared/data/sarcoma"
SHAPE = (16, 40, 44)


def write(folder: Path, name: str, mr: sitk.Image, ct: sitk.Image) -> Case:
    case = Case(name, folder / f"{name}_MR.nii.gz", folder / f"{name}_CT.nii.gz")
    sitk.WriteImage(mr, str(case.mr))
    sitk.WriteImage(ct, str(case.ct))
    return case


def told(check: CaseCheck) -> str:
    return "\n".join(str(finding) for finding in check.findings)


def test_a_good_pair_passes(tmp_path: Path) -> None:
    mr, ct, _ = phantom_pair(SHAPE)
    check = check_case(write(tmp_path, "good", mr, ct))
    assert check.level == "ok", told(check)
    assert check.agreement is not None and check.agreement.body_dice > 0.95
    assert check.size == (44, 40, 16)


def changed(image: sitk.Image, array: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


@pytest.mark.parametrize(
    ("change", "level", "named"),
    [
        (lambda hu: (hu + 1024).astype(np.uint16), "error", "look like HU \\+ 1024"),
        (lambda hu: np.clip(hu, -400, 3000), "error", "no air"),
        (lambda hu: np.where(hu > -500, hu + 800, hu), "error", "soft tissue"),
        (lambda hu: np.full_like(hu, 7), "error", "constant"),
        (lambda hu: np.where(np.indices(hu.shape)[2] < 2, -2000, hu).astype(np.int16), "warning", "-2000"),
        (lambda hu: np.where(hu > 600, np.nan, hu).astype(np.float32), "error", "NaN"),
    ],
)
def test_an_implausible_ct_is_named(tmp_path: Path, change: object, level: str, named: str) -> None:
    mr, ct, _ = phantom_pair(SHAPE)
    array = change(sitk.GetArrayFromImage(ct))  # type: ignore[operator]
    check = check_case(write(tmp_path, "p", mr, changed(ct, array)))
    assert check.level == level, told(check)
    assert any(f.file == "p_CT.nii.gz" for f in check.findings)
    assert re.search(named, told(check)), told(check)


def test_a_constant_mr_and_a_ct_for_an_mr_are_named(tmp_path: Path) -> None:
    mr, ct, _ = phantom_pair(SHAPE)
    constant = check_case(write(tmp_path, "a", mr * 0, ct))
    assert constant.level == "error" and "a_MR.nii.gz: It is constant" in told(constant)
    swapped = check_case(write(tmp_path, "b", ct, ct))
    assert "b_MR.nii.gz: Its values look like a CT's" in told(swapped)


def test_unreadable_and_missing_files_are_named(tmp_path: Path) -> None:
    mr, ct, _ = phantom_pair(SHAPE)
    case = write(tmp_path, "p", mr, ct)
    case.mr.write_bytes(case.mr.read_bytes()[:500])
    assert "p_MR.nii.gz" in told(check_case(case)) and check_case(case).level == "error"
    case.ct.unlink()
    assert "p_CT.nii.gz" in told(check_case(case))


def test_a_pair_that_lies_apart_is_an_error(tmp_path: Path) -> None:
    mr, ct, _ = phantom_pair(SHAPE)
    ct.SetOrigin((5000.0, 0.0, 0.0))
    check = check_case(write(tmp_path, "far", mr, ct))
    assert check.level == "error" and "different places" in told(check)


def test_sizes_and_spacing_are_looked_at(tmp_path: Path) -> None:
    mr, ct, _ = phantom_pair((4, 40, 44))
    assert "44×40×4 voxels" in told(check_case(write(tmp_path, "thin", mr, ct)))
    mr, ct, _ = phantom_pair((12, 40, 44), spacing=(4.0, 9.0, 5.0))
    remarks = told(check_case(write(tmp_path, "odd", mr, ct)))
    assert "4×9×5 mm" in remarks and "only 12 slices" in remarks


def test_the_same_image_in_two_cases_is_found_and_excluded(tmp_path: Path) -> None:
    mr, ct, _ = phantom_pair(SHAPE)
    other = phantom_pair(SHAPE, seed=3)
    cases = (write(tmp_path, "a", mr, ct), write(tmp_path, "b", *other[:2]), write(tmp_path, "c", mr, other[1]))
    cohort = Cohort(cases, tmp_path)
    checks = check_cohort(cohort)
    assert [check.level for check in checks[:2]] == ["ok", "ok"]
    assert "the same voxels as the MR of case a" in told(checks[2])
    kept = without_bad_cases(cohort, checks)
    assert [case.id for case in kept.used] == ["a", "b"] and kept["c"].excluded
    text = table(checks)
    assert text.splitlines()[0].startswith("case") and "error: c_MR.nii.gz" in text


@pytest.mark.skipif(not SARCOMA.is_dir(), reason="no real pairs here")
@pytest.mark.parametrize(("patient", "level"), [("032", "error"), ("026", "ok"), ("004", "ok")])
def test_the_badly_aligned_sarcoma_pair_is_refused(patient: str, level: str) -> None:
    case = Case(patient, SARCOMA / f"STS_{patient}_MR.nii.gz", SARCOMA / f"STS_{patient}_CT.nii.gz")
    check = check_case(case)
    assert check.level == level, told(check)
    if level == "error":
        assert "badly aligned" in told(check)
