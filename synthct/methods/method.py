"""What the training loop asks of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from synthct.methods.generation import preview

Update = Callable[[str, Tensor], None]
"""``update(optimiser, loss)``: clear the gradients of that optimiser's parameters, backward, (all-reduce), step."""

Batch = dict[str, Tensor]
"""``input`` (N, channels, rows, columns) and ``target`` (N, 1, rows, columns), both scaled, and ``mask``
(N, 1, rows, columns), 1 inside the body that the target shows. When samples are not paired, the target and its
``target_mask`` come from other slices than the input and its ``mask``."""


class Method(Protocol):
    """Networks, how they are updated, and what is kept. One file each in this folder.

    Attributes
    ----------
    networks
        By role; the loop moves them to the device.
    optimisers
        By the name that `training_step` gives to ``update``.
    generator_role
        The network that is validated, kept as the model and exported: it takes ``input`` and gives the target.
    paired
        Whether ``input`` and ``target`` must show the same slice.
    body_only
        Whether the losses leave out what lies outside the body: what the generator gives there means nothing.
    classes
        What the channels of that network's output stand for, where it takes the CT and gives scores of classes;
        empty: it takes ``input`` and gives the target.
    pretrained
        Networks that come trained and stay as they are: role → model folder. The run puts them in their places.
    cycle
        Steps after which every network has had its turn.
    """

    networks: nn.ModuleDict
    optimisers: dict[str, Optimizer]
    generator_role: str
    paired: bool
    body_only: bool
    classes: tuple[str, ...] = ()
    cycle: int = 1
    pretrained: Mapping[str, str] = MappingProxyType({})

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update the networks and return the losses, detached, in the order of the paper.

        Learning rates and weights that change during training are set here from ``progress``: the share of the
        training that is done, 0 at the first step. Every draw comes from torch's global generator, which the loop
        seeds for each step. A network whose turn does not come at every step leaves its losses out of the others.
        """
        ...

    def preview(self, batch: Batch) -> Tensor:
        """Return the target's prediction (N, 1, rows, columns), scaled: no gradients, networks in eval mode."""
        return preview(self.networks[self.generator_role], batch)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs beside networks and optimisers: tensors and plain values; here nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state, got {sorted(state)}")
