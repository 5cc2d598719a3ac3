"""Doses read from DICOM, gamma against closed forms, dose-volume numbers by hand, and the command."""

import copy
import csv
import html
import json
import math
import subprocess
import sys

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.evaluation.dose.gamma import gamma
from synthct.evaluation.dose.scores import dose_metrics, dose_volume, structure_doses
from synthct.volumes.dose import read_dose
from synthct.volumes.geometry import resample_onto
from synthct.volumes.segments import read_segments

FRAME = "1.2.826.0.1.3680043.8.498.1"


@pytest.fixture(scope="module", autouse=True)
def nothing_of_pymedphys_stays():
    """Its lazy modules raise where an attribute of a missing package is asked for; PySide, which asks, then aborts."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "pymedphys"]:
        del sys.modules[name]


def rtdose(path, voxels, offsets=None, orientation=(1, 0, 0, 0, 1, 0), position=(-20.0, -30.0, 100.0), **changes):
    """An RTDOSE file of ``voxels`` (frames, rows, columns) in Gy; rows 2 mm, columns 3 mm apart."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality, data.DoseUnits, data.DoseType, data.DoseSummationType = "RTDOSE", "GY", "PHYSICAL", "PLAN"
    data.PatientID, data.FrameOfReferenceUID = "P1", FRAME
    data.ImageOrientationPatient, data.ImagePositionPatient = list(orientation), list(position)
    data.PixelSpacing = [2.0, 3.0]
    data.GridFrameOffsetVector = list(offsets if offsets is not None else np.arange(len(voxels)) * 2.5)
    data.NumberOfFrames, data.Rows, data.Columns = voxels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 32, 32, 31
    data.DoseGridScaling = "1e-6"
    data.PixelData = np.rint(voxels / 1e-6).astype("<u4").tobytes()
    for name, value in changes.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def blob(shape=(12, 20, 16), peak=60.0, shift=0.0):
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(float)
    return peak * np.exp(-(((z - 6) / 4) ** 2 + ((y - 10) / 6) ** 2 + ((x - 8 - shift) / 5) ** 2))


def image(array, spacing=(2.0, 2.0, 2.0), origin=(0.0, 0.0, 0.0)):
    made = sitk.GetImageFromArray(np.asarray(array, np.float32))
    made.SetSpacing(spacing)
    made.SetOrigin(origin)
    return made


def synthct(words):
    return subprocess.run([sys.executable, "-m", "synthct", *map(str, words)], capture_output=True, text=True)


@pytest.mark.parametrize("form", ["differences", "positions", "downwards", "oblique"])
def test_a_dose_lies_where_its_header_says(tmp_path, form):
    voxels = blob()
    offsets = np.arange(12) * 2.5
    orientation = (1, 0, 0, 0, 1, 0)
    if form == "positions":
        offsets = 100.0 + offsets
    elif form == "downwards":
        offsets = -offsets
    elif form == "oblique":
        orientation = (math.cos(0.3), math.sin(0.3), 0, -math.sin(0.3), math.cos(0.3), 0)
    dose = read_dose(rtdose(tmp_path / "d.dcm", voxels, offsets, orientation))
    right, down = np.reshape(orientation, (2, 3))
    step = -2.5 if form == "downwards" else 2.5
    for frame, row, column in ((0, 0, 0), (3, 7, 11), (11, 19, 15)):
        point = np.array([-20.0, -30.0, 100.0]) + right * 3 * column + down * 2 * row + np.array([0, 0, step * frame])
        index = dose.image.TransformPhysicalPointToIndex(point.tolist())
        assert dose.image.GetPixel(index) == pytest.approx(voxels[frame, row, column], abs=2e-6)
    assert (dose.patient_id, dose.frame_uid, dose.summation) == ("P1", FRAME, "PLAN")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DoseUnits": "RELATIVE"}, "They are RELATIVE"),
        ({"DoseUnits": None}, "None is said"),
        ({"Modality": "CT"}, "is no dose"),
        ({"GridFrameOffsetVector": [0, 1, 3]}, "12 frames have 3 offsets"),
        ({"GridFrameOffsetVector": [0, *(2.5 * n + 1 for n in range(1, 12))]}, "not evenly spaced"),
        ({"DoseGridScaling": None}, "incomplete"),
        ({"DoseGridScaling": "0"}, "holds no dose"),
    ],
)
def test_what_is_no_absolute_dose_is_refused(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        read_dose(rtdose(tmp_path / "d.dcm", blob(), **changes))


def test_the_unit_of_an_image_must_be_told(tmp_path):
    path = tmp_path / "dose.nrrd"
    sitk.WriteImage(image(blob() * 100), str(path))
    with pytest.raises(UserError, match="--unit gy or --unit cgy"):
        read_dose(path)
    assert sitk.GetArrayFromImage(read_dose(path, "cgy").image).max() == pytest.approx(60)
    sitk.WriteImage(image(blob() - 1), str(path))
    with pytest.raises(UserError, match="negative"):
        read_dose(path, "gy")


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 0.0), (1.01, 0.5), (1.02, 1.0), (1.03, 1.5)])
def test_gamma_of_a_flat_dose_is_the_share_of_the_criterion(factor, expected):
    flat = np.full((6, 7, 8), 50.0)
    found = gamma(image(flat), image(flat * factor), 2, 2)
    assert found.map[2:4, 2:5, 2:6] == pytest.approx(np.full((2, 3, 4), expected), abs=2e-3)
    assert found.voxels == flat.size


def test_gamma_of_a_moved_slope_is_as_geometry_says():
    # dose a·x moved by d: the nearest point of the line lies a·d / sqrt(D² + a²·r²) away, in units of the criterion
    x = np.arange(30) * 1.0
    slope, moved, percent, distance = 2.0, 1.5, 3.0, 3.0
    line = np.broadcast_to(20 + slope * x, (5, 6, 30))
    found = gamma(image(line, (1, 1, 1)), image(line - slope * moved, (1, 1, 1)), percent, distance, 1)
    limit = percent / 100 * line.max()
    expected = slope * moved / math.hypot(limit, slope * distance)
    assert found.map[2, 3, 8:22] == pytest.approx(np.full(14, expected), abs=0.03)


def test_gamma_does_not_depend_on_the_evaluated_grid():
    reference = image(blob((14, 20, 16)))
    finer = sitk.Resample(reference, (31, 39, 27), sitk.Transform(), sitk.sitkLinear, (0, 0, 0), (1, 1, 1))
    found = gamma(reference, finer, 1, 1)
    assert found.mean < 0.02 and found.pass_percent == 100
    turned = sitk.Resample(
        reference,
        (16, 20, 14),
        sitk.Transform(),
        sitk.sitkLinear,
        (30, 38, 0),
        (2, 2, 2),
        (-1, 0, 0, 0, -1, 0, 0, 0, 1),
    )
    assert gamma(reference, turned, 1, 1).mean < 0.01


def test_local_gamma_is_stricter_where_the_dose_is_low():
    first, second = image(blob()), image(blob() * 1.025)
    assert gamma(first, second, 2, 0.5, local=True).pass_percent < gamma(first, second, 2, 0.5).pass_percent == 100
    assert gamma(first, second, 2, 2, normalisation_gy=30).mean > gamma(first, second, 2, 2).mean
    with pytest.raises(UserError, match="No voxel of the reference has 10 %"):
        gamma(first, second, 2, 2, normalisation_gy=1000)


def test_dose_volume_numbers_by_hand():
    doses = np.arange(101.0)  # 0, 1, … 100 Gy, one voxel each
    assert dose_metrics(doses) == {"d98_gy": 2.0, "d95_gy": 5.0, "d50_gy": 50.0, "d2_gy": 98.0, "mean_gy": 50.0}
    assert dose_volume(doses, [0, 50, 100, 101]) == pytest.approx([100, 100 * 51 / 101, 100 / 101, 0])


def test_a_structure_beyond_the_dose_is_refused_and_one_at_its_edge_is_cut():
    dose = image(np.full((10, 10, 10), 20.0))
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[2:4, 2:4, :] = 1
    half_out = sitk.Cast(image(mask, origin=(10, 0, 0)), sitk.sitkUInt8)
    found = structure_doses(dose, dose, half_out, "cord")
    assert len(found.reference) == 20 and found.volume_ml == pytest.approx(20 * 0.008) and found.covered == 0.5
    with pytest.raises(UserError, match="cord lies beyond"):
        structure_doses(dose, dose, sitk.Cast(image(mask, origin=(100, 0, 0)), sitk.sitkUInt8), "cord")
    with pytest.raises(UserError, match="cord is empty"):
        structure_doses(dose, dose, half_out * 0, "cord")


def test_segments_keep_their_names_and_may_overlap(tmp_path):
    layers = np.zeros((4, 5, 6, 2), np.uint8)
    layers[1, 1:4, 1:4, 0] = 1
    layers[1, 2:5, 2:5, 1] = 1
    layers[3, :, :, 0] = 2
    made = sitk.GetImageFromArray(layers, isVector=True)
    for number, (name, layer, value) in enumerate((("target", 0, 1), ("cord", 1, 1), ("lung", 0, 2))):
        for what, text in (("Name", name), ("Layer", str(layer)), ("LabelValue", str(value))):
            made.SetMetaData(f"Segment{number}_{what}", text)
    sitk.WriteImage(made, str(tmp_path / "s.seg.nrrd"))
    segments = read_segments(tmp_path / "s.seg.nrrd")
    assert {name: int(sitk.GetArrayFromImage(mask).sum()) for name, mask in segments} == {
        "target": 9,
        "cord": 9,
        "lung": 30,
    }
    sitk.WriteImage(image(np.pad(np.full((2, 2, 2), 3), 1)), str(tmp_path / "labels.nii.gz"))
    assert read_segments(tmp_path / "labels.nii.gz").names == ("label 3",)
    sitk.WriteImage(image(blob()), str(tmp_path / "image.nrrd"))
    with pytest.raises(UserError, match="is an image, not a segmentation"):
        read_segments(tmp_path / "image.nrrd")
    sitk.WriteImage(image(blob() * 0), str(tmp_path / "empty.nrrd"))
    with pytest.raises(UserError, match="holds no region"):
        read_segments(tmp_path / "empty.nrrd")


def structure_set(path, frame=FRAME, far=False):
    """A square "target" of 24 × 24 mm on the dose's slices 4 to 8; ``far``: and one a metre beside it."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality = "RTSTRUCT"
    region = Dataset()
    region.ROINumber, region.ROIName, region.ReferencedFrameOfReferenceUID = 1, "target", frame
    contours = []
    for frame_number in range(4, 9):
        contour = Dataset()
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
        z = 100 + 2.5 * frame_number
        corners = ((-8.0, -22.0), (16.0, -22.0), (16.0, 2.0), (-8.0, 2.0))
        contour.ContourData = [value for corner in corners for value in (*corner, z)]
        contours.append(contour)
    drawn = Dataset()
    drawn.ReferencedROINumber, drawn.ContourSequence = 1, contours
    reference = Dataset()
    reference.FrameOfReferenceUID = frame
    data.ReferencedFrameOfReferenceSequence = [reference]
    data.StructureSetROISequence, data.ROIContourSequence = [region], [drawn]
    if far:
        region, drawn = copy.deepcopy(region), copy.deepcopy(drawn)
        region.ROINumber, region.ROIName, drawn.ReferencedROINumber = 2, "far", 2
        for contour in drawn.ContourSequence:
            contour.ContourData = [v + 1000 * (place % 3 == 0) for place, v in enumerate(contour.ContourData)]
        data.StructureSetROISequence.append(region)
        data.ROIContourSequence.append(drawn)
    data.save_as(path, enforce_file_format=True)
    return path


def test_the_command_from_dicom_to_numbers(tmp_path):
    first = rtdose(tmp_path / "a.dcm", blob())
    second = rtdose(tmp_path / "b.dcm", blob() * 1.02)
    structures = structure_set(tmp_path / "rs.dcm")
    out = tmp_path / "out"
    words = ["dose", "--reference", first, "--evaluated", second, "--structures", structures]
    words += ["--output", out / "dose.json", "--dvh", out / "dvh.csv", "--picture", out / "dvh.png"]
    words += ["--difference", out / "d.nrrd", "--gamma-map", out / "g.nrrd", "--report", out / "page.html"]
    done = synthct(words)
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "dose.json").read_text())
    strict, loose = content["gamma"]["1%/1mm"], content["gamma"]["3%/3mm"]
    assert loose["pass_percent"] == 100 and strict["mean"] > loose["mean"] > 0
    target = content["structures"]["target"]
    for name in ("d98_gy", "d95_gy", "d50_gy", "d2_gy", "mean_gy"):
        assert target[name]["evaluated"] == pytest.approx(1.02 * target[name]["reference"], rel=1e-5)
    inside = blob()[4:9, 4:16, 4:12]
    assert target["mean_gy"]["reference"] == pytest.approx(inside.mean(), rel=1e-5)
    assert target["volume_ml"] == pytest.approx(inside.size * 0.015)
    rows = list(csv.DictReader((out / "dvh.csv").open()))
    assert float(rows[0]["target reference"]) == 100 and float(rows[-1]["target reference"]) == 0
    change = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "d.nrrd")))
    assert change == pytest.approx(0.02 * blob(), abs=1e-4)
    assert np.isnan(sitk.GetArrayFromImage(sitk.ReadImage(str(out / "g.nrrd")))).any()
    assert (out / "dvh.png").stat().st_size > 10_000
    page = html.unescape((out / "page.html").read_text())
    assert page.count("data:image/png;base64,") == 2 and "http" not in page and "<script" not in page
    assert (
        "1%/1mm" in page and "target" in page and content["definitions"]["gamma"] in page and content["version"] in page
    )
    again = synthct(words)
    assert again.returncode == 2 and "--overwrite" in again.stderr


def test_what_lies_beyond_a_dose_is_left_out_and_said(tmp_path, capsys):
    first, second = rtdose(tmp_path / "a.dcm", blob()), rtdose(tmp_path / "b.dcm", 1.01 * blob()[:, :, :9])
    turned = image(np.ones((12, 20, 16)), origin=(-20, -30, 100))
    turned.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    dose = read_dose(first).image
    reached = sitk.GetArrayFromImage(resample_onto(turned, dose, "nearest", 0)) > 0
    judged = np.isfinite(gamma(dose, resample_onto(dose, turned, "linear", 0.0), 10, 1, 30).map)
    assert 0 < judged.sum() < (blob() >= 18).sum() and not judged[~reached].any()
    structures = structure_set(tmp_path / "rs.dcm", far=True)
    words = ["dose", "--reference", first, "--evaluated", second, "--structures", structures]
    words += ["--criterion", "5", "1", "--output", tmp_path / "o.json"]
    assert main([str(word) for word in words]) == 0
    content = json.loads((tmp_path / "o.json").read_text())
    notes = " ".join(content["notes"])
    assert "The structure far is left out" in notes and "of it lies within both dose grids" in notes
    assert (
        list(content["structures"]) == ["target"]
        and 0 < content["covered"] < 1
        and "The evaluated dose covers" in notes
    )
    high = blob() >= 6
    assert content["covered"] == pytest.approx(high[:, :, :9].sum() / high.sum())
    assert content["gamma"]["5%/1mm"]["voxels"] == high[:, :, :9].sum()
    assert content["mean_difference_gy"] == pytest.approx(0.01 * blob()[:, :, :9][high[:, :, :9]].mean(), rel=1e-3)
    assert main([*map(str, words[:-1]), str(tmp_path / "p.json"), "--only", "far"]) == 2
    assert "far has no voxel" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({"FrameOfReferenceUID": "1.2.3"}, [], "different frames of reference"),
        ({"PatientID": "P2"}, [], "different patients"),
        ({"DoseSummationType": "BEAM"}, [], "dose of a PLAN"),
        ({}, ["--dvh", "x.csv"], "need --structures"),
        ({"DoseUnits": None}, [], "None is said"),
        ({}, ["--criterion", "0", "2"], "--criterion 0 2 is none"),
    ],
)
def test_doses_that_do_not_belong_together_are_refused(tmp_path, changes, more, words):
    first, second = rtdose(tmp_path / "a.dcm", blob()), rtdose(tmp_path / "b.dcm", blob(), **changes)
    done = synthct(["dose", "--reference", first, "--evaluated", second, "--output", tmp_path / "o.json", *more])
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_another_patient_id_is_compared_when_asked(tmp_path):
    first, second = rtdose(tmp_path / "a.dcm", blob()), rtdose(tmp_path / "b.dcm", blob(), PatientID="X")
    words = ["dose", "--reference", first, "--evaluated", second, "--output", tmp_path / "o.json", "--other-patient"]
    words += ["--criterion", "2", "2", "--structures", structure_set(tmp_path / "rs.dcm"), "--only", "heart"]
    done = synthct(words)
    assert done.returncode == 2 and "no structure heart" in done.stderr and "It has target" in done.stderr
    done = synthct(words[:-2])
    assert done.returncode == 0 and "different patients" in done.stderr, done.stderr
    assert pydicom.dcmread(second).PatientID == "X"
