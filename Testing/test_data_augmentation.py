"""Changes of slices beyond the first recipes': ranges along x, y, z, elastic, larger voxels, probabilities."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from test_data_slices import EVERYTHING, blob, centre, make_volume

from synthct.data.augmentation import Change, cut, draw_change
from synthct.data.elastic import Displacement
from synthct.data.slices import SliceBatches
from synthct.data.voxel_size import in_larger_voxels
from synthct.errors import UserError
from synthct.options import typed
from synthct.recipe import Augmentation, Data, Elastic, Resampling, load_recipe

XYZ = Augmentation(rotation_degrees=(1, 2, 4), scale=(0.1, 0.2, 0.3), translation_voxels=(10, 20, 30))
ELASTIC = Elastic(
    probability=0.5, rotation_degrees=(5, 5, 180), scale=(0.15, 0.15, 0.15), translation_voxels=(50, 50, 2)
)
ALL = Augmentation(
    flip=True,
    rotation_degrees=(5, 5, 45),
    scale=(0.15, 0.15, 0.15),
    translation_voxels=(4, 4, 2),
    elastic=ELASTIC,
    gamma=0.3,
    gamma_probability=0.5,
    bias_field=0.2,
    bias_field_probability=0.5,
    resampling=Resampling(0.5),
)


def draws(augmentation: Augmentation, axis: int = 0, count: int = 200) -> list[Change]:
    return [draw_change(augmentation, np.random.default_rng([0, n]), axis) for n in range(count)]


@pytest.mark.parametrize(("axis", "about", "rows", "columns"), [(0, 2, 1, 0), (1, 1, 2, 0), (2, 0, 2, 1)])
def test_ranges_are_those_of_the_patient_s_axes(axis: int, about: int, rows: int, columns: int) -> None:
    """Axial slices show y and x, coronal ones z and x, sagittal ones z and y; about, rows, columns count x, y, z."""
    found = draws(XYZ, axis)
    degrees, zoom, shift = XYZ.rotation_degrees, XYZ.scale, XYZ.translation_voxels
    assert isinstance(degrees, tuple) and isinstance(zoom, tuple) and isinstance(shift, tuple)
    drawn = np.array([[math.degrees(c.angle), c.scale[0] - 1, c.scale[1] - 1, *c.shift] for c in found])
    reach = np.array([degrees[about], zoom[rows], zoom[columns], shift[rows], shift[columns]])
    assert (np.abs(drawn) <= reach).all()
    assert (np.abs(drawn).max(axis=0) > 0.95 * reach).all()
    assert abs(np.corrcoef(drawn[:, 1], drawn[:, 2])[0, 1]) < 0.2


def test_one_number_zooms_alike_and_moves_in_the_slice() -> None:
    found = draws(Augmentation(rotation_degrees=10, scale=0.1, translation_voxels=3), axis=1)
    assert all(change.scale[0] == change.scale[1] for change in found)
    assert max(abs(change.shift[0]) for change in found) > 2.9


def test_probabilities_and_elastic_ranges_are_kept() -> None:
    found = draws(ALL)
    bent = [change for change in found if change.elastic is not None]
    assert all(5 <= c.elastic.sigma <= 8 and 100 <= c.elastic.magnitude <= 200 for c in bent if c.elastic)
    assert len({c.elastic.seed for c in bent if c.elastic}) == len(bent)
    assert max(abs(math.degrees(c.angle)) for c in bent) > 100
    assert max(abs(math.degrees(c.angle)) for c in found if c.elastic is None) <= 45
    for share in (len(bent), sum(c.gamma != 1 for c in found), sum(c.bias is not None for c in found)):
        assert 75 < share < 125
    sizes = {c.voxel_mm for c in found}
    assert sizes == {None, 1, 1.5, 2, 2.5, 3}
    never = Augmentation(rotation_degrees=10, affine_probability=0, gamma=1, gamma_probability=0)
    assert not any(change.moves or change.gamma != 1 for change in draws(never, count=20))


def test_new_keys_do_not_alter_the_first_ones_draws() -> None:
    before = draw_change(EVERYTHING, np.random.default_rng(5))
    random = np.random.default_rng(5)
    after = draw_change(Augmentation(rotation_degrees=10, gamma=0.2, resampling=Resampling(1.0)), random)
    assert (before.angle, before.gamma) == (after.angle, after.gamma)
    plain = np.random.default_rng(5)
    plain.random(), plain.uniform(-1, 1, 5), plain.uniform(-1, 1, 16)
    assert random.random() == plain.random(), "what is drawn after the change would differ from older runs"


def test_a_field_is_as_strong_and_smooth_as_monai_makes_it() -> None:
    from monai.networks.layers import GaussianFilter

    size = (48, 56, 64)
    field = Displacement(5.0, 200.0, 1).field(size)
    assert field.shape == (3, *size) and field.dtype == torch.float32
    noise = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0)) * 2 - 1
    theirs = GaussianFilter(3, 5.0, truncated=3.0)(noise)[0] * 200
    inner = (slice(None), *(slice(12, -12),) * 3)
    assert float(field[inner].std()) == pytest.approx(float(theirs[inner].std()), rel=0.25)
    steps = [float(f[inner].diff(dim=3).std() / f[inner].std()) for f in (field, theirs)]
    assert steps[0] == pytest.approx(steps[1], rel=0.2)
    flat = torch.cat([Displacement(5.0, 200.0, n).field((64, 64))[:, 12:-12, 12:-12] for n in range(12)])
    assert float(flat.std()) == pytest.approx(200 * (2 * math.sqrt(math.pi) * 5) ** -1.5 / math.sqrt(3), rel=0.25)
    assert torch.equal(field, Displacement(5.0, 200.0, 1).field(size))


def test_elastic_moves_voxels_by_its_field() -> None:
    displacement = Displacement(6.0, 200.0, 3)
    field = displacement.field((60, 80)).numpy()
    y, x = np.mgrid[:60, :80].astype(np.float32)
    moved = cut(np.stack([y, x]), np.zeros(2), (0, 0), (60, 80), Change(elastic=displacement))
    inner = (slice(8, -8), slice(8, -8))
    assert np.abs(field).max() > 1
    for axis, own in enumerate((y, x)):
        np.testing.assert_allclose(moved[axis][inner], (own + field[axis])[inner], atol=1e-3)


def test_larger_voxels_blur_only_axes_with_smaller_ones() -> None:
    image = np.random.default_rng(0).random((1, 24, 30)).astype(np.float32)
    assert in_larger_voxels(image, (3, 1), 1.0) is image
    along = in_larger_voxels(image, (3.0, 1.0), 3.0)
    assert along.shape == image.shape
    np.testing.assert_allclose(along[:, :, 1::3], image.reshape(1, 24, 10, 3).mean(axis=3), atol=1e-6)
    bump = blob(40, 40, (20, 22))
    coarse = in_larger_voxels(bump, (1, 1), 3.0)
    assert centre(coarse) == pytest.approx((20, 22), abs=0.3) and coarse.max() < bump.max()
    assert in_larger_voxels(np.ones((2, 9, 8, 7), np.float32), (1, 1, 1), 2.5) == pytest.approx(1)


def test_input_target_and_mask_move_together_and_the_mask_stays_binary(tmp_path) -> None:
    volumes = {"a": make_volume(tmp_path, "a", (10, 48, 40))}
    mr = np.asarray(volumes["a"].mr).astype(np.float32)
    ramp = np.broadcast_to(np.linspace(0, 1400, 48, dtype=np.float32)[None, :, None], mr.shape).astype(np.int16)
    np.save(volumes["a"].folder / "mr.npy", ramp)
    np.save(volumes["a"].folder / "ct.npy", ramp - 500)
    elastic = Elastic(1.0, rotation_degrees=20, scale=0.1, translation_voxels=4)
    data = Data(
        size=(32, 32),
        input_scaling={"name": "umea-mr"},
        target_scaling={"name": "umea-ct"},
        augmentation=Augmentation(elastic=elastic),
    )
    batches = SliceBatches(volumes, ["a"], data, batch=8, seed=0)
    plain = SliceBatches(volumes, ["a"], Data(size=(32, 32)), batch=8, seed=0)
    batch = batches[0]
    inside = batch["mask"] > 0
    assert set(batch["mask"].unique().tolist()) == {0.0, 1.0}
    hu, mri = batch["target"] * 1250 + 250, batch["input"] * 1000 + 1000
    torch.testing.assert_close(hu[inside], mri[inside] - 500, atol=2.0, rtol=0)
    assert not torch.equal(batch["input"], plain[0]["input"])

    larger = Augmentation(resampling=Resampling(1.0, (4.0,)))
    coarse = SliceBatches(volumes, ["a"], Data(size=(32, 32), augmentation=larger), batch=8, seed=0)
    for name in ("target", "mask"):
        assert torch.equal(coarse[0][name], plain[0][name])
    assert not torch.equal(coarse[0]["input"], plain[0]["input"])


def test_draws_follow_from_seed_and_step_and_shards_add_up(tmp_path) -> None:
    volumes = {"a": make_volume(tmp_path, "a"), "b": make_volume(tmp_path, "b", (7, 40, 36), 10)}
    data = Data(planes=("axial", "coronal", "sagittal"), size=(16, 16), neighbours=1, augmentation=ALL)
    whole = SliceBatches(volumes, ["a", "b"], data, batch=6, seed=1)
    parts = [SliceBatches(volumes, ["a", "b"], data, 2, 1, rank, world=3) for rank in range(3)]
    for step in (0, 7, 3):
        again = SliceBatches(volumes, ["a", "b"], data, batch=6, seed=1)[step]
        for name, value in whole[step].items():
            assert torch.equal(value, again[name])
            assert torch.equal(value, torch.cat([part[step][name] for part in parts]))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("augmentation.scale", "1.2", "0.85 to 1.15"),
        ("augmentation.rotation_degrees", "[1, 2]", "float or tuple"),
        ("augmentation.gamma", "-1", "0 or more"),
        ("elastic.sigma", "[8, 5]", "lower end first"),
        ("elastic.probability", "2", "between 0 and 1"),
        ("resampling.spacings", "[]", "spacings` is empty"),
        ("resampling.spacings", "[0]", "0.01 or more"),
    ],
)
def test_ranges_that_cannot_be_are_refused_by_name(key: str, value: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        load_recipe("synthct-unet", {key: value})
    assert key.split(".")[-1] in str(error.value)


def test_the_published_configuration_in_the_documents_can_be_used() -> None:
    text = (Path(__file__).parents[1] / "Docs" / "augmentation.md").read_text(encoding="utf-8")
    block = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    published = typed(Augmentation, block["augmentation"], "the document")
    assert published.translation_voxels == (40, 40, 2) and published.elastic.rotation_degrees == (5, 5, 180)
    assert published.resampling.spacings == (1, 1.5, 2, 2.5, 3)
