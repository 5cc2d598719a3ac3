"""A synthetic CT of the scene as a DICOM series: the MR's slices found again, the folder asked for, a job started."""

from __future__ import annotations

import html
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import qt
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html, warning_lines
from synthct.scene.following import Following
from synthct.scene.jobs import Job
from synthct.scene.nodes import image_from_node
from synthct.scene.session import Session
from synthct.scene.studies import INPUT_REFERENCE, MODEL_ATTRIBUTE

INSTANCES = "DICOM.instanceUIDs"
"""Attribute in which Slicer's DICOM module keeps the SOP instance UIDs of a volume's slices."""


def slices_in_database(node: slicer.vtkMRMLNode | None) -> list[Path]:
    """Return the DICOM files that a volume was loaded from, by Slicer's DICOM database; none where one is missing."""
    database = getattr(slicer, "dicomDatabase", None)
    instances = (node.GetAttribute(INSTANCES) or "").split() if node is not None else []
    if database is None or not instances:
        return []
    files = [str(database.fileForInstance(instance) or "") for instance in instances]
    return [Path(file) for file in files] if all(file and Path(file).is_file() for file in files) else []


def new_path_in(parent: Path, name: str) -> Path:
    """Return a path in ``parent`` that does not exist, named ``name`` with a number where that is taken."""
    plain = "".join("-" if letter in '<>:"/\\|?*' else letter for letter in name).strip(" .") or "sCT"
    candidates = [plain, *(f"{plain} {number}" for number in range(2, 10_000))]
    return next(parent / name for name in candidates if not (parent / name).exists())


def start_export(
    node: slicer.vtkMRMLScalarVolumeNode,
    output: Path,
    session: Session,
    files: list[Path] | None = None,
    like: Path | None = None,
    axial: bool = False,
) -> Job:
    """Hand a synthetic CT to ``synthct dicom`` and return the job.

    Parameters
    ----------
    output
        New folder for the series.
    files, like
        The MR's slices, or the folder that holds them; neither: the series stands alone, with placeholders.
    axial
        Resample to upright axial slices.

    Raises
    ------
    UserError
        The node holds no image, or the exchange folder cannot be written.
    """
    folder = session.new_folder()
    try:
        if files:
            like = folder / "mr"
            like.mkdir()
            for number, file in enumerate(files):
                _place(file, like / f"{number:05d}.dcm")
        sitk.WriteImage(image_from_node(node), str(folder / "sct.nrrd"), useCompression=False)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{node.GetName()} could not be handed over in {folder}.",
            f"{getattr(error, 'strerror', None) or 'The disk is full or not writable'}.",
            "Free space, or set another temporary folder in Slicer's settings.",
        ) from error
    options = {
        "input": folder / "sct.nrrd",
        "output": output,
        "like": like,
        "axial": axial,
        "model": node.GetAttribute(MODEL_ATTRIBUTE),
    }
    return Job.start("dicom", options, folder / "export")


class DicomExport:
    """A button that exports, and a label that says what comes of it; while a job runs the button cancels it.

    Parameters
    ----------
    button, axial_box, label
        ``QPushButton``, ``QCheckBox`` (resample to axial) and ``QLabel``.
    session
        Where files are exchanged.
    chosen
        Returns the synthetic CT to export, or None.
    """

    def __init__(
        self,
        button: qt.QPushButton,
        axial_box: qt.QCheckBox,
        label: qt.QLabel,
        session: Session,
        chosen: Callable[[], slicer.vtkMRMLScalarVolumeNode | None],
    ) -> None:
        self.button, self.axial_box, self.label = button, axial_box, label
        self._session, self._chosen = session, chosen
        self._name = ""
        self._following = Following(self._on_end)
        button.connect("clicked(bool)", self._on_button)
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._following.job

    def update(self) -> None:
        """Show whether there is something to export, and whether an export runs."""
        running = self.job is not None
        self.button.text = _("Cancel export") if running else _("Export DICOM…")
        self.button.enabled = self.job.state != "cancelling" if self.job is not None else _has_image(self._chosen())
        self.axial_box.enabled = not running
        self.label.setVisible(bool(self.label.text))

    def close(self) -> None:
        """End an export that runs; what it has written so far is removed by the job."""
        self._following.cancel()

    def _on_button(self, _clicked: bool = False) -> None:
        if self.job is not None:
            self.job.cancel()
            self.update()
            return
        node = self._chosen()
        if not _has_image(node):
            self._say(_("Choose a synthetic CT as output volume first."))
            return
        try:
            if packages.ensure("MR to CT"):
                self._ask_and_start(node)
        except UserError as error:
            self._show_error(error)
        self.update()

    def _ask_and_start(self, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        files = slices_in_database(node.GetNodeReference(INPUT_REFERENCE))
        like = None
        if not files:
            buttons = qt.QMessageBox.Yes | qt.QMessageBox.No | qt.QMessageBox.Cancel
            text = _(
                "The MR was not loaded from Slicer's DICOM database. Choose the folder with the MR's DICOM slices?\n\n"
                "No: the series stands alone, with placeholders for patient, study and frame of reference."
            )
            answer = qt.QMessageBox.question(slicer.util.mainWindow(), _("Export DICOM"), text, buttons)
            if answer == qt.QMessageBox.Cancel:
                return
            if answer == qt.QMessageBox.Yes:
                chosen = self._folder(_("Folder of the MR's DICOM slices"))
                if chosen is None:
                    return
                like = chosen
        parent = self._folder(_("Where to put the folder of the DICOM series"))
        if parent is None:
            return
        self._name = node.GetName()
        output = new_path_in(parent, f"{self._name} DICOM")
        self._following.follow(start_export(node, output, self._session, files, like, self.axial_box.checked))
        self._say(html.escape(_("Writing {folder}").format(folder=output)))

    def _folder(self, title: str) -> Path | None:
        chosen = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title)
        return Path(chosen) if chosen else None

    def _on_end(self, job: Job) -> None:
        lines = warning_lines(job.warnings)
        if job.state == "done" and job.result is not None:
            text = _("{slices} DICOM slices are in {folder}.").format(
                slices=job.result["slices"], folder=job.result["output"]
            )
            lines.insert(0, html.escape(text))
        elif job.state == "cancelled":
            lines = [_("Cancelled, nothing was exported.")]
        self._say("<br>".join(lines))
        shutil.rmtree(job.folder.parent, ignore_errors=True)  # patients' images
        if job.error is not None:
            event = job.error
            words = (
                str(event.get(key) or "").replace(str(job.folder.parent / "sct.nrrd"), self._name)
                for key in ("what", "why", "todo")
            )
            self._show_error(UserError(*words))

    def _show_error(self, error: UserError) -> None:
        self._say(error_html(error))
        slicer.util.errorDisplay(str(error), windowTitle=_("Export DICOM"))

    def _say(self, text: str) -> None:
        self.label.text = text
        self.update()


def _has_image(node: slicer.vtkMRMLScalarVolumeNode | None) -> bool:
    return node is not None and node.GetImageData() is not None


def _place(file: Path, target: Path) -> None:
    """Put a file into another folder without copying it where the file system can."""
    for way in (os.link, os.symlink):
        try:
            way(file, target)
            return
        except OSError:
            continue
    shutil.copyfile(file, target)
