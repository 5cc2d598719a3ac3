"""Every widget attribute, Qt call and signal that the modules and the scene use exists in a real Slicer.

The facts (``host/api_facts.json``) were recorded from Slicer 5.8: what each class shows to Python, which of that are
properties (values, not methods) and which signals it has. The modules' source is read, not run.
"""

import ast
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FACTS = json.loads((Path(__file__).parent / "host/api_facts.json").read_text(encoding="utf-8"))
MODULES = [name for name in ("MRtoCT", "LabelToCT", "SynthEval") if (ROOT / name).is_dir()]
FILES = [ROOT / name / f"{name}.py" for name in MODULES] + sorted((ROOT / "synthct/scene").rglob("*.py"))
NEWER = {
    "slicer.packaging",
    "slicer.i18n",
    "slicer.mrmlScene",
    "slicer.modules",
    "slicer.util",
    "slicer.app",
    "slicer.cli",
}
UNRECORDED = {"qt.Qt"}
LAYOUTS = {
    "mr_to_ct/synthesis_section.py": ROOT / "MRtoCT/Resources/UI/MRtoCT.ui",
    "generation/pair_choices.py": ROOT / "synthct/scene/generation/section.ui",
}
"""Files whose widgets are in another's .ui file."""
FEW = ("MRtoCT.py", "LabelToCT.py", "SynthEval.py", "training/recipe.py", "generation/pair_choices.py")
"""Files that leave most of their widgets to others."""


def shown(name):
    """Attributes, properties and signals of class ``name`` with its QWidget and QObject part."""
    facts = FACTS[name]
    parts = [facts]
    if facts.get("widget"):
        parts.append(FACTS["qt.QWidget"])
    if facts.get("widget") or "signals" in facts:
        parts.append(FACTS["qt.QObject"])
    return tuple(
        {item for part in parts for item in part.get(key, ())} for key in ("attributes", "properties", "signals")
    )


def qualified(class_name):
    for prefix in ("qt", "ctk", "slicer"):
        if f"{prefix}.{class_name}" in FACTS:
            return f"{prefix}.{class_name}"
    raise AssertionError(f"no facts about {class_name}")


UI_FILES = [ROOT / name / f"Resources/UI/{name}.ui" for name in MODULES]
UI_FILES += sorted((ROOT / "synthct/scene").rglob("*.ui"))


def widgets_of(path):
    """Name to class of every widget in a .ui file."""
    root = ElementTree.parse(path).getroot()
    return {element.get("name"): qualified(element.get("class")) for element in root.iter("widget")}


def layout_of(path):
    """The .ui file whose widgets a source file uses, or None."""
    own = path.parent / f"Resources/UI/{path.stem}.ui" if path.stem in MODULES else path.with_suffix(".ui")
    return LAYOUTS.get(name_of(path)) or (own if own.is_file() else None)


def name_of(path):
    return str(path.relative_to(ROOT / "synthct/scene")) if path.is_relative_to(ROOT / "synthct") else path.name


def dotted(node):
    """A name such as ``self.ui.applyButton``; a short form of ``self.ui`` counts as it."""
    if isinstance(node, ast.Name):
        return "self.ui" if node.id == "ui" else node.id
    if isinstance(node, ast.Attribute):
        above = dotted(node.value)
        full = f"{above}.{node.attr}" if above else None
        return "self.ui" if full == "self._ui" else full
    return None


class Reader(ast.NodeVisitor):
    """Follows what is known to be a Qt object: widgets of the .ui file, annotated parameters, constructed objects."""

    def __init__(self, widgets):
        self.known = {f"self.ui.{name}": kind for name, kind in widgets.items()}
        self.problems = []
        self.checked = 0
        self.called = set()
        self.has_ui = bool(widgets)

    def problem(self, node, text):
        self.problems.append(f"line {node.lineno}: {text}")

    def visit_FunctionDef(self, node):
        for argument in node.args.args:
            kind = dotted(argument.annotation) if argument.annotation is not None else None
            if kind and kind.startswith(("qt.", "ctk.", "slicer.qMRML")):
                self.known[argument.arg] = kind
        self.generic_visit(node)
        for argument in node.args.args:
            self.known.pop(argument.arg, None)

    def visit_Assign(self, node):
        made = dotted(node.value.func) if isinstance(node.value, ast.Call) else None
        kind = made if made in FACTS else self.known.get(dotted(node.value) or "")
        for target in node.targets:
            if kind and dotted(target):
                self.known[dotted(target)] = kind
            if isinstance(target, ast.Attribute) and dotted(target.value) in self.known:
                owner = self.known[dotted(target.value)]
                if target.attr not in shown(owner)[1]:
                    self.problem(node, f"{owner}.{target.attr} is assigned but is no property")
        self.generic_visit(node)

    def visit_Call(self, node):
        self.called.add(id(node.func))
        if isinstance(node.func, ast.Attribute):
            owner = self.known.get(dotted(node.func.value) or "")
            if owner:
                if node.keywords:
                    self.problem(node, f"{owner}.{node.func.attr} is given keywords, which PythonQt does not take")
                if node.func.attr in ("connect", "disconnect") and isinstance(node.args[0], ast.Constant):
                    self.checked += 1
                    if node.args[0].value not in shown(owner)[2]:
                        self.problem(node, f"{owner} has no signal {node.args[0].value}")
        self.generic_visit(node)

    def visit_Attribute(self, node):
        owner, name = dotted(node.value), node.attr
        full = dotted(node)
        if owner in self.known:
            self.checked += 1
            attributes, properties, signals = shown(self.known[owner])
            names_of_signals = {signal.split("(")[0] for signal in signals}
            if name not in attributes:
                self.problem(node, f"{self.known[owner]} has no attribute {name}")
            elif id(node) in self.called and name in properties:
                self.problem(node, f"{self.known[owner]}.{name} is a value and is called")
            elif id(node) not in self.called and name not in properties | names_of_signals:
                self.problem(node, f"{self.known[owner]}.{name} is a method and is not called")
        elif owner == "self.ui" and self.has_ui:
            self.checked += 1
            if full not in self.known:
                self.problem(node, f"the .ui file has no widget {name}")
        elif owner in ("slicer.util", "slicer.app"):
            self.checked += 1
            if name not in FACTS[owner]["attributes"]:
                self.problem(node, f"{owner} has no attribute {name}")
        elif owner in ("qt", "ctk"):
            self.checked += 1
            if full not in FACTS and full not in UNRECORDED:
                self.problem(node, f"{full} is not among the facts")
        elif owner in FACTS and owner.startswith(("qt.", "ctk.")):
            self.checked += 1
            if name not in FACTS[owner]["attributes"]:
                self.problem(node, f"{owner} has no attribute {name}")
        elif owner and owner.startswith("qt.") and owner.rpartition(".")[0] in FACTS:
            self.problem(node, f"{full}: PythonQt has flat enums only")
        elif owner == "slicer" and not name.startswith("vtk"):
            self.checked += 1
            if name not in FACTS["slicer"]["attributes"] and full not in NEWER:
                self.problem(node, f"slicer has no attribute {name}")
        self.generic_visit(node)


def read(source, widgets=None):
    reader = Reader(widgets or {})
    tree = ast.parse(source)
    for part in ast.walk(tree):  # what is made in one method is used in another
        if isinstance(part, ast.Assign):
            made = dotted(part.value.func) if isinstance(part.value, ast.Call) else None
            if made in FACTS:
                reader.known.update({dotted(target): made for target in part.targets if dotted(target)})
    for function in [part for part in ast.walk(tree) if isinstance(part, ast.FunctionDef) and part.name == "__init__"]:
        kinds = {argument.arg: dotted(argument.annotation) for argument in function.args.args if argument.annotation}
        for part in ast.walk(function):
            if isinstance(part, ast.Assign) and kinds.get(dotted(part.value) or "") in FACTS:
                reader.known[dotted(part.targets[0])] = kinds[dotted(part.value)]
    reader.visit(tree)
    return reader


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_what_a_real_slicer_shows(path):
    layout = layout_of(path)
    widgets = widgets_of(layout) if layout is not None else None
    reader = read(path.read_text(encoding="utf-8"), widgets)
    assert not reader.problems, "\n".join(reader.problems)
    if widgets:
        assert reader.checked > (5 if name_of(path) in FEW else 20)


def test_every_section_is_read():
    assert {path.parent.name for path in UI_FILES} >= {"nodules", "generation", "evaluation", "turing", "training"}
    assert len([path for path in FILES if layout_of(path)]) >= len(UI_FILES)


@pytest.mark.parametrize("path", UI_FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_ui_file_sets_only_properties_that_exist(path):
    root = ElementTree.parse(path).getroot()
    for element in root.iter("widget"):
        properties = shown(qualified(element.get("class")))[1]
        for entry in element.findall("property"):
            if entry.get("stdset") != "0":
                assert entry.get("name") in properties, (element.get("name"), entry.get("name"))
    for connection in root.iter("connection"):
        names = {element.get("name"): element.get("class") for element in root.iter("widget")}
        sender = shown(qualified(names[connection.findtext("sender")]))
        receiver = shown(qualified(names[connection.findtext("receiver")]))
        assert connection.findtext("signal") in sender[2]
        assert connection.findtext("slot").split("(")[0] in receiver[0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("self.ui.button.clickedd", "has no attribute clickedd"),
        ("self.ui.button.text()", "is a value and is called"),
        ("self.ui.button.foo = 1", "no property"),
        ("x = self.ui.button.click", "a method and is not called"),
        ("self.ui.buton.text", "no widget buton"),
        ("self.ui.button.connect('pushed()', f)", "no signal pushed()"),
        ("self.ui.button.setText(text='a')", "keywords"),
        ("slicer.util.confirm('?')", "has no attribute confirm"),
        ("timer = qt.QTimer()\ntimer.begin()", "has no attribute begin"),
        ("qt.QThread()", "not among the facts"),
        ("qt.QMessageBox.StandardButton.Yes", "flat enums"),
        ("def f(bar: qt.QProgressBar):\n    bar.value()", "is a value and is called"),
        ("class A:\n    def __init__(self, box: qt.QComboBox):\n        self.box = box\n    def f(self):\n"
         "        self.box.currentData()", "is a value and is called"),
    ],
)  # fmt: skip
def test_the_check_sees_mistakes(source, expected):
    reader = read(source, {"button": "qt.QPushButton"})
    assert any(expected in problem for problem in reader.problems)
