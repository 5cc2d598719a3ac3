"""The pairs of the chosen folder: how many there are, the list of them, and one of them shown."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.cards import error_html, warning_lines
from synthct.scene.folder_job import FolderJob
from synthct.scene.generation.folder import PICTURE, PROCESS, GeneratedFolder
from synthct.scene.generation.pair_nodes import find_pair, put_pair, show_pair
from synthct.scene.generation.pair_table import MOST, PairTable
from synthct.volumes.read import read_image

_INTERVAL_MS = 500


class MadePairs:
    """Looks into the folder of a section "Generate pairs".

    Parameters
    ----------
    ui
        Widgets of ``section.ui``.
    work
        What works in the folder.
    changed
        Called without arguments when somebody else's process in the folder has ended.

    Attributes
    ----------
    found
        What lies in the folder, or None.
    wrong
        Why nothing can be made there, or an empty text.
    about
        What is to be known of the folder, as HTML.
    """

    def __init__(self, ui: Any, work: FolderJob, changed: Callable[[], None]) -> None:
        self.found: GeneratedFolder | None = None
        self.wrong = self.about = ""
        self._ui, self._work, self._changed = ui, work, changed
        self._claim: Path | None = None
        self._table = PairTable(ui.pairsTable, self._on_pair)
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self._on_timer)
        ui.openFolderButton.connect("clicked(bool)", self._on_open_folder)
        ui.openPictureButton.connect("clicked(bool)", self._on_open_picture)

    def look(self, folder: str) -> None:
        """Look what lies in ``folder``; a job of an earlier Slicer that still works there is followed."""
        self._timer.stop()
        self.found, self.wrong, self.about = None, "", ""
        self._claim = Path(folder) / PROCESS
        if not folder:
            self.wrong = _("Choose a folder.")
        else:
            self._find(Path(folder))
        self._table.show(self.found.pairs if self.found is not None else ())
        self._ui.openFolderButton.setVisible(self.found is not None)
        picture = self.found is not None and (self.found.folder / PICTURE).is_file()
        self._ui.openPictureButton.setVisible(picture)

    def close(self) -> None:
        """Look no more."""
        self._timer.stop()

    def _find(self, folder: Path) -> None:
        try:
            self.found = GeneratedFolder.at(folder)
        except UserError as error:
            self.wrong, self.about = error.what, error_html(error)
        self._work.find(folder)
        if self._work.job is None and self._taken():
            self._timer.start()  # until it has ended
            self.wrong = _("Another process makes pairs in this folder.")
            self.about = html.escape(self.wrong + " " + _("Wait for it, or choose another folder."))
        found = self.found
        if found is None or self.about:
            return
        self.about = _("{n} pairs are finished.").format(n=len(found.pairs))
        if found.unfinished_options:
            text = _("{n} of {count} pairs are finished. Resume makes the rest with all that it was begun with.")
            self.about = text.format(n=len(found.pairs), count=found.asked)
        elif len(found.pairs) > MOST:
            self.about += " " + _("The list has the first {n}.").format(n=MOST)
        elif not found.complete:
            self.about += " " + _("The set was interrupted. With the same choices Apply goes on.")

    def _taken(self) -> bool:
        """Whether a process that Slicer did not start works in the folder."""
        if self._claim is None or not self._claim.exists():
            return False
        from synthct.locks import held_on, lock_holder  # they need psutil, which a folder in use shows to be installed

        return bool(lock_holder(self._claim) or held_on(self._claim))

    def _on_timer(self) -> None:
        if not self._taken():
            self._changed()

    def _on_pair(self, number: int) -> None:
        self._work.attempt(lambda: self._show(number))

    def _show(self, number: int) -> None:
        """Show a pair of the list; one that is in the scene already is not loaded again."""
        found = self.found
        if found is None:
            return
        pair = found.pairs[number]
        origin = str(found.folder / pair.image)
        volume = find_pair(origin)
        if volume is None:
            image = read_image(found.folder / pair.image, single_slice=True)
            mask = None if pair.mask is None else read_image(found.folder / pair.mask, single_slice=True)
            volume = put_pair(image, mask, pair.id, found.model, origin)
        show_pair(volume)
        said = _("{name} is shown.").format(name=html.escape(volume.GetName()))
        self._work.say("<br>".join([said, *warning_lines(list(filter(None, [pair.remarks])))]))

    def _on_open_folder(self, _clicked: bool = False) -> None:
        if self.found is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.found.folder)))

    def _on_open_picture(self, _clicked: bool = False) -> None:
        if self.found is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.found.folder / PICTURE)))
