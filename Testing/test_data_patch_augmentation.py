"""Changes of 3D patches: known displacements in voxels and mm, ranges, one geometry for all channels, determinism."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_data_slices import CT, MR, make_volume

from synthct.data.cache import Volume
from synthct.data.elastic import Displacement
from synthct.data.patch_augmentation import PatchChange, change_patch, draw_patch_change
from synthct.data.patches import PatchBatches
from synthct.recipe import Augmentation, Data, Elastic, Resampling

SIZE = (10, 14, 16)
C3 = Augmentation(
    rotation_degrees=(5, 5, 45),
    scale=(0.15, 0.15, 0.15),
    translation_voxels=(40, 40, 2),
    affine_probability=0.5,
    elastic=Elastic(
        0.5, rotation_degrees=(5, 5, 180), scale=(0.15, 0.15, 0.15), translation_voxels=(50, 50, 2)
    ),
    gamma=0.2,
    gamma_probability=0.5,
    bias_field=0.1,
    bias_field_probability=0.5,
    resampling=Resampling(0.5),
)  # fmt: skip


def draws(augmentation: Augmentation, count: int = 200) -> list[PatchChange]:
    return [draw_patch_change(augmentation, np.random.default_rng([0, n])) for n in range(count)]


def changed(
    volume: np.ndarray, change: PatchChange, corner: tuple[int, int, int], spacing: tuple[float, float, float]
) -> np.ndarray:
    """The patch of ``SIZE`` at ``corner`` of an input volume, with zeros beyond the volume."""
    first, size = change.source(SIZE, spacing)
    padded = np.pad(volume, 64)
    block = tuple(slice(c + f + 64, c + f + 64 + s) for c, f, s in zip(corner, first, size, strict=True))
    return change_patch({"input": padded[block][None]}, change, SIZE, spacing, (0, 1))["input"][0]


def blob(shape: tuple[int, int, int], at: tuple[float, float, float], mm: tuple[float, float, float]) -> np.ndarray:
    z, y, x = np.mgrid[tuple(slice(side) for side in shape)]
    away = sum(((a - b) * length) ** 2 for a, b, length in zip((z, y, x), at, mm, strict=True))
    return np.exp(-away / 12).astype(np.float32)


def centre(image: np.ndarray) -> tuple[float, ...]:
    return tuple(float((image * where).sum() / image.sum()) for where in np.mgrid[tuple(slice(s) for s in image.shape)])


def test_a_shift_by_whole_voxels_shows_the_voxels_beyond_the_patch() -> None:
    volume = np.random.default_rng(0).random((24, 28, 30), np.float32)
    patch = changed(volume, PatchChange(shift=(2, -3, 4)), (6, 7, 8), (3, 1, 1))
    np.testing.assert_allclose(patch, volume[4:14, 10:24, 4:20], atol=1e-4)
    np.testing.assert_array_equal(changed(volume, PatchChange(), (6, 7, 8), (3, 1, 1)), volume[6:16, 7:21, 8:24])
    assert not changed(volume, PatchChange(shift=(0, 60, 0)), (6, 7, 8), (3, 1, 1)).any()  # beyond the image


def test_a_quarter_turn_about_each_axis_keeps_mm() -> None:
    mm = (3.0, 2.0, 1.0)
    middle = tuple((side - 1) / 2 for side in SIZE)
    for axis in range(3):
        one, other = (n for n in range(3) if n != axis)
        at = list(middle)
        at[one] += 4 / mm[one]  # 4 mm off the middle
        angles = [0.0, 0.0, 0.0]
        angles[axis] = math.pi / 2
        turned = centre(changed(blob(SIZE, (at[0], at[1], at[2]), mm), PatchChange((*angles,)), (0, 0, 0), mm))
        moved = [(now - before) * length for now, before, length in zip(turned, middle, mm, strict=True)]
        assert abs(moved[other]) == pytest.approx(4, abs=0.5)
        assert moved[one] == pytest.approx(0, abs=0.3) and moved[axis] == pytest.approx(0, abs=0.3)


def test_zoom_is_along_its_own_axis_and_larger_means_larger() -> None:
    bright = blob(SIZE, (4.5, 8.5, 7.5), (2, 2, 2))
    z, y, x = centre(changed(bright, PatchChange(scale=(1, 1.4, 1)), (0, 0, 0), (1, 1, 1)))
    assert (z, y, x) == pytest.approx((4.5, 6.5 + 2 * 1.4, 7.5), abs=0.1)


def test_elastic_moves_voxels_by_its_field() -> None:
    displacement = Displacement(5.0, 200.0, 4)
    field = displacement.field(SIZE).numpy()
    ramp = np.mgrid[:40, :44, :46][1].astype(np.float32) / 100
    patch = changed(ramp, PatchChange(elastic=displacement), (15, 15, 15), (2, 1, 1))
    own = ramp[15:25, 15:29, 15:31]
    assert np.abs(field[1]).max() > 0.5
    np.testing.assert_allclose(patch, own + field[1] / 100, atol=1e-4)
    assert np.abs(field).max() < 5 * displacement.spread


def test_ranges_are_kept_over_many_draws() -> None:
    found = draws(C3, 400)
    moved = [c for c in found if c.elastic is None]
    degrees = np.degrees([c.angles for c in moved])
    assert (np.abs(degrees) <= (45, 5, 5)).all() and (np.abs(degrees).max(axis=0) > (43, 4.8, 4.8)).all()
    scales, shifts = np.array([c.scale for c in moved]), np.array([c.shift for c in moved])
    assert scales.min() >= 0.85 and scales.max() <= 1.15 and len(set(scales[scales[:, 0] != 1][0])) == 3
    assert (np.abs(shifts) <= (2, 40, 40)).all() and (np.abs(shifts).max(axis=0) > (1.9, 38, 38)).all()
    bent = [c.elastic for c in found if c.elastic is not None]
    assert all(5 <= e.sigma <= 8 and 100 <= e.magnitude <= 200 for e in bent)
    assert {c.voxel_mm for c in found} == {None, 1, 1.5, 2, 2.5, 3}
    for share in (len(bent), sum(c.gamma != 1 for c in found), sum(c.bias is not None for c in found)):
        assert 160 < share < 240
    plain = draws(Augmentation(rotation_degrees=10, scale=0.1, translation_voxels=3), 50)
    assert all(c.angles[1:] == (0, 0) and c.shift[0] == 0 and len(set(c.scale)) == 1 for c in plain)


@pytest.fixture
def volumes(tmp_path: Path) -> dict[str, Volume]:
    """Two volumes whose CT is the MR minus 500, both rising from front to back."""
    found = {"a": make_volume(tmp_path, "a", (16, 24, 20)), "b": make_volume(tmp_path, "b", (9, 30, 36))}
    for volume in found.values():
        ramp = np.linspace(0, 1400, volume.shape[1])[None, :, None]
        mr = np.broadcast_to(ramp, volume.shape).astype(np.int16)
        np.save(volume.folder / "mr.npy", mr)
        np.save(volume.folder / "ct.npy", mr - 500)
    return found


def patches(
    volumes: dict[str, Volume], augmentation: Augmentation, batch: int = 6, rank: int = 0, world: int = 1
) -> PatchBatches:
    data = Data(size=(8, 16, 16), input_scaling=MR, target_scaling=CT, augmentation=augmentation)
    return PatchBatches(volumes, ["a", "b"], data, batch, 0, rank, world)


def test_input_target_and_mask_move_together_and_the_mask_stays_binary(volumes: dict[str, Volume]) -> None:
    geometry = dataclasses.replace(C3, gamma=0, bias_field=0, resampling=Resampling(), translation_voxels=4)
    batch, plain = patches(volumes, geometry)[0], patches(volumes, Augmentation())[0]
    assert batch["input"].shape == (6, 1, 8, 16, 16) and batch["input"].dtype == torch.float32
    assert set(batch["mask"].unique().tolist()) == {0.0, 1.0}
    inside = batch["mask"] > 0
    hu, mr = batch["target"] * 1250 + 250, batch["input"] * 1000 + 1000
    torch.testing.assert_close(hu[inside], mr[inside] - 500, atol=2.0, rtol=0)
    assert not torch.equal(batch["input"], plain["input"])
    away = patches(volumes, Augmentation(translation_voxels=(400, 400, 0)))[0]
    gone = (away["input"].flatten(1) < -1 + 1e-5).all(dim=1)  # the lowest MR value everywhere
    assert gone.any()
    assert (away["target"][gone] < -1 + 1e-5).all() and not away["mask"][gone].any()  # air


def test_intensity_changes_concern_the_input_alone(volumes: dict[str, Volume]) -> None:
    plain = patches(volumes, Augmentation())[0]
    for changes in (
        Augmentation(gamma=0.5),
        Augmentation(bias_field=0.3),
        Augmentation(resampling=Resampling(1, (3,))),
    ):
        batch = patches(volumes, changes)[0]
        assert torch.equal(batch["target"], plain["target"]) and torch.equal(batch["mask"], plain["mask"])
        assert not torch.equal(batch["input"], plain["input"])
        assert (batch["input"] - plain["input"]).abs().max() < 0.7


def test_draws_follow_from_seed_and_step_and_shards_add_up(volumes: dict[str, Volume]) -> None:
    whole = patches(volumes, C3)
    parts = [patches(volumes, C3, 2, rank, 3) for rank in range(3)]
    for step in (0, 9, 4):
        again = patches(volumes, C3)[step]
        for name, value in whole[step].items():
            assert torch.equal(value, again[name])
            assert torch.equal(value, torch.cat([part[step][name] for part in parts]))
