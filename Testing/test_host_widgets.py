"""The host's qMRML and ctk widgets: the node selector follows the scene, paths have a history, .ui files load."""

import pytest

pytestmark = pytest.mark.usefixtures("slicer_host")
VOLUME = "vtkMRMLScalarVolumeNode"
CHART = "vtkMRMLPlotChartNode"


@pytest.fixture
def selector():
    import slicer

    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = [VOLUME]
    combo.setMRMLScene(slicer.mrmlScene)
    return combo


def add(name, kind=VOLUME):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(kind, name)


def inner(combo):
    import qt

    return combo.findChild(qt.QComboBox)


def choose(combo, text):
    """Pick an entry as the user does."""
    box = inner(combo)
    box.setCurrentIndex(box.findText(text))
    box.activated(box.currentIndex)


def test_values_and_methods(selector):
    node = add("a")
    assert selector.currentNode() is None and selector.nodeCount() == 1
    selector.setCurrentNode(node)
    assert selector.currentNode() is node and selector.currentNodeID == node.GetID()
    assert (selector.noneEnabled, selector.addEnabled, selector.nodeTypes) == (False, True, (VOLUME,))
    with pytest.raises(AttributeError):
        selector.setNodeTypes([VOLUME])
    with pytest.raises(AttributeError):
        selector.nodeTypez = 1


def test_signals(selector):
    got = []
    selector.noneEnabled = True
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: got.append(node))
    selector.connect("currentNodeChanged(bool)", lambda valid: got.append(valid))
    selector.currentNodeChanged.connect(lambda: got.append("changed"))
    node = add("a")
    selector.setCurrentNode(node)
    assert got == [node, "changed", True]
    selector.setCurrentNode(node)
    assert len(got) == 3
    selector.setCurrentNode(None)
    assert got[3:] == [None, "changed", False]


def test_follows_the_scene(selector, slicer_host):
    import slicer

    selector.noneEnabled = True
    first, second = add("a"), add("b")
    assert selector.nodeCount() == 2
    selector.setCurrentNode(second)
    second.SetName("renamed")
    assert inner(selector).currentText == "renamed"
    slicer.mrmlScene.RemoveNode(second)
    assert selector.currentNode() is None and inner(selector).currentText == "None"
    selector.setCurrentNode(first)
    slicer_host.close_scene()
    assert selector.currentNode() is None and selector.nodeCount() == 0


def test_without_none_the_last_node_follows_a_removed_one(selector):
    import slicer

    first, second = add("a"), add("b")
    selector.setCurrentNode(first)
    slicer.mrmlScene.RemoveNode(first)
    assert selector.currentNode() is second


def test_only_the_types_asked_for(selector):
    add("labels", "vtkMRMLLabelMapVolumeNode")
    add("t", "vtkMRMLLinearTransformNode")
    hidden = add("hidden")
    assert selector.nodeCount() == 2
    selector.showChildNodeTypes = False
    assert selector.nodeCount() == 1
    hidden.SetHideFromEditors(1)
    add("another")
    assert [selector.nodeFromIndex(index).GetName() for index in range(selector.nodeCount())] == ["another"]


def test_a_node_asked_for_before_the_scene(slicer_host):
    import slicer

    node = add("a")
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = [VOLUME]
    assert not combo.enabled
    combo.setCurrentNode(node)
    assert combo.currentNode() is None
    combo.setMRMLScene(slicer.mrmlScene)
    assert combo.currentNode() is node and combo.enabled


def test_create_rename_delete_by_the_menu(selector, slicer_host):
    import slicer

    selector.renameEnabled = True
    selector.baseName = "sCT"
    choose(selector, "Create new Volume")
    assert selector.currentNode().GetName() == "sCT"
    choose(selector, "Create new Volume")
    assert selector.currentNode().GetName() == "sCT_1"
    slicer_host.answer("Rename", "head")
    choose(selector, "Rename current Volume")
    assert selector.currentNode().GetName() == "head"
    choose(selector, "Delete current Volume")
    assert selector.nodeCount() == 1 and slicer_host.errors == []
    assert slicer.mrmlScene.GetFirstNodeByName("head") is None


def test_path_line_edit(slicer_host, tmp_path):
    import ctk

    got, valid, texts = [], [], []
    edit = ctk.ctkPathLineEdit()
    edit.connect("currentPathChanged(QString)", got.append)
    edit.validInputChanged.connect(valid.append)
    edit.comboBox().connect("editTextChanged(QString)", texts.append)
    edit.settingKey = "Models"
    edit.currentPath = str(tmp_path)
    assert got == [str(tmp_path)] and edit.currentPath == str(tmp_path)
    edit.addCurrentPathToHistory()
    edit.setCurrentPath("/nowhere/at/all")
    assert got[-1] == "/nowhere/at/all" and valid == [True]  # whether it exists is not looked at
    edit.setCurrentPath("")
    assert got[-1] == "/nowhere/at/all" and valid == [True, False] and texts[-1] == ""
    edit.nameFilters = ["Tables (*.csv)"]
    edit.setCurrentPath("/a/table.txt")
    assert got[-1] == "/nowhere/at/all" and valid[-1] is False and texts[-1] == "/a/table.txt"
    edit.setCurrentPath("/a/table.csv")
    assert got[-1] == "/a/table.csv" and valid[-1] is True
    edit.nameFilters = []
    other = ctk.ctkPathLineEdit()
    other.connect("currentPathChanged(QString)", got.append)
    got.clear()
    other.settingKey = "Models"
    assert other.currentPath == str(tmp_path) and got == []
    other.settingKey = "Others"
    assert other.currentPath == str(tmp_path)  # what is shown stays
    other.settingKey = "Models"
    other.currentPath = "/second"
    other.addCurrentPathToHistory()
    got.clear()
    other.addCurrentPathToHistory()
    assert got == [str(tmp_path), "/second"]  # taken out of the list and put in again
    assert {type(edit.filters), type(edit.Dirs)} == {int}
    edit.filters = edit.Dirs
    slicer_host.answer("", str(tmp_path))
    edit.browse()
    assert edit.currentPath == str(tmp_path) and "directory" in slicer_host.dialogs[-1].kind
    with pytest.raises(AttributeError):
        edit.setFilters(1)


def test_collapsible_button(slicer_host):
    import ctk
    import qt

    got = []
    button = ctk.ctkCollapsibleButton("Advanced")
    inside = qt.QLabel("x")
    qt.QVBoxLayout(button).addWidget(inside)
    button.connect("contentsCollapsed(bool)", got.append)
    button.show()
    assert inside.visible and button.collapsed is False and button.text == "Advanced"
    button.collapsed = True
    assert not inside.visible and got == [True] and button.checked is False
    button.click()
    assert inside.visible and got == [True, False]


UI = """<ui version="4.0"><class>X</class>
<widget class="qMRMLWidget" name="X"><layout class="QVBoxLayout" name="l">
 <item><widget class="qMRMLNodeComboBox" name="selector">
  <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
  <property name="{property}"><bool>true</bool></property>
  <property name="SlicerParameterName" stdset="0"><string>input</string></property>
  <property name="toolTip"><string>The input</string></property></widget></item>
 <item><widget class="{widget}" name="hidden"/></item>
 <item><widget class="QCheckBox" name="check"/></item></layout></widget>
<connections>
 <connection><sender>X</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
  <receiver>selector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>
 <connection><sender>check</sender><signal>toggled(bool)</signal>
  <receiver>hidden</receiver><slot>setVisible(bool)</slot></connection>
</connections></ui>"""


def load(tmp_path, property_name="noneEnabled", widget="QLabel"):
    import slicer

    path = tmp_path / "X.ui"
    path.write_text(UI.format(property=property_name, widget=widget))
    return slicer.util.loadUI(str(path))


def test_ui_file(tmp_path):
    import slicer

    widget = load(tmp_path)
    ui = slicer.util.childWidgetVariables(widget)
    assert type(ui.selector) is slicer.qMRMLNodeComboBox and ui.selector.mrmlScene() is None
    widget.setMRMLScene(slicer.mrmlScene)
    assert ui.selector.mrmlScene() is slicer.mrmlScene and ui.selector.noneEnabled
    assert ui.selector.property("SlicerParameterName") == "input" and ui.selector.toolTip == "<p>The input</p>"
    ui.check.checked = True
    ui.check.checked = False
    assert ui.hidden.isHidden()


def test_ui_file_with_mistakes(tmp_path, slicer_host):
    import slicer

    with pytest.raises(RuntimeError, match="no property nonEnabled"):
        load(tmp_path, "nonEnabled")
    with pytest.raises(RuntimeError, match="ctkNothing"):
        load(tmp_path, widget="ctkNothing")
    with pytest.raises(RuntimeError, match="not found"):
        slicer.util.loadUI(str(tmp_path / "no.ui"))


def test_a_chart_is_shown_in_a_layout_with_a_plot_view(slicer_host):
    import numpy as np
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    manager = slicer.app.layoutManager()
    assert manager.plotViewCount == 0 and manager.plotWidget(0) is None
    table = vtk.vtkTable()
    for name in ("x", "y"):
        column = numpy_to_vtk(np.arange(5.0), deep=True)
        column.SetName(name)
        table.AddColumn(column)
    table_node, series, chart = add("t", "vtkMRMLTableNode"), add("s", "vtkMRMLPlotSeriesNode"), add("c", CHART)
    table_node.SetAndObserveTable(table)
    series.SetAndObserveTableNodeID(table_node.GetID())
    series.SetXColumnName("x")
    series.SetYColumnName("y")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView and manager.plotViewCount == 1
    widget = manager.plotWidget(0)
    assert widget.mrmlPlotViewNode().GetPlotChartNode() is chart
    widget.plotView().fitToContent()
    slicer_host.process_events()
    assert widget.plotView().isVisible() and not slicer_host.errors
    with pytest.raises(AttributeError):
        widget.plotView().fitToContents()
