"""Which of several processes this one is, as torchrun or SLURM's srun tell it in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from synthct.errors import UserError


@dataclass(frozen=True)
class Rank:
    """One process of those that share a task."""

    number: int = 0
    world: int = 1
    """How many there are, on all machines."""
    local: int = 0
    """Number among those on this machine: which of its GPUs it takes."""
    local_world: int = 1


def own_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """Return this process's rank: 0 of 1 where nobody started several.

    ``RANK`` and its companions (torchrun) come first, since torchrun also runs inside SLURM. The shell of a SLURM
    batch script and an interactive one are no tasks of srun, although they see how many tasks were asked for.

    Raises
    ------
    UserError
        Variables that are missing or make no sense.
    """
    try:
        if "RANK" in environment and "WORLD_SIZE" in environment:
            names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
            number, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
            local = int(environment.get("LOCAL_RANK", number))
            local_world = int(environment.get("LOCAL_WORLD_SIZE", world))
        elif _is_srun(environment):
            names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NNODES")
            number, world = int(environment["SLURM_PROCID"]), int(environment["SLURM_NTASKS"])
            local = int(environment.get("SLURM_LOCALID", number))
            evenly = -(-world // int(environment.get("SLURM_NNODES", "1")))
            local_world = max(evenly, local + 1)  # --ntasks may put more tasks on one node than on another
        else:
            return Rank()
    except ValueError as error:
        raise UserError("The environment variables of torchrun or SLURM cannot be read.", f"{error}.") from error
    if not (0 <= number < world and 0 <= local < local_world <= world):
        found = ", ".join(f"{name}={environment.get(name, '(none)')}" for name in names)
        raise UserError("The environment variables of torchrun or SLURM contradict each other.", f"{found}.")
    return Rank(number, world, local, local_world)


def _is_srun(environment: Mapping[str, str]) -> bool:
    if "SLURM_PROCID" not in environment or int(environment.get("SLURM_NTASKS", "1")) < 2:
        return False
    if environment.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return False
    return "SLURM_STEP_ID" in environment or "SLURM_JOB_ID" not in environment
