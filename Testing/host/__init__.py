"""The embedded Slicer: PyPI's slicer-core with what it lacks, so that the scripted modules run unchanged.

>>> import host
>>> slicer_host = host.start()
>>> widget = slicer_host.open_module("MRtoCT/MRtoCT.py")
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Host

APT_LINE = (
    "apt-get install --no-install-recommends libegl1 libgl1 libglib2.0-0 libxkbcommon0 libdbus-1-3 libfontconfig1"
)
"""What Debian and Ubuntu must have for Qt's and VTK's wheels."""

_running: list["Host"] = []


class HostUnavailableError(RuntimeError):
    """The embedded Slicer cannot start here; the message says what to install."""


def start(offscreen: bool = True, testing: bool = False, main_window: bool = True) -> "Host":
    """Start the embedded Slicer in this process, or return the one that runs.

    Parameters
    ----------
    offscreen
        Draw into memory; False opens real windows.
    testing
        As ``Slicer --testing``: ``slicer.util``'s message boxes answer themselves.
    main_window
        Make the window; False is ``Slicer --no-main-window``.

    Raises
    ------
    HostUnavailableError
        slicer-core or PySide6 is not installed, or a system library that they need is missing.
    """
    if not _running:
        _require_libraries()
        from .session import Host

        _running.append(Host(offscreen, testing, main_window))
    return _running[0]


def _require_libraries() -> None:
    """Load Qt's platform plug-in and VTK by hand first: Qt would end the process where a library is missing."""
    import ctypes

    try:
        import PySide6
        import slicer
        from PySide6 import QtUiTools, QtWidgets

        plugins = Path(PySide6.__file__).parent / "Qt/plugins/platforms"
        for plugin in plugins.glob("libqoffscreen.so"):
            ctypes.CDLL(str(plugin))
        assert QtUiTools and QtWidgets and slicer
    except ModuleNotFoundError as error:
        raise HostUnavailableError(
            f"The embedded Slicer needs the package {error.name}: pip install 'synthct[slicer-host]'."
        ) from error
    except (ImportError, OSError) as error:
        raise HostUnavailableError(
            f"The embedded Slicer needs a system library ({error}). On Debian or Ubuntu: {APT_LINE}"
        ) from error
