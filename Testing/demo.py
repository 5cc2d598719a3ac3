"""``make demo``: from a pair of images to a scored synthetic CT in a scene; from a readers' nodule to a planted one.

It takes about ten minutes on two cores. The second half is `demo_nodules`. Every step is a command that a user would
type; each is printed before it runs.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import demo_nodules
import numpy as np
import SimpleITK as sitk
import yaml
from demo_commands import fresh_folder, synthct

from synthct.data.cache import open_cache
from synthct.data.cohort import read_cohort
from synthct.data.split import read_split
from synthct.recipe import Recipe, load_recipe
from synthct.studies.comparison import INTERPOLATION, LOOKUP, SHUFFLED, test_mask
from synthct.training.sample_grid import write_sample_grid

ROOT = Path(__file__).resolve().parents[1]
UNET, GAN = "demo-unet", "demo-gan-paired"
TO_LOOKUP, TO_INTERPOLATION, TO_SHUFFLED = 0.6, 0.8, 1.5
"""What is asked of the U-Net on one patient's slab: at most these shares of the trivial answers' MAE, and a shuffled
MR must cost at least this factor."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"))
    parser.add_argument("--cohort", type=Path, help="a folder of MR/CT pairs of your own; default: the sample head")
    parser.add_argument("--unet-steps", type=int, default=260)
    parser.add_argument("--gan-steps", type=int, default=60)
    parser.add_argument("--nodule-steps", type=int, default=demo_nodules.STEPS)
    options = parser.parse_args()
    started = time.monotonic()
    folder = fresh_folder(options.output)
    if options.cohort:
        source, preparation = options.cohort, {}
    else:
        source = folder / "data"
        synthct("sample", "head", "--output", source)
        # 4 mm between slices are kept; the MR is a diagnostic one and has no field to correct
        preparation = {"registration": "rigid", "bias_correction": False, "spacing": [2, 2, 4]}
    synthct("cohort", source, "--output", folder / "cohort.json")
    size = {} if options.cohort else {"size": [128, 128]}
    write_recipe("synthct-unet", UNET, folder, options.unet_steps, preparation, size)
    write_recipe("synthct-gan-paired", GAN, folder, options.gan_steps, preparation, size)
    comparison = folder / "comparison"
    synthct(
        *("compare", "--preset", folder / f"{UNET}.yaml", "--preset", f"{folder / GAN}.yaml:{UNET}"),
        *("--cohort", folder / "cohort.json", "--output", comparison),
    )
    picture(comparison, folder / "result.png")
    model = comparison / "fold1" / UNET
    mr = read_cohort(folder / "cohort.json")[read_split(model / "split.json").test[0]].mr
    in_scene(mr, model, folder)
    verdict, passed = judge(comparison, one_patient=options.cohort is None)
    if options.cohort is None:
        chest = demo_nodules.fetched(folder / "nodules" / "data")
        found, as_it_should = demo_nodules.judge(demo_nodules.run(folder / "nodules", chest, options.nodule_steps))
        verdict, passed = f"{verdict}\n\n{found}", passed and as_it_should
    minutes = (time.monotonic() - started) / 60
    report = f"# Demo\n\n{(comparison / 'table.md').read_text()}\n{verdict}\n\n{minutes:.1f} minutes.\n"
    (folder / "report.md").write_text(report, encoding="utf-8")
    pictures = [folder / "result.png", folder / "scene.png", folder / "nodules" / "nodules.png"]
    print(f"\n{report}\nLook at {', '.join(str(path) for path in pictures if path.exists())}, {folder / 'sct.nii.gz'}.")
    return 0 if passed else 1


def write_recipe(preset, name, folder, steps, preparation, size):
    """A recipe of one's own is a copy of a preset, here made smaller for two cores."""
    content = load_recipe(preset).to_dict()
    content["name"], content["source"] = name, f"{preset}, shortened for the demo"
    content["preparation"] |= preparation
    content["data"] |= size
    content["training"] |= {"steps": steps, "steps_per_epoch": max(steps // 4, 1), "patience": None, "ema": 0.97}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    assert isinstance(load_recipe(folder / f"{name}.yaml"), Recipe)


def picture(comparison, path):
    """MR | synthetic CT | CT | difference of three held-out slices."""
    run = comparison / "fold1" / UNET
    cohort = read_cohort(comparison / "prepared" / "cohort.json")
    split = read_split(run / "split.json", cohort)
    volume = open_cache(cohort, comparison / "cache")[split.test[0]]
    mask = test_mask(volume, split)
    synthetic = sitk.GetArrayFromImage(sitk.ReadImage(str(run / "test" / f"{volume.id}.nii.gz")))
    covered = np.flatnonzero(mask.sum(axis=(1, 2)) > 0.25 * mask.sum(axis=(1, 2)).max())
    rows = covered[np.linspace(0, len(covered) - 1, min(3, len(covered))).round().astype(int)]
    title = f"{volume.id}: axial slices {', '.join(str(row) for row in rows)}, never seen in training"
    write_sample_grid(path, volume.mr[rows], synthetic[rows], volume.ct[rows], mask[rows], title)


def in_scene(mr, model, folder):
    """The module's own window turns the MR of the scene into a CT of the scene."""
    sys.path.insert(0, str(ROOT / "Testing"))
    import host

    print(f"\nIn the scene: MR to CT on {mr.name}", flush=True)
    try:
        slicer_host = host.start()
    except host.HostUnavailableError as error:
        print(f"Left out: {error}")
        synthct("synthesize", "--model", model, "--input", mr, "--output", folder / "sct.nii.gz", "--mask", "auto")
        return
    import slicer

    widget = slicer_host.open_module(ROOT / "MRtoCT" / "MRtoCT.py")
    node = slicer.util.loadVolume(str(mr))
    parameters = widget._parameterNode
    parameters.inputVolume = node
    parameters.model = str(model)
    slicer_host.process_events()
    widget.ui.applyButton.click()
    slicer_host.wait_until(lambda: widget.translation is None, 300)
    if parameters.outputVolume is None:
        sys.exit(f"The module gave no CT: {widget.ui.statusLabel.text}")
    slicer_host.screenshot(folder / "scene.png")
    slicer.util.saveNode(parameters.outputVolume, str(folder / "sct.nii.gz"))
    widget.cleanup()


def judge(comparison, one_patient):
    """Say in words what the numbers show, and whether the demo did what it should."""
    summary = json.loads((comparison / "table.json").read_text(encoding="utf-8"))["summary"]
    mae = {method: cells["mae_hu"]["mean"] for method, cells in summary.items()}
    if not one_patient:
        return f"U-Net ÷ look-up: {mae[UNET] / mae[LOOKUP]:.2f}, on patients that were held out.", True
    ratios = (mae[UNET] / mae[LOOKUP], mae[UNET] / mae[INTERPOLATION], mae[UNET + SHUFFLED] / mae[UNET])
    passed = ratios[0] <= TO_LOOKUP and ratios[1] <= TO_INTERPOLATION and ratios[2] >= TO_SHUFFLED
    return (
        f"On the slab that was never seen, the U-Net's error is {ratios[0]:.2f} of the best intensity look-up's "
        f"(asked: ≤ {TO_LOOKUP}) and {ratios[1]:.2f} of that of interpolating the neighbouring CT slices, which shows "
        f"memorised position (asked: ≤ {TO_INTERPOLATION}). Fed the MR's slices in shuffled order its error grows by "
        f"{ratios[2]:.1f} (asked: ≥ {TO_SHUFFLED}): it reads the MR.\n\n"
        f"{GAN} is a refinement: it starts from the U-Net's weights. One patient's unseen slab shows that the tool "
        "works, not that the model generalises to other patients."
    ), passed


if __name__ == "__main__":
    sys.exit(main())
