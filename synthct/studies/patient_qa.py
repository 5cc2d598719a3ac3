"""One patient's synthetic CT examined without a CT: findings in plain sentences, each check answered or named open.

What is looked at: is the MR like the training data; is the body cut off; do bone, air and volume of the synthetic CT
lie in the training range; are there places without MR signal, and what did the model make of them; is anything dense
outside the body; how uncertain is the model, where a map of that is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.evaluation.images.body_content import CONTENTS, body_content
from synthct.events import SILENT, Events
from synthct.synthesis.input_checks import cut_off_sides
from synthct.synthesis.likeness.watch import unlikeness
from synthct.synthesis.model_file import Model
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import Triple, array_of, axial_order, axial_view, resample_onto, same_grid
from synthct.volumes.hu import AIR_HU, TISSUES
from synthct.volumes.signal_voids import Void, signal_voids

Severity = Literal["good", "note", "warning", "unchecked"]
TOLERATED = 1.25
"""Bone and air beyond the training range by this factor are a warning."""
_ROUNDING = 0.005
_BODY_TOLERATED = 2.0
_DENSE_HU = -350.0
_NEAR_SKIN_MM = 10.0
_STRAY_ML = 20.0
_LISTED = 8
_WORDS = {"bone_fraction": "bone (250 HU and more)", "air_fraction": "air (below -200 HU)", "body_ml": "the body"}


@dataclass(frozen=True)
class Finding:
    """One check's answer: ``good``, ``note`` (to know), ``warning`` (to look at) or ``unchecked``."""

    topic: str
    severity: Severity
    sentence: str


@dataclass(frozen=True)
class Examination:
    """All findings of one patient, and what a report draws."""

    findings: list[Finding]
    numbers: dict[str, Any]
    voids: list[Void] = field(default_factory=list)
    suspicious: list[Void] = field(default_factory=list)
    """Voids in which the synthetic CT shows soft tissue."""
    body: sitk.Image | None = None
    void_labels: sitk.Image | None = None

    @property
    def passed(self) -> bool:
        """Whether every check was made and none warns."""
        return all(finding.severity in ("good", "note") for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "passed": self.passed,
            "findings": [vars(finding) for finding in self.findings],
            "numbers": self.numbers,
        }


def examine(
    mr: sitk.Image,
    synthetic: sitk.Image,
    model: Model,
    uncertainty: sitk.Image | None = None,
    mask: sitk.Image | None = None,
    void_ml: float = 1.0,
    sd_limit: float = 150.0,
    device: str = "cpu",
    events: Events = SILENT,
) -> Examination:
    """Examine a synthetic CT beside the MR that it was made from.

    Parameters
    ----------
    synthetic
        HU; on another grid than the MR it is resampled (linear), and a finding says so.
    uncertainty
        Standard deviation in HU (`synthct synthesize --uncertainty`).
    mask
        The body; None: found in the MR.
    void_ml
        Places without signal from this size on are listed.
    sd_limit
        HU: a 95th percentile of the standard deviation in the body above it is a warning.

    Raises
    ------
    UserError
        The images do not overlap, or a value is no number.
    """
    findings: list[Finding] = []
    synthetic = _onto(mr, synthetic, "the synthetic CT", float(AIR_HU), findings)
    if uncertainty is not None:
        uncertainty = _onto(mr, uncertainty, "the uncertainty", 0.0, findings)
    body = _body(mr, mask, findings)
    findings.append(_likeness(mr, model, body, device, events))
    if body is None:
        for topic in ("field of view", "bone and air", "signal voids", "outside the body", "uncertainty"):
            findings.append(Finding(topic, "unchecked", "Could not be checked, since no body was found in the MR."))
        return Examination(findings, {})
    numbers: dict[str, Any] = {}
    hu, inside = array_of(synthetic), array_of(body) != 0
    findings += _field_of_view(body)
    content = body_content(hu, inside, float(np.prod(mr.GetSpacing())) / 1000)
    numbers["body_content"] = {name: round(value, 5) for name, value in content.items()}
    findings += _content(content, model.card.get("statistics", {}))
    voids, labels = signal_voids(mr, body, void_ml)
    told, suspicious, numbers["signal_voids"] = _voids(voids, labels, hu, void_ml)
    findings += told
    findings += _outside(synthetic, body)
    answer, numbers["uncertainty_hu"] = _uncertainty(uncertainty, inside, sd_limit)
    findings.append(answer)
    return Examination(findings, numbers, voids, suspicious, body, labels)


def _onto(mr: sitk.Image, image: sitk.Image, name: str, outside: float, findings: list[Finding]) -> sitk.Image:
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise UserError(f"{name[0].upper()}{name[1:]} holds NaN or infinite values.", todo="Make it again.")
    if same_grid(mr, image):
        return image
    everywhere = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    everywhere.CopyInformation(image)
    covered = float(np.mean(array_of(resample_onto(everywhere, mr, "nearest", 0))))
    if not covered:
        raise UserError(
            f"{name[0].upper()}{name[1:]} does not overlap the MR.",
            "They lie in different places in space.",
            "Give what was made from this MR.",
        )
    sentence = f"The MR and {name} are on different grids; {name} was resampled and covers {covered:.0%} of the MR."
    findings.append(Finding("grid", "warning" if covered < 0.95 else "note", sentence))
    return resample_onto(sitk.Cast(image, sitk.sitkFloat32), mr, "linear", outside)


def _body(mr: sitk.Image, mask: sitk.Image | None, findings: list[Finding]) -> sitk.Image | None:
    if mask is not None:
        body = mask if same_grid(mr, mask) else resample_onto(mask, mr, "nearest", 0)
        if not sitk.GetArrayViewFromImage(body).any():
            raise UserError("The mask covers no voxel of the MR.", todo="Give the body mask of this MR.")
        return sitk.Cast(body != 0, sitk.sitkUInt8)
    try:
        return body_mask(mr, "mr")
    except UserError as error:
        findings.append(Finding("body", "unchecked", f"{error}"))
        return None


def _likeness(mr: sitk.Image, model: Model, body: sitk.Image | None, device: str, events: Events) -> Finding:
    try:
        likeness = unlikeness(mr, model, body, device, events, "The MR")
    except UserError as error:
        return Finding(
            "likeness", "unchecked", f"Whether the MR is like the training data could not be checked: {error}"
        )
    sentence = likeness.sentence.replace("This input", "The MR", 1).replace("this input", "the MR", 1)
    if likeness.unlike:
        return Finding("likeness", "warning", sentence)
    return Finding("likeness", "good" if likeness.checked and not likeness.skipped else "unchecked", sentence)


def _field_of_view(body: sitk.Image) -> list[Finding]:
    """Is the body cut off by the edge of the image?"""
    view = axial_view(sitk.GetArrayViewFromImage(body), body)
    spacing = [body.GetSpacing()[axis] for axis in axial_order(body)[0]]
    sides = cut_off_sides(view, spacing)
    ends = [name for name, plane in (("feet", view[0]), ("head", view[-1])) if plane.any()]
    findings = [
        Finding("field of view", "warning", f"The body is cut off at the {_listed(sides)}: no beam may pass there.")
        if sides
        else Finding("field of view", "good", "The body is not cut off at its left, right, front or back.")
    ]
    if ends:
        text = f"The image ends within the body towards the {_listed(ends)}, as most do; beams must not enter there."
        findings.append(Finding("field of view", "note", text))
    return findings


def _content(content: Mapping[str, float], statistics: Any) -> list[Finding]:
    """Bone, air and volume of the synthetic CT against the training CTs."""
    findings = []
    for name in CONTENTS:
        value, shown = content[name], f"{content[name]:.0f} ml" if name == "body_ml" else f"{content[name]:.2%}"
        what = f"The body has {shown}" if name == "body_ml" else f"{shown} of the body is {_WORDS[name]}"
        seen = statistics.get(name) if isinstance(statistics, Mapping) else None
        if not (isinstance(seen, list) and len(seen) == 2 and all(isinstance(limit, int | float) for limit in seen)):
            text = f"{what}; the model's card does not say what that was in the training CTs."
            findings.append(Finding("bone and air", "unchecked", text))
            continue
        low, high = seen
        span = f"{low:.0f} to {high:.0f} ml" if name == "body_ml" else f"{low:.2%} to {high:.2%}"
        if name == "body_ml":
            beyond = not low / _BODY_TOLERATED <= value <= high * _BODY_TOLERATED
        else:
            beyond = not low / TOLERATED - _ROUNDING <= value <= high * TOLERATED + _ROUNDING
        severity: Severity = "warning" if beyond else "good" if low <= value <= high else "note"
        where = "far outside" if beyond else "within" if severity == "good" else "just outside"
        findings.append(Finding("bone and air", severity, f"{what}, {where} the range in training, {span}."))
    return findings


def _voids(
    voids: list[Void], labels: sitk.Image, hu: np.ndarray, void_ml: float
) -> tuple[list[Finding], list[Void], list[dict[str, Any]]]:
    """What the model made of the places without signal: findings, the suspicious ones, numbers."""
    if not voids:
        text = f"No place of {void_ml:g} ml or more in the body is without MR signal."
        return [Finding("signal voids", "good", text)], [], []
    array = array_of(labels)
    numbers, groups = [], {"air": [], "bone": [], "soft": []}  # type: ignore[var-annotated]
    for void in voids:
        median = float(np.median(hu[array == void.label]))
        kind = "air" if median < TISSUES["air"][1] else "bone" if median >= TISSUES["bone"][0] else "soft"
        groups[kind].append((void, median))
        numbers.append(
            {
                "volume_ml": round(void.volume_ml, 2),
                "centre_lps_mm": [round(value, 1) for value in void.centre],
                "synthetic_median_hu": round(median),
                "synthetic_shows": {"soft": "soft tissue"}.get(kind, kind),
            }
        )
    findings = []
    for void, median in groups["soft"][:_LISTED]:
        findings.append(
            Finding(
                "signal voids",
                "warning",
                f"{void.volume_ml:.1f} ml at {_place(void.centre)} have no MR signal, but the synthetic CT shows soft "
                f"tissue there (median {median:.0f} HU): gas, metal or bone that the model filled. Look at it.",
            )
        )
    if len(groups["soft"]) > _LISTED:
        left = groups["soft"][_LISTED:]
        text = (
            f"{len(left)} smaller places without MR signal are soft tissue in the synthetic CT, too; see the numbers."
        )
        findings.append(Finding("signal voids", "warning", text))
    for kind, meaning in (("air", "gas or air, as one expects"), ("bone", "cortical bone, or metal taken for bone")):
        if groups[kind]:
            total = sum(void.volume_ml for void, _ in groups[kind])
            largest = groups[kind][0][0]
            text = (
                f"{len(groups[kind])} {'place' if len(groups[kind]) == 1 else 'places'} without MR signal "
                f"({total:.1f} ml together, the largest {largest.volume_ml:.1f} ml at {_place(largest.centre)}): "
                f"the synthetic CT shows {kind}, {meaning}."
            )
            findings.append(Finding("signal voids", "note", text))
    return findings, [void for void, _ in groups["soft"]], numbers


def _outside(synthetic: sitk.Image, body: sitk.Image) -> list[Finding]:
    """Nothing dense may lie outside the body; a couch is never synthesised."""
    radius = [max(1, round(_NEAR_SKIN_MM / step)) for step in body.GetSpacing()]
    near = array_of(sitk.BinaryDilate(body, radius, sitk.sitkBall)) != 0
    dense = (array_of(synthetic) > _DENSE_HU) & ~near
    volume = float(dense.sum() * np.prod(body.GetSpacing()) / 1000)
    findings = []
    if volume > _STRAY_ML:
        text = f"{volume:.0f} ml denser than {_DENSE_HU:.0f} HU lie more than {_NEAR_SKIN_MM:.0f} mm outside the body."
        findings.append(Finding("outside the body", "warning", f"{text} The model invented them; set them to air."))
    else:
        text = f"Nothing dense lies outside the body ({volume:.1f} ml above {_DENSE_HU:.0f} HU)."
        findings.append(Finding("outside the body", "good", text))
    text = "A synthetic CT holds no couch: add the planning couch in the planning system."
    findings.append(Finding("couch", "note", text))
    return findings


def _uncertainty(
    uncertainty: sitk.Image | None, inside: np.ndarray, limit: float
) -> tuple[Finding, dict[str, float] | None]:
    if uncertainty is None:
        return Finding("uncertainty", "note", "No map of uncertainty was given, so that was not looked at."), None
    values = array_of(uncertainty)[inside].astype(np.float64)
    if values.size and values.min() < 0:
        raise UserError(
            f"The map of uncertainty has values below 0, down to {values.min():g}.",
            "A standard deviation has none.",
            "Give what `synthct synthesize --uncertainty-output` wrote.",
        )
    numbers = {
        "mean": round(float(values.mean()), 2),
        "p95": round(float(np.percentile(values, 95)), 2),
        "max": round(float(values.max()), 2),
    }
    text = (
        f"The standard deviation in the body is {numbers['mean']:.0f} HU on average and below {numbers['p95']:.0f} HU "
        f"in 95 % of it; the limit that was set for the latter is {limit:g} HU."
    )
    return Finding("uncertainty", "warning" if numbers["p95"] > limit else "good", text), numbers


def _place(centre: Triple) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in centre) + ") mm LPS"


def _listed(words: list[str]) -> str:
    return " and ".join(words) if len(words) < 3 else ", ".join(words[:-1]) + " and " + words[-1]
