"""Reports opened in the browser, and kept as a file."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.session import Session
from synthct.whole_file import write_whole


def open_page(page: str, session: Session) -> None:
    """Write a page of HTML into the session's folder and open it.

    Raises
    ------
    UserError
        The page cannot be written, or nothing opens it.
    """
    path = session.new_folder() / "report.html"
    _write(path, page)
    open_file(path)


def open_file(path: Path) -> None:
    """Open a file with what the system has for it; UserError where it is gone or nothing opens it."""
    if not path.is_file():
        raise UserError(f"{path} is no longer there.", todo="Evaluate again.")
    if not qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path))):
        raise UserError(f"Nothing opens {path}.", "The system knows no browser.", "Open the file yourself.")


def save_page(page: str, name: str) -> Path | None:
    """Ask where to keep a page and write it there; None where the user asked for nothing.

    Raises
    ------
    UserError
        It cannot be written.
    """
    plain = "".join("-" if letter in '<>:"/\\|?*' else letter for letter in name)
    window = slicer.util.mainWindow()
    chosen = str(qt.QFileDialog.getSaveFileName(window, _("Save the report"), plain, _("Pages (*.html)")))
    if not chosen:
        return None
    _write(Path(chosen), page)
    return Path(chosen)


def _write(path: Path, page: str) -> None:
    try:
        write_whole(path, page)
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another place.") from error
