"""What of a training goes into a checkpoint, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric

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
    """Lowest validation MAE in HU."""
    best_step: int = 0
    without_better: int = 0
    """Validations since then."""


def save_snapshot(
    run: RunFolder, standing: Standing, method: Method, ema: Ema | None, fabric: Fabric, facts: Mapping[str, Any]
) -> None:
    """Write the run's checkpoint; ``facts`` are plain values that must be the same when it is resumed.

    Raises
    ------
    UserError
        The disk is full; the checkpoint before it is kept.
    """
    rest, pools = take_tensors_out(method.state_dict())
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


def restore_snapshot(run: RunFolder, method: Method, ema: Ema | None, fabric: Fabric) -> Standing:
    """Take everything back from the run's checkpoint and cut off the events that came after it.

    Raises
    ------
    UserError
        There is none, or it is damaged.
    """
    summary, tensors, state = load_checkpoint(run.checkpoints)
    method.networks.load_state_dict(tensors["networks"])
    for name, optimiser in method.optimisers.items():
        optimiser.load_state_dict(state["optimisers"][name])
    method.load_state_dict(put_tensors_back(state["method"], tensors["method"]))
    if ema is not None:
        ema.load(tensors["ema"], state["ema_updates"])
    if state["loss_scale"] and fabric.strategy.precision.state_dict():
        fabric.strategy.precision.load_state_dict(state["loss_scale"])
    if fabric.is_global_zero:
        run.cut_events(summary["events_size"])
    return Standing(**summary["standing"])
