"""3D patches: fixed shapes, the right voxels, draws that follow from (seed, step, sample), slabs, padding, unpaired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_data_slices import CT, MR, make_volume

from synthct.data.cache import Volume
from synthct.data.patches import PatchBatches
from synthct.errors import UserError
from synthct.recipe import Augmentation, Data, recipe_from_dict

FLIP = Augmentation(flip=True)


@pytest.fixture
def volumes(tmp_path: Path) -> dict[str, Volume]:
    found = {
        "a": make_volume(tmp_path, "a"),
        "b": make_volume(tmp_path, "b", (7, 40, 36)),
        "c": make_volume(tmp_path, "c", (20, 16, 30)),
    }
    for number, volume in enumerate(found.values()):  # no block of voxels twice
        mr = np.random.default_rng(number).integers(10, 1500, volume.shape).astype(np.int16)
        np.save(volume.folder / "mr.npy", mr)
        np.save(volume.folder / "ct.npy", mr - 500)
    return found


def data(*size: int, **options: object) -> Data:
    return Data(size=size, input_scaling=MR, target_scaling=CT, **options)  # type: ignore[arg-type]


def corners(patches: np.ndarray, volume: Volume) -> list[tuple[int, ...]]:
    """Where each patch of MR values lies in its volume; fails where it is not one of its blocks."""
    found = []
    blocks = np.lib.stride_tricks.sliding_window_view(np.asarray(volume.mr), patches.shape[1:])
    for patch in patches:
        places = np.argwhere((blocks == patch).all(axis=(3, 4, 5)))
        assert len(places) == 1
        found.append(tuple(places[0].tolist()))
    return found


def mr_values(batch: dict[str, torch.Tensor]) -> np.ndarray:
    return np.asarray((batch["input"][:, 0] * 1000 + 1000).numpy().round().astype(int))


def test_patches_are_blocks_of_the_volume_around_the_body(volumes: dict[str, Volume]) -> None:
    batches = PatchBatches(volumes, ["a"], data(4, 8, 6), batch=40, seed=3)
    batch = batches[0]
    assert batch["input"].shape == batch["target"].shape == batch["mask"].shape == (40, 1, 4, 8, 6)
    assert {value.dtype for value in batch.values()} == {torch.float32}
    places = np.array(corners(mr_values(batch), volumes["a"]))
    assert (places.min(0) >= (1, 4, 4)).all() and (places.max(0) <= (5, 12, 10)).all()  # the body's box
    assert len(np.unique(places, axis=0)) > 20
    torch.testing.assert_close(batch["target"] * 1250 + 250, batch["input"] * 1000 + 500, atol=0.1, rtol=0)
    assert batch["mask"].min() == 1


def test_an_epoch_covers_the_bodies_and_shows_larger_ones_more_often(volumes: dict[str, Volume]) -> None:
    batches = PatchBatches(volumes, ["a", "b", "c"], data(4, 8, 8), batch=2, seed=0)
    cells = [2 * 2 * 2, 2 * 4 * 4, 5 * 1 * 3]  # body boxes of 8×16×12, 5×32×28 and 18×8×22
    assert batches.patches == sum(cells)
    assert batches.steps_per_epoch == round(sum(cells) / 2)
    larger = PatchBatches(volumes, ["a", "b", "c"], data(4, 8, 8), batch=5, seed=0)
    shown = np.concatenate([mr_values(larger[step]).reshape(5, -1) for step in range(11)])
    counts = [0, 0, 0]
    for patch in shown:
        for number, name in enumerate("abc"):
            blocks = np.lib.stride_tricks.sliding_window_view(np.asarray(volumes[name].mr), (4, 8, 8))
            counts[number] += bool((blocks.reshape(-1, 256) == patch).all(axis=1).any())
    assert counts == cells


def test_small_volumes_are_padded_evenly_with_air(volumes: dict[str, Volume]) -> None:
    batch = PatchBatches(volumes, ["a"], data(16, 32, 32), batch=1, seed=0)[0]
    assert batch["input"].shape == (1, 1, 16, 32, 32)
    inner = (slice(3, 13), slice(4, 28), slice(6, 26))
    mr = batch["input"][0, 0].numpy() * 1000 + 1000
    np.testing.assert_allclose(mr[inner], volumes["a"].mr, atol=0.1)
    np.testing.assert_array_equal(batch["mask"][0, 0].numpy()[inner], volumes["a"].mask)
    outside = np.ones((16, 32, 32), bool)
    outside[inner] = False
    assert np.allclose(mr[outside], volumes["a"].mr.min(), atol=0.1)
    assert np.all(batch["target"][0, 0].numpy()[outside] * 1250 + 250 == -1000)  # air, clipped to the window
    assert not batch["mask"][0, 0].numpy()[outside].any()


def test_slabs_are_never_left(volumes: dict[str, Volume]) -> None:
    batches = PatchBatches(volumes, ["a"], data(3, 8, 6), batch=20, seed=0, ranges={"a": [(0, 4), (6, 9)]})
    places = {corner[0] for corner in corners(mr_values(batches[0]), volumes["a"])}
    assert places == {1, 6}  # the body begins at slice 1


@pytest.mark.parametrize("paired", [True, False])
def test_draws_follow_from_seed_and_step_and_shards_add_up(volumes: dict[str, Volume], paired: bool) -> None:
    options = data(4, 8, 8, paired=paired, augmentation=FLIP)
    whole = PatchBatches(volumes, ["a", "b"], options, batch=6, seed=1)
    parts = [PatchBatches(volumes, ["a", "b"], options, 2, 1, rank, world=3) for rank in range(3)]
    for step in (0, 7, 40, 3):
        joint, again = whole[step], PatchBatches(volumes, ["a", "b"], options, batch=6, seed=1)[step]
        for name, value in joint.items():
            assert torch.equal(value, again[name])
            assert torch.equal(value, torch.cat([part[step][name] for part in parts]))
    assert not torch.equal(whole[0]["input"], PatchBatches(volumes, ["a", "b"], options, 6, 2)[0]["input"])


def test_unpaired_patches_are_drawn_independently(volumes: dict[str, Volume]) -> None:
    batch = PatchBatches(volumes, ["a", "b", "c"], data(4, 8, 8, paired=False), batch=30, seed=0)[0]
    assert set(batch) == {"input", "target", "mask", "target_mask"}
    pairs = zip(batch["input"], batch["target"], strict=True)
    assert sum(bool((i * 1000 - t * 1250 + 250).abs().max() < 1) for i, t in pairs) < 10


def test_the_mirror_image_is_left_right_and_alike_in_all(volumes: dict[str, Volume]) -> None:
    plain = PatchBatches(volumes, ["a"], data(4, 8, 6), batch=30, seed=3)[0]
    drawn = PatchBatches(volumes, ["a"], data(4, 8, 6, augmentation=FLIP), batch=30, seed=3)[0]
    flipped = 0
    for number in range(30):
        mirrored = not torch.equal(plain["input"][number], drawn["input"][number])
        flipped += mirrored
        for name, value in plain.items():
            expected = value[number].flip(-1) if mirrored else value[number]
            assert torch.equal(drawn[name][number], expected)
    assert 5 < flipped < 25


def test_preview_is_spread_and_unchanged(volumes: dict[str, Volume]) -> None:
    batches = PatchBatches(volumes, ["a", "b", "c"], data(4, 8, 6, paired=False, augmentation=FLIP), 2, 0)
    shown = batches.preview(3)
    assert shown["input"].shape == shown["target"].shape == (3, 1, 4, 8, 6)
    torch.testing.assert_close(shown["target"] * 1250 + 250, shown["input"] * 1000 + 500, atol=0.1, rtol=0)
    assert torch.equal(shown["input"], PatchBatches(volumes, ["a", "b", "c"], data(4, 8, 6), 9, 5).preview(3)["input"])
    one = PatchBatches(volumes, ["a"], data(4, 8, 6), 1, 0).preview(3)["input"]
    assert len({tuple(patch.flatten().tolist()) for patch in one}) == 3


def test_a_body_that_is_empty_is_named(volumes: dict[str, Volume]) -> None:
    np.save(volumes["a"].folder / "mask.npy", np.zeros(volumes["a"].shape, np.uint8))
    with pytest.raises(UserError, match="No patch of a"):
        PatchBatches(volumes, ["a"], data(4, 8, 8), 1, 0)
    assert PatchBatches(volumes, ["a"], data(4, 8, 8, body_only=False), 1, 0)[0]["mask"].max() == 0
    both = PatchBatches(volumes, ["a", "c"], data(4, 8, 8), 20, 0)[0]
    corners_of_c = np.lib.stride_tricks.sliding_window_view(np.asarray(volumes["c"].mr), (4, 8, 8)).reshape(-1, 256)
    assert all((corners_of_c == patch.ravel()).all(axis=1).any() for patch in mr_values(both))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": [64]}, ["data.size", "1 entries", "2 entries"]),
        ({"size": [8, 8, 8, 8]}, ["data.size", "4 entries"]),
        ({"size": [8, 8, 8], "neighbours": 1}, ["data.neighbours", "three entries", "Set it to 0"]),
        ({"size": [8, 8, 8], "planes": ["coronal"]}, ["data.planes", "coronal", "[axial]"]),
    ],
)
def test_what_does_not_go_with_three_entries_is_refused(options: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        recipe_from_dict({"name": "x", "source": "x", "method": {}, "networks": {}, "optimisers": {}, "data": options})
    for word in words:
        assert word in str(caught.value)
