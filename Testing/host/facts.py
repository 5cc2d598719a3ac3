"""What the classes of a real Slicer show to Python, read from ``api_facts.json``."""

import json
from functools import cache
from pathlib import Path


@cache
def facts() -> dict[str, dict]:
    """Return the facts: qualified class name to its attributes, properties and signals."""
    return json.loads((Path(__file__).parent / "api_facts.json").read_text(encoding="utf-8"))


@cache
def of_class(name: str) -> dict | None:
    """Return the facts of the class called ``name`` (without module), or None where nothing was recorded."""
    for module in ("qt", "ctk", "slicer"):
        if found := facts().get(f"{module}.{name}"):
            return found
    return None


@cache
def shown(name: str) -> tuple[frozenset[str], frozenset[str] | None] | None:
    """Return attributes and properties of class ``name`` with its QWidget and QObject part.

    None where nothing was recorded: about the class, or about its properties (of classes that Python cannot make).
    """
    own = of_class(name)
    if own is None:
        return None
    parts = [own]
    if own.get("widget"):
        parts.append(facts()["qt.QWidget"])
    if "signals" in own or own.get("widget"):
        parts.append(facts()["qt.QObject"])
    attributes, properties = (
        frozenset().union(*(part.get(key, ()) for part in parts)) for key in ("attributes", "properties")
    )
    return attributes, properties if "properties" in own else None
