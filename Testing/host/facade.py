"""Objects of Slicer that are no widgets here: they show no attribute that the real ones do not have."""

from typing import Any

from . import facts


class Facade:
    """Base of the application, its managers and its modules; ``FACTS`` names the entry of the facts."""

    FACTS = ""

    def __getattr__(self, name: str) -> Any:
        known = facts.facts().get(self.FACTS, {}).get("attributes", ())
        reason = "exists in Slicer, this host does not imitate it" if name in known else "is not in Slicer"
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}' ({reason})")

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in facts.facts().get(self.FACTS, {}).get("attributes", (name,)):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}' in Slicer")
        object.__setattr__(self, name, value)
