"""DICOM series: made up ones with every fault, and real ones with a gantry tilt and a structure set among them."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import Events
from synthct.volumes.dicom import list_series, read_series
from synthct.volumes.geometry import array_of, same_grid
from synthct.volumes.read import read_image

pydicom = pytest.importorskip("pydicom")
DATA = Path(__file__).parents[2] / "shared/data"
NEEDS_DATA = pytest.mark.skipif(not DATA.is_dir(), reason="real data not here")
ROWS, COLUMNS, STEP = np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, 3.0])


def write_slice(folder: Path, number: int, plane: np.ndarray, position: np.ndarray, **changes: Any) -> Path:
    """Write one CT slice; ``changes`` sets or (None) removes elements."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = changes.get("SOPInstanceUID") or generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_ = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": "1.2.3",
        "SeriesDescription": "Thorax",
        "Modality": "CT",
        "InstanceNumber": number,
        "Rows": plane.shape[0],
        "Columns": plane.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1 if plane.dtype.kind == "i" else 0,
        "ImagePositionPatient": [round(float(value), 6) for value in position],
        "ImageOrientationPatient": [*ROWS, *COLUMNS],
        "PixelSpacing": [2.0, 1.0],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        **changes,
    }
    for name, value in values.items():
        if value is not None:
            setattr(slice_, name, value)
    slice_.PixelData = np.ascontiguousarray(plane).tobytes()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{(number * 7) % 101:03d}.dcm"  # names say nothing about the order
    slice_.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, heights: list[float] | None = None, **changes: Any) -> np.ndarray:
    """Write a series of random slices; returns the stored values (z, y, x)."""
    heights = [0, 1, 2, 3, 4, 5] if heights is None else heights
    array = np.random.default_rng(0).integers(0, 3000, (len(heights), 8, 10)).astype(np.int16)
    for number, height in enumerate(heights):
        write_slice(folder, number + 1, array[number], np.array([-50, -40, 100]) + height * STEP, **changes)
    return array


def test_slices_are_sorted_by_position_and_rescaled(tmp_path: Path) -> None:
    array = write_series(tmp_path / "a b")
    image = read_image(tmp_path)
    assert image.GetPixelID() == sitk.sitkInt16
    assert np.array_equal(array_of(image), array - 1024)
    assert image.GetSpacing() == (1, 2, 3) and image.GetOrigin() == (-50, -40, 100)


def test_slices_numbered_downwards_are_still_stacked_along_the_normal(tmp_path: Path) -> None:
    array = write_series(tmp_path, [5, 4, 3, 2, 1, 0])
    image = read_image(tmp_path)
    assert np.array_equal(array_of(image), array[::-1] - 1024)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_every_slice_has_its_own_slope_and_ct_is_rounded_to_int16(tmp_path: Path) -> None:
    plane = np.full((4, 4), 101, np.int16)
    for number, slope in enumerate((1, 2.5, 3)):
        write_slice(tmp_path, number, plane, number * STEP, RescaleSlope=slope, RescaleIntercept=-1000)
    image = read_image(tmp_path)
    assert image.GetPixelID() == sitk.sitkInt16
    assert array_of(image)[:, 0, 0].tolist() == [-899, round(101 * 2.5 - 1000), -697]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"RescaleSlope": None, "RescaleIntercept": None}, sitk.sitkInt16),
        ({"RescaleSlope": 0.5, "RescaleIntercept": 0}, sitk.sitkFloat32),
        ({"RescaleSlope": 100, "RescaleIntercept": 0}, sitk.sitkInt32),
    ],
)
def test_mr_keeps_a_type_that_holds_its_values(tmp_path: Path, changes: dict[str, Any], kind: int) -> None:
    array = write_series(tmp_path, Modality="MR", **changes)
    image = read_image(tmp_path)
    assert image.GetPixelID() == kind
    np.testing.assert_allclose(array_of(image), array * float(changes["RescaleSlope"] or 1))


def test_several_series_are_listed_and_can_be_chosen(tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    write_series(tmp_path / "mr", SeriesInstanceUID="1.2.4", Modality="MR", SeriesDescription="T1")
    write_slice(tmp_path / "rs", 1, np.zeros((2, 2), np.int16), STEP, SeriesInstanceUID="1.2.5", Modality="RTDOSE")
    (tmp_path / "notes.txt").write_text("not DICOM")
    assert [(info.uid, info.modality, info.count) for info in list_series(tmp_path)] == [
        ("1.2.3", "CT", 6),
        ("1.2.4", "MR", 6),
    ]
    with pytest.raises(
        UserError, match=r"2 DICOM series.*1\.2\.3 \(CT, Thorax, 6 images\).*1\.2\.4 \(MR, T1.*--series"
    ):
        read_image(tmp_path)
    assert read_image(tmp_path, "1.2.4").GetSize() == (10, 8, 6)
    with pytest.raises(UserError, match=r"no DICOM series 9\.9"):
        read_image(tmp_path, "9.9")


def test_a_file_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    first = next(iter((tmp_path / "a").iterdir()))
    (tmp_path / "copy.dcm").write_bytes(first.read_bytes())
    assert read_image(tmp_path).GetSize()[2] == 6


def test_missing_slices_are_named_with_their_place(tmp_path: Path) -> None:
    write_series(tmp_path, [0, 1, 2, 4, 5, 8, 9])
    with pytest.raises(UserError, match=r"about 3 are missing.*3\.00 mm apart.*6\.00 mm between 021\.dcm and 028\.dcm"):
        read_image(tmp_path)
    heard: list[dict[str, Any]] = []
    image = read_image(tmp_path, uneven="interpolate", events=Events(listener=heard.append))
    assert image.GetSize()[2] == 10 and image.GetSpacing()[2] == pytest.approx(3)
    assert heard[0]["kind"] == "warning"


def test_uneven_distances_are_refused_or_interpolated_where_they_lie(tmp_path: Path) -> None:
    heights = [0, 1, 2, 3.4, 5, 6.6]
    for number, height in enumerate(heights):
        plane = np.full((6, 6), 1000 + round(100 * height), np.int16)
        write_slice(tmp_path, number, plane, height * STEP)
    with pytest.raises(UserError, match=r"uneven distances, 3\.00 to 4\.80 mm.*--uneven interpolate"):
        read_image(tmp_path)
    image = read_image(tmp_path, uneven="interpolate")
    z = np.arange(image.GetSize()[2]) * image.GetSpacing()[2] / 3
    np.testing.assert_allclose(array_of(image)[:, 3, 3], -24 + 100 * z, atol=1.1)


def test_rounded_positions_count_as_even(tmp_path: Path) -> None:
    write_series(tmp_path, [0, 1.01, 1.99, 3, 4.02, 5])
    assert read_image(tmp_path).GetSize()[2] == 6


def test_gantry_tilt_is_corrected_onto_a_grid_at_right_angles(tmp_path: Path) -> None:
    tilt = np.radians(18)
    columns = np.array([0, np.cos(tilt), -np.sin(tilt)])
    size, heights = 40, np.arange(12) * 3.0
    point = np.array([3.0, 4.0, 9.0])  # a smooth bright blob, asymmetric in the field of view
    for number, height in enumerate(heights):
        corner = np.array([-20, -20, height])
        y, x = np.mgrid[0:size, 0:size]
        world = corner + x[..., None] * ROWS + y[..., None] * columns
        plane = 1000 * np.exp(-((world - point) ** 2).sum(axis=-1) / (2 * 3.5**2))
        orientation = [*ROWS, *np.round(columns, 7)]
        write_slice(
            tmp_path,
            number,
            np.rint(plane).astype(np.int16) + 1024,
            corner,
            ImageOrientationPatient=orientation,
            PixelSpacing=[1.0, 1.0],
        )
    heard: list[dict[str, Any]] = []
    image = read_series(tmp_path, events=Events(listener=heard.append))
    assert "18.0°" in heard[0]["why"]
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-6)
    weights = np.clip(array_of(image).astype(float), 0, None)
    z, y, x = (np.average(axis, weights=weights) for axis in np.indices(weights.shape))
    assert np.linalg.norm(np.array(image.TransformContinuousIndexToPhysicalPoint((x, y, z))) - point) < 0.1
    assert array_of(image).min() == -1024  # where no slice reaches


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"NumberOfFrames": 5}, "multi-frame"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"PixelSpacing": [0.0, 1.0]}, "spacing"),
    ],
)
def test_what_is_no_stack_of_slices_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    write_series(tmp_path, **changes)
    with pytest.raises(UserError, match=word) as caught:
        read_image(tmp_path)
    assert "1.2.3" in str(caught.value)


def test_slices_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "doubled", [0, 1, 1, 2])
    with pytest.raises(UserError, match="same place"):
        read_image(tmp_path / "doubled")
    write_series(tmp_path / "mixed")
    write_slice(tmp_path / "mixed", 90, np.zeros((8, 12), np.int16), 9 * STEP)
    with pytest.raises(UserError, match="different size"):
        read_image(tmp_path / "mixed")
    write_series(tmp_path / "one", [0])
    with pytest.raises(UserError, match="single slice"):
        read_image(tmp_path / "one")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no DICOM"):
        read_image(tmp_path / "none")


def test_a_damaged_slice_is_named(tmp_path: Path) -> None:
    write_series(tmp_path)
    path = sorted(tmp_path.iterdir())[2]
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=path.name) as caught:
        read_image(tmp_path)
    assert "ITK" not in str(caught.value)


def unpacked(name: str, folder: Path) -> Path:
    with zipfile.ZipFile(DATA / name) as archive:
        archive.extractall(folder)
    return folder


@NEEDS_DATA
def test_real_ct_and_mr_of_one_folder(tmp_path: Path) -> None:
    folder = unpacked("sarcoma_dicom/STS_023.zip", tmp_path)
    infos = {info.modality: info for info in list_series(folder)}
    assert {name: info.count for name, info in infos.items()} == {"CT": 66, "MR": 66}
    for info in infos.values():
        image = read_image(folder, info.uid)
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(info.files[0].parent), info.uid)
        itk = sitk.ReadImage(names)
        assert same_grid(image, itk) and np.array_equal(array_of(image), array_of(itk))


@NEEDS_DATA
def test_real_head_with_gantry_tilt_and_uneven_distances(tmp_path: Path) -> None:
    folder = unpacked("head_ct_gantry_tilt/GE_head_CT_28slices_tilt.zip", tmp_path)
    with pytest.raises(UserError, match=r"uneven distances, 1\.08 to 7\.00 mm"):
        read_image(folder)
    image = read_image(folder, uneven="interpolate")
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-6)
    assert image.GetSize()[2] * image.GetSpacing()[2] == pytest.approx(148, abs=2)
