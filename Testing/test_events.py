"""What a task reports, and how it is read while it is being written; who holds a folder."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from synthct import events as events_module
from synthct.errors import UserError
from synthct.events import Events, read_events
from synthct.locks import FolderLock, lock_holder
from synthct.processes import end_tree, is_running, start_time
from synthct.whole_file import write_whole


def test_the_time_left_counts_from_the_first_unit(tmp_path, monkeypatch):
    clock = iter([0.0, 50.0, 60.0, 80.0])  # 50 s of loading, then 10 s a unit
    monkeypatch.setattr(events_module.time, "monotonic", lambda: next(clock))
    events = Events(tmp_path / "events.jsonl")
    for done in (0, 1, 2, 4):
        events.progress(done, 10, "work")
    found, _ = read_events(tmp_path / "events.jsonl")
    assert [event["eta_s"] for event in found] == [None, None, 80.0, 60.0]


def test_a_half_written_line_waits_and_a_damaged_one_is_passed_over(tmp_path):
    path = tmp_path / "events.jsonl"
    assert read_events(path) == ([], 0)
    events = Events(path)
    events.warning("what", todo="do")
    with open(path, "a") as file:
        file.write('{"kind": "met')
    found, offset = read_events(path)
    assert [event["kind"] for event in found] == ["warning"]
    with open(path, "a") as file:
        file.write('rics"}\nnot json\n')
    found, offset = read_events(path, offset)
    assert [event["kind"] for event in found] == ["metrics"]
    assert offset == path.stat().st_size


def test_an_error_says_whose_it_is(tmp_path):
    heard = []
    events = Events(listener=heard.append)
    events.error(UserError("mr.nii is empty.", "It has no bytes.", "Copy it again."))
    events.error(ZeroDivisionError("division by zero"))
    assert [event["by"] for event in heard] == ["user", "program"]
    assert heard[0]["todo"] == "Copy it again." and "division" in heard[1]["what"]
    json.dumps(heard)


def test_a_folder_is_held_by_one_running_process(tmp_path):
    with FolderLock(tmp_path):
        assert lock_holder(tmp_path) == (os.getpid(), pytest.approx(start_time(os.getpid())))
        with pytest.raises(UserError, match="in use by process"), FolderLock(tmp_path):
            pass
        assert lock_holder(tmp_path) is not None
    assert lock_holder(tmp_path) is None
    gone = {"host": socket.gethostname(), "pid": 1, "started": 5.0}  # a process that is long gone
    (tmp_path / "lock").write_text(json.dumps(gone))
    with FolderLock(tmp_path):
        assert lock_holder(tmp_path)[0] == os.getpid()


def test_a_process_tree_ends_whole(tmp_path):
    child = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']).pid, flush=True)\n"
        "time.sleep(99)"
    )
    parent = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True, start_new_session=True)
    grandchild = int(parent.stdout.readline())
    began = start_time(grandchild)
    end_tree(parent.pid, start_time(parent.pid))
    parent.wait(timeout=10)
    deadline = time.monotonic() + 10
    while is_running(grandchild, began) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(grandchild, began)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    write_whole(tmp_path / "deep" / "a.txt", "ä")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "ä".encode()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_text("")
    with pytest.raises(OSError):
        write_whole(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []
