"""What of a training goes into a checkpoint, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from synthct.events import Events
from synthct.methods.method import Method
from synthct.training.checkpoint import load_checkpoint, put_tensors_back, save_checkpoint, take_tensors_out
from synthct.training.ema import Ema
from synthct.training.run_folder import RunFolder


@dataclass
class Standing:
    """How far a training has come."""

    step: int = 0
    """Steps taken."""
    epoch_ended: int = 0
    """The last step whose validation, sample grid and model are done."""
    best: float | None = None
    """Best validation score: MAE in HU, or the mean Dice of a segmentation."""
    best_step: int = 0
    without_better: int = 0
    """Validations since then."""


def save_snapshot(
    run: RunFolder,
    standing: Standing,
    method: Method,
    states: list[dict[str, Any]],
    ema: Ema | None,
    fabric: Fabric,
    facts: Mapping[str, Any],
) -> None:
    """Write the run's checkpoint.

    Parameters
    ----------
    states
        ``method.state_dict()`` of every process, as `states_of_all` gives them.
    facts
        Plain values that must be the same when it is resumed.

    Raises
    ------
    UserError
        The disk is full; the checkpoint before it is kept.
    """
    rest, pools = take_tensors_out(states)
    tensors = {"networks": method.networks.state_dict(), "method": pools}
    if ema is not None:
        tensors["ema"] = ema.tensors()
    state = {
        "optimisers": {name: optimiser.state_dict() for name, optimiser in method.optimisers.items()},
        "method": rest,
        "ema_updates": ema.updates if ema is not None else 0,
        "loss_scale": fabric.strategy.precision.state_dict(),
    }
    summary = {"standing": dataclasses.asdict(standing), "events_size": run.events_size(), "facts": dict(facts)}
    save_checkpoint(run.checkpoints, summary, tensors, state)


def states_of_all(method: Method, fabric: Fabric) -> list[dict[str, Any]]:
    """Return what ``method`` keeps beside its networks in each process, by rank. All processes must call it."""
    states: list[Any] = [method.state_dict()]
    if fabric.world_size > 1:
        states = [None] * fabric.world_size
        torch.distributed.all_gather_object(states, method.state_dict())
    return states


def restore_snapshot(run: RunFolder, method: Method, ema: Ema | None, fabric: Fabric, events: Events) -> Standing:
    """Take everything back from the run's checkpoint and cut off the events that came after it.

    Where another number of processes goes on with it, each takes the state of one of those that were, in turn, and
    a warning says that the training differs from then on: a recipe's batch is that of one process.

    Raises
    ------
    UserError
        There is none, or it is damaged.
    """
    summary, tensors, state = load_checkpoint(run.checkpoints)
    method.networks.load_state_dict(tensors["networks"])
    for name, optimiser in method.optimisers.items():
        optimiser.load_state_dict(state["optimisers"][name])
    states = put_tensors_back(state["method"], tensors["method"])
    method.load_state_dict(states[fabric.global_rank % len(states)])
    if ema is not None:
        ema.load(tensors["ema"], state["ema_updates"])
    if state["loss_scale"] and fabric.strategy.precision.state_dict():
        fabric.strategy.precision.load_state_dict(state["loss_scale"])
    if fabric.is_global_zero:
        run.cut_events(summary["events_size"])
    if len(states) != fabric.world_size:
        events.warning(
            f"The run {run.path} was trained by {len(states)} processes and goes on with {fabric.world_size}.",
            "Each has the recipe's batch, so that a step now shows another number of images; image pools of "
            "processes that are gone are lost, those of new ones are copies.",
            f"Start {len(states)} processes to go on exactly.",
        )
    return Standing(**summary["standing"])
