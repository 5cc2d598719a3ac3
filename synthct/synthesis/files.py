"""From the file of an MR or a label map to a synthetic CT file: what the command line and the warm worker do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.synthesis.card import require_translation
from synthct.synthesis.device import choose_device
from synthct.synthesis.likeness.watch import Watch
from synthct.synthesis.local_update import REACH_MM, local_update
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.translate import translate
from synthct.synthesis.uncertainty.calibration_file import calibrated
from synthct.synthesis.uncertainty.estimate import Uncertainty, planes_of, translate_with_uncertainty
from synthct.volumes.read import read_image
from synthct.volumes.write import check_output, write_image
from synthct.whole_file import require_apart


def synthesize_file(
    model: Path | str | Model | Sequence[Path | str | Model],
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
    uncertainty: Sequence[str] | None = None,
    uncertainty_output: Path | str | None = None,
    samples: int = 10,
    seed: int = 0,
    flips: Sequence[str] = ("left-right",),
    previous_labels: Path | str | None = None,
    previous_ct: Path | str | None = None,
    reach_mm: float = REACH_MM,
) -> Path:
    """Read a volume, translate it and write the result aside and renamed, so that no half of it is ever seen.

    Parameters
    ----------
    model
        A run folder, a model folder, or a model in memory; several of them with the uncertainty ``models``.
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
    uncertainty
        Modes of `synthct.synthesis.uncertainty.estimate.Uncertainty`: the output is the mean of several predictions.
    uncertainty_output
        Where their standard deviation in HU goes, float32; multiplied by the factor that `synthct calibrate` stored
        beside the model for this setting, where it did.
    samples, seed, flips
        See `synthct.synthesis.uncertainty.estimate.Uncertainty`.
    previous_labels, previous_ct, reach_mm
        The input is an edited label map: only what the edit can influence is synthesised anew, the rest is the old CT's
        (`synthct.synthesis.local_update`).

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
    sought = Uncertainty(tuple(uncertainty), samples, seed, tuple(flips)) if uncertainty else None
    paths = [model] if isinstance(model, str | Path | Model) else list(model)
    _check_belonging(sought, uncertainty_output, len(paths))
    before = _before(previous_labels, previous_ct, sought)
    input, output = Path(input).expanduser(), Path(output).expanduser()
    sources = [input] if mask in (None, "auto", "none") else [input, Path(str(mask)).expanduser()]
    reserved = [*sources, *before]
    outputs = [output, *([] if uncertainty_output is None else [Path(uncertainty_output).expanduser()])]
    require_apart(outputs, reserved)
    for target in outputs:
        check_output(target, overwrite)
    events.progress(0, 1, "loading", input.name)
    chosen = choose_device(device)
    models = [each if isinstance(each, Model) else loader(each) for each in paths]
    for each in models:
        require_translation(each.card)
    loaded = models[0]
    image = read_image(input, series, uneven, events)
    region: sitk.Image | str | None = None
    if len(sources) > 1:
        region = read_image(sources[-1])
    elif mask == "auto" or (mask is None and any(each.card.get("body_only", False) for each in models)):
        region = "auto"
    read = time.monotonic()
    chosen_planes = list(planes or [*loaded.card.get("planes", []), "axial"][:1])
    facts: dict[str, Any] = {}
    if before:
        earlier = (read_image(before[0]), image, read_image(before[1]))
        result = local_update(*earlier, loaded, chosen_planes, region, reach_mm, chosen, batch, events, str(input))
    elif sought is None:
        with Watch(loaded, events, str(input)) as watch:
            result = translate(image, loaded, chosen_planes, region, chosen, batch, events, str(input), watch)
        facts |= {"likeness": watch.likeness.to_dict(), "cut_off": watch.cut_off}
    else:
        chosen_planes = list(planes_of(loaded, sought, planes))
        spread = translate_with_uncertainty(
            image, models, sought, planes, region, chosen, batch, events, str(input), likeness=True
        )
        result, deviation = spread.mean, calibrated(spread, models, sought, planes)
        assert spread.likeness is not None
        facts |= {"likeness": spread.likeness.to_dict(), "uncertainty": deviation.to_dict()}
        events.warning(deviation.sentence)
        write_image(deviation.image, outputs[1], overwrite, compress)
    del image, region
    translated = time.monotonic()
    path = write_image(result, output, overwrite, compress)
    events.result(
        output=str(path.absolute()),
        model=loaded.card["name"],
        planes=chosen_planes,
        device=str(chosen),
        **facts,
        seconds={
            "loading": round(read - started, 3),
            "synthesis": round(translated - read, 3),
            "writing": round(time.monotonic() - translated, 3),
        },
    )
    return path


def _check_belonging(uncertainty: Uncertainty | None, output: Path | str | None, models: int) -> None:
    if (uncertainty is None) != (output is None):
        raise UserError(
            "The uncertainty lacks its output." if output is None else "The uncertainty's output lacks its modes.",
            "Modes say how it is found, the output is where the standard deviation goes.",
            "Give --uncertainty and --uncertainty-output, or neither.",
        )
    if uncertainty is None and models != 1:
        raise UserError(
            f"{models} models were given.", "One makes a synthetic CT.", "Add --uncertainty models, or give one."
        )


def _before(labels: Path | str | None, ct: Path | str | None, uncertainty: Uncertainty | None) -> list[Path]:
    """Return label map and CT before an edit, or nothing."""
    if labels is None and ct is None:
        return []
    if labels is None or ct is None:
        raise UserError(
            f"The previous {'label map' if labels is None else 'CT'} is missing.",
            "What an edit changed is found from the label map before, and the rest is taken from the CT before.",
            "Give --previous-labels and --previous-ct, or neither.",
        )
    if uncertainty is not None:
        raise UserError(
            "A standard deviation does not go with an edited label map.",
            "Only a part of the volume is made anew.",
            "Leave it out, or translate the whole volume.",
        )
    return [Path(labels).expanduser(), Path(ct).expanduser()]
