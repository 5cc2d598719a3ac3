"""Small cohorts of balls in air, real and made up, and recipes of experiments on them."""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import yaml

from synthct.studies.segmentation.recipe import ExperimentRecipe, load_experiment

SIDE = 20
TRAINING = {
    "network": {"name": "unet-3d", "channels": [8, 16], "residual_units": 1},
    "optimiser": {"name": "adamw", "lr": 0.004},
    "patch": [16, 16, 16],
    "iterations": [30],
    "validate_every": 10,
}


def ball(number: int, seed: int, noise: float = 80.0) -> tuple[np.ndarray, np.ndarray]:
    """HU and mask, (z, y, x), of a ball of soft tissue in lung."""
    random = np.random.default_rng([seed, number])
    z, y, x = np.mgrid[:SIDE, :SIDE, :SIDE]
    centre, radius = random.uniform(6, SIDE - 7, 3), random.uniform(2.5, 4)
    mask = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2
    hu = np.where(mask, 50, -800) + random.normal(0, noise, mask.shape)
    return hu.astype(np.int16), mask.astype(np.uint8)


def write_set(folder: Path, count: int, seed: int, prefix: str = "", **more: list) -> Path:
    """Write a cohort of balls; ``more`` maps a key of the manifest to one value per case."""
    (folder / "images").mkdir(parents=True)
    cases = []
    for number in range(count):
        for kind, array in zip("im", ball(number, seed), strict=True):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((1.5, 1.0, 2.0))
            sitk.WriteImage(image, str(folder / "images" / f"{kind}{number}.nii.gz"))
        entry = {"id": f"{prefix or folder.name}{number}", "ct": f"images/i{number}.nii.gz"}
        entry |= {"mask": f"images/m{number}.nii.gz"}
        cases.append(entry | {key: values[number] for key, values in more.items() if values[number] is not None})
    (folder / "cohort.json").write_text(json.dumps({"format": 1, "cases": cases}))
    return folder / "cohort.json"


def write_recipe(folder: Path, **changes) -> Path:
    """Write a recipe of two sets, real and made, with ``changes``."""
    content = {
        "name": "balls",
        "source": "Made up.",
        "sets": {"real": {"path": "real"}, "made": {"path": "made", "gan": "unknown"}},
        "test": {"set": "real", "cases": ["real0", "real1"]},
        "baseline": "real_4",
        "arms": [{"name": "real_4", "sources": {"real": 4}}, {"name": "made", "sources": {"made": "all"}}],
        "training": TRAINING,
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def recipe_of(folder: Path, **changes) -> ExperimentRecipe:
    """Return such a recipe, checked."""
    return load_experiment(str(write_recipe(folder, **changes)))[0]
