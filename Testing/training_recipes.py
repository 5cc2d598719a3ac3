"""Recipes small enough to train in a test, and the cohort they are trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from phantoms import phantom_pair, write_phantom_cohort

from synthct.data.cohort import Case, Cohort, read_cohort
from synthct.recipe import Recipe, recipe_from_dict

SHAPE = (8, 32, 36)


def tiny_cohort(folder: Path, cases: int = 4, shape: tuple[int, int, int] = SHAPE, labels: int | None = None) -> Cohort:
    """Return a cohort of phantoms written into ``folder``; with ``labels`` label maps of so many classes for MRs."""
    return read_cohort(write_phantom_cohort(folder, cases, shape, masks=True, labels=labels))


def tiny_pairs(
    folder: Path, cases: int = 8, shape: tuple[int, int, int] = (32, 32, 36), spacing: float = 2.0
) -> Cohort:
    """Return CTs of phantoms with masks of their bones, written into ``images`` and ``masks``; classes in turn."""
    found = []
    for number in range(cases):
        ct = phantom_pair(shape, number, (spacing,) * 3)[1]
        mask = sitk.GetImageFromArray((sitk.GetArrayFromImage(ct) > 400).astype(np.uint8))
        mask.CopyInformation(ct)
        paths = [folder / place / f"phantom_{number:02d}.nii.gz" for place in ("images", "masks")]
        for path, image in zip(paths, (ct, mask), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(path))
        diagnosis = ("benign", "malignant")[number % 2]
        found.append(Case(paths[0].name.split(".")[0], None, paths[0], paths[1], diagnosis=diagnosis))
    return Cohort(tuple(found), folder)


def tiny_recipe(method: str = "regression", **training: object) -> Recipe:
    """Return a recipe of the named method that takes some milliseconds a step on one thread."""
    unet = {"name": "unet", "width": "4-8", "norm": "batch", "dropout": 0.1}
    adam = {"name": "adam", "lr": 2e-3, "beta1": 0.5, "schedule": "cosine"}
    patch = {"name": "patchgan", "width": 4, "layers": 2}
    resenc = {"name": "resenc-unet", "features": "4-8", "blocks": "1-1"}
    entries = {
        "3d": ({"name": "regression"}, {"generator": resenc}, {"generator": adam}),
        "regression": ({"name": "regression"}, {"generator": unet}, {"generator": adam}),
        "gan": (
            {"name": "gan", "mae": "paired", "mae_weight": 100},
            {"generator": unet, "discriminator": patch},
            {"generator": adam, "discriminator": adam},
        ),
        "cyclegan": (
            {"name": "cyclegan", "pool": 3},
            {"generator": unet, "discriminator": patch},
            {"generator": adam, "discriminator": adam},
        ),
        "conditional-gan": (
            {"name": "conditional-gan", "masked": True},
            {"generator": unet, "discriminator": patch},
            {"generator": adam, "discriminator": adam},
        ),
        "wgan": (
            {"name": "wgan", "constraint": "penalty", "critic_updates": 3},
            {"generator": unet, "critic": {**patch, "norm": "none"}},
            {"generator": adam, "critic": adam},
        ),
        "self-regularised-gan": (
            {"name": "self-regularised-gan", "pool": 3, "masked": True},
            {"generator": unet, "discriminator": patch},
            {"generator": adam, "discriminator": adam},
        ),
        "segmentation": (
            {"name": "segmentation"},
            {"segmenter": {**unet, "output": "linear"}},
            {"segmenter": adam},
        ),
    }
    if method in ("dcgan", "growing"):
        return _tiny_from_noise(method, adam, training)
    named, networks, optimisers = entries[method]
    return recipe_from_dict(
        {
            "name": f"tiny-{method}",
            "source": "a test",
            "method": named,
            "networks": networks,
            "optimisers": optimisers,
            "data": {
                "size": [4, 16, 16] if method == "3d" else [32, 32],
                "neighbours": 0 if method in ("cyclegan", "segmentation", "3d") else 1,
                "paired": method not in ("cyclegan", "wgan", "self-regularised-gan"),
                "input_scaling": {"name": "mr-percentile"},
                "target_scaling": {"name": "ct-window"},
                "augmentation": {"flip": True, "rotation_degrees": 5, "gamma": 0.1},
            },
            "training": {"batch": 2, "steps": 12, "steps_per_epoch": 4, "ema": 0.9, "precision": "32-true", **training},
        }
    )


def _tiny_from_noise(method: str, adam: dict[str, object], training: dict[str, object]) -> Recipe:
    """A DCGAN with classes, or a WGAN with gradient penalty whose networks grow."""
    classed = method == "dcgan"
    judge = "discriminator" if classed else "critic"
    names = ("dcgan-generator", "dcgan-discriminator") if classed else ("progressive", "progressive-critic")
    network = {"width": 4, "levels": 2} if classed else {"filters": "4-4-2"}
    named = {"name": "dcgan"} if classed else {"name": "noise-wgan", "constraint": "penalty", "critic_updates": 2}
    return recipe_from_dict(
        {
            "name": f"tiny-{method}",
            "source": "a test",
            "task": "noise-to-ct",
            "method": {**named, "latent": 6},
            "networks": {
                role: {"name": name, **network} for role, name in zip(("generator", judge), names, strict=True)
            },
            "optimisers": {"generator": adam, judge: adam},
            "data": {
                "size": [16, 16, 16],
                "fit": "resize",
                "masks": "channel",
                "classes": ["benign", "malignant"] if classed else [],
                "target_scaling": {"name": "hagan-ct"},
                "augmentation": {"flip": True},
            },
            "training": {"batch": 2, "steps": 12, "steps_per_epoch": 4, "ema": 0.9, "precision": "32-true", **training},
        }
    )
