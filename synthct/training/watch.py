"""Trouble that shows in the numbers of a running training, said in words while there is time to do something.

A discriminator that has won, a critic that is flat, a validation that only gets worse, outputs that become alike
(mode collapse). The limits are our own and meant to stay silent in a training that learns; each says why it is so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthct.smoothing import RunningMean
from synthct.training.collapse import LATENTS_DIVERSITY
from synthct.training.validation import MAE

DIVERSITY = "samples/diversity"

WON_STEPS = 300
"""A discriminator may be far ahead for a while and lose its lead again, mostly at the start."""
WON_PAIR = 0.08
"""Of ``d_real`` + ``d_synthetic``. One that cannot tell has 1.39 with cross-entropy, 0.5 with least squares, 1 with
|σ(D) − label|; one that always can has 0.06 with cross-entropy and the label noise of 0.01, else 0."""
WON_HALVED = 0.02
"""Of a halved least-squares loss, as a CycleGAN's ``d_ct``: 0.25 where it cannot tell; 0.02 is within 0.2 of the label
everywhere."""
FLAT = 0.02
"""Of |1 − penalty|: (‖∇f‖ − 1)² is 1 where the critic's gradient is nothing."""
ALPHA = 0.01
"""Of the running mean that is compared: single batches say little, and 100 steps are still short beside 300."""
NO_BETTER = 5
"""Validations without a better one; a score goes up and down by itself."""
WORSE = 0.1
"""Share by which the last three validations together are worse than the best."""
ALIKE = 0.1
"""Share of the targets' own differences. A regression that only knows the mean patient has still more: it follows
the outline of bone and air. 0 is one picture for every input."""
ALIKE_PICTURES = 2
"""In so many sample grids in a row: one may come from the very first steps."""
LATENTS_ALIKE = 0.2
"""Share of the cases' own diversity, by MS-SSIM. Of trainings on small phantoms one of a latent vector that learned
kept more than 0.6; U-Nets fed a volume of noise, which learned to leave it unheeded, came down to 0.1."""
LATENTS_PICTURES = 3
"""In so many sample grids in a row: a generator begins with nearly one picture for every latent."""


@dataclass(frozen=True)
class Trouble:
    """A warning: ``cause`` is its name in the program, the rest is for a person."""

    cause: str
    what: str
    why: str
    todo: str


class Watch:
    """Looks at every number that a training reports; says each trouble once, and again only after it had gone."""

    def __init__(self) -> None:
        self._means: dict[str, RunningMean] = {}
        self._since: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self._scores: list[float] = []
        self._diversity: list[float] = []
        self._latents: list[float] = []
        self._said: set[str] = set()

    def add(self, step: int, values: Mapping[str, float]) -> list[Trouble]:
        """Take in what was reported at ``step`` and return what is to be said now."""
        found: dict[str, Trouble | None] = {}
        for name, distance, limit in distances_from_zero(values):
            mean = self._means.setdefault(name, RunningMean(ALPHA)).add(step, distance)
            if mean >= limit:
                self._since[name] = step
            near = step - self._since.setdefault(name, self._first.setdefault(name, step))
            found[name] = _won(name, mean, near) if near >= WON_STEPS else None
        if MAE in values:
            self._scores.append(values[MAE])
            found[MAE] = _worsening(self._scores) if is_worsening(self._scores) else None
        if DIVERSITY in values:
            self._diversity.append(values[DIVERSITY])
            found[DIVERSITY] = _alike(self._diversity[-1]) if are_alike(self._diversity) else None
        if LATENTS_DIVERSITY in values:
            self._latents.append(values[LATENTS_DIVERSITY])
            collapsed = have_collapsed(self._latents)
            found[LATENTS_DIVERSITY] = _collapsed(self._latents[-1]) if collapsed else None
        return list(self._new(found))

    def _new(self, found: Mapping[str, Trouble | None]) -> Iterator[Trouble]:
        for cause, trouble in found.items():
            if trouble is None:
                self._said.discard(cause)
            elif cause not in self._said:
                self._said.add(cause)
                yield trouble


def distances_from_zero(values: Mapping[str, float]) -> Iterator[tuple[str, float, float]]:
    """Give name, value and limit of each discriminator's loss (or critic's penalty) among the reported values."""
    if "loss/d_real" in values and "loss/d_synthetic" in values:
        yield "discriminator", values["loss/d_real"] + values["loss/d_synthetic"], WON_PAIR
    else:
        for name, value in values.items():
            if name.startswith("loss/d_"):
                yield f"discriminator of the {name.removeprefix('loss/d_').upper()}", value, WON_HALVED
    if "loss/penalty" in values:
        yield "critic", abs(1 - values["loss/penalty"]), FLAT


def is_worsening(scores: Sequence[float]) -> bool:
    """Whether the last validations (the lower the better) are worse than an earlier best one."""
    if len(scores) <= NO_BETTER:
        return False
    best = min(scores)
    return min(scores[-NO_BETTER:]) > best and float(np.mean(scores[-3:])) > (1 + WORSE) * best


def are_alike(shares: Sequence[float]) -> bool:
    """Whether the last values of `diversity` are near nothing."""
    return len(shares) >= ALIKE_PICTURES and max(shares[-ALIKE_PICTURES:]) < ALIKE


def have_collapsed(shares: Sequence[float]) -> bool:
    """Whether the last values of `synthct.training.collapse.LATENTS_DIVERSITY` are too small."""
    return len(shares) >= LATENTS_PICTURES and max(shares[-LATENTS_PICTURES:]) < LATENTS_ALIKE


def diversity(outputs: NDArray[np.floating], targets: NDArray[np.floating], masks: NDArray[Any]) -> float | None:
    """Return how much outputs for different inputs differ, as a share of how much their targets do.

    At every voxel that lies in the body in all samples, the standard deviation over samples; the mean of it over
    voxels, divided by the same of the targets. About 1 is right, 0 the same picture for every input.

    Parameters
    ----------
    outputs, targets, masks
        (samples, ...) of one shape, HU; masks are above 0 in the body.

    Returns
    -------
    float or None
        None where there is nothing to compare: one sample, no voxel in common, or targets that are equal.
    """
    common = (masks > 0).all(axis=0)
    if len(outputs) < 2 or not common.any():
        return None
    wanted = float(targets[:, common].std(axis=0).mean())
    return float(outputs[:, common].std(axis=0).mean()) / wanted if wanted > 0 else None


def _won(name: str, mean: float, steps: int) -> Trouble:
    if name == "critic":
        return Trouble(
            name,
            f"The critic has been flat for {steps} steps.",
            "Its gradient penalty is that of a critic without a gradient; the generator learns nothing from it.",
            "Stop, and start a new run with another first learning rate or norm of the critic.",
        )
    return Trouble(
        name,
        f"The {name} has won: its loss has been near zero for {steps} steps (mean {mean:.2g}).",
        "It tells real from synthetic every time, and the generator learns next to nothing from it.",
        "Look at the newest samples; where they get no better, start a new run with a lower learning rate of the "
        "discriminator, or with an L1 term.",
    )


def _worsening(scores: Sequence[float]) -> Trouble:
    best = int(np.argmin(scores))
    return Trouble(
        MAE,
        f"The validation has become worse: {scores[-1]:.1f} HU after {scores[best]:.1f} HU.",
        f"The last {len(scores) - 1 - best} validations were no better than that. The network learns the training "
        "cases by heart, or the training has become unstable.",
        "The best model is kept and the training can be stopped; `training.patience` does that by itself.",
    )


def _alike(share: float) -> Trouble:
    return Trouble(
        DIVERSITY,
        "The synthetic CTs of different slices have become alike (mode collapse).",
        f"They differ by {share:.0%} of what the true CTs differ by.",
        "Look at the newest samples; stop, and start a new run with a lower learning rate or an L1 term.",
    )


def _collapsed(share: float) -> Trouble:
    return Trouble(
        LATENTS_DIVERSITY,
        "The generator makes nearly the same image whatever it is fed (mode collapse).",
        f"By MS-SSIM its images of {LATENTS_PICTURES} sample grids in a row were far less diverse than the cases are; "
        f"now they have {share:.0%} of their diversity, and a warning comes below {LATENTS_ALIKE:.0%}.",
        "Look at the newest samples; if they stay alike, start a new run with a lower learning rate of the "
        "discriminator, another seed, or a method with a gradient penalty.",
    )
