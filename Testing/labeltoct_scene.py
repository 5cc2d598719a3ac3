"""What tests of LabelToCT have in the scene: a chest, a library of nodules, and clicks in a slice view."""

from pathlib import Path

import numpy as np
from chests import ball, chest_arrays, on_grid

ROOT = Path(__file__).parents[1]
NODULE = 5
OBLIQUE = (0.8, -0.36, 0.48, 0.6, 0.48, -0.64, 0.0, 0.8, 0.6)
"""A proper rotation; direction of a label map."""


def open_window(slicer_host):
    """Open LabelToCT with nothing chosen."""
    window = slicer_host.open_module(ROOT / "LabelToCT/LabelToCT.py")
    window.nodules.gallery.path = ""
    window.setParameterNode(None)
    window.initializeParameterNode()
    return window


def make_library(folder, diameters=(12.0, 20.0)):
    """Write balls as templates; the first is ``ball-12``."""
    from synthct.labels.library import add_templates
    from synthct.labels.templates import Template

    templates = []
    for diameter in diameters:
        step = 1.0 if diameter < 50 else 4.0
        shape = ball(diameter, (step, step, step))
        voxels = int(np.count_nonzero(_array(shape)) * step**3)
        facts = {
            "voxels": voxels,
            "volume_mm3": float(voxels),
            "equivalent_diameter_mm": (6 * voxels / np.pi) ** (1 / 3),
        }
        picture = np.full((96, 288, 3), 90, np.uint8)
        templates.append(Template(f"ball-{diameter:g}", shape, facts, picture))
    add_templates(folder, templates)
    return folder


def add_labels(name="Labels", direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), spacing=(4.0, 4.0, 4.0)):
    """Add the chest's label map with its classes, shown in the slice views."""
    from synthct.labels.classes import read_class_table
    from synthct.scene.label_map.class_colours import set_classes, show_labels
    from synthct.scene.nodes import node_from_image

    labels = node_from_image(on_grid(chest_arrays()[1], spacing=spacing, direction=direction), name, label=True)
    labels.SetName(name)
    set_classes(labels, read_class_table("seven"))
    show_labels(labels, None, True, 1.0)
    return labels


def place_of(node, k, j, i):
    """RAS of a voxel, transforms above the node included."""
    from synthct.scene.nodes import world_matrix

    return (world_matrix(node) @ [i, j, k, 1])[:3]


def click(slicer_host, ras, view="Red"):
    """Show the slice through a place and click there."""
    drag(slicer_host, ras, ras, view)


def drag(slicer_host, start, end, view="Red"):
    """Show the slice through a place, press the mouse there and release it at another one."""
    import slicer

    widget = slicer.app.layoutManager().sliceWidget(view)
    widget.mrmlSliceNode().JumpSliceByCentering(*start)
    slicer_host.process_events()
    to_view = np.linalg.inv(slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetXYToRAS()))
    pixels = [[round(value) for value in (to_view @ [*place, 1])[:2]] for place in (start, end)]
    slicer.util.clickAndDrag(widget, start=pixels[0], end=pixels[1], steps=4)
    slicer_host.process_events()


def _array(image):
    import SimpleITK as sitk

    return sitk.GetArrayViewFromImage(image)
