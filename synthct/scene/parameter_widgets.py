"""The widgets of a window that show parameters, connected to the parameter node."""

from __future__ import annotations

from typing import Any

_PROPERTY = "SlicerParameterName"


def connect_widgets(parameters: Any, ui: Any) -> int:
    """Connect the widgets of ``ui`` that name a parameter, and return the tag for ``disconnectGui``.

    A parameter node's own ``connectGui`` keeps the tag to itself in Slicer before 5.10, so that the widgets would stay
    connected while a scene is closed and another one loaded.

    Parameters
    ----------
    parameters
        Parameter node as ``parameterNodeWrapper`` makes them.
    ui
        What ``slicer.util.childWidgetVariables`` returns.
    """
    named = {widget.property(_PROPERTY): widget for widget in vars(ui).values()}
    return int(parameters.connectParametersToGui({name: widget for name, widget in named.items() if name}))
