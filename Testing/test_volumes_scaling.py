"""Intensity scalings: the published numbers, exact inverses, what is refused."""

import json

import numpy as np
import pytest

from synthct.errors import UserError
from synthct.volumes.scaling import SCALINGS, Scaling, make_scaling


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("umea-ct", {-1000: -1, 250: 0, 1500: 1, 1000: 0.6, -2000: -1, 3000: 1}),
        ("umea-mr", {0: -1, 1000: 0, 2000: 1, 5000: 1}),
        ("hagan-ct", {-1024: -1, 600: 1, -212: 0, 3000: 1}),
        ("hagan-mask", {0: -1, 1: 0, 2: 1}),
        ("hagan-mask-binary", {0: -1, 1: 1}),
        ("lidc-ct", {-1024: -0.512, 1900: 0.95, 0: 0}),
        ("lidc-label", {0: -1, 3: 0, 5: 2 / 3}),
    ],
)
def test_published_scalings_give_the_published_values(name: str, points: dict[int, float]) -> None:
    scaled = make_scaling({"name": name}).apply(np.array(list(points), np.int16))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, list(points.values()), atol=1e-6)


def test_every_scaling_inverts_and_survives_json() -> None:
    array = np.random.default_rng(0).integers(0, 900, (4, 5, 6)).astype(np.int16)
    for name in SCALINGS:
        scaling = make_scaling({"name": name}).fit(array)
        again = make_scaling(json.loads(json.dumps(scaling.to_dict())))
        assert again == scaling
        low, high = scaling.range
        inside = np.linspace(low, high, 50)
        np.testing.assert_allclose(again.invert(scaling.apply(inside)), inside, atol=2e-4 * (high - low) / 2)


def test_int16_values_survive_a_round_trip_exactly() -> None:
    window = make_scaling({"name": "ct-window", "low": -1024, "high": 3071})
    hu = np.arange(-1024, 3072, dtype=np.int16)
    assert np.array_equal(np.rint(window.invert(window.apply(hu))).astype(np.int16), hu)


def test_percentiles_come_from_the_body_of_each_volume() -> None:
    array = np.zeros((10, 20, 20), np.float32)
    array[:, 5:15, 5:15] = np.random.default_rng(1).uniform(100, 300, (10, 10, 10))
    mask = (array > 0).astype(np.uint8)
    fitted = make_scaling({"name": "mr-percentile", "low": 1, "high": 99}).fit(array, mask)
    assert fitted.range == pytest.approx(np.percentile(array[mask > 0], [1, 99]), rel=1e-6)
    assert fitted.fit(array * 2, mask) == fitted
    doubled = make_scaling({"name": "mr-percentile", "low": 1, "high": 99}).fit(array * 2, mask)
    np.testing.assert_allclose(doubled.apply(array * 2), fitted.apply(array), atol=1e-5)


def test_a_large_volume_is_sampled_on_a_lattice() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1000, 300, dtype=np.float32), (200, 100, 300))
    low, high = make_scaling({"name": "mr-percentile"}).fit(ramp).range
    assert low == pytest.approx(5, abs=6) and high == pytest.approx(995, abs=6)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"name": "nothing"}, "nothing"),
        ({}, "None"),
        ({"name": "umea-ct", "low": 3}, "`low`"),
        ({"name": "ct-window", "width": 3}, "`width`"),
        ({"name": "ct-window", "low": "a"}, "`low`"),
        ({"name": "ct-window", "low": 5, "high": 5}, "`low`"),
        ({"name": "mr-percentile", "high": 120}, "percentiles"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], word: str) -> None:
    with pytest.raises(UserError, match=word):
        make_scaling(options)


def test_a_constant_volume_and_an_empty_mask_are_refused() -> None:
    scaling = make_scaling({"name": "mr-percentile"})
    with pytest.raises(UserError, match="constant"):
        scaling.fit(np.full((3, 3, 3), 7))
    with pytest.raises(UserError, match="mask is empty"):
        scaling.fit(np.arange(27).reshape(3, 3, 3), np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="fitted"):
        scaling.apply(np.zeros(3))


def test_lattice_that_misses_a_small_mask_falls_back_to_all_voxels() -> None:
    array = np.arange(200**3, dtype=np.float32).reshape(200, 200, 200)
    mask = np.zeros(array.shape, np.uint8)
    mask[1, 1, 1:4] = 1
    assert isinstance(make_scaling({"name": "mr-percentile"}).fit(array, mask), Scaling)
