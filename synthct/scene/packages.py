"""Python packages that jobs need: which are missing from Slicer's Python, and installing them after a question.

Nothing here runs at start-up, and nothing is imported after it was installed: jobs run in their own process.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import re
import subprocess
from pathlib import Path

import slicer

from synthct.errors import UserError
from synthct.scene.launch import environment, python

_FILE = Path(__file__).resolve().parents[1] / "requirements.txt"


def requirements() -> dict[str, str]:
    """Return each package that jobs need and its least version, as in ``synthct/requirements.txt``."""
    lines = (line.strip() for line in _FILE.read_text(encoding="utf-8").splitlines())
    pairs = [line.split(">=") for line in lines if line and not line.startswith("#")]
    return {pair[0]: pair[1] for pair in pairs}


def missing() -> list[str]:
    """Return the requirements that are not met, as ``name>=version``; looks at metadata only and imports nothing."""
    return [f"{name}>={least}" for name, least in requirements().items() if _version(name) < _numbers(least)]


def ensure(requester: str) -> bool:
    """Install what is missing, after a question that names it; return whether everything is there.

    Raises
    ------
    UserError
        The installation failed, or packages are missing while Slicer is being tested (tests install nothing).
    """
    wanted = missing()
    if not wanted:
        return True
    names = ", ".join(wanted)
    if slicer.app.testingEnabled():
        raise UserError(f"Python packages are missing: {names}.", "Tests install nothing.", "Install them first.")
    size = " PyTorch alone is a download of 0.2 to 3 GB." if any(name.startswith("torch>") for name in wanted) else ""
    question = (
        f"{requester} needs Python packages that Slicer does not have yet:\n\n{names}\n\n"
        f"They are installed into this Slicer's own Python.{size} Slicer does not answer meanwhile. Install them now?"
    )
    if not slicer.util.confirmOkCancelDisplay(question, f"{requester}: missing packages"):
        return False
    with slicer.util.WaitCursor():
        try:
            if any(name.startswith("torch>") for name in wanted):
                _install_torch()
            _install([name for name in wanted if not name.startswith("torch>")])
        except (subprocess.CalledProcessError, OSError) as error:
            raise UserError(
                f"The packages could not be installed: {names}.",
                f"{error}.",
                "Look at the Python console for pip's words; check the network connection and the free space.",
            ) from error
    importlib.invalidate_caches()
    left = missing()
    if left:
        raise UserError(f"After the installation these are still missing: {', '.join(left)}.", todo="Restart Slicer.")
    return True


def _install(names: list[str]) -> None:
    """Give pip the packages, with numpy held at the version that Slicer is using."""
    if names:
        slicer.util.pip_install([*names, f"numpy=={importlib.metadata.version('numpy')}"])


def _install_torch() -> None:
    """Install the PyTorch that fits this machine's graphics driver.

    ``light-the-torch`` is what the PyTorch extension (PyTorchUtils) uses. That extension's own installer imports torch
    into Slicer afterwards, which has crashed it and keeps memory; a child process does not.
    """
    wanted = f"torch>={requirements()['torch']}"
    _install(["light-the-torch>=0.7"])
    words = [python(), "-m", "light_the_torch", "install", wanted]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        logging.warning(
            f"light-the-torch could not install PyTorch, pip will: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
        _install([wanted])


def _version(name: str) -> tuple[int, ...]:
    try:
        return _numbers(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return ()


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release part of a version as numbers."""
    return tuple(int(number) for number in re.findall(r"\d+", re.split(r"[+a-z]", version)[0]))
