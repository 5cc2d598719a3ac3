"""Who holds a folder: one living process, wherever it runs."""

import json
import os

import pytest

from synthct.errors import UserError
from synthct.locks import DEAD_S, FolderLock, held_on, lock_holder, share_lock


def locked_by(folder, host, age_s=0.0):
    path = folder / "lock"
    path.write_text(json.dumps({"host": host, "pid": 4711, "started": 1.0, "token": "x"}))
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))


def test_a_living_process_on_another_machine_holds_its_folder(tmp_path):
    locked_by(tmp_path, "node7")
    assert held_on(tmp_path) == "node7" and lock_holder(tmp_path) is None
    with pytest.raises(UserError, match="in use by process 4711 on node7"), FolderLock(tmp_path):
        pass
    assert (tmp_path / "lock").exists()


def test_a_machine_without_a_sign_of_life_holds_nothing(tmp_path):
    locked_by(tmp_path, "node7", age_s=DEAD_S + 1)
    assert held_on(tmp_path) is None
    with FolderLock(tmp_path):
        assert lock_holder(tmp_path)[0] == os.getpid() and held_on(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"file cannot be made or written. It is a file"), FolderLock(tmp_path / "file"):
        pass
    with pytest.raises(UserError, match="Not a directory"), FolderLock(tmp_path / "file" / "below"):
        pass


def test_a_lock_is_never_seen_half_written(tmp_path, monkeypatch):
    seen = []
    link = os.link
    monkeypatch.setattr(os, "link", lambda aside, path: (seen.append(json.loads(aside.read_text())), link(aside, path)))
    with FolderLock(tmp_path):
        assert seen[0]["pid"] == os.getpid()


def test_shares_are_held_side_by_side_but_never_with_another_number_of_shares(tmp_path):
    with share_lock(tmp_path, 0, 2), share_lock(tmp_path, 1, 2):
        for number, world in ((0, 1), (0, 12), (2, 3)):
            said = f"in use by one process of 2, and this would be one of {world}"
            with pytest.raises(UserError, match=said), share_lock(tmp_path, number, world):
                pass
        with pytest.raises(UserError, match="in use by process"), share_lock(tmp_path, 1, 2):
            pass
    with share_lock(tmp_path, 0, 12), share_lock(tmp_path, 11, 12):
        pass
    (tmp_path / "process1of2").mkdir(exist_ok=True)
    locked_by(tmp_path / "process1of2", "node7", age_s=DEAD_S + 1)  # one that died
    with share_lock(tmp_path, 0, 1):
        pass
