"""``synthct train --preset NAME`` for every preset, with its networks and images made small and nothing else changed.

What each loss term is worth is computed by hand, for one step of each method, in test_methods_*.py.
"""

import math

import pytest
import torch
from training_recipes import tiny_cohort, tiny_pairs

from synthct.__main__ import main
from synthct.data.preparation import prepare_cohort
from synthct.events import read_events
from synthct.methods.registry import METHODS
from synthct.recipe import CLASS_TASK, IMAGE_TASKS, NOISE_TASK, Preparation, load_recipe, preset_names
from synthct.synthesis.model_file import load_model
from synthct.training.checkpoint import read_summary
from synthct.volumes.scaling import make_scaling

STEPS = 2
SMALL = {
    "unet": {"width": "4-8", "depth": 1},
    "resnet": {"width": 4, "blocks": 1},
    "pix2pix-unet": {"width": 4, "depth": 5},
    "resenc-unet": {"features": "4-8", "blocks": "1-1"},
    "patchgan": {"width": 4, "layers": 2},
    "multiscale-patchgan": {"width": 4, "layers": 1},
    "d-disc": {"width": 4},
    "resnet-classifier": {"depth": 10, "widen": 0.0625},
    "dcgan-generator": {"width": 4},
    "dcgan-discriminator": {"width": 4},
    "noise-unet": {"filters": "4-8"},
    "strided-discriminator": {"filters": "4-8"},
    "progressive": {"filters": "8-4"},
    "progressive-critic": {"filters": "8-4"},
    "stylegan2": {"capacity": 256, "widest": 16},
    "stylegan2-discriminator": {"capacity": 256, "widest": 16},
    "fastgan": {"capacity": 256, "widest": 16},
    "fastgan-discriminator": {"capacity": 256, "widest": 16},
    "ha-gan-generator": {"width": 64},
    "ha-gan-discriminator": {"width": 64},
    "ha-gan-encoder": {},
    "ha-gan-global-encoder": {"width": 32},
}
"""By network: what makes it small."""


def losses_of(method):
    """Names of the losses that ``method``, an entry of a recipe, reports."""
    options = dict(method)
    return {
        "regression": {options.get("loss", "l1"), *(["features"] if options.get("feature_weight") else [])},
        "gan": {"d_real", "d_synthetic", "g_adversarial", *(["g_l1"] if options.get("mae") == "paired" else [])},
        "conditional-gan": {"d_real", "d_synthetic", "g_adversarial", "g_l1"},
        "cyclegan": {
            *("g_ct", "g_input", "cycle_input", "cycle_ct", "d_ct", "d_input"),
            *(["identity_ct", "identity_input"] if options.get("identity_weight") else []),
        },
        "wgan": {
            *("critic", "g_adversarial"),
            *(["penalty"] if options.get("constraint") == "penalty" else []),
            *(["g_l1"] if options.get("l1_weight") else []),
        },
        "self-regularised-gan": {"g_adversarial", "g_self", "d_real", "d_synthetic"},
        "segmentation": {"dice_ce"},
        "classification": {"cross_entropy", "accuracy"},
        "dcgan": {"d_real", "d_synthetic", "g_adversarial"},
        "vanilla-gan": {"d_real", "d_synthetic", "g_adversarial"},
        "stylegan2": {
            *("d_real", "d_synthetic", "g_adversarial", "r1", "path_length"),
            *(["augment_p"] if options.get("augment") == "ada" else []),
        },
        "fastgan": {"d_real", "d_synthetic", "d_reconstruction", "g_adversarial"},
        "ha-gan": {
            *("d_real", "d_synthetic", "g_adversarial"),
            *(["r1"] if options.get("r1_weight") else []),
            *(["e_l1", "ge_l1_low", "ge_l1_high"] if options.get("encoders", True) else []),
        },
        "noise-wgan": {"critic", "g_adversarial", *(["penalty"] if options.get("constraint") == "penalty" else [])},
    }[options["name"]]


@pytest.fixture(autouse=True)
def one_thread():
    """Networks so small lose more by threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory):
    """By number of classes, None for MRs: cohorts that are prepared already, so that no preset has to register them."""

    def made(labels):
        folder = tmp_path_factory.mktemp("cohort")
        raw = tiny_cohort(folder / "raw", cases=3, labels=labels)
        return prepare_cohort(raw, Preparation(), folder / "prepared").root / "cohort.json"

    pairs = tiny_pairs(tmp_path_factory.mktemp("pairs"))
    noise = prepare_cohort(pairs, Preparation(), pairs.root / "prepared").root / "cohort.json"
    return {labels: made(labels) for labels in (None, 6, 8)} | dict.fromkeys(IMAGE_TASKS, noise)


def small(preset):
    """Options that make ``preset`` fit a test."""
    recipe = load_recipe(preset)
    slices = 32 if recipe.task in IMAGE_TASKS else 8
    size = "[32, 32]" if len(recipe.data.size) == 2 else f"[{slices}, 32, 32]"
    options = {"data.size": size, "training.batch": "2", "training.steps_per_epoch": str(STEPS)}
    options |= {"training.validation_volumes": "1", "training.workers": "0"}
    options["training.validate_every"] = "1"
    if recipe.data.fit == "montage":
        options["data.montage_slice"] = "[12, 16]"
    for role, entry in recipe.networks.items():
        options |= {f"networks.{role}.{key}": str(value) for key, value in SMALL[entry["name"]].items()}
    if recipe.method["name"] in ("wgan", "noise-wgan"):
        options["method.critic_updates"] = str(STEPS)  # so that the generator has its turn
    return [word for key, value in options.items() for word in (f"--{key}", value)]


@pytest.mark.parametrize("preset", preset_names())
def test_preset_trains(preset, cohorts, tmp_path):
    run = tmp_path / "run"
    task = load_recipe(preset).task
    cohort = cohorts[task if task in IMAGE_TASKS else make_scaling(load_recipe(preset).data.input_scaling).classes]
    command = ["train", "--preset", preset, "--cohort", str(cohort), "--run", str(run), "--steps", str(STEPS)]
    assert main([*command, "--device", "cpu", *small(preset)]) == 0

    written, published = load_recipe(run / "recipe.yaml"), load_recipe(preset)
    assert (written.name, written.preparation) == (preset, published.preparation)
    assert written.method | {"critic_updates": 0} == published.method | {"critic_updates": 0}
    assert written.optimisers == published.optimisers

    events = read_events(run / "events.jsonl")[0]
    values = [event["values"] for event in events if event["kind"] == "metrics"]
    losses = {name: value for found in values for name, value in found.items() if name.startswith("loss/")}
    assert {name.removeprefix("loss/") for name in losses} == losses_of(written.method)
    assert all(math.isfinite(value) for value in losses.values())
    assert any(value != 0 for value in losses.values())
    score = "validation/dice" if written.method["name"] == "segmentation" else "validation/mae_hu"
    score = {NOISE_TASK: "validation/statistics_distance", CLASS_TASK: "validation/accuracy"}.get(task, score)
    assert [math.isfinite(found[score]) for found in values if score in found] == [True]
    assert events[-1]["kind"] == "result" and events[-1]["steps"] == STEPS

    assert read_summary(run / "checkpoints")["standing"]["step"] == STEPS
    assert [path.name for path in (run / "samples").iterdir()] == ["epoch_0001.png"]
    card = load_model(run).card
    assert (card["name"], card["task"], card["training"]["steps"]) == (preset, published.task, STEPS)


def test_every_method_has_a_preset():
    assert {load_recipe(preset).method["name"] for preset in preset_names()} == set(METHODS)
