"""The features of a folder of images, one volume at a time; what was seen once is kept beside the result.

Only rows of features are held together. An entry is found by the content of the image's and mask's files and by what
looked at them, so that a second comparison with the same real images takes no time, and an interrupted one goes on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from synthct.data.cache import Volume, open_cache
from synthct.data.cohort import Case, Cohort, read_cohort
from synthct.data.discovery import find_cases
from synthct.data.fingerprint import fingerprint
from synthct.data.fitting import fitted
from synthct.data.noise_batches import require_pairs
from synthct.data.preparation import prepare_cohort
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.recipe import NOISE_TASK
from synthct.synthesis.class_scores import samples_of
from synthct.synthesis.feature_models import FeatureModel
from synthct.whole_file import write_whole

FORMAT = 1
By = Literal["images", "masks", "pairs"]
_ARRAYS = ("features", "probabilities", "extent", "spacing", "digests")


@dataclass(frozen=True)
class FeatureSet:
    """What was seen of one set of images.

    Parameters
    ----------
    features
        (samples, features): one sample for each volume, of a 2D network several slices of each.
    probabilities
        (samples, classes); None: there are no classes, or pairs were looked at.
    cases, patients
        For each sample whose it is.
    digests
        For each sample a hash of what the network was shown.
    extents, spacings
        (images, 3): x, y, z in mm as the network's images were cut, before they came to its size.
    images
        The cases, in order.
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    digests: tuple[str, ...]
    extents: NDArray[np.float64]
    spacings: NDArray[np.float64]
    images: tuple[Case, ...]


def open_set(path: Path, events: Events = SILENT) -> Cohort:
    """Return the images, with their masks, of a folder or a manifest; two at least.

    Parameters
    ----------
    path
        ``cohort.json``, a folder with one (`synthct generate` leaves one), or a folder of images: ``images/`` with
        ``masks/`` of the same names, or any names.

    Raises
    ------
    UserError
        Nothing there, or a single image.
    """
    if path.is_file() or (path / "cohort.json").is_file():
        cohort = read_cohort(path)
    else:
        cohort, findings = find_cases(path, task=NOISE_TASK)
        for finding in findings:
            events.warning(str(finding))
    cohort = cohort.for_task(NOISE_TASK).used
    if len(cohort) < 2:
        raise UserError(
            f"{path} holds {len(cohort)} image{'s' if len(cohort) != 1 else ''}.",
            "A distribution is known by two images or more, and well by hundreds.",
            "Add images.",
        )
    return dataclasses.replace(cohort, preparation=None)


def require_apart(real: Cohort, synthetic: Cohort, folders: tuple[Path, Path]) -> None:
    """Refuse sets that share files.

    Raises
    ------
    UserError
        Naming one of the files.
    """
    shared = {case.ct.resolve() for case in real} & {case.ct.resolve() for case in synthetic}
    if shared:
        raise UserError(
            f"{folders[0]} and {folders[1]} share {len(shared)} of their images, such as {min(shared).name}.",
            "A set that is compared with itself looks perfect.",
            "Give two folders of which neither holds the other.",
        )


def features_of(
    cohort: Cohort,
    model: FeatureModel,
    by: By,
    device: torch.device,
    kept: Path,
    events: Events = SILENT,
    task: str = "features",
) -> FeatureSet:
    """Look at every image of ``cohort``.

    Parameters
    ----------
    by
        Images, their masks, or pairs: the features of an image, then those of its mask.
    kept
        Folder in which the features of each image stay.

    Raises
    ------
    UserError
        An image or mask that cannot be used, by name, or a mask that is missing where it is asked for.
    """
    found = []
    for number, case in enumerate(cohort):
        events.progress(number, len(cohort), task, case.id)
        found.append(_kept_or_seen(case, model, by, device, kept))
    events.progress(len(cohort), len(cohort), task)
    counts = [len(each["features"]) for each in found]
    shares = [each["probabilities"] for each in found]
    cases = [case for case, count in zip(cohort, counts, strict=True) for _ in range(count)]
    return FeatureSet(
        np.concatenate([each["features"] for each in found]),
        np.concatenate(shares) if all(share.size for share in shares) else None,
        tuple(case.id for case in cases),
        tuple(case.patient_id for case in cases),
        tuple(str(digest) for each in found for digest in each["digests"]),
        np.stack([each["extent"] for each in found]),
        np.stack([each["spacing"] for each in found]),
        tuple(cohort),
    )


def repeated(real: FeatureSet, synthetic: FeatureSet) -> Sequence[str]:
    """Return the synthetic cases of which a sample equals one of a real case, voxel by voxel as the network sees it."""
    known = set(real.digests)
    return list(dict.fromkeys(c for c, d in zip(synthetic.cases, synthetic.digests, strict=True) if d in known))


def field_of_view_note(real: FeatureSet, synthetic: FeatureSet) -> str | None:
    """Say in words where the sets show pieces of different size; None where they agree to within a tenth."""
    a, b = (np.median(each.extents, axis=0) for each in (real, synthetic))
    if np.all(np.abs(a - b) <= 0.1 * np.maximum(a, b)):
        return None
    sizes = ["×".join(f"{side:.0f}" for side in extent) for extent in (a, b)]
    return (
        f"The real images show {sizes[0]} mm (x, y, z; median), the synthetic ones {sizes[1]} mm. Brought to one size "
        "they differ in scale alone, and that enters every number: crop both alike (`preparation.crop`)."
    )


def _kept_or_seen(case: Case, model: FeatureModel, by: By, device: torch.device, kept: Path) -> dict[str, np.ndarray]:
    looked = [FORMAT, by, model.to_dict(), dataclasses.asdict(model.preparation), list(model.data.planes)]
    path = kept / f"{fingerprint([case.ct, case.mask], [*looked, case.ct_series])}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        seen = _seen(case, model, by, device)
    content = io.BytesIO()
    np.savez(content, **seen)  # type: ignore[arg-type]
    write_whole(path, content.getvalue())
    return seen


def _seen(case: Case, model: FeatureModel, by: By, device: torch.device) -> dict[str, np.ndarray]:
    """Prepare one image as for a training, in a folder that goes again, and look at it."""
    data = dataclasses.replace(model.data, masks="none" if by == "images" else "channel")
    with tempfile.TemporaryDirectory(prefix="synthct-features-") as folder:
        alone = Cohort((case,), Path(folder))
        prepared = prepare_cohort(alone, model.preparation, Path(folder) / "prepared")
        volume = open_cache(prepared, Path(folder) / "cache")[case.id]
        if by != "images":
            _require_mask(volume, data.mask_scaling["name"])
        if len(data.size) == 2 and 1 in volume.shape[1:]:
            raise UserError(
                f"The image {case.id} is a single slice, but no axial one.",
                "Axial slices are compared, and single ones as such.",
                "Write it with its slice along z.",
            )
        extent = np.array(volume.spacing) * np.array(volume.shape[::-1])
        ready = fitted(volume, data)
        require_pairs({ready.id: ready}, data)
        samples = samples_of(ready, data)
    channels = {"images": [0], "masks": [1], "pairs": [0, 1]}[by]
    looks = [model.of(samples[:, channel], device) for channel in channels]
    shares = looks[0][1] if by != "pairs" else None
    return {
        "features": np.concatenate([features for features, _ in looks], axis=1),
        "probabilities": np.empty(0, np.float32) if shares is None else shares,
        "extent": extent,
        "spacing": np.array(volume.spacing),
        "digests": np.array([_digest(sample[channels]) for sample in samples]),
    }


def _require_mask(volume: Volume, scaling: str) -> None:
    if not volume.masked:
        raise UserError(
            f"The image {volume.id} has no mask.",
            "Masks, or pairs, are to be compared.",
            "Put it into masks/ under the image's name, or compare --by images.",
        )
    highest = int(np.asarray(volume.mask).max())
    limit = 1 if scaling == "hagan-mask-binary" else 2
    if highest > limit:
        raise UserError(
            f"The mask of {volume.id} holds the value {highest}.",
            f"Masks of 0 to {limit} are expected.",
            "Say --mask-values 2 for masks of 0, 1 and 2." if highest == 2 else "Correct it.",
        )


def _digest(sample: NDArray[np.float32]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(sample).tobytes(), digest_size=16).hexdigest()
