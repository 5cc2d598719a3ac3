"""Label maps as a network's input: cohort, checks, preparation, cache, samples. No class is ever mixed with another."""

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import phantom_labels, phantom_pair, write_phantom_cohort

from synthct.__main__ import main
from synthct.data.cache import open_cache
from synthct.data.checks import DEFAULT_CLASSES, check_case
from synthct.data.cohort import Case, Cohort, read_cohort
from synthct.data.discovery import find_cases
from synthct.data.patches import PatchBatches
from synthct.data.preparation import prepare_case, prepare_cohort
from synthct.data.slices import SliceBatches
from synthct.errors import UserError
from synthct.labels.classes import read_class_table
from synthct.methods.registry import build_method
from synthct.recipe import Augmentation, Data, Elastic, Preparation, load_recipe
from synthct.volumes.label_numbers import OUTSIDE_BODY, body_of_labels
from synthct.volumes.scaling import make_scaling

ONE_HOT = {"name": "one-hot"}
MOVED = Augmentation(
    flip=True,
    rotation_degrees=20,
    scale=0.2,
    translation_voxels=3,
    elastic=Elastic(probability=1, sigma=(2, 3), magnitude=(10, 20)),
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return read_cohort(write_phantom_cohort(tmp_path_factory.mktemp("labels"), 2, (10, 34, 36), labels=7))


@pytest.fixture(scope="module")
def volumes(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    return open_cache(prepare_cohort(cohort, Preparation(), folder), folder / "cache")


def pair(classes=7):
    _, ct, mask = phantom_pair((10, 34, 36))
    return phantom_labels(ct, mask, classes), ct, mask


def case_of(folder, labels, ct):
    sitk.WriteImage(labels, str(folder / "p_labels.nii.gz"))
    sitk.WriteImage(ct, str(folder / "p_CT.nii.gz"))
    return Case("p", None, folder / "p_CT.nii.gz", labels=folder / "p_labels.nii.gz")


@pytest.mark.parametrize("word", ["labels", "label", "seg", "Segmentation"])
def test_names_pair_label_maps_with_cts(tmp_path, word):
    labels, ct, _ = pair()
    for name in ("a", "b"):
        sitk.WriteImage(labels, str(tmp_path / f"{name}_{word}.nii.gz"))
        sitk.WriteImage(ct, str(tmp_path / f"{name}_CT.nii.gz"))
    sitk.WriteImage(ct, str(tmp_path / "alone_CT.nii.gz"))
    found, findings = find_cases(tmp_path, task="label-to-ct")
    assert [(case.id, case.kind, case.input.name) for case in found] == [
        (name, "labels", f"{name}_{word}.nii.gz") for name in ("a", "b")
    ]
    assert [finding.what for finding in findings] == ["It has no partner: no label map found."]
    with pytest.raises(UserError, match="No pair of an MR and a CT"):
        find_cases(tmp_path)


def test_the_command_checks_and_writes_a_cohort(tmp_path, capsys):
    write_phantom_cohort(tmp_path / "raw", 3, (10, 34, 36), labels=7)
    (tmp_path / "raw" / "cohort.json").unlink()
    bad = tmp_path / "raw" / "phantom_02_labels.nii.gz"
    labels = sitk.ReadImage(str(bad))
    labels[3, 4, 5] = 9
    sitk.WriteImage(labels, str(bad))
    words = ["cohort", str(tmp_path / "raw"), "--task", "label-to-ct", "--output", str(tmp_path / "c.json")]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "phantom_02_labels.nii.gz: It holds the value 9, which no class has." in text
    written = read_cohort(tmp_path / "c.json")
    assert [case.id for case in written.used] == ["phantom_00", "phantom_01"]
    assert all(case.mr is None and case.labels.is_file() for case in written)
    assert main([*words, "--classes", "10", "--overwrite"]) == 0
    assert len(read_cohort(tmp_path / "c.json").used) == 3


@pytest.mark.parametrize("preset", ["synthct-labels-unet", "synthct-labels-pix2pix", "synthct-labels-3d"])
def test_check_and_our_presets_take_what_labels_makes(preset):
    classes = 1 + max(entry.index for entry in read_class_table().classes)
    assert classes == DEFAULT_CLASSES == make_scaling(load_recipe(preset).data.input_scaling).classes


def test_a_label_map_on_another_grid_is_refused(tmp_path):
    labels, ct, _ = pair()
    labels.SetOrigin((0, 0, 0))
    case = case_of(tmp_path, labels, ct)
    assert "It lies on another grid than the CT." in [finding.what for finding in check_case(case).findings]
    with pytest.raises(UserError, match="label map of case p"):
        prepare_case(case, Preparation())


def test_a_cohort_serves_the_task_that_its_cases_have(tmp_path, cohort):
    with pytest.raises(UserError, match=r"phantom_00 .* has no MR"):
        cohort.for_task("mr-to-ct")
    labels, ct, _ = pair()
    case = case_of(tmp_path, labels, ct)
    shutil.copy(case.ct, tmp_path / "p_MR.nii.gz")
    both = Cohort((dataclasses.replace(case, mr=tmp_path / "p_MR.nii.gz"),), tmp_path)
    assert both.for_task("mr-to-ct").cases[0].kind == "mr"
    assert both.for_task("label-to-ct").cases[0].input == case.labels


@pytest.mark.parametrize("spacing", [None, (3.0, 5.0, 7.0)])
def test_preparation_keeps_classes_and_finds_the_body(tmp_path, spacing):
    labels, ct, mask = pair()
    prepared = prepare_case(case_of(tmp_path, labels, ct), Preparation(spacing=spacing))
    assert prepared.input.GetPixelID() == sitk.sitkUInt8
    assert set(np.unique(sitk.GetArrayFromImage(prepared.input))) <= set(np.unique(sitk.GetArrayFromImage(labels)))
    assert prepared.input.GetSize() == prepared.ct.GetSize() == prepared.mask.GetSize()
    inside = sitk.GetArrayFromImage(prepared.mask) == 1
    assert np.array_equal(inside, sitk.GetArrayFromImage(prepared.input) != OUTSIDE_BODY)
    if spacing is None:
        assert np.array_equal(inside, sitk.GetArrayFromImage(mask) == 1)


def test_six_classes_take_the_body_from_the_ct(tmp_path):
    labels, ct, mask = pair(classes=6)
    wanted = sitk.GetArrayFromImage(mask) == 1
    prepared = sitk.GetArrayFromImage(prepare_case(case_of(tmp_path, labels, ct), Preparation()).mask) == 1
    from_labels = sitk.GetArrayFromImage(body_of_labels(labels)) == 1
    for found in (prepared, from_labels):
        assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.95


def test_a_large_label_map_outlives_its_image(tmp_path):
    """Voxels of a freed image of this size are gone from the process: looking at them would end it."""
    labels = np.full((40, 1024, 1024), OUTSIDE_BODY, np.uint8)
    labels[10:30, 300:700, 300:700] = 3
    for name, voxels in (("labels", labels), ("ct", labels.astype(np.int16) * 10)):
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / f"{name}.nii.gz"), True, 1)
    code = (
        "from pathlib import Path\nfrom synthct.data.cohort import Case\nfrom synthct.recipe import Preparation\n"
        "from synthct.data.preparation import prepare_case\nfolder = Path(r'" + str(tmp_path) + "')\n"
        "case = Case('p', None, folder / 'ct.nii.gz', labels=folder / 'labels.nii.gz')\n"
        "print(prepare_case(case, Preparation(spacing=(16, 16, 8))).input.GetSize())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(64, 64, 5)", (done.returncode, done.stderr)


@pytest.mark.parametrize("change", [{"registration": "rigid"}, {"bias_correction": True}])
def test_label_maps_are_neither_registered_nor_corrected(tmp_path, change):
    labels, ct, _ = pair()
    with pytest.raises(UserError, match="neither registered nor corrected"):
        prepare_case(case_of(tmp_path, labels, ct), Preparation(**change))


def test_the_cache_holds_bytes(cohort, volumes):
    volume = volumes["phantom_01"]
    assert (volume.kind, volume.input.dtype) == ("labels", np.uint8)
    assert np.array_equal(volume.input, sitk.GetArrayFromImage(sitk.ReadImage(str(cohort["phantom_01"].labels))))


@pytest.mark.parametrize("size", [(48, 40), (12, 40, 40)])
def test_moved_samples_hold_whole_classes(volumes, size):
    data = Data(size=size, neighbours=1 if len(size) == 2 else 0, input_scaling=ONE_HOT, augmentation=MOVED)
    batches = (SliceBatches if len(size) == 2 else PatchBatches)(volumes, list(volumes), data, 4, seed=1)
    batch = batches[0]
    assert set(np.unique(batch["input"])) <= {0, 1, 2, 3, 4, 6}
    assert batch["input"].shape == (4, 3 if len(size) == 2 else 1, *size)
    assert (batch["input"][..., 0, 0] == OUTSIDE_BODY).all()  # beyond the image
    middle = batch["input"][:, batch["input"].shape[1] // 2]
    bone = make_scaling(data.target_scaling).invert(batch["target"][:, 0].numpy())[middle.numpy() == 4]
    assert np.median(bone) > 500  # label map and CT were moved alike


def test_noise_is_that_of_equation_4_1(volumes):
    data = Data(size=(32, 32), input_scaling={"name": "lidc-label", "noise": 0.05})
    plain = dataclasses.replace(data, input_scaling={"name": "lidc-label"})
    noisy, still = (SliceBatches(volumes, list(volumes), each, 4, seed=1)[0]["input"] for each in (data, plain))
    added = (noisy - still).numpy() * 3  # label / 3 - 1
    assert added.min() >= -1e-6 and added.max() < 0.05 + 1e-6
    assert abs(added.mean() - 0.025) < 0.002 and abs(added.std() - 0.05 / 12**0.5) < 0.002


def test_published_scaling_is_row_b5():
    scaling = make_scaling({"name": "lidc-label"})
    assert np.allclose(scaling.apply(np.arange(6)), [-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3])
    assert make_scaling(scaling.to_dict()) == scaling
    hot = make_scaling({"name": "one-hot", "classes": 5})
    assert np.array_equal(hot.apply(np.arange(5)), np.arange(5)) and make_scaling(hot.to_dict()) == hot


def test_the_network_sees_one_channel_per_class():
    recipe = load_recipe("synthct-labels-unet", {"generator.width": "4-8", "neighbours": 1})
    network = build_method(recipe).networks["generator"]
    seen = []
    network.network.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    labels = torch.randint(0, 8, (2, 3, 16, 16)).float()
    labels[0, 0, 0, 0] = 9  # no class: nothing is said
    network(labels)
    assert seen[0].shape == (2, 24, 16, 16)
    for channel in range(24):
        assert torch.equal(seen[0][:, channel], (labels[:, channel // 8] == channel % 8).float())


@pytest.mark.parametrize(
    ("preset", "changes", "said"),
    [
        ("synthct-labels-unet", {"input_scaling": "{name: umea-mr}"}, "does not go with `task: label-to-ct`"),
        ("synthct-unet", {"input_scaling": "{name: one-hot}"}, "does not go with `task: mr-to-ct`"),
        ("synthct-labels-unet", {"gamma": "0.2"}, "gamma` cannot be 0.2 for label maps"),
        ("synthct-labels-unet", {"registration": "rigid"}, "neither registered nor corrected"),
        ("linkoping-cyclegan-labels", {"input_scaling": "{name: one-hot}"}, "Take lidc-label"),
        ("linkoping-pix2pix-labels", {"adversarial": "cross-entropy"}, "That loss has the sigmoid itself"),
        ("linkoping-pix2pix-labels", {"generator.norm": "instance"}, "cannot have an instance norm"),
    ],
)
def test_what_does_not_go_together_is_refused(preset, changes, said):
    with torch.device("meta"), pytest.raises(UserError) as refusal:
        build_method(load_recipe(preset, changes))
    assert said in str(refusal.value)


def test_networks_are_those_of_the_tables():
    with torch.device("meta"):
        pix2pix = build_method(load_recipe("linkoping-pix2pix-labels")).networks
        cycle = build_method(load_recipe("linkoping-cyclegan-labels")).networks

    def convolutions(network):
        kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
        return [(m.out_channels, m.kernel_size[0], m.stride[0]) for m in network.modules() if isinstance(m, kinds)]

    halving = [(width, 4, 2) for width in (64, 128, 256, 512)]
    down = [*halving, *[(512, 4, 2)] * 3]
    up = [(width, 4, 2) for width in (512, 512, 512, 256, 128, 64, 1)]
    assert convolutions(pix2pix["generator"]) == [*down, *up]
    norms = [m for m in pix2pix["generator"].modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 6 + 6
    assert convolutions(pix2pix["discriminator"]) == convolutions(cycle["discriminator"]) == [*halving, (1, 4, 1)]
    assert isinstance(pix2pix["discriminator"].layers[-1], torch.nn.Sigmoid)
    ends = [(32, 7, 1), (64, 3, 2), (128, 3, 2)], [(64, 3, 2), (32, 3, 2), (1, 7, 1)]
    assert convolutions(cycle["generator"]) == [*ends[0], *[(128, 3, 1)] * 12, *ends[1]]
