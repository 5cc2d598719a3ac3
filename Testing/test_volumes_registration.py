"""Registration: a known displacement is found again, and what does not help is refused with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from synthct.errors import UserError
from synthct.events import Events
from synthct.volumes import registration
from synthct.volumes.agreement import Agreement, Judge, verdict
from synthct.volumes.body import body_mask
from synthct.volumes.couch import body_without_couch
from synthct.volumes.geometry import array_of, image_from_array, resample_onto
from synthct.volumes.registration import register, smallest_jacobian

SARCOMA = Path(__file__).parents[2] / "shared/data/sarcoma"
IDENTITY = sitk.Transform(3, sitk.sitkIdentity)
CENTRE = (10.0, -20.0, 30.0)
LANDMARKS = np.array(CENTRE) + np.array(
    [(0, 0, 0), (40, 0, 0), (-40, 5, 10), (0, 35, -20), (5, -35, 25), (20, 20, 40), (-25, -15, -45)], float
)


def limb(noise: float = 10.0) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """Return MR, CT and body mask of a made-up limb on one grid: fat, two muscles with septa, a bone with marrow."""
    size, spacing = np.array((36, 34, 28)), np.array((4.0, 4.0, 4.0))
    grid = np.moveaxis(np.indices(size[::-1]), 0, -1)[..., ::-1]
    x, y, z = np.moveaxis((grid - (size - 1) / 2) * spacing, -1, 0)
    wide = 58 - 0.12 * z
    body = (x / wide) ** 2 + (y / (wide - 8)) ** 2 < 1
    muscle = ((x - 4) / (wide - 12)) ** 2 + (y / (wide - 18)) ** 2 < 1
    other = (((x + 18) / 20) ** 2 + ((y - 12) / 16) ** 2 + ((z - 15) / 45) ** 2) < 1
    bone = (x - 15 - 0.1 * z) ** 2 + (y + 10) ** 2 < 13**2
    marrow = (x - 15 - 0.1 * z) ** 2 + (y + 10) ** 2 < 6**2
    knob = ((x - 22) ** 2 + (y + 4) ** 2 + (z - 40) ** 2) < 20**2
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.normal(0, 1, body.shape), 2.0)
    septa = muscle & (texture > texture.std())
    layers = [(body, 1000, -100), (muscle, 350, 55), (other, 550, 35), (septa, 950, -90)]
    layers += [(bone | knob, 60, 900), (marrow, 900, -40)]
    mr, ct = np.full(body.shape, 8.0), np.full(body.shape, -1000.0)
    for where, mr_value, hu in layers:
        mr[where], ct[where] = mr_value, hu
    mr += rng.normal(0, noise, mr.shape)
    ct += rng.normal(0, noise, ct.shape)
    images = []
    for array in (np.maximum(mr, 0).astype(np.float32), ct.astype(np.int16), body.astype(np.uint8)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing.tolist())
        image.SetOrigin((np.array(CENTRE) - (size - 1) / 2 * spacing).tolist())
        images.append(image)
    return images[0], images[1], images[2]


def moved(ct: sitk.Image, true: sitk.Transform) -> sitk.Image:
    """Return the CT so displaced that ``true`` (MR point → CT point) lays it back."""
    return resample_onto(ct, ct, "linear", -1000, true.GetInverse())


def error_mm(found: sitk.Transform, true: sitk.Transform) -> float:
    apart = [np.subtract(found.TransformPoint(p), true.TransformPoint(p)) for p in LANDMARKS.tolist()]
    return float(np.linalg.norm(apart, axis=1).max())


def displacement() -> sitk.Euler3DTransform:
    return sitk.Euler3DTransform(CENTRE, 0.05, -0.04, 0.12, (9.0, -7.0, 6.0))


def test_a_known_rigid_displacement_is_found_again_by_every_landmark():
    mr, ct, mask = limb()
    seen: list[dict] = []
    result = register(mr, moved(ct, displacement()), "rigid", mask, Events(listener=seen.append))
    assert result.accepted and result.kind == "rigid", result.reason
    assert error_mm(result.transform, displacement()) < 1.5
    assert result.after.body_dice > result.before.body_dice
    assert result.after.mutual_information > result.before.mutual_information
    assert result.after.residual_hu < result.before.residual_hu
    assert {event["kind"] for event in seen} == {"progress"}


def test_images_in_place_stay_there():
    mr, ct, mask = limb()
    result = register(mr, ct, "rigid", mask)
    assert error_mm(result.transform, IDENTITY) < 0.5


def test_the_couch_and_the_missing_mask_do_not_disturb():
    mr, ct, _ = limb()
    shifted = moved(ct, displacement())
    hu = array_of(shifted)
    hu[:, -3:-1, :] = 300
    result = register(mr, image_from_array(hu, shifted), "rigid")
    assert result.accepted, result.reason
    assert error_mm(result.transform, displacement()) < 2.0


def test_the_spline_finds_a_bend_that_the_rigid_one_cannot_and_repeats_itself(monkeypatch):
    monkeypatch.setattr(registration, "_BEND_VOXELS", 8000)  # so that voxels are drawn here too
    mr, ct, mask = limb()
    bend = sitk.BSplineTransformInitializer(ct, [2, 2, 2], 3)
    shifts = np.zeros(len(bend.GetParameters()))
    in_plane = 2 * len(shifts) // 3
    shifts[:in_plane] = np.random.default_rng(3).uniform(-14, 14, in_plane)
    bend.SetParameters(shifts.tolist())
    to_field = sitk.TransformToDisplacementFieldFilter()
    to_field.SetReferenceImage(ct)
    back = sitk.DisplacementFieldTransform(sitk.InvertDisplacementField(to_field.Execute(bend), 50))
    bent = resample_onto(ct, ct, "linear", -1000, back)
    spline = register(mr, bent, "bspline", mask)
    assert spline.kind == "bspline", spline.reason
    assert error_mm(IDENTITY, bend) > 4.5  # and 3.3 after the best rigid one
    assert error_mm(spline.transform, bend) < 2.2
    assert spline.after.residual_hu < 0.8 * spline.before.residual_hu
    assert smallest_jacobian(spline.transform, mask) > 0.1
    again = register(mr, bent, "bspline", mask)
    for point in LANDMARKS.tolist():
        assert again.transform.TransformPoint(point) == spline.transform.TransformPoint(point)


def test_the_affine_one_finds_a_stretch():
    mr, ct, mask = limb()
    stretch = sitk.AffineTransform([1.08, 0.03, 0, 0, 0.94, 0, 0, 0, 1.0], (4.0, -3.0, 0.0), CENTRE)
    result = register(mr, moved(ct, stretch), "affine", mask)
    assert result.kind == "affine", result.reason
    assert error_mm(result.transform, stretch) < 2.0


def test_garbage_stays_at_identity_and_says_why():
    _, ct, mask = limb()
    rng = np.random.default_rng(5)
    noise = sitk.SmoothingRecursiveGaussian(image_from_array(rng.normal(0, 1, ct.GetSize()[::-1]), ct), 4.0)
    seen: list[dict] = []
    result = register(noise, ct, "affine", mask, Events(listener=seen.append))
    assert not result.accepted and result.kind == "identity"
    assert error_mm(result.transform, IDENTITY) == 0
    assert result.reason.startswith("rigid: ") and "affine: " in result.reason
    assert [event["why"] for event in seen if event["kind"] == "warning"] == [result.reason]


def test_being_thrown_out_of_the_body_is_refused():
    mr, ct, mask = limb()
    judge = Judge(mr, mask, ct, body_without_couch(ct))
    for shift in ((300.0, 0.0, 0.0), (0.0, 90.0, 0.0), (0.0, 0.0, 80.0)):
        assert verdict(*judge.compare(IDENTITY, sitk.TranslationTransform(3, shift)))


def test_both_alignments_are_measured_on_the_same_voxels():
    mr, ct, mask = limb()
    judge = Judge(mr, mask, ct, body_without_couch(ct))
    before, after = judge.compare(IDENTITY, IDENTITY)
    assert before == after and before.coverage == 1
    assert before.body_dice > 0.99
    cut = sitk.TranslationTransform(3, (0.0, 0.0, 30.0))
    inside, _ = judge.compare(IDENTITY, cut)
    assert inside.coverage < 0.9 and inside.residual_hu < 2 * before.residual_hu


GOOD = Agreement(0.5, 0.95, 60.0, 100.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mutual_information": 0.4}, "mutual information"),
        ({"body_dice": 0.93}, "body Dice"),
        ({"residual_hu": 80.0}, "residual"),
        ({"coverage": 0.5}, "field of view"),
        ({"constant_hu": 61.0}, "explains nothing"),
    ],
)
def test_one_objection_is_enough(change, words):
    before = Agreement(0.45, 0.95, 70.0, 100.0)
    assert verdict(before, GOOD) == ""
    assert words in verdict(before, replace(GOOD, **change))
    assert "folds" in verdict(before, GOOD, shrinkage=-0.2)
    assert "do not match" in verdict(replace(before, body_dice=0.7), replace(GOOD, body_dice=0.8))


def test_folding_is_seen():
    _, ct, mask = limb()
    fold = sitk.BSplineTransformInitializer(ct, [2, 2, 2], 3)
    shifts = np.zeros(len(fold.GetParameters()))
    shifts[60:65] = (200.0, -200.0, 200.0, -200.0, 200.0)
    fold.SetParameters(shifts.tolist())
    assert smallest_jacobian(fold, mask) < 0
    assert smallest_jacobian(IDENTITY, mask) == pytest.approx(1)


def test_an_unknown_kind_is_refused():
    mr, ct, mask = limb()
    with pytest.raises(UserError, match="elastic"):
        register(mr, ct, "elastic", mask)


@pytest.mark.skipif(not SARCOMA.exists(), reason="the sarcoma images are not here")
def test_the_pair_that_is_bad_on_purpose_is_refused():
    mr, ct = (sitk.ReadImage(str(SARCOMA / f"STS_032_{kind}.nii.gz")) for kind in ("MR", "CT"))
    result = register(mr, ct, "rigid", body_mask(mr, "mr"))
    assert not result.accepted
    assert result.before.body_dice < 0.9


@pytest.mark.skipif(not SARCOMA.exists(), reason="the sarcoma images are not here")
def test_a_real_limb_that_lies_wrong_is_mended():
    mr, ct = (sitk.ReadImage(str(SARCOMA / f"STS_006_{kind}.nii.gz")) for kind in ("MR", "CT"))
    result = register(mr, ct, "rigid", body_mask(mr, "mr"))
    assert result.accepted, result.reason
    assert result.after.body_dice > 0.97 > result.before.body_dice
    assert result.after.residual_hu < 0.8 * result.before.residual_hu
