"""An MR or label map of the scene turned into a synthetic CT: checked, handed to a job, and put back into the scene."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.display import set_ct_window, set_deviation_colours, show_over
from synthct.scene.exchange import job_error, no_exchange, renamed, write_exchange
from synthct.scene.inputs import checked_input, checked_labels
from synthct.scene.jobs import Job, State
from synthct.scene.mr_to_ct.uncertainty import chosen_modes
from synthct.scene.nodes import image_from_node, node_from_image, update_node_from_image
from synthct.scene.session import Session
from synthct.scene.studies import sign
from synthct.volumes.geometry import Grid, grid_of, resample_onto
from synthct.volumes.hu import AIR_HU


@dataclass(frozen=True)
class Kept:
    """A label map and the CT that a model made of it, as files: an edit of the label map is followed from here."""

    folder: Path
    grid: Grid
    digest: str
    """Of the label map's voxels."""

    @classmethod
    def of(cls, folder: Path, labels: sitk.Image) -> Kept:
        """Return where a label map and its CT are to be kept."""
        return cls(folder, grid_of(labels), _digest(labels))

    @property
    def labels(self) -> Path:
        """File of the label map."""
        return self.folder / "input.nrrd"

    @property
    def ct(self) -> Path:
        """File of the CT."""
        return self.folder / "sct.nrrd"

    def is_of(self, labels: sitk.Image) -> bool:
        """Whether the CT is that of ``labels`` already."""
        return self.grid == grid_of(labels) and self.digest == _digest(labels)

    def discard(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    ``output_node`` None makes a new volume named after the input; ``reference_node`` is a CT to score against. With
    ``uncertainty`` (modes of ``synthct synthesize``; ``samples`` counts with dropout) the result is the mean of
    several predictions, and their standard deviation goes into ``deviation_node`` or a new volume. ``body_mask`` None
    leaves the mask to the model. With ``classes`` the input is a label map that holds the numbers below it; its files
    stay (`Translation.kept`), and with ``previous``, those of the label map before an edit, only what the edit can
    influence is made anew.
    """

    input_node: slicer.vtkMRMLVolumeNode
    model: Path
    model_name: str = ""
    output_node: slicer.vtkMRMLScalarVolumeNode | None = None
    planes: tuple[str, ...] = ("axial",)
    device: str = "auto"
    body_mask: bool | None = True
    reference_node: slicer.vtkMRMLScalarVolumeNode | None = None
    window: str = "Soft tissue"
    uncertainty: tuple[str, ...] = ()
    samples: int = 10
    deviation_node: slicer.vtkMRMLScalarVolumeNode | None = None
    classes: int | None = None
    previous: Kept | None = None

    @classmethod
    def from_parameters(cls, parameters: Any, card: Mapping[str, Any], window: str) -> Request:
        """Read the parameter node of MRtoCT; ``card`` is that of the chosen model."""
        return cls(
            input_node=parameters.inputVolume,
            model=Path(parameters.model),
            model_name=card["name"],
            output_node=parameters.outputVolume,
            planes=tuple(plane for plane in ("axial", "coronal", "sagittal") if getattr(parameters, plane)),
            device=parameters.device,
            body_mask=parameters.bodyMask,
            reference_node=parameters.referenceVolume,
            window=window,
            uncertainty=chosen_modes(parameters, card),
            samples=parameters.uncertaintySamples,
            deviation_node=parameters.uncertaintyVolume,
        )


class Translation:
    """A request under way. The scene is not touched before the result is there.

    Parameters
    ----------
    request
        Checked here.
    session
        Where files are exchanged and the worker runs.

    Attributes
    ----------
    job
        What runs now: the synthesis, then the scoring where a reference was given.
    state
        Of the whole; "done" once the last job is.
    output_node, deviation_node, scores, error
        The result, its standard deviation where one was asked for, the scores by name, and the reason of a failure,
        each None until then.
    likeness
        A sentence, where the input is like the training data or this is not known; where it is not, a warning says so.
    kept
        A label map and its CT as files, once done, to follow the next edit from; None for an MR.

    Raises
    ------
    UserError
        Naming the node that cannot be used.
    """

    def __init__(self, request: Request, session: Session) -> None:
        if not request.planes:
            raise UserError("No plane is chosen.", "The network goes through slices.", "Tick a plane.")
        if request.classes is None:
            image = checked_input(request.input_node, request.output_node)
        else:
            image = checked_labels(request.input_node, request.classes)
        if request.deviation_node is not None and request.deviation_node in (request.input_node, request.output_node):
            raise UserError(
                f"The uncertainty would replace {request.deviation_node.GetName()}.",
                "It is the input or the synthetic CT.",
                "Choose another volume for the uncertainty.",
            )
        reference = image_from_node(request.reference_node) if request.reference_node is not None else None
        self.request = request
        self.state: State = "starting"
        self.output_node: slicer.vtkMRMLScalarVolumeNode | None = None
        self.deviation_node: slicer.vtkMRMLScalarVolumeNode | None = None
        self.scores: dict[str, Any] | None = None
        self.error: UserError | None = None
        self.warnings: list[str] = []
        self.likeness = ""
        self.kept: Kept | None = None
        self._digest = "" if request.classes is None else _digest(image)
        self._name = request.input_node.GetName()
        self._grid = grid_of(image)
        self._reference = reference
        try:
            self._folder = session.new_folder()
            write_exchange(image, self._folder / "input.nrrd")
            self.job: Job = session.worker.submit("synthesize", self._options(), self._folder / "synthesis")
        except OSError as error:
            raise no_exchange(Path(slicer.app.temporaryPath), error) from error

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled", "lost")

    @property
    def progress(self) -> dict[str, Any] | None:
        """The newest progress event, with nodes' names in place of the exchange files'."""
        event = self.job.progress
        return {**event, "message": renamed(str(event.get("message") or ""), self._names)} if event else None

    @property
    def scoring(self) -> bool:
        """Whether the result is in the scene and is being compared with the reference."""
        return self.job.verb == "evaluate"

    def poll(self) -> None:
        """See how far the job is; put its result into the scene as soon as it is there."""
        if self.finished:
            return
        try:
            self.job.poll()
            self.state = self.job.state
            if self.state == "done" and not self.scoring:
                image = self._receive()
                if self._reference is not None:
                    self._start_scoring(self._reference, image)
        except UserError as error:
            self.error, self.state = error, "failed"
        except OSError as error:
            self.error, self.state = no_exchange(self._folder, error), "failed"
        if self.state == "done" and self.scoring:
            self.scores = (self.job.result or {}).get("scores")
        if self.job.error is not None and self.finished:
            self.error = job_error(self.job.error, self._names)
        if self.finished:
            self.warnings += [renamed(text, self._names) for text in self.job.warnings]
            self._clean()

    def cancel(self) -> None:
        """Ask the job to end; a result that is in the scene already stays."""
        self.job.cancel()
        self.state = self.job.state

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "model": self.request.model.absolute(),
            "input": self._folder / "input.nrrd",
            "output": self._folder / "sct.nrrd",
            "planes": list(self.request.planes),
            "device": self.request.device,
        }
        if self.request.body_mask is not None:
            options["mask"] = "auto" if self.request.body_mask else "none"
        if self.request.previous is not None:
            options["previous_labels"] = self.request.previous.labels
            options["previous_ct"] = self.request.previous.ct
        if self.request.uncertainty:
            options["uncertainty"] = list(self.request.uncertainty)
            options["uncertainty_output"] = self._folder / "sd.nrrd"
            options["samples"] = self.request.samples
        return options

    def _receive(self) -> sitk.Image:
        image = self._read("sct.nrrd")
        deviation = self._read("sd.nrrd") if self.request.uncertainty else None
        source = self.request.input_node if _in_scene(self.request.input_node) else None
        model = self.request.model_name or self.request.model.name
        node, fresh = _into_scene(image, self.request.output_node, f"{self._name} sCT")
        if fresh:
            set_ct_window(node, self.request.window)
        sign(node, model, self._name, source)
        if deviation is not None:
            spread, fresh = _into_scene(deviation, self.request.deviation_node, f"{self._name} sCT SD")
            if fresh:
                set_deviation_colours(spread)
            ways = ", ".join(self.request.uncertainty)
            sign(spread, model, self._name, source, f"Standard deviation in HU ({ways}) of the synthetic CT")
            self.deviation_node = spread
        if self.request.classes is None:
            show_over(node, source)
        self.output_node = node
        found = (self.job.result or {}).get("likeness") or {}
        self.likeness = "" if found.get("unlike") else str(found.get("sentence") or "")
        return image

    def _read(self, name: str) -> sitk.Image:
        try:
            image = sitk.ReadImage(str(self._folder / name))
        except RuntimeError as error:
            raise UserError("The synthetic CT could not be read.", "Its file is missing or damaged.") from error
        image.SetOrigin(self._grid.origin)  # a file's header rounds
        image.SetSpacing(self._grid.spacing)
        image.SetDirection(self._grid.direction)
        return image

    def _start_scoring(self, reference: sitk.Image, synthetic: sitk.Image) -> None:
        self.warnings += [renamed(text, self._names) for text in self.job.warnings]
        path = self._folder / "reference.nrrd"
        write_exchange(resample_onto(reference, synthetic, "linear", outside=AIR_HU), path)
        options = {
            "reference": path,
            "synthetic": self._folder / "sct.nrrd",
            "output": self._folder / "scores.json",
            "mask": "auto",
        }
        self.job = Job.start("evaluate", options, self._folder / "scores")
        self.state = "running"

    @property
    def _names(self) -> dict[Path, str]:
        """What the exchanged files are to the user."""
        names = {"input.nrrd": self._name, "sct.nrrd": f"{self._name} sCT", "sd.nrrd": f"{self._name} sCT SD"}
        if self.request.reference_node is not None:
            names["reference.nrrd"] = self.request.reference_node.GetName()
        return {self._folder / file: name for file, name in names.items()}

    def _clean(self) -> None:
        """Remove the images that were exchanged, but for those that an edit is followed from; a failure's log stays."""
        if self.state == "done" and self.request.classes is not None:
            self.kept = Kept(self._folder, self._grid, self._digest)
            return
        for path in self._folder.glob("*.nrrd"):
            path.unlink(missing_ok=True)
        if self.state == "done":
            shutil.rmtree(self._folder, ignore_errors=True)


def _in_scene(node: slicer.vtkMRMLNode | None) -> bool:
    return node is not None and node.GetScene() is not None


def _into_scene(
    image: sitk.Image, node: slicer.vtkMRMLScalarVolumeNode | None, name: str
) -> tuple[slicer.vtkMRMLScalarVolumeNode, bool]:
    """Put an image into the node, where it is still in the scene, or into a new one; return whether it was empty."""
    if node is None or not _in_scene(node):
        return node_from_image(image, name), True
    fresh = node.GetImageData() is None
    update_node_from_image(node, image)
    return node, fresh


def _digest(image: sitk.Image) -> str:
    return hashlib.sha1(sitk.GetArrayViewFromImage(image).data, usedforsecurity=False).hexdigest()
