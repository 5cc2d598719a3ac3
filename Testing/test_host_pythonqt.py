"""The host's ``qt`` and ``ctk`` behave as PythonQt was seen to behave in a real Slicer, one test per fact."""

import pytest

pytestmark = pytest.mark.usefixtures("slicer_host")


@pytest.fixture
def qt():
    import qt

    return qt


def test_properties_are_values(qt):
    button, spin, table, combo = qt.QPushButton("a"), qt.QSpinBox(), qt.QTableWidget(2, 3), qt.QComboBox()
    combo.addItems(["x", "y"])
    bar, header = qt.QProgressBar(), table.horizontalHeader()
    assert (button.text, spin.value, table.rowCount, combo.count, combo.currentText) == ("a", 0, 2, 2, "x")
    assert combo.currentData is None and bar.maximum == 100
    assert header.count() == 3 and header.stretchLastSection is False
    with pytest.raises(TypeError):
        spin.value()


def test_properties_are_set_by_value_and_by_setter(qt):
    button = qt.QPushButton()
    button.text = "one"
    assert button.text == "one"
    button.setText("two")
    button.enabled = False
    assert button.text == "two" and not button.isEnabled()
    with pytest.raises(AttributeError):
        button.text = 5
    with pytest.raises(ValueError, match="setText"):
        button.setText(5)


def test_a_path_is_not_a_string(qt, tmp_path):
    with pytest.raises(ValueError):
        qt.QLabel().setText(tmp_path)


def test_items_have_methods(qt):
    table, names = qt.QTableWidget(1, 1), qt.QListWidget()
    table.setItem(0, 0, qt.QTableWidgetItem("x"))
    names.addItem("y")
    assert table.item(0, 0).text() == "x" and names.item(0).text() == "y"
    assert table.item(0, 0).text != "x"


def test_no_new_attributes(qt):
    button = qt.QPushButton()
    for name in ("foo", "clicked", "setText", "_real_thing"):
        with pytest.raises(AttributeError):
            setattr(button, name, 1)
    with pytest.raises(AttributeError):
        qt.QPushButton.foo = 1
    with pytest.raises(AttributeError):
        button.count = 1


def test_nothing_that_a_real_slicer_does_not_show(qt):
    for make, name in (
        (qt.QPushButton, "textt"),
        (qt.QComboBox, "setNodeTypes"),
        (qt.QCheckBox, "checkStateChanged"),  # new in Qt 6
        (qt.QLabel, "true_property"),
    ):
        with pytest.raises(AttributeError):
            getattr(make(), name)
    for name in ("QThread", "QTest", "QRegExp", "Signal", "QtCore"):
        with pytest.raises(AttributeError):
            getattr(qt, name)


def test_connect_by_signature(qt):
    got = []
    button = qt.QPushButton()

    def with_argument(checked):
        got.append(checked)

    assert button.connect("clicked(bool)", with_argument) is True
    button.click()
    assert got == [False]
    assert button.disconnect("clicked(bool)", with_argument)
    button.click()
    assert got == [False]

    def without():
        got.append("plain")

    button.connect("clicked()", without)
    button.click()
    assert got == [False, "plain"]


def test_connect_by_attribute(qt):
    got = []
    button = qt.QPushButton()
    button.clicked.connect(got.append)
    button.clicked.connect(lambda: got.append("no parameters"))
    button.clicked.connect(lambda *arguments: got.append(arguments))
    button.click()
    assert got == [False, "no parameters", (False,)]
    button.clicked.disconnect(got.append)
    button.click()
    assert got[3:] == ["no parameters", (False,)]


def test_methods_as_receivers(qt):
    class Receiver:
        def __init__(self):
            self.count = 0

        def on_click(self):
            self.count += 1

    receiver, button, dialog = Receiver(), qt.QPushButton(), qt.QDialog()
    button.connect("clicked(bool)", receiver.on_click)
    button.connect("clicked()", dialog.show)
    button.click()
    assert receiver.count == 1 and dialog.visible
    button.disconnect("clicked(bool)", receiver.on_click)
    button.click()
    assert receiver.count == 1


def test_a_signal_that_does_not_exist(qt, caplog):
    assert qt.QPushButton().connect("clickedd()", lambda: None) is False
    assert "no signal clickedd()" in caplog.text
    assert qt.QComboBox().connect("currentIndexChanged(QString)", lambda text: None) is False  # Qt 5 only


def test_an_exception_in_a_slot_is_kept(qt, slicer_host, capsys):
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError" in slicer_host.errors[0] and "ZeroDivisionError" in capsys.readouterr().err


def test_tool_tip_reads_back_as_a_paragraph(qt):
    button = qt.QPushButton()
    button.toolTip = "x"
    assert button.toolTip == "<p>x</p>"
    button.setToolTip("y")
    assert button.toolTip == "<p>y</p>"
    button.toolTip = "<b>z</b>"
    assert button.toolTip == "<b>z</b>"


def test_item_data(qt):
    combo = qt.QComboBox()
    combo.addItem("a", 5)
    combo.addItem("b", {"k": [1, 2]})
    combo.addItem("c", [1, 2])
    assert [combo.itemData(index) for index in range(3)] == [5, {"k": (1, 2)}, (1, 2)]
    assert combo.findData(5) == 0 and combo.currentData == 5


def test_enums_are_plain_ints_with_flat_names(qt):
    assert (qt.Qt.Checked, qt.QMessageBox.Yes, qt.QSizePolicy.Expanding) == (2, 16384, 7)
    assert {type(value) for value in (qt.Qt.Checked, qt.QMessageBox.Yes, qt.QSizePolicy.Expanding)} == {int}
    with pytest.raises(AttributeError):
        _ = qt.QMessageBox.StandardButton.Yes


def test_ints_are_taken_where_qt_wants_an_enum(qt):
    label, box, table = qt.QLabel(), qt.QMessageBox(), qt.QTableWidget(1, 1)
    label.alignment = qt.Qt.AlignRight | qt.Qt.AlignVCenter
    assert label.alignment == 130
    label.setAlignment(qt.Qt.AlignLeft)
    assert label.alignment & 1
    box.setStandardButtons(qt.QMessageBox.Yes | qt.QMessageBox.No)
    assert box.standardButtons == 16384 | 65536
    assert qt.QSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed).horizontalPolicy() == 7
    table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
    assert table.horizontalHeader().sectionResizeMode(0) == qt.QHeaderView.Stretch


def test_bytes(qt):
    assert qt.QByteArray(b"abc").data() == b"abc"


def test_process(qt, slicer_host):
    import sys

    got = []
    process = qt.QProcess()
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: got.append((code, status)))
    process.start(sys.executable, ["-c", "print('hello')"])
    slicer_host.wait_until(lambda: got)
    assert got == [(0, 0)] and process.exitCode() == 0 and process.state() == qt.QProcess.NotRunning
    assert process.readAllStandardOutput().data() == b"hello\n"


def test_timers_need_the_event_loop(qt, slicer_host):
    got = []
    timer = qt.QTimer()
    timer.setInterval(5)
    timer.timeout.connect(lambda: got.append("timer"))
    timer.start()
    qt.QTimer.singleShot(5, lambda: got.append("once"))
    assert got == [] and timer.active
    slicer_host.wait_until(lambda: {"timer", "once"} <= set(got))
    timer.stop()
    assert not timer.isActive()
    timer.singleShot = True
    assert timer.singleShot is True


def test_settings(qt):
    settings = qt.QSettings()
    settings.setValue("number", 5)
    settings.setValue("paths", ["a", "b"])
    settings.sync()
    assert qt.QSettings().value("number") == 5 and qt.QSettings().value("paths") == ("a", "b")
    assert qt.QSettings().value("nothing") is None
    assert "embedded-slicer" in settings.fileName()


def test_identity_and_children(qt):
    import slicer

    widget = qt.QWidget()
    button = qt.QPushButton("b", widget)
    button.objectName = "n"
    assert slicer.util.findChild(widget, "n") is button
    assert button in widget.children() and button.parent() is widget and button.name == "n"
    assert isinstance(button, qt.QWidget) and type(button) is qt.QPushButton
    assert widget.findChildren(qt.QPushButton) == (button,)


def test_dynamic_properties(qt):
    widget = qt.QLineEdit()
    assert widget.property("SlicerParameterName") is None
    widget.setProperty("SlicerParameterName", "x")
    assert widget.property("SlicerParameterName") == "x"


def test_a_destroyed_object_says_so(qt, slicer_host):
    widget = qt.QWidget()
    button = qt.QPushButton(widget)
    widget.delete()
    with pytest.raises(ValueError, match="destroyed"):
        _ = button.text


def test_no_keyword_arguments_and_no_subclasses(qt):
    with pytest.raises(TypeError):
        qt.QPushButton(text="a")
    with pytest.raises(TypeError):
        type("Mine", (qt.QWidget,), {})


def test_layouts(qt):
    form = qt.QFormLayout()
    widget = qt.QWidget()
    widget.setLayout(form)
    edit = qt.QLineEdit()
    form.addRow("Name:", edit)
    assert form.rowCount() == 1 and edit.parent() is widget and form.labelForField(edit).text == "Name:"


def test_dialogs_are_recorded_and_answered(qt, slicer_host):
    import slicer

    slicer_host.answer("Really", "Yes")
    assert slicer.util.confirmYesNoDisplay("Really?") is True
    slicer_host.answer("Choose", "/some/file")
    assert qt.QFileDialog.getOpenFileName(None, "Choose a file", "", "*") == "/some/file"
    slicer_host.answer("wrong", "Ok")
    slicer.util.errorDisplay("It went wrong.")
    assert [dialog.text for dialog in slicer_host.dialogs] == ["Really?", "", "It went wrong."]
    assert slicer_host.errors == []
    assert slicer.util.confirmYesNoDisplay("Nobody answers") is False
    assert "Nobody answers" in slicer_host.errors[0]


def test_what_a_function_shows_to_slicer_util(slicer_host):
    import slicer

    assert slicer.util.mainWindow().objectName == "qSlicerMainWindow"
    assert slicer.util.showStatusMessage("Ready") is True
    with slicer.util.WaitCursor(), pytest.raises(RuntimeError), slicer.util.tryWithErrorDisplay("No", waitCursor=True):
        slicer_host.answer("No", "Ok")
        raise RuntimeError("broken")
    assert "broken" in slicer_host.dialogs[0].text
    assert slicer.util.settingsValue("a/b", 3, int) == 3
