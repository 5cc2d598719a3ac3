"""The shared section Training inside LabelToCT: its cases are label maps with CTs, its recipes make CTs of them."""

import json
from pathlib import Path

import pytest
import yaml
from chests import chest_arrays, on_grid
from dataset_parts import write_chests

ROOT = Path(__file__).parents[1]


@pytest.fixture
def window(slicer_host):
    import slicer

    slicer_host.open_module(ROOT / "LabelToCT/LabelToCT.py").onReload()
    widget = slicer.util.getModuleWidget("LabelToCT")
    slicer_host.show("LabelToCT")
    widget.synthesis.devices.close()
    widget.synthesis.devices.device = "cpu"
    widget.ui.trainingButton.collapsed = False
    yield widget
    section = slicer.util.getModuleWidget("LabelToCT").training
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


def test_only_recipes_for_label_maps_are_listed(slicer_host, window):
    combo = window.training.recipe.ui.presetComboBox
    names = [combo.itemData(number) for number in range(combo.count)]
    assert names[0] == "synthct-labels-unet" and "synthct-labels-pix2pix" in names and "own" in names
    assert not {"synthct-unet", "umea-unet-regression"} & set(names) and not slicer_host.errors


def test_a_training_on_label_maps_gives_the_model_of_step_3(slicer_host, window, tmp_path):
    section = window.training
    write_chests(tmp_path / "cases", 3)
    (tmp_path / "cases/cohort.json").unlink()
    find(slicer_host, section, tmp_path / "cases")
    table = section.cases.ui.casesTable
    assert table.rowCount == 3 and "3 of 3 cases" in section.cases.ui.casesLabel.text
    assert table.horizontalHeaderItem(1).text() == "Label map and CT"
    from synthct.recipe import load_recipe

    recipe = load_recipe("synthct-labels-unet").to_dict()
    recipe["networks"]["generator"]["width"] = "4-8"
    recipe["preparation"] |= {"spacing": None, "remove_couch": False}
    recipe["data"] |= {"size": [32, 32], "neighbours": 0}
    recipe["training"] |= {"steps": 4, "steps_per_epoch": 4, "batch": 2, "ema": None}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    combo = section.recipe.ui.presetComboBox
    combo.setCurrentIndex(combo.findData("own"))
    section.recipe.ui.recipePathEdit.currentPath = str(tmp_path / "recipe.yaml")
    section.ui.runPathEdit.currentPath = str(tmp_path / "run")
    assert section.ui.startButton.enabled, section.ui.startButton.toolTip
    section.ui.startButton.click()
    assert section.run is not None and not slicer_host.dialogs, slicer_host.dialogs
    slicer_host.wait_until(lambda: not section.run.active, 180)
    assert section.run.state == "done", (section.run.state, section.run.error)
    section.ui.useModelButton.click()
    assert window.synthesis.models.path == str(tmp_path / "run/model")
    assert window.synthesis.models.card["task"] == "label-to-ct" and not slicer_host.errors


def test_a_recipe_for_mrs_is_refused(slicer_host, window, tmp_path):
    from synthct.recipe import load_recipe

    (tmp_path / "mr.yaml").write_text(yaml.safe_dump(load_recipe("synthct-unet").to_dict()), encoding="utf-8")
    section = window.training
    combo = section.recipe.ui.presetComboBox
    combo.setCurrentIndex(combo.findData("own"))
    section.recipe.ui.recipePathEdit.currentPath = str(tmp_path / "mr.yaml")
    assert "not for label-to-ct" in section.recipe.ui.sourceTextLabel.text and section.recipe.lacking


def test_pairs_of_the_scene_are_label_maps_with_cts(slicer_host, window, tmp_path):
    from synthct.scene.nodes import node_from_image

    hu, labels = chest_arrays()
    label_node = node_from_image(on_grid(labels), "Lunge", label=True)
    ct_node = node_from_image(on_grid(hu), "CT")
    cases = window.training.cases
    cases.ui.sourceComboBox.setCurrentIndex(2)
    assert cases.ui.mrLabel.text == "Label map:"
    cases.ui.mrSelector.setCurrentNode(ct_node)  # a CT is no label map
    assert cases.ui.mrSelector.currentNode() is None
    cases.ui.mrSelector.setCurrentNode(label_node)
    cases.ui.ctSelector.setCurrentNode(ct_node)
    cases.ui.pairsPathEdit.currentPath = str(tmp_path)
    cases.ui.findButton.click()
    slicer_host.wait_until(lambda: cases.ui.findButton.text == "Add pair", 60)
    assert cases.ui.casesTable.rowCount == 1 and not cases.lacking, cases.ui.casesLabel.text
    entry = json.loads((tmp_path / "pairs.json").read_text())["cases"][0]
    assert entry == {"id": "Lunge", "labels": "Lunge_labels.nrrd", "ct": "Lunge_CT.nrrd"}
    assert not slicer_host.errors
