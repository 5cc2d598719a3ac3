"""The host opens scripted modules, and runs scripts as ``Slicer --python-script`` does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULE = """
import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

class {name}(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("A module")
        self.parent.categories = ["Tests"]

class {name}Widget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.seen = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = {name}Logic()
        self.button = qt.QPushButton("Press")
        self.layout.addWidget(self.button)
        self.button.connect("clicked()", self.onPress)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onClose)

    def onPress(self):
        self.seen.append("pressed")

    def onClose(self, caller, event):
        self.seen.append("closed")

    def enter(self):
        self.seen.append("entered")

    def exit(self):
        self.seen.append("left")

    def cleanup(self):
        self.removeObservers()

class {name}Logic(ScriptedLoadableModuleLogic):
    pass

class {name}Test(ScriptedLoadableModuleTest):
    ran = []

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_one(self):
        self.delayDisplay("running")
        self.ran.append(slicer.util.getModuleWidget("{name}"))
"""


@pytest.fixture
def module(slicer_host, tmp_path, request):
    name = f"Mod{abs(hash(request.node.name)) % 10**8}"
    path = tmp_path / f"{name}.py"
    path.write_text(MODULE.format(name=name))
    return path


def test_open_and_leave(slicer_host, module, tmp_path):
    import slicer

    widget = slicer_host.open_module(module)
    name = module.stem
    assert widget.seen == ["entered"] and widget.moduleName == name and widget.button.visible
    assert widget.resourcePath("UI/x.ui") == str(tmp_path / "Resources/UI/x.ui")
    assert slicer.util.getModuleWidget(name) is widget and slicer.util.modulePath(name) == str(module)
    assert slicer.util.getModule(name).title == "A module" and name in slicer.util.moduleNames()
    widget.button.click()
    slicer_host.close_scene()
    assert widget.seen == ["entered", "pressed", "closed"]
    other = module.with_name("Other.py")
    other.write_text(MODULE.format(name="Other"))
    slicer_host.open_module(other)
    assert widget.seen[-1] == "left"
    slicer.util.selectModule(name)
    assert widget.seen[-1] == "entered" and slicer_host.errors == []


def test_parameter_node_is_one(slicer_host, module):
    import slicer

    logic = slicer_host.open_module(module).logic
    node = logic.getParameterNode()
    assert logic.getParameterNode() is node and node.GetAttribute("ModuleName") == module.stem
    assert slicer.util.getModuleLogic(module.stem) is logic


def test_self_test(slicer_host, module):
    import slicer

    widget = slicer_host.open_module(module)
    slicer.selfTests[module.stem]()
    assert getattr(sys.modules[module.stem], f"{module.stem}Test").ran == [widget]


def test_reload(slicer_host, module):
    import slicer

    first = slicer_host.open_module(module)
    module.write_text(module.read_text().replace('"Press"', '"Press me"'))
    first.onReload()
    second = slicer.util.getModuleWidget(module.stem)
    assert second is not first and second.button.text == "Press me" and second.parent is first.parent


def test_waiting_gives_up(slicer_host):
    with pytest.raises(TimeoutError):
        slicer_host.wait_until(lambda: False, timeout_s=0.05)


def test_packages_are_recorded_not_installed(slicer_host):
    import slicer

    slicer.util.pip_install(["a>=1", "b"])
    assert slicer_host.installed == ["a>=1", "b"]
    with pytest.raises(ImportError):
        import slicer.packaging
    slicer_host.provide_packaging()
    from slicer.packaging import pip_install

    pip_install("c")
    slicer_host.provide_packaging(False)
    assert slicer_host.installed[-1] == "c"


def run(tmp_path, code, *words):
    script = tmp_path / "x.py"
    script.write_text(code)
    command = [sys.executable, "-m", "host", "--no-main-window", "--python-script", str(script), *words]
    environment = os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_script(slicer_host, tmp_path):
    code = """
import sys, slicer
assert __name__ == "__main__" and slicer.util.mainWindow() is None
slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", sys.argv[1])
print(slicer.util.getNode(sys.argv[1]).GetName(), sys.argv[2:], slicer.app.applicationName)
slicer.util.exit(3)
"""
    done = run(tmp_path, code, "head", "--word")
    assert done.returncode == 3, done.stderr
    assert done.stdout == "head ['--word'] Slicer\n"


def test_script_with_an_exception(slicer_host, tmp_path):
    done = run(tmp_path, "raise RuntimeError('broken')")
    assert done.returncode == 1 and "RuntimeError: broken" in done.stderr


def test_missing_library_names_the_remedy(slicer_host, monkeypatch):
    import ctypes

    import host

    def refuse(path):
        raise OSError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    monkeypatch.setattr(host, "_running", [])
    with pytest.raises(host.HostUnavailableError, match=r"libEGL.*apt-get install.*libegl1"):
        host.start()
