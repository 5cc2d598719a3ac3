"""A CT written as a DICOM series and read back by four readers; the MR's identity on it; what is refused."""

import errno
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from test_volumes_dicom import write_slice

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.events import Events
from synthct.volumes.axial import resample_axial
from synthct.volumes.dicom import list_series, read_series
from synthct.volumes.dicom_export import write_ct_series
from synthct.volumes.geometry import (
    array_of,
    grid_of,
    grid_with_spacing,
    image_from_array,
    resample_onto,
    same_grid,
)

pydicom = pytest.importorskip("pydicom")
SARCOMA = Path(__file__).parents[2] / "shared/data/sarcoma_dicom/STS_023.zip"
OBLIQUE = np.array(sitk.VersorTransform((0.3, -0.5, 0.81), 0.7).GetMatrix()).reshape(3, 3)
IDENTITY = np.eye(3)
DIRECTIONS = {
    "axial": IDENTITY,
    "oblique": OBLIQUE,
    "feet to head reversed": np.diag([1.0, -1, -1]),
    "turned about the long axis": np.diag([-1.0, -1, 1]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique reversed": OBLIQUE @ np.diag([1, -1, -1]),
    "left-handed": np.diag([-1.0, 1, 1]),
    "left-handed oblique": OBLIQUE @ np.diag([1, 1, -1]),
}


def ct(direction: np.ndarray = IDENTITY, spacing: tuple = (0.9765625, 1.3, 2.7), size: tuple = (9, 7, 5)) -> sitk.Image:
    """A CT whose every voxel differs from its neighbours."""
    array = np.random.default_rng(1).integers(-1024, 2000, size[::-1]).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-123.456789, 87.654321, -1234.56789))
    image.SetDirection(np.asarray(direction, float).ravel().tolist())
    return image


def headers(folder: Path) -> list[Any]:
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def heard(call: Any, *words: Any, **options: Any) -> list[dict]:
    """The warnings that a call gave."""
    told: list[dict] = []
    call(*words, **options, events=Events(listener=told.append))
    return [event for event in told if event["kind"] == "warning"]


def from_pydicom(folder: Path) -> sitk.Image:
    """The standard's own formula (C.7.6.2.1.1), slices in the order of their numbers."""
    slices = sorted(headers(folder), key=lambda one: int(one.InstanceNumber))
    first, last = slices[0], slices[-1]
    rows, columns = np.reshape(np.array(first.ImageOrientationPatient, float), (2, 3))
    start, end = (np.array(one.ImagePositionPatient, float) for one in (first, last))
    step = (end - start) / (len(slices) - 1)
    array = np.stack(
        [one.pixel_array.astype(int) * int(one.RescaleSlope) + int(one.RescaleIntercept) for one in slices]
    )
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.SetSpacing([float(first.PixelSpacing[1]), float(first.PixelSpacing[0]), float(np.linalg.norm(step))])
    image.SetOrigin(start.tolist())
    image.SetDirection(np.column_stack([rows, columns, step / np.linalg.norm(step)]).ravel().tolist())
    assert float(first.SpacingBetweenSlices) == pytest.approx(np.linalg.norm(step), abs=1e-6)
    return image


def from_itk(folder: Path) -> sitk.Image:
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_three_readers_find_the_same_voxels_in_the_same_places(tmp_path: Path, name: str) -> None:
    image = ct(DIRECTIONS[name])
    write_ct_series(image, tmp_path / "out")
    expected = image[:, :, ::-1] if name.startswith("left-handed") else image
    for read in (from_pydicom, from_itk, read_series):
        back = read(tmp_path / "out")
        assert same_grid(back, expected, 1e-3), read
        assert np.array_equal(array_of(back), array_of(expected)), read


@pytest.mark.parametrize("name", DIRECTIONS)
def test_slicers_own_reader_agrees(tmp_path: Path, name: str) -> None:
    slicer, vtk = pytest.importorskip("slicer"), pytest.importorskip("vtk")
    from vtk.util.numpy_support import vtk_to_numpy

    image = ct(DIRECTIONS[name])
    folder = write_ct_series(image, tmp_path / "out")
    expected = image[:, :, ::-1] if name.startswith("left-handed") else image
    node, storage = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLVolumeArchetypeStorageNode()
    files = sorted(map(str, folder.iterdir()))
    storage.SetFileName(files[0])
    storage.ResetFileNameList()
    for file in files:
        storage.AddFileName(file)
    storage.SetSingleFile(0)
    assert storage.ReadData(node)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    lps = np.diag([-1, -1, 1, 1]) @ [[matrix.GetElement(row, column) for column in range(4)] for row in range(4)]
    np.testing.assert_allclose(lps, grid_of(expected).index_to_world, atol=1e-6)
    voxels = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).reshape(array_of(expected).shape)
    assert np.array_equal(voxels, array_of(expected))


def dciodvfy(path: Path) -> str:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    return subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True).stderr


@pytest.mark.parametrize(("name", "highest"), [("axial", 1999), ("left-handed oblique", 20000)])
def test_the_standards_checker_finds_no_error(tmp_path: Path, name: str, highest: int) -> None:
    image = ct(DIRECTIONS[name])
    image[3, 3, 3] = highest
    write_ct_series(image, tmp_path / "alone", model_name="A model with a very long name that does not fit into it")
    write_ct_series(image, tmp_path / "like", like=write_mr(tmp_path / "mr", image), model_name="modèle")
    for folder in ("alone", "like"):
        told = dciodvfy(tmp_path / folder / "sct_0001.dcm")
        assert "CTImage" in told and "Error" not in told, told
        slices = sorted(map(str, (tmp_path / folder).iterdir()))
        told = subprocess.run(["dcentvfy", *slices], capture_output=True, text=True)  # do the slices agree?
        assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_every_slice_is_one_of_a_series_and_says_what_it_is(tmp_path: Path) -> None:
    write_ct_series(ct(), tmp_path / "out", model_name="Pelvis\\größe", note="Weights 1234.")
    slices = headers(tmp_path / "out")
    assert [one.InstanceNumber for one in slices] == [1, 2, 3, 4, 5]
    assert [one.SliceLocation for one in slices] == sorted(one.SliceLocation for one in slices)
    assert len({one.SOPInstanceUID for one in slices}) == 5
    for key in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert len({one[key].value for one in slices}) == 1
    one = slices[2]
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    assert one.SOPClassUID == pydicom.uid.CTImageStorage and one.Modality == "CT"
    assert list(one.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert one.SeriesDescription == "sCT Pelvis/groesse (synthetic, not for diagnosis)"
    assert "Weights 1234." in one.DerivationDescription and "not for diagnosis" in one.DerivationDescription
    assert (one.RescaleSlope, one.RescaleIntercept, one.BitsStored, one.PixelRepresentation) == (1, -1024, 12, 0)
    assert (one.BurnedInAnnotation, one.Manufacturer) == ("NO", "SyntheticCT")
    assert "KVP" in one and one.KVP is None
    assert [float(value) for value in one.PixelSpacing] == [1.3, 0.9765625]


def write_mr(folder: Path, image: sitk.Image, **changes: Any) -> Path:
    """An MR series on the grid of ``image``, with a patient."""
    direction = np.reshape(image.GetDirection(), (3, 3))
    values = {
        "SOPClassUID": pydicom.uid.MRImageStorage, "Modality": "MR", "StudyInstanceUID": "1.2.3.4",
        "FrameOfReferenceUID": "1.2.3.5", "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Änne",
        "PatientID": "0815", "PatientBirthDate": "19500102", "PatientSex": "F", "PatientPosition": "FFP",
        "StudyDate": "20200101", "StudyTime": "101500", "AccessionNumber": "A1", "ReferringPhysicianName": "",
        "StudyID": "7", "SeriesNumber": 4, "RescaleSlope": None, "RescaleIntercept": None,
        "ImageOrientationPatient": [f"{value:.10f}" for value in direction[:, :2].T.ravel()],
        "PixelSpacing": [image.GetSpacing()[1], image.GetSpacing()[0]], **changes,
    }  # fmt: skip
    for index in range(image.GetSize()[2]):
        position = np.array(image.TransformIndexToPhysicalPoint((0, 0, index)))
        plane = np.zeros(image.GetSize()[1::-1], np.int16)
        path = write_slice(folder, index, plane, position, **values)
        slice_ = pydicom.dcmread(path)
        slice_.add_new(0x00091001, "LO", "private")
        slice_.save_as(path)
    return folder


def test_patient_study_and_frame_of_reference_are_the_mrs(tmp_path: Path) -> None:
    image = ct(OBLIQUE)
    mr = write_mr(tmp_path / "mr", image)
    told = heard(write_ct_series, image, tmp_path / "out", like=mr)
    assert ["not upright" in event["what"] for event in told] == [True]
    source, one = headers(mr)[0], headers(tmp_path / "out")[0]
    same = (
        "StudyInstanceUID FrameOfReferenceUID PatientName PatientID PatientBirthDate PatientSex PatientPosition "
        "StudyDate StudyTime AccessionNumber StudyID SpecificCharacterSet"
    )
    for key in same.split():
        assert one[key].value == source[key].value, key
    assert one.SeriesInstanceUID != source.SeriesInstanceUID and one.SOPInstanceUID != source.SOPInstanceUID
    assert one.SeriesNumber == 1004
    assert not [element for element in one if element.tag.is_private]
    assert [info.modality for info in list_series(tmp_path)] == ["CT", "MR"]


def test_what_the_mr_lacks_or_breaks_is_said(tmp_path: Path) -> None:
    image = ct()
    changes = {"FrameOfReferenceUID": None, "PatientPosition": None, "PatientAge": "old"}
    with pytest.warns(UserWarning):  # pydicom minds the age
        mr = write_mr(tmp_path / "mr", image, **changes)
    told = " ".join(event["what"] for event in heard(write_ct_series, image, tmp_path / "out", like=mr))
    assert "PatientAge" in told and "frame of reference" in told and "PatientPosition" in told
    one = headers(tmp_path / "out")[0]
    assert one.FrameOfReferenceUID and one.PatientPosition == "" and "PatientAge" not in one
    path = next(mr.iterdir())
    frames = pydicom.dcmread(path)
    frames.NumberOfFrames = 5
    del frames.ImagePositionPatient
    (tmp_path / "frames").mkdir()
    frames.save_as(tmp_path / "frames" / "all.dcm")
    told = heard(write_ct_series, image, tmp_path / "from frames", like=tmp_path / "frames")
    assert "was not checked" in told[0]["what"]
    write_mr(tmp_path / "broken", image, StudyInstanceUID=None)
    with pytest.raises(UserError, match="names no study"):
        write_ct_series(image, tmp_path / "none", like=tmp_path / "broken")


def test_without_an_mr_placeholders_are_stated(tmp_path: Path) -> None:
    told = heard(write_ct_series, ct(), tmp_path / "out")
    assert len(told) == 1 and "placeholders" in told[0]["what"] and "HFS" in told[0]["why"]
    one = headers(tmp_path / "out")[0]
    assert one.PatientID in told[0]["why"] and "placeholders" in one.DerivationDescription
    write_ct_series(ct(), tmp_path / "again")
    assert headers(tmp_path / "again")[0].PatientID != one.PatientID


def test_hu_are_rounded_and_wide_values_keep_sixteen_bits(tmp_path: Path) -> None:
    array = array_of(ct()).astype(np.float32)
    array[0, 0, :4] = -1023.6, -0.6, 39.51, 1999.5
    write_ct_series(image_from_array(array, ct()), tmp_path / "rounded")
    assert array_of(read_series(tmp_path / "rounded"))[0, 0, :4].tolist() == [-1024, -1, 40, 2000]
    array[0, 0, :4] = -3024, 30000, 32767, 5
    told = heard(write_ct_series, image_from_array(array, ct()), tmp_path / "wide")
    assert "-3024 to 32767" in told[-1]["what"]
    assert array_of(read_series(tmp_path / "wide"))[0, 0, :4].tolist() == [-3024, 30000, 32767, 5]
    array[0, 0, :2] = -40000, 40000
    assert "clipped" in heard(write_ct_series, image_from_array(array, ct()), tmp_path / "clipped")[-1]["why"]
    assert array_of(read_series(tmp_path / "clipped"))[0, 0, :2].tolist() == [-32768, 32767]


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0, 1200, "neither air"), (-1, 1, "neither air"), (-1024, -900, "no tissue")]
)
def test_what_is_no_ct_is_refused(tmp_path: Path, low: float, high: float, word: str) -> None:
    array = np.random.default_rng(0).uniform(low, high, (5, 7, 9)).astype(np.float32)
    with pytest.raises(UserError, match=word):
        write_ct_series(image_from_array(array, ct()), tmp_path / "out")
    array[0, 0, 0] = np.nan
    with pytest.raises(UserError, match="no numbers"):
        write_ct_series(image_from_array(array, ct()), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_image_that_does_not_lie_on_the_mr_is_refused(tmp_path: Path) -> None:
    mr, image = write_mr(tmp_path / "mr", ct(OBLIQUE)), ct(OBLIQUE)
    start = np.array(image.GetOrigin())
    image.SetOrigin((start + OBLIQUE @ (6.0, 0, 0)).tolist())
    with pytest.raises(UserError, match="does not lie on the MR"):
        write_ct_series(image, tmp_path / "out", like=mr)
    image.SetOrigin((start + OBLIQUE @ (1.5, 0, 0)).tolist())
    told = heard(write_ct_series, image, tmp_path / "out", like=mr)
    assert any("share only" in event["what"] for event in told)
    write_ct_series(ct(OBLIQUE)[2:7, 1:6, 1:4], tmp_path / "part", like=mr)


def test_voxels_of_another_size_over_the_same_space_are_no_mismatch(tmp_path: Path) -> None:
    mr = write_mr(tmp_path / "mr", ct(OBLIQUE))
    part = ct(OBLIQUE)[:, :, 1:4]
    fine = grid_with_spacing(grid_of(part), (0.5, 0.7, 2.7))  # centres nearer to the edge than the MR's
    image = resample_onto(part, fine, "linear")
    told = heard(write_ct_series, image, tmp_path / "fine", like=mr)
    assert not any("share only" in event["what"] for event in told)


def test_folders_are_not_overwritten_or_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new" / "out"
    write_ct_series(ct(), out)
    with pytest.raises(UserError, match="not empty"):
        write_ct_series(ct(), out)
    write_ct_series(ct(size=(9, 7, 3)), out, overwrite=True)
    assert len(list(out.iterdir())) == 3
    (out / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match=r"notes\.txt"):
        write_ct_series(ct(), out, overwrite=True)
    (out / "notes.txt").unlink()
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UserError, match="is a file"):
        write_ct_series(ct(), next(iter(before)))
    saved: list[int] = []

    def full(descriptor: int) -> None:
        saved.append(descriptor)
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"No space left on device\. \d+ MB are free"):
        write_ct_series(ct(), out, overwrite=True)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("name", DIRECTIONS)
def test_axial_keeps_everything_in_place(name: str) -> None:
    """A linear ramp in space is the same ramp on the new grid, wherever the old one reached."""
    grid = grid_of(ct(DIRECTIONS[name], size=(12, 14, 10)))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), -1).transpose(2, 1, 0, 3)
    slope = np.array([1.7, -2.3, 0.9])
    middle = grid.corners().mean(axis=0)

    def ramp(grid: Any, index: np.ndarray) -> np.ndarray:
        return (index @ grid.index_to_world[:3, :3].T + grid.index_to_world[:3, 3] - middle) @ slope

    image = image_from_array(ramp(grid, index).astype(np.float32), grid)
    result = resample_axial(image, [1.5])
    assert result.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1) and result.GetSpacing() == (1.5, 1.5, 1.5)
    low, high = grid.corners().min(axis=0), grid.corners().max(axis=0)
    new = grid_of(result)
    assert (new.corners().min(axis=0) <= low + 1e-3).all() and (new.corners().max(axis=0) >= high - 1e-3).all()
    places = np.stack(np.meshgrid(*(np.arange(n) for n in new.size), indexing="ij"), -1).transpose(2, 1, 0, 3)
    world = places @ new.index_to_world[:3, :3].T + new.index_to_world[:3, 3]
    old = (world - grid.origin) @ np.linalg.inv(grid.index_to_world[:3, :3]).T
    inside = ((old >= 0) & (old <= np.array(grid.size) - 1)).all(axis=-1)
    assert inside.sum() > 100
    np.testing.assert_allclose(array_of(result)[inside], ramp(new, places)[inside], atol=0.02)


def test_axial_does_not_interpolate_what_only_lies_turned() -> None:
    image = ct(DIRECTIONS["coronal"], (1.0, 2.0, 1.0))
    result = resample_axial(image)
    assert sorted(array_of(result).ravel()) == sorted(array_of(image).ravel()) and result.GetSpacing() == (1, 1, 2)
    for spacing in ([0], [1, 2], [float("nan")], [1e-5]):
        with pytest.raises(UserError, match="spacing"):
            resample_axial(image, spacing)


def test_the_verb_writes_an_axial_series_in_the_mrs_study(tmp_path: Path) -> None:
    image = ct(OBLIQUE)
    mr = write_mr(tmp_path / "mr", image)
    sitk.WriteImage(image, str(tmp_path / "sct.nii.gz"))
    words = ["dicom", "--input", str(tmp_path / "sct.nii.gz"), "--output", str(tmp_path / "out")]
    assert main([*words, "--spacing", "2"]) == 2
    assert main([*words, "--like", str(mr), "--axial", "--spacing", "1", "1", "2", "--model", "pelvis"]) == 0
    back = read_series(tmp_path / "out")
    assert back.GetSpacing() == pytest.approx((1, 1, 2)) and back.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    one = headers(tmp_path / "out")[0]
    assert one.StudyInstanceUID == "1.2.3.4" and one.FrameOfReferenceUID == "1.2.3.5"
    assert one.SeriesDescription == "sCT pelvis (synthetic, not for diagnosis)"
    assert main(words) == 2
    assert main([*words, "--overwrite"]) == 0


@pytest.mark.skipif(not SARCOMA.is_file(), reason="real data not here")
def test_a_real_mr_gives_its_study_to_the_ct(tmp_path: Path) -> None:
    with zipfile.ZipFile(SARCOMA) as archive:
        archive.extractall(tmp_path)
    infos = {info.modality: info for info in list_series(tmp_path)}
    mr = read_series(tmp_path, infos["MR"].uid)
    image = sitk.Cast(sitk.Clamp(mr - 1000, sitk.sitkInt16, -1024, 3000), sitk.sitkInt16)
    with pytest.raises(UserError, match="holds 2 DICOM series"):
        write_ct_series(image, tmp_path / "out", like=tmp_path)
    write_ct_series(image, tmp_path / "out", like=tmp_path, series=infos["MR"].uid, model_name="synthct-unet")
    source, one = pydicom.dcmread(infos["MR"].files[0]), headers(tmp_path / "out")[0]
    for key in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientPosition", "AccessionNumber"):
        assert one[key].value == source[key].value
    for back in (read_series(tmp_path / "out"), from_itk(tmp_path / "out"), from_pydicom(tmp_path / "out")):
        assert same_grid(back, mr, 1e-3) and np.array_equal(array_of(back), array_of(image))
    assert "Error" not in dciodvfy(tmp_path / "out" / "sct_0033.dcm")
