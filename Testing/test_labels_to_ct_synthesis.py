"""A CT from a label map: on any grid, refused where a class is unknown, and after an edit only where it can matter."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import phantom_labels, phantom_pair
from scipy import ndimage
from synthesis_models import random_grid_image
from torch import nn
from training_recipes import tiny_cohort

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.events import Events, read_events
from synthct.networks.one_hot import LabelChannels, OneHotInput
from synthct.networks.registry import build_network
from synthct.synthesis.local_update import local_update
from synthct.synthesis.model_file import Model, load_model, save_model
from synthct.synthesis.translate import translate
from synthct.volumes.geometry import grid_of

HU = np.array([-800, -100, 0, 40, 700, 20, 0])
"""That `label_model` gives to each class."""
CARD = {
    "format": 1,
    "name": "labels",
    "task": "label-to-ct",
    "input": "label map",
    "out_channels": 1,
    "neighbours": 0,
    "input_scaling": {"name": "one-hot", "classes": 7},
    "target_scaling": {"name": "ct-window", "low": -1000.0, "high": 1000.0},
    "planes": ["axial"],
    "size": [32, 32],
    "spacing": None,
    "hu_range": [-1000, 1000],
    "statistics": {"spacing_mm": [[1, 2]] * 3, "extent_mm": [[20, 300]] * 3},
}


class Table(nn.Module):
    """Gives each class its HU, from its channel."""

    divisor = 8

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        assert channels.shape[1] == 7 and (channels.sum(1) == 1).all()
        values = torch.from_numpy(HU / 1000).float()
        return torch.einsum("nc...,c->n...", channels, values)[:, None]


def label_model(size=(32, 32), **changes):
    network = OneHotInput(Table(len(size)), LabelChannels(1, 7))
    return Model(network, {**CARD, "network": {"name": "table"}, "size": list(size), "in_channels": 7, **changes})


def blocks(seed=0, shape=(17, 30, 37), side=4):
    """Blocks of classes, some of them outside the body."""
    coarse = np.random.default_rng(seed).choice([0, 1, 3, 4, 6], [-(-n // side) for n in shape]).astype(np.uint8)
    return np.kron(coarse, np.ones((side,) * 3, np.uint8))[: shape[0], : shape[1], : shape[2]]


@pytest.mark.parametrize(("seed", "kind"), [(0, np.uint8), (1, np.int16), (2, np.float32), (3, np.uint8)])
@pytest.mark.parametrize("size", [(32, 32), (16, 16), (8, 16, 24)])
def test_every_class_gets_its_hu_on_any_grid(seed, size, kind):
    array = blocks(seed)
    image = random_grid_image(array.astype(kind), seed, (1.0, 1.5, 2.0))
    planes = ("axial", "coronal", "sagittal") if len(size) == 2 and seed % 2 else ("axial",)
    model = label_model(size, planes=list(planes))
    result = translate(image, model, planes, device="cpu")
    assert grid_of(result) == grid_of(image)
    found = sitk.GetArrayFromImage(result)
    assert np.abs(found - np.where(array == 6, -1000, HU[array])).max() <= 1


def test_the_models_grid_is_reached_by_nearest_neighbour():
    array = blocks(side=6, shape=(18, 36, 36))
    image = sitk.GetImageFromArray(array)
    # Table asserts that every voxel it sees is one whole class; between two classes lie HU of both, never a third's.
    found = sitk.GetArrayFromImage(translate(image, label_model(spacing=[1.7, 1.7, 1.3]), device="cpu"))
    inner = ndimage.minimum_filter(array, 7) == ndimage.maximum_filter(array, 7)
    assert inner.any() and np.array_equal(found[inner], np.where(array == 6, -1000, HU[array])[inner])


@pytest.mark.parametrize(("value", "named"), [(9, "the value 9"), (1.5, "the value 1.5"), (-1, "the value -1")])
def test_unknown_labels_are_refused_by_number(value, named):
    array = blocks().astype(np.float32)
    array[3, 4, 5] = value
    with pytest.raises(UserError, match=named):
        translate(sitk.GetImageFromArray(array), label_model(), device="cpu", name="l.nii.gz")


def convolving_model(size=(32, 32), seed=3, **changes):
    """A real network with a receptive field of its own, untrained."""
    entry = {"name": "unet", "width": "4-8", "norm": "none"} if len(size) == 2 else {
        "name": "resenc-unet", "features": "4-8", "blocks": "1-1", "norm": "none"}  # fmt: skip
    slices = 2 * changes.get("neighbours", 0) + 1
    network = build_network(entry, slices, 1, seed=seed, labels=LabelChannels(slices, 7)).eval()
    card = {**CARD, "network": entry, "size": list(size), "in_channels": 7 * slices, **changes}
    return Model(network, card)


CASES = {
    "slices": (convolving_model, {}, ("axial",)),
    "neighbours": (convolving_model, {"neighbours": 2}, ("axial",)),
    "three planes": (convolving_model, {"planes": ["axial", "coronal", "sagittal"]}, ("axial", "coronal", "sagittal")),
    "own spacing": (convolving_model, {"spacing": [1.3, 1.3, 2.0]}, ("axial",)),
    "windows": (convolving_model, {"size": (8, 16, 16)}, ("axial",)),
}


EDIT = (slice(12, 15), slice(18, 22), slice(20, 25))
REACH = 6.0


def edited(seed):
    """Labels before and after an edit of 3 × 4 × 5 voxels."""
    before = blocks(seed, (26, 40, 44))
    after = before.copy()
    after[EDIT] = np.where(before[EDIT] == 3, 5, 3)
    return before, after


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("grid", ["upright", "oblique"])
def test_an_edit_changes_its_surroundings_alone(case, grid):
    make, changes, planes = CASES[case]
    model = make(**changes)
    before, after = edited(seed=1)
    old, new = (random_grid_image(array, 1, (1.0, 1.0, 1.5)) for array in (before, after))
    if grid == "upright":
        old, new = (upright(image) for image in (old, new))
    marked = translate(old, model, planes, device="cpu") + 1000  # what is kept is told from what is made anew
    count = Counter(model.network)
    whole = sitk.GetArrayFromImage(translate(new, model, planes, device="cpu")).astype(int)
    full = count.taken()
    found = local_update(old, new, marked, model, planes, reach_mm=REACH, device="cpu")
    assert 0 < count.taken() < 0.7 * full
    assert grid_of(found) == grid_of(new) and found.GetPixelID() == sitk.sitkInt16

    found, kept = sitk.GetArrayFromImage(found).astype(int), sitk.GetArrayFromImage(marked).astype(int)
    distance = ndimage.distance_transform_edt(before == after, sampling=old.GetSpacing()[::-1])
    assert np.array_equal(found[distance >= REACH], kept[distance >= REACH])
    anew = distance <= REACH / 2 if case in ("windows", "three planes") else before != after
    if grid == "upright" and case in ("slices", "neighbours"):
        aside = model.card["neighbours"]
        seen = np.zeros(before.shape, bool)
        seen[12 - aside : 15 + aside] = True
        assert np.array_equal(found[~seen], kept[~seen])
        anew = seen & (distance <= REACH / 2)
    assert np.abs(found - whole)[anew].max() <= 1


def upright(image):
    image.SetDirection(np.eye(3).ravel().tolist())
    return image


class Counter:
    """Counts the samples that a network is given."""

    def __init__(self, network):
        self.seen = 0
        network.register_forward_hook(self._look)

    def _look(self, _network, inputs, _output):
        self.seen += len(inputs[0])

    def taken(self):
        seen, self.seen = self.seen, 0
        return seen


def test_a_local_update_of_what_the_model_made_is_the_whole_one():
    """Where the old CT is the model's own, nothing but the far tail of the network's view is lost."""
    model = convolving_model()
    before, after = (upright(sitk.GetImageFromArray(array)) for array in edited(seed=2))
    previous = translate(before, model, device="cpu")
    whole = sitk.GetArrayFromImage(translate(after, model, device="cpu")).astype(int)
    found = sitk.GetArrayFromImage(local_update(before, after, previous, model, reach_mm=25, device="cpu"))
    assert (whole != sitk.GetArrayFromImage(previous)).any()
    assert np.abs(found - whole).max() <= 1


def test_nothing_changed_gives_the_old_ct():
    image = sitk.GetImageFromArray(blocks())
    previous = sitk.GetImageFromArray(np.full((17, 30, 37), 17, np.int16))
    model = label_model()
    count = Counter(model.network)
    found = local_update(image, sitk.Image(image), previous, model, device="cpu")
    assert (sitk.GetArrayFromImage(found) == 17).all() and count.taken() == 0


def test_an_edit_is_refused_for_what_it_cannot_be():
    labels = sitk.GetImageFromArray(blocks())
    ct = sitk.GetImageFromArray(np.zeros((17, 30, 37), np.int16))
    with pytest.raises(UserError, match="the CT before"):
        local_update(labels, labels, ct[:-1], label_model(), device="cpu")
    with pytest.raises(UserError, match="takes no label maps"):
        local_update(labels, labels, ct, label_model(input_scaling={"name": "umea-mr"}), device="cpu")
    with pytest.raises(UserError, match="reach cannot be 0"):
        local_update(labels, labels, ct, label_model(), reach_mm=0, device="cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the 2.5D preset, made small, on a cohort of phantoms, through the command line."""
    folder = tmp_path_factory.mktemp("trained")
    tiny_cohort(folder / "raw", cases=3, shape=(12, 40, 44), labels=7)
    words = ["train", "--preset", "synthct-labels-unet", "--cohort", str(folder / "raw" / "cohort.json")]
    words += ["--run", str(folder / "run"), "--device", "cpu", "--spacing", "null", "--size", "[32, 32]"]
    words += ["--generator.width", "8-16", "--steps", "40", "--steps_per_epoch", "20", "--ema", "null"]
    assert main([*words, "--neighbours", "1", "--optimisers.generator.lr", "0.01"]) == 0
    return folder / "run"


def test_a_trained_model_knows_the_hu_of_classes(trained, tmp_path, capsys):
    card = load_model(trained).card
    assert (card["task"], card["input"], card["in_channels"]) == ("label-to-ct", "label map", 24)
    assert set(card["statistics"]) == {"spacing_mm", "extent_mm", "bone_fraction", "air_fraction", "body_ml"}
    assert (trained / "samples" / "epoch_0002.png").is_file()

    _, ct, mask = phantom_pair((14, 44, 48), seed=77)
    labels = phantom_labels(ct, mask)
    sitk.WriteImage(labels, str(tmp_path / "labels.nii.gz"))
    words = ["synthesize", "--model", str(trained), "--device", "cpu", "--input"]
    first = [*words, str(tmp_path / "labels.nii.gz"), "--output", str(tmp_path / "ct.nii.gz")]
    assert main([*first, "--events", str(tmp_path / "events")]) == 0
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "ct.nii.gz"))).astype(int)
    inside = sitk.GetArrayFromImage(mask) == 1
    assert (found[~inside] == -1024).all()
    error = np.abs(found - sitk.GetArrayFromImage(ct))[inside].mean()
    assert error < 120 and np.median(found[sitk.GetArrayFromImage(labels) == 4]) > 350
    result = read_events(tmp_path / "events")[0][-1]
    assert result["likeness"]["checked"] == ["spacing", "field of view"] and not result["likeness"]["unlike"]

    labels[20, 20, 7] = 5
    sitk.WriteImage(labels, str(tmp_path / "edited.nii.gz"))
    second = [*words, str(tmp_path / "edited.nii.gz"), "--output", str(tmp_path / "new.nii.gz")]
    before = ["--previous-labels", str(tmp_path / "labels.nii.gz")]
    assert main([*second, *before]) == 2
    assert "The previous CT is missing." in capsys.readouterr().err
    assert main([*second, *before, "--previous-ct", str(tmp_path / "ct.nii.gz"), "--reach", "12"]) == 0
    new = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "new.nii.gz")))
    changed = np.argwhere(new != found)
    assert len(changed) and (np.abs(changed - (7, 20, 20)) * (5, 4, 4) < 12).all()

    labels[20, 20, 7] = 8
    sitk.WriteImage(labels, str(tmp_path / "unknown.nii.gz"))
    unknown = [*words, str(tmp_path / "unknown.nii.gz"), "--output", str(tmp_path / "none.nii.gz")]
    assert main(unknown) == 2
    assert "the value 8, which no class of the model has" in capsys.readouterr().err
    assert not (tmp_path / "none.nii.gz").exists()


def test_an_input_of_other_voxels_is_said(trained):
    told = []
    labels = sitk.GetImageFromArray(blocks())
    labels.SetSpacing((20, 20, 20))
    from synthct.synthesis.likeness.watch import unlikeness

    found = unlikeness(labels, load_model(trained), events=Events(listener=told.append))
    assert found.unlike and "voxel size" in found.sentence and [event["kind"] for event in told] == ["warning"]


def test_a_saved_model_gives_the_same(tmp_path):
    model = convolving_model(neighbours=1)
    save_model(tmp_path / "model", model.network, model.card)
    image = sitk.GetImageFromArray(blocks())
    wanted, found = (translate(image, each, device="cpu") for each in (model, load_model(tmp_path / "model")))
    assert np.array_equal(sitk.GetArrayFromImage(wanted), sitk.GetArrayFromImage(found))
    with pytest.raises(UserError, match="in_channels"):
        save_model(tmp_path / "wrong", model.network, {**model.card, "in_channels": 3})
