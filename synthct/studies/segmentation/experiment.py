"""The segmentation experiment: does a network find lesions better with synthetic data? (rows B10, B11, C14, D4)

For every arm of a recipe one network per fold is trained, the test cases are segmented by their ensemble, and each mask
is scored per patient. The experiment's folder holds everything, and is all that processes and machines share::

    recipe.yaml, cases.json         what was asked for; which cases train, validate and are tested, and what was checked
    volumes/SET/CASE/               prepared CTs and masks
    arms/ARM/foldK/                 one training (a run folder each); ``then/`` in it: the fine-tuning after it
    masks/ARM/ITERATIONS/           what the ensemble found, on the grid of each test CT
    scores/ARM.csv                  of each arm; once all are there, `synthct.studies.segmentation.report` sums them up

What is finished is never done again. A training or a test belongs to the process that holds its lock; others pass on to
the next, and whoever finishes last writes the table.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from synthct.data.voxel_hash import VoxelHashes
from synthct.errors import UserError
from synthct.evaluation.masks.report import PRESENT, as_csv
from synthct.evaluation.masks.scores import mask_scores
from synthct.events import SILENT, Events
from synthct.locks import Claim, turn
from synthct.studies.segmentation.cases import Cases, FoldCases, LesionCase, chosen, find_cases, in_folds, with_counts
from synthct.studies.segmentation.leaks import refuse_leaks
from synthct.studies.segmentation.recipe import CASES, ROOT, Arm, Count, ExperimentRecipe
from synthct.synthesis.cohort_synthesis import own_device
from synthct.synthesis.device import choose_device
from synthct.synthesis.rank import own_rank
from synthct.synthesis.segment import load_segmenter, segment_image
from synthct.training.segmentation.loop import Adaptation, train_segmenter
from synthct.training.segmentation.settings import SegmentationTraining
from synthct.training.segmentation.volumes import LesionVolume, prepare_lesion_volume
from synthct.volumes.geometry import array_of, require_same_grid
from synthct.volumes.read import read_image
from synthct.volumes.write import write_image
from synthct.whole_file import write_whole

FINISHED, RECIPE = "finished.json", "recipe.yaml"
GROUP, PATIENT = "training_set", "patient"


class Experiment:
    """One experiment in its folder.

    Parameters
    ----------
    recipe
        What is compared.
    root
        Folder that the recipe's relative paths start from.
    folder
        New, or begun with the same recipe.
    device
        ``auto``, ``cpu``, ``cuda:N``; of several processes that torchrun or srun started each takes the next GPU.

    Raises
    ------
    UserError
        Cases that cannot be used, a leak, a folder that was begun with another recipe.
    """

    def __init__(
        self, recipe: ExperimentRecipe, root: Path, folder: Path, device: str = "auto", events: Events = SILENT
    ) -> None:
        self.recipe, self.folder, self._events = recipe, folder, events
        self._root = root.absolute()
        self._device = str(own_device(device, own_rank()))  # refused before hours of preparation
        self.cases = find_cases(recipe, root, events)
        self.plan = {arm.name: planned(arm, self.cases, recipe) for arm in recipe.all_arms}
        with turn(folder / ".beginning"):  # machines that start at once
            self._begin()
            self.checked = refuse_leaks(recipe, self.cases, root, VoxelHashes(folder / "hashes.json"), events)
            write_whole(folder / CASES, json.dumps(self._described(), indent=1, ensure_ascii=False) + "\n")

    def run(self, only_arms: Sequence[str] = (), only_fold: int | None = None) -> bool:
        """Train, test and score what is not done yet and nobody else works on; return whether every arm has scores.

        Parameters
        ----------
        only_arms
            Leave the others to other processes; none: all.
        only_fold
            Train this fold alone (1 is the first).

        Raises
        ------
        UserError
            An arm or fold that there is not, or as for `train_segmenter`.
        Cancelled
            SIGINT or SIGTERM; the same call goes on.
        """
        self._check(only_arms, only_fold)
        jobs = [
            (arm, number)
            for arm in self.recipe.all_arms
            if not only_arms or arm.name in only_arms
            for number in range(len(self.plan[arm.name]))
            if only_fold in (None, number + 1)
        ]
        for done, (arm, number) in enumerate(jobs):
            self._events.progress(done, len(jobs), "trainings", f"{arm.name}, fold {number + 1}")
            with self._held(self._run(arm, number)) as mine:
                if mine:
                    self._train(arm, number)
        self._events.progress(len(jobs), len(jobs), "trainings")
        for arm in self.recipe.all_arms:
            if (only_arms and arm.name not in only_arms) or not self._trained(arm):
                continue
            with self._held(self.folder / "scores" / f".{arm.name}") as mine:
                if mine and not self.scores_of(arm).is_file():
                    self._test(arm)
        return not self.open_arms()

    def open_arms(self) -> list[str]:
        """Return the arms without scores."""
        return [arm.name for arm in self.recipe.all_arms if not self.scores_of(arm).is_file()]

    def scores_of(self, arm: Arm) -> Path:
        """Return where an arm's scores lie once they are there."""
        return self.folder / "scores" / f"{arm.name}.csv"

    def marks(self, arm: Arm) -> tuple[int, ...]:
        """Return the iterations under which the networks of an arm are tested; of a fine-tuned one, those before it.

        So it is compared with arms that were trained as long as the one it started from.
        """
        marks = self.recipe.training.marks(len(self.plan[arm.name][0].first.training))
        return marks if arm.then is None else marks[-1:]

    def _check(self, only_arms: Sequence[str], only_fold: int | None) -> None:
        for name in only_arms:
            if name not in self.plan:
                raise UserError(f"There is no arm {name}.", f"The recipe has {', '.join(self.plan)}.")
        if only_fold is not None and not 1 <= only_fold <= self.recipe.folds:
            raise UserError(f"There is no fold {only_fold}.", f"The recipe has {self.recipe.folds}.")

    def _begin(self) -> None:
        """Store the recipe, or refuse a folder that was begun with another one."""
        path = self.folder / RECIPE
        text = yaml.safe_dump(_comparable(self.recipe), sort_keys=False, allow_unicode=True)
        try:
            if path.is_file() and path.read_text(encoding="utf-8") != text:
                raise UserError(
                    f"{self.folder} was begun with another recipe.",
                    "Its networks and those of this recipe could not be compared.",
                    f"Choose another folder, or see in its {RECIPE} what differs.",
                )
            if not path.is_file() and any(not entry.name.startswith(".") for entry in self.folder.iterdir()):
                raise UserError(f"{self.folder} is not empty.", "It holds no experiment.", "Choose another folder.")
            write_whole(path, text)
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be written.", f"{error.strerror}.", "Choose another folder."
            ) from error

    def _described(self) -> dict[str, Any]:
        def ids(cases: Sequence[LesionCase]) -> list[str]:
            return [case.key for case in cases]

        return {
            ROOT: str(self._root),
            "checked": self.checked,
            "test": ids(self.cases.test),
            "arms": {
                name: [
                    {
                        "training": ids(stages.first.training),
                        "validation": ids(stages.first.validation),
                        **({"then": ids(stages.then.training)} if stages.then else {}),
                        **({"target": ids(stages.target)} if stages.target else {}),
                    }
                    for stages in folds
                ]
                for name, folds in self.plan.items()
            },
        }

    def _run(self, arm: Arm, number: int) -> Path:
        return self.folder / "arms" / arm.name / f"fold{number + 1}"

    @contextmanager
    def _held(self, folder: Path) -> Iterator[bool]:
        """Hold a folder; False where another living process does."""
        claim = Claim(folder / "lock")
        if not claim.take():
            yield False
            return
        with claim:
            yield True

    def _train(self, arm: Arm, number: int) -> None:
        """Train one fold of an arm, or go on with it, unless it is finished."""
        run, stages = self._run(arm, number), self.plan[arm.name][number]
        if (run / FINISHED).is_file():
            return
        name = f"{self.recipe.name} {arm.name} fold {number + 1}"
        seed = self.recipe.seed * 1000 + number
        adaptation = None
        if arm.adapt is not None:
            adaptation = Adaptation(tuple(self._prepared(stages.target)), arm.adapt.weight)
        models = train_segmenter(
            run,
            name,
            self.recipe.training,
            self._prepared(stages.first.training),
            self._prepared(stages.first.validation),
            seed,
            self._device,
            adaptation=adaptation,
            events=self._events,
        )
        if stages.then is not None:
            models = train_segmenter(
                run / "then",
                name,
                self._last_settings(arm),
                self._prepared(stages.then.training),
                self._prepared(stages.then.validation),
                seed,
                self._device,
                initial=models[-1],
                events=self._events,
            )[-1:]
        content = {"models": [path.relative_to(run).as_posix() for path in models]}
        write_whole(run / FINISHED, json.dumps(content))

    def _last_settings(self, arm: Arm) -> SegmentationTraining:
        """Return the settings of the training whose networks are tested."""
        settings, then = self.recipe.training, arm.then
        if then is not None and then.iterations is not None:
            settings = dataclasses.replace(settings, iterations=(then.iterations,), epochs=None)
        if then is not None and then.lr is not None:
            settings = dataclasses.replace(settings, optimiser={**settings.optimiser, "lr": then.lr})
        return settings

    def _prepared(self, cases: Sequence[LesionCase]) -> list[LesionVolume]:
        volumes = []
        for number, case in enumerate(cases):
            folder = self.folder / "volumes" / case.set / case.id
            spacing = self.recipe.training.spacing
            volumes.append(prepare_lesion_volume(case.key, case.ct, case.mask, folder, spacing, case.series))
            self._events.progress(number + 1, len(cases), "preparing volumes", case.key)
        return volumes

    def _trained(self, arm: Arm) -> bool:
        return all((self._run(arm, number) / FINISHED).is_file() for number in range(len(self.plan[arm.name])))

    def _test(self, arm: Arm) -> None:
        """Segment every test case by the ensemble of the folds, and write the scores of the arm."""
        device = choose_device(self._device)
        rows: list[dict[str, Any]] = []
        test = self.cases.test
        runs = [self._run(arm, number) for number in range(len(self.plan[arm.name]))]
        kept = [json.loads((run / FINISHED).read_text())["models"] for run in runs]
        for place, iterations in enumerate(self.marks(arm)):
            models = [load_segmenter(run / names[place], device) for run, names in zip(runs, kept, strict=True)]
            for number, case in enumerate(test):
                self._events.progress(number, len(test), f"testing {arm.name}", case.id)
                ct, truth = read_image(case.ct, case.series), read_image(case.mask)
                require_same_grid(ct, truth, (f"The CT of case {case.key}", "its mask"))
                found = segment_image(models, ct, device)
                write_image(found, self.folder / "masks" / arm.name / str(iterations) / f"{case.id}.nii.gz", True)
                scores = mask_scores(array_of(truth), array_of(found), ct.GetSpacing())
                present = "yes" if np.any(array_of(truth)) else "no"
                rows.append({GROUP: arm.name, "iterations": iterations, PATIENT: case.id, PRESENT: present, **scores})
        write_whole(self.scores_of(arm), as_csv(rows, {}))

    def counts(self) -> dict[str, str]:
        """Return in words what each arm learns from."""
        return {arm.name: _in_words(arm, self.plan[arm.name]) for arm in self.recipe.all_arms}


@dataclasses.dataclass(frozen=True)
class Stages:
    """What one network of an arm learns from, in order."""

    first: FoldCases
    then: FoldCases | None = None
    target: tuple[LesionCase, ...] = ()
    """Without masks."""


def planned(arm: Arm, cases: Cases, recipe: ExperimentRecipe) -> list[Stages]:
    """Return what each network of an arm learns from, one for each fold that is trained.

    A patient who validates a fold trains nothing in it, not even as a target of the adaptation.

    Raises
    ------
    UserError
        Too few cases or patients.
    """

    def parted(sources: Mapping[str, Count]) -> tuple[LesionCase, ...]:
        return chosen(arm.name, sources, cases)

    # All stages share the folds: what chooses a network must not have trained it before.
    first, then = parted(arm.sources), parted(arm.then.sources) if arm.then else ()
    target = parted(arm.adapt.target) if arm.adapt else ()
    if recipe.folds == 1:
        return [Stages(FoldCases(first), FoldCases(then) if then else None, target)]
    every = tuple(dict.fromkeys([*first, *then, *target]))
    stages = []
    for fold in in_folds(every, recipe.folds)[: arm.ensemble]:
        training = set(fold.training)

        def share(part: tuple[LesionCase, ...], learns: set[LesionCase] = training) -> FoldCases:
            held = tuple(case for case in part if case not in learns)
            return FoldCases(tuple(case for case in part if case in learns), held)

        stages.append(Stages(share(first), share(then) if then else None, share(target).training))
    return stages


def _in_words(arm: Arm, folds: Sequence[Stages]) -> str:
    def counted(parts: Sequence[FoldCases]) -> str:
        cases = tuple(dict.fromkeys(case for part in parts for case in (*part.training, *part.validation)))
        return " + ".join(f"{count} {name}" for name, count in with_counts(cases).items())

    text = counted([stages.first for stages in folds])
    if folds[0].then is not None:
        text += f", then {counted([stages.then for stages in folds if stages.then is not None])}"
    if arm.adapt is not None:
        targets = tuple(dict.fromkeys(case for stages in folds for case in stages.target))
        text += (
            f", adapted to {' + '.join(f'{count} {name}' for name, count in with_counts(targets).items())} unlabelled"
        )
    return text


def _comparable(recipe: ExperimentRecipe) -> dict[str, Any]:
    """Return the recipe as it is stored: without what may change between two calls."""
    plain = recipe.to_dict()
    del plain["training"]["workers"]
    return plain
