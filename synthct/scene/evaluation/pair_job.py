"""One pair of the scene judged by ``synthct evaluate``: what is handed over, and the nodes that come of it."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.evaluation.charts import BLUE, DARK, HEIGHT, MAE, ME, RED, Line, draw, draw_slices
from synthct.scene.evaluation.error_maps import ERROR_HU, show_as_difference
from synthct.scene.evaluation.regions import Place, hand_over_regions, mask_of, slice_places
from synthct.scene.evaluation.tables import fill_table
from synthct.scene.exchange import remove_images, write_exchange
from synthct.scene.jobs import Job
from synthct.scene.mr_to_ct.dicom_export import new_path_in
from synthct.scene.nodes import image_from_node, node_from_image, update_node_from_image
from synthct.scene.session import Session
from synthct.scene.studies import place_beside

SYNTHETIC_REFERENCE = "SyntheticCTEvaluated"
"""From the table of scores to the CT that was judged."""
RESULTS = (
    "pairScores", "pairRegionScores", "pairSlices", "pairError", "pairHistogram", "pairSliceChart", "pairBoneChart",
    "pairLineChart", "pairReport",
)  # fmt: skip
"""Parameters that hold what was found."""
_THRESHOLD, _DICE, _DISTANCE = "threshold, HU", "Dice of bone", "distance, mm"


@dataclass
class PairJob:
    """A running evaluation and what is needed to show its result."""

    job: Job
    reference: slicer.vtkMRMLScalarVolumeNode
    synthetic: slicer.vtkMRMLScalarVolumeNode
    slices: list[Place]
    regions: dict[str, Place]
    names: dict[Path, str] = field(default_factory=dict)
    """What the files are called in the scene."""


def start(parameters: Any, session: Session) -> PairJob:
    """Hand over what is chosen and begin.

    Raises
    ------
    UserError
        Naming the node that cannot be used.
    """
    folder = session.new_folder()
    try:
        return _start(parameters, folder)
    except UserError:
        remove_images(folder)
        raise


def _start(parameters: Any, folder: Path) -> PairJob:
    reference, synthetic = parameters.pairReference, parameters.pairSynthetic
    if reference is synthetic:
        raise UserError(
            f"Reference and synthetic CT are the same volume, {reference.GetName()}.", todo="Choose the other CT."
        )
    options: dict[str, Any] = {}
    names: dict[Path, str] = {}
    slices: list[Place] = []
    for key, node in (("reference", reference), ("synthetic", synthetic)):
        image = image_from_node(node)
        slices = slices or slice_places(image)
        options[key] = new_path_in(folder, f"{key} {node.GetName()}.nrrd")
        write_exchange(image, options[key])
        names[options[key]] = node.GetName()
    options["mask"] = "auto" if parameters.pairBody else None
    if parameters.pairMask is not None and not parameters.pairBody:
        options["mask"] = folder / "mask.nrrd"
        write_exchange(mask_of(parameters.pairMask), options["mask"])
        names[options["mask"]] = parameters.pairMask.GetName()
    regions: dict[str, Place] = {}
    if parameters.pairRegions is not None:
        options["regions"] = folder / "regions.seg.nrrd"
        regions = hand_over_regions(parameters.pairRegions, options["regions"])
        names[options["regions"]] = parameters.pairRegions.GetName()
    options |= {
        "other_grid": "resample" if parameters.pairResample else "refuse",
        "no_numbers": "leave-out" if parameters.pairLeaveOut else "refuse",
        "output": folder / "scores.json",
        "report": folder / "report.html",
        "error_map": folder / "error.nrrd",
    }
    job = Job.start("evaluate", options, folder / "job", words=_line_words(parameters.pairLine))
    return PairJob(job, reference, synthetic, slices, regions, names)


def _line_words(line: slicer.vtkMRMLMarkupsLineNode | None) -> list[str]:
    if line is None:
        return []
    if line.GetNumberOfDefinedControlPoints() < 2:
        raise UserError(f"The line {line.GetName()} has not two points.", todo="Place its ends, or choose no line.")
    words = ["--line"]
    for number in range(2):
        place = [0.0, 0.0, 0.0]
        line.GetNthControlPointPositionWorld(number, place)
        words += [f"{value:.4f}" for value in place]
    return words


def finish(found: PairJob, parameters: Any) -> None:
    """Put everything that was found into the scene; results of another synthetic CT stay, and are replaced by none.

    Raises
    ------
    UserError
        A file of the result cannot be read.
    """
    options = found.job.options
    try:
        content = json.loads(Path(options["output"]).read_text(encoding="utf-8"))
        page = Path(options["report"]).read_text(encoding="utf-8")
        error = sitk.ReadImage(str(options["error_map"]))
    except (OSError, ValueError, RuntimeError) as problem:
        raise UserError("The result of the evaluation cannot be read.", f"{problem}.", "Evaluate again.") from problem
    name = found.synthetic.GetName()
    before = parameters.pairScores
    if before is not None and before.GetNodeReference(SYNTHETIC_REFERENCE) is not found.synthetic:
        forget(parameters)
    _fill(found, parameters, content, name)
    node = parameters.pairError
    if node is None:
        parameters.pairError = node = node_from_image(error, f"{name} error")
    else:
        update_node_from_image(node, error)
    show_as_difference(node, ERROR_HU, "synthetic − reference, HU")
    text = parameters.pairReport
    if text is None:
        text = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", f"{name} report")
        parameters.pairReport = text
    text.SetText(_named(page, found.names))
    for result in RESULTS:
        node = getattr(parameters, result)
        if node is not None and not node.IsA("vtkMRMLPlotChartNode"):
            place_beside(node, found.synthetic)


def forget(parameters: Any) -> None:
    """Take results off the window; their nodes stay in the scene."""
    for name in RESULTS:
        setattr(parameters, name, None)


def _fill(found: PairJob, parameters: Any, content: Mapping[str, Any], name: str) -> None:
    """Fill tables, charts and histogram."""
    keys = [key for key in content["definitions"] if isinstance(content.get(key), int | float | str | None)]
    keys = [key for key in keys if key in content]
    table = fill_table(
        parameters.pairScores,
        f"{name} scores",
        {
            "score": keys,
            "value": [_number(content[key]) for key in keys],
            "definition": [content["definitions"][key] for key in keys],
        },
    )
    table.SetNodeReferenceID(SYNTHETIC_REFERENCE, found.synthetic.GetID())
    table.SetDescription(f"{name} against {found.reference.GetName()}:")
    parameters.pairScores = table
    rows = content["regions"]
    if rows:
        places = [found.regions.get(row["region"], (math.nan,) * 3) for row in rows]
        columns: dict[str, Any] = {"region": [row["region"] for row in rows]}
        columns |= {key: [_number(row[key]) for row in rows] for key in rows[0] if key != "region"}
        columns |= {axis: [place[n] for place in places] for n, axis in enumerate("RAS")}
        parameters.pairRegionScores = fill_table(parameters.pairRegionScores, f"{name} regions", columns)
    else:
        parameters.pairRegionScores = None
    curve = content["slice_curve"]
    columns = {
        HEIGHT: curve["height_mm"],
        MAE: [_number(value) for value in curve["mae_hu"]],
        ME: [_number(value) for value in curve["me_hu"]],
    }
    places = found.slices
    columns |= {axis: [place[n] for place in places] for n, axis in enumerate("RAS")}
    parameters.pairSlices = fill_table(parameters.pairSlices, f"{name} slices", columns)
    parameters.pairSliceChart = draw_slices(
        parameters.pairSliceChart, f"{name}: error by slice", columns, parameters.pairSlices
    )
    bone = content["bone_curve"]
    columns = {_THRESHOLD: [float(limit) for limit in bone], _DICE: [_number(value) for value in bone.values()]}
    parameters.pairBoneChart = draw(
        parameters.pairBoneChart, f"{name}: bone", columns, [Line(_DICE, BLUE, _DICE)], ("bone from, HU", "Dice")
    )
    line = content.get("line_profile")
    if line is None:
        parameters.pairLineChart = None
    else:
        columns = {_DISTANCE: line["distance_mm"]}
        for key in ("reference", "synthetic"):
            columns[f"{key}, HU"] = [_number(value) for value in line[f"{key}_hu"]]
        parameters.pairLineChart = draw(
            parameters.pairLineChart,
            f"{name}: along the line",
            columns,
            [Line("reference, HU", DARK, "reference"), Line("synthetic, HU", RED, "synthetic CT")],
            (_DISTANCE, "HU"),
        )
    parameters.pairHistogram = _histogram(content["joint_histogram"], parameters.pairHistogram, name)


def _histogram(
    found: Mapping[str, Any], node: slicer.vtkMRMLScalarVolumeNode | None, name: str
) -> slicer.vtkMRMLScalarVolumeNode:
    """A picture whose L is the reference's HU and whose A is the synthetic CT's; values: log10 of 1 + voxels."""
    low, high = found["range_hu"]
    counts = np.array(found["counts"], dtype=np.float32)
    image = sitk.GetImageFromArray(np.log10(1 + counts.T[None]))
    width = (high - low) / found["bins"]
    image.SetSpacing((width, width, width))
    image.SetOrigin((low + width / 2, -low - width / 2, 0.0))  # HU grow to the right and upwards in an axial view
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
    if node is None:
        node = node_from_image(image, f"{name} HU histogram")
    else:
        update_node_from_image(node, image)
    node.SetDescription("Voxels by HU of the reference (L) and of the synthetic CT (A), as log10(1 + voxels).")
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLPETProceduralColorNodePET-Heat")
    display.AutoWindowLevelOff()
    most = float(sitk.GetArrayViewFromImage(image).max()) or 1.0
    display.SetWindowLevelMinMax(0.0, most)
    display.SetInterpolate(0)
    return node


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _named(page: str, names: Mapping[Path, str]) -> str:
    for path, name in names.items():
        page = page.replace(html.escape(str(path)), html.escape(name)).replace(
            html.escape(path.name), html.escape(name)
        )
    return page
