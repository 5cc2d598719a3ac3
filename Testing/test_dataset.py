"""Data sets with planted nodules: what each volume satisfies, the same bytes whoever makes it, nothing of the test."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from chests import chest_arrays, on_grid
from dataset_parts import nodule, write_chests, write_library, write_model
from scipy import ndimage

from synthct.__main__ import main
from synthct.data.cohort import read_cohort
from synthct.data.split import Split, write_split
from synthct.events import read_events
from synthct.synthesis.model_file import load_model
from synthct.synthesis.translate import translate

ROOT = Path(__file__).parents[1]
COUNT = 10
SIZE = (24, 20, 16)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    write_chests(folder / "cases")
    write_library(folder / "library")
    write_model(folder / "model")
    return folder


def words(parts, output, **changed):
    given = {
        "cohort": parts / "cases" / "cohort.json",
        "library": parts / "library",
        "model": parts / "model",
        "count": COUNT,
        "size": ",".join(map(str, SIZE)),
        "templates-per-volume": "1,2",
        "rotate": 90,
        "scale": "0.8,1.25",
        "output": output,
        "workers": 1,
        "device": "cpu",
    } | {key.replace("_", "-"): value for key, value in changed.items()}
    return [text for key, value in given.items() for text in (f"--{key}", str(value))]


def make(parts, output, **changed):
    return main(["dataset", *words(parts, output, **changed)])


@pytest.fixture(scope="module")
def made(parts):
    """A data set that nobody disturbed."""
    assert make(parts, parts / "made", events=parts / "events.jsonl") == 0
    return parts / "made"


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def loaded(folder, record):
    return {key: sitk.ReadImage(str(folder / record[key])) for key in ("image", "labels", "mask")}


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "RANK", "WORLD_SIZE"))}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}


def test_every_volume_is_a_cube_of_its_source_and_meets_every_constraint(parts, made):
    content = manifest(made)
    assert content["complete"] and len(content["volumes"]) == COUNT
    assert {record["case"] for record in content["volumes"]} == {"p0", "p1", "p2"}
    assert sum(bool(record["nodules"]) for record in content["volumes"]) == 0.8 * COUNT
    assert {len(record["nodules"]) for record in content["volumes"]} == {0, 1, 2}
    for record in content["volumes"]:
        source = sitk.ReadImage(str(parts / "cases" / f"{record['case']}_labels.nii.gz"))
        images = loaded(made, record)
        assert {image.GetSize() for image in images.values()} == {SIZE}
        labels, mask = (sitk.GetArrayFromImage(images[key]) for key in ("labels", "mask"))
        for image in images.values():  # it overlays the source
            assert source.TransformPhysicalPointToIndex(image.GetOrigin()) == tuple(record["origin_ijk"])
            assert np.allclose(image.GetDirection(), source.GetDirection(), atol=1e-5)
            assert np.allclose(image.GetSpacing(), source.GetSpacing(), atol=1e-5)
        x, y, z = images["image"].GetOrigin()
        assert np.allclose(record["origin_ras"], (-x, -y, z), atol=1e-3)

        whole = sitk.GetArrayFromImage(source)
        box = tuple(slice(a, a + n) for a, n in zip(record["origin_ijk"][::-1], SIZE[::-1], strict=True))
        before = whole[box]
        assert np.array_equal(mask == 1, labels == 5) and set(np.unique(mask)) <= {0, 1}
        assert np.array_equal(labels[mask == 0], before[mask == 0])
        assert np.mean(before == 0) >= 0.1 and record["constraints"]["lung"] == pytest.approx(
            np.mean(before == 0), abs=1e-4
        )
        for axes in ((1, 2), (0, 2), (0, 1)):
            assert (before != 6).any(axis=axes).all()
        depth = ndimage.distance_transform_edt(whole != 6, source.GetSpacing()[::-1])[box]
        assert not mask.any() or depth[mask == 1].min() >= 10
        assert sum(entry["voxels"] for entry in record["nodules"]) == mask.sum()
        for entry in record["nodules"]:
            assert labels[tuple(entry["voxel"][::-1])] == 5 and 0.8 <= entry["share_on_classes"] <= 1
            right, anterior, superior = entry["position_ras"]
            index = images["mask"].TransformPhysicalPointToIndex((-right, -anterior, superior))
            assert all(0 <= n < side for n, side in zip(index, SIZE, strict=True))
            assert entry["source"] == {"case": "elsewhere"}
        assert not mask.any() or np.mean(before[mask == 1] == 0) >= 0.8


def planted(parts, folder, record):
    """The whole label map of a volume's source with its nodules in it, and the volume's box (z, y, x)."""
    whole = sitk.ReadImage(str(parts / "cases" / f"{record['case']}_labels.nii.gz"))
    labels = sitk.ReadImage(str(folder / record["labels"]))
    i, j, k = record["origin_ijk"]
    whole[i : i + SIZE[0], j : j + SIZE[1], k : k + SIZE[2]] = labels
    return whole, tuple(slice(a, a + n) for a, n in zip((k, j, i), SIZE[::-1], strict=True))


@pytest.mark.parametrize("context", [0, 1000])
def test_the_ct_is_what_the_model_makes_of_the_cube_or_of_the_whole(parts, tmp_path, context):
    assert make(parts, tmp_path / "out", count=6, context=context) == 0
    model = load_model(parts / "model")
    for record in manifest(tmp_path / "out")["volumes"]:
        found = sitk.ReadImage(str(tmp_path / "out" / record["image"]))
        whole, box = planted(parts, tmp_path / "out", record)
        seen = sitk.ReadImage(str(tmp_path / "out" / record["labels"])) if context == 0 else whole
        wanted = sitk.GetArrayFromImage(translate(seen, model, mask=seen != 6, device="cpu")).astype(int)
        wanted = wanted if context == 0 else wanted[box]
        assert np.abs(wanted - sitk.GetArrayFromImage(found)).max() <= 1
        assert np.ptp(wanted) > 100


def test_context_brings_a_cube_nearer_to_the_whole(parts, made, tmp_path):
    assert make(parts, tmp_path / "bare", context=0) == 0
    model = load_model(parts / "model")
    errors = []
    for record in manifest(made)["volumes"][:5]:
        whole, box = planted(parts, made, record)
        wanted = sitk.GetArrayFromImage(translate(whole, model, mask=whole != 6, device="cpu"))[box].astype(int)
        ways = (sitk.ReadImage(str(folder / record["image"])) for folder in (made, tmp_path / "bare"))
        errors.append([np.abs(sitk.GetArrayFromImage(way) - wanted).mean() for way in ways])
    near, bare = np.mean(errors, axis=0)
    assert near < 0.75 * bare


def test_poses_are_drawn(made):
    poses = [entry for record in manifest(made)["volumes"] for entry in record["nodules"]]
    assert len({entry["scale"] for entry in poses}) == len(poses)
    assert all(0.8 <= entry["scale"] <= 1.25 and np.abs(entry["rotation"]).max() <= 90 for entry in poses)
    assert {entry["template"] for entry in poses} == {"small", "large"}


def test_table_cohort_and_events_say_the_same(parts, made):
    volumes = manifest(made)["volumes"]
    with (made / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [record["id"] for record in volumes]
    assert [int(row["nodules"]) for row in rows] == [len(record["nodules"]) for record in volumes]
    cases = read_cohort(made / "cohort.json")
    assert [case.id for case in cases] == [record["id"] for record in volumes]
    assert [case.patient_id for case in cases] == [record["patient"] for record in volumes]
    assert cases.cases[3].mask == made / volumes[3]["mask"] and cases.cases[3].ct == made / volumes[3]["image"]
    events = read_events(parts / "events.jsonl")[0]
    steps = [event["done"] for event in events if event["kind"] == "progress" and event["task"] == "volumes"]
    assert steps == list(range(COUNT + 1))
    result = events[-1]
    assert result["kind"] == "result" and result["volumes"] == COUNT
    assert Path(result["manifest"]) == made / "manifest.json" and Path(result["output"]) == made


@pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")
def test_killed_at_random_and_resumed_it_is_the_same_to_the_byte(parts, made, tmp_path):
    program = [sys.executable, str(ROOT / "Testing" / "dataset_lives.py"), "0", "4"]
    ended = subprocess.run(
        [*program, *words(parts, tmp_path / "killed")], env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    lives = [line.split()[1:] for line in ended.stdout.splitlines() if line.startswith("LIFE")]
    assert str(int(signal.SIGKILL)) in {status for status, _ in lives}
    counts = [int(count) for _, count in lives]
    assert counts == sorted(counts) and any(0 < count < COUNT for count in counts), lives
    assert bytes_of(tmp_path / "killed") == bytes_of(made)


def test_two_processes_cancelled_leave_what_is_done_and_nobody_at_work(parts, made, tmp_path):
    output, events = tmp_path / "cancelled", tmp_path / "events.jsonl"
    given = words(parts, output, workers=2, count=300, events=events)
    child = subprocess.Popen([sys.executable, "-m", "synthct", "dataset", *given], env=environment())
    while not any(event.get("done") for event in read_events(events)[0]):
        assert child.poll() is None
        time.sleep(0.01)
    family = psutil.Process(child.pid).children(recursive=True)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 130 and read_events(events)[0][-1]["kind"] == "cancelled"
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    left = manifest(output)
    assert not left["complete"] and 0 < len(left["volumes"]) < 300
    finished = {record["id"] for record in left["volumes"]}
    assert all((output / "masks" / f"{name}.nii.gz").is_file() for name in finished)
    found = bytes_of(output)
    kept = [path for path in bytes_of(made) if path.name.split(".")[0] in finished]
    assert all(found[path] == (made / path).read_bytes() for path in kept)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_shares_of_a_cluster_make_the_same_and_the_last_writes_the_manifest(parts, made, tmp_path, monkeypatch, order):
    output = tmp_path / "out"
    monkeypatch.setenv("WORLD_SIZE", "2")
    for number in order:
        assert not (output / "manifest.json").exists()
        monkeypatch.setenv("RANK", str(number))
        assert make(parts, output) == 0
        assert len(list((output / "images").glob("*"))) == COUNT // 2 * (1 + (number == order[1]))
    assert bytes_of(output) == bytes_of(made)


def test_a_data_set_may_grow_but_not_change(parts, made, tmp_path, capsys):
    output = tmp_path / "out"
    assert make(parts, output, count=5) == 0
    times = {path: path.stat().st_mtime_ns for path in (output / "images").iterdir()}
    assert make(parts, output) == 0
    assert all(path.stat().st_mtime_ns == when for path, when in times.items())
    assert bytes_of(output) == bytes_of(made)
    (output / "masks" / "volume_00007.nii.gz").unlink()
    assert make(parts, output) == 0 and bytes_of(output) == bytes_of(made)
    write_library(tmp_path / "other", nodule("small", 13.0))
    write_model(tmp_path / "model", name="renamed")
    write_chests(tmp_path / "cases", 2)
    capsys.readouterr()
    for changed, said in (
        ({"seed": 1}, "--seed was 0 and is now 1"),
        ({"size": "24"}, "--size was 24,20,16 and is now 24,24,24"),
        ({"lung": 0.2}, "--lung was 0.1 and is now 0.2"),
        ({"surface": "none"}, "--surface was 10 and is now none"),
        ({"with_nodule": 0.5, "seed": 2}, "--with-nodule was 0.8 and is now 0.5"),
        ({"library": tmp_path / "other"}, "templates are others"),
        ({"model": tmp_path / "model"}, "model is another one"),
        ({"cohort": tmp_path / "cases" / "cohort.json"}, "cases or their label maps are others"),
        ({"count": 7}, "a data set of 10 volumes, and --count is 7"),
    ):
        assert make(parts, output, **changed) == 2
        assert said in re.sub(r"\s+", " ", capsys.readouterr().err), changed
    assert bytes_of(output) == bytes_of(made)


def test_cases_that_are_held_out_give_neither_cubes_nor_templates(parts, tmp_path, capsys):
    folder = tmp_path / "cases"
    held_out = {"p1": {"part": "test"}, "p2": {"patient": "one"}, "p3": {"patient": "one", "part": "validation"}}
    write_chests(folder, 5, **held_out)
    ct, mask = folder / "p3_CT.nii.gz", tmp_path / "nodules.nii.gz"
    found = np.zeros((24, 48, 48), np.uint8)
    found[10:13, 20:23, 20:23] = 1
    image = sitk.GetImageFromArray(found)
    image.CopyInformation(sitk.ReadImage(str(ct)))
    sitk.WriteImage(image, str(mask))
    library = tmp_path / "library"
    assert (
        main(["templates", *map(str, ("--ct", ct, "--nodules", mask, "--library", library, "--case", "renamed"))]) == 0
    )
    write_library(
        library,
        nodule("kept", 12.0, case="p0"),
        nodule("of-a-file", 12.0, case="P1_ct"),
        nodule("of-a-patient", 12.0, case="one"),
    )
    capsys.readouterr()
    changed = {"cohort": folder / "cohort.json", "library": library, "count": 8}
    assert make(parts, tmp_path / "out", **changed) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "3 cases of 5 give no cubes: p1, p2, p3." in said
    assert "3 templates of 4 are not planted: of-a-file, of-a-patient, renamed-01." in said
    content = manifest(tmp_path / "out")
    assert {record["case"] for record in content["volumes"]} == {"p0", "p4"}
    assert {entry["template"] for record in content["volumes"] for entry in record["nodules"]} == {"kept"}
    left_out = content["settings"]["left_out"]
    assert "part test in the cohort" in left_out["cases"]["p1"] and "case p3" in left_out["templates"]["renamed-01"]


def test_the_split_of_the_models_run_counts(parts, tmp_path, capsys):
    run = tmp_path / "run"
    write_model(run / "model")
    write_split(Split(("p0",), ("p1",), ("p2",)), run / "split.json")
    assert make(parts, tmp_path / "out", model=run, count=3) == 0
    assert "p1: its patient is of part validation in the split of the model's run" in capsys.readouterr().err
    assert {record["case"] for record in manifest(tmp_path / "out")["volumes"]} == {"p0"}
    write_split(Split(("p0", "p1"), (), ("p2",)), tmp_path / "own.json")
    assert make(parts, tmp_path / "own", model=run, count=6, split=tmp_path / "own.json") == 0
    assert {record["case"] for record in manifest(tmp_path / "own")["volumes"]} == {"p0", "p1"}
    assert make(parts, tmp_path / "all", model=run, count=9, split="none") == 0
    assert {record["case"] for record in manifest(tmp_path / "all")["volumes"]} == {"p0", "p1", "p2"}
    capsys.readouterr()
    write_split(Split(("a",), (), ("b",)), tmp_path / "foreign.json")
    assert make(parts, tmp_path / "none", split=tmp_path / "foreign.json") == 2
    assert "names no case of the cohort" in capsys.readouterr().err
    write_split(Split(("a",), ("p0",), ("p1", "p2")), run / "split.json")
    assert make(parts, tmp_path / "none", model=run) == 2
    assert "may give a cube" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_a_case_without_a_cube_is_named_and_another_one_is_taken(parts, tmp_path, capsys):
    folder = tmp_path / "cases"
    write_chests(folder)
    labels = sitk.ReadImage(str(folder / "p1_labels.nii.gz"))
    solid = sitk.Cast(labels, sitk.sitkUInt8)
    solid[:] = sitk.Image(solid.GetSize(), sitk.sitkUInt8) + 3
    solid.CopyInformation(labels)
    sitk.WriteImage(solid, str(folder / "p1_labels.nii.gz"))
    sitk.WriteImage(sitk.ReadImage(str(folder / "p2_labels.nii.gz"))[:20], str(folder / "p2_labels.nii.gz"))
    changed = {"cohort": folder / "cohort.json", "count": 9, "draws": 30}
    assert make(parts, tmp_path / "out", **changed) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert said.count("The case p1 has no cube of 24×20×16 voxels") == 1 and "Of 30 cubes drawn, 30 broke lung" in said
    assert "Its label map has 20×48×24 voxels only (size)." in said
    volumes = manifest(tmp_path / "out")["volumes"]
    assert {record["case"] for record in volumes} == {"p0"}
    assert {name for record in volumes for name in record["given_up"]} == {"p1", "p2"}
    assert make(parts, tmp_path / "none", lung=0.99, **changed) == 2
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "volume_00000 cannot be made" in said and "p0: of 30 cubes drawn" in said and "p2: its label map" in said
    assert make(parts, tmp_path / "none", lung=0.2, **changed) == 0  # nothing was made with the other options


def test_six_classes_have_a_body_too(parts, tmp_path):
    _, labels = chest_arrays((24, 48, 60))
    folder = tmp_path / "cases"
    write_chests(folder, 1)
    sitk.WriteImage(on_grid(np.where(labels == 6, 0, labels).astype(np.uint8)), str(folder / "p0_labels.nii.gz"))
    sitk.WriteImage(on_grid(chest_arrays((24, 48, 60))[0]), str(folder / "p0_CT.nii.gz"))
    assert make(parts, tmp_path / "out", cohort=folder / "cohort.json", lung=0.3) == 0
    depth = ndimage.distance_transform_edt(labels != 6, (4, 4, 4))
    for record in manifest(tmp_path / "out")["volumes"]:
        box = tuple(slice(a, a + n) for a, n in zip(record["origin_ijk"][::-1], SIZE[::-1], strict=True))
        inside = np.mean((labels == 0)[box])
        assert record["constraints"]["lung"] == pytest.approx(inside, abs=0.03)  # the body found is not quite the true
        mask = sitk.GetArrayFromImage(loaded(tmp_path / "out", record)["mask"])
        assert not mask.any() or depth[box][mask == 1].min() >= 10 - 4


def test_nodules_of_the_source_stay_out_of_volumes_without_any(parts, tmp_path):
    folder = tmp_path / "cases"
    write_chests(folder, 1)
    labels = sitk.ReadImage(str(folder / "p0_labels.nii.gz"))
    labels[16:19, 24:27, 10:13] = 5
    sitk.WriteImage(labels, str(folder / "p0_labels.nii.gz"))
    assert make(parts, tmp_path / "out", cohort=folder / "cohort.json", with_nodule=0.5) == 0
    own = 0
    for record in manifest(tmp_path / "out")["volumes"]:
        mask = sitk.GetArrayFromImage(loaded(tmp_path / "out", record)["mask"])
        assert mask.any() == bool(record["nodules"])
        assert mask.sum() == sum(entry["voxels"] for entry in record["nodules"]) + record["source_nodule_voxels"]
        own += record["source_nodule_voxels"]
    assert own > 0
    free = {"cohort": folder / "cohort.json", "with_nodule": 0, "library": tmp_path / "no-library", "count": 3}
    assert make(parts, tmp_path / "free", **free) == 0
    assert not any(record["nodules"] for record in manifest(tmp_path / "free")["volumes"])


BAD = [
    ({"count": 0}, "--count 0 makes no volumes"),
    ({"size": "24,20"}, "--size 24,20 cannot be used"),
    ({"size": "200"}, "no case has such a cube of 200×200×200 voxels"),
    ({"size": "1"}, "1×1×1 voxels cannot be asked for"),
    ({"with_nodule": 1.5}, "1.5 with nodules cannot be asked for"),
    ({"templates_per_volume": "2,1"}, "2 to 1 templates per volume cannot be asked for"),
    ({"lung": 1}, "1 of lung cannot be asked for"),
    ({"draws": 0}, "0 draws cannot be asked for"),
    ({"seed": -1}, "seed -1 cannot be asked for"),
    ({"scale": "0.01"}, "scaled by 0.01"),
    ({"workers": 0}, "0 processes cannot work"),
    ({"model": "nowhere"}, "The model nowhere does not exist"),
    ({"library": "nowhere"}, "nowhere is no library of templates"),
    ({"cohort": "nowhere.json"}, "The cohort nowhere.json does not exist"),
    ({"planes": "diagonal"}, "There is no plane diagonal"),
    ({"on": "liver"}, "There is no class 'liver'"),
    ({"device": "cuda:99"}, "There is no device cuda:99"),
]


@pytest.mark.parametrize(("changed", "said"), BAD, ids=lambda value: str(value)[:24])
def test_bad_options(parts, tmp_path, capsys, changed, said):
    assert make(parts, tmp_path / "out", **changed) == 2
    assert said in re.sub(r"\s+", " ", capsys.readouterr().err)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_bad_folders(parts, tmp_path, capsys):
    def refused(**changed):
        assert make(parts, tmp_path / "out", **changed) == 2
        return re.sub(r"\s+", " ", capsys.readouterr().err)

    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "library.json").write_text('{"format": 1, "templates": []}')
    assert "is empty. There is no nodule to plant." in refused(library=tmp_path / "empty")
    case = {"id": "p0", "mr": str(parts / "cases" / "p0_CT.nii.gz"), "ct": str(parts / "cases" / "p0_CT.nii.gz")}
    (tmp_path / "mr.json").write_text(json.dumps({"format": 1, "cases": [case]}))
    assert "The case p0 of the cohort" in refused(cohort=tmp_path / "mr.json")
    write_model(tmp_path / "mr", task="mr-to-ct")
    assert "makes no CT of a label map" in refused(model=tmp_path / "mr")
    (tmp_path / "out" / "images").mkdir(parents=True)
    assert "holds images already" in refused()
    (tmp_path / "out" / "images").rmdir()
    (tmp_path / "out" / "dataset.json").write_text("{")
    assert "dataset.json cannot be read" in refused()


def test_the_documented_lines_load_it(made, monkeypatch):
    text = (ROOT / "Docs" / "label-to-ct.md").read_text(encoding="utf-8")
    lines = re.search(r"```python\n(# MONAI.*?)```", text, re.DOTALL).group(1)
    monkeypatch.chdir(made.parent)
    names = {}
    exec(lines.replace("dataset/", f"{made.name}/"), names)
    batch = next(iter(names["loader"]))
    assert batch["image"].shape == batch["mask"].shape == (2, 1, *SIZE)
    assert set(np.unique(batch["mask"])) <= {0, 1}
