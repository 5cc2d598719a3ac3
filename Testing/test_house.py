"""The rules of the house (CONTRIBUTING.md), read from the source: floors, nevers, packaging."""

import ast
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "volumes": 0,
    "networks": 0,
    "methods": 1,
    "data": 1,
    "labels": 1,
    "evaluation": 1,
    "synthesis": 2,
    "training": 3,
    "studies": 4,
    "commands": 5,
    "scene": 1,
}
SIDEWAYS = {("labels", "data")}
SEEN_BY_SCENE = {"volumes", "labels"}
APPLICATION = {"slicer", "vtk", "vtkmodules", "qt", "ctk"}
HEAVY = {"torch", "monai", "lightning_fabric", "lightning"}
SLOW = HEAVY | {"matplotlib", "scipy", "nibabel", "pydicom", "SimpleITK", "numpy"}
MODULES = ("MRtoCT", "LabelToCT", "SynthEval")


def python_files(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.parts[-2] != "synthct", f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", python_files("synthct"), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downwards(path):
    room = path.relative_to(ROOT / "synthct").parts[0]
    for name in imported(path):
        top, *rest = name.split(".")
        assert room == "scene" or top not in APPLICATION, f"{path} imports {top}"
        if top != "synthct" or not rest or room not in FLOORS or rest[0] not in FLOORS or rest[0] == room:
            continue
        if room == "scene":
            assert rest[0] in SEEN_BY_SCENE, f"{path}: the scene speaks to {rest[0]} through jobs only"
        else:
            assert rest[0] != "scene", f"{path} imports the scene"
            assert FLOORS[rest[0]] < FLOORS[room] or (room, rest[0]) in SIDEWAYS, f"{path} imports {name}"


def test_what_slicer_loads_imports_no_heavy_package():
    for path in [*python_files("synthct/scene"), *(ROOT / name / f"{name}.py" for name in MODULES)]:
        if path.exists():
            assert not {name.split(".")[0] for name in imported(path, top_level_only=True)} & HEAVY, path
    for path in python_files("synthct/labels", "synthct/volumes"):  # what the scene calls in Slicer itself
        assert not {name.split(".")[0] for name in imported(path)} & HEAVY, path


def test_networks_read_no_files_and_methods_know_no_data():
    for path in python_files("synthct/networks", "synthct/methods"):
        names = {name.split(".")[0] for name in imported(path)}
        assert not names & {"SimpleITK", "nibabel", "pydicom", "pathlib"}, path


@pytest.mark.parametrize(
    "verb",
    [
        None,
        "train",
        "synthesize",
        "calibrate",
        "dicom",
        "evaluate",
        "cohort",
        "presets",
        "bulk",
        "depth",
        "statistics",
        "experiment",
        "explain",
        "dose",
        "turing",
        "overlap",
        "distribution",
        "commission",
        "qa",
        "lidc",
        "masks",
        "labels",
        "templates",
        "insert",
        "generate",
        "dataset",
    ],
)
def test_help_needs_no_slow_package(verb):
    """What makes `--help` slow is import time: none of the slow packages may be loaded for it."""
    words = ([verb] if verb else []) + ["--help"]
    program = (
        f"import sys; sys.argv[1:] = {words!r}\n"
        "import synthct.__main__ as m\n"
        "try:\n    m.main()\nexcept SystemExit as e:\n    assert e.code == 0\n"
        f"print('LOADED', sorted(set(sys.modules) & set({sorted(SLOW)!r})))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "LOADED []" in answer.stdout, answer.stdout
    assert "usage: synthct" in answer.stdout


def test_cmake_packages_every_file_of_the_library():
    text = (ROOT / "CMakeLists.txt").read_text()
    patterns = re.findall(r'"(synthct/\*[^"]*)"', text)
    named = set(re.findall(r"synthct/[\w/.]+\.\w+", text))
    for path in (ROOT / "synthct").rglob("*"):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and "__pycache__" not in name:
            assert name in named or any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name


@pytest.mark.parametrize("module", [name for name in MODULES if (ROOT / name).exists()])
def test_cmake_packages_every_file_of_the_modules(module):
    lists = (ROOT / module / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", module)
    for path in (ROOT / module).rglob("*"):
        name = path.relative_to(ROOT / module).as_posix()
        if (
            path.is_file()
            and "__pycache__" not in name
            and not name.startswith("Testing/")
            and name != "CMakeLists.txt"
        ):
            assert name in lists, f"{module}/CMakeLists.txt does not package {name}"
    assert f"add_subdirectory({module})" in (ROOT / "CMakeLists.txt").read_text()


def test_wheel_carries_the_presets():
    assert any((ROOT / "synthct/presets").glob("*.yaml"))
    assert 'synthct = ["presets/*.yaml"' in (ROOT / "pyproject.toml").read_text()


def test_wheel_carries_the_tables():
    text = (ROOT / "pyproject.toml").read_text()
    for ending in {path.suffix for path in (ROOT / "synthct/tables").iterdir()}:
        assert f'"tables/*{ending}"' in text


def test_wheel_carries_the_layouts_of_shared_widgets():
    assert any((ROOT / "synthct/scene").rglob("*.ui"))
    assert '"scene/**/*.ui"' in (ROOT / "pyproject.toml").read_text()
