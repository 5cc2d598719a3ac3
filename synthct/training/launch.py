"""Device, precision and processes of a training, through Lightning Fabric."""

from __future__ import annotations

import os

import torch
from lightning_fabric import Fabric

from synthct.errors import UserError
from synthct.synthesis.device import choose_device

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")
_BF16_CAPABILITY = (8, 0)


def launch(device: str = "auto", precision: str = "auto") -> Fabric:
    """Return a launched Fabric: one process on one device, or this process of those that torchrun or SLURM started.

    Parameters
    ----------
    device
        ``auto``, ``cpu``, ``cuda:N``; with several processes only its kind counts, each takes its own.
    precision
        ``auto``: bf16-mixed on a GPU that has it, 16-mixed on an older one, 32-true elsewhere.

    Raises
    ------
    UserError
        A device or precision that does not exist here.
    """
    if precision not in PRECISIONS:
        raise UserError(f"`training.precision` is {precision}.", f"Known: {', '.join(PRECISIONS)}.")
    chosen = choose_device(device)
    world, on_this_machine = _processes()
    fabric = Fabric(
        accelerator=chosen.type,
        devices=on_this_machine if world > 1 or chosen.type != "cuda" else [chosen.index or 0],
        num_nodes=max(1, world // on_this_machine),
        strategy="ddp" if world > 1 else "auto",
        precision=_resolved(precision, chosen),  # type: ignore[arg-type]
    )
    fabric.launch()
    if chosen.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes are fixed
    return fabric


def _processes() -> tuple[int, int]:
    """Number of processes that were started for this training, in all and on this machine."""
    if "LOCAL_WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        return int(os.environ["SLURM_NTASKS"]), int(os.environ["SLURM_NTASKS"]) // nodes
    return 1, 1


def _resolved(precision: str, device: torch.device) -> str:
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "32-true"
    return "bf16-mixed" if torch.cuda.get_device_capability(device) >= _BF16_CAPABILITY else "16-mixed"
