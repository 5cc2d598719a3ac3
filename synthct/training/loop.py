"""The training loop. It knows nothing of GANs: a method takes a step, the loop keeps, shows and stores."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from synthct.data.cache import Volume
from synthct.data.noise_batches import NoiseBatches
from synthct.data.patches import PatchBatches
from synthct.data.pieces import Ranges
from synthct.data.slices import SliceBatches
from synthct.data.split import Split
from synthct.errors import Cancelled, UserError
from synthct.events import Events
from synthct.methods.classification import Classification
from synthct.methods.method import Method
from synthct.methods.noise import NoiseMethod
from synthct.methods.segmentation import Segmentation
from synthct.recipe import IMAGE_TASKS, Augmentation, Recipe
from synthct.synthesis.model_file import save_model
from synthct.training.class_card import class_card
from synthct.training.class_judge import ClassJudge
from synthct.training.curves import Curves
from synthct.training.ema import Ema
from synthct.training.interrupt import Interrupt
from synthct.training.judge import Judge
from synthct.training.model_card import model_card, training_summary
from synthct.training.noise_card import noise_card
from synthct.training.noise_judge import NoiseJudge
from synthct.training.plan import make_plan
from synthct.training.reporting import Report
from synthct.training.run_folder import RunFolder
from synthct.training.snapshot import Standing, restore_snapshot, save_snapshot, states_of_all
from synthct.training.tissue_judge import TissueJudge
from synthct.training.translation_judge import TranslationJudge
from synthct.training.update import Update
from synthct.training.validation import as_applied

CHECKPOINT_S = 600.0
"""A long epoch is interrupted by a checkpoint after this many seconds."""
SAMPLES = 3
_AGREE_EVERY = 10


class Loop:
    """One training from where it stands to its end.

    Parameters
    ----------
    run, recipe, method, fabric
        What is trained, with what, where.
    volumes, split
        Cases by id, and which of them train and validate.
    facts
        Plain values that must be the same when the training is resumed; stored with every checkpoint.
    events
        Those of the run.
    """

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        method: Method,
        fabric: Fabric,
        volumes: Mapping[str, Volume],
        split: Split,
        facts: Mapping[str, Any],
        events: Events,
    ) -> None:
        training = recipe.training
        self.run, self.recipe, self.method, self.fabric, self.facts = run, recipe, method, fabric, facts
        _place(method.networks, fabric)
        _say_norms(method.networks, fabric, events)
        self._generator = method.networks[method.generator_role]
        self._ema = Ema(self._generator, training.ema) if training.ema is not None else None
        self._update = Update(fabric, method.optimisers)
        slabs = split.slabs.get("training")
        self.batches = _batches(
            recipe, volumes, split.training, slabs, training.batch, fabric.global_rank, fabric.world_size
        )
        self._validation = [
            (volumes[case], slab)
            for case in split.validation[: training.validation_volumes]
            for slab in split.slabs.get("validation", {}).get(case, (None,))
        ]
        self._shown = self._samples(volumes, split)
        self._training = [volumes[case] for case in split.training]
        cards = {NoiseMethod: noise_card, Classification: class_card}
        card = next((made for kind, made in cards.items() if isinstance(method, kind)), model_card)
        self._card = card(recipe, method, self._training)
        self._sizes = (len(split.training), len(split.validation))
        self.plan = make_plan(training, self.batches.steps_per_epoch, bool(self._validation))
        self.standing = Standing()
        self.judge = self._chosen_judge(volumes, split)
        curves = Curves(run.tensorboard) if fabric.is_global_zero else None
        self._report = Report(events, curves, self.plan, run.path, fabric.device)

    def restore(self) -> None:
        """Take everything back from the run's checkpoint."""
        self.standing = restore_snapshot(self.run, self.method, self._ema, self.fabric, self._report.events)

    def train(self, interrupt: Interrupt) -> Standing:
        """Take the remaining steps.

        Raises
        ------
        Cancelled
            The user ended it; a checkpoint is left.
        UserError
            A loss or weight is not a number any more, or the disk is full; the last checkpoint stays.
        """
        standing = self.standing
        self._report.begin(standing.step)
        try:
            if standing.step == 0:
                self._save()
            elif self._epoch_is_over():
                self._end_epoch(interrupt)
            saved = time.monotonic()
            for _ in self.steps():
                if self._epoch_is_over():
                    self._end_epoch(interrupt)
                    saved = time.monotonic()
                elif self._agreed(time.monotonic() - saved > CHECKPOINT_S):
                    self._save()
                    saved = time.monotonic()
                if self._agreed(interrupt.asked):
                    self._save()
                    raise Cancelled("The run can be resumed.")
        finally:
            self._report.close()
        return standing

    def steps(self) -> Generator[int, None, None]:
        """Take the remaining steps one by one, until the training is finished; gives the number taken after each."""
        if not self._finished():
            for batch in self._loader(self.standing.step):
                self._step(batch)
                yield self.standing.step
                if self._finished():
                    return

    def _step(self, batch: dict[str, Tensor]) -> None:
        step = self.standing.step
        torch.manual_seed(step_seed(self.recipe.training.seed, step, self.fabric.global_rank))
        kind = next(self._generator.parameters()).dtype  # not the 16 bits of mixed precision: HU need more
        batch = {
            name: value.to(kind) if value.is_floating_point() else value
            for name, value in self.fabric.to_device(batch).items()
        }
        with self.fabric.autocast():
            losses = self.method.training_step(batch, self._update, step / self.plan.total)
        if self._ema is not None:
            self._ema.update()
        self.standing.step += 1
        self._report.step(self.standing.step, losses)

    def _end_epoch(self, interrupt: Interrupt) -> None:
        """Validate, keep the model if it is the best, draw the sample grid, write a checkpoint."""
        standing, report = self.standing, self._report
        report.flush(standing.step)
        self._require_finite_weights()
        with report.pause():
            states = states_of_all(self.method, self.fabric)
            self._judge(as_applied(self._ema.network if self._ema is not None else self._generator), interrupt, states)
            self._generator.train()
            standing.epoch_ended = standing.step
            self._save(states)
        report.progress(standing.step)

    def _judge(self, network: nn.Module, interrupt: Interrupt, states: list[dict[str, Any]]) -> None:
        standing = self.standing
        scores: dict[str, float] = {}
        if standing.step in self.plan.validations:
            scores = self._validated(network, interrupt, states)
            self._report.scalars(standing.step, scores)
            score = scores[self.judge.criterion.name]
            better = self.judge.criterion.better(score, standing.best)
            standing.without_better = 0 if better else standing.without_better + 1
            if better:
                standing.best, standing.best_step = score, standing.step
        if self.fabric.is_global_zero:
            if standing.best_step == standing.step or not self._validation:
                self._keep(network, scores)
            self._draw(network)

    def _validated(self, network: nn.Module, interrupt: Interrupt, states: list[dict[str, Any]]) -> dict[str, float]:
        self._report.progress(self.standing.step, "validation")
        try:
            return self.judge.validate(network, self._validation, self.fabric, interrupt.events())
        except Cancelled:
            self._save(states)  # the epoch's end is not marked as done, and is done again on resuming
            raise
        finally:
            network.to(self.fabric.device)  # synthesis may have fled to the CPU when memory ran out

    def _keep(self, network: nn.Module, scores: Mapping[str, float]) -> None:
        summary = training_summary(
            self.recipe, self._sizes, self.standing.step, scores, self.facts.get("initial_model")
        )
        card = self.judge.described(self._card, network, self._training, self.fabric.device)
        save_model(self.run.model, network, {**card, "training": summary})

    def _draw(self, network: nn.Module) -> None:
        """Write the epoch's sample grid and say so."""
        number = self.plan.epoch(self.standing.step)
        path = self.run.samples / f"epoch_{number:04d}.png"
        title = f"{self.recipe.name}, epoch {number}, step {self.standing.step}"
        told = self.judge.draw(path, network, self._shown, title, self.fabric.device)
        self._report.events.sample(path, self.standing.step)
        if told:
            self._report.scalars(self.standing.step, told)

    def _save(self, states: list[dict[str, Any]] | None = None) -> None:
        """Write a checkpoint; without ``states`` (`states_of_all`) every process must take part."""
        states = states_of_all(self.method, self.fabric) if states is None else states
        self._report.flush(self.standing.step)
        self._require_finite_weights()
        if self.fabric.is_global_zero:
            save_snapshot(self.run, self.standing, self.method, states, self._ema, self.fabric, self.facts)
        self._report.skip()

    def _require_finite_weights(self) -> None:
        for role, network in self.method.networks.items():
            norms = torch._foreach_norm([value for value in network.state_dict().values() if value.is_floating_point()])
            if not torch.stack(norms).isfinite().all():
                raise self._report.not_a_number(f"A weight of the {role}", self.standing.step)

    def _loader(self, start: int) -> DataLoader:
        return DataLoader(
            self.batches,  # type: ignore[arg-type]
            batch_size=None,
            sampler=range(start, self.plan.total),
            num_workers=self.recipe.training.workers,
            pin_memory=self.fabric.device.type == "cuda",
            worker_init_fn=_leave_signals,
        )

    def _samples(self, volumes: Mapping[str, Volume], split: Split) -> dict[str, Tensor]:
        part = "validation" if split.validation else "training"
        data = dataclasses.replace(self.recipe.data, augmentation=Augmentation(), paired=True)
        recipe = dataclasses.replace(self.recipe, data=data)
        return _batches(recipe, volumes, split.part(part), split.slabs.get(part), 1).preview(SAMPLES)

    def _chosen_judge(self, volumes: Mapping[str, Volume], split: Split) -> Judge:
        method = self.method
        if isinstance(method, NoiseMethod):
            seen = (split.training, split.validation)
            held_out, all_of_them = (
                NoiseBatches(volumes, ids, self.recipe.data, 1, 0) if ids else None
                for ids in (split.validation, [case for part in seen for case in part])
            )
            return NoiseJudge(self._card, held_out, all_of_them)
        if isinstance(method, Classification):
            return ClassJudge(method, self.recipe.data)
        return TissueJudge(method, self._card) if isinstance(method, Segmentation) else TranslationJudge(self._card)

    def _epoch_is_over(self) -> bool:
        return self.standing.step > self.standing.epoch_ended and self.plan.ends_epoch(self.standing.step)

    def _finished(self) -> bool:
        patience = self.recipe.training.patience
        enough = patience is not None and self.standing.without_better >= patience
        return self.standing.epoch_ended == self.plan.total or enough

    def _agreed(self, asked: bool) -> bool:
        """Whether to end now; several processes ask each other now and then."""
        if self.fabric.world_size == 1:
            return asked
        if self.standing.step % _AGREE_EVERY:
            return False
        votes = torch.tensor(float(asked), device=self.fabric.device)
        torch.distributed.all_reduce(votes)
        return bool(votes.item() > 0)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of torch's generator for one step of one process."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _batches(
    recipe: Recipe,
    volumes: Mapping[str, Volume],
    ids: Sequence[str],
    slabs: Ranges | None,
    batch: int,
    rank: int = 0,
    world: int = 1,
) -> SliceBatches | PatchBatches | NoiseBatches:
    """Return what cuts the samples of a recipe."""
    if recipe.task in IMAGE_TASKS:
        if slabs:
            raise UserError(
                "The split divides cases by slabs of slices.",
                "Whole images are learned.",
                "Give a split by patient, or none.",
            )
        return NoiseBatches(volumes, ids, recipe.data, batch, recipe.training.seed, rank, world)
    kind = PatchBatches if len(recipe.data.size) == 3 else SliceBatches
    return kind(volumes, ids, recipe.data, batch, recipe.training.seed, rank, world, ranges=slabs)


def _place(networks: nn.ModuleDict, fabric: Fabric) -> None:
    """Move networks to their device and precision; parameters stay the objects that optimisers hold.

    On several GPUs batch norm takes its statistics from the joint batch; names in ``state_dict`` stay as they were.
    """
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(networks)
    networks.to(fabric.device)
    fabric.strategy.precision.convert_module(networks)
    slicewise = all(weight.ndim < 5 for weight in networks.parameters())
    if slicewise and fabric.device.type in ("cuda", "cpu"):  # a fifth faster on the CPU; untried in 3D and elsewhere
        networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    networks.train()


def _say_norms(networks: nn.ModuleDict, fabric: Fabric, events: Events) -> None:
    """Say what batch norm does in a training by several processes."""
    norms = [module for module in networks.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if fabric.world_size == 1 or not norms:
        return
    if isinstance(norms[0], nn.SyncBatchNorm):
        events.emit("norms", message="Batch norm takes its statistics from the batches of all processes together.")
    else:
        events.warning(
            "Each process has its own batch norm.",
            "Statistics are shared on GPUs only. The kept model has the running statistics of the first process.",
            "Set `norm` of the networks to instance or group for a training that does not depend on the processes.",
        )


def _leave_signals(_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; only the training itself answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
