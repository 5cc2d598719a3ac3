"""One segmentation network trained from where it stands to its end; interrupted, it goes on as if it had not been."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from synthct.errors import Cancelled, UserError
from synthct.events import SILENT, Events
from synthct.methods.lesion_segmentation import CLASSES, LesionSegmentation
from synthct.synthesis.model_file import load_model, save_model
from synthct.synthesis.predictor import is_out_of_memory
from synthct.synthesis.rank import Rank
from synthct.synthesis.segment import lesion_probability, segmentation_card
from synthct.training.checkpoint import read_summary
from synthct.training.curves import Curves
from synthct.training.interrupt import Interrupt
from synthct.training.launch import launch
from synthct.training.loop import step_seed
from synthct.training.plan import Plan
from synthct.training.reporting import Report
from synthct.training.run_folder import RunFolder
from synthct.training.segmentation.batches import LesionBatches
from synthct.training.segmentation.settings import SegmentationTraining
from synthct.training.segmentation.volumes import LesionVolume
from synthct.training.snapshot import Standing, restore_snapshot, save_snapshot, states_of_all
from synthct.training.update import Update
from synthct.volumes.scaling import make_scaling


@dataclass(frozen=True)
class Adaptation:
    """CTs of another domain, without masks, from which the network's features shall not differ (row D4)."""

    target: tuple[LesionVolume, ...]
    weight: float


def train_segmenter(
    folder: Path,
    name: str,
    settings: SegmentationTraining,
    training: Sequence[LesionVolume],
    validation: Sequence[LesionVolume] = (),
    seed: int = 0,
    device: str = "auto",
    initial: Path | None = None,
    adaptation: Adaptation | None = None,
    events: Events = SILENT,
) -> list[Path]:
    """Train, or go on, and return the models that were kept, one for each of ``settings.marks``.

    Each is the best so far by the mean Dice of ``validation``, the weights as they are where there is none. On the CPU,
    with as many threads, a training that was killed gives bit for bit the weights of one that was not.

    Parameters
    ----------
    folder
        Of this network alone, held by the caller; see `synthct.training.run_folder.RunFolder` for what comes into it.
    name
        Of the model.
    initial
        Model that it starts from (fine-tuning).

    Raises
    ------
    UserError
        Nothing to train on, a folder that was begun with something else, a loss that is no number, too little memory.
    Cancelled
        SIGINT or SIGTERM; the same call goes on.
    """
    if not training:
        raise UserError(f"There is no case to train {name} on.", todo="Correct the recipe's arms.")
    run = RunFolder(folder)
    own = run.events(events)
    try:
        fabric = launch(device, settings.precision, Rank())
        loop = _Loop(run, name, settings, training, validation, seed, fabric, initial, adaptation, own)
        with Interrupt() as interrupt:
            loop.train(interrupt)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"The memory is too small for the training of {name}.",
            f"It takes {settings.batch} patches of {'×'.join(map(str, settings.patch))} voxels at once.",
            "Give the recipe smaller patches, a smaller batch or fewer filters.",
        ) from error
    return [_kept(folder, mark) for mark in loop.marks]


def _kept(folder: Path, mark: int) -> Path:
    """Return where the model of a number of iterations is kept."""
    return folder / f"at_{mark}"


class _Loop:
    def __init__(
        self,
        run: RunFolder,
        name: str,
        settings: SegmentationTraining,
        training: Sequence[LesionVolume],
        validation: Sequence[LesionVolume],
        seed: int,
        fabric: Fabric,
        initial: Path | None,
        adaptation: Adaptation | None,
        events: Events,
    ) -> None:
        self._run, self._settings, self._seed, self._fabric = run, settings, seed, fabric
        self._validation = list(validation[: settings.validation_cases])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_seed(seed, 0, 1))
            weight = adaptation.weight if adaptation is not None else 0.0
            self._method = LesionSegmentation(settings.network, settings.optimiser, settings.patch, weight)
        target = adaptation.target if adaptation is not None else ()
        self._facts = _facts(settings, seed, training, self._validation, initial, target, weight)
        if initial is not None:
            self._start_from(initial)
        self._network = self._method.networks["segmenter"]
        self._method.networks.to(fabric.device)
        fabric.strategy.precision.convert_module(self._method.networks)
        self._method.networks.train()
        self._update = Update(fabric, self._method.optimisers)
        self._batches = LesionBatches(training, settings, seed, target)
        self.marks = settings.marks(len(training))
        total, every = self.marks[-1], settings.validate_every
        ends = sorted({*range(every, total, every), *self.marks})
        self._ends = set(ends)
        self._plan = Plan(total, every, tuple(ends) if self._validation else ())
        self._report = Report(events, Curves(run.tensorboard), self._plan, run.path, fabric.device)
        self._card = segmentation_card(
            name,
            dict(settings.network),
            settings.patch,
            settings.spacing,
            dict(settings.intensity),
            CLASSES,
            {"cases": [volume.id for volume in training], "seed": seed, "domain_weight": weight},
        )

    def train(self, interrupt: Interrupt) -> None:
        summary = read_summary(self._run.checkpoints)
        self._standing = Standing()
        if summary is not None:
            if summary["facts"] != self._facts:
                raise UserError(
                    f"{self._run.path} was begun with other settings or images.",
                    "Going on would give weights that no recipe describes.",
                    "Undo the change, or choose another folder for the experiment.",
                )
            self._standing = restore_snapshot(self._run, self._method, None, self._fabric, self._report.events)
        self._report.begin(self._standing.step)
        try:
            if self._standing.step == 0:
                self._save()
            for batch in self._loader():
                self._step(batch)
                if self._standing.step in self._ends:
                    self._end(interrupt)
                if interrupt.asked:
                    self._save()
                    raise Cancelled("The experiment goes on with the same command.")
        finally:
            self._report.close()

    def _loader(self) -> Iterator[dict[str, torch.Tensor]]:
        return iter(
            DataLoader(
                self._batches,  # type: ignore[arg-type]
                batch_size=None,
                sampler=range(self._standing.step, self._plan.total),
                num_workers=self._settings.workers,
                pin_memory=self._fabric.device.type == "cuda",
            )
        )

    def _step(self, batch: Mapping[str, torch.Tensor]) -> None:
        step = self._standing.step
        torch.manual_seed(step_seed(self._seed, step, 0))
        kind = next(self._network.parameters()).dtype
        moved = {key: value.to(kind) for key, value in self._fabric.to_device(dict(batch)).items()}
        with self._fabric.autocast():
            losses = self._method.training_step(moved, self._update, step / self._plan.total)
        self._standing.step += 1
        self._report.step(self._standing.step, losses)

    def _end(self, interrupt: Interrupt) -> None:
        """Validate, keep what is to be kept, and write a checkpoint."""
        standing, step = self._standing, self._standing.step
        self._report.flush(step)
        if self._validation:
            self._report.progress(step, "validation")
            score = self._validated(interrupt)
            self._report.scalars(step, {"validation/dice": score})
            if standing.best is None or score > standing.best:
                standing.best, standing.best_step = score, step
                save_model(self._run.model, self._network, self._described(step, score))
        if step in self.marks:
            if not self._validation:
                save_model(self._run.model, self._network, self._described(step, None))
            model = load_model(self._run.model)
            save_model(_kept(self._run.path, step), model.network, model.card)
        standing.epoch_ended = step
        self._save()
        self._report.progress(step)

    def _validated(self, interrupt: Interrupt) -> float:
        """Return the mean Dice of the validation volumes: 1 where rightly nothing was found."""
        scaling, scores = make_scaling(self._settings.intensity), []
        self._network.eval()
        try:
            for volume in self._validation:
                if interrupt.asked:  # the checkpoint before this validation has it done again
                    raise Cancelled("The experiment goes on with the same command.")
                scaled = scaling.apply(np.asarray(volume.image))
                found = lesion_probability(self._network, scaled, self._settings.patch, self._fabric.device) >= 0.5
                truth = np.asarray(volume.mask) > 0
                both = int(found.sum()) + int(truth.sum())
                scores.append(2 * int((found & truth).sum()) / both if both else 1.0)
        finally:
            self._network.train()
        return float(np.mean(scores))

    def _described(self, step: int, score: float | None) -> dict[str, Any]:
        scores = {} if score is None else {"validation_dice": round(score, 4)}
        return {**self._card, "training": {**self._card["training"], "iterations": step, **scores}}

    def _save(self) -> None:
        self._report.flush(self._standing.step)
        states = states_of_all(self._method, self._fabric)
        save_snapshot(self._run, self._standing, self._method, states, None, self._fabric, self._facts)
        self._report.skip()

    def _start_from(self, path: Path) -> None:
        model = load_model(path)
        try:
            self._method.networks["segmenter"].load_state_dict(model.network.state_dict())
        except RuntimeError as error:
            raise UserError(
                f"The model {path} cannot be the start of this training.",
                "Its network differs from the recipe's.",
                "Train both with one recipe.",
            ) from error


def _facts(
    settings: SegmentationTraining,
    seed: int,
    training: Sequence[LesionVolume],
    validation: Sequence[LesionVolume],
    initial: Path | None,
    target: Sequence[LesionVolume],
    weight: float,
) -> dict[str, Any]:
    """What must not change while a training is interrupted."""
    plain = {**dataclasses.asdict(settings), "workers": 0, "seed": seed, "weight": weight}
    cases = [[[volume.id, volume.image_hash] for volume in part] for part in (training, validation, target)]
    return {
        "settings": hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest(),
        "cases": hashlib.sha256(json.dumps(cases).encode()).hexdigest(),
        "initial": None if initial is None else load_model(initial).card["weights_sha256"],
    }
