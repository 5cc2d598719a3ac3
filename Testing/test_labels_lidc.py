"""LIDC annotations: outlines drawn by hand whose voxels were counted by hand, and files with every fault."""

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from lidc_cases import (
    SERIES,
    SLICES,
    area,
    nodule,
    non_nodule,
    roi,
    sop_uid,
    square,
    write_ct,
    write_slice,
    write_xml,
    z_of,
)
from scipy import ndimage

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.events import Events
from synthct.labels.lidc.annotations import read_annotations
from synthct.labels.lidc.files import import_image, import_series
from synthct.labels.outlines import strictly_inside
from synthct.volumes.geometry import array_of, same_grid
from synthct.volumes.read import read_image

DATA = Path(__file__).parents[2] / "shared/data/lidc"
NEEDS_DATA = pytest.mark.skipif(not DATA.is_dir(), reason="real data not here")
SQUARE = nodule("a", roi(4, square(10, 8, 4)))
FOUR = (SQUARE,) * 4


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    return write_ct(tmp_path_factory.mktemp("ct"))


def imported(ct, tmp_path, *sessions, **numbers):
    xml = write_xml(tmp_path / "a.xml", *sessions)
    return import_series(ct, read_annotations([xml]), **numbers)


def heard():
    lines = []
    return lines, Events(listener=lambda event: lines.append(" ".join((event["what"], event["why"], event["todo"]))))


# --- which pixels an outline encloses ---------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, -1])
def test_the_outlines_own_pixels_are_outside(turn):
    low, inside = strictly_inside(np.array(square(10, 8, 4, 3))[::turn])
    assert low == (7, 9)
    assert inside.astype(int).tolist() == [[0] * 6, *[[0, 1, 1, 1, 1, 0]] * 3, [0] * 6]


def test_diagonal_steps_and_far_points():
    diamond = np.array([(2, 0), (3, 1), (4, 2), (3, 3), (2, 4), (1, 3), (0, 2), (1, 1)])
    expected = [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert strictly_inside(diamond)[1].astype(int).tolist() == expected
    assert strictly_inside(diamond[::2])[1].astype(int).tolist() == expected  # corners alone: the lines are outside


def test_drawn_twice_round_encloses_no_hole_and_a_figure_of_eight_both_lobes():
    once = np.array(square(3, 3, 5))
    assert np.array_equal(strictly_inside(np.concatenate([once, once]))[1], strictly_inside(once)[1])
    eight = np.array([(0, 0), (4, 0), (4, 4), (8, 4), (8, 8), (4, 8), (4, 4), (0, 4)])
    inside = strictly_inside(eight)[1]
    assert inside.sum() == 18 and inside[1:4, 1:4].all() and inside[5:8, 5:8].all()


@pytest.mark.parametrize(
    "points", [[(3, 4)], [(3, 4), (5, 4)], [(3, 4), (4, 4), (5, 4), (4, 4)], [(0, 0), (1, 0), (0, 1)]]
)
def test_points_and_lines_enclose_nothing(points):
    assert not strictly_inside(np.array(points))[1].any()


# --- consensus, voxel by voxel ----------------------------------------------------------------------------------


def test_consensus_at_three_of_four_readers(ct, tmp_path):
    """Four 4×4 squares at columns 10, 11, 12, 13: three of them hold columns 12–14 only."""
    readers = [
        nodule("n", roi(4, square(x, 8, 4)), malignancy=m) for x, m in zip((10, 11, 12, 13), (1, 2, 5, 5), strict=True)
    ]
    expected = {1.0: (13, 1), 0.76: (13, 1), 0.75: (12, 3), 0.74: (12, 3), 0.5: (11, 5), 0.25: (10, 7)}
    for agreement, (x, width) in expected.items():
        scan = imported(ct, tmp_path, *readers, agreement=agreement)
        assert np.array_equal(array_of(scan.mask) == 1, area((4, 8, x, 4, width))), agreement
    assert scan.nodules[0]["malignancy"] == 3.5
    assert [scan.nodules[0][f"malignancy_{n}"] for n in (1, 2, 3, 4)] == [1, 2, 5, 5]


def test_of_four_or_of_those_who_marked(ct, tmp_path):
    """Three readers marked it, 75 % of four is all three of them; of the three themselves that rounds up to three."""
    three = [nodule("n", roi(4, square(x, 8, 4))) for x in (10, 11, 12)]
    two_thirds = {"agreement": 0.66}
    assert np.array_equal(array_of(imported(ct, tmp_path, *three, "").mask) > 0, area((4, 8, 12, 4, 2)))
    assert np.array_equal(array_of(imported(ct, tmp_path, *three, "", **two_thirds).mask) > 0, area((4, 8, 12, 4, 2)))
    by_marked = imported(ct, tmp_path, *three, "", of="marked", **two_thirds)
    assert np.array_equal(array_of(by_marked.mask) > 0, area((4, 8, 11, 4, 4)))
    assert by_marked.nodules[0]["readers"] == 3 and by_marked.nodules[0]["malignancy_4"] is None


def test_nodules_of_too_few_readers_are_left_out_unless_asked_for(ct, tmp_path):
    two = nodule("b", roi(6, square(25, 20, 5)))
    sessions = [SQUARE + two, SQUARE + two, SQUARE, ""]
    scan = imported(ct, tmp_path, *sessions)
    assert scan.found == 2 and [row["readers"] for row in scan.nodules] == [3]
    assert np.array_equal(array_of(scan.mask), area((4, 8, 10, 4, 4)).astype(np.uint8))
    both = array_of(imported(ct, tmp_path, *sessions, agreement=0.5, select=2).mask)
    assert np.array_equal(both, area((4, 8, 10, 4, 4)) + 2 * area((6, 20, 25, 5, 5)).astype(np.uint8))


def test_holes_are_cut_out_and_keep_their_own_outline(ct, tmp_path):
    ring = nodule("r", roi(4, square(10, 8, 7)), roi(4, square(12, 10, 3), inclusion=False))
    expected = area((4, 8, 10, 7, 7)) & ~area((4, 10, 12, 3, 3))
    assert np.array_equal(array_of(imported(ct, tmp_path, *[ring] * 4).mask) == 1, expected)
    one_whole = [ring, ring, nodule("r", roi(4, square(10, 8, 7))), nodule("r", roi(4, square(10, 8, 7)))]
    assert np.array_equal(array_of(imported(ct, tmp_path, *one_whole).mask) == 1, expected)
    two_of_four = imported(ct, tmp_path, *one_whole, agreement=0.5)
    assert np.array_equal(array_of(two_of_four.mask) == 1, area((4, 8, 10, 7, 7)))


def test_open_outlines_are_closed_by_a_straight_line_and_named(ct, tmp_path):
    path = square(10, 8, 4)[:-5]  # its left side is not drawn
    assert path[0] == (9, 7) and path[-1] == (9, 12)
    lines, events = heard()
    xml = write_xml(tmp_path / "a.xml", *[nodule("gap", roi(4, path))] * 4)
    scan = import_series(ct, read_annotations([xml], events))
    assert np.array_equal(array_of(scan.mask) == 1, area((4, 8, 10, 4, 4)))
    assert "a.xml" in lines[0] and "'gap' of reader 1" in lines[0] and "not closed" in lines[0]


def test_single_points_count_as_marks_but_enclose_nothing(ct, tmp_path):
    capped = nodule("a", roi(4, square(10, 8, 4)), roi(5, [(11, 9)]))
    scan = imported(ct, tmp_path, *[capped] * 4)
    assert np.array_equal(array_of(scan.mask) == 1, area((4, 8, 10, 4, 4)))
    lines, events = heard()
    sessions = [SQUARE, SQUARE, nodule("dot", roi(4, [(11, 9)]), ratings=True), ""]
    xml = write_xml(tmp_path / "b.xml", *sessions)
    scan = import_series(ct, read_annotations([xml]), events=events)
    assert scan.found == 1 and not scan.nodules and not array_of(scan.mask).any()
    assert any("1 of 1 nodules are left out" in line for line in lines)


def test_kinds_of_marks(ct, tmp_path):
    xml = write_xml(
        tmp_path / "a.xml",
        SQUARE + nodule("small", roi(2, [(5, 6)]), ratings=False) + non_nodule("scar", 3, 20, 10),
        "",
        nodule("unrated", roi(4, square(10, 8, 4)), ratings=False),
    )
    lines, events = heard()
    marks = read_annotations([xml], events).marks
    assert [(m.reader, m.name, m.kind) for m in marks] == [
        (1, "a", "nodule"), (1, "small", "small nodule"), (1, "scar", "non-nodule"), (3, "unrated", "nodule"),
    ]  # fmt: skip
    assert marks[0].characteristics == {"subtlety": 5, "malignancy": 3} and "'unrated' of reader 3" in lines[0]
    scan = import_series(ct, read_annotations([xml]))
    assert [tuple(point.values()) for point in scan.points] == [
        ("small nodule", 1, "small", -17.5, -27.0, z_of(2)),
        ("non-nodule", 1, "scar", -10.0, -25.0, z_of(3)),
    ]


# --- which outlines mean one nodule -----------------------------------------------------------------------------


def test_two_nodules_side_by_side_stay_two(ct, tmp_path):
    """They touch: every outline of one lies within a slice distance of every outline of the other."""
    left, right = nodule("l", roi(4, square(10, 8, 4))), nodule("r", roi(4, square(14, 8, 4)))
    scan = imported(ct, tmp_path, left + right, right + left, left + right, right)
    expected = area((4, 8, 10, 4, 4)) + 2 * area((4, 8, 14, 4, 4)).astype(np.uint8)
    assert np.array_equal(array_of(scan.mask), expected)
    assert [row["readers"] for row in scan.nodules] == [3, 4]


def test_one_readers_two_pieces_are_never_one_vote_too_many(ct, tmp_path):
    whole = nodule("w", roi(4, square(10, 8, 9, 4)))
    pieces = nodule("p", roi(4, square(10, 8, 5, 4))) + nodule("q", roi(4, square(16, 8, 3, 4)))
    scan = imported(ct, tmp_path, whole, whole, pieces, "", select=1, agreement=0.25)
    assert [row["readers"] for row in scan.nodules] == [3, 1]
    labels = array_of(scan.mask)
    assert labels[4, 9, 10] == 1 and labels[4, 9, 17] == 1  # two readers against one


def test_marks_of_neighbouring_slices_are_joined_within_a_slice_distance(ct, tmp_path):
    above, far = nodule("a", roi(5, square(10, 8, 4))), nodule("a", roi(6, square(10, 8, 4)))
    below = nodule("a", roi(4, square(10, 8, 4)))
    assert imported(ct, tmp_path, below, above, below, "", agreement=0.5).nodules[0]["readers"] == 3
    assert imported(ct, tmp_path, below, far, "", "").found == 2


# --- which slice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{}, {"z": False}, {"uid": False}, {"uid": "9.9"}, {"z": 5.0}],
    ids=["both", "no position", "no UID", "one UID for all", "wrong position"],
)
def test_slices_are_found(ct, tmp_path, changes):
    sessions = [nodule("a", *(roi(k, square(10, 8, 4), **changes) for k in (6, 5, 4)))] * 4  # from head to feet
    xml = write_xml(tmp_path / "a.xml", *sessions)
    lines, events = heard()
    scan = import_series(ct, read_annotations([xml]), events=events)
    assert np.array_equal(array_of(scan.mask) == 1, area(*((k, 8, 10, 4, 4) for k in (4, 5, 6))))
    assert bool(lines) == ("z" in changes and bool(changes["z"]))
    assert scan.nodules[0]["z_lps_mm"] == z_of(5) and scan.nodules[0]["complete"]


def test_slices_of_one_uid_in_the_ct_are_told_by_position(tmp_path):
    folder = write_ct(tmp_path / "ct", uid=sop_uid(4))
    scan = imported(folder, tmp_path, *FOUR)
    assert scan.ct.GetSize()[2] == SLICES
    assert np.array_equal(array_of(scan.mask) == 1, area((4, 8, 10, 4, 4)))
    with pytest.raises(UserError, match=r"cannot be told.*used for several slices"):
        imported(folder, tmp_path, *[nodule("a", roi(4, square(10, 8, 4), z=False))] * 4)


def test_a_nodule_that_leaves_the_ct_is_cut_off_and_said_to_be(tmp_path):
    folder = write_ct(tmp_path / "ct")
    for k in range(5, SLICES):
        (folder / f"{SLICES - k:03d}.dcm").unlink()
    long = nodule("long", *(roi(k, square(10, 8, 4)) for k in range(3, 8)))
    away = nodule("away", roi(9, square(10, 8, 4)))
    lines, events = heard()
    xml = write_xml(tmp_path / "a.xml", *[long + away] * 4)
    scan = import_series(folder, read_annotations([xml]), events=events)
    assert scan.nodules[0]["complete"] is False and scan.found == 1
    assert array_of(scan.mask).sum() == 2 * 16
    assert "'away' of reader 4 left out" in lines[0] and "'long' of reader 1" in lines[1] and "cut off" in lines[1]


def test_another_studys_annotations_are_refused_with_the_number_of_slices(ct, tmp_path):
    other = nodule("a", *(roi(k, square(10, 8, 4), uid=f"7.7.{k}") for k in (4, 5)))
    xml = write_xml(tmp_path / "other.xml", other, series="7.7")
    with pytest.raises(
        UserError, match=r"other\.xml belongs to another study.*Of the 2 slices.*0 are there.*7\.7; the CT"
    ):
        import_series(ct, read_annotations([xml]))
    no_uids = write_xml(tmp_path / "z.xml", nodule("a", roi(4, square(10, 8, 4), uid=False)), series="7.7")
    with pytest.raises(UserError, match=r"z\.xml belongs to another series.*names no slices"):
        import_series(ct, read_annotations([no_uids]))
    renamed = write_xml(tmp_path / "renamed.xml", *FOUR, series="7.7")
    lines, events = heard()
    assert import_series(ct, read_annotations([renamed]), events=events).nodules
    assert "renamed.xml names another series" in lines[0] and "1 of its 1 slices" in lines[0]


def test_the_series_that_the_annotations_name_is_chosen(tmp_path):
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", series="1.2.4", uid="1.2.4.1")
    assert imported(tmp_path, tmp_path, *FOUR).nodules
    with pytest.raises(UserError, match="is no CT"):
        write_slice(tmp_path / "mr", 0, np.zeros((4, 4), np.int16), series="1.2.5", modality="MR")
        imported(tmp_path, tmp_path, *FOUR, uid="1.2.5")


@pytest.mark.parametrize("point", [(-1, 8), (40, 8), (10, 32)])
def test_outlines_beyond_the_image_are_refused(ct, tmp_path, point):
    with pytest.raises(
        UserError, match=rf"a\.xml: the nodule 'off' of reader 2 leaves.*column {point[0]}, row {point[1]}.*40×32"
    ):
        imported(ct, tmp_path, SQUARE, nodule("off", roi(4, [(10, 8), point, (10, 12)])))


def test_shifted_slices_are_refused(tmp_path):
    for k in range(5):
        position = [-20.0, -30.0 + 0.6 * k, z_of(k)]
        write_slice(tmp_path / "ct", k, np.zeros((32, 40), np.int16), ImagePositionPatient=position)
    with pytest.raises(UserError, match="gantry tilt"):
        imported(tmp_path / "ct", tmp_path, *FOUR)


def test_missing_slices_are_refused_with_advice_that_can_be_followed(tmp_path):
    folder = write_ct(tmp_path / "ct")
    (folder / "003.dcm").unlink()
    with pytest.raises(UserError, match="lacks slices") as caught:
        imported(folder, tmp_path, *FOUR)
    assert "--uneven" not in str(caught.value)


# --- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://www.nih.gov"', ' xmlns="http://www.nih.gov/other"'])
def test_any_namespace_or_none(tmp_path, namespace):
    xml = write_xml(tmp_path / "a.xml", *FOUR, namespace=namespace)
    annotations = read_annotations([xml])
    assert len(annotations.marks) == 4 and annotations.series_uid == SERIES


def test_prefixed_elements(tmp_path):
    xml = write_xml(tmp_path / "a.xml", SQUARE)
    text = xml.read_text().replace("</", "</n:").replace("<", "<n:").replace("<n:/n:", "</n:").replace("<n:?", "<?")
    xml.write_text(text.replace("xmlns=", "xmlns:n="))
    assert read_annotations([xml]).marks[0].kind == "nodule"


def test_several_files_of_one_series_are_put_together(ct, tmp_path):
    first = write_xml(tmp_path / "1.xml", SQUARE, SQUARE)
    second = write_xml(tmp_path / "2.xml", nodule("b", roi(4, square(10, 8, 4))), "")
    annotations = read_annotations([first, second])
    assert [mark.reader for mark in annotations.marks] == [1, 2, 3] and annotations.source == "1.xml, 2.xml"
    assert import_series(ct, annotations).nodules[0]["readers"] == 3
    lines, events = heard()
    copy = write_xml(tmp_path / "copy.xml", SQUARE, SQUARE)
    assert len(read_annotations([first, copy], events).marks) == 2
    assert len(lines) == 2 and "copy.xml repeats" in lines[0]
    third = write_xml(tmp_path / "3.xml", nodule("c", roi(4, square(10, 8, 4))))
    with pytest.raises(UserError, match=r"1\.xml, 2\.xml, 3\.xml: 5 readers.*1\.xml has 2; 2\.xml has 2; 3\.xml has 1"):
        read_annotations([first, second, third])
    other = write_xml(tmp_path / "other.xml", SQUARE, series="7.7")
    with pytest.raises(UserError, match=r"different series.*1\.xml: 1\.2\.3; other\.xml: 7\.7"):
        read_annotations([first, other])


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no XML, or is cut off"),
        ("<LidcReadMessage><readingSession>", "cut off"),
        ('<?xml version="1.0" encoding="UTF-5"?><LidcReadMessage/>', "no XML"),
        ("<LidcReadMessage></LidcReadMessage>", "no reading session"),
        ("<html><p/></html>", "no LIDC annotation file.*html"),
        (f"<?xml version='1.0'?>{BOMB}<LidcReadMessage>&y;</LidcReadMessage>", "document type or entities"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type"),
        ("<IdriReadMessage><ResponseHeader><Modality>CXR</Modality></ResponseHeader></IdriReadMessage>", "radiograph"),
        ("<IdriReadMessage><CXRreadingSession/></IdriReadMessage>", "radiograph"),
    ],
)
def test_what_is_no_annotation_of_a_ct_is_refused_by_name(tmp_path, text, word):
    path = tmp_path / "bad.xml"
    path.write_text(text)
    with pytest.raises(UserError, match=word) as caught:
        read_annotations([path])
    assert "bad.xml" in str(caught.value)


def test_entities_are_refused_in_any_encoding(tmp_path):
    path = tmp_path / "bad.xml"
    path.write_bytes(f"<?xml version='1.0' encoding='UTF-16'?>{BOMB}<a>&y;</a>".encode("utf-16"))
    with pytest.raises(UserError, match="document type"):
        read_annotations([path])


@pytest.mark.parametrize(
    ("session", "word"),
    [
        (nodule("x"), "has no outline"),
        (nodule("x", roi(4, [])), "without any point"),
        (nodule("x", roi(4, [(1, 1)], uid=False, z=False)), "on no slice"),
        (nodule("x", roi(4, [(1, 1)], z="up")), "imageZposition 'up'"),
        (nodule("x", roi(4, [(1, 1)], z="nan")), "imageZposition 'nan'"),
        (nodule("x", roi(4, [("a", 1)])), "xCoord is 'a'"),
        (nodule("x", roi(4, [(1.5, 1)])), "xCoord is '1.5'"),
        (nodule("x", roi(4, [(1, 1)]), malignancy="high"), "malignancy is 'high'"),
        (nodule("x", roi(4, [(1, 1)])).replace("TRUE", "MAYBE"), "inclusion 'MAYBE'"),
    ],
)
def test_impossible_marks_are_named(tmp_path, session, word):
    path = write_xml(tmp_path / "a.xml", "", session)
    with pytest.raises(UserError, match=word) as caught:
        read_annotations([path])
    assert "a.xml, reader 2, nodule 'x'" in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.xml cannot be read"):
        read_annotations([tmp_path / "none.xml"])


# --- an image file in place of DICOM ---------------------------------------------------------------------------


def test_an_image_with_flipped_axes_gets_the_same_nodule(ct, tmp_path):
    scan = imported(ct, tmp_path, *[nodule("a", roi(2, square(10, 8, 4, 3)), roi(3, square(10, 8, 4, 3)))] * 4)
    flipped = sitk.PermuteAxes(scan.ct[:, ::-1, ::-1], (1, 0, 2))
    annotations = read_annotations([tmp_path / "a.xml"])
    other = import_image(flipped, "ct.nii.gz", annotations)
    assert same_grid(other.mask, flipped) and other.nodules == scan.nodules
    back = sitk.Resample(other.mask, scan.ct, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert np.array_equal(array_of(back), array_of(scan.mask))
    moved = sitk.Image(scan.ct)
    moved.SetOrigin((-20, -30, 400))
    with pytest.raises(UserError, match=r"does not belong to ct\.nii.*between -106 and -104 mm.*400 and 418 mm"):
        import_image(moved, "ct.nii.gz", annotations)
    no_position = write_xml(tmp_path / "b.xml", nodule("a", roi(2, square(10, 8, 4), z=False)))
    with pytest.raises(UserError, match="an image file has no slice UIDs"):
        import_image(scan.ct, "ct.nii.gz", read_annotations([no_position]))


# --- the verb --------------------------------------------------------------------------------------------------


def lidc(*words):
    return main(["lidc", *map(str, words)])


def test_the_verb_writes_ct_mask_and_tables(ct, tmp_path, capsys):
    xml = write_xml(tmp_path / "a.xml", *[SQUARE + non_nodule("scar", 3, 20, 10)] * 4)
    names = {"output": "mask.nii.gz", "ct": "ct.nii.gz", "table": "nodules.csv", "points": "points.csv"}
    files = {option: tmp_path / "out" / name for option, name in names.items()}
    words = ["--dicom", ct, "--xml", xml, *(word for name, path in files.items() for word in (f"--{name}", path))]
    child = [sys.executable, "-m", "synthct", "lidc", *map(str, words)]
    subprocess.run(child, capture_output=True, text=True, check=True)
    mask, image = read_image(files["output"]), read_image(files["ct"])
    assert same_grid(mask, image) and np.array_equal(array_of(mask), area((4, 8, 10, 4, 4)))
    assert array_of(image)[4, 9, 11] == 100 * 4 + 11 - 1024
    (row,) = csv.DictReader(files["table"].open())
    assert (row["id"], row["readers"], row["volume_mm3"], row["malignancy"]) == ("1", "4", "8.0", "3.0")
    assert float(row["equivalent_diameter_mm"]) == pytest.approx(2 * (3 * 8 / 4 / np.pi) ** (1 / 3), abs=1e-3)
    assert float(row["longest_in_plane_mm"]) == pytest.approx(np.hypot(2.0, 1.5), abs=1e-3)
    centre = [float(row[f"{axis}_lps_mm"]) for axis in "xyz"]
    assert centre == [-20 + 11.5 / 2, -30 + 9.5 / 2, z_of(4)] and float(row["agreement"]) == 1
    assert len(list(csv.DictReader(files["points"].open()))) == 4
    assert lidc(*words) == 2 and "mask.nii.gz exists already" in capsys.readouterr().err
    assert lidc(*words, "--overwrite") == 0


def test_the_verb_refuses_what_cannot_be_meant(ct, tmp_path, capsys):
    xml = write_xml(tmp_path / "a.xml", *FOUR)
    base = ["--dicom", ct, "--xml", xml, "--output", tmp_path / "m.nii.gz"]
    for extra, word in (
        (["--agreement", "1.5"], "agreement cannot be 1.5"),
        (["--agreement", "0"], "agreement cannot be 0"),
        (["--select", "5"], "5 readers cannot be selected"),
        (["--scan", "x"], "--database, which is missing"),
        (["--table", tmp_path / "m.nii.gz"], "same file"),
    ):
        assert lidc(*base, *extra) == 2
        assert word in capsys.readouterr().err
    assert not (tmp_path / "m.nii.gz").exists()


# --- real ones -------------------------------------------------------------------------------------------------


@NEEDS_DATA
def test_real_scan_and_annotations(tmp_path):
    with zipfile.ZipFile(DATA / "LIDC-IDRI-0314_dicom_slices_145-176.zip") as archive:
        archive.extractall(tmp_path)
    scan = import_series(tmp_path, read_annotations([DATA / "tcia-lidc-xml_187_053.xml"]))
    (row,) = scan.nodules
    assert row["readers"] == 4 and row["complete"] and len(scan.points) == 4
    assert [row[f"malignancy_{n}"] for n in (1, 2, 3, 4)] == [1, 5, 4, 3]
    hu, inside = array_of(scan.ct).astype(float), array_of(scan.mask) > 0
    assert inside.sum() == 2950
    rings = ndimage.binary_dilation(inside, np.ones((1, 3, 3)), 4) & ~ndimage.binary_dilation(
        inside, np.ones((1, 3, 3))
    )

    def contrast(*shift):
        moved, around = (np.roll(mask, shift, (0, 1, 2)) for mask in (inside, rings))
        return hu[moved].mean() - hu[around].mean()

    here = contrast(0, 0, 0)
    assert here > 600  # a solid nodule in lung, and nowhere better than where it was drawn
    for axis in range(3):
        assert all(contrast(*np.eye(3, dtype=int)[axis] * sign) < here for sign in (-1, 1)), axis
    with pytest.raises(UserError, match=r"157_158\.xml belongs to another study.*Of the 26 slices.*0 are there"):
        import_series(tmp_path, read_annotations([DATA / "tcia-lidc-xml_157_158.xml"]))
    with pytest.raises(UserError, match=r"185_068\.xml is the annotation of a chest radiograph"):
        read_annotations([DATA / "tcia-lidc-xml_185_068.xml"])
