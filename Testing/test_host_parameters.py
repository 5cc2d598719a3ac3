"""The host's ``parameterNodeWrapper``: typed, kept in the scene, connected to widgets."""

import enum
from pathlib import Path
from typing import Annotated, Union

import pytest

pytestmark = pytest.mark.usefixtures("slicer_host")


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


def make_wrapper():
    import slicer
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Wrapper:
        volume: slicer.vtkMRMLScalarVolumeNode
        name: str
        planes: Annotated[str, Choice(["axial", "coronal"])] = "axial"
        count: Annotated[int, WithinRange(1, 9)] = 3
        weight: Annotated[float, WithinRange(0.0, 1.0), Default(0.5)]
        flag: bool = True
        folder: Path
        colour: Colour = Colour.GREEN

    return Wrapper


def make_node(name="Host"):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    return type(f"{name}Logic", (ScriptedLoadableModuleLogic,), {})().getParameterNode()


def test_defaults_and_types():
    parameters = make_wrapper()(make_node())
    assert (parameters.volume, parameters.name, parameters.planes) == (None, "", "axial")
    assert (parameters.count, parameters.weight, parameters.flag) == (3, 0.5, True)
    assert (parameters.folder, parameters.colour) == (Path(), Colour.GREEN)
    with pytest.raises(ValueError):
        parameters.count = 10
    with pytest.raises(ValueError):
        parameters.planes = "oblique"
    with pytest.raises(TypeError):
        parameters.name = 5
    with pytest.raises(ValueError):
        parameters.name = None
    assert parameters.count == 3


def test_reserved_and_unknown_types():
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(ValueError, match="reserved"):
        parameterNodeWrapper(type("A", (), {"__annotations__": {"connectGui": str}}))
    with pytest.raises(TypeError, match="does not imitate"):
        parameterNodeWrapper(type("B", (), {"__annotations__": {"numbers": list[int]}}))


def test_kept_in_the_scene(slicer_host, tmp_path):
    import slicer

    wrapper = make_wrapper()
    parameters = wrapper(make_node())
    parameters.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "head")
    parameters.count, parameters.colour, parameters.flag, parameters.name = 7, Colour.RED, False, "ä b"
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer_host.close_scene()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    again = wrapper(make_node())
    assert again.volume.GetName() == "head"
    assert (again.count, again.colour, again.flag, again.name) == (7, Colour.RED, False, "ä b")


def test_values_are_read_when_the_node_says_that_it_changed():
    node = make_node()
    first, second = (make_wrapper()(node) for _ in range(2))
    first.count = 7
    assert second.count == 7
    was = node.GetDisableModifiedEvent()
    node.SetDisableModifiedEvent(True)
    first.count = 8
    node.SetDisableModifiedEvent(was)
    assert (first.count, second.count) == (8, 7)
    node.Modified()
    assert second.count == 8


def test_a_removed_node_is_none():
    import slicer

    parameters = make_wrapper()(make_node())
    parameters.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.mrmlScene.RemoveNode(parameters.volume)
    assert parameters.volume is None


def make_union(*types):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    return parameterNodeWrapper(type("Union", (), {"__annotations__": {"labels": Union[types]}}))  # noqa: UP007


def test_several_types_need_none_among_them(tmp_path):
    import slicer

    types = (slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLLabelMapVolumeNode)
    with pytest.raises(TypeError, match="None"):
        make_union(*types)(make_node())
    parameters = make_union(*types, None)(make_node())
    assert parameters.labels is None
    for kind in ("vtkMRMLLabelMapVolumeNode", "vtkMRMLSegmentationNode"):
        parameters.labels = slicer.mrmlScene.AddNewNodeByClass(kind)
        assert parameters.labels.GetClassName() == kind
    with pytest.raises(TypeError):
        parameters.labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.mrmlScene.RemoveNode(parameters.labels)
    assert parameters.labels is None
    selector = slicer.qMRMLNodeComboBox()
    selector.setMRMLScene(slicer.mrmlScene)
    parameters.connectParametersToGui({"labels": selector})
    assert selector.nodeTypes == ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode")


def make_gui():
    import qt
    import slicer

    gui = type("Gui", (), {})()
    gui.volume, gui.name, gui.planes = slicer.qMRMLNodeComboBox(), qt.QLineEdit(), qt.QComboBox()
    gui.count, gui.weight, gui.flag, gui.colour = qt.QSpinBox(), qt.QDoubleSpinBox(), qt.QCheckBox(), qt.QComboBox()
    gui.other = qt.QLabel()
    for name, widget in vars(gui).items():
        if name != "other":
            widget.setProperty("SlicerParameterName", name)
    gui.volume.setMRMLScene(slicer.mrmlScene)
    return gui


def test_widgets_both_ways(slicer_host):
    import slicer

    from synthct.scene.parameter_widgets import connect_widgets

    parameters, gui = make_wrapper()(make_node()), make_gui()
    parameters.count = 4
    tag = connect_widgets(parameters, gui)
    assert (gui.count.value, gui.count.maximum, gui.flag.checked) == (4, 9, True)
    assert gui.volume.nodeTypes == ("vtkMRMLScalarVolumeNode",) and gui.planes.count == 2
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "head")
    gui.volume.setCurrentNode(node)
    gui.name.text = "typed"
    gui.planes.setCurrentIndex(1)
    gui.count.value = 8
    gui.weight.setValue(0.25)
    gui.flag.click()
    gui.colour.currentIndex = 0
    assert parameters.volume is node
    assert (parameters.name, parameters.planes, parameters.count) == ("typed", "coronal", 8)
    assert (parameters.weight, parameters.flag, parameters.colour) == (0.25, False, Colour.RED)
    parameters.name, parameters.volume = "written", None
    assert gui.name.text == "written" and gui.volume.currentNode() is None
    parameters.disconnectGui(tag)
    gui.name.text = "alone"
    parameters.count = 2
    assert parameters.name == "written" and gui.count.value == 8 and slicer_host.errors == []


def test_one_event_per_change(slicer_host):
    import slicer
    import vtk

    parameters, got = make_wrapper()(make_node()), []
    assert parameters.connectGui(make_gui()) is None  # as before Slicer 5.10
    tag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: got.append(event))
    with slicer.util.NodeModify(parameters):
        parameters.name, parameters.count = "b", 5
        assert got == []
    assert len(got) == 1
    parameters.name = "b"
    assert len(got) == 1
    parameters.RemoveObserver(tag)


def test_widgets_that_slicer_cannot_connect():
    import qt

    parameters = make_wrapper()(make_node())
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        parameters.connectParametersToGui({"flag": qt.QSpinBox()})
    with pytest.raises(RuntimeError, match="Choice"):
        parameters.connectParametersToGui({"name": qt.QComboBox()})
    with pytest.raises(ValueError, match="Cannot find"):
        parameters.connectParametersToGui({"nothing": qt.QLineEdit()})
