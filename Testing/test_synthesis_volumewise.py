"""3D translation with networks whose answer is known: every voxel in place, equal to MONAI's inferer, little memory."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.inferers import sliding_window_inference
from synthesis_models import Centre, centre_model, random_grid_image
from torch import nn

from synthct.errors import Cancelled, UserError
from synthct.events import Events
from synthct.networks.registry import build_network
from synthct.synthesis import predictor
from synthct.synthesis.prepared import translate_prepared
from synthct.synthesis.translate import translate
from synthct.synthesis.windows import OVERLAP, weights
from synthct.volumes.geometry import grid_of


class Centre3D(Centre):
    """Gives back its window; every side must be a multiple of 8."""

    dimensions = 3

    def forward(self, image):
        assert image.ndim == 5 and image.shape[2] % self.divisor == 0
        return super().forward(image)


def model_3d(network: nn.Module | None = None, **changes):
    return centre_model(network or Centre3D(), **{"size": [8, 16, 24], "planes": ["axial"], **changes})


def noise(shape=(19, 37, 45), seed=0, kind=np.int16):
    return np.random.default_rng(seed).integers(0, 2500, shape).astype(kind)


def values(image):
    return sitk.GetArrayFromImage(image).astype(int)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [[8, 16, 24], [16, 40, 16], [64, 64, 64]])
def test_every_voxel_stays_in_place_on_any_grid(seed, size):
    image = random_grid_image(noise(seed=seed), seed)
    result = translate(image, model_3d(size=size), device="cpu", batch=1 + seed % 3)
    assert grid_of(result) == grid_of(image)
    assert result.GetPixelID() == sitk.sitkInt16
    assert np.array_equal(values(result), values(image))


@pytest.mark.parametrize("shape", [(5, 7, 9), (2, 40, 12), (30, 3, 60)])
def test_volumes_smaller_than_the_window_are_padded_with_their_lowest_value(shape):
    class Edge(Centre3D):
        def forward(self, image):
            self.corners = {round(float(image[0, 0, a, b, c]), 4) for a in (0, -1) for b in (0, -1) for c in (0, -1)}
            return super().forward(image)

    network = Edge()
    image = sitk.GetImageFromArray(noise(shape) + 100)
    result = translate(image, model_3d(network, size=[32, 64, 64]), device="cpu")
    assert np.array_equal(values(result), values(image))
    model = model_3d()
    assert network.corners == {
        round(float(model.input_scaling.apply(np.array([values(image).min()], np.float32))[0]), 4)
    }


@pytest.mark.parametrize("shape", [(19, 37, 45), (8, 40, 24), (40, 16, 23)])
def test_it_equals_one_sliding_window_over_the_whole_volume(shape):
    network = build_network({"name": "resenc-unet", "features": "4-6", "blocks": "1-1"}, 1, 1, seed=0).eval()
    network.requires_grad_(False)
    image = sitk.GetImageFromArray(noise(shape))
    model = model_3d(network)
    scaled = torch.from_numpy(model.input_scaling.apply(noise(shape)))[None, None]
    lowest = float(scaled.min())
    fade = torch.einsum("z,y,x->zyx", *(torch.from_numpy(weights(side)) for side in (8, 16, 24)))
    expected = sliding_window_inference(scaled, [8, 16, 24], 1, network, OVERLAP, roi_weight_map=fade, cval=lowest)
    hu = model.target_scaling.invert(expected[0, 0].numpy()).clip(-1024, 3000)
    assert hu.std() > 100
    assert np.abs(values(translate(image, model, device="cpu")) - hu).max() < 0.6  # rounding is 0.5


def test_the_weights_are_monais_gaussian():
    fade = weights(40)
    expected = np.exp(-0.5 * ((np.arange(40) - 19.5) / (0.125 * 40)) ** 2)
    np.testing.assert_allclose(fade, np.maximum(expected, 1e-3), rtol=1e-5)


def test_windows_without_body_are_left_out_and_the_rest_is_the_same():
    image = sitk.GetImageFromArray(noise((40, 64, 72)))
    body = np.zeros((40, 64, 72), np.uint8)
    body[12:20, 20:30, 30:44] = 1
    mask = sitk.GetImageFromArray(body)
    blur = nn.Conv3d(1, 1, 3, padding=1)
    whole, some = (model_3d(Counted(blur)) for _ in range(2))
    everywhere, inside = translate(image, whole, device="cpu"), translate(image, some, mask=mask, device="cpu")
    assert some.network.calls < whole.network.calls / 3
    assert np.array_equal(values(inside)[body == 1], values(everywhere)[body == 1])
    assert np.all(values(inside)[body == 0] == -1024)


class Counted(nn.Module):
    divisor = 1
    dimensions = 3

    def __init__(self, layer):
        super().__init__()
        self.layer, self.calls, self.largest = layer, 0, (0,)

    def forward(self, image):
        self.calls += 1
        self.largest = max(self.largest, tuple(image.shape), key=np.prod)
        return self.layer(image)


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_the_models_spacing_and_the_way_back(seed):
    """A smooth volume comes back within the error of linear interpolation, on its own grid, which may be oblique."""
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in (30, 36, 33)), indexing="ij")
    image = random_grid_image((1000 + 800 * z - 500 * y + 300 * x).astype(np.int16), seed, (1.5, 1.5, 1.5))
    result = translate(image, model_3d(spacing=[2.0, 1.2, 1.7]), device="cpu")
    assert grid_of(result) == grid_of(image)
    inner = (slice(2, -2),) * 3
    assert np.abs(values(result) - values(image))[inner].max() <= 6


def test_progress_comes_after_each_window_and_cancel_ends_there():
    heard = []
    network = Centre3D()
    image = sitk.GetImageFromArray(noise((24, 32, 48)))
    translate(image, model_3d(network), device="cpu", events=Events(listener=heard.append))
    progress = [event for event in heard if event["kind"] == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] == 24
    assert [event["done"] for event in progress] == sorted(event["done"] for event in progress)

    class Ended(Centre3D):
        def forward(self, image):
            if self.calls == 3:
                asked.append(True)
            return super().forward(image)

    asked: list[bool] = []

    def listen(_event):
        if asked:
            raise Cancelled("Ended.")

    ended = Ended()
    from synthct.synthesis import progress as counting

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cancelled):
        patch.setattr(counting, "_INTERVAL_S", 0.0)
        translate(image, model_3d(ended), device="cpu", events=Events(listener=listen))
    assert ended.calls == 4 < network.calls


class Hungry(Centre3D):
    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def forward(self, image):
        if image.numel() > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(image)


def test_memory_that_runs_out_is_answered_by_the_batch_and_then_the_window():
    events = []
    image = sitk.GetImageFromArray(noise((20, 140, 150)))
    model = model_3d(Hungry(8 * 80 * 80), size=[8, 128, 128])
    result = translate(image, model, device="cpu", batch=2, events=Events(listener=events.append))
    assert np.array_equal(values(result), values(image))
    answers = [event["todo"] for event in events if event["kind"] == "warning"]
    assert answers == ["The batch is now 1.", "Windows are now 64×64."]
    with pytest.raises(UserError, match="one window"):
        translate(image, model_3d(Hungry(10), size=[8, 128, 128]), device="cpu")


def test_default_windows_at_once():
    events = Events(listener=lambda _: None)
    assert predictor.Predictor(model_3d(), torch.device("cpu"), None, events).batch == 1
    assert predictor.Predictor(model_3d(), torch.device("cuda:0"), None, events).batch == predictor._GPU_WINDOWS


@pytest.mark.parametrize("planes", [["coronal"], ["axial", "sagittal"]])
def test_planes_are_refused(planes):
    with pytest.raises(UserError, match="3D one"):
        translate(sitk.GetImageFromArray(noise()), model_3d(), planes, device="cpu")


def test_a_size_that_the_network_cannot_take_is_rounded_up():
    image = sitk.GetImageFromArray(noise())
    assert np.array_equal(values(translate(image, model_3d(size=[12, 20, 20]), device="cpu")), values(image))


def test_prepared_volumes_are_translated_too():
    voxels = noise()
    body = np.zeros(voxels.shape, np.uint8)
    body[3:15, 5:30, 8:40] = 1
    result = translate_prepared(model_3d(spacing=[9, 9, 9]), voxels, (1.0, 1.0, 3.0), body, "cpu")
    assert np.array_equal(result, np.where(body, voxels, -1024))


def test_the_network_never_sees_more_than_a_window():
    network = Counted(nn.Identity())
    translate(sitk.GetImageFromArray(noise((30, 50, 70))), model_3d(network), device="cpu", batch=2)
    assert network.largest == (2, 1, 8, 16, 24)
