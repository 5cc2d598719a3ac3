"""The section Training of MRtoCT in the embedded Slicer: real clicks, real child processes on phantoms."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import SimpleITK as sitk
import yaml
from phantoms import phantom_pair, write_phantom_cohort
from training_recipes import SHAPE, tiny_recipe

ROOT = Path(__file__).parents[1]
LONG, SHORT = 1_000_000, 8
"""Steps of a training that is paused, and of one that is followed to its end."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A folder with four pairs, one of them with a CT that is no CT, and a file without a partner."""
    folder = tmp_path_factory.mktemp("Fälle") / "pairs"
    write_phantom_cohort(folder, 4, SHAPE)
    (folder / "cohort.json").unlink()
    bad = folder / "phantom_03_CT.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(bad)) * 0 + 7, str(bad))
    sitk.WriteImage(phantom_pair(SHAPE)[0], str(folder / "alone_MR.nii.gz"))
    return folder


def write_recipe(path, steps, per_epoch=4):
    recipe = tiny_recipe("regression", steps=steps, steps_per_epoch=per_epoch).to_dict()
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


@pytest.fixture
def window(slicer_host):
    slicer_host.open_module(ROOT / "MRtoCT/MRtoCT.py").onReload()
    import slicer

    widget = slicer.util.getModuleWidget("MRtoCT")
    slicer_host.show("MRtoCT")
    widget.devices.device = "cpu"
    widget.ui.trainingCollapsibleButton.collapsed = False
    yield widget
    section = slicer.util.getModuleWidget("MRtoCT").training
    section.cases.close()
    section.recipe.close()
    if section.run is not None and section.run.active:
        section.run.end_now()
        slicer_host.wait_until(lambda: not section.run.active, 30)
    section.run_path = ""


def find(slicer_host, section, folder):
    section.cases.ui.folderPathEdit.currentPath = str(folder)
    section.cases.ui.findButton.click()
    slicer_host.wait_until(lambda: section.cases.ui.findButton.text == "Find cases", 60)


def choose(section, recipe, run):
    combo = section.recipe.ui.presetComboBox
    combo.setCurrentIndex(combo.findData("own"))
    section.recipe.ui.recipePathEdit.currentPath = str(recipe)
    section.ui.runPathEdit.currentPath = str(run)


def reopen(window):
    """Close the module's window and open it again, as a restart of Slicer does for this module."""
    import slicer

    window.onReload()
    return slicer.util.getModuleWidget("MRtoCT")


def node_names(kind):
    import slicer

    return [node.GetName() for node in slicer.util.getNodesByClass(kind)]


def test_cases_are_found_checked_and_left_out(slicer_host, window, cases, tmp_path):
    section = window.training
    find(slicer_host, section, cases)
    table, chosen = section.cases.ui.casesTable, section.cases
    assert table.rowCount == 4 and table.visible
    rows = {table.item(row, 0).text(): row for row in range(table.rowCount)}
    bad, good = rows["phantom_03"], rows["phantom_01"]
    assert "error" in table.item(bad, 2).text() and "constant" in table.item(bad, 2).toolTip()
    assert table.item(bad, 0).checkState() == 0 and table.item(good, 0).checkState() == 2
    assert not any(table.item(row, 1).icon().isNull() for row in rows.values())
    assert "3 of 4 cases are used" in chosen.ui.casesLabel.text and "1" in chosen.ui.casesLabel.text
    assert "alone_MR" in chosen.ui.casesLabel.toolTip
    table.item(good, 0).setCheckState(0)
    assert chosen.left_out == ["phantom_01"] and "2 of 4" in chosen.ui.casesLabel.text
    chosen.write(tmp_path / "chosen.json")
    from synthct.data.cohort import read_cohort

    cohort = read_cohort(tmp_path / "chosen.json")
    assert {case.id for case in cohort.used} == {"phantom_00", "phantom_02"}
    assert cohort["phantom_01"].excluded == "left out by the user" and cohort["phantom_03"].excluded
    assert not (cases / "cohort.json").exists() and not slicer_host.errors


def test_what_is_wrong_with_the_cases_is_said_in_words(slicer_host, window, tmp_path):
    section = window.training
    slicer_host.answer("does not exist", "Ok")
    section.cases.ui.folderPathEdit.currentPath = str(tmp_path / "none")
    section.cases.ui.findButton.click()
    assert "does not exist" in section.cases.ui.casesLabel.text
    (tmp_path / "empty").mkdir()
    slicer_host.answer("No pair", "Ok")
    find(slicer_host, section, tmp_path / "empty")
    assert "No pair" in section.cases.ui.casesLabel.text and section.cases.lacking
    manifest = tmp_path / "broken.json"
    manifest.write_text('{"cases": [{"id": "a", "mr": "gone.nii", "ct": "gone.nii"}]}')
    section.cases.ui.sourceComboBox.setCurrentIndex(1)
    section.cases.ui.manifestPathEdit.currentPath = str(manifest)
    slicer_host.answer("gone.nii does not exist", "Ok")
    section.cases.ui.findButton.click()
    slicer_host.wait_until(lambda: section.cases.ui.findButton.text == "Check cases", 60)
    assert "gone.nii" in section.cases.ui.casesLabel.text and not section.ui.startButton.enabled
    section.cases.ui.sourceComboBox.setCurrentIndex(0)
    assert not slicer_host.errors


def test_pairs_picked_in_the_scene_become_cases(slicer_host, window, tmp_path):
    from synthct.scene.nodes import node_from_image

    section = window.training
    cases = section.cases
    cases.ui.sourceComboBox.setCurrentIndex(2)
    assert cases.ui.mrSelector.visible and not cases.ui.folderPathEdit.visible
    folder = tmp_path / "Paare ü"
    cases.ui.pairsPathEdit.currentPath = str(folder)
    slicer_host.answer("No MR", "Ok")
    cases.ui.findButton.click()
    for number in range(2):
        mr, ct, _ = phantom_pair(SHAPE, seed=number)
        cases.ui.mrSelector.setCurrentNode(node_from_image(mr, "Kopf: T1"))
        cases.ui.ctSelector.setCurrentNode(node_from_image(ct, "Kopf CT"))
        cases.ui.findButton.click()
        slicer_host.wait_until(lambda: cases.ui.findButton.text == "Add pair", 60)
    table = cases.ui.casesTable
    assert [table.item(row, 0).text() for row in range(table.rowCount)] == ["Kopf T1", "Kopf T1_1"]
    listed = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))["cases"]
    assert [case["mr"] for case in listed] == ["Kopf T1_MR.nrrd", "Kopf T1_1_MR.nrrd"]
    written = sitk.ReadImage(str(folder / "Kopf T1_CT.nrrd"))
    assert written.GetOrigin() == pytest.approx(phantom_pair(SHAPE)[1].GetOrigin(), abs=1e-4)
    cases.ui.sourceComboBox.setCurrentIndex(0)
    assert not slicer_host.errors


def test_recipes_are_listed_with_their_source_and_measured(slicer_host, window, tmp_path):
    recipe = window.training.recipe
    combo = recipe.ui.presetComboBox
    names = [combo.itemText(number) for number in range(combo.count)]
    assert names[0] == "synthct-unet" and "umea-gan-paired" in names and names[-1] == "A file of your own"
    combo.setCurrentIndex(combo.findData("umea-gan-paired"))
    assert "Ume" in recipe.ui.sourceTextLabel.text and not recipe.ui.recipePathEdit.visible
    choose(window.training, tmp_path / "none.yaml", tmp_path / "run")
    assert "does not exist" in recipe.ui.sourceTextLabel.text and recipe.lacking
    choose(window.training, write_recipe(tmp_path / "tiny.yaml", 40), tmp_path / "run")
    assert "tiny-regression" in recipe.ui.sourceTextLabel.text and not recipe.lacking
    recipe.ui.batchSpinBox.value = 1
    recipe.ui.stepsSpinBox.value = 30
    assert recipe.options == {"preset": str(tmp_path / "tiny.yaml"), "device": "cpu", "steps": 30, "batch": 1}
    recipe.ui.measureButton.click()
    slicer_host.wait_until(lambda: recipe.ui.measureButton.text == "Measure", 60)
    assert "per step on cpu" in recipe.ui.needTextLabel.text and "30 steps" in recipe.ui.needTextLabel.text
    recipe.ui.batchSpinBox.value = 0
    assert recipe.ui.needTextLabel.text == ""  # it was another recipe's
    recipe.ui.stepsSpinBox.value = 0
    assert not slicer_host.errors


def test_a_training_is_paused_resumed_found_again_and_stopped(slicer_host, window, cases, tmp_path):
    section, run = window.training, tmp_path / "mein Lauf"
    assert "cases" in section.ui.startButton.toolTip
    find(slicer_host, section, cases)
    choose(section, write_recipe(tmp_path / "long.yaml", LONG), run)
    assert section.ui.startButton.enabled and not section.ui.pauseButton.enabled
    section.ui.startButton.click()
    assert section.run.state == "starting" and not section.ui.startButton.enabled
    slicer_host.wait_until(lambda: section.run.step > 0 and section.run.sample is not None, 120)
    assert section.run.state == "running" and section.ui.runProgressBar.visible
    text = section.ui.runStatusLabel.text
    assert "Epoch" in text and "left" in text and "memory" in text and f"of {LONG}" in text
    assert not section.ui.sampleLabel.pixmap.isNull() and section.ui.sampleLabel.visible

    section.ui.pauseButton.click()
    assert section.run.state == "ending" and "Pausing" in section.ui.runStatusLabel.text
    slicer_host.wait_until(lambda: section.run.state == "paused", 60)
    step = section.run.step
    assert (run / "checkpoints").is_dir() and not (run / "lock").exists()
    assert "Paused at step" in section.ui.runStatusLabel.text and section.ui.pauseButton.text == "Resume"
    assert not section.ui.startButton.enabled and "holds a run" in section.ui.startButton.toolTip

    section.ui.pauseButton.click()
    slicer_host.wait_until(lambda: section.run.state == "running" and section.run.step > step + 4, 120)
    assert section.ui.pauseButton.text == "Pause"
    pid = json.loads((run / "lock").read_text())["pid"]
    again = reopen(window).training
    assert again is not section and again.run_path == str(run)
    assert again.run.state == "running" and psutil.pid_exists(pid)
    step = again.run.step
    slicer_host.wait_until(lambda: again.run.step > step, 60)

    again.ui.stopButton.click()
    slicer_host.wait_until(lambda: again.run_path == "", 60)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert "Stopped at step" in again.ui.runStatusLabel.text and str(run) in again.ui.runStatusLabel.text
    again.ui.runPathEdit.currentPath = str(run)
    assert again.run.state == "paused" and again.ui.pauseButton.text == "Resume"
    assert not slicer_host.errors


def test_a_training_ends_while_slicer_is_closed_and_its_model_is_used(slicer_host, window, cases, tmp_path):
    import slicer

    from synthct.scene.nodes import node_from_image

    section, run = window.training, tmp_path / "run"
    find(slicer_host, section, cases)
    choose(section, write_recipe(tmp_path / "short.yaml", SHORT), run)
    section.ui.startButton.click()
    window = reopen(window)
    section = window.training
    assert section.run_path == str(run) and section.run.active
    slicer_host.wait_until(lambda: section.run.state == "done", 120)
    assert f"Finished after {SHORT} steps" in section.ui.runStatusLabel.text
    assert "HU" in section.ui.runStatusLabel.text and not section.ui.pauseButton.enabled

    section.ui.curvesButton.click()
    assert slicer.app.layoutManager().plotViewCount == 1
    chart = slicer.util.getNode("Training: losses")
    series = [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [node.GetYColumnName() for node in series[:2]] == ["Raw", "Mean"]
    table = series[0].GetTableNode().GetTable()
    columns = [table.GetColumnByName(name) for name in ("Step", "Raw", "Mean")]
    assert table.GetNumberOfRows() >= 2 and columns[0].GetValue(table.GetNumberOfRows() - 1) == SHORT
    assert columns[1].GetValue(0) == pytest.approx(columns[2].GetValue(0)) and columns[1].GetValue(0) > 0
    section.ui.curvesComboBox.setCurrentIndex(1)
    section.ui.curvesComboBox.activated(1)
    assert "Training: validation/mae_hu" in node_names("vtkMRMLTableNode")
    nodes = [*slicer.util.getNodesByClass("vtkMRMLTableNode"), *slicer.util.getNodesByClass("vtkMRMLPlotChartNode")]
    assert not any(node.GetSaveWithScene() for node in nodes)

    section.ui.useModelButton.click()
    assert window.models.path == str(run / "model") and "tiny-regression" in window.ui.modelCardLabel.text
    window.ui.inputSelector.setCurrentNode(node_from_image(phantom_pair(SHAPE)[0], "MR"))
    assert window.ui.applyButton.enabled is True
    slicer_host.close_scene()
    assert window.training.run.state == "done" and not slicer_host.errors


STAND_IN = """
import signal, sys, time
from pathlib import Path
from synthct.events import Events
from synthct.locks import FolderLock
run = Path(sys.argv[1])
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
for name in ("recipe.yaml", "cohort.json"):
    (run / name).write_text("{}")
with FolderLock(run):
    events = Events(run / "events.jsonl")
    events.warning("All outputs look alike.", "The discriminator's loss is at zero.", "Lower its rate.")
    step = int(sys.argv[2])
    while not asked:
        step += 1
        said = {"eta_s": 60.0, "message": "epoch 1 of 3", "memory_mb": 1500}
        events.emit("progress", task="training", done=step, total=900, **said)
        events.metrics(step, {"loss/mae": 100 / step})
        time.sleep(0.05)
    events.emit("cancelled")
"""
"""A process that holds a run folder and reports as a training does, without PyTorch."""


def stand_in(run, step=0):
    run.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", STAND_IN, str(run), str(step)])


def test_a_training_started_in_a_shell_is_followed_and_paused(slicer_host, window, tmp_path):
    section, run = window.training, tmp_path / "run"
    process = stand_in(run)
    slicer_host.wait_until(lambda: (run / "events.jsonl").exists(), 60)
    section.ui.runPathEdit.currentPath = str(run)
    slicer_host.wait_until(lambda: section.run.state == "running" and section.run.step > 3, 60)
    assert "memory 1.5 GB" in section.ui.runStatusLabel.text and "900" in section.ui.runStatusLabel.text
    assert section.ui.warningsLabel.visible and "All outputs look alike" in section.ui.warningsLabel.text
    section.ui.pauseButton.click()
    slicer_host.wait_until(lambda: process.poll() is not None and section.run.state == "paused", 60)
    assert not slicer_host.errors


def test_a_run_that_takes_events_back_is_read_anew(slicer_host, window, tmp_path):
    section, run = window.training, tmp_path / "run"
    process = stand_in(run)
    slicer_host.wait_until(lambda: (run / "events.jsonl").exists(), 60)
    section.ui.runPathEdit.currentPath = str(run)
    slicer_host.wait_until(lambda: section.run.step > 6, 60)
    section.ui.curvesButton.click()
    process.kill()  # as the power failing
    process.wait()
    slicer_host.wait_until(lambda: section.run.state == "paused", 60)
    lines = (run / "events.jsonl").read_bytes().splitlines(keepends=True)
    (run / "events.jsonl").write_bytes(b"".join(lines[:5]))  # a warning and two steps are left: the last checkpoint's
    process = stand_in(run, step=2)
    slicer_host.wait_until(lambda: section.run.state == "running" and section.run.step > 12, 60)
    curve = section.run.curves["loss/mae"]
    assert curve.steps == list(range(1, len(curve.steps) + 1)), "a step was seen twice or not at all"
    section.ui.stopButton.click()
    section.ui.stopButton.click()  # "End at once"
    slicer_host.wait_until(lambda: process.poll() is not None and section.run is None, 60)
    assert not slicer_host.errors


def test_why_a_training_ended_is_said_in_words(slicer_host, window, cases, tmp_path):
    section, run = window.training, tmp_path / "run"
    find(slicer_host, section, cases)
    table = section.cases.ui.casesTable
    for row in range(table.rowCount):
        table.item(row, 0).setCheckState(0)
    choose(section, write_recipe(tmp_path / "short.yaml", SHORT), run)
    assert not section.ui.startButton.enabled and "Tick" in section.ui.startButton.toolTip
    table.item(0, 0).setCheckState(2)
    broken = tmp_path / "broken.yaml"
    broken.write_text(write_recipe(tmp_path / "x.yaml", SHORT).read_text().replace("width: 4-8", "width: 4-banana"))
    section.recipe.ui.recipePathEdit.currentPath = str(broken)
    section.ui.startButton.click()
    slicer_host.wait_until(lambda: not section.run.active, 120)
    assert section.run.state == "failed" and "banana" in section.ui.runStatusLabel.text
    assert not section.ui.pauseButton.enabled and section.ui.startButton.enabled  # nothing was begun in the folder
    assert not slicer_host.errors


def test_the_warm_worker_makes_room_and_is_not_taken_from_a_translation(slicer_host, window):
    from synthct.errors import UserError

    session = window.logic.session
    job = session.worker.submit("devices", {}, session.new_folder())
    with pytest.raises(UserError, match="being translated"):
        session.release_device()
    job.wait(slicer_host.process_events)
    session.release_device()
    slicer_host.wait_until(lambda: not job.alive(), 30)


def test_nothing_heavy_is_imported_in_slicer(slicer_host, cases, tmp_path):
    script = tmp_path / "flow.py"
    script.write_text(FLOW.format(testing=ROOT / "Testing", root=ROOT))
    recipe = write_recipe(tmp_path / "short.yaml", SHORT)
    process = stand_in(tmp_path / "run")
    words = [sys.executable, "-m", "host", "--python-script", script, cases, recipe, tmp_path / "run"]
    done = subprocess.run([*map(str, words)], cwd=ROOT / "Testing", capture_output=True, text=True, check=False)
    process.kill()
    process.wait()
    assert done.returncode == 0, done.stderr


FLOW = """
import sys
sys.path.insert(0, "{testing}")
import host
import slicer
running = host.start()
window = running.open_module("{root}/MRtoCT/MRtoCT.py")
window.ui.trainingCollapsibleButton.collapsed = False
section = window.training
section.cases.ui.folderPathEdit.currentPath = sys.argv[1]
section.cases.ui.findButton.click()
running.wait_until(lambda: section.cases.manifest is not None, 120)
combo = section.recipe.ui.presetComboBox
combo.setCurrentIndex(combo.findData("own"))
section.recipe.ui.recipePathEdit.currentPath = sys.argv[2]
section.ui.runPathEdit.currentPath = sys.argv[3]
running.wait_until(lambda: section.run.state == "running" and section.run.step > 3, 120)
section.ui.curvesButton.click()
running.process_events()
heavy = sorted(set(sys.modules) & {{"torch", "monai", "lightning", "lightning_fabric", "scipy", "nibabel"}})
slicer.util.exit(0)
assert not heavy and not running.errors, (heavy, running.errors)
"""
