"""What a small data set is made from: made-up chests with label maps, a library of balls, an untrained network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import SimpleITK as sitk
import torch
from chests import ball, chest_arrays, on_grid
from test_labels_to_ct_synthesis import CARD

from synthct.data.cohort import Case, Cohort, write_cohort
from synthct.labels.library import add_templates
from synthct.labels.templates import Template
from synthct.networks.one_hot import LabelChannels
from synthct.networks.registry import build_network
from synthct.synthesis.model_file import save_model

TURNED = (0, 1, 0, -1, 0, 0, 0, 0, 1)
"""A direction in which i runs to the front."""


def write_chests(folder: Path, count: int = 3, **cases: object) -> Path:
    """Write CTs and label maps of ``count`` chests on grids of their own; return the cohort's manifest.

    ``cases`` are further entries by case id, dictionaries of fields of `Case`.
    """
    folder.mkdir(parents=True)
    found = []
    for number in range(count):
        name = f"p{number}"
        arrays = chest_arrays((24, 48, 60 - 4 * number))
        direction = TURNED if number == 1 else (1, 0, 0, 0, 1, 0, 0, 0, 1)
        for what, array in zip(("CT", "labels"), arrays, strict=True):
            image = on_grid(array, (4.0, 4.0, 4.0 + number), (-7.0 - number, 12.0, 30.0), direction)
            sitk.WriteImage(image, str(folder / f"{name}_{what}.nii.gz"))
        case = Case(name, None, folder / f"{name}_CT.nii.gz", labels=folder / f"{name}_labels.nii.gz")
        found.append(dataclasses.replace(case, **cases.get(name, {})))  # type: ignore[arg-type]
    write_cohort(Cohort(tuple(found), folder), folder / "cohort.json")
    return folder / "cohort.json"


def nodule(name: str, diameter: float, **source: object) -> Template:
    """Return a ball as a template that was cut from ``source``."""
    facts = {"volume_mm3": 1.0, "longest_diameter_mm": diameter, "hu": {"mean": 0.0}, "malignancy": None}
    return Template(name, ball(diameter), {**facts, "source": source} if source else facts)


def write_library(folder: Path, *templates: Template) -> Path:
    """Write a library of two balls, or of ``templates``."""
    given = templates or (nodule("small", 12.0, case="elsewhere"), nodule("large", 20.0, case="elsewhere"))
    add_templates(folder, list(given))
    return folder


def write_model(folder: Path, **changes: object) -> Path:
    """Write a small U-Net of random weights that takes seven classes."""
    card = {**CARD, "network": {"name": "unet", "width": "4-8"}, "in_channels": 7, **changes}
    network = build_network(card["network"], 1, 1, seed=0, labels=LabelChannels(1, 7))
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(2)  # so that its HU differ from class to class
    save_model(folder, network, card)
    return folder
