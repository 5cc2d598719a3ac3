"""The density table: the shipped one computed anew, known tissues, interpolation, and what is refused."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import Events
from synthct.volumes.density import QUANTITIES, SHIPPED, density_image, read_density_table

ROOT = Path(__file__).parents[1]
HEAD = "hu,mass_density_g_cm3,relative_electron_density,stopping_power_ratio\n"


def at(hu, quantity):
    return float(read_density_table().apply(np.array([hu]), quantity)[0])


def test_the_shipped_tables_are_what_the_script_computes(tmp_path):
    script = ROOT / "Resources" / "Tables" / "make_tables.py"
    subprocess.run([sys.executable, str(script), "--output", str(tmp_path)], check=True)
    for made in ("hu_to_density.csv", "bulk_hu.csv"):
        assert (tmp_path / made).read_text(encoding="utf-8") == (SHIPPED.parent / made).read_text(encoding="utf-8")


def test_compositions_give_the_published_electrons_and_excitation_energies(monkeypatch):
    """Z/A and I of NISTIR 5632, table 2, and the HU of Schneider 2000, table 1, which this code did not start from."""
    monkeypatch.syspath_prepend(str(ROOT / "Resources" / "Tables"))
    import make_tables

    tissues = make_tables.read_tissues()
    published = {
        "adipose tissue": (0.55579, 64.8),
        "water": (0.55508, 75.0),
        "skeletal muscle": (0.55000, 74.6),
        "blood": (0.54999, 75.2),
        "brain": (0.55239, 73.9),
        "cortical bone": (0.51478, 112.0),
    }
    for name, (ratio, excitation) in published.items():
        assert tissues[name].electrons_per_gram == pytest.approx(ratio, abs=2e-5), name
        assert tissues[name].excitation_ev == pytest.approx(excitation, abs=0.15), name
    assert tissues["air"].excitation_ev == pytest.approx(85.7, rel=0.01)
    assert make_tables.hu(tissues["cortical bone"], tissues["water"]) == pytest.approx(1524, abs=1)


def test_water_air_and_bone_have_their_densities():
    assert all(at(0, quantity) == 1 for quantity in QUANTITIES)
    assert at(-1024, "relative_electron_density") == pytest.approx(0.00108, rel=0.01)
    assert 1.7 < at(1524, "relative_electron_density") < 1.8
    assert 1.6 < at(1524, "stopping_power_ratio") < 1.7
    assert at(-77, "mass_density_g_cm3") == pytest.approx(0.95)
    table = read_density_table()
    middle = (table.hu[-3] + table.hu[-2]) / 2
    expected = table.values["mass_density_g_cm3"][-3:-1].mean()
    assert at(middle, "mass_density_g_cm3") == pytest.approx(expected, rel=1e-6)


def test_whole_numbers_by_look_up_equal_interpolation():
    random = np.random.default_rng(0)
    hu = random.integers(-1024, 3000, (50, 50, 50)).astype(np.int16)
    table = read_density_table()
    for quantity in QUANTITIES:
        np.testing.assert_array_equal(table.apply(hu, quantity), table.apply(hu.astype(np.float64), quantity))
    padded = np.array([[-32768, 1000], [0, 32767]], np.int16)  # further apart than int16 reaches
    for quantity in QUANTITIES:
        expected = np.interp(padded, table.hu, table.values[quantity])
        np.testing.assert_allclose(table.apply(padded, quantity), expected, rtol=1e-6)


def test_metal_is_clamped_and_said():
    ct = sitk.GetImageFromArray(np.array([[[-3000, 0, 20000]]], np.int16))
    ct.SetSpacing((1, 2, 3))
    events = []
    image = density_image(ct, read_density_table(), "relative_electron_density", Events(listener=events.append), "p1")
    assert image.GetSpacing() == ct.GetSpacing() and image.GetPixelID() == sitk.sitkFloat32
    table = read_density_table()
    column = table.values["relative_electron_density"]
    np.testing.assert_allclose(sitk.GetArrayFromImage(image)[0, 0], [column[0], 1, column[-1]], rtol=1e-6)
    assert "1 voxels of p1 lie above" in events[0]["what"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# only words\n", "is empty"),
        ("hu,mass_density_g_cm3\n0,1\n", "lacks the column relative_electron_density and stopping_power_ratio"),
        (HEAD, "has 0 rows"),
        (HEAD + "0,1,1,1\n", "has 1 rows"),
        (HEAD + "0,1,1,1\n0,1,1,1\n", "line 3 .* do not ascend"),
        (HEAD + "100,1,1,1\n0,1,1,1\n", "line 3 .* do not ascend"),
        (HEAD + "0,1,1,1\n100,1.1,0.9,1.1\n", "relative_electron_density` in line 3"),
        (HEAD + "-1000,-1,0,0\n0,1,1,1\n", "negative"),
        (HEAD + "0,1,1,1\n100,1.1,dense,1.1\n", "`relative_electron_density` in line 3 .* no number.* 'dense'"),
        (HEAD + "0,1,1,1\n100,1.1,nan,1.1\n", "no number"),
        (HEAD + "0,1,1,1\n100,1.1\n", "Line 3 .* has 2 entries"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path, text, words):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_density_table(path)
    assert "own.csv" in str(caught.value)


def test_tables_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_density_table(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(bytes(range(128, 255)))
    with pytest.raises(UserError, match="cannot be read"):
        read_density_table(tmp_path / "image.csv")


def test_a_department_may_add_columns_and_comments(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("# our scanner\nnote,HU," + HEAD.removeprefix("hu,") + "a,-1000,0,0,0\n\nb, 0 ,1,1,1\n")
    assert read_density_table(path).hu.tolist() == [-1000, 0]


def test_tables_travel_with_the_package():
    assert '"tables/*.csv"' in (ROOT / "pyproject.toml").read_text()
    assert re.search(r'"synthct/\*\.csv"', (ROOT / "CMakeLists.txt").read_text())
