"""Step 3 of LabelToCT in the embedded Slicer: a label map becomes a CT by a real worker, and edits are followed."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from chests import chest_arrays, on_grid

ROOT = Path(__file__).parents[1]
OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from synthct.scene.selftest import make_model

    return make_model(tmp_path_factory.mktemp("Modelle") / "winzig ß", labels=True)


@pytest.fixture
def window(slicer_host):
    widget = slicer_host.open_module(ROOT / "LabelToCT/LabelToCT.py")
    widget.synthesis.devices.close()
    widget.synthesis.models.path = ""  # first: the window hands the model that it shows to every new scene
    widget.setParameterNode(None)
    widget.initializeParameterNode()
    widget.synthesis.devices.device = "cpu"
    widget.ui.synthesiseButton.collapsed = False
    yield widget
    section = widget.synthesis
    section.cancel()
    slicer_host.wait_until(lambda: section.translation is None)
    section._views.back()


def add_labels(name="Chest", shape=(24, 48, 60), direction=OBLIQUE):
    from synthct.scene.nodes import node_from_image

    return node_from_image(on_grid(chest_arrays(shape)[1], direction=direction), name, label=True)


def plant(node, centre=(12, 24, 18), half=2):
    """Write a cube of the class "nodule" into a label map and say so, as an accepted nodule does."""
    import slicer

    array = slicer.util.arrayFromVolume(node)
    array[tuple(slice(c - half, c + half + 1) for c in centre)] = 5
    slicer.util.arrayFromVolumeModified(node)


def voxels(node):
    import slicer

    return slicer.util.arrayFromVolume(node).copy()


def choose(window, node, model, output=None):
    ui = window.synthesis.ui
    ui.labelMapSelector.setCurrentNode(node)
    ui.outputSelector.setCurrentNode(output)
    ui.modelPathEdit.currentPath = str(model)


def finish(slicer_host, window, seconds=120):
    slicer_host.wait_until(lambda: window.synthesis.translation is None, seconds)
    assert not slicer_host.errors


def apply_and_wait(slicer_host, window):
    window.synthesis.ui.applyButton.click()
    assert window.synthesis.translation is not None
    finish(slicer_host, window)
    return window.synthesis.ui.outputSelector.currentNode()


def wait_for_edit(slicer_host, window):
    """Wait until an edit was taken up and its job has ended."""
    slicer_host.wait_until(lambda: window.synthesis.translation is not None, 10)
    finish(slicer_host, window)


def test_a_label_map_becomes_a_ct_in_its_place(slicer_host, window, model):
    import slicer

    from synthct.scene.nodes import image_from_node

    section = window.synthesis
    assert not section.ui.applyButton.enabled and "label map" in section.ui.applyButton.toolTip
    node = add_labels("Lunge ä")
    section.ui.labelMapSelector.setCurrentNode(node)
    assert "model" in section.ui.applyButton.toolTip
    section.ui.modelPathEdit.currentPath = str(model)
    assert "Self-test" in section.ui.modelCardLabel.text and not section.ui.everyPlaneCheckBox.enabled
    section.ui.applyButton.click()
    assert section.ui.applyButton.text == "Cancel" and section.ui.progressBar.visible
    finish(slicer_host, window)
    ct = slicer.util.getNode("Lunge ä sCT")
    assert section.ui.outputSelector.currentNode() is ct and section.ui.applyButton.text == "Apply"
    made, labels = image_from_node(ct), image_from_node(node)
    assert made.GetSize() == labels.GetSize() and made.GetPixelID() == sitk.sitkInt16
    for corner in [(0, 0, 0), (59, 0, 23), (59, 47, 23)]:
        places = [image.TransformIndexToPhysicalPoint(corner) for image in (made, labels)]
        assert np.abs(np.subtract(*places)).max() < 1e-3
    assert (voxels(ct)[voxels(node) == 6] == -1000).all() and len(np.unique(voxels(ct))) > 10
    display = ct.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (1500, -500)  # lung
    section.ui.windowComboBox.setCurrentText("Bone")
    section._on_window()  # as a choice of the user's does
    assert (display.GetWindow(), display.GetLevel()) == (1500, 300)
    assert ct.GetAttribute("SyntheticCT.Model") == "Self-test" and "Not for clinical" in ct.GetDescription()
    assert "Lunge ä sCT" in section.ui.statusLabel.text


def test_label_map_and_ct_lie_beside_each_other_in_linked_views(slicer_host, window, model):
    import slicer

    from synthct.scene.nodes import node_from_image

    layouts = slicer.vtkMRMLLayoutNode
    manager = slicer.app.layoutManager()
    logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName
    before = logic("Yellow").GetSliceNode().GetOrientation()
    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    assert manager.layout == layouts.SlicerLayoutSideBySideView
    red, yellow = (logic(name).GetSliceCompositeNode() for name in ("Red", "Yellow"))
    assert red.GetLabelVolumeID() == node.GetID() and yellow.GetBackgroundVolumeID() == ct.GetID()
    assert red.GetLinkedControl() and yellow.GetLinkedControl()
    assert {logic(name).GetSliceNode().GetOrientation() for name in ("Red", "Yellow")} == {"Axial"}
    assert logic("Red").GetSliceOffset() == logic("Yellow").GetSliceOffset()
    window.synthesis.ui.besideCheckBox.click()
    assert manager.layout == layouts.SlicerLayoutFourUpView
    assert logic("Yellow").GetSliceNode().GetOrientation() == before
    window._parameterNode.ctVolume = node_from_image(on_grid(chest_arrays()[0], direction=OBLIQUE), "CT")
    window.synthesis.ui.besideCheckBox.click()
    assert manager.layout == layouts.SlicerLayoutTwoOverTwoView
    assert red.GetBackgroundVolumeID() == slicer.util.getNode("CT").GetID() and red.GetLabelOpacity() == 0.5
    window.synthesis.close()  # as when the module is loaded anew
    assert manager.layout == layouts.SlicerLayoutFourUpView
    assert logic("Yellow").GetSliceNode().GetOrientation() == before
    window.synthesis.ui.besideCheckBox.click()
    window.synthesis.ui.besideCheckBox.click()
    assert manager.layout == layouts.SlicerLayoutTwoOverTwoView
    slicer_host.close_scene()  # the views are as they were, though a scene that closes leaves their directions alone
    assert not red.GetBackgroundVolumeID() and not red.GetLabelVolumeID()
    assert manager.layout == layouts.SlicerLayoutFourUpView
    assert logic("Yellow").GetSliceNode().GetOrientation() == before
    assert not any(logic(name).GetSliceCompositeNode().GetLinkedControl() for name in ("Red", "Yellow", "Green"))
    assert not slicer_host.errors


def test_a_planted_nodule_changes_the_ct_near_it_alone(slicer_host, window, model):
    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    before = voxels(ct)
    pid = window.synthesis.translation
    names = scene_names()
    plant(node)
    wait_for_edit(slicer_host, window)
    assert "surroundings" in window.synthesis.ui.statusLabel.text and pid is None
    assert window.synthesis.ui.outputSelector.currentNode() is ct and scene_names() == names
    changed = np.argwhere(voxels(ct) != before)
    assert len(changed) and (np.abs(changed - (12, 24, 18)) * 4 <= 24 + 8).all()
    assert (voxels(ct)[12, 24, 18] != before[12, 24, 18]).all()
    apply_and_wait(slicer_host, window)  # the whole volume: the same, but for what lies beyond the reach
    assert np.abs(voxels(ct)[11:14, 23:26, 17:20].astype(int) - voxels(ct)[11:14, 23:26, 17:20]).max() <= 1


def scene_names():
    import slicer

    scene = slicer.mrmlScene
    return sorted(scene.GetNthNode(n).GetName() for n in range(scene.GetNumberOfNodes()))


def test_an_undone_edit_brings_the_ct_back(slicer_host, window, model):
    import slicer

    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    before, labels = voxels(ct), voxels(node)
    plant(node)
    wait_for_edit(slicer_host, window)
    assert (voxels(ct) != before).any()
    slicer.util.updateVolumeFromArray(node, labels)
    wait_for_edit(slicer_host, window)
    assert np.abs(voxels(ct).astype(int) - before).max() <= 1


def test_edits_while_a_job_runs_are_made_up_for_in_one_go(slicer_host, window, model):
    node = add_labels()
    choose(window, node, model)
    window.synthesis.ui.applyButton.click()
    whole = window.synthesis.translation
    plant(node, (12, 24, 40))
    slicer_host.wait_until(lambda: window.synthesis.translation not in (None, whole), 120)
    assert whole.state == "done" and not window.synthesis.waiting
    finish(slicer_host, window)
    ct = whole.output_node
    before = voxels(ct)
    plant(node, (5, 24, 18))
    slicer_host.wait_until(lambda: window.synthesis.translation is not None, 10)
    first = window.synthesis.translation
    plant(node, (18, 24, 18))
    plant(node, (18, 24, 40))
    slicer_host.wait_until(lambda: window.synthesis.waiting or window.synthesis.translation is not first, 30)
    slicer_host.wait_until(lambda: window.synthesis.translation not in (None, first), 60)
    second = window.synthesis.translation
    finish(slicer_host, window)
    assert window.synthesis.translation is None and second is not first and not window.synthesis.waiting
    for centre in [(5, 24, 18), (18, 24, 18), (18, 24, 40)]:
        assert voxels(ct)[centre] != before[centre]
    for _ in range(20):  # nothing is left to do
        slicer_host.process_events()
    assert window.synthesis.translation is None


def test_a_cancelled_update_is_made_up_for_by_the_next(slicer_host, window, model):
    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    before = voxels(ct)
    plant(node, (5, 24, 18))
    slicer_host.wait_until(lambda: window.synthesis.translation is not None, 10)
    job = window.synthesis.translation.job
    window.synthesis.ui.applyButton.click()
    finish(slicer_host, window)
    assert not psutil.pid_exists(job.pid) or psutil.Process(job.pid).status() == psutil.STATUS_ZOMBIE
    assert (voxels(ct) == before).all() and "Cancelled" in window.synthesis.ui.statusLabel.text
    plant(node, (18, 24, 40))
    wait_for_edit(slicer_host, window)
    assert voxels(ct)[5, 24, 18] != before[5, 24, 18] and voxels(ct)[18, 24, 40] != before[18, 24, 40]


def test_an_edit_goes_into_its_own_ct(slicer_host, window, model):
    """The user has chosen another output meanwhile: that one is not overwritten by an edit."""
    from synthct.scene.nodes import node_from_image

    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    mine = node_from_image(on_grid(np.full((24, 48, 60), 7, np.int16)), "Mine")
    window.synthesis.ui.outputSelector.setCurrentNode(mine)
    plant(node)
    wait_for_edit(slicer_host, window)
    assert (voxels(mine) == 7).all() and window.synthesis.ui.outputSelector.currentNode() is ct


def test_without_the_tick_nothing_follows_until_it_is_set(slicer_host, window, model):
    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    before = voxels(ct)
    window.synthesis.ui.onlyChangedCheckBox.click()
    plant(node)
    window.synthesis.follow()
    assert window.synthesis.translation is None and (voxels(ct) == before).all()
    window.synthesis.ui.onlyChangedCheckBox.click()
    wait_for_edit(slicer_host, window)
    assert (voxels(ct) != before).any()


@pytest.mark.parametrize("kind", ["unknown value", "single slice", "one class", "empty", "not integer"])
def test_bad_label_maps_are_named_and_change_nothing(slicer_host, window, model, kind):
    import slicer

    from synthct.scene.nodes import node_from_image

    array = chest_arrays((6, 20, 24))[1].astype(np.float32 if kind == "not integer" else np.int16)
    array[2, 3, 4] = {"unknown value": 9, "not integer": 1.5}.get(kind, 1)
    array = array[:1] if kind == "single slice" else array * 0 + 3 if kind == "one class" else array
    if kind == "empty":
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Bad one")
    else:
        node = node_from_image(on_grid(array), "Bad one", label=True)
    choose(window, node, model)
    before = scene_names()
    slicer_host.answer("Bad one", "Ok")
    window.synthesis.ui.applyButton.click()
    assert window.synthesis.translation is None and scene_names() == before
    said = slicer_host.dialogs[-1].text
    assert "Bad one" in said and "Bad one" in window.synthesis.ui.statusLabel.text
    assert {"unknown value": "the value 9", "not integer": "the value 1.5"}.get(kind, "") in said
    assert not slicer_host.errors


def test_an_edit_with_an_unknown_value_is_said_and_the_ct_stays(slicer_host, window, model):
    import slicer

    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    before = voxels(ct)
    slicer.util.arrayFromVolume(node)[12, 24, 18] = 9
    slicer.util.arrayFromVolumeModified(node)
    slicer_host.wait_until(lambda: "the value 9" in window.synthesis.ui.statusLabel.text, 10)
    assert window.synthesis.translation is None and (voxels(ct) == before).all()
    assert not slicer_host.dialogs and not slicer_host.errors


def test_a_label_map_on_another_grid_is_not_followed(slicer_host, window, model):
    from synthct.scene.nodes import update_node_from_image

    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    before = voxels(ct)
    update_node_from_image(node, on_grid(chest_arrays((20, 40, 50))[1]))
    slicer_host.wait_until(lambda: "another grid" in window.synthesis.ui.statusLabel.text, 10)
    assert (voxels(ct) == before).all()
    apply_and_wait(slicer_host, window)
    assert voxels(ct).shape == (20, 40, 50)


def test_models_that_take_no_label_map_are_refused_and_not_listed(slicer_host, window, model, tmp_path, monkeypatch):
    installed = tmp_path / "installed"
    shutil.copytree(model, installed / "of labels")
    shutil.copytree(model, installed / "of an MR")
    card = json.loads((model / "model.json").read_text())
    scaling = {"name": "mr-percentile", "low": 0.5, "high": 99.5}
    changed = {"task": "mr-to-ct", "input": "MR", "in_channels": 1, "input_scaling": scaling}
    (installed / "of an MR/model.json").write_text(json.dumps(card | changed))
    (installed / "damaged").mkdir()
    monkeypatch.setenv("SYNTHCT_MODELS", str(installed))
    section = window.synthesis
    section.models.offer_installed()
    box = section.ui.modelPathEdit.comboBox()
    listed = [Path(box.itemText(n)).name for n in range(box.count)]
    assert "of labels" in listed and "of an MR" not in listed and "damaged" not in listed
    choose(window, add_labels(), installed / "of an MR")
    assert "makes no CT of a label map" in section.ui.modelCardLabel.text and not section.ui.applyButton.enabled


def test_a_model_of_other_weights_asks_for_the_whole_volume(slicer_host, window, model, tmp_path):
    other = shutil.copytree(model, tmp_path / "other")
    card = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps(card | {"planes": ["axial", "coronal"]}))
    node = add_labels()
    choose(window, node, model)
    apply_and_wait(slicer_host, window)
    section = window.synthesis
    section.ui.modelPathEdit.currentPath = str(other)
    section.ui.everyPlaneCheckBox.click()
    plant(node)
    slicer_host.wait_until(lambda: "after Apply" in section.ui.statusLabel.text, 10)
    assert section.translation is None
    apply_and_wait(slicer_host, window)
    assert section._way.planes == ("axial", "coronal")


def test_nodes_removed_meanwhile_are_not_missed(slicer_host, window, model):
    import slicer

    node = add_labels()
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    choose(window, node, model, output)
    window.synthesis.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(output)
    slicer.mrmlScene.RemoveNode(node)
    finish(slicer_host, window)
    assert "Chest sCT" in scene_names() and not slicer_host.errors


def test_closing_the_scene_ends_the_job_and_leaves_no_file(slicer_host, window, model):
    node = add_labels()
    choose(window, node, model)
    apply_and_wait(slicer_host, window)
    plant(node)
    slicer_host.wait_until(lambda: window.synthesis.translation is not None, 10)
    job = window.synthesis.translation.job
    slicer_host.close_scene()
    empty = scene_names()
    finish(slicer_host, window)
    assert job.state == "cancelled" and scene_names() == empty and not window.synthesis.ui.statusLabel.text
    assert not list(window.logic.session.worker.folder.rglob("*.nrrd"))
    choose(window, add_labels("After"), model)
    apply_and_wait(slicer_host, window)
    assert "After sCT" in scene_names()


def test_the_job_goes_on_while_another_module_is_shown(slicer_host, window, model):
    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    before = voxels(ct)
    window.exit()
    plant(node)
    wait_for_edit(slicer_host, window)
    assert (voxels(ct) != before).any()
    window.enter()
    window.synthesis.devices.close()
    assert window.synthesis.ui.outputSelector.currentNode() is ct


def test_a_second_window_has_a_worker_and_files_of_its_own(slicer_host, window, model):
    """Another Slicer, or the module loaded anew, works beside the first: closing it takes nothing from the first."""
    from synthct.scene.session import Session
    from synthct.scene.translation import Request, Translation

    node = add_labels()
    choose(window, node, model)
    ct = apply_and_wait(slicer_host, window)
    before = voxels(ct)
    second = Session()
    request = Request(add_labels("Second"), Path(model), device="cpu", body_mask=None, classes=7)
    translation = Translation(request, second)
    assert second.worker.folder != window.logic.session.worker.folder
    slicer_host.wait_until(lambda: translation.poll() or translation.finished, 120)
    assert translation.error is None and translation.kept.ct.is_file()
    second.close()
    assert not translation.kept.ct.exists()
    plant(node)
    wait_for_edit(slicer_host, window)
    assert (voxels(ct) != before).any() and not slicer_host.errors


def test_choices_are_saved_with_the_scene(slicer_host, window, model):
    import slicer

    from synthct.scene.nodes import update_node_from_image

    node = add_labels("Gespeichert")
    choose(window, node, model)
    ui = window.synthesis.ui
    ui.onlyChangedCheckBox.click()
    ui.besideCheckBox.click()
    ct = apply_and_wait(slicer_host, window)
    scene = slicer.mrmlScene
    scene.SetSaveToXMLString(1)
    scene.Commit()
    saved = scene.GetSceneXMLString()
    assert ct.GetName() == "Gespeichert sCT"
    slicer_host.close_scene()
    window.synthesis.models.path = ""
    assert ui.onlyChangedCheckBox.checked and ui.besideCheckBox.checked
    scene.Clear(0)
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(saved)
    scene.Import()
    scene.SetLoadFromXMLString(0)
    scene.SetSaveToXMLString(0)
    window.initializeParameterNode()
    assert not ui.onlyChangedCheckBox.checked and not ui.besideCheckBox.checked
    assert window.synthesis.models.path == str(model) and window.synthesis.devices.device == "cpu"
    assert ui.labelMapSelector.currentNode().GetName() == "Gespeichert"
    assert ui.outputSelector.currentNode().GetName() == "Gespeichert sCT"
    ui.onlyChangedCheckBox.click()
    # A label map without voxels was loaded: what its CT was made of is not known, which is said at the first edit.
    update_node_from_image(ui.labelMapSelector.currentNode(), on_grid(chest_arrays()[1]))
    slicer_host.wait_until(lambda: "not known" in ui.statusLabel.text, 10)
    assert window.synthesis.translation is None
    assert not slicer_host.errors


def reloaded(slicer_host, window, path):
    """Save, close and load the scene."""
    import slicer

    assert slicer.util.saveScene(str(path))
    slicer_host.close_scene()
    slicer.util.loadScene(str(path))
    slicer_host.wait_until(lambda: window._parameterNode is not None and window._parameterNode.labelMap, 10)
    return window._parameterNode.labelMap, window._parameterNode.syntheticCT


def test_edits_are_followed_after_the_scene_was_loaded_again(slicer_host, window, model, tmp_path):
    node = add_labels()
    choose(window, node, model)
    apply_and_wait(slicer_host, window)
    node, ct = reloaded(slicer_host, window, tmp_path / "mit ä.mrb")
    before = voxels(ct)
    plant(node)
    wait_for_edit(slicer_host, window)
    assert "Only the surroundings" in window.synthesis.ui.statusLabel.text
    changed = np.argwhere(voxels(ct) != before)
    assert len(changed) and (np.abs(changed - (12, 24, 18)).max(axis=0) < (12, 24, 40)).all()
    window.synthesis.ui.onlyChangedCheckBox.click()
    plant(node, (12, 24, 41))  # not followed before the scene is saved: the CT is not that of the label map
    node, ct = reloaded(slicer_host, window, tmp_path / "behind.mrb")
    window.synthesis.ui.onlyChangedCheckBox.click()
    plant(node, (6, 24, 41))
    slicer_host.wait_until(lambda: "not known" in window.synthesis.ui.statusLabel.text, 10)
    assert window.synthesis.translation is None and "after Apply" in window.synthesis.ui.statusLabel.text
    assert not list(window.logic.session.worker.folder.rglob("*.nrrd")) and not slicer_host.errors


def test_edits_of_the_first_label_map_are_followed_after_a_second(slicer_host, window, model):
    first, second = add_labels("First"), add_labels("Second")
    choose(window, first, model)
    ct = apply_and_wait(slicer_host, window)
    choose(window, second, model)
    other = apply_and_wait(slicer_host, window)
    choose(window, first, model, ct)
    before = voxels(ct), voxels(other)
    plant(first)
    wait_for_edit(slicer_host, window)
    assert (voxels(ct) != before[0]).any() and (voxels(other) == before[1]).all() and not slicer_host.errors


def test_self_test_of_the_module(slicer_host, window, model, monkeypatch):
    import slicer

    from synthct.scene import label_selftest

    # It would be made by the same function as this file's model, in one more process.
    monkeypatch.setattr(label_selftest, "make_model", lambda folder, labels: shutil.copytree(model, folder))
    slicer.selfTests["LabelToCT"]()
    assert not slicer_host.errors


FLOW = """
import sys
import slicer
sys.path.insert(0, "{testing}")
import host
running = host.start()
window = running.open_module("{root}/LabelToCT/LabelToCT.py")
from chests import chest_arrays, on_grid
from synthct.scene.nodes import node_from_image
node = node_from_image(on_grid(chest_arrays()[1]), "Chest", label=True)
section = window.synthesis
section.ui.labelMapSelector.setCurrentNode(node)
section.ui.modelPathEdit.currentPath = sys.argv[1]
section.ui.applyButton.click()
running.wait_until(lambda: section.translation is None, 120)
slicer.util.arrayFromVolume(node)[12, 24, 18] = 5
slicer.util.arrayFromVolumeModified(node)
running.wait_until(lambda: section.translation is not None, 20)
running.wait_until(lambda: section.translation is None, 120)
assert slicer.util.getNode("Chest sCT") and "surroundings" in section.ui.statusLabel.text
heavy = sorted(set(sys.modules) & {{"torch", "monai", "lightning", "lightning_fabric"}})
slicer.util.exit(0)
assert not heavy, heavy
"""


def test_slicer_itself_imports_no_torch(slicer_host, model, tmp_path):
    script = tmp_path / "flow.py"
    script.write_text(FLOW.format(testing=ROOT / "Testing", root=ROOT))
    command = [sys.executable, "-m", "host", "--python-script", str(script), str(model)]
    done = subprocess.run(command, cwd=ROOT / "Testing", capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_batch_script_plants_and_synthesises_a_folder(slicer_host, model, tmp_path, capsys):
    from labeltoct_scene import make_library

    source, target = tmp_path / "Fälle", tmp_path / "gepflanzt"
    source.mkdir()
    hu, labels = chest_arrays()
    sitk.WriteImage(on_grid(labels), str(source / "p1_labels.nii.gz"))
    sitk.WriteImage(on_grid(hu), str(source / "p2_CT.nii.gz"))
    (source / "p3.nii.gz").write_bytes(b"not an image")
    words = [str(model), str(make_library(tmp_path / "library")), str(source), str(target), "--device", "cpu"]
    script = ROOT / "Testing/batch/label_folder_to_ct.py"
    command = [sys.executable, "-m", "host", "--no-main-window", "--python-script", str(script), *words]
    done = subprocess.run(command, cwd=ROOT / "Testing", capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and "p3.nii.gz: not done" in done.stderr, done.stderr
    for name in ("p1", "p2"):
        planted, mask, ct = (
            sitk.ReadImage(str(target / f"{name}_{what}.nii.gz")) for what in ("labels", "nodules", "sCT")
        )
        assert ct.GetSize() == planted.GetSize() == mask.GetSize() == (60, 48, 24)
        assert np.allclose(ct.GetOrigin(), (-7, 12, 30), atol=1e-3)
        found = sitk.GetArrayFromImage(planted) == 5
        assert found.any() and (found == (sitk.GetArrayFromImage(mask) > 0)).all()
    main = runpy.run_path(str(script))["main"]
    assert main(words) == 1 and main([str(tmp_path), *words[1:]]) == 2
    said = capsys.readouterr().err
    assert "sCT.nii.gz exists" in said or "labels.nii.gz exists" in said
    assert "holds no model" in said
