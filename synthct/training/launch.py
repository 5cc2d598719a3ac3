"""Device, precision and processes of a training, through Lightning Fabric."""

from __future__ import annotations

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from synthct.errors import UserError
from synthct.synthesis.device import choose_device
from synthct.synthesis.rank import Rank, own_rank

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")
_BF16_CAPABILITY = (8, 0)


def launch(device: str = "auto", precision: str = "auto", rank: Rank | None = None) -> Fabric:
    """Return a launched Fabric: one process on one device, or this process of those that torchrun or SLURM started.

    Parameters
    ----------
    device
        ``auto``, ``cpu``, ``cuda:N``; with several processes only its kind counts, each takes its own.
    precision
        ``auto``: bf16-mixed on a GPU that has it, 16-mixed on an older one, 32-true elsewhere.
    rank
        Which of several processes that train together this one is; None: as torchrun or SLURM says. `Rank()`: it
        trains alone, whoever started it.

    Raises
    ------
    UserError
        A device or precision that does not exist here, or a SLURM job that does not say how many tasks run on a node.
    """
    if precision not in PRECISIONS:
        raise UserError(f"`training.precision` is {precision}.", f"Known: {', '.join(PRECISIONS)}.")
    chosen = choose_device(device)
    rank = rank or own_rank()
    fabric = Fabric(
        accelerator=chosen.type,
        devices=rank.local_world if rank.world > 1 or chosen.type != "cuda" else [chosen.index or 0],
        num_nodes=max(1, rank.world // rank.local_world),
        strategy="ddp" if rank.world > 1 else "auto",
        precision=_resolved(precision, chosen),  # type: ignore[arg-type]
        plugins=[_environment(rank)],
    )
    fabric.launch()
    if chosen.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes are fixed
    return fabric


def _environment(rank: Rank) -> ClusterEnvironment:
    """Who started the processes: Fabric's own guess takes the shell of a SLURM batch script for a task of srun."""
    if rank.world == 1:
        return LightningEnvironment()
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise UserError(
            f"SLURM was asked for {rank.world} tasks, and not how many on each node.",
            "Every task trains on a GPU of its own node.",
            "Ask with --ntasks-per-node in place of --ntasks.",
        )
    return SLURMEnvironment()


def _resolved(precision: str, device: torch.device) -> str:
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "32-true"
    return "bf16-mixed" if torch.cuda.get_device_capability(device) >= _BF16_CAPABILITY else "16-mixed"
