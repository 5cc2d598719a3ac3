"""Patches, domain adaptation and explanations of segmentation networks, each on what can be worked out by hand."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from experiment_parts import TRAINING, write_set
from torch import nn

from synthct.errors import UserError
from synthct.methods.lesion_segmentation import LesionSegmentation, reversal_strength, reverse_gradient
from synthct.networks.registry import build_network
from synthct.networks.segmenters import bottleneck
from synthct.synthesis import explanation
from synthct.synthesis.explanation import explain
from synthct.synthesis.model_file import Model
from synthct.synthesis.segment import segment_image, segmentation_card
from synthct.training.segmentation.batches import LesionBatches
from synthct.training.segmentation.settings import SegmentationTraining
from synthct.training.segmentation.volumes import LesionVolume, prepare_lesion_volume

NETWORKS = [
    {"name": "unet-3d", "channels": [8, 16], "residual_units": 1},
    {"name": "unet-3d", "channels": [4, 8, 12], "residual_units": 2},
    {"name": "segresnet", "filters": 8, "blocks_down": [1, 1, 1]},
]
SETTINGS = SegmentationTraining(**{**TRAINING, "patch": (8, 8, 8), "iterations": (4,), "batch": 4})


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("balls")
    write_set(folder, 3, 1)
    images = folder / "images"
    return [
        prepare_lesion_volume(f"c{n}", images / f"i{n}.nii.gz", images / f"m{n}.nii.gz", folder / f"v{n}", None)
        for n in range(3)
    ]


@pytest.mark.parametrize("entry", NETWORKS, ids=str)
def test_networks_give_two_scores_and_coarsest_features(entry):
    network = build_network(entry, 1, 2, seed=0)
    seen = []
    bottleneck(network).register_forward_hook(lambda _part, _given, out: seen.append(out.shape))
    assert network(torch.zeros(2, 1, 16, 16, 16)).shape == (2, 2, 16, 16, 16)
    assert seen[0][2:] == (16 // network.divisor,) * 3
    with pytest.raises(UserError, match="unet-3d or a segresnet"):
        bottleneck(nn.Conv3d(1, 1, 1))


def test_gradient_reversal_changes_the_sign_and_nothing_else():
    features = torch.tensor([1.0, -2.0], requires_grad=True)
    out = reverse_gradient(features, 0.3)
    assert torch.equal(out, features)
    (out * torch.tensor([1.0, 10.0])).sum().backward()
    assert torch.allclose(features.grad, torch.tensor([-0.3, -3.0]))
    assert reversal_strength(0) == 0 and math.isclose(reversal_strength(1), 1, abs_tol=1e-4)


def test_adaptation_trains_the_classifier_and_pushes_the_network_the_other_way():
    """The domain loss's gradient in the network is −strength times what it is without reversal."""
    torch.manual_seed(0)
    entry, optimiser = NETWORKS[0], {"name": "sgd", "lr": 1.0}
    method = LesionSegmentation(entry, optimiser, (8, 8, 8), domain_weight=0.5)
    batch = {"image": torch.randn(2, 1, 8, 8, 8), "mask": torch.zeros(2, 1, 8, 8, 8)}
    batch["mask"][:, :, 2:5] = 1
    batch["target_image"] = torch.randn(2, 1, 8, 8, 8) * 3
    gradients = {}
    for progress in (0.0, 1.0):

        def update(role, loss, progress=progress):
            parameters = list(method.networks.parameters())
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            gradients[progress] = dict(
                zip([name for name, _ in method.networks.named_parameters()], found, strict=True)
            )

        losses = method.training_step(batch, update, progress)
    assert set(losses) == {"dice_ce", "domain"} and 0.3 < float(losses["domain"]) < 1.5
    plain, reversed_ = gradients[0.0], gradients[1.0]
    for name in plain:  # the classifier itself learns the same with and without reversal
        if name.startswith("domain"):
            assert torch.allclose(plain[name], reversed_[name])
    images = torch.cat([batch["image"], batch["target_image"]])
    method._features.clear()
    method.networks["segmenter"](images)
    logits = method.networks["domain"](method._features.pop())
    truth = torch.zeros_like(logits)
    truth[2:] = 1
    loss = nn.functional.binary_cross_entropy_with_logits(logits, truth)
    first = next(iter(method.networks["segmenter"].parameters()))
    (forward,) = torch.autograd.grad(loss, first)
    name = f"segmenter.{next(iter(method.networks['segmenter'].named_parameters()))[0]}"
    change = reversed_[name] - plain[name]
    assert forward.abs().max() > 0
    assert torch.allclose(change, -0.5 * reversal_strength(1.0) * forward, atol=1e-5)


def test_both_classes_are_equally_likely_and_every_volume_has_its_turn(volumes):
    batches = LesionBatches(volumes, SETTINGS, seed=0)
    epoch = [batches.volume_of(sample).id for sample in range(3 * SETTINGS.patches_per_volume)]
    assert {name: epoch.count(name) for name in epoch} == {f"c{n}": SETTINGS.patches_per_volume for n in range(3)}
    assert epoch != sorted(epoch)
    middles = torch.cat([batches[step]["mask"][:, 0, 4, 4, 4] for step in range(100)])
    assert 0.4 < float(middles.mean()) < 0.65  # the balls are 3 % of the voxels; some patches are moved into the volume
    one, again = batches[7], LesionBatches(volumes, SETTINGS, seed=0)[7]
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["image"], LesionBatches(volumes, SETTINGS, seed=1)[7]["image"])
    assert one["image"].shape == (4, 1, 8, 8, 8) and one["image"].abs().max() <= 1


class Hollow(LesionVolume):
    """A volume whose mask nobody may look at."""

    @property
    def mask(self):
        raise AssertionError("its mask is looked at")

    lesion = mask


def test_target_patches_do_not_know_their_masks(volumes):
    batch = LesionBatches(volumes[:1], SETTINGS, 0, volumes[1:])[0]
    assert batch["target_image"].shape == batch["image"].shape
    hollow = [Hollow(v.id, v.folder, v.image_hash) for v in volumes[1:]]
    with pytest.raises(AssertionError, match="its mask is looked at"):
        LesionBatches(hollow, SETTINGS, 0)[0]
    assert torch.equal(LesionBatches(volumes[:1], SETTINGS, 0, hollow)[0]["target_image"], batch["target_image"])


def test_a_volume_smaller_than_a_patch_is_padded_with_air(tmp_path):
    for name, value in (("ct", 40), ("mask", 1)):
        image = sitk.GetImageFromArray(np.full((4, 5, 6), value, np.int16))
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    volume = prepare_lesion_volume("c", tmp_path / "ct.nii.gz", tmp_path / "mask.nii.gz", tmp_path / "v", None)
    batch = LesionBatches([volume], SETTINGS, 0)[0]
    assert batch["mask"][0].sum() == 4 * 5 * 6 and float(batch["image"].min()) == -1


class Bright(nn.Module):
    """Calls a voxel a lesion where the mean of its 3³ neighbours lies above -100 HU."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv3d(1, 1, 3, padding=1, bias=False, padding_mode="replicate")
        nn.init.constant_(self.layer.weight, 1 / 27)
        self.requires_grad_(False)

    def forward(self, image):
        above = self.layer(image) + 0.3889  # -100 HU: the mean shrinks a ball
        return torch.cat([-10 * above, 10 * above], dim=1)


@pytest.fixture(scope="module")
def planted():
    """A CT with a ball, its axes turned and oblique, and a network that sees bright voxels."""
    z, y, x = np.mgrid[:20, :18, :22]
    inside = (z - 13) ** 2 + (y - 6) ** 2 + (x - 15) ** 2 < 16
    ct = sitk.GetImageFromArray(np.where(inside, 1000, -800).astype(np.int16))
    ct.SetSpacing((1.0, 2.0, 1.5))
    ct.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    ct.SetOrigin((5, -40, 7))
    card = segmentation_card(
        "bright", {"name": "unet-3d"}, [12, 12, 12], None, {"name": "ct-window"}, ("background", "lesion"), {}
    )
    return ct, inside, Model(Bright().eval(), card)


def test_a_mask_lies_on_the_grid_of_its_ct(planted):
    ct, inside, model = planted
    found = segment_image([model, model], ct, torch.device("cpu"))
    assert found.GetDirection() == ct.GetDirection() and found.GetSpacing() == ct.GetSpacing()
    array = sitk.GetArrayFromImage(found) > 0
    assert 2 * (array & inside).sum() / (array.sum() + inside.sum()) > 0.9


@pytest.mark.parametrize("method", ["occlusion", "grad-cam"])
def test_the_map_shows_the_planted_ball(planted, method):
    ct, inside, model = planted
    layer = "layer" if method == "grad-cam" else None
    found = explain(model, ct, method, torch.device("cpu"), block=4, layer=layer)
    assert found.found and found.score > 0
    assert found.image.GetDirection() == ct.GetDirection() and found.image.GetOrigin() == ct.GetOrigin()
    heat = sitk.GetArrayFromImage(found.image)
    assert inside[np.unravel_index(heat.argmax(), heat.shape)]
    assert heat[inside].mean() > 5 * abs(heat[~inside]).mean()
    index = ct.TransformPhysicalPointToIndex([-found.centre_ras[0], -found.centre_ras[1], found.centre_ras[2]])
    assert inside[tuple(reversed(index))]


def test_occlusion_takes_fewer_windows_at_once_where_the_memory_is_too_small(planted, monkeypatch):
    ct, _, model = planted
    usual = sitk.GetArrayFromImage(explain(model, ct, "occlusion", torch.device("cpu"), block=6).image)
    sizes = []

    def narrow(network, patches, region):
        sizes.append(len(patches))
        if len(patches) > 1:
            raise MemoryError
        return score(network, patches, region)

    score = explanation._score
    monkeypatch.setattr(explanation, "_score", narrow)
    found = explain(model, ct, "occlusion", torch.device("cpu"), block=6)
    assert sizes[:4] == [1, 4, 2, 1] and set(sizes[3:]) == {1} and len(sizes) == 3 + 3**3
    np.testing.assert_allclose(sitk.GetArrayFromImage(found.image), usual, atol=1e-6)


def test_where_nothing_is_found_that_is_said(planted):
    ct, _, model = planted
    air = sitk.Cast(ct * 0 - 900, sitk.sitkInt16)
    air.CopyInformation(ct)
    assert not explain(model, air, "occlusion", torch.device("cpu"), block=12).found
    with pytest.raises(UserError, match="lies outside the CT"):
        explain(model, ct, "occlusion", torch.device("cpu"), at=(900, 0, 0))
    with pytest.raises(UserError, match="block of 40 voxels"):
        explain(model, ct, "occlusion", torch.device("cpu"), block=40)
    with pytest.raises(UserError, match="no part nose"):
        explain(model, ct, "grad-cam", torch.device("cpu"), layer="nose")
