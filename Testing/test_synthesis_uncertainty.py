"""Mean and standard deviation of several predictions whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import phantom_pair
from synthesis_models import centre_model, random_grid_image
from torch import nn

from synthct.errors import UserError
from synthct.events import Events
from synthct.networks.registry import build_network
from synthct.synthesis.translate import translate
from synthct.synthesis.uncertainty.estimate import Uncertainty, translate_with_uncertainty
from synthct.synthesis.uncertainty.monte_carlo import MonteCarloDropout, has_dropout
from synthct.volumes.geometry import grid_of

PERCENTILES = {"name": "mr-percentile"}


class Constant(nn.Module):
    """Gives one scaled value everywhere."""

    def __init__(self, hu):
        super().__init__()
        self.value = (hu + 1024) / 4024 * 2 - 1

    def forward(self, image):
        return torch.full_like(image[:, :1], self.value)


class Ramp(nn.Module):
    """Adds a hundred HU towards the last column: what it gives depends on the side that it sees."""

    def forward(self, image):
        ramp = torch.linspace(0, 200 / 4024, image.shape[-1])
        return image[:, image.shape[1] // 2, None] + ramp


class Dropped(nn.Module):
    """Its input with half of the voxels put to zero, the others doubled; a norm that must stay as it is."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.dropout = nn.Dropout(0.5)

    def forward(self, image):
        return self.dropout(self.norm(image)) * 0.1


def values(image):
    return sitk.GetArrayFromImage(image).astype(float)


def volume(seed=0, shape=(9, 20, 24)):
    return random_grid_image(np.random.default_rng(seed).integers(-200, 1800, shape).astype(np.int16), seed)


@pytest.mark.parametrize("spacing", [None, [3.0, 3.0, None]])
@pytest.mark.parametrize("masked", [False, True])
def test_the_mean_of_equal_predictions_is_the_translation(masked, spacing):
    mr, _, body = phantom_pair((8, 32, 36))
    network = build_network({"name": "unet", "width": "4-8", "norm": "batch"}, 1, 1, seed=0)
    model = centre_model(network, input_scaling=PERCENTILES, spacing=spacing)
    mask = body if masked else None
    expected = translate(mr, model, ("axial",), mask, "cpu")
    for region in (mask, "auto") if masked else (mask,):
        spread = translate_with_uncertainty(
            mr, [model, model, model], Uncertainty(("models",)), ("axial",), region, device="cpu"
        )
        if region is mask:
            assert np.array_equal(values(spread.mean), values(expected))
        else:
            assert np.array_equal(values(spread.mean), values(translate(mr, model, ("axial",), "auto", "cpu")))
        assert spread.predictions == 3 and not values(spread.deviation).any()
    assert spread.mean.GetPixelID() == sitk.sitkInt16 and spread.deviation.GetPixelID() == sitk.sitkFloat32
    assert grid_of(spread.mean) == grid_of(mr) and grid_of(spread.deviation) == grid_of(mr)


def test_constant_networks_have_a_known_mean_and_deviation():
    models = [centre_model(Constant(hu)) for hu in (0, 100, 260)]
    image = volume()
    mask = sitk.Cast(image > 500, sitk.sitkUInt8)
    spread = translate_with_uncertainty(image, models, Uncertainty(("models",)), ("axial",), mask, "cpu")
    inside = values(mask) > 0
    assert set(values(spread.mean)[inside]) == {120} and set(values(spread.mean)[~inside]) == {-1024}
    assert np.allclose(values(spread.deviation)[inside], np.round(np.std([0, 100, 260], ddof=1), 1), atol=1e-4)
    assert not values(spread.deviation)[~inside].any()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "flips", [("left-right",), ("front-back", "head-foot"), ("left-right", "front-back", "head-foot")]
)
def test_flips_land_back_in_place_on_any_grid(seed, flips):
    image = volume(seed)
    uncertainty = Uncertainty(("flips",), flips=flips)
    spread = translate_with_uncertainty(image, [centre_model(neighbours=1)], uncertainty, ("axial",), device="cpu")
    assert spread.predictions == 2 ** len(flips)
    assert np.array_equal(values(spread.mean), values(image)) and not values(spread.deviation).any()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_network_that_favours_a_side_is_found_out(seed):
    """A ramp along the patient's left, added once as it is and once mirrored: half of it everywhere, the SD |Δ|/√2."""
    image = random_grid_image(np.zeros((12, 32, 32), np.int16) + 5, seed, (2.0, 2.0, 2.0))
    image[0, 0, 0] = 6
    model = centre_model(Ramp())
    one = values(translate(image, model, ("axial",), device="cpu")) - values(image)
    spread = translate_with_uncertainty(image, [model], Uncertainty(("flips",)), ("axial",), device="cpu")
    axis = int(np.argmax([np.ptp(one, axis=a).max() for a in range(3)]))
    assert np.abs(values(spread.mean) - values(image) - 50).max() <= 1
    expected = np.abs(one - np.flip(one, axis)) / np.sqrt(2)
    assert np.abs(values(spread.deviation) - expected).max() <= 0.1


def test_planes_are_predictions_of_their_own():
    image = volume(4)
    network = build_network({"name": "unet", "width": "4-8"}, 1, 1, seed=0)
    model = centre_model(network)
    each = [values(translate(image, model, (plane,), device="cpu")) for plane in ("axial", "coronal", "sagittal")]
    spread = translate_with_uncertainty(image, [model], Uncertainty(("planes",)), device="cpu")
    assert np.abs(values(spread.mean) - np.mean(each, axis=0)).max() <= 0.5
    assert np.abs(values(spread.deviation) - np.std(each, axis=0, ddof=1)).max() <= 0.051
    two = translate_with_uncertainty(image, [model], Uncertainty(("planes",)), ("axial", "coronal"), device="cpu")
    assert np.abs(values(two.mean) - np.mean(each[:2], axis=0)).max() <= 0.5


def test_dropout_draws_by_seed_and_leaves_the_norms_alone():
    image = volume()
    model = centre_model(Dropped())
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    state = torch.get_rng_state()
    plain = values(translate(image, model, device="cpu"))
    spread, again, other = (
        translate_with_uncertainty(image, [model], Uncertainty(("dropout",), samples=40, seed=seed), device="cpu")
        for seed in (0, 0, 1)
    )
    assert spread.predictions == 40
    assert np.array_equal(values(spread.deviation), values(again.deviation))
    assert not np.array_equal(values(spread.deviation), values(other.deviation))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())
    assert not any(layer.training for layer in model.network.modules())
    assert np.array_equal(values(translate(image, model, device="cpu")), plain)
    zero = (0 + 1) / 2 * 4024 - 1024  # HU of the scaled value 0
    # Dropped to 0 or doubled, each with probability 1/2: the mean is the plain output, the deviation its distance to 0.
    assert (values(spread.mean) - plain).mean() == pytest.approx(0, abs=1)
    ratio = values(spread.deviation).mean() / (np.abs(plain - zero).mean() * np.sqrt(40 / 39))
    assert ratio == pytest.approx(1, abs=0.05)


def test_dropout_layers_are_those_that_drop():
    assert not has_dropout(build_network({"name": "unet", "width": "4-8"}, 1, 1))
    assert not has_dropout(nn.Dropout(0))
    network = build_network({"name": "pix2pix-unet", "depth": 3, "width": 4}, 1, 1, seed=0)
    assert has_dropout(network)
    image = torch.randn(1, 1, 16, 16)
    sampled = MonteCarloDropout(network, (0, 1)).eval()
    assert sampled.divisor == network.divisor
    assert not torch.equal(sampled(image), sampled(image))
    assert torch.equal(
        MonteCarloDropout(network, (0, 1)).eval()(image), MonteCarloDropout(network, (0, 1)).eval()(image)
    )


def test_modes_multiply_and_progress_counts_the_whole():
    heard = []
    image = volume()
    models = [centre_model(Dropped()), centre_model(Dropped())]
    uncertainty = Uncertainty(("dropout", "flips", "models"), samples=9)
    spread = translate_with_uncertainty(image, models, uncertainty, device="cpu", events=Events(None, heard.append))
    assert spread.predictions == 12  # 2 models × 2 mirror images × 3 draws
    progress = [event for event in heard if event["kind"] == "progress"]
    assert {event["total"] for event in progress} == {12} and progress[-1]["done"] == 12
    assert [event["done"] for event in progress] == sorted(event["done"] for event in progress)
    assert "prediction 12 of 12" in progress[-1]["message"] and "mirrored left-right" in progress[-1]["message"]


def test_a_warning_is_given_once():
    heard = []
    image = volume()
    model = centre_model(planes=["axial"])
    translate_with_uncertainty(
        image, [model], Uncertainty(("planes", "flips")), device="cpu", events=Events(None, heard.append)
    )
    warnings = [event["what"] for event in heard if event["kind"] == "warning"]
    assert len(warnings) == len(set(warnings)) and any("coronal" in what for what in warnings)


def test_what_cannot_be_done_is_said():
    image = volume()
    model = centre_model()

    def spread(modes, models=(model,), **options):
        planes = options.pop("planes", None)
        return translate_with_uncertainty(image, models, Uncertainty(modes, **options), planes, device="cpu")

    with pytest.raises(UserError, match="centre has no dropout"):
        spread(("dropout",))
    with pytest.raises(UserError, match="needs two models"):
        spread(("models",))
    with pytest.raises(UserError, match="2 models were given"):
        spread(("flips",), [model, model])
    with pytest.raises(UserError, match="no standard deviation"):
        spread(("planes",), planes=("axial",))
    with pytest.raises(UserError, match="no mode of uncertainty flip"):
        spread(("flip",))
    with pytest.raises(UserError, match="no flip up"):
        spread(("flips",), flips=("up",))
    with pytest.raises(UserError, match="1 sample"):
        spread(("dropout",), [centre_model(Dropped())], samples=1)
    with pytest.raises(UserError, match="3D"):
        spread(("planes",), [centre_model(size=[8, 16, 16])])


@pytest.mark.parametrize("seed", [0, 1])
def test_a_3d_model_has_flips_and_dropout(seed):
    image = volume(seed)
    options = {"size": [8, 16, 16], "planes": ["axial"]}
    upright = translate_with_uncertainty(
        image, [centre_model(**options)], Uncertainty(("flips",), flips=("left-right", "head-foot")), device="cpu"
    )
    assert upright.predictions == 4
    assert np.array_equal(values(upright.mean), values(image)) and not values(upright.deviation).any()
    entry = {"name": "resenc-unet", "features": "4-8", "blocks": "1-1", "dropout": 0.2}
    model = centre_model(build_network(entry, 1, 1, seed=0), **options)
    spreads = [
        translate_with_uncertainty(image, [model], Uncertainty(("dropout",), samples=3), device="cpu") for _ in range(2)
    ]
    assert values(spreads[0].deviation).mean() > 1
    assert np.array_equal(values(spreads[0].deviation), values(spreads[1].deviation))


def test_the_bias_field_is_corrected_once_for_likeness_and_every_model(tmp_path, monkeypatch):
    import synthct.synthesis.likeness.watch as watch
    import synthct.synthesis.translate as translation
    import synthct.synthesis.uncertainty.estimate as estimate
    from synthct.synthesis.files import synthesize_file
    from synthct.volumes.bias import correct_bias

    calls = []

    def counted(image, body=None):
        calls.append(body)
        return correct_bias(image, body)

    for module in (estimate, watch, translation):
        monkeypatch.setattr(module, "correct_bias", counted)
    sitk.WriteImage(volume(), str(tmp_path / "mr.nii.gz"))
    options = {"bias_correction": True}
    models = [centre_model(**options), centre_model(**options)]
    heard = []
    synthesize_file(
        models,
        tmp_path / "mr.nii.gz",
        tmp_path / "ct.nii.gz",
        planes=("axial",),
        device="cpu",
        uncertainty=("models", "flips"),
        uncertainty_output=tmp_path / "sd.nii.gz",
        events=Events(None, heard.append),
    )
    assert len(calls) == 1
    result = next(event for event in heard if event["kind"] == "result")
    assert "not known" in result["likeness"]["sentence"]  # the models' cards hold no statistics
