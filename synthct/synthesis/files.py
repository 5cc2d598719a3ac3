"""From an MR file to a synthetic CT file: what the command line and the warm worker do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.synthesis.device import choose_device
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.sanity import Watch
from synthct.synthesis.translate import translate
from synthct.volumes.read import read_image
from synthct.volumes.write import check_output, write_image


def synthesize_file(
    model: Path | str | Model,
    input: Path | str,
    output: Path | str,
    mask: Path | str | None = None,
    planes: Sequence[str] | None = None,
    device: str = "auto",
    overwrite: bool = False,
    events: Events = SILENT,
    batch: int | None = None,
    series: str | None = None,
    uneven: str = "refuse",
    compress: bool = True,
    loader: Callable[[Path | str], Model] = load_model,
) -> Path:
    """Read a volume, translate it and write the result aside and renamed, so that no half of it is ever seen.

    Parameters
    ----------
    model
        A run folder, a model folder, or a model in memory.
    input
        NIfTI, NRRD, MetaImage, or a folder of DICOM slices.
    output
        ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``.
    mask
        File of a mask outside of which the result is air; ``"auto"``: the body found in the input; ``"none"``: no mask;
        None: ``"auto"`` for a model that learned inside the body alone (``body_only`` of its card), else no mask.
    planes
        None: the first plane that the model was trained on.
    device, batch
        See `synthct.synthesis.translate.translate`.
    overwrite
        Replace an output that exists.
    events
        Hears progress, warnings and, last, the result.
    series
        SeriesInstanceUID in a DICOM folder that holds several.
    uneven
        DICOM slices at uneven distances or missing ones: ``"refuse"`` or ``"interpolate"``.
    compress
        Pack NRRD and MetaImage; NIfTI goes by its ending.
    loader
        What loads a model from its path.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    UserError
        Anything wrong with the files, the model, the device or the options; nothing is written then.
    """
    started = time.monotonic()
    input, output = Path(input).expanduser(), Path(output).expanduser()
    sources = [input] if mask in (None, "auto", "none") else [input, Path(str(mask)).expanduser()]
    for source in sources:
        if _same_file(source, output):
            raise UserError(
                f"Input and output are the same file, {output}.", "It would be lost.", "Choose another output."
            )
    check_output(output, overwrite)
    events.progress(0, 1, "loading", input.name)
    chosen = choose_device(device)
    loaded = model if isinstance(model, Model) else loader(model)
    image = read_image(input, series, uneven, events)
    region: sitk.Image | str | None = None
    if len(sources) > 1:
        region = read_image(sources[-1])
    elif mask == "auto" or (mask is None and loaded.card.get("body_only", False)):
        region = "auto"
    read = time.monotonic()
    chosen_planes = list(planes or [*loaded.card.get("planes", []), "axial"][:1])
    with Watch(loaded, events, str(input)) as watch:
        result = translate(image, loaded, chosen_planes, region, chosen, batch, events, str(input), watch)
    del image, region
    translated = time.monotonic()
    path = write_image(result, output, overwrite, compress)
    events.result(
        output=str(path.absolute()),
        model=loaded.card["name"],
        planes=chosen_planes,
        device=str(chosen),
        likeness=watch.likeness.to_dict(),
        cut_off=watch.cut_off,
        seconds={
            "loading": round(read - started, 3),
            "synthesis": round(translated - read, 3),
            "writing": round(time.monotonic() - translated, 3),
        },
    )
    return path


def _same_file(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))
