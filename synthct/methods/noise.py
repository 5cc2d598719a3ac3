"""What all methods that make images from noise share: latents, the shape of what they make, how networks are built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.method import Batch, Method
from synthct.methods.optimisers import check_roles
from synthct.networks.registry import build_network
from synthct.recipe import FROM_NOISE_ONLY, IMAGE_TASKS, NOISE_TASK, Augmentation, Data, Recipe
from synthct.volumes.montage import Montage
from synthct.volumes.scaling import make_scaling


class NoiseMethod(Method):
    """A method whose generator takes latents (and classes) in place of an image.

    A batch of it is ``target`` (N, channels, \\*``data.size``), scaled to [−1, 1]: channel 0 the image, channel 1 its
    mask where ``data.masks`` is ``channel``; where it is ``joined``, one channel with the image's slices, then the
    mask's. With ``data.classes`` it also has ``class`` (N,), int64, numbers in that list.

    ``networks["generator"](latent, classes=None)`` returns (N, channels, \\*``data.size``) in [−1, 1] and knows its
    ``latent_shape``, ``dimensions`` (2 or 3) and ``classes`` (their number, 0: none).

    Attributes
    ----------
    published_images
        How many images its authors trained it with; a run with far fewer warns. None: they do not say.
    """

    published_images: int | None = None

    generator_role = "generator"
    paired = False
    body_only = False

    def preview(self, batch: Batch) -> Tensor:
        """Return one image for each of ``batch["latent"]`` (N, \\*latent_shape): no gradients, in eval mode."""
        generator = self.networks[self.generator_role]
        training = generator.training
        generator.eval()
        with torch.no_grad():
            images: Tensor = generator(batch["latent"], batch.get("class"))
        generator.train(training)
        return images


def draw_latents(
    shape: Sequence[int],
    count: int,
    seed: int | torch.Generator | None = None,
    device: torch.device | str = "cpu",
    first: int = 0,
) -> Tensor:
    """Return latents (count, \\*shape), standard normal, float32.

    Parameters
    ----------
    shape
        ``latent_shape`` of a generator.
    seed
        A number: latent ``first`` + n follows from it and n alone, however many are drawn and on whatever device.
        A generator of ``device``, or None for torch's global one: the next draws of it, as in a training step.
    first
        Number of the first latent; with a seed only.
    """
    if seed is None or isinstance(seed, torch.Generator):
        return torch.randn((count, *shape), generator=seed, device=device)
    drawn = []
    for number in range(first, first + count):
        own = torch.Generator()
        own.manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
        drawn.append(torch.randn(tuple(shape), generator=own))
    return torch.stack(drawn).to(device) if drawn else torch.empty((0, *shape), device=device)


def latent_shape_of(generator: nn.Module) -> tuple[int, ...]:
    """Return the shape of one latent of ``generator``."""
    shape: Any = generator.latent_shape
    return tuple(int(length) for length in shape)


def pair_channels(data: Data) -> int:
    """Return the channels of a batch's ``target``: 2 where the mask is one of its own, else 1."""
    return 2 if data.masks == "channel" else 1


def generator_entry(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's entry of the generator; with ``data.classes``, their number is its option ``classes``."""
    entry = dict(recipe.networks["generator"])
    return {**entry, "classes": len(recipe.data.classes)} if recipe.data.classes else entry


def build_noise_networks(recipe: Recipe, latent: int, judges: Sequence[str] = ("discriminator",)) -> nn.ModuleDict:
    """Build the generator and the networks that judge its images; all see the number of classes where there are any.

    Parameters
    ----------
    latent
        First entry of the generator's ``latent_shape``.
    judges
        Roles of the networks that take a pair and give one judgement.

    Raises
    ------
    UserError
        A role is missing or an entry is wrong.
    """
    check_roles("networks", recipe.networks, required=["generator", *judges])
    channels = pair_channels(recipe.data)
    classes = {"classes": len(recipe.data.classes)} if recipe.data.classes else {}
    entries: dict[str, tuple[Mapping[str, Any], int, int]] = {"generator": (generator_entry(recipe), latent, channels)}
    entries |= {role: ({**recipe.networks[role], **classes}, channels, 1) for role in judges}
    return nn.ModuleDict(
        {
            role: build_network(entry, taken, given, recipe.data.size, where=f"`networks.{role}` of the recipe")
            for role, (entry, taken, given) in entries.items()
        }
    )


def require_noise_recipe(recipe: Recipe) -> None:
    """Refuse what does not go with images from noise or the classes of images, and their keys in other recipes.

    Raises
    ------
    UserError
        Naming the recipe's key.
    """
    data = recipe.data
    if recipe.task not in IMAGE_TASKS:
        given = [f"data.{name}" for name in FROM_NOISE_ONLY if getattr(data, name) != getattr(Data(), name)]
        given += [] if recipe.preparation.crop is None else ["preparation.crop"]
        if given:
            raise UserError(
                f"`{given[0]}` does not go with `task: {recipe.task}`.",
                f"It is for images from noise (`task: {NOISE_TASK}`).",
                "Leave it out.",
            )
        return
    what = "images from noise" if recipe.task == NOISE_TASK else "the classes of images"
    if data.neighbours:
        raise UserError(f"`data.neighbours` cannot be {data.neighbours} for {what}.", todo="Set it to 0.")
    if dataclasses.replace(data.augmentation, flip=False) != Augmentation():
        raise UserError(
            f"`data.augmentation` can only have `flip` for {what}.",
            "Whatever else is changed in the images, the network learns to make."
            if recipe.task == NOISE_TASK
            else "Whole images are shown as they are.",
            "Leave the other keys out; augmented images can be made into cases of their own.",
        )
    if make_scaling(data.target_scaling).percentiles is not None:
        raise UserError(
            f"`data.target_scaling` cannot be {data.target_scaling['name']} for {what}.",
            "It is taken from each volume, and a generated one has none to take it from.",
            "Take hagan-ct or ct-window.",
        )
    if data.masks != "none" and data.mask_scaling.get("name") not in ("hagan-mask", "hagan-mask-binary"):
        raise UserError(
            f"`data.mask_scaling` cannot be {data.mask_scaling.get('name')}.",
            todo="Take hagan-mask (values 0, 1, 2) or hagan-mask-binary (0, 1).",
        )
    if data.masks == "joined" and (len(data.size) != 3 or data.size[0] % 2):
        raise UserError(
            "`data.masks: joined` needs a `data.size` of three entries whose first is even.",
            f"It is {list(data.size)}; half of the slices are the mask's.",
            "Correct it, or set `data.masks` to channel.",
        )
    if data.fit == "montage" and (len(data.size) != 2 or data.planes != ("axial",) or data.augmentation.flip):
        raise UserError(
            "`data.fit: montage` needs a `data.size` of rows and columns, axial slices and no flip.",
            "All slices of a volume lie on one picture; its mirror image would have them in another order.",
            "Correct them, or choose another `data.fit`.",
        )
    if data.fit == "montage":
        Montage((data.size[0], data.size[1]), data.montage_slice)
    if len(set(data.classes)) != len(data.classes) or len(data.classes) == 1:
        raise UserError(
            f"`data.classes` cannot be {', '.join(data.classes)}.", todo="Name two or more different ones, or none."
        )
    if recipe.preparation.registration != "none" or recipe.preparation.bias_correction:
        raise UserError(
            f"Images for a training of {what} are neither registered nor corrected."
            if recipe.task != NOISE_TASK
            else "Images for a training from noise are neither registered nor corrected.",
            "There is no MR.",
            "Set `preparation.registration` to none and `preparation.bias_correction` to false.",
        )
