"""Small analytic MR/CT pairs as real NIfTI files: an ellipsoid body with fat, bones and an air cavity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

AIR, FAT, SOFT, BONE = 0, 1, 2, 3
HU = {AIR: -1000.0, FAT: -100.0, SOFT: 40.0, BONE: 700.0}
MR = {AIR: 15.0, FAT: 1400.0, SOFT: 700.0, BONE: 150.0}


def phantom_pair(
    shape: tuple[int, int, int] = (12, 40, 44),
    seed: int = 0,
    spacing: tuple[float, float, float] = (4.0, 4.0, 5.0),
) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """Return MR (int16), CT (int16 HU) and body mask (uint8) of one made-up patient on one grid.

    Parameters
    ----------
    shape
        z, y, x voxels.
    seed
        Position and size of everything inside, and the noise.
    spacing
        x, y, z in mm.
    """
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")

    def ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        return sum(((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, radii, strict=True)) < 1

    jitter = rng.uniform(-0.06, 0.06, (4, 3))
    body = ellipsoid((0, 0, 0), (1.6, 0.8 + jitter[0, 0], 0.85 + jitter[0, 1]))
    labels = np.where(body, FAT, AIR)
    labels[ellipsoid((0, 0, 0), (1.6, 0.68 + jitter[0, 0], 0.72 + jitter[0, 1]))] = SOFT
    for side, (dy, dx, _) in zip((-1, 1), jitter[1:3], strict=True):
        labels[ellipsoid((0.1 * side, 0.1 + dy, 0.38 * side + dx), (0.9, 0.22, 0.16))] = BONE
    labels[ellipsoid((0.2, -0.35 + jitter[3, 0], jitter[3, 1]), (0.6, 0.15, 0.12))] = AIR

    def image(values: dict[int, float], noise: float, kind: type[np.generic]) -> sitk.Image:
        array = np.select([labels == label for label in values], list(values.values()))
        array = array + rng.normal(0, noise, shape)
        return _on_grid(np.clip(np.rint(array), -1024, 3000).astype(kind), spacing)

    return (
        image(MR, 8.0, np.int16),
        image(HU, 10.0, np.int16),
        _on_grid(body.astype(np.uint8), spacing),
    )


def phantom_labels(ct: sitk.Image, mask: sitk.Image, classes: int = 7) -> sitk.Image:
    """Return the label map (uint8) of a phantom's CT: row B3's classes, outside the body 6 where there are seven."""
    hu = sitk.GetArrayFromImage(ct)
    labels = np.select([(hu >= -200) & (hu < 0), hu == 0, (hu > 0) & (hu <= 500), hu > 500], [1, 2, 3, 4], 0)
    if classes > 6:
        labels[sitk.GetArrayFromImage(mask) == 0] = 6
    image = sitk.GetImageFromArray(labels.astype(np.uint8))
    image.CopyInformation(ct)
    return image


def write_phantom_cohort(
    folder: Path,
    cases: int = 6,
    shape: tuple[int, int, int] = (12, 40, 44),
    seed: int = 0,
    masks: bool = False,
    labels: int | None = None,
) -> Path:
    """Write ``phantom_00_MR.nii.gz``, ``phantom_00_CT.nii.gz``, ... and a ``cohort.json``; return its path.

    With ``labels`` label maps of so many classes are written in place of MRs.
    """
    from synthct.data.cohort import Case, Cohort, write_cohort

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(cases):
        name = f"phantom_{number:02d}"
        mr, ct, mask = phantom_pair(shape, seed + number)
        paths = {part: folder / f"{name}_{part}.nii.gz" for part in ("MR", "CT", "mask", "labels")}
        if labels is None:
            sitk.WriteImage(mr, str(paths["MR"]))
        else:
            sitk.WriteImage(phantom_labels(ct, mask, labels), str(paths["labels"]))
        sitk.WriteImage(ct, str(paths["CT"]))
        if masks:
            sitk.WriteImage(mask, str(paths["mask"]))
        given = {"mr": paths["MR"]} if labels is None else {"mr": None, "labels": paths["labels"]}
        written.append(Case(id=name, **given, ct=paths["CT"], mask=paths["mask"] if masks else None))
    write_cohort(Cohort(written, folder), folder / "cohort.json")
    return folder / "cohort.json"


def _on_grid(array: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-10.0, 20.0, -30.0))
    return image
