"""The segmentation experiment in SynthEval: checked, begun, paused, found again, finished; its table in the scene."""

import os
import subprocess
import sys

import pytest
from experiment_parts import TRAINING, write_recipe, write_set
from syntheval_scene import ROOT, open_window

SHORT = {**TRAINING, "iterations": [4], "validate_every": 4, "patch": [8, 8, 8]}
LONG = {**TRAINING, "iterations": [100000], "validate_every": 1000}


@pytest.fixture
def recipe(tmp_path):
    """Balls, four real for training and two for the test, four made; and a recipe of two arms."""
    write_set(tmp_path / "real", 6, 0)
    write_set(tmp_path / "made", 4, 1)
    return write_recipe(tmp_path, training=SHORT)


@pytest.fixture
def window(slicer_host):
    widget = open_window(slicer_host)
    widget.ui.experimentButton.collapsed = False
    yield widget
    if widget.experiment.run is not None:
        slicer_host.wait_until(lambda: ended(widget.experiment.run), 60)
    widget.experiment.close()


def ended(run):
    run.poll()
    if run.active:
        run.pause()
    return not run.active


def wait_for(slicer_host, section, *states):
    def there():
        section.poll()
        return section.run is not None and section.run.state in states

    slicer_host.wait_until(there, 240)


def test_from_the_check_to_the_table(slicer_host, window, recipe, tmp_path):
    import slicer

    from synthct.scene.evaluation.tables import rows_of

    section, ui, node = window.experiment, window.experiment.ui, window.parameters()
    assert not ui.startButton.enabled and ui.startButton.text == "Start" and not ui.resultsTabs.visible
    ui.recipePathEdit.currentPath = str(recipe)
    assert ui.realPathEdit.visible and ui.syntheticPathEdit.visible and ui.ganPathEdit.visible
    run = tmp_path / "Versuch ä"
    ui.runPathEdit.currentPath = str(run)
    assert "no experiment" in ui.statusLabel.text and ui.startButton.enabled
    ui.keysEdit.text = "training.iterations=[3]; seed=5"
    ui.realPathEdit.currentPath = str(tmp_path / "real")
    ui.checkButton.click()
    assert ui.progressBar.visible and not ui.startButton.enabled
    wait_for(slicer_host, section, "checked")
    assert section.run.options["sets.real.path"] == str(tmp_path / "real")
    assert "Nothing is trained yet" in ui.statusLabel.text and "NOT CHECKED" in ui.statusLabel.text
    assert [ui.armsTable.item(row, 0).text() for row in range(2)] == ["real_4", "made"]
    assert ui.armsTable.item(0, 1).text() == "0 / 1" and ui.startButton.text == "Resume"
    assert not ui.recipePathEdit.visible and not ui.keysEdit.visible  # they are this folder's for good
    ui.startButton.click()
    wait_for(slicer_host, section, "done")
    assert (run / "arms/made/fold1/at_3").is_dir() and "seed: 5" in (run / "recipe.yaml").read_text()
    assert not ui.startButton.enabled and not ui.pauseButton.enabled and "Finished" in ui.statusLabel.text
    assert "2 test patients with a lesion" in ui.statusLabel.text
    assert [ui.armsTable.item(row, 2).text() for row in range(2)] == ["tested", "tested"]
    rows = {row["arm"]: row for row in rows_of(node.experimentTable)}
    assert set(rows) == {"real_4", "made"} and rows["made"]["trained_on"] == "4 made"
    assert rows["real_4"]["notes"] == "The baseline." and ui.resultsTable.rowCount == 2
    assert "Holm" in ui.resultsTable.horizontalHeaderItem(3).toolTip()
    assert node.experimentTable.GetAttribute("SyntheticCT.Experiment") == str(run)

    window.statistics.update()
    window.statistics.ui.takeExperimentButton.click()
    assert node.statisticsScores == str(run / "scores.csv") and node.statisticsBaseline == "real_4"

    slicer.util.saveScene(str(tmp_path / "Szene.mrb"))
    slicer_host.close_scene()
    assert section.run is None and not ui.resultsTabs.visible
    slicer.util.loadScene(str(tmp_path / "Szene.mrb"))
    slicer_host.wait_until(lambda: window.parameters() is not None and ui.resultsTabs.visible)
    assert section.run.state == "done" and ui.resultsTable.rowCount == 2
    assert len(slicer.util.getNodesByClass("vtkMRMLTableNode")) == 1  # the same is not put there again
    assert not slicer_host.errors
    (run / "report.html").unlink()
    ui.openReportButton.click()
    assert "no longer there" in ui.statusLabel.text


def test_paused_found_again_and_ended_at_once(slicer_host, window, recipe, tmp_path):
    from synthct.scene.segmentation.experiment_run import ExperimentRun

    section, ui, node = window.experiment, window.experiment.ui, window.parameters()
    write_recipe(tmp_path, training=LONG)
    ui.recipePathEdit.currentPath = str(recipe)
    ui.runPathEdit.currentPath = str(tmp_path / "run")
    ui.startButton.click()
    slicer_host.wait_until(lambda: section.poll() or (section.run.arms and section.run.arms[0].at_work), 120)
    assert ui.armsTable.item(0, 2).text() == "is trained" and ui.pauseButton.enabled
    slicer_host.close_scene()  # the experiment goes on
    assert section.run is None
    found = ExperimentRun(tmp_path / "run")
    assert found.active
    node = window.parameters()
    node.experimentRun = str(tmp_path / "run")
    assert section.run is not None and section.run.active and not ui.runPathEdit.enabled
    slicer_host.wait_until(lambda: list((tmp_path / "run/arms").rglob("events.jsonl")), 60)
    ui.pauseButton.click()
    assert ui.pauseButton.text == "End at once" or section.run.state == "paused"
    wait_for(slicer_host, section, "paused")
    assert "0 of 2 arms are tested" in ui.statusLabel.text and ui.startButton.text == "Resume"
    ui.startButton.click()
    slicer_host.wait_until(lambda: section.poll() or section.run.arms[0].at_work, 120)
    section.run.pause()
    section.run.pause()  # at once
    wait_for(slicer_host, section, "paused")
    assert ui.startButton.enabled and "without a result" not in ui.statusLabel.text
    assert not slicer_host.errors


def test_a_recipe_that_cannot_be_and_a_folder_that_is_taken(slicer_host, window, recipe, tmp_path):
    section, ui = window.experiment, window.experiment.ui
    ui.recipePathEdit.currentPath = str(recipe)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("mine")
    ui.runPathEdit.currentPath = str(tmp_path / "full")
    ui.startButton.click()
    wait_for(slicer_host, section, "failed")
    assert "not empty" in ui.statusLabel.text and ui.startButton.text == "Start"
    assert ui.recipePathEdit.visible  # nothing has begun: all can be chosen still
    ui.runPathEdit.currentPath = str(tmp_path / "new")
    ui.keysEdit.text = "folds"
    ui.startButton.click()
    assert "KEY=VALUE" in ui.statusLabel.text and not (tmp_path / "new").exists()


def test_one_that_a_shell_began_goes_on_by_its_own_recipe(slicer_host, window, recipe, tmp_path):
    section, ui, run = window.experiment, window.experiment.ui, tmp_path / "else/where"
    words = ["experiment", "--recipe", str(recipe), "--run", str(run), "--dry-run", "--seed", "7"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "synthct", *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ui.runPathEdit.currentPath = str(run)
    assert ui.startButton.text == "Resume" and ui.startButton.enabled and not ui.recipePathEdit.visible
    ui.checkButton.click()
    slicer_host.wait_until(lambda: section.poll() or not section.run.active, 120)
    assert section.run.state == "checked" and section.run.options["recipe"] == str(run / "recipe.yaml")
    assert not slicer_host.errors


def test_recipes_that_come_along_know_their_sets():
    if "slicer" not in sys.modules:
        pytest.importorskip("slicer")
    from synthct.scene.segmentation.recipes import packaged, sets_of

    assert {sets_of(name).synthetic for name in packaged()} == {"synthetic", "generated"}
    assert all(sets_of(name).real == "real" for name in packaged())
    assert sets_of("/nowhere.yaml").real is None
