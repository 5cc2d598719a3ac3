"""Fixtures of the whole suite."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def slicer_host():
    """The embedded Slicer with an empty scene; skips, saying what to install, where it cannot start."""
    import host

    try:
        running = host.start()
    except host.HostUnavailableError as error:
        pytest.skip(str(error))
    running.reset()
    yield running
    running.reset()
