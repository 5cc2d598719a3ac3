"""Structure sets and segmentations onto a CT's grid: drawn by hand, and a real one against its own mask."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from lidc_cases import SERIES, SIZE, SLICES, SPACING, STEP, area, write_ct, z_of
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.events import Events
from synthct.labels.dicom_masks import check_frame, masks_of, open_source
from synthct.labels.outlines import filled
from synthct.volumes.geometry import array_of, resample_onto, same_grid
from synthct.volumes.read import read_image

DATA = Path(__file__).parents[2] / "shared/data"
FRAME = "1.2.9"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_ct(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def ct(folder):
    return read_image(folder)


def items(*values):
    datasets = []
    for value in values:
        data = Dataset()
        for name, content in value.items():
            setattr(data, name, content)
        datasets.append(data)
    return datasets


def write(path, modality, **values):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    for name, value in {"Modality": modality, "SeriesInstanceUID": "1.2.77", **values}.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def box(k, x, y, width, height, lean=0.0):
    """A contour in LPS mm along the edges of width × height pixels from (x, y) on, on slice k (not always whole)."""
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return [(-20 + SPACING * (a - 0.5), -30 + SPACING * (b - 0.5), z_of(k) + lean * (a - x)) for a, b in corners]


def structure_set(path, structures, kind="CLOSED_PLANAR", frame=FRAME):
    """Write a structure set; ``structures`` is a list of (name, contours)."""
    contours = [
        items(*({"ContourGeometricType": kind, "NumberOfContourPoints": len(points),
                 "ContourData": [round(float(v), 3) for point in points for v in point]} for points in drawn))
        for _, drawn in structures
    ]  # fmt: skip
    numbers = range(1, len(structures) + 1)
    series = items({"SeriesInstanceUID": SERIES})
    return write(
        path,
        "RTSTRUCT",
        StructureSetROISequence=items(
            *({"ROINumber": n, "ROIName": name} for n, (name, _) in zip(numbers, structures, strict=True))
        ),
        ROIContourSequence=items(
            *({"ReferencedROINumber": n, "ContourSequence": drawn} for n, drawn in zip(numbers, contours, strict=True))
        ),
        ReferencedFrameOfReferenceSequence=items(
            {
                "FrameOfReferenceUID": frame,
                "RTReferencedStudySequence": items({"RTReferencedSeriesSequence": series}),
            }
        ),
    )


def segmentation(path, frames, labels=("nodule",), kind="BINARY", origin=(-20.0, -30.0), spacing=SPACING, step=STEP):
    """Write a segmentation; ``frames`` is a list of (slice, segment number, array of rows × columns)."""
    planes = np.stack([plane for _, _, plane in frames])
    bits = planes.astype(np.uint8)
    pixels = np.packbits(bits.ravel(), bitorder="little").tobytes() if kind == "BINARY" else bits.tobytes()
    groups = [
        {
            "SegmentIdentificationSequence": items({"ReferencedSegmentNumber": number}),
            "PlanePositionSequence": items({"ImagePositionPatient": [*origin, z_of(k)]}),
        }
        for k, number, _ in frames
    ]
    measures = {"PixelSpacing": [spacing, spacing], "SliceThickness": step, "SpacingBetweenSlices": step}
    shared = {
        "PlaneOrientationSequence": items({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}),
        "PixelMeasuresSequence": items(measures),
    }
    return write(
        path,
        "SEG",
        FrameOfReferenceUID=FRAME,
        ReferencedSeriesSequence=items({"SeriesInstanceUID": SERIES}),
        SegmentationType=kind,
        MaximumFractionalValue=200,
        SegmentSequence=items(*({"SegmentNumber": n, "SegmentLabel": name} for n, name in enumerate(labels, start=1))),
        NumberOfFrames=len(frames),
        Rows=planes.shape[1],
        Columns=planes.shape[2],
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=1 if kind == "BINARY" else 8,
        BitsStored=1 if kind == "BINARY" else 8,
        HighBit=0 if kind == "BINARY" else 7,
        PixelRepresentation=0,
        SharedFunctionalGroupsSequence=items(shared),
        PerFrameFunctionalGroupsSequence=items(*groups),
        PixelData=pixels + bytes(len(pixels) % 2),
    )


def drawn(ct, path, *regions):
    lines = []
    events = Events(listener=lambda event: lines.append(" ".join((event["what"], event["why"]))))
    mask, labels = masks_of(open_source(path), ct, regions, events)
    assert same_grid(mask, ct)
    return array_of(mask), labels, lines


# --- polygons --------------------------------------------------------------------------------------------------


def test_a_pixel_counts_when_its_centre_is_inside():
    triangle = np.array([(0.5, 0.5), (4.4, 0.5), (0.5, 4.4)])
    assert filled([triangle], (6, 6)).astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0] * 6, [0] * 6,
    ]  # fmt: skip


def test_areas_with_a_common_border_share_no_pixel_and_leave_none_out():
    left = np.array([(0, 0), (3, 0), (3, 5), (0, 5)], float)
    right = np.array([(3, 0), (6, 0), (6, 5), (3, 5)], float)
    both = filled([left], (7, 8)).astype(int) + filled([right], (7, 8))
    assert both.max() == 1 and both.sum() == 30


def test_outlines_are_cut_off_at_the_image_and_may_be_drawn_either_way_round():
    large = np.array([(-5, -5), (50, -5), (50, 50), (-5, 50)], float)
    assert filled([large], (4, 5)).all() and filled([large[::-1]], (4, 5)).all()
    outside = large + 100
    assert not filled([outside], (4, 5)).any()


# --- structure sets --------------------------------------------------------------------------------------------


def test_contours_holes_and_islands(ct, tmp_path):
    ring = [box(4, 10, 8, 9, 9), box(4, 12, 10, 5, 5), box(4, 14, 12, 1, 1), box(5, 10, 8, 2, 3)]
    array, labels, lines = drawn(ct, structure_set(tmp_path / "rs.dcm", [("GTV", ring)]))
    island = area((4, 12, 14, 1, 1), (5, 8, 10, 3, 2))
    assert np.array_equal(array == 1, (area((4, 8, 10, 9, 9)) & ~area((4, 10, 12, 5, 5))) | island)
    assert labels == {"GTV": 1} and not lines


def test_regions_are_chosen_by_name_and_the_first_keeps_a_shared_voxel(ct, tmp_path):
    path = structure_set(
        tmp_path / "rs.dcm",
        [("A", [box(4, 10, 8, 4, 4)]), ("B", [box(4, 12, 8, 4, 4)]), ("B", [box(6, 1, 1, 2, 2)]), ("point", [])],
    )
    assert open_source(path).regions == ("A", "B (2)", "B (3)")
    array, labels, lines = drawn(ct, path, "B (2)", "A")
    assert labels == {"B (2)": 1, "A": 2}
    assert np.array_equal(array, area((4, 8, 12, 4, 4)) + 2 * area((4, 8, 10, 4, 2)).astype(np.uint8))
    assert "8 of 16 voxels of A are in an earlier region" in lines[0]
    with pytest.raises(UserError, match=r"rs\.dcm has no region C.*It has: A, B \(2\), B \(3\)"):
        drawn(ct, path, "A", "C")


def test_contours_on_closer_slices_than_the_cts_do_not_cancel(ct, tmp_path):
    contours = [box(k, 10, 8, 4 if k == 4 else 6, 4) for k in (3.6, 3.8, 4, 4.2, 4.4)]
    array, _, lines = drawn(ct, structure_set(tmp_path / "rs.dcm", [("GTV", contours)]))
    assert np.array_equal(array == 1, area((4, 8, 10, 4, 4)))
    assert "those of 4 planes between were not" in lines[0]


def test_gaps_and_what_lies_beyond_are_said(ct, tmp_path):
    contours = [box(k, 10, 8, 4, 4) for k in (2, 5, SLICES + 3)]
    _, _, lines = drawn(ct, structure_set(tmp_path / "rs.dcm", [("GTV", contours)]))
    assert "1 contours of GTV lie beyond" in lines[0] and "no contour on 2 slices" in lines[1]
    with pytest.raises(UserError, match="GTV has no voxel on the CT"):
        drawn(ct, structure_set(tmp_path / "far.dcm", [("GTV", contours[2:])]))
    with pytest.raises(UserError, match=r"does not lie in a slice.*leans over 1\.0 slices"):
        drawn(ct, structure_set(tmp_path / "lean.dcm", [("GTV", [box(4, 10, 8, 4, 4, lean=0.5)])]))


def test_another_frame_of_reference_is_refused(tmp_path):
    source = open_source(structure_set(tmp_path / "rs.dcm", [("GTV", [box(4, 1, 1, 2, 2)])], frame="5.5"))
    with pytest.raises(UserError, match=r"another frame of reference.*5\.5 is not 1\.2\.9"):
        check_frame(source, FRAME)


# --- segmentations ---------------------------------------------------------------------------------------------


def test_frames_in_any_order_with_slices_left_out(ct, tmp_path):
    first, second = area((3, 8, 10, 4, 4), (6, 9, 11, 2, 2)), area((4, 20, 30, 5, 6))
    frames = [(6, 1, first[6]), (4, 2, second[4]), (3, 1, first[3])]
    array, labels, lines = drawn(ct, segmentation(tmp_path / "seg.dcm", frames, ("nodule", "lung")))
    assert labels == {"nodule": 1, "lung": 2} and not lines
    assert np.array_equal(array, first + 2 * second.astype(np.uint8))


def test_fractional_segments_count_from_a_half_on(ct, tmp_path):
    plane = np.zeros(SIZE[::-1])
    plane[5, 5:9] = 99, 100, 101, 200
    array, _, _ = drawn(ct, segmentation(tmp_path / "seg.dcm", [(4, 1, plane)], kind="FRACTIONAL"))
    assert np.array_equal(array == 1, area((4, 5, 6, 1, 3)))


def test_label_map_segmentations(ct, tmp_path):
    plane = np.zeros(SIZE[::-1])
    plane[5:8, 5:9], plane[9, 9] = 1, 2
    array, labels, _ = drawn(ct, segmentation(tmp_path / "seg.dcm", [(4, 1, plane)], ("a", "b"), kind="LABELMAP"), "b")
    assert labels == {"b": 1} and np.array_equal(array == 1, area((4, 9, 9, 1, 1)))


def test_a_segmentation_on_another_grid_is_put_where_it_lies(ct, tmp_path):
    fine = np.zeros((20, 24))
    fine[4:12, 4:16] = 1  # half the pixel size, from the middle of the image on
    frames = [(4, 1, fine), (5, 1, fine)]
    path = segmentation(tmp_path / "seg.dcm", frames, origin=(-20.0 + 9.75, -30.0 + 7.75), spacing=SPACING / 2)
    array, _, _ = drawn(ct, path)
    x0, y0 = round((9.75 + 4 * 0.25 - 0.125 + 0.25) / 0.5), round((7.75 + 4 * 0.25 - 0.125 + 0.25) / 0.5)
    assert np.array_equal(array == 1, area((4, y0, x0, 4, 6), (5, y0, x0, 4, 6)))


# --- files and the verb ----------------------------------------------------------------------------------------


def test_what_is_neither_is_refused_by_name(folder, tmp_path):
    with pytest.raises(UserError, match=r"001\.dcm is no structure set.*modality is CT"):
        open_source(folder / "001.dcm")
    text = tmp_path / "text.dcm"
    text.write_text("no DICOM" * 50)
    with pytest.raises(UserError, match=r"text\.dcm is not DICOM"):
        open_source(text)
    with pytest.raises(UserError, match=r"none\.dcm cannot be read"):
        open_source(tmp_path / "none.dcm")
    with pytest.raises(UserError, match=r"empty\.dcm holds no region"):
        open_source(structure_set(tmp_path / "empty.dcm", [("nothing", [])]))


def test_the_verb_finds_the_series_lists_and_writes(folder, tmp_path, capsys):
    structures = [("Lung", [box(4, 2, 2, 20, 20)]), ("GTV", [box(4, 10, 8, 4, 4)])]
    rs = structure_set(tmp_path / "rs.dcm", structures)
    assert main(["masks", "--from", str(rs)]) == 0
    assert capsys.readouterr().out.split() == ["Lung", "GTV"]
    both = tmp_path / "dicom"
    write_ct(both / "a")
    write_ct(both / "b", series="1.2.4")
    words = ["masks", "--from", str(rs), "--dicom", str(both), "--output", str(tmp_path / "m.nii.gz"), "--roi", "GTV"]
    assert main([*words, "--ct", str(tmp_path / "ct.nii.gz")]) == 0
    assert "1: GTV, 0.01 ml" in capsys.readouterr().out
    mask = read_image(tmp_path / "m.nii.gz")
    assert np.array_equal(array_of(mask), area((4, 8, 10, 4, 4))) and same_grid(
        mask, read_image(tmp_path / "ct.nii.gz")
    )
    assert main(words) == 2 and "exists already" in capsys.readouterr().err
    assert main([*words[:5], "--roi", "heart", "--output", str(tmp_path / "n.nii.gz")]) == 2
    assert "It has: Lung, GTV" in capsys.readouterr().err


@pytest.mark.skipif(not (DATA / "sarcoma_dicom/STS_023.zip").is_file(), reason="real data not here")
def test_a_real_structure_set_gives_the_sets_own_mask(tmp_path):
    with zipfile.ZipFile(DATA / "sarcoma_dicom/STS_023.zip") as archive:
        archive.extractall(tmp_path)
    source = open_source(tmp_path / "STS_023/CT/mask/RS.dcm")
    assert source.regions == ("GTV_Mass_CT",)
    image = read_image(tmp_path, source.series_uid)
    mask, _ = masks_of(source, image)
    reference = sitk.ReadImage(str(DATA / "sarcoma/STS_023_GTV.nii.gz"))
    ours, theirs = array_of(resample_onto(mask, reference, "nearest")) > 0, array_of(reference) > 0
    assert theirs.sum() == 63444
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.999  # measured: 1.0, every voxel the same
