"""Translation with a network whose answer is known: every voxel and every landmark must come out where it went in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from synthesis_models import Centre, centre_model, random_grid_image
from torch import nn

from synthct.errors import UserError
from synthct.events import Events
from synthct.synthesis.translate import translate
from synthct.volumes.geometry import grid_of


def noise(shape=(19, 37, 45), seed=0, kind=np.int16):
    return np.random.default_rng(seed).integers(0, 2500, shape).astype(kind)


def values(image):
    return sitk.GetArrayFromImage(image).astype(int)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("planes", [("axial",), ("coronal",), ("sagittal",), ("axial", "coronal", "sagittal")])
def test_every_voxel_stays_in_place_on_any_grid(seed, planes):
    image = random_grid_image(noise(seed=seed), seed)
    result = translate(image, centre_model(neighbours=seed % 3), planes, device="cpu", batch=1 + seed % 4)
    assert grid_of(result) == grid_of(image)
    assert result.GetPixelID() == sitk.sitkInt16
    assert np.array_equal(values(result), values(image))


LANDMARKS_MM = np.array([[-21.3, -14.1, -17.7], [16.4, -9.2, 11.9], [4.1, 19.8, -6.3], [-9.9, 8.8, 18.2]])


def landmark_image(seed):
    """Blobs at known world positions on a random grid of about 80 mm."""
    rng = np.random.default_rng(seed)
    spacing = rng.uniform(1.0, 3.2, 3)
    size = np.ceil(84 / spacing).astype(int)
    image = random_grid_image(np.zeros(size[::-1], np.int16), seed, tuple(spacing.tolist()))
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint(((size - 1) / 2).tolist()))
    points = LANDMARKS_MM + middle
    world = positions(image)
    array = sum(2000 * np.exp(-0.5 * ((world - point) ** 2).sum(-1) / 4.0**2) for point in points)
    filled = sitk.GetImageFromArray(np.rint(array).astype(np.int16))
    filled.CopyInformation(image)
    return filled, points


def positions(image):
    grid = grid_of(image)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size[::-1]), indexing="ij")[::-1], -1)
    return index @ grid.index_to_world[:3, :3].T + grid.index_to_world[:3, 3]


def centroid(image, near):
    world = positions(image)
    array = sitk.GetArrayFromImage(image).astype(float)
    weights = np.where(((world - near) ** 2).sum(-1) < 11.0**2, np.clip(array, 0, None), 0)
    return (world * weights[..., None]).sum((0, 1, 2)) / weights.sum()


@pytest.mark.parametrize("seed", range(6))
def test_landmarks_stay_within_a_tenth_of_a_millimetre_through_the_models_spacing(seed):
    image, points = landmark_image(seed)
    model = centre_model(spacing=[1.7, 1.3, 2.1], size=[48, 40])
    result = translate(image, model, ("axial", "coronal", "sagittal")[: 1 + seed % 3], device="cpu")
    assert grid_of(result) == grid_of(image)
    for point in points:
        assert np.linalg.norm(centroid(result, point) - centroid(image, point)) < 0.1


def test_a_shifted_result_would_be_seen_by_the_landmarks():
    image, points = landmark_image(1)
    moved = sitk.Image(image)
    moved.SetOrigin(image.TransformIndexToPhysicalPoint((1, 0, 0)))
    assert all(np.linalg.norm(centroid(moved, p) - centroid(image, p)) > 0.1 for p in points)


def test_a_model_spacing_of_one_axis_keeps_the_others_and_the_edges():
    image = random_grid_image(np.full((9, 20, 24), 700, np.int16) + noise((9, 20, 24)) % 5, 3, (1.0, 1.0, 4.0))
    network = Centre()
    direction = np.reshape(image.GetDirection(), (3, 3))
    along_z = [0.0, 0.0, 0.0]
    along_z[int(np.argmax(np.abs(direction[:, 2])))] = 2.0
    result = translate(image, centre_model(network, spacing=along_z), device="cpu")
    assert np.abs(values(result) - 702).max() <= 3  # no dark rim where the grids do not end together


@pytest.mark.parametrize("size", [[16, 16], [24, 40], [32, 24], [64, 64]])
def test_the_result_of_a_pointwise_network_does_not_depend_on_the_tiles(size):
    image = random_grid_image(noise(), 1)
    assert np.array_equal(values(translate(image, centre_model(size=size), device="cpu")), values(image))


def test_the_network_never_sees_more_than_a_tile():
    network = Centre()
    translate(random_grid_image(noise((5, 70, 90)), 0), centre_model(network, size=[32, 32]), device="cpu", batch=2)
    assert network.largest[0] <= 2 and max(network.largest[2:]) <= 32


def test_blurring_network_leaves_no_seam_between_tiles():
    blur = nn.Conv2d(1, 1, 5, padding=2, padding_mode="replicate", bias=False)
    nn.init.constant_(blur.weight, 1 / 25)
    y, x = np.mgrid[0:60, 0:80]
    smooth = np.rint(1000 + 400 * np.sin(y / 9) * np.cos(x / 11)).astype(np.int16)
    image = sitk.GetImageFromArray(np.stack([smooth] * 3))
    whole = values(translate(image, centre_model(blur, size=[80, 80]), device="cpu"))
    tiled = values(translate(image, centre_model(blur, size=[24, 24]), device="cpu"))
    assert np.abs(whole - tiled).max() <= 12
    jumps = [np.abs(np.diff(result, axis=axis)).max() for result, axis in itertools.product((whole, tiled), (1, 2))]
    assert max(jumps[2:]) <= max(jumps[:2]) + 6


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_pixel_type_is_taken(kind):
    array = noise(kind=np.int32) % 250
    image = sitk.GetImageFromArray(array.astype(kind))
    assert np.array_equal(values(translate(image, centre_model(), device="cpu")), array)


def test_neighbours_are_the_slices_above_and_below_with_the_ends_repeated():
    class Upper(nn.Module):
        def forward(self, image):
            return image[:, 2:3]

    image = sitk.GetImageFromArray(noise())
    for batch in (1, 4):
        result = values(translate(image, centre_model(Upper(), neighbours=1), device="cpu", batch=batch))
        assert np.array_equal(result[:-1], values(image)[1:])
        assert np.array_equal(result[-1], values(image)[-1])


def test_batch_changes_nothing_and_runs_repeat():
    network = nn.Conv2d(3, 1, 3, padding=1)
    nn.init.normal_(network.weight, std=0.2)
    image = random_grid_image(noise(), 2)
    model = centre_model(network, neighbours=1)
    first = values(translate(image, model, device="cpu", batch=1))
    assert np.array_equal(first, values(translate(image, model, device="cpu", batch=1)))
    assert np.abs(first - values(translate(image, model, device="cpu", batch=5))).max() <= 1


def test_values_are_clipped_to_the_models_range_and_rounded():
    image = sitk.GetImageFromArray(noise().astype(np.float32) + 0.6)
    result = values(translate(image, centre_model(hu_range=[-1000, 1500]), device="cpu"))
    assert result.min() >= -1000 and result.max() == 1500
    inside = result < 1500
    assert np.array_equal(result[inside], np.rint(sitk.GetArrayFromImage(image)).astype(int)[inside])


def test_outside_the_mask_is_air_and_empty_slices_are_not_computed():
    image = random_grid_image(noise((12, 20, 24)), 0)
    region = np.zeros((12, 20, 24), np.uint8)
    region[4:9, 5:15, 6:20] = 1
    mask = sitk.GetImageFromArray(region)
    mask.CopyInformation(image)
    network = Centre()
    events = []
    result = translate(image, centre_model(network), mask=mask, device="cpu", events=Events(listener=events.append))
    assert np.all(values(result)[region == 0] == -1024)
    assert np.array_equal(values(result)[region == 1], values(image)[region == 1])
    progress = [event for event in events if event["kind"] == "progress"]
    assert network.calls < progress[-1]["total"] == progress[-1]["done"]
    fused = translate(image, centre_model(), ("axial", "sagittal"), mask, "cpu")
    assert np.array_equal(values(fused), values(result))
    assert values(translate(image, centre_model(hu_range=[-1000, 3000]), mask=mask, device="cpu")).min() == -1000


def test_a_mask_on_another_grid_is_brought_onto_the_inputs():
    image = sitk.GetImageFromArray(noise((10, 20, 20)))
    coarse = sitk.GetImageFromArray(np.pad(np.ones((4, 4, 4), np.uint8), 3))
    coarse.SetSpacing((2.0, 2.0, 1.0))
    result = values(translate(image, centre_model(), mask=coarse, device="cpu"))
    assert 0 < np.mean(result > -1024) < 0.5
    coarse.SetOrigin((500.0, 0.0, 0.0))
    with pytest.raises(UserError, match="mask covers no voxel"):
        translate(image, centre_model(), mask=coarse, device="cpu")


def body_image():
    z, y, x = np.mgrid[-1:1:16j, -1:1:40j, -1:1:40j]
    rng = np.random.default_rng(0)
    array = np.where(y**2 + x**2 < 0.5, 900 + 200 * np.sin(5 * x), 10) + rng.normal(0, 5, z.shape)
    return sitk.GetImageFromArray(np.clip(array, 0, None).astype(np.int16))


def test_the_body_is_found_for_the_scaling_and_for_the_air():
    image = body_image()
    model = centre_model(input_scaling={"name": "mr-percentile", "low": 1, "high": 99})
    result = values(translate(image, model, mask="auto", device="cpu"))
    outside = values(image) < 200
    assert np.mean(result[outside] == -1024) > 0.95
    assert result[~outside].max() == 3000  # the brightest of the body, not of the image, is the top of the scale


def test_bias_correction_of_the_card_is_done():
    _, y, x = np.mgrid[-1:1:20j, -1:1:48j, -1:1:48j]
    body = y**2 + x**2 < 0.7
    image = sitk.GetImageFromArray(np.where(body, 900 * (1 + 0.4 * x), 10).astype(np.int16))
    image.SetSpacing((4.0, 4.0, 4.0))
    plain = values(translate(image, centre_model(), device="cpu"))
    assert np.array_equal(plain, values(image))
    corrected = values(translate(image, centre_model(bias_correction=True), device="cpu"))
    assert corrected[body].std() < 0.6 * plain[body].std()


def test_progress_counts_slices_over_all_planes():
    events = []
    image = sitk.GetImageFromArray(noise((9, 20, 24)))
    translate(image, centre_model(), ("axial", "sagittal"), device="cpu", events=Events(listener=events.append))
    progress = [event for event in events if event["kind"] == "progress"]
    assert progress[0]["done"] == 0 and progress[-1]["done"] == progress[-1]["total"] == 9 + 24


@pytest.mark.parametrize("planes", [(), ("axial", "upright")])
def test_unknown_planes_are_refused(planes):
    with pytest.raises(UserError, match="plane"):
        translate(sitk.GetImageFromArray(noise()), centre_model(), planes, device="cpu")


@pytest.mark.parametrize("spacing", [(100, 100, 100), (0.01, 0.01, 0.01)])
def test_voxel_sizes_in_metres_or_micrometres_are_refused(spacing):
    image = sitk.GetImageFromArray(noise((40, 50, 60)))
    image.SetSpacing(spacing)
    with pytest.raises(UserError, match=r"The input measures .* mm\. .* cannot be right"):
        translate(image, centre_model(), device="cpu")


def test_a_diverged_network_is_named():
    network = nn.Conv2d(1, 1, 1)
    nn.init.constant_(network.weight, float("nan"))
    with pytest.raises(UserError, match="not numbers"):
        translate(sitk.GetImageFromArray(noise()), centre_model(network), device="cpu")
