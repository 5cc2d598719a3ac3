"""A MONAI bundle of a model gives the voxels that SyntheticCT gives, in a process that cannot import SyntheticCT."""

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import phantom_pair

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.events import Events
from synthct.networks.one_hot import LabelChannels
from synthct.networks.registry import build_network
from synthct.synthesis.bundle import export_bundle, inference_config, required_steps
from synthct.synthesis.files import synthesize_file
from synthct.synthesis.model_file import load_model, save_model
from synthct.synthesis.tiled_slices import TiledSlices

RUN = """
import json, sys
sys.modules["synthct"] = None  # importing it fails
from monai.bundle import run
for options in json.loads(sys.argv[1]):
    run(**options)
"""
"""What ``python -m monai.bundle run`` calls, for one bundle after the other."""


@pytest.fixture(scope="module")
def oblique(tmp_path_factory):
    """An MR on an oblique, flipped grid, the mask of its body and a label map, as files."""
    folder = tmp_path_factory.mktemp("oblique")
    mr, _, body = phantom_pair((9, 37, 42))
    turn, _ = np.linalg.qr(np.eye(3) + 0.2 * np.random.default_rng(3).normal(size=(3, 3)))
    blocks = np.random.default_rng(0).choice([0, 1, 3, 4, 6, 7], (3, 10, 11)).astype(np.uint8)
    labels = sitk.GetImageFromArray(np.kron(blocks, np.ones((3, 4, 4), np.uint8))[:9, :37, :42])
    labels.CopyInformation(mr)
    for image, name in ((mr, "mr"), (body, "body"), (labels, "labels")):
        image.SetDirection((turn @ np.diag([1, -1, 1])).ravel().tolist())
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    return folder


def model(folder, network=None, **changes):
    card = {
        "name": "Tiny",
        "in_channels": 2 * changes.get("neighbours", 0) + 1,
        "out_channels": 1,
        "network": network or {"name": "unet", "width": "4-8-8", "norm": "batch", "upsampling": "bilinear"},
        "input_scaling": {"name": "umea-mr"},
        "target_scaling": {"name": "ct-window"},
        "planes": ["axial"],
        "size": [48, 48],
        "hu_range": [-1024, 2000],
        **changes,
    }
    slices, classes = card["in_channels"], card["input_scaling"].get("classes")
    if classes:
        card |= {"in_channels": classes * slices}
    net = build_network(card["network"], slices, 1, seed=0, labels=LabelChannels(slices, classes) if classes else None)
    with torch.no_grad():  # spread over many HU, so that a wrong voxel shows
        weight, bias = list(net.parameters())[-2:]
        weight.mul_(30)
        bias.zero_()
    return save_model(folder / "model", net, card)


LABELS = {"task": "label-to-ct", "input": "label map"}
CASES = {
    "slices": {},
    "2.5D coronal tiles": {"neighbours": 1, "planes": ["coronal"], "size": [8, 16]},
    "percentiles": {"input_scaling": {"name": "mr-percentile"}, "neighbours": 2, "size": [32, 32], "body_only": True},
    "labels": {"input_scaling": {"name": "one-hot", "classes": 8}, "neighbours": 1, "size": [16, 24], **LABELS},
    "labels in 3D": {
        "input_scaling": {"name": "one-hot", "classes": 8},
        "size": [8, 16, 16],
        "network": {"name": "resenc-unet", "features": [4, 8], "blocks": [1, 1]},
        **LABELS,
    },
    "labels scaled": {"input_scaling": {"name": "lidc-label"}, "planes": ["sagittal"], **LABELS},
    "3D": {
        "size": [8, 16, 16],
        "network": {"name": "resenc-unet", "features": [4, 8], "blocks": [1, 1]},
    },
}


@pytest.fixture(scope="module")
def translated(tmp_path_factory, oblique):
    """By case, the synthetic CT of SyntheticCT and of MONAI."""
    root = tmp_path_factory.mktemp("bundles")
    jobs = []
    for case, changes in CASES.items():
        folder = root / case
        path = model(folder, **changes)
        body = oblique / "body.nii.gz" if case == "percentiles" else None
        source = oblique / ("labels.nii.gz" if "labels" in case else "mr.nii.gz")
        if case == "labels scaled":  # six classes have none outside the body
            labels = sitk.ReadImage(str(source))
            source = folder / "labels.nii.gz"
            sitk.WriteImage(sitk.Mask(labels, labels < 6), str(source))
        mask = body or (None if "labels" in case else "none")
        synthesize_file(path, source, folder / "ours.nii.gz", mask=mask, device="cpu")
        bundle = export_bundle(path, folder / "bundle")
        jobs.append(
            {
                "config_file": str(bundle / "configs/inference.json"),
                "bundle_root": str(bundle),
                "input": str(source),
                "output_dir": str(folder / "out"),
                **({"body": str(body)} if body else {}),
            }
        )
    command = [sys.executable, "-c", RUN, json.dumps(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        case: [sitk.ReadImage(str(path)) for path in (root / case / "ours.nii.gz", *(root / case / "out").iterdir())]
        for case in CASES
    }


@pytest.mark.parametrize("case", CASES)
def test_monai_gives_the_same_voxels(translated, case):
    ours, theirs = translated[case]
    assert theirs.GetPixelID() == ours.GetPixelID() == sitk.sitkInt16 and theirs.GetSize() == ours.GetSize()
    for corner in ((0, 0, 0), tuple(n - 1 for n in ours.GetSize())):
        places = [image.TransformIndexToPhysicalPoint(corner) for image in (ours, theirs)]
        assert np.allclose(*places, atol=1e-3)
    ours, theirs = (sitk.GetArrayFromImage(image).astype(int) for image in (ours, theirs))
    assert np.ptp(ours) > 200
    assert np.abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.01


def test_tiles_in_torchscript_are_those_of_the_predictor(tmp_path):
    from synthct.synthesis.tiles import TilePlan

    network = TiledSlices(torch.nn.Identity(), (16, 24), 8)
    for shape in ((16, 24), (17, 24), (40, 100), (9, 61)):
        plan = TilePlan(shape, (16, 24), 8)
        tops, lefts = (network._starts(n, network._side(n, side)) for n, side in zip(shape, (16, 24), strict=True))
        assert [(tile.rows.start, tile.columns.start) for tile in plan.tiles] == [(t, c) for t in tops for c in lefts]
        image = torch.randn(2, 1, *shape)
        assert torch.allclose(torch.jit.script(network)(image, image.min()), image, atol=1e-5)


def test_what_monai_cannot_do_is_said(tmp_path):
    path = model(tmp_path, bias_correction=True, spacing=[1.0, 1.0, None], input_scaling={"name": "mr-percentile"})
    heard = []
    bundle = export_bundle(path, tmp_path / "bundle", Events(listener=heard.append))
    steps = json.loads((bundle / "configs/metadata.json").read_text())["required_preparation"]
    assert [next(word for word in ("N4", "Resample", "body") if word in step) for step in steps] == [
        "N4",
        "Resample",
        "body",
    ]
    assert [event["why"] for event in heard if event["kind"] == "warning"] == steps
    assert all(step in (bundle / "docs/README.md").read_text() for step in steps)
    assert required_steps(load_model(model(tmp_path / "plain")).card) == []
    assert "1 x 1 x own mm" in steps[1] and "grants no licence" in (bundle / "LICENSE").read_text()


def test_a_bundle_is_a_new_folder(tmp_path, capsys):
    path = model(tmp_path)
    assert main(["models", "export", str(path), "--bundle", str(tmp_path / "b")]) == 0
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["LICENSE", "configs", "docs", "models"]
    assert main(["models", "export", str(path), "--bundle", str(tmp_path / "b")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert "model_card" in json.loads((tmp_path / "b/configs/metadata.json").read_text())
    assert inference_config(load_model(path).card)["network"].startswith("$torch.jit.load")


def test_what_a_label_map_must_be_is_said(tmp_path):
    one_hot = {"name": "one-hot", "classes": 8}
    made = load_model(model(tmp_path, input_scaling=one_hot, spacing=[3.0, 3.0, 3.0], body_only=True, **LABELS))
    steps = required_steps(made.card)
    assert "nearest neighbour" in steps[0] and "0 to 7" in steps[1] and "class 6" in steps[2] and "MR" not in str(steps)
    readme = (export_bundle(made, tmp_path / "bundle") / "docs/README.md").read_text()
    assert "label map to synthetic CT" in readme and "MR" not in readme


def test_models_of_classes_are_refused(tmp_path):
    made = load_model(model(tmp_path))
    made.card["out_channels"] = 4
    with pytest.raises(UserError, match="gives no HU"):
        export_bundle(made, tmp_path / "bundle")
