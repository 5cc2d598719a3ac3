"""Several recipes trained on the same patients and scored on the same held-out ones, beside the trivial answers.

Every patient is tested once (k folds by patient), every method sees the same split, so that differences are paired.
A comparison that is interrupted goes on where it stopped: finished runs are kept, a started one is resumed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from synthct.data.cache import Volume, open_cache
from synthct.data.cohort import Cohort
from synthct.data.left_out import LeftOut
from synthct.data.preparation import prepare_cohort
from synthct.data.split import Split, folds, split_cohort
from synthct.errors import UserError
from synthct.evaluation.images.scores import Scores, score_arrays, write_csv
from synthct.events import SILENT, Events, read_events
from synthct.recipe import CLASS_TASK, NOISE_TASK, Recipe
from synthct.studies.baselines import constant_ct, interpolated_slices
from synthct.synthesis.device import choose_device
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.prepared import axial_image, translate_prepared
from synthct.training.run import resume, train
from synthct.volumes.bulk import water_ct
from synthct.volumes.geometry import image_from_array, to_axial
from synthct.volumes.hu import AIR_HU
from synthct.volumes.lookup import IntensityLookup
from synthct.volumes.read import read_image
from synthct.volumes.scaling import make_scaling
from synthct.volumes.write import write_image

WATER, CONSTANT, LOOKUP = "bulk water", "constant", "look-up"
INTERPOLATION, FLOOR = "interpolated slices", "CT shifted by 2 mm"
SHUFFLED = " fed a shuffled MR"
SHIFT_MM = 2.0

Splitter = Callable[[Cohort, Mapping[str, Volume]], Sequence[Split]]


@dataclass(frozen=True)
class VolumeTime:
    """How long one volume takes to translate, model and volume being loaded: means over the test cases."""

    seconds: float
    voxels: float
    device: str


@dataclass(frozen=True)
class Comparison:
    """Scores by method and case, the methods in the order of the table."""

    scores: dict[str, dict[str, Scores]]
    seconds: dict[str, float]
    """Training time of each recipe, summed over splits."""
    volume_times: dict[str, VolumeTime]
    """Of each recipe's model."""


def by_folds(count: int, seed: int) -> Splitter:
    """Every patient is tested once, in one of ``count`` folds."""
    return lambda cohort, volumes: folds(cohort, count, seed)


def held_out(seed: int) -> Splitter:
    """One split: patients held out, or a slab of slices where there are too few patients."""
    return lambda cohort, volumes: [
        split_cohort(cohort, {name: volume.shape[0] for name, volume in volumes.items()}, seed=seed)
    ]


def compare(
    recipes: Sequence[Recipe],
    cohort: Cohort,
    folder: Path,
    splitter: Splitter,
    device: str = "auto",
    starts: Mapping[str, str] | None = None,
    only_fold: int | None = None,
    events: Events = SILENT,
    skip_corrupt: bool = False,
) -> Comparison:
    """Train every recipe on every split, score what is held out, and leave the synthetic CTs and scores in ``folder``.

    Parameters
    ----------
    recipes
        All with the same preparation, since they are scored on the same volumes; names must differ.
    starts
        Recipe name → name of an earlier recipe whose model it starts from (a refinement).
    only_fold
        Do this split alone (1 is the first), so that several processes share the work; None: all of them.

    skip_corrupt
        Leave out cases that cannot be used, with a warning.

    Raises
    ------
    UserError
        Recipes that differ in preparation or share a name, or too few patients for the folds.
    """
    _check(recipes, starts or {})
    left_out = LeftOut(skip_corrupt, events)
    cohort = cohort.for_task(recipes[0].task)
    prepared = prepare_cohort(cohort, recipes[0].preparation, folder / "prepared", events, left_out=left_out)
    volumes = open_cache(prepared, folder / "cache", events, left_out)
    prepared = left_out.of(prepared)
    scores: dict[str, dict[str, Scores]] = {}
    seconds = dict.fromkeys((recipe.name for recipe in recipes), 0.0)
    times: dict[str, list[VolumeTime]] = {}
    for number, split in enumerate(splitter(prepared, volumes)):
        if only_fold not in (None, number + 1):
            continue
        fold = folder / f"fold{number + 1}"
        _add(scores, _trivial(volumes, split, recipes[0]))
        for recipe in recipes:
            run = fold / recipe.name
            start = fold / (starts or {})[recipe.name] if recipe.name in (starts or {}) else None
            seconds[recipe.name] += _train(recipe, prepared, run, split, device, start, events)
            found, taken = _test(recipe.name, run, prepared, volumes, split, device, events)
            _add(scores, found)
            times.setdefault(recipe.name, []).extend(taken)
    for method, by_case in scores.items():
        write_csv(by_case, (folder if only_fold is None else folder / f"fold{only_fold}") / f"scores {method}.csv")
    order = sorted(scores, key=lambda name: (name == FLOOR, name.endswith(SHUFFLED)))
    return Comparison({name: scores[name] for name in order}, seconds, {name: _mean(t) for name, t in times.items()})


def _check(recipes: Sequence[Recipe], starts: Mapping[str, str]) -> None:
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        raise UserError("Two recipes have the same name.", f"They are {', '.join(names)}.", "Name them differently.")
    for recipe in recipes:
        if recipe.task == CLASS_TASK:
            raise UserError(
                f"The recipe {recipe.name} cannot be compared on patients.", "It tells classes and makes no CT."
            )
        if recipe.task == NOISE_TASK:
            raise UserError(
                f"The recipe {recipe.name} cannot be compared on patients.",
                "It makes images from noise, which have no CT of their own to be scored against.",
                "Train it by itself, and compare what `synthct generate` makes.",
            )
    for recipe in recipes[1:]:
        if recipe.preparation != recipes[0].preparation:
            raise UserError(
                f"The recipes {recipes[0].name} and {recipe.name} prepare the volumes differently.",
                "Their scores could not be compared.",
                "Give both the same `preparation`.",
            )
    for later, earlier in starts.items():
        if later not in names or earlier not in names[: names.index(later)]:
            raise UserError(
                f"{later} cannot start from {earlier}.", "Both must be compared, the start first.", f"Order: {names}."
            )


def _add(scores: dict[str, dict[str, Scores]], found: Mapping[str, Mapping[str, Scores]]) -> None:
    for method, by_case in found.items():
        scores.setdefault(method, {}).update(by_case)


def _train(
    recipe: Recipe, cohort: Cohort, run: Path, split: Split, device: str, start: Path | None, events: Events
) -> float:
    """Train, or go on, unless the run is finished; return its seconds."""
    finished = run / "finished.json"
    if not finished.is_file():
        if (run / "checkpoints").is_dir():
            resume(run, device=device, events=events)
        else:
            train(recipe, cohort, run, device=device, split=split, initial_model=start, events=events)
        recorded, _ = read_events(run / "events.jsonl")
        finished.write_text(json.dumps({"seconds": round(recorded[-1]["time"] - recorded[0]["time"], 1)}))
    return float(json.loads(finished.read_text())["seconds"])


def _test(
    name: str,
    run: Path,
    cohort: Cohort,
    volumes: Mapping[str, Volume],
    split: Split,
    device: str,
    events: Events,
) -> tuple[dict[str, dict[str, Scores]], list[VolumeTime]]:
    """Score the model of ``run`` on what ``split`` holds out; slabs also with the MR's slices shuffled.

    The synthetic CTs are written on the grid of the prepared CTs, turned to axial.

    Returns the scores by method and case, and the time that each case took.
    """
    model = load_model(run)
    found: dict[str, dict[str, Scores]] = {name: {}}
    times = []
    chosen = str(choose_device(device))
    cts = {case.id: case for case in cohort}
    for case in split.test:
        volume = volumes[case]
        ct, mask = np.asarray(volume.ct), test_mask(volume, split)
        mr = np.asarray(volume.input)
        body = np.asarray(volume.mask)  # read from disk before the clock starts
        started = time.perf_counter()
        synthetic = _translated(mr, body, volume, model, chosen, events)
        times.append(VolumeTime(time.perf_counter() - started, mr.size, chosen))
        place = to_axial(read_image(cts[case].ct, cts[case].ct_series))
        write_image(image_from_array(synthetic, place), run / "test" / f"{case}.nii.gz", overwrite=True)
        found[name][case] = _scores(volume, ct, synthetic, mask)
        if split.slabs:
            order = np.random.default_rng(0).permutation(len(mr))
            shuffled = _translated(mr[order], body, volume, model, chosen, events)
            found.setdefault(name + SHUFFLED, {})[case] = _scores(volume, ct, shuffled, mask)
    return found, times


def _mean(times: Sequence[VolumeTime]) -> VolumeTime:
    seconds, voxels = (float(np.mean([getattr(each, name) for each in times])) for name in ("seconds", "voxels"))
    return VolumeTime(seconds, voxels, times[0].device)


def _scores(volume: Volume, ct: NDArray[np.generic], synthetic: NDArray[np.generic], mask: NDArray[np.bool_]) -> Scores:
    return score_arrays(ct, synthetic, mask, spacing=volume.spacing)


def test_mask(volume: Volume, split: Split) -> NDArray[np.bool_]:
    """The body voxels of a test case that are scored: all, or those of its test slab; z, y, x."""
    mask = np.asarray(volume.mask) > 0
    slabs = split.slabs.get("test", {}).get(volume.id)
    if slabs is None:
        return mask
    kept = np.zeros_like(mask)
    for start, stop in slabs:
        kept[start:stop] = mask[start:stop]
    return kept


def _trivial(volumes: Mapping[str, Volume], split: Split, recipe: Recipe) -> dict[str, dict[str, Scores]]:
    """Water, constant, look-up and interpolation, fitted on the training voxels, and the cost of a misalignment."""
    training = [(volume, slice(*slab)) for volume, slab in _training_slabs(volumes, split)]
    mrs = [_scaled_mr(volume, recipe)[slab] for volume, slab in training]
    cts = [np.asarray(volume.ct)[slab] for volume, slab in training]
    masks = [np.asarray(volume.mask)[slab] > 0 for volume, slab in training]
    lookup = IntensityLookup().fit(mrs, cts, masks)
    found: dict[str, dict[str, Scores]] = {WATER: {}, CONSTANT: {}, LOOKUP: {}}
    for case in split.test:
        volume = volumes[case]
        ct, mask, body = np.asarray(volume.ct), test_mask(volume, split), np.asarray(volume.mask) > 0
        guess = np.rint(np.where(body, lookup.apply(_scaled_mr(volume, recipe)), AIR_HU)).astype(np.int16)
        water = sitk.GetArrayFromImage(water_ct(axial_image(body.astype(np.uint8), volume.spacing)))
        found[WATER][case] = _scores(volume, ct, water, mask)
        found[CONSTANT][case] = _scores(volume, ct, constant_ct(cts, masks, body), mask)
        found[LOOKUP][case] = _scores(volume, ct, guess, mask)
        for start, stop in split.slabs.get("test", {}).get(case, ()):
            filled = ct.copy()
            filled[start:stop] = interpolated_slices(ct, start, stop, split.slabs["training"][case])
            found.setdefault(INTERPOLATION, {})[case] = _scores(volume, ct, filled, mask)
        found.setdefault(FLOOR, {})[case] = _scores(volume, ct, _shifted(ct, volume), mask)
    return found


def _training_slabs(volumes: Mapping[str, Volume], split: Split) -> list[tuple[Volume, tuple[int, int]]]:
    slabs = split.slabs.get("training", {})
    return [
        (volumes[case], slab) for case in split.training for slab in slabs.get(case, ((0, volumes[case].shape[0]),))
    ]


def _translated(
    mr: NDArray[np.generic], body: NDArray[np.generic], volume: Volume, model: Model, device: str, events: Events
) -> NDArray[np.int16]:
    """Translate an MR on the grid of ``volume`` as the model is applied."""
    inside = body if model.card["body_only"] else None
    return translate_prepared(model, mr, volume.spacing, inside, device, events)


def _scaled_mr(volume: Volume, recipe: Recipe) -> NDArray[np.float32]:
    scaling = make_scaling(recipe.data.input_scaling).fit(volume.input, volume.mask)
    return scaling.apply(np.asarray(volume.input))


def _shifted(ct: NDArray[np.generic], volume: Volume) -> NDArray[np.generic]:
    """The CT moved to the left by 2 mm: what misalignment alone costs."""
    moved = sitk.Resample(
        axial_image(ct, volume.spacing), sitk.TranslationTransform(3, (SHIFT_MM, 0, 0)), sitk.sitkLinear, float(AIR_HU)
    )
    return sitk.GetArrayFromImage(moved)
