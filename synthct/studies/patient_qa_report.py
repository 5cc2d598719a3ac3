"""The examination of one patient as a page: verdict, findings, slices with the places without signal outlined."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from synthct.errors import UserError
from synthct.evaluation.page import banner, code, heading, page, paragraph, picture, table
from synthct.studies.patient_qa import Examination
from synthct.training.sample_grid import WINDOW_HU
from synthct.volumes.geometry import axial_order, axial_view
from synthct.whole_file import write_whole

_KINDS = {"good": "good", "note": "plain", "warning": "bad", "unchecked": "unsure"}
_ORDER = ("warning", "unchecked", "note", "good")


def write_qa_page(
    examination: Examination, mr: sitk.Image, synthetic: sitk.Image, made_with: Mapping[str, str], path: Path
) -> None:
    """Write the page.

    Parameters
    ----------
    mr, synthetic
        On one grid, drawn.
    made_with
        Files, model and versions, by name.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    rows = sorted(examination.findings, key=lambda finding: _ORDER.index(finding.severity))
    parts = [
        banner(sentence(examination), "good" if examination.passed else "bad"),
        heading("Findings"),
        table(
            ["severity", "topic", "finding"],
            [[finding.severity, finding.topic, finding.sentence] for finding in rows],
            [_KINDS[finding.severity] for finding in rows],
        ),
        heading("Slices"),
        paragraph("MR and synthetic CT; the body is outlined in green, places without MR signal in red."),
        picture(qa_picture(examination, mr, synthetic), "MR and synthetic CT with the body and the signal voids"),
    ]
    listed: list[dict[str, Any]] = examination.numbers.get("signal_voids") or []
    if listed:
        parts.append(heading("Places without MR signal"))
        parts.append(table(list(listed[0]), [[str(value) for value in row.values()] for row in listed]))
    parts += [heading("Made with"), table(["what", "value"], [[key, code(text)] for key, text in made_with.items()])]
    try:
        write_whole(path, page("Synthetic CT examined without a CT", parts))
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another place.") from error


def sentence(examination: Examination) -> str:
    """The overall answer."""
    counts = {kind: sum(finding.severity == kind for finding in examination.findings) for kind in _ORDER}
    if examination.passed:
        return "No warning, and everything could be checked."
    parts = []
    if counts["warning"]:
        parts.append(f"{counts['warning']} {'warning' if counts['warning'] == 1 else 'warnings'} to look at")
    if counts["unchecked"]:
        parts.append(f"{counts['unchecked']} {'check' if counts['unchecked'] == 1 else 'checks'} could not be made")
    return f"{', '.join(parts)}."


def qa_picture(examination: Examination, mr: sitk.Image, synthetic: sitk.Image) -> bytes:
    """Return a PNG of MR and synthetic CT in an axial, a coronal and a sagittal slice.

    The slices go through the largest suspicious void, else the largest void, else the body's centre.
    """
    order, _ = axial_order(mr)
    x, y, z = (mr.GetSpacing()[axis] for axis in order)
    volumes = [axial_view(sitk.GetArrayViewFromImage(image), mr) for image in (mr, synthetic)]
    outlines = [
        (axial_view(sitk.GetArrayViewFromImage(image), mr), colour)
        for image, colour in ((examination.body, "tab:green"), (examination.void_labels, "red"))
        if image is not None
    ]
    place = _place(examination, [view for view, _ in outlines], volumes[0].shape)
    cuts = ((0, y / x, "axial"), (1, z / x, "coronal"), (2, z / y, "sagittal"))
    figure = Figure(figsize=(10, 6.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3)
    high = float(np.percentile(volumes[0][:: max(1, len(volumes[0]) // 16)], 99.5))
    windows = ({"vmin": float(volumes[0].min()), "vmax": high}, {"vmin": WINDOW_HU[0], "vmax": WINDOW_HU[1]})
    for row, (volume, window, name) in enumerate(zip(volumes, windows, ("MR", "synthetic CT"), strict=True)):
        for axis, (along, aspect, cut) in zip(axes[row], cuts, strict=True):
            origin = "upper" if along == 0 else "lower"  # towards the head is up in the two others
            axis.imshow(volume.take(place[along], along), cmap="gray", aspect=aspect, origin=origin, **window)
            for view, colour in outlines:
                shown = view.take(place[along], along) > 0
                if shown.any() and not shown.all():
                    axis.contour(shown, levels=[0.5], colors=colour, linewidths=0.8)
            axis.set(xticks=[], yticks=[], title=f"{name}, {cut}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _place(examination: Examination, outlines: list[np.ndarray], shape: tuple[int, ...]) -> list[int]:
    """Index (z, y, x) that the slices go through."""
    chosen = None
    if examination.voids:
        void = (examination.suspicious or examination.voids)[0]
        chosen = outlines[-1] == void.label
    elif outlines:
        chosen = outlines[0] > 0
    if chosen is None or not chosen.any():
        return [count // 2 for count in shape]
    return [int(np.median(places)) for places in np.nonzero(chosen)]
