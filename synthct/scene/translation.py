"""One MR volume of the scene turned into a synthetic CT: checked, handed to a job, and put back into the scene."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.display import set_ct_window, show_over
from synthct.scene.inputs import checked_input
from synthct.scene.jobs import Job, State
from synthct.scene.nodes import image_from_node, node_from_image, update_node_from_image
from synthct.scene.session import Session
from synthct.scene.studies import sign
from synthct.volumes.geometry import grid_of, resample_onto
from synthct.volumes.hu import AIR_HU


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    ``output_node`` None makes a new volume named after the input; ``reference_node`` is a CT to score against.
    """

    input_node: slicer.vtkMRMLScalarVolumeNode
    model: Path
    model_name: str = ""
    output_node: slicer.vtkMRMLScalarVolumeNode | None = None
    planes: tuple[str, ...] = ("axial",)
    device: str = "auto"
    body_mask: bool = True
    reference_node: slicer.vtkMRMLScalarVolumeNode | None = None
    window: str = "Soft tissue"

    @classmethod
    def from_parameters(cls, parameters: Any, model_name: str, window: str) -> Request:
        """Read the parameter node of MRtoCT."""
        return cls(
            input_node=parameters.inputVolume,
            model=Path(parameters.model),
            model_name=model_name,
            output_node=parameters.outputVolume,
            planes=tuple(plane for plane in ("axial", "coronal", "sagittal") if getattr(parameters, plane)),
            device=parameters.device,
            body_mask=parameters.bodyMask,
            reference_node=parameters.referenceVolume,
            window=window,
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
    output_node, scores, error
        The result, the scores by name, and the reason of a failure, each None until then.
    likeness
        A sentence, where the input is like the training data or this is not known; where it is not, a warning says so.

    Raises
    ------
    UserError
        Naming the node that cannot be used.
    """

    def __init__(self, request: Request, session: Session) -> None:
        if not request.planes:
            raise UserError("No plane is chosen.", "The network goes through slices.", "Tick a plane.")
        image = checked_input(request.input_node, request.output_node)
        reference = image_from_node(request.reference_node) if request.reference_node is not None else None
        self.request = request
        self.state: State = "starting"
        self.output_node: slicer.vtkMRMLScalarVolumeNode | None = None
        self.scores: dict[str, Any] | None = None
        self.error: UserError | None = None
        self.warnings: list[str] = []
        self.likeness = ""
        self._name = request.input_node.GetName()
        self._grid = grid_of(image)
        self._reference = reference
        try:
            self._folder = session.new_folder()
            _write(image, self._folder / "input.nrrd")
            self.job: Job = session.worker.submit("synthesize", self._options(), self._folder / "synthesis")
        except OSError as error:
            raise _no_exchange(Path(slicer.app.temporaryPath), error) from error

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled", "lost")

    @property
    def progress(self) -> dict[str, Any] | None:
        """The newest progress event, with nodes' names in place of the exchange files'."""
        event = self.job.progress
        return {**event, "message": self._renamed(str(event.get("message") or ""))} if event else None

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
            self.error, self.state = _no_exchange(self._folder, error), "failed"
        if self.state == "done" and self.scoring:
            self.scores = (self.job.result or {}).get("scores")
        if self.job.error is not None and self.finished:
            self.error = self._readable(self.job.error)
        if self.finished:
            self.warnings += [self._renamed(text) for text in self.job.warnings]
            self._clean()

    def cancel(self) -> None:
        """Ask the job to end; a result that is in the scene already stays."""
        self.job.cancel()
        self.state = self.job.state

    def _options(self) -> dict[str, Any]:
        return {
            "model": self.request.model.absolute(),
            "input": self._folder / "input.nrrd",
            "output": self._folder / "sct.nrrd",
            "planes": list(self.request.planes),
            "device": self.request.device,
            "mask": "auto" if self.request.body_mask else "none",
        }

    def _receive(self) -> sitk.Image:
        try:
            image = sitk.ReadImage(str(self._folder / "sct.nrrd"))
        except RuntimeError as error:
            raise UserError("The synthetic CT could not be read.", "Its file is missing or damaged.") from error
        image.SetOrigin(self._grid.origin)  # a file's header rounds
        image.SetSpacing(self._grid.spacing)
        image.SetDirection(self._grid.direction)
        background = self.request.input_node if _in_scene(self.request.input_node) else None
        node = self.request.output_node if _in_scene(self.request.output_node) else None
        fresh = node is None or node.GetImageData() is None
        if node is None:
            node = node_from_image(image, f"{self._name} sCT")
        else:
            update_node_from_image(node, image)
        if fresh:
            set_ct_window(node, self.request.window)
        sign(node, self.request.model_name or self.request.model.name, self._name, background)
        show_over(node, background)
        self.output_node = node
        found = (self.job.result or {}).get("likeness") or {}
        self.likeness = "" if found.get("unlike") else str(found.get("sentence") or "")
        return image

    def _start_scoring(self, reference: sitk.Image, synthetic: sitk.Image) -> None:
        self.warnings += [self._renamed(text) for text in self.job.warnings]
        path = self._folder / "reference.nrrd"
        _write(resample_onto(reference, synthetic, "linear", outside=AIR_HU), path)
        options = {
            "reference": path,
            "synthetic": self._folder / "sct.nrrd",
            "output": self._folder / "scores.json",
            "mask": "auto",
        }
        self.job = Job.start("evaluate", options, self._folder / "scores")
        self.state = "running"

    def _readable(self, event: dict[str, Any]) -> UserError:
        """The job's error with the nodes' names in place of the exchange files'."""
        return UserError(*(self._renamed(str(event.get(key) or "")) for key in ("what", "why", "todo")))

    def _renamed(self, text: str) -> str:
        names = {"input.nrrd": self._name, "sct.nrrd": f"{self._name} sCT"}
        if self.request.reference_node is not None:
            names["reference.nrrd"] = self.request.reference_node.GetName()
        for file, name in names.items():
            text = text.replace(str(self._folder / file), name).replace(file, name)
        return text

    def _clean(self) -> None:
        """Remove the images that were exchanged; the log of a failure stays."""
        for path in self._folder.glob("*.nrrd"):
            path.unlink(missing_ok=True)
        if self.state == "done":
            shutil.rmtree(self._folder, ignore_errors=True)


def _in_scene(node: slicer.vtkMRMLNode | None) -> bool:
    return node is not None and node.GetScene() is not None


def _write(image: sitk.Image, path: Path) -> None:
    try:
        sitk.WriteImage(image, str(path), useCompression=False)
    except RuntimeError as error:
        path.unlink(missing_ok=True)
        raise _no_exchange(path.parent, error) from error


def _no_exchange(folder: Path, error: Exception) -> UserError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else "The disk is full or not writable"
    return UserError(
        f"The volume could not be handed over in {folder}.",
        f"{why}.",
        "Free space, or set another temporary folder in Slicer's settings.",
    )
