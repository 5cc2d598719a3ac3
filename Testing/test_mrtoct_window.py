"""The window of MRtoCT in the embedded Slicer: widgets are set, Apply is clicked, a real child process works."""

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

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from synthct.scene.selftest import make_model

    return make_model(tmp_path_factory.mktemp("modelle für den Test") / "tiny ß")


@pytest.fixture
def window(slicer_host):
    widget = slicer_host.open_module(ROOT / "MRtoCT/MRtoCT.py")
    widget.devices.close()
    widget.models.path = ""  # first: the window hands the model that it shows to every new scene
    widget.setParameterNode(None)
    widget.initializeParameterNode()
    widget._parameterNode.checkResult = False  # a process more for every result; test_mrtoct_clinic.py has it
    yield widget
    if widget.translation is not None:
        widget.translation.cancel()
        slicer_host.wait_until(lambda: widget.translation is None)


def add_mr(name="MR", size=(28, 24, 10), seed=0):
    from synthct.scene.nodes import node_from_image
    from synthct.scene.selftest import oblique_image

    return node_from_image(oblique_image(size, seed), name)


def node_names():
    import slicer

    return sorted(slicer.mrmlScene.GetNthNode(n).GetName() for n in range(slicer.mrmlScene.GetNumberOfNodes()))


def apply_and_wait(slicer_host, window):
    window.ui.applyButton.click()
    slicer_host.wait_until(lambda: window.translation is None, 120)
    assert not slicer_host.errors


def choose(window, node, model, output=None):
    window.ui.inputSelector.setCurrentNode(node)
    window.ui.outputSelector.setCurrentNode(output)
    window.ui.modelPathEdit.currentPath = str(model)


def test_apply_is_possible_once_everything_is_chosen(slicer_host, window, model):
    assert window.ui.applyButton.enabled is False
    assert "MR volume" in window.ui.applyButton.toolTip
    node = add_mr()
    window.ui.inputSelector.setCurrentNode(node)
    assert "model" in window.ui.applyButton.toolTip
    window.ui.modelPathEdit.currentPath = str(model)
    assert "Self-test" in window.ui.modelCardLabel.text and "Untrained" in window.ui.modelCardLabel.text
    assert window.ui.applyButton.enabled is True
    window.ui.axialCheckBox.click()
    assert window.ui.applyButton.enabled is False and "plane" in window.ui.applyButton.toolTip
    window.ui.sagittalCheckBox.click()
    assert window.ui.applyButton.enabled is True
    assert not slicer_host.errors


def test_apply_puts_a_ct_where_the_mr_is(slicer_host, window, model):
    import slicer

    from synthct.scene.nodes import image_from_node

    node = add_mr("Kopf T1 ä")
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = tree.CreateStudyItem(tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient"), "Study")
    if not tree.GetItemByDataNode(node):
        tree.CreateItem(study, node)
    tree.SetItemParent(tree.GetItemByDataNode(node), study)
    turn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Turn")
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    matrix[:3, 3] = (10, 20, 30)
    turn.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(turn.GetID())
    choose(window, node, model)
    window.ui.applyButton.click()
    assert window.ui.applyButton.text == "Cancel" and window.ui.progressBar.visible
    slicer_host.wait_until(lambda: window.translation is None, 120)
    assert not slicer_host.errors and window.ui.applyButton.text == "Apply"

    assert "like the training data is not known" in window.ui.statusLabel.text
    result = slicer.util.getNode("Kopf T1 ä sCT")
    mr, ct = image_from_node(node), image_from_node(result)
    assert ct.GetSize() == mr.GetSize() and ct.GetPixelID() == sitk.sitkInt16
    for corner in [(0, 0, 0), (27, 0, 0), (0, 23, 9), (27, 23, 9)]:
        difference = np.subtract(ct.TransformIndexToPhysicalPoint(corner), mr.TransformIndexToPhysicalPoint(corner))
        assert np.abs(difference).max() < 1e-3
    display = result.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (350, 40, 0)
    assert result.GetAttribute("SyntheticCT.Model") == "Self-test"
    assert "Not for clinical use" in result.GetAttribute("SyntheticCT.Use")
    assert tree.GetItemParent(tree.GetItemByDataNode(result)) == study
    red = slicer.app.applicationLogic().GetSliceLogicByLayoutName("Red").GetSliceCompositeNode()
    assert (red.GetBackgroundVolumeID(), red.GetForegroundVolumeID()) == (node.GetID(), result.GetID())
    assert "Kopf T1 ä sCT" in window.ui.statusLabel.text
    assert window.ui.outputSelector.currentNode() is result


def test_second_apply_uses_the_same_worker_and_keeps_the_display(slicer_host, window, model):
    import slicer

    node = add_mr()
    choose(window, node, model)
    apply_and_wait(slicer_host, window)
    result = window.ui.outputSelector.currentNode()
    result.GetDisplayNode().SetWindowLevel(1000, 200)
    slicer.util.arrayFromVolume(result)[:] = 7
    names = node_names()
    window.ui.applyButton.click()
    pid = window.translation.job.pid
    slicer_host.wait_until(lambda: window.translation is None, 60)
    assert node_names() == names
    assert not (slicer.util.arrayFromVolume(result) == 7).all()
    assert result.GetDisplayNode().GetWindow() == 1000
    other = add_mr("Other", seed=2)
    window.ui.inputSelector.setCurrentNode(other)
    assert window.ui.outputSelector.currentNode() is None  # the first patient's result is not replaced
    window.ui.applyButton.click()
    assert window.translation.job.pid == pid
    slicer_host.wait_until(lambda: window.translation is None, 60)
    assert window.ui.outputSelector.currentNode().GetName() == "Other sCT"
    assert not slicer_host.errors


@pytest.mark.parametrize("moment", ["at once", "at work"])
def test_cancel_ends_every_process_and_leaves_the_scene(slicer_host, window, model, moment):
    node = add_mr("Large", (160, 160, 120))
    choose(window, node, model)
    window.ui.coronalCheckBox.checked = True
    window.ui.sagittalCheckBox.checked = True
    before = node_names()
    window.ui.applyButton.click()
    job = window.translation.job
    if moment == "at work":
        slicer_host.wait_until(lambda: job.progress is not None and job.progress["task"] == "synthesis", 60)
    family = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
    folder = window.logic.session.worker.folder
    window.ui.applyButton.click()
    assert window.ui.applyButton.enabled is False
    slicer_host.wait_until(lambda: window.translation is None, 30)
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
    assert node_names() == before
    assert "Cancelled" in window.ui.statusLabel.text and window.ui.applyButton.text == "Apply"
    assert not list(folder.rglob("*.nrrd"))
    window.ui.coronalCheckBox.checked = False
    window.ui.sagittalCheckBox.checked = False
    choose(window, add_mr("Small"), model)
    apply_and_wait(slicer_host, window)  # and again
    assert "Small sCT" in node_names()


def make_bad(kind):
    import slicer
    import vtk

    from synthct.scene.nodes import node_from_image

    array = np.random.default_rng(0).normal(100, 20, (6, 7, 8)).astype(np.float32)
    if kind == "NaN":
        array[2, 3, 4] = np.nan
    if kind == "constant":
        array[:] = 3
    if kind == "single slice":
        array = array[:1]
    if kind == "empty":
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Bad one")
    node = node_from_image(sitk.GetImageFromArray(array), "Bad one")
    if kind == "non-linear":
        spline = vtk.vtkThinPlateSplineTransform()
        points, moved = vtk.vtkPoints(), vtk.vtkPoints()
        for corner in np.ndindex(2, 2, 2):
            points.InsertNextPoint(np.array(corner) * 9.0)
            moved.InsertNextPoint(np.array(corner) * 9.0 + 3.0 * (corner == (1, 1, 1)))
        spline.SetSourceLandmarks(points)
        spline.SetTargetLandmarks(moved)
        spline.SetBasisToR()
        bend = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Bend")
        bend.SetAndObserveTransformToParent(spline)
        node.SetAndObserveTransformNodeID(bend.GetID())
    return node


@pytest.mark.parametrize("kind", ["NaN", "constant", "single slice", "empty", "non-linear"])
def test_bad_inputs_are_named_and_change_nothing(slicer_host, window, model, kind):
    node = make_bad(kind)
    choose(window, node, model)
    before = node_names()
    slicer_host.answer("Bad one", "Ok")
    window.ui.applyButton.click()
    assert window.translation is None and node_names() == before
    assert len(slicer_host.dialogs) == 1 and "Bad one" in slicer_host.dialogs[0].text
    assert kind != "non-linear" or "Bend" in slicer_host.dialogs[0].text
    assert "Bad one" in window.ui.statusLabel.text and not slicer_host.errors


def test_input_as_output_and_label_maps_are_refused(slicer_host, window, model):
    from synthct.scene.nodes import node_from_image

    node = add_mr()
    choose(window, node, model, output=node)
    slicer_host.answer("same volume", "Ok")
    window.ui.applyButton.click()
    labels = node_from_image(sitk.Image(4, 5, 6, sitk.sitkUInt8), "Labels", label=True)
    window._parameterNode.outputVolume = None
    window._parameterNode.inputVolume = labels
    if window.ui.applyButton.enabled:
        slicer_host.answer("label map", "Ok")
        window.ui.applyButton.click()
    assert window.translation is None and not slicer_host.errors


def test_a_full_disk_is_said_and_changes_nothing(slicer_host, window, model, monkeypatch):
    from synthct.scene import translation

    def full(image, path, useCompression):
        raise RuntimeError("itk::ERROR: no space")

    choose(window, add_mr(), model)
    before = node_names()
    monkeypatch.setattr(translation.sitk, "WriteImage", full)
    slicer_host.answer("could not be handed over", "Ok")
    window.ui.applyButton.click()
    assert window.translation is None and node_names() == before and not slicer_host.errors


def test_nodes_removed_meanwhile_are_not_missed(slicer_host, window, model):
    import slicer

    node = add_mr()
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    choose(window, node, model, output)
    window.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(output)
    slicer.mrmlScene.RemoveNode(node)
    slicer_host.wait_until(lambda: window.translation is None, 60)
    assert "MR sCT" in node_names() and not slicer_host.errors


def test_two_slices_are_enough(slicer_host, window, model):
    choose(window, add_mr("Thin", (20, 22, 2)), model)
    apply_and_wait(slicer_host, window)
    assert "Thin sCT" in node_names()


def test_a_bad_model_says_what_is_wrong(slicer_host, window, model, tmp_path):
    window.ui.inputSelector.setCurrentNode(add_mr())
    (tmp_path / "pickles").mkdir()
    (tmp_path / "pickles/weights.pth").write_bytes(b"\x80\x02")
    newer = shutil.copytree(model, tmp_path / "newer")
    card = (newer / "model.json").read_text().replace('"format": 1', '"format": 99')
    (newer / "model.json").write_text(card)
    for path, words in [(tmp_path / "none", "does not exist"), (tmp_path / "pickles", "pickle"), (newer, "99")]:
        window.ui.modelPathEdit.currentPath = str(path)
        assert words in window.ui.modelCardLabel.text and window.ui.applyButton.enabled is False
    broken = shutil.copytree(model, tmp_path / "broken")
    weights = (broken / "weights.safetensors").read_bytes()
    (broken / "weights.safetensors").write_bytes(weights[:-20] + bytes(20))
    window.ui.modelPathEdit.currentPath = str(broken)
    before = node_names()
    slicer_host.answer("not those of the model card", "Ok")
    window.ui.applyButton.click()
    slicer_host.wait_until(lambda: window.translation is None, 60)
    assert "weights.safetensors" in slicer_host.dialogs[-1].text
    assert node_names() == before and not slicer_host.errors


def test_closing_the_scene_ends_the_job(slicer_host, window, model):
    choose(window, add_mr("Large", (160, 160, 120)), model)
    window.ui.applyButton.click()
    job = window.translation.job
    slicer_host.close_scene()
    empty = node_names()
    slicer_host.wait_until(lambda: window.translation is None, 30)
    assert job.state == "cancelled" and node_names() == empty
    choose(window, add_mr("After"), model)
    apply_and_wait(slicer_host, window)
    assert "After sCT" in node_names() and "After sCT" in window.ui.statusLabel.text
    slicer_host.close_scene()
    assert window.ui.statusLabel.text == ""  # it would be said of a volume that has gone


def test_a_job_may_end_while_another_module_is_shown(slicer_host, window, model):
    import slicer

    choose(window, add_mr(), model)
    window.ui.flipsCheckBox.click()
    window.ui.applyButton.click()
    frame = slicer.modules.mrtoct.widgetRepresentation()
    frame.exit()
    slicer_host.wait_until(lambda: window.translation is None, 120)
    frame.enter()
    assert window.ui.outputSelector.currentNode().GetName() == "MR sCT" and window.ui.dicomButton.enabled
    assert window.ui.uncertaintySelector.currentNode().GetName() == "MR sCT SD"
    count = len(node_names())
    apply_and_wait(slicer_host, window)
    assert len(node_names()) == count  # the same volumes again
    slicer_host.close_scene()
    choose(window, add_mr("Next"), model)
    assert window.ui.applyButton.enabled and not slicer_host.errors


def test_what_is_said_of_one_patient_is_not_shown_beside_another(slicer_host, window, model):
    mr, other = add_mr(), add_mr("Other", seed=3)
    choose(window, mr, model)
    window._parameterNode.referenceVolume = add_mr("CT")
    apply_and_wait(slicer_host, window)
    assert window.ui.scoresTable.rowCount and "MR sCT" in window.ui.statusLabel.text
    window.ui.inputSelector.setCurrentNode(other)
    assert window.ui.outputSelector.currentNode() is None and window.ui.statusLabel.text == ""
    assert not window.ui.scoresTable.visible and not window.ui.checkLabel.text


def test_temporary_files_that_the_system_cleared_are_not_missed(slicer_host, window, model):
    mr = add_mr()
    choose(window, mr, model)
    apply_and_wait(slicer_host, window)
    shutil.rmtree(window.logic.session.worker.folder)
    apply_and_wait(slicer_host, window)
    assert "in the scene" in window.ui.statusLabel.text and not slicer_host.dialogs


def test_choices_are_saved_with_the_scene(slicer_host, window, model):
    import slicer

    choose(window, add_mr(), model)
    window.ui.coronalCheckBox.checked = True
    window.ui.bodyMaskCheckBox.checked = False
    window.devices.device = "cuda:0"
    assert window._parameterNode.device == "cuda:0"
    scene = slicer.mrmlScene
    scene.SetSaveToXMLString(1)
    scene.Commit()
    saved = scene.GetSceneXMLString()
    slicer_host.close_scene()
    window.devices.device = "auto"
    window.ui.modelPathEdit.currentPath = ""
    assert window.ui.coronalCheckBox.checked is False
    scene.Clear(0)
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(saved)
    scene.Import()
    scene.SetLoadFromXMLString(0)
    scene.SetSaveToXMLString(0)
    window.initializeParameterNode()
    assert window.ui.coronalCheckBox.checked is True and window.ui.bodyMaskCheckBox.checked is False
    assert window.models.path == str(model) and window.devices.device == "cuda:0"


def test_a_plane_that_the_model_knows_is_ticked(slicer_host, window, model, tmp_path):
    coronal = shutil.copytree(model, tmp_path / "coronal")
    card = json.loads((coronal / "model.json").read_text())
    (coronal / "model.json").write_text(json.dumps(card | {"planes": ["coronal", "sagittal"]}))
    window.ui.modelPathEdit.currentPath = str(coronal)
    ticked = [window.ui.axialCheckBox.checked, window.ui.coronalCheckBox.checked, window.ui.sagittalCheckBox.checked]
    assert ticked == [False, True, False]
    window.ui.sagittalCheckBox.click()
    window.ui.modelPathEdit.currentPath = str(model)
    window.ui.modelPathEdit.currentPath = str(coronal)
    assert window.ui.coronalCheckBox.checked and not window.ui.axialCheckBox.checked


def test_a_reference_gives_scores(slicer_host, window, model):
    from synthct.scene.nodes import node_from_image
    from synthct.scene.selftest import oblique_image

    node = add_mr()
    reference = node_from_image(oblique_image() * 2 - 1000, "CT")
    choose(window, node, model)
    window.ui.referenceSelector.setCurrentNode(reference)
    apply_and_wait(slicer_host, window)
    table = window.ui.scoresTable
    scores = {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}
    assert scores["Mean absolute error"].endswith("HU") and "Dice of bone" in scores
    assert "MR sCT" in node_names() and "Mean error" in scores


def test_missing_packages_are_asked_for_at_the_first_use(slicer_host, window, model, monkeypatch):
    from synthct.scene import packages

    have = {name: least for name, least in packages.requirements().items() if name not in ("torch", "monai")}
    monkeypatch.setattr(packages, "_version", lambda name: packages._numbers(have.get(name, "0")))
    ran = []

    def run(words, **options):
        ran.append(words)
        have.update(packages.requirements())
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)
    choose(window, add_mr(), model)
    slicer_host.answer("missing packages", "Cancel")
    window.ui.applyButton.click()
    assert "torch>=2.4" in slicer_host.dialogs[0].text and "monai" in slicer_host.dialogs[0].text
    assert not slicer_host.installed and window.translation is None
    assert "Nothing was installed" in window.ui.statusLabel.text
    slicer_host.answer("missing packages", "Ok")
    window.ui.applyButton.click()
    assert ran[0][1:] == ["-m", "light_the_torch", "install", "torch>=2.4"]
    assert any(name.startswith("monai") for name in slicer_host.installed)
    assert f"numpy=={np.__version__}" in slicer_host.installed
    assert not any(name.startswith(("SimpleITK", "torch>")) for name in slicer_host.installed)
    assert window.translation is not None
    slicer_host.wait_until(lambda: window.translation is None, 60)  # ended, not cancelled: the worker stays warm
    assert "MR sCT" in node_names() and not slicer_host.errors


def test_devices_are_listed_with_the_reason_for_the_cpu(slicer_host, window):
    window.ui.refreshDevicesButton.click()
    slicer_host.wait_until(lambda: window.ui.deviceComboBox.findData("cpu") >= 0, 60)
    combo = window.ui.deviceComboBox
    texts = {combo.itemData(n): combo.itemText(n) for n in range(combo.count)}
    assert "auto" in texts and "CPU" in texts["cpu"]
    assert not slicer_host.errors


def test_models_used_before_are_remembered(slicer_host, window, model):
    choose(window, add_mr(), model)
    apply_and_wait(slicer_host, window)
    box = window.ui.modelPathEdit.comboBox()
    assert str(model) in [box.itemText(n) for n in range(box.count)]


def test_remembering_a_model_changes_nothing_else(slicer_host, window, model, tmp_path):
    both, axial = (shutil.copytree(model, tmp_path / name) for name in ("both", "axial"))
    card = json.loads((both / "model.json").read_text())
    (both / "model.json").write_text(json.dumps(card | {"planes": ["axial", "coronal"]}))
    choose(window, add_mr(), axial)
    window.models.remember()
    window.ui.modelPathEdit.currentPath = str(both)
    window.ui.coronalCheckBox.click()
    window.ui.axialCheckBox.click()
    heard = []
    window.ui.modelPathEdit.comboBox().connect("editTextChanged(QString)", heard.append)
    for _ in range(2):  # the second time it is the list's first and is taken out for a moment
        window.models.remember()
    window.models.offer_installed()
    assert heard == [] and window.models.path == window._parameterNode.model == str(both)
    assert window.ui.coronalCheckBox.checked and not window.ui.axialCheckBox.checked


def test_self_test_of_the_module(slicer_host, window, model, monkeypatch):
    import slicer

    from synthct.scene import selftest

    # It would be made by the same function as this file's model, in one more process.
    monkeypatch.setattr(selftest, "make_model", lambda folder: shutil.copytree(model, folder))
    slicer.selfTests["MRtoCT"]()
    assert not slicer_host.errors


FLOW = """
import sys, time
from pathlib import Path
import slicer
sys.path.insert(0, "{testing}")
import host
running = host.start()
window = running.open_module("{root}/MRtoCT/MRtoCT.py")
from synthct.scene.nodes import node_from_image
from synthct.scene.selftest import oblique_image
node = node_from_image(oblique_image(), "MR")
window.ui.inputSelector.setCurrentNode(node)
window.ui.modelPathEdit.currentPath = sys.argv[1]
window.ui.applyButton.click()
running.wait_until(lambda: window.translation is None, 120)
assert slicer.util.getNode("MR sCT")
heavy = sorted(set(sys.modules) & {{"torch", "monai", "lightning", "lightning_fabric", "scipy", "nibabel"}})
slicer.util.exit(0)
assert not heavy, heavy
"""


def test_slicer_itself_imports_no_torch(slicer_host, model, tmp_path):
    script = tmp_path / "flow.py"
    script.write_text(FLOW.format(testing=ROOT / "Testing", root=ROOT))
    done = run_in_host(script, str(model))
    assert done.returncode == 0, done.stderr


def test_batch_script_translates_a_folder(slicer_host, model, tmp_path, capsys):
    from synthct.scene.selftest import oblique_image

    source, target = tmp_path / "MR Bilder", tmp_path / "CT ü"
    source.mkdir()
    for number in range(2):
        sitk.WriteImage(oblique_image(seed=number), str(source / f"patient {number}.nrrd"))
    (source / "broken.nii.gz").write_bytes(b"not an image")
    script = ROOT / "Testing/batch/mr_folder_to_ct.py"
    words = [str(model), str(source), str(target)]
    done = run_in_host(script, *words, "cpu")
    assert done.returncode == 1 and "broken.nii.gz" in done.stderr, done.stderr
    for number in range(2):
        ct = sitk.ReadImage(str(target / f"patient {number}_sCT.nii.gz"))
        mr = oblique_image(seed=number)
        assert ct.GetSize() == mr.GetSize() and np.allclose(ct.GetOrigin(), mr.GetOrigin(), atol=1e-3)
    assert runpy.run_path(str(script))["main"](words) == 1
    assert capsys.readouterr().err.count("exists") == 2


def run_in_host(script, *words):
    command = [sys.executable, "-m", "host", "--no-main-window", "--python-script", str(script), *words]
    if "flow" in script.name:
        command.remove("--no-main-window")
    return subprocess.run(command, cwd=ROOT / "Testing", capture_output=True, text=True, timeout=300, check=False)
