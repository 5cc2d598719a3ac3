"""Optimisers and learning-rate schedules that a recipe may name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from torch import nn, optim
from torch.optim import Optimizer

from synthct.errors import UserError
from synthct.options import build

Parameters = Iterable[nn.Parameter]


def adam(
    parameters: Parameters, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.0
) -> Optimizer:
    """Adam (Kingma, Ba 2015); ``weight_decay`` is added to the gradient."""
    return optim.Adam(parameters, lr, (beta1, beta2), weight_decay=weight_decay)


def adamw(
    parameters: Parameters, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.01
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov, Hutter 2019)."""
    return optim.AdamW(parameters, lr, (beta1, beta2), weight_decay=weight_decay)


def nadam(
    parameters: Parameters, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.0
) -> Optimizer:
    """Adam with Nesterov momentum (Dozat 2016); what row A4 calls momentum is ``beta1``."""
    return optim.NAdam(parameters, lr, (beta1, beta2), weight_decay=weight_decay)


def sgd(parameters: Parameters, *, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> Optimizer:
    """Stochastic gradient descent."""
    return optim.SGD(parameters, lr, momentum, weight_decay=weight_decay)


def rmsprop(
    parameters: Parameters, *, lr: float, smoothing: float = 0.9, momentum: float = 0.0, weight_decay: float = 0.0
) -> Optimizer:
    """RMSprop (Tieleman, Hinton 2012), row C5; ``smoothing`` weighs the past squared gradients: Keras' rho of 0.9."""
    return optim.RMSprop(parameters, lr, smoothing, momentum=momentum, weight_decay=weight_decay)


OPTIMISERS: dict[str, Callable[..., Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "nadam": nadam,
    "sgd": sgd,
    "rmsprop": rmsprop,
}


class Schedule:
    """The learning rate as a function of the share of the training that is done: nothing to save or restore.

    Parameters
    ----------
    schedule
        ``constant``; ``cosine``: half a cosine from 1 to 0; ``linear-decay``: 1 until ``decay_from``, then
        linearly to 0 (CycleGAN: the second half).
    warmup
        Share of the training in which the rate first rises linearly from 0.
    decay_from
        Share of the training after which ``linear-decay`` begins.
    """

    def __init__(
        self,
        *,
        schedule: Literal["constant", "cosine", "linear-decay"] = "constant",
        warmup: float = 0.0,
        decay_from: float = 0.5,
    ) -> None:
        if not (0 <= warmup < 1 and 0 <= decay_from < 1):
            raise UserError("warmup and decay_from are shares of the training.", todo="Give 0 or more and less than 1.")
        self.schedule = schedule
        self.warmup = warmup
        self.decay_from = decay_from

    def factor(self, progress: float) -> float:
        """Return what the recipe's rate is multiplied by at ``progress``, 0 to 1."""
        if progress < self.warmup:
            # Never 0: the very first step would be lost.
            return max(progress, self.warmup / 100) / self.warmup
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))
        if self.schedule == "linear-decay":
            return min(1.0, (1 - progress) / (1 - self.decay_from))
        return 1.0


SCHEDULE_KEYS = ("schedule", "warmup", "decay_from")


class Schedules:
    """The schedules of a method's optimisers, applied at the start of each step."""

    def __init__(self, optimisers: Mapping[str, Optimizer], schedules: Mapping[str, Schedule]) -> None:
        self._bound = [
            (optimisers[name], optimisers[name].param_groups[0]["lr"], schedules[name]) for name in optimisers
        ]

    def apply(self, progress: float) -> None:
        """Set every optimiser's learning rate for ``progress``, 0 to 1."""
        for optimiser, rate, schedule in self._bound:
            for group in optimiser.param_groups:
                group["lr"] = rate * schedule.factor(progress)


def build_optimisers(
    entries: Mapping[str, Mapping[str, Any]], parameters: Mapping[str, Parameters]
) -> tuple[dict[str, Optimizer], Schedules]:
    """Build one optimiser for each name in ``parameters`` from the recipe's entry of that name.

    Raises
    ------
    UserError
        An entry is missing, superfluous, or has an unknown or wrong option.
    """
    check_roles("optimisers", entries, required=parameters)
    optimisers, schedules = {}, {}
    for name, group in parameters.items():
        entry = dict(entries[name])
        timing = {key: entry.pop(key) for key in SCHEDULE_KEYS if key in entry}
        where = f"`optimisers.{name}` of the recipe"
        optimisers[name] = build(OPTIMISERS, entry, where, list(group))
        schedules[name] = build({"schedule": Schedule}, {"name": "schedule", **timing}, where)
    return optimisers, Schedules(optimisers, schedules)


def check_roles(
    section: str, entries: Mapping[str, Any], required: Iterable[str], optional: Iterable[str] = ()
) -> None:
    """Refuse a recipe whose ``section`` lacks a role that the method has, or names one that it has not.

    Raises
    ------
    UserError
        Naming the role.
    """
    required, optional = list(required), list(optional)
    for role in required:
        if role not in entries:
            raise UserError(f"`{section}` of the recipe lacks `{role}`.", todo="Add it, or start from a preset.")
    for role in entries:
        if role not in (*required, *optional):
            known = ", ".join(dict.fromkeys((*required, *optional)))
            raise UserError(
                f"`{section}` of the recipe has `{role}`, which the method does not use.", todo=f"Known: {known}."
            )
