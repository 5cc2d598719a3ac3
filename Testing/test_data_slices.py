"""Slices: fixed shapes, draws that follow from (seed, step, sample), sharding, planes, 2.5D, unpaired."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from synthct.data.augmentation import Change, change_intensity, cut, draw_change
from synthct.data.cache import Volume
from synthct.data.slices import SliceBatches
from synthct.errors import UserError
from synthct.recipe import Augmentation, Data

EVERYTHING = Augmentation(True, rotation_degrees=10, scale=0.1, translation_voxels=3, gamma=0.2, bias_field=0.1)
MR, CT = {"name": "umea-mr"}, {"name": "umea-ct"}


def make_volume(folder: Path, name: str, shape: tuple[int, int, int] = (10, 24, 20), base: int = 0) -> Volume:
    """A volume whose MR counts its voxels and whose CT is the MR minus 500."""
    folder = folder / name
    folder.mkdir()
    mr = (np.arange(np.prod(shape)).reshape(shape) % 1500 + base).astype(np.int16)
    mask = np.zeros(shape, np.uint8)
    mask[1:-1, 4:-4, 4:-4] = 1
    for file, array in {"mr": mr, "ct": mr - 500, "mask": mask}.items():
        np.save(folder / f"{file}.npy", array.astype(np.uint8 if file == "mask" else np.int16))
    return Volume(name, folder, shape, (1.0, 1.0, 3.0))


@pytest.fixture
def volumes(tmp_path: Path) -> dict[str, Volume]:
    return {
        "a": make_volume(tmp_path, "a"),
        "b": make_volume(tmp_path, "b", (7, 40, 36), 10),
        "c": make_volume(tmp_path, "c", (9, 16, 30), 20),
    }


def test_every_slice_comes_once_an_epoch_and_shapes_are_fixed(volumes: dict[str, Volume]) -> None:
    data = Data(size=(32, 24), neighbours=1, input_scaling=MR, target_scaling=CT)
    batches = SliceBatches(volumes, ["a", "b", "c"], data, batch=4, seed=3)
    assert batches.slices == 8 + 5 + 7
    assert batches.steps_per_epoch == 5
    seen = []
    for step in range(5):
        batch = batches[step]
        assert batch["input"].shape == (4, 3, 32, 24)
        assert batch["target"].shape == batch["mask"].shape == (4, 1, 32, 24)
        assert batch["input"].dtype == torch.float32
        assert set(batch["mask"].unique().tolist()) == {0.0, 1.0}
        seen += [tuple(image[1].flatten().tolist()) for image in batch["input"].numpy()]
    assert len(set(seen)) == 20


def test_a_sample_holds_the_right_voxels(volumes: dict[str, Volume]) -> None:
    data = Data(size=(32, 32), neighbours=1, input_scaling=MR, target_scaling=CT)
    batch = SliceBatches(volumes, ["a"], data, batch=8, seed=0)
    sample = batch[0]
    mr = sample["input"] * 1000 + 1000
    hu = sample["target"] * 1250 + 250
    inside = sample["mask"] > 0
    torch.testing.assert_close(hu[inside], mr[:, 1:2][inside] - 500, atol=1e-2, rtol=0)
    assert torch.all(hu[:, :, 0] == -1000)  # padding: air, clipped to the window
    assert torch.all(mr[:, :, 0] == 0)  # padding: the volume's lowest value
    stored = {tuple(k.flatten().tolist()): n for n, k in enumerate(np.asarray(volumes["a"].mr))}
    for image in mr.numpy().round().astype(int)[:, :, 4:-4, 6:-6]:
        numbers = [stored[tuple(channel.flatten().tolist())] for channel in image]
        assert numbers == [numbers[1] - 1, numbers[1], numbers[1] + 1]


def test_neighbours_repeat_the_edge(volumes: dict[str, Volume]) -> None:
    data = Data(size=(24, 20), neighbours=2, body_only=False, input_scaling=MR, target_scaling=CT)
    batches = SliceBatches(volumes, ["a"], data, batch=10, seed=0)
    batch = batches[0]["input"]
    first = next(image for image in batch if image[2, 0, 0] == -1)
    assert torch.equal(first[0], first[2]) and torch.equal(first[1], first[2]) and not torch.equal(first[3], first[2])


def test_slabs_are_never_left(volumes: dict[str, Volume]) -> None:
    data = Data(size=(24, 20), neighbours=2, body_only=False, input_scaling=MR, target_scaling=CT)
    batches = SliceBatches(volumes, ["a"], data, batch=5, seed=0, ranges={"a": [(0, 3), (8, 10)]})
    assert batches.slices == 5
    values = batches[0]["input"].numpy() * 1000 + 1000
    allowed = np.asarray(volumes["a"].mr)[[0, 1, 2, 8, 9]]
    stored = {tuple(k.flatten().tolist()) for k in allowed}
    for image in values.round().astype(int):
        assert all(tuple(channel.flatten().tolist()) in stored for channel in image)


@pytest.mark.parametrize("paired", [True, False])
def test_draws_follow_from_seed_and_step_and_shards_add_up(volumes: dict[str, Volume], paired: bool) -> None:
    data = Data(
        planes=("axial", "coronal", "sagittal"), size=(16, 16), neighbours=1, paired=paired, augmentation=EVERYTHING
    )
    whole = SliceBatches(volumes, ["a", "b"], data, batch=6, seed=1)
    parts = [SliceBatches(volumes, ["a", "b"], data, 2, 1, rank, world=3) for rank in range(3)]
    for step in (0, 7, 40, 3):
        joint = whole[step]
        again = SliceBatches(volumes, ["a", "b"], data, batch=6, seed=1)[step]
        for name, value in joint.items():
            assert torch.equal(value, again[name])
            assert torch.equal(value, torch.cat([part[step][name] for part in parts]))
    assert not torch.equal(whole[0]["input"], SliceBatches(volumes, ["a", "b"], data, 6, 2)[0]["input"])


def test_unpaired_slices_are_drawn_independently(volumes: dict[str, Volume]) -> None:
    data = Data(size=(40, 36), paired=False, input_scaling=MR, target_scaling=CT)
    batch = SliceBatches(volumes, ["a", "b", "c"], data, batch=20, seed=0)[0]
    assert set(batch) == {"input", "target", "mask", "target_mask"}
    same = [(i * 1000 - t * 1250 + 250).abs().max() < 1 for i, t in zip(batch["input"], batch["target"], strict=True)]
    assert sum(same) < 10
    assert len({tuple(t.flatten().tolist()) for t in batch["target"]}) == 20


def test_planes_have_the_right_rows_and_columns(volumes: dict[str, Volume]) -> None:
    shape = volumes["a"].shape
    for plane, size in {"axial": shape[1:], "coronal": (shape[0], shape[2]), "sagittal": shape[:2]}.items():
        data = Data(planes=(plane,), size=size, input_scaling=MR, target_scaling=CT)
        image = SliceBatches(volumes, ["a"], data, 1, 0)[0]["input"][0, 0].numpy() * 1000 + 1000
        axis = {"axial": 0, "coronal": 1, "sagittal": 2}[plane]
        mr = np.asarray(volumes["a"].mr)
        assert any(np.allclose(image, np.take(mr, k, axis), atol=0.1) for k in range(shape[axis]))


def test_what_cannot_be_drawn_from_is_named(volumes: dict[str, Volume]) -> None:
    with pytest.raises(UserError, match="oblique"):
        SliceBatches(volumes, ["a"], Data(planes=("oblique",)), 1, 0)
    np.save(volumes["a"].folder / "mask.npy", np.zeros(volumes["a"].shape, np.uint8))
    with pytest.raises(UserError, match="No slice of a"):
        SliceBatches(volumes, ["a"], Data(), 1, 0)


def test_a_volume_travels_to_another_process_without_its_arrays(volumes: dict[str, Volume]) -> None:
    assert volumes["a"].mr.shape == volumes["a"].shape
    sent = pickle.dumps(volumes["a"])
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent).mr, volumes["a"].mr)


def test_preview_is_unchanged_by_augmentation(volumes: dict[str, Volume]) -> None:
    plain = SliceBatches(volumes, ["a", "b"], Data(size=(16, 16)), 2, 0).preview(3)
    drawn = SliceBatches(volumes, ["a", "b"], Data(size=(16, 16), paired=False, augmentation=EVERYTHING), 2, 0)
    assert plain["input"].shape == (3, 1, 16, 16)
    for name, value in drawn.preview(3).items():
        assert torch.equal(value, plain[name])


def test_data_loader_gives_the_same_batches(volumes: dict[str, Volume]) -> None:
    batches = SliceBatches(volumes, ["a", "b"], Data(size=(16, 16), augmentation=EVERYTHING), 2, 0)
    loader = torch.utils.data.DataLoader(batches, batch_size=None, sampler=range(3, 6))  # type: ignore[arg-type]
    for step, batch in zip(range(3, 6), loader, strict=True):
        assert torch.equal(batch["input"], batches[step]["input"])


def blob(rows: int, columns: int, at: tuple[float, float]) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    return np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 8)[None]


def centre(image: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[: image.shape[1], : image.shape[2]]
    return float((image[0] * y).sum() / image.sum()), float((image[0] * x).sum() / image.sum())


def test_moves_go_where_they_should() -> None:
    image, none = blob(60, 80, (30, 50)), np.zeros(1)
    assert centre(cut(image, none, (0, 0), (60, 80), Change(shift=(4, -6)))) == pytest.approx((34, 44), abs=0.01)
    grown = cut(image, none, (0, 0), (60, 80), Change(scale=(1.2, 1.2)))
    assert centre(grown) == pytest.approx((29.5 + 0.5 * 1.2, 39.5 + 10.5 * 1.2), abs=0.02)
    window = cut(image, none, (10, 20), (40, 40), Change(shift=(1e-6, 0)))
    np.testing.assert_allclose(window, image[:, 10:50, 20:60], atol=1e-4)
    turned = cut(image, none, (0, 0), (60, 80), Change(angle=float(np.pi / 2)))
    y, x = centre(turned)
    assert np.hypot(y - 29.5, x - 39.5) == pytest.approx(np.hypot(0.5, 10.5), abs=0.05)
    assert abs(x - 39.5) == pytest.approx(0.5, abs=0.05)


def test_rotation_keeps_distances_in_mm() -> None:
    turned = cut(blob(60, 60, (29.5, 39.5)), np.zeros(1), (0, 0), (60, 60), Change(angle=float(np.pi / 2)), (2.0, 1.0))
    y, x = centre(turned)
    assert (abs(y - 29.5) * 2, x - 29.5) == pytest.approx((10, 0), abs=0.1)


def test_outside_is_filled_with_each_channel_s_own_value() -> None:
    channels = np.stack([np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32)])
    for change in (Change(), Change(angle=0.3)):
        window = cut(channels, np.array([-1.0, 0.5]), (-6, -6), (20, 20), change)
        assert window[0, 0, 0] == -1 and window[1, 0, 0] == 0.5
        assert window[0, 10, 10] == 0 and window[1, 10, 10] == pytest.approx(1)


def test_intensity_changes_keep_the_ends_and_only_scale_between() -> None:
    ramp = np.linspace(-1, 1, 256, dtype=np.float32).reshape(1, 16, 16)
    changed = change_intensity(ramp, 1.3, None, -1, 1)
    assert changed[0, 0, 0] == -1 and changed[0, -1, -1] == pytest.approx(1) and (changed <= ramp + 1e-6).all()
    drawn = draw_change(Augmentation(bias_field=0.2), np.random.default_rng(0))
    field = (change_intensity(np.zeros((1, 32, 32), np.float32), 1, drawn.bias, -1, 1) + 1).squeeze()
    assert 0.8 <= field.min() < field.max() <= 1.2
    assert change_intensity(ramp, 1, None, -1, 1) is ramp


def test_one_key_does_not_alter_another_s_draws() -> None:
    alone = draw_change(Augmentation(rotation_degrees=10), np.random.default_rng(5))
    together = draw_change(EVERYTHING, np.random.default_rng(5))
    assert alone.angle == together.angle and alone.scale == (1, 1) and not alone.flip
