"""Preparation and cache: one grid, made once, made anew when a file changes, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair, write_phantom_cohort

from synthct.__main__ import main
from synthct.data.cache import open_cache, stored_ct, stored_mr
from synthct.data.cohort import Case, Cohort, read_cohort
from synthct.data.preparation import prepare_case, prepare_cohort
from synthct.data.whole_folder import whole_folder
from synthct.errors import UserError
from synthct.events import Events
from synthct.recipe import Preparation
from synthct.volumes.geometry import same_grid, to_axial


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*.n*"))}


def test_the_ct_comes_onto_the_mr_s_grid(tmp_path: Path) -> None:
    mr, ct, body = phantom_pair((16, 40, 44))
    moved = sitk.Resample(ct, [60, 50, 20], sitk.Transform(), sitk.sitkLinear, (-30.0, 0.0, -40.0), (4.0, 4.0, 5.0))
    moved = sitk.Cast(moved, sitk.sitkFloat32) - sitk.Cast(moved == 0, sitk.sitkFloat32) * 3024
    for name, image in {"m": mr, "c": moved}.items():
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    case = Case("p", tmp_path / "m.nii.gz", tmp_path / "c.nii.gz")
    prepared = prepare_case(case, Preparation())
    assert same_grid(prepared.ct, mr) and same_grid(prepared.mask, mr) and prepared.registration is None
    hu = sitk.GetArrayFromImage(prepared.ct)
    assert hu.dtype == np.int16 and hu.min() >= -1024
    inside = sitk.GetArrayFromImage(body) > 0
    assert np.abs(hu[inside] - sitk.GetArrayFromImage(ct)[inside]).mean() < 20
    coarse = prepare_case(case, Preparation(spacing=(8, 8, 5)))
    assert coarse.input.GetSpacing() == coarse.mask.GetSpacing() == (8, 8, 5)


def test_where_the_ct_was_not_measured_is_outside_the_mask(tmp_path: Path) -> None:
    mr, ct, _ = phantom_pair((16, 40, 44))
    sitk.WriteImage(mr, str(tmp_path / "m.nii.gz"))
    sitk.WriteImage(ct[:, :, 6:], str(tmp_path / "c.nii.gz"))
    prepared = prepare_case(Case("p", tmp_path / "m.nii.gz", tmp_path / "c.nii.gz"), Preparation())
    mask = sitk.GetArrayFromImage(prepared.mask)
    assert not mask[:5].any() and mask[7:].any(axis=(1, 2)).all()
    ct.SetOrigin((5000.0, 0.0, 0.0))
    sitk.WriteImage(ct, str(tmp_path / "far.nii.gz"))
    with pytest.raises(UserError, match=r"case p do not overlap"):
        prepare_case(Case("p", tmp_path / "m.nii.gz", tmp_path / "far.nii.gz"), Preparation(registration="rigid"))
    with pytest.raises(UserError, match="wild"):
        prepare_case(Case("p", tmp_path / "m.nii.gz", tmp_path / "c.nii.gz"), Preparation(registration="wild"))


def test_a_cohort_is_prepared_and_cached_once(tmp_path: Path) -> None:
    cohort = read_cohort(write_phantom_cohort(tmp_path / "raw ö", cases=3))
    out, cache = tmp_path / "out ö", tmp_path / "cache"
    prepared = prepare_cohort(cohort, Preparation(), out)
    volumes = open_cache(prepared, cache)
    assert read_cohort(out).preparation == Preparation() and list(volumes) == [case.id for case in cohort]
    volume = volumes["phantom_01"]
    mr = to_axial(sitk.ReadImage(str(cohort["phantom_01"].mr)))
    assert np.array_equal(volume.mr, sitk.GetArrayFromImage(mr)) and volume.spacing == mr.GetSpacing()
    assert (volume.mr.dtype, volume.ct.dtype, volume.mask.dtype) == (np.int16, np.int16, np.uint8)
    assert volume.shape == volume.ct.shape == volume.mask.shape

    before = stamps(tmp_path)
    open_cache(prepare_cohort(cohort, Preparation(), out), cache)
    assert stamps(tmp_path) == before
    assert prepare_cohort(prepared, Preparation(), tmp_path / "again") is prepared

    image = sitk.ReadImage(str(cohort["phantom_01"].mr)) + 1
    sitk.WriteImage(image, str(cohort["phantom_01"].mr))
    again = open_cache(prepare_cohort(cohort, Preparation(), out), cache)
    assert again["phantom_01"].mr[0, 0, 0] == volume.mr[0, 0, 0] + 1
    after = stamps(tmp_path)
    changed = {path for path in before if before[path] != after[path]}
    assert changed and all("phantom_01" in path for path in changed)
    prepare_cohort(cohort, Preparation(spacing=(8, 8, 5)), out)
    assert stamps(out) != {path: stamp for path, stamp in after.items() if path.startswith(str(out))}


def test_workers_give_the_same(tmp_path: Path) -> None:
    cohort = read_cohort(write_phantom_cohort(tmp_path / "raw", cases=2))
    prepare_cohort(cohort, Preparation(), tmp_path / "one")
    prepare_cohort(cohort, Preparation(), tmp_path / "two", workers=2)
    for path in (tmp_path / "one").rglob("ct.nii.gz"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert np.array_equal(*(sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (path, other)))


def test_nothing_of_the_user_s_is_replaced(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    mr, ct, _ = phantom_pair((16, 40, 44))
    (raw / "p1").mkdir(parents=True)
    for name, image in {"mr": mr, "ct": ct}.items():
        sitk.WriteImage(image, str(raw / "p1" / f"{name}.nii.gz"))
    cohort = Cohort((Case("p1", raw / "p1/mr.nii.gz", raw / "p1/ct.nii.gz"),), raw)
    before = stamps(raw)
    with pytest.raises(UserError, match="not made by a preparation"):
        prepare_cohort(cohort, Preparation(), raw)
    assert stamps(raw) == before
    manifest = write_phantom_cohort(tmp_path / "flat", cases=1)
    with pytest.raises(UserError, match="cohort of original images"):
        prepare_cohort(read_cohort(manifest), Preparation(), manifest.parent)


def test_a_cohort_that_is_prepared_otherwise_is_used_with_a_warning(tmp_path: Path) -> None:
    told: list[dict[str, object]] = []
    cohort = Cohort((), tmp_path, Preparation(registration="rigid"))
    assert prepare_cohort(cohort, Preparation(), tmp_path / "x", Events(listener=told.append)) is cohort
    assert "used as it is" in str(told[0]["what"])


def test_a_prepared_cohort_is_not_said_to_be_prepared_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_phantom_cohort(tmp_path / "raw", 1)
    prepare_cohort(read_cohort(manifest), Preparation(registration="none"), tmp_path / "made")
    words = ["preprocess", "--preset", "synthct-unet", "--output", str(tmp_path / "again"), "--cohort"]
    assert main([*words, str(tmp_path / "made" / "cohort.json")]) == 2
    assert "is prepared already" in capsys.readouterr().err and not (tmp_path / "again").exists()
    assert main([*words, str(manifest), "--workers", "0"]) == 2


def test_a_refused_registration_is_told(tmp_path: Path) -> None:
    cohort = read_cohort(write_phantom_cohort(tmp_path / "raw", cases=1, shape=(16, 40, 44)))
    told: list[dict[str, object]] = []
    prepare_cohort(cohort, Preparation(registration="rigid"), tmp_path / "out", Events(listener=told.append))
    warned = [event for event in told if event["kind"] == "warning"]
    assert len(warned) == 1 and "phantom_00" in str(warned[0]["what"])


def test_images_on_two_grids_are_not_cached(tmp_path: Path) -> None:
    mr, ct, _ = phantom_pair((16, 40, 44))
    sitk.WriteImage(mr, str(tmp_path / "m.nii.gz"))
    sitk.WriteImage(ct[1:, :, :], str(tmp_path / "c.nii.gz"))
    cohort = Cohort((Case("p", tmp_path / "m.nii.gz", tmp_path / "c.nii.gz"),), tmp_path)
    with pytest.raises(UserError, match="case p"):
        open_cache(cohort, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


def test_how_values_are_stored() -> None:
    assert stored_ct(np.array([-1000.6, 0.4, 40000.0, 2049.0])).tolist() == [-1001, 0, 32767, 2049]
    assert stored_mr(np.array([0, 4000], np.uint16)).dtype == np.int16
    assert stored_mr(np.array([0, 60000], np.uint16)).dtype == np.float32
    assert stored_mr(np.array([0.5])).dtype == np.float32


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "entry"
    with pytest.raises(ZeroDivisionError), whole_folder(target) as aside:
        (aside / "half").write_text("x")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    for text in ("old", "new"):
        with whole_folder(target) as aside:
            (aside / "file").write_text(text)
    assert (target / "file").read_text() == "new" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_a_killed_process_leaves_nothing_half_made(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from synthct.data.whole_folder import whole_folder\n"
        "with whole_folder(Path(sys.argv[1]) / 'entry') as aside:\n"
        "    (aside / 'half').write_text('x'); print('there', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip() == "there"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "entry").exists()
    with whole_folder(tmp_path / "other"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="entry could not be written"), whole_folder(tmp_path / "entry"):
        pass
    tmp_path.chmod(0o700)
