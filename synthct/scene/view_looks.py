"""What a slice view shows and where, remembered and put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer
import vtk


@dataclass(frozen=True)
class ViewLook:
    """How a slice view was before."""

    background: str | None
    foreground: str | None
    label: str | None
    foreground_opacity: float
    label_opacity: float
    linked: int
    hot: int
    outline: int
    orientation: str
    to_ras: vtk.vtkMatrix4x4


def look_of(view: Any, volumes: Any) -> ViewLook:
    """Return how a slice view is now, by its slice node and composite node."""
    to_ras = vtk.vtkMatrix4x4()
    to_ras.DeepCopy(view.GetSliceToRAS())
    return ViewLook(
        volumes.GetBackgroundVolumeID(),
        volumes.GetForegroundVolumeID(),
        volumes.GetLabelVolumeID(),
        volumes.GetForegroundOpacity(),
        volumes.GetLabelOpacity(),
        volumes.GetLinkedControl(),
        volumes.GetHotLinkedControl(),
        view.GetUseLabelOutline(),
        view.GetOrientation(),
        to_ras,
    )


def restore_look(look: ViewLook, view: Any, volumes: Any) -> None:
    """Put a slice view back; volumes that are gone stay away, and one that was empty keeps what it shows now."""

    def still(node_id: str | None) -> str | None:
        return node_id if node_id and slicer.mrmlScene.GetNodeByID(node_id) is not None else None

    volumes.SetLinkedControl(0)
    volumes.SetHotLinkedControl(look.hot)
    if look.background is not None:  # a view that was empty keeps what it shows now
        volumes.SetBackgroundVolumeID(still(look.background))
        volumes.SetForegroundVolumeID(still(look.foreground))
        volumes.SetLabelVolumeID(still(look.label))
    volumes.SetForegroundOpacity(look.foreground_opacity)
    volumes.SetLabelOpacity(look.label_opacity)
    view.SetUseLabelOutline(look.outline)
    if view.GetOrientation() != look.orientation:
        view.SetOrientation(look.orientation)
    view.GetSliceToRAS().DeepCopy(look.to_ras)
    view.UpdateMatrices()
    volumes.SetLinkedControl(look.linked)
