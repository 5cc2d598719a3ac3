"""CycleGAN: Zhu et al. 2017 as section 3.3 of the Umeå thesis has it (row A7)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.generation import frozen
from synthct.methods.image_pool import ImagePool
from synthct.methods.losses import least_squares, masked_l1
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.networks.registry import build_network
from synthct.recipe import Recipe

REAL, SYNTHETIC = 1.0, 0.0
"""Zhu et al.'s labels; the text leaves them open."""


class CycleGAN(Method):
    """Two generators, MR → CT and back, two discriminators, and the demand that a round trip ends where it began.

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` (MR → CT) and ``discriminator`` (of CT); ``generator_to_mr`` and
        ``discriminator_mr`` if they shall differ from these two. Optimisers ``generator`` and ``discriminator``,
        each for both networks of the kind.
    cycle_weight
        Of the mean absolute error after a round trip.
    cycle_weight_end
        Value that ``cycle_weight`` falls to, linearly over the whole training (Wang, Lin, "CycleGAN with better
        cycles": the text's remedy for the output's drift back to the MR); None: it stays.
    identity_weight
        Of |G(CT) − CT| and |F(MR) − MR|; None: these are left out.
    pool
        Past synthetic images that the discriminators are shown again (50 in Zhu et al.); 0: none.

    Raises
    ------
    UserError
        2.5D data (a round trip through one slice cannot give several back), or an entry is wrong.
    """

    generator_role = "generator"

    def __init__(
        self,
        recipe: Recipe,
        *,
        cycle_weight: float = 10.0,
        cycle_weight_end: float | None = None,
        identity_weight: float | None = None,
        pool: int = 50,
    ) -> None:
        if recipe.data.neighbours:
            raise UserError(
                "The method cyclegan takes single slices.",
                f"`data.neighbours` is {recipe.data.neighbours}, and the way back from a CT slice gives one MR slice.",
                "Set it to 0.",
            )
        roles = {
            "generator": "generator",
            "generator_to_mr": "generator",
            "discriminator": "discriminator",
            "discriminator_mr": "discriminator",
        }
        check_roles("networks", recipe.networks, required=dict.fromkeys(roles.values()), optional=roles)
        entries = {role: recipe.networks.get(role, recipe.networks[like]) for role, like in roles.items()}
        self.networks = nn.ModuleDict(
            {
                role: build_network(entry, 1, 1, recipe.data.size, where=f"`networks.{role}` of the recipe")
                for role, entry in entries.items()
            }
        )
        self.optimisers, self._schedules = build_optimisers(
            recipe.optimisers,
            {
                kind: [p for role in roles if roles[role] == kind for p in self.networks[role].parameters()]
                for kind in ("generator", "discriminator")
            },
        )
        self.paired = recipe.data.paired
        self.body_only = False
        self._cycle_weight = cycle_weight
        self._cycle_weight_end = cycle_weight if cycle_weight_end is None else cycle_weight_end
        self._identity_weight = identity_weight or 0.0
        self._pools = {"ct": ImagePool(pool), "mr": ImagePool(pool)}

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update both generators together, then both discriminators together (Zhu et al.'s order).

        Losses: ``g_ct`` and ``g_input`` (adversarial), ``cycle_input`` and ``cycle_ct``, ``identity_ct`` and
        ``identity_input`` where the recipe has them (all unweighted), ``d_ct``, ``d_input``.
        """
        self._schedules.apply(progress)
        to_ct, to_mr = self.networks["generator"], self.networks["generator_to_mr"]
        judge_ct, judge_mr = self.networks["discriminator"], self.networks["discriminator_mr"]
        mr, ct = batch["input"], batch["target"]

        with frozen(judge_ct, judge_mr):
            synthetic_ct, synthetic_mr = to_ct(mr), to_mr(ct)
            losses = {
                "g_ct": least_squares(judge_ct(synthetic_ct), REAL),
                "g_input": least_squares(judge_mr(synthetic_mr), REAL),
                "cycle_input": masked_l1(to_mr(synthetic_ct), mr),
                "cycle_ct": masked_l1(to_ct(synthetic_mr), ct),
            }
            loss = losses["g_ct"] + losses["g_input"]
            loss = loss + self.cycle_weight(progress) * (losses["cycle_input"] + losses["cycle_ct"])
            if self._identity_weight:
                losses["identity_ct"] = masked_l1(to_ct(ct), ct)
                losses["identity_input"] = masked_l1(to_mr(mr), mr)
                loss = loss + self._identity_weight * (losses["identity_ct"] + losses["identity_input"])
            update("generator", loss)

        losses["d_ct"] = _judgement(judge_ct, ct, self._pools["ct"].query(synthetic_ct))
        losses["d_input"] = _judgement(judge_mr, mr, self._pools["mr"].query(synthetic_mr))
        update("discriminator", losses["d_ct"] + losses["d_input"])
        return {name: value.detach() for name, value in losses.items()}

    def cycle_weight(self, progress: float) -> float:
        """Return the weight of the round trip at ``progress``, 0 to 1."""
        return self._cycle_weight + progress * (self._cycle_weight_end - self._cycle_weight)

    def state_dict(self) -> dict[str, Any]:
        """Return the image pools."""
        return {name: pool.state_dict() for name, pool in self._pools.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, pool in self._pools.items():
            pool.load_state_dict(state[name])


def _judgement(discriminator: nn.Module, real: Tensor, synthetic: Tensor) -> Tensor:
    """A discriminator's loss, halved as in Zhu et al. so that it learns more slowly than the generators."""
    return 0.5 * (least_squares(discriminator(real), REAL) + least_squares(discriminator(synthetic), SYNTHETIC))
