"""Which nodes of a scene a ``qMRMLNodeComboBox`` lists."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class NodeFilter:
    """Classes and visibility that a node must have."""

    node_types: list[str] = field(default_factory=list)
    child_types: bool = True
    hidden: bool = False

    def accepts(self, node: Any) -> bool:
        """Return whether ``node`` is listed."""
        if node.GetHideFromEditors() and not self.hidden:
            return False
        return any(node.IsA(kind) if self.child_types else node.GetClassName() == kind for kind in self.node_types)

    def nodes(self, scene: Any) -> list[Any]:
        """Return the listed nodes in the scene's order."""
        if scene is None:
            return []
        return [node for n in range(scene.GetNumberOfNodes()) if self.accepts(node := scene.GetNthNode(n))]
