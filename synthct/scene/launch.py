"""How a job's process is started: which Python, with which words, in which environment, detached from Slicer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthct.errors import UserError

_SLICER_ONLY = ("ITK_AUTOLOAD_PATH", "QT_PLUGIN_PATH", "QT_QPA_PLATFORM_PLUGIN_PATH", "PYTHONSTARTUP")
"""Variables that Slicer sets for itself; the first can crash SimpleITK in a child process."""


def launch(words: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start Python with ``words`` in ``folder`` in a session of its own; what it prints goes to ``log``.

    Raises
    ------
    UserError
        No Python to start, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as output:
            return subprocess.Popen(
                [python(), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment(),
                **_detached(),
            )
    except OSError as error:
        raise UserError(
            f"A process could not be started in {folder}.",
            f"{error.strerror or error}.",
            "Free space on the disk, or set another temporary folder in Slicer's settings.",
        ) from error


def arguments(options: Mapping[str, Any]) -> list[str]:
    """Turn options into words of the command line."""
    words: list[str] = []
    for key, value in options.items():
        if value is None or value is False:
            continue
        words.append(f"--{key.replace('_', '-')}")
        if isinstance(value, list | tuple):
            words.append(",".join(str(item) for item in value))
        elif value is not True:
            words.append(str(value))
    return words


def python() -> str:
    """Path of the Python that jobs run in: PythonSlicer in Slicer, the running one elsewhere."""
    if Path(sys.executable or "").name.lower().startswith("python"):
        return sys.executable
    found = shutil.which("PythonSlicer")
    if found is None:
        raise UserError(
            "PythonSlicer was not found.",
            "Jobs run in a Python process of their own, and Slicer's is not on the path.",
            "Start Slicer by its own launcher.",
        )
    return found


def environment() -> dict[str, str]:
    """Return the environment of a job: ``synthct`` can be imported, and nothing of Slicer's own is loaded."""
    variables = {name: value for name, value in os.environ.items() if name not in _SLICER_ONLY}
    here = str(Path(__file__).resolve().parents[2])
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, (here, variables.get("PYTHONPATH", ""))))
    return variables | {"MPLBACKEND": "Agg", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def _detached() -> dict[str, Any]:
    """How a child outlives Slicer and gets no console window."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
