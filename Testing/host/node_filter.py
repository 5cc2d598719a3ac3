"""Which nodes of a scene a ``qMRMLNodeComboBox`` lists."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class NodeFilter:
    """Classes, attributes and visibility that a node must have."""

    node_types: list[str] = field(default_factory=list)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Node type to attribute names and values; an empty value accepts any."""
    child_types: bool = True
    hidden: bool = False

    def accepts(self, node: Any) -> bool:
        """Return whether ``node`` is listed."""
        if node.GetHideFromEditors() and not self.hidden:
            return False
        for kind in self.node_types:
            if node.IsA(kind) if self.child_types else node.GetClassName() == kind:
                return all(
                    node.GetAttribute(name) is not None and value in ("", node.GetAttribute(name))
                    for name, value in self.attributes.get(kind, {}).items()
                )
        return False

    def nodes(self, scene: Any) -> list[Any]:
        """Return the listed nodes in the scene's order."""
        if scene is None:
            return []
        return [node for n in range(scene.GetNumberOfNodes()) if self.accepts(node := scene.GetNthNode(n))]
