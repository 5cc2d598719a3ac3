"""A label map made from the scene by ``synthct labels``: what is handed over, and the node that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.labels.classes import ClassTable, parse_class_table
from synthct.labels.label_files import read_log
from synthct.scene.exchange import remove_images, write_exchange
from synthct.scene.jobs import Job
from synthct.scene.label_map.class_colours import set_classes
from synthct.scene.label_map.class_table import write_table
from synthct.scene.label_maps import labels_from_node
from synthct.scene.nodes import image_from_node, node_from_image, update_node_from_image
from synthct.scene.session import Session
from synthct.scene.studies import place_beside
from synthct.volumes.geometry import require_same_grid, resample_onto, same_grid

NODULES_REFERENCE = "SyntheticCTNodules"
"""From a label map to the text node that tells its planted nodules; see `synthct.scene.nodules.planted`."""
CT_REFERENCE = "SyntheticCTCT"
"""From a label map to the CT that it was made of."""


@dataclass(frozen=True)
class LabelRequest:
    """What a label map is made of.

    Attributes
    ----------
    ct
        The CT; also what the label map is shown over.
    segmentation
        Segmentation or label map to make it of instead, by ``mapping`` (value → class); None: of the CT.
    nodules
        Segmentation or label map of nodules, or None.
    """

    ct: slicer.vtkMRMLScalarVolumeNode | None
    segmentation: slicer.vtkMRMLNode | None
    nodules: slicer.vtkMRMLNode | None
    table: ClassTable
    mapping: Mapping[int, str]
    output: slicer.vtkMRMLLabelMapVolumeNode | None

    @property
    def source(self) -> slicer.vtkMRMLNode:
        """What it is made of."""
        return self.segmentation or self.ct


def start(request: LabelRequest, session: Session) -> tuple[Job, dict[Path, str]]:
    """Hand everything over and begin; return the job, and what its files are called in the scene.

    Raises
    ------
    UserError
        A node cannot be used, nodules on another grid, an output that would lose its planted nodules or is an input.
    """
    check_output(request.output, request.segmentation, request.nodules)
    folder = session.new_folder()
    try:
        return _start(request, folder)
    except UserError:
        remove_images(folder)
        raise


def _start(request: LabelRequest, folder: Path) -> tuple[Job, dict[Path, str]]:
    names: dict[Path, str] = {}
    options: dict[str, Any] = {"classes": folder / "classes.yaml", "output": folder / "labels.nrrd"}
    write_table(request.table, options["classes"])
    names[options["classes"]] = "the table of classes"
    if request.segmentation is not None:
        grid, _ = labels_from_node(request.segmentation)
        options |= {"segmentation": folder / "segmentation.nrrd", "mapping": folder / "mapping.yaml"}
        write_exchange(grid, options["segmentation"])
        lines = (f"{value}: {_quoted(word)}\n" for value, word in request.mapping.items())
        options["mapping"].write_text("".join(lines), encoding="utf-8")
    else:
        grid = image_from_node(request.ct)
        _check_hu(grid, request.ct)
        options["ct"] = folder / "ct.nrrd"
        write_exchange(grid, options["ct"])
    names[options["ct" if request.segmentation is None else "segmentation"]] = request.source.GetName()
    if request.nodules is not None:
        options["nodules"] = folder / "nodules.nrrd"
        write_exchange(_nodules_on(grid, request.nodules, request.source.GetName()), options["nodules"])
        names[options["nodules"]] = request.nodules.GetName()
    return Job.start("labels", options, folder / "job"), names


def finish(job: Job, request: LabelRequest) -> slicer.vtkMRMLLabelMapVolumeNode:
    """Put the label map that a job has made into the scene and return its node.

    Raises
    ------
    UserError
        The job's file cannot be read.
    """
    path = Path(job.options["output"])
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(f"The label map of {request.source.GetName()} cannot be read.", f"{error}.") from error
    log = read_log(path)
    table = parse_class_table(log["table"], str(path)) if log is not None else request.table
    node = request.output
    if node is None or node.GetScene() is None:
        node = node_from_image(image, f"{request.source.GetName()} labels", label=True)
    else:
        update_node_from_image(node, image)
    set_classes(node, table)
    if request.ct is not None and request.ct.GetScene() is not None:
        node.SetNodeReferenceID(CT_REFERENCE, request.ct.GetID())
    place_beside(node, request.source)
    return node


def check_output(output: slicer.vtkMRMLLabelMapVolumeNode | None, *inputs: slicer.vtkMRMLNode | None) -> None:
    """Refuse a label map as output that is an input, or would lose its planted nodules.

    Raises
    ------
    UserError
        Naming the label map.
    """
    if output is None:
        return
    if output in inputs:
        raise UserError(
            f"The label map would replace {output.GetName()}.", "It is made of it.", "Choose another label map."
        )
    if output.GetNodeReference(NODULES_REFERENCE) is not None:
        raise UserError(
            f"The nodules planted in {output.GetName()} would be lost.",
            "It would be made anew.",
            "Choose a new label map, or delete the nodules first.",
        )


def _check_hu(image: sitk.Image, node: slicer.vtkMRMLNode) -> None:
    voxels = sitk.GetArrayViewFromImage(image)
    if voxels.min() == voxels.max():
        raise UserError(
            f"{node.GetName()} is constant: every voxel is {voxels.min():g}.", "It is no CT.", "Choose the CT."
        )


def _nodules_on(grid: sitk.Image, node: slicer.vtkMRMLNode, name: str) -> sitk.Image:
    """Nodules on the grid of the CT: a segmentation is drawn there, a label map must lie there already."""
    mask, _ = labels_from_node(node)
    if node.IsA("vtkMRMLSegmentationNode") and not same_grid(grid, mask):
        return resample_onto(mask, grid, "nearest")
    require_same_grid(grid, mask, (name, node.GetName()))
    return mask


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"
