"""Pairs from one seed to another put into the scene: as a sequence with a browser, or as numbered volumes."""

from __future__ import annotations

from collections.abc import Sequence

import SimpleITK as sitk
import slicer

from synthct.scene.generation.folder import GeneratedFolder
from synthct.scene.generation.pair_nodes import mask_of, put_pair, show_pair
from synthct.volumes.read import read_image


def load_sequence(made: GeneratedFolder, name: str) -> list[slicer.vtkMRMLNode]:
    """Put the pairs of ``made`` into the scene under ``name`` and show the first.

    Returns
    -------
    list of nodes
        The sequence browser alone; in a Slicer without the module Sequences the volumes, one for each pair.

    Raises
    ------
    UserError
        A file cannot be read.
    """
    steps, model = len(made.pairs), made.model
    images = [
        (
            read_image(made.folder / pair.image, single_slice=True),
            None if pair.mask is None else read_image(made.folder / pair.mask, single_slice=True),
        )
        for pair in made.pairs
    ]
    if not hasattr(slicer.modules, "sequences"):
        volumes = [
            put_pair(image, mask, f"{name} {number + 1} of {steps}", model, f"{name}, {number + 1} of {steps}")
            for number, (image, mask) in enumerate(images)
        ]
        show_pair(volumes[0])
        return volumes
    return [_browser(images, name, model)]


def _browser(
    images: Sequence[tuple[sitk.Image, sitk.Image | None]], name: str, model: str
) -> slicer.vtkMRMLSequenceBrowserNode:
    """Return a browser over images and masks; one pair of nodes shows what the browser is at."""
    image, mask = images[0]
    volume = put_pair(image, mask, name, model, name)
    nodes = {"images": volume, "masks": mask_of(volume)}
    sequences = {
        kind: (_sequence(f"{volume.GetName()} {kind}"), node) for kind, node in nodes.items() if node is not None
    }
    for number, (image, mask) in enumerate(images):
        put_pair(image, mask, name, model, name, volume)
        for sequence, node in sequences.values():
            sequence.SetDataNodeAtValue(node, f"{100 * number / (len(images) - 1):g}")
    scene = slicer.mrmlScene
    browser = scene.AddNewNodeByClass(
        "vtkMRMLSequenceBrowserNode", scene.GenerateUniqueName(f"{volume.GetName()} browser")
    )
    state = browser.StartModify()  # else the module gives each sequence a node of its own at once
    try:
        for sequence, node in sequences.values():
            browser.AddSynchronizedSequenceNode(sequence)
            browser.AddProxyNode(node, sequence, False)  # the display of these two is kept
        browser.SetPlaybackRateFps(5)
        browser.SetSelectedItemNumber(0)
    finally:
        browser.EndModify(state)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    for show, given in (("setToolBarActiveBrowserNode", browser), ("setToolBarVisible", True)):
        if hasattr(slicer.modules.sequences, show):
            getattr(slicer.modules.sequences, show)(given)
    show_pair(volume)
    return browser


def _sequence(name: str) -> slicer.vtkMRMLSequenceNode:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", slicer.mrmlScene.GenerateUniqueName(name))
    node.SetIndexName("place")
    node.SetIndexUnit("%")
    node.SetIndexType(slicer.vtkMRMLSequenceNode.NumericIndex)
    return node
