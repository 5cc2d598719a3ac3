"""Reading files: what is right comes in unchanged, what is wrong is refused by name."""

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import Events
from synthct.volumes.geometry import array_of, grid_of, same_grid
from synthct.volumes.read import open_slices, read_image
from synthct.volumes.write import write_image

DATA = Path(__file__).parents[2] / "shared/data"


def phantom(kind: type = np.int16, mirrored: bool = False) -> sitk.Image:
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.integers(0, 200, (5, 6, 7)).astype(kind))
    direction = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if (np.linalg.det(direction) < 0) != mirrored:
        direction[:, 2] *= -1
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing((0.9, 1.1, 3.27))
    image.SetOrigin((-120.5, 33.25, 871.0))
    return image


def patched(path: Path, kind: str, offset: int, *values: float) -> Path:
    """Overwrite header fields of a NIfTI-1 file."""
    raw = bytearray(path.read_bytes())
    struct.pack_into("<" + kind, raw, offset, *values)
    path.write_bytes(raw)
    return path


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    return write_image(phantom(), tmp_path / "mr.nii")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32])
@pytest.mark.parametrize("mirrored", [False, True])
def test_every_format_brings_voxels_and_place_back(tmp_path: Path, ending: str, kind: type, mirrored: bool) -> None:
    image = phantom(kind, mirrored)
    again = read_image(write_image(image, tmp_path / f"Größe 1{ending}"))
    assert again.GetPixelID() == image.GetPixelID()
    assert np.array_equal(array_of(again), array_of(image))
    assert same_grid(again, image, 1e-3)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_truncated_file_is_refused(tmp_path: Path, ending: str) -> None:
    path = write_image(phantom(), tmp_path / f"mr{ending}")
    whole = path.read_bytes()
    for share in (0.97, 0.7, 0.1):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError, match=rf"mr\{ending}") as caught:
            read_image(path)
        assert "itk" not in str(caught.value).lower() and "\n" not in str(caught.value)


def test_a_truncated_plain_nifti_and_a_damaged_gzip_are_refused(tmp_path: Path, nifti: Path) -> None:
    packed = bytearray(gzip.compress(nifti.read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(packed)
    nifti.write_bytes(nifti.read_bytes()[:-3])
    for path in (nifti, damaged):
        with pytest.raises(UserError, match="truncated or damaged"):
            read_image(path)


def test_files_that_are_no_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.nii.gz").touch()
    (tmp_path / "text.nii").write_text("hello " * 100)
    (tmp_path / "notes.txt").write_text("hello " * 100)
    (tmp_path / "zipped.nii.gz").write_bytes(gzip.compress(b"hello " * 100))
    (tmp_path / "slice.dcm").write_bytes(bytes(128) + b"DICM" + bytes(400))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((9, 9, 3), np.uint8), isVector=True), tmp_path / "photo.png")
    for name, word in {
        "missing.nii": "does not exist",
        "empty.nii.gz": "is empty",
        "text.nii": "not an image",
        "notes.txt": "not an image",
        "zipped.nii.gz": "not an image",
        "slice.dcm": "single DICOM file",
        "photo.png": "without a place in space",
    }.items():
        with pytest.raises(UserError, match=word) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)


def test_images_of_the_wrong_shape_are_refused(tmp_path: Path) -> None:
    four = sitk.GetImageFromArray(np.zeros((2, 5, 6, 7), np.int16), isVector=False)
    colour = sitk.GetImageFromArray(np.zeros((5, 6, 7, 3), np.uint8), isVector=True)
    flat = sitk.GetImageFromArray(np.zeros((1, 6, 7), np.int16))
    for name, image, word in (
        ("t", four, "4 dimensions"),
        ("rgb", colour, "3 numbers per voxel"),
        ("one", flat, "slice"),
    ):
        for ending in (".nii.gz", ".nrrd", ".mha"):
            path = tmp_path / f"{name}{ending}"
            sitk.WriteImage(image, path)
            with pytest.raises(UserError, match=word):
                read_image(path)


def test_one_time_point_written_as_four_dimensions_is_a_volume(nifti: Path) -> None:
    patched(nifti, "8h", 40, 4, 7, 6, 5, 1, 1, 1, 1)
    assert read_image(nifti).GetSize() == (7, 6, 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_numbers_that_are_none_are_counted_and_refused(tmp_path: Path, bad: float, ending: str) -> None:
    image = phantom(np.float32)
    image[1, 2, 3] = bad
    with pytest.raises(UserError, match=r"mr.* 1 voxels that are no numbers"):
        read_image(write_image(image, tmp_path / f"mr{ending}"))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_spacing_of_zero_or_less_is_refused(tmp_path: Path, nifti: Path, value: float) -> None:
    with pytest.raises(UserError, match=r"mr\.nii has a spacing"):
        read_image(patched(nifti, "f", 80, value))
    mha = write_image(phantom(), tmp_path / "mr.mha", compress=False)
    mha.write_bytes(re.sub(rb"ElementSpacing = \S+", f"ElementSpacing = {value}".encode(), mha.read_bytes()))
    if value == value:
        with pytest.raises(UserError, match=r"mr\.mha has a spacing"):
            read_image(mha)


def nrrd(path: Path, directions: str) -> Path:
    header = (
        "NRRD0005\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 6 7\n"
        f"space directions: {directions}\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
        "space origin: (0,0,0)\n\n"
    )
    path.write_bytes(header.encode() + bytes(5 * 6 * 7 * 2))
    return path


def test_bad_directions_are_refused_in_every_format(tmp_path: Path, nifti: Path) -> None:
    for directions, word in {
        "(1,0,0) (0.2,1,0) (0,0,1)": "sheared",
        "(0,0,0) (0,1,0) (0,0,1)": "spacing of zero",
        "(1,0,0) (1,0,0) (0,0,1)": "singular",
    }.items():
        with pytest.raises(UserError, match=word):
            read_image(nrrd(tmp_path / "mr.nrrd", directions))
    for rows, word in {
        (1, 0.2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0): "sheared",
        (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0): "singular",
        (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0): "voxel size",
    }.items():
        with pytest.raises(UserError, match=rf"mr\.nii .*{word}"):
            read_image(patched(nifti, "12f", 280, *rows))


def test_directions_rounded_to_three_digits_are_read(nifti: Path) -> None:
    c, s = 0.866, 0.5  # ITK alone refuses this file
    patched(nifti, "12f", 280, c, -s, 0, 0, s, c, 0, 0, 0, 0, 2, 0)
    image = read_image(nifti)
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-9)


def test_the_sform_wins_and_a_disagreement_is_reported(nifti: Path) -> None:
    heard: list[dict[str, object]] = []
    read_image(nifti, events=Events(listener=heard.append))
    assert not heard
    patched(nifti, "12f", 280, 2, 0, 0, 5, 0, 2, 0, 6, 0, 0, 2, 7)
    image = read_image(nifti, events=Events(listener=heard.append))
    assert image.GetSpacing() == (2, 2, 2) and image.GetOrigin() == (-5, -6, 7)
    assert [event["kind"] for event in heard] == ["warning"] and "sform" in str(heard[0]["why"])
    patched(nifti, "2h", 252, 0, 0)
    read_image(nifti, events=Events(listener=heard.append))
    assert "lies in space" in str(heard[1]["what"])


def test_qform_alone_agrees_with_itk(nifti: Path) -> None:
    patched(nifti, "h", 254, 0)
    assert same_grid(read_image(nifti), sitk.ReadImage(nifti), 1e-3)


def test_whole_number_scaling_keeps_int16(nifti: Path) -> None:
    stored = array_of(read_image(nifti))
    image = read_image(patched(nifti, "2f", 112, 2, -1024))
    assert image.GetPixelID() == sitk.sitkInt16
    assert np.array_equal(array_of(image), stored * 2 - 1024)
    image = read_image(patched(nifti, "2f", 112, 0.5, 0))
    assert image.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_allclose(array_of(image), stored * 0.5)


def test_big_endian_files_and_nifti_2_are_read(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(210, dtype=np.int16).reshape(7, 6, 5)
    affine = np.diag([-2, -2, 3, 1.0])
    big = nibabel.Nifti1Image(array, affine, nibabel.Nifti1Header(endianness=">"))
    nibabel.save(big, tmp_path / "big.nii")
    nibabel.save(nibabel.Nifti2Image(array, affine), tmp_path / "two.nii.gz")
    for name in ("big.nii", "two.nii.gz"):
        image = read_image(tmp_path / name)
        assert np.array_equal(array_of(image), array.T)
        assert image.GetSpacing() == (2, 2, 3)


def test_slices_come_one_by_one(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    image = phantom()
    slices = open_slices(write_image(image, tmp_path / "mr.nii.gz"))
    assert len(slices) == 5 and same_grid(slices.grid, image, 1e-3)
    for index, plane in enumerate(slices):
        assert np.array_equal(plane, array_of(image)[index])
    with pytest.raises(UserError, match="not a NIfTI"):
        open_slices(write_image(image, tmp_path / "mr.nrrd"))
    with pytest.raises(UserError, match="does not exist"):
        open_slices(tmp_path / "none.nii")


@pytest.mark.skipif(not DATA.is_dir(), reason="real data not here")
def test_real_files_read_as_itk_reads_them() -> None:
    for path in (DATA / "sarcoma/STS_050_MR.nii.gz", DATA / "mni_template/scct_HU_derived.nii.gz"):
        ours, itk = read_image(path), sitk.ReadImage(path)
        assert ours.GetPixelID() == itk.GetPixelID() == sitk.sitkInt16
        assert np.array_equal(array_of(ours), array_of(itk))
        assert same_grid(grid_of(ours), itk)
