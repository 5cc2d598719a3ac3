"""Every number of the training of one segmentation network (rows B10, C14)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from synthct.errors import UserError
from synthct.options import Options


@dataclass(frozen=True)
class SegmentationTraining:
    """How a network is trained to find lesions; the same for every arm of an experiment."""

    network: Options
    """``unet-3d`` or ``segresnet`` with options."""
    optimiser: Options
    """As in `synthct.recipe`: adam, adamw, ... with lr, weight_decay and schedule."""
    patch: tuple[int, int, int]
    """Slices, rows, columns."""
    iterations: tuple[int, ...] = ()
    """The network is kept, tested and scored after each of these."""
    epochs: int | None = None
    """In place of ``iterations``: times that every volume gives its patches."""
    patches_per_volume: int = 8
    """In one epoch; background and lesion are equally likely in a patch's centre."""
    batch: int = 2
    """Patches at once."""
    spacing: tuple[float, float, float] | None = None
    """x, y, z in mm; None: each image's own."""
    intensity: Options = field(default_factory=lambda: {"name": "ct-window", "low": -1024.0, "high": 2000.0})
    """Scaling of the HU, one of a fixed window."""
    flip: bool = False
    """Mirror a patch along each axis with probability 1/2."""
    validate_every: int = 1000
    """Iterations between validations, where folds leave cases to validate on, and between checkpoints."""
    validation_cases: int | None = 20
    """At most so many are looked at; None: all."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"] = "auto"
    workers: int = 0
    """Processes that cut patches ahead."""

    def __post_init__(self) -> None:
        for name in ("patches_per_volume", "batch", "validate_every", "validation_cases", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"The recipe's `training.{name}` cannot be {value}.", todo="Give 1 or more.")
        if self.workers < 0 or min(self.patch) < 1 or min(self.spacing or (1.0,)) <= 0:
            raise UserError(
                "The recipe's `training.workers`, `patch` or `spacing` is below what it can be.",
                todo="Give 0 or more workers, and sides and spacings above 0.",
            )
        if bool(self.iterations) == bool(self.epochs):
            raise UserError(
                "The recipe must have either `training.iterations` or `training.epochs`.", todo="Give one of them."
            )
        if self.iterations and (min(self.iterations) < 1 or list(self.iterations) != sorted(set(self.iterations))):
            raise UserError(
                f"The recipe's `training.iterations` cannot be {self.iterations}.", todo="Give rising numbers above 0."
            )

    def marks(self, volumes: int) -> tuple[int, ...]:
        """Return the iterations after which the network is kept, with so many training volumes; the last ends it."""
        if self.iterations:
            return self.iterations
        assert self.epochs is not None
        return (max(1, -(-self.epochs * volumes * self.patches_per_volume // self.batch)),)
