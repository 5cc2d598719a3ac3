"""One pair at a place between two seeds, as files: what a latent slider asks the warm worker for (row D5)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.methods.noise import draw_latents
from synthct.synthesis.device import choose_device
from synthct.synthesis.generation.generate import check_request, class_number, interpolated, truncated
from synthct.synthesis.generation.pair import MaskOptions, make_pair
from synthct.synthesis.model_file import Model, load_model
from synthct.volumes.write import check_output, write_image


def generate_between(
    model: Path | str | Model,
    image: Path | str,
    mask: Path | str | None = None,
    seed: int = 0,
    between: int = 1,
    share: float = 0.0,
    class_name: str | None = None,
    threshold: float | None = None,
    minimum_mm3: float = 0.0,
    largest_only: bool = False,
    truncation: float | None = None,
    device: str = "auto",
    overwrite: bool = False,
    compress: bool = True,
    events: Events = SILENT,
    loader: Callable[[Path | str], Model] = load_model,
) -> Path:
    """Make the pair at ``share`` of the way from the first pair of ``seed`` to that of ``between`` and write it.

    It is the pair that `synthct.synthesis.generation.generate.generate` with ``between`` makes at that place.

    Parameters
    ----------
    image, mask
        Files to write; the mask is left out where ``mask`` is None or the model makes none.
    share
        0 to 1.
    class_name, truncation, device
        As `synthct.synthesis.generation.generate.generate`; without a class the first one.
    threshold, minimum_mm3, largest_only
        See `synthct.synthesis.generation.pair.MaskOptions`.
    overwrite, compress
        See `synthct.volumes.write.write_image`.
    loader
        What loads a model from its path.

    Returns
    -------
    Path
        The image.

    Raises
    ------
    UserError
        Anything wrong with the model, the options or the files; nothing is written then.
    """
    started = time.monotonic()
    if not (math.isfinite(share) and 0 <= share <= 1):
        raise UserError(f"The place between the seeds cannot be {share:g}.", todo="Give a number between 0 and 1.")
    masks = MaskOptions(threshold, minimum_mm3, largest_only)
    for path in (image, mask):
        if path is not None:
            check_output(Path(path), overwrite)
    events.progress(0, 1, "making a pair")
    chosen = choose_device(device)
    loaded = model if isinstance(model, Model) else loader(model)
    check_request(loaded, 2, seed, between, class_name)
    loaded.network.to(chosen)
    if truncation is not None:
        loaded = truncated(loaded, truncation)
    ends = [draw_latents(loaded.card["latent_shape"], 1, end, chosen)[0] for end in (seed, between)]
    made, outlined = make_pair(
        loaded, interpolated(ends[0], ends[1], share), class_number(loaded, 0, class_name, True), masks
    )
    path = write_image(made, image, overwrite, compress)
    volume = None
    if outlined is not None and mask is not None:
        write_image(outlined, mask, overwrite, compress)
        volume = round(int(sitk.GetArrayViewFromImage(outlined).sum()) * math.prod(outlined.GetSpacing()), 3)
    events.result(
        output=str(path.absolute()),
        mask=None if volume is None else str(Path(str(mask)).absolute()),
        mask_mm3=volume,
        model=loaded.card["name"],
        device=str(chosen),
        seconds=round(time.monotonic() - started, 3),
    )
    return path
