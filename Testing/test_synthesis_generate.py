"""``synthct generate``: the same pairs from a seed whatever happens; resumed, shared, in a class, between seeds."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from noise_models import model_at
from synthesis_models import centre_model

from synthct.__main__ import main
from synthct.data.cohort import read_cohort
from synthct.errors import Cancelled, UserError
from synthct.events import Events
from synthct.locks import share_lock
from synthct.methods.noise import draw_latents
from synthct.synthesis.generation.generate import generate, interpolated
from synthct.synthesis.generation.pair import MaskOptions, make_pair
from synthct.synthesis.model_file import load_model
from synthct.synthesis.rank import Rank

ROOT = Path(__file__).parents[1]
torch.set_num_threads(1)


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def content(folder):
    return {
        str(path.relative_to(folder)): sitk.GetArrayFromImage(sitk.ReadImage(str(path))).tobytes()
        for path in sorted(folder.glob("*/*.nii.gz"))
    }


@pytest.fixture
def model(tmp_path):
    return model_at(tmp_path / "model")


def test_pairs_are_what_the_network_gives(model, tmp_path):
    out = tmp_path / "out"
    assert generate(model, out, 3, seed=4, device="cpu") == out / "manifest.json"
    network = load_model(model).network
    for pair in manifest(out)["pairs"]:
        with torch.no_grad():
            made = network(draw_latents((5,), 1, 4, first=pair["index"]))[0].numpy()
        image, mask = (sitk.ReadImage(str(out / pair[kind])) for kind in ("image", "mask"))
        assert image.GetPixelID() == sitk.sitkInt16 and mask.GetPixelID() == sitk.sitkUInt8
        assert image.GetSpacing() == mask.GetSpacing() == (1.5, 2.0, 3.0)
        hu = (made[0] * 0.5 + 0.5) * 1624 - 1024  # row C11
        np.testing.assert_allclose(sitk.GetArrayFromImage(image), hu, atol=0.51)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), made[1] > 0)
        assert pair["mask_mm3"] == pytest.approx((made[1] > 0).sum() * 9)
    found = manifest(out)
    assert (found["seed"], found["model"]["weights_sha256"]) == (4, load_model(model).card["weights_sha256"])
    assert [case.kind for case in read_cohort(out)] == ["image"] * 3


def test_interrupted_and_shared_it_makes_the_same(model, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    generate(model, whole, 5, device="cpu")

    def stop(event):
        if event.get("message") == "pair_00003":
            raise Cancelled

    with pytest.raises(Cancelled):
        generate(model, parts, 5, device="cpu", events=Events(listener=stop))
    assert len(list(parts.glob("images/*.nii.gz"))) == 3 and not (parts / "manifest.json").exists()
    (parts / "masks" / "pair_00001.nii.gz").unlink()
    (parts / "records" / "pair_00002.json").unlink()  # as if it had ended between the files and their record
    heard = []
    generate(model, parts, 5, device="cpu", events=Events(listener=heard.append), rank=Rank(1, 2, 1, 2))
    assert [event["message"] for event in heard if event.get("task") == "pairs"] == ["pair_00001", "pair_00003", ""]
    assert not (parts / "manifest.json").exists()
    with share_lock(parts / "records", 1, 2), pytest.raises(UserError, match="in use by one process of 2"):
        generate(model, parts, 5, device="cpu")
    generate(model, parts, 5, device="cpu", rank=Rank(0, 2, 0, 2))
    assert content(whole) == content(parts)
    assert manifest(whole) == manifest(parts)


def test_killed_it_goes_on(model, tmp_path):
    out = tmp_path / "out"
    program = (
        "import os, signal, sys\n"
        "from synthct.synthesis.generation import generate\n"
        "write = generate.write_image\n"
        "def die(image, path, **options):\n"
        "    if path.name == 'pair_00002.nii.gz' and path.parent.name == 'masks':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return write(image, path, **options)\n"
        "generate.write_image = die\n"
        f"generate.generate({str(model)!r}, {str(out)!r}, 4, device='cpu')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == -9
    assert (out / "images" / "pair_00002.nii.gz").exists()
    assert main(["generate", "--model", str(model), "--count", "4", "--output", str(out), "--device", "cpu"]) == 0
    generate(model, tmp_path / "whole", 4, device="cpu")
    assert content(out) == content(tmp_path / "whole")


def test_processes_of_torchrun_share_the_pairs(model, tmp_path):
    """Two commands at the same time, in the environment that torchrun gives them."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    started = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "synthct", "generate", "--model", str(model), "--count", "5", "--output", str(out)]
    children = [
        subprocess.Popen([*command, "--device", "cpu"], env={**started, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in (0, 1)
    ]
    generate(model, whole, 5, device="cpu")
    assert [child.wait() for child in children] == [0, 0]
    assert content(out) == content(whole)
    assert manifest(out) == manifest(whole)


def test_fewer_pairs_are_refused_and_overwriting_leaves_none_of_the_old(model, tmp_path):
    out = tmp_path / "out"
    generate(model, out, 4, device="cpu")
    before, listed = content(out), (out / "manifest.json").read_bytes()
    with pytest.raises(UserError, match=r"up to pair_00003.*--count 4"):
        generate(model, out, 3, device="cpu")
    assert content(out) == before and (out / "manifest.json").read_bytes() == listed
    generate(model, out, 2, seed=1, device="cpu", overwrite=True)
    assert [pair["id"] for pair in manifest(out)["pairs"]] == ["pair_00000", "pair_00001"]
    assert len(read_cohort(out)) == 2
    generate(model, tmp_path / "fresh", 2, seed=1, device="cpu")
    assert content(out) == content(tmp_path / "fresh")
    generate(model_at(tmp_path / "alone", masks="none"), out, 2, device="cpu", overwrite=True)
    assert sorted(content(out)) == ["images/pair_00000.nii.gz", "images/pair_00001.nii.gz"]


def test_the_largest_part_of_a_mask_alone(model, tmp_path):
    out = tmp_path / "out"
    words = ["generate", "--model", str(model), "--count", "2", "--output", str(out), "--device", "cpu"]
    assert main([*words, "--threshold", "0.5", "--largest-only"]) == 0
    generate(model, tmp_path / "whole", 2, masks=MaskOptions(0.5), device="cpu")
    removed = 0
    for pair in manifest(out)["pairs"]:
        kept, whole = (sitk.ReadImage(str(folder / pair["mask"])) for folder in (out, tmp_path / "whole"))
        parts = sitk.RelabelComponent(sitk.ConnectedComponent(whole, True))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(kept), sitk.GetArrayFromImage(parts) == 1)
        removed += sitk.GetArrayFromImage(whole).sum() - sitk.GetArrayFromImage(kept).sum()
        assert pair["mask_mm3"] == pytest.approx(sitk.GetArrayFromImage(kept).sum() * 9)
    assert removed > 0 and manifest(out)["largest_only"] is True
    with pytest.raises(UserError, match="Another largest_only"):
        generate(model, out, 2, masks=MaskOptions(0.5), device="cpu")


def test_more_can_be_added_but_nothing_else_is_mixed(model, tmp_path):
    out = tmp_path / "out"
    generate(model, out, 2, device="cpu")
    before = content(out)
    generate(model, out, 4, device="cpu")
    assert len(content(out)) == 8 and before.items() <= content(out).items()
    with pytest.raises(UserError, match="Another seed"):
        generate(model, out, 4, seed=1, device="cpu")
    with pytest.raises(UserError, match="Another model"):
        generate(model_at(tmp_path / "other", seed=1), out, 4, device="cpu")
    with pytest.raises(UserError, match="Another minimum_mm3"):
        generate(model, out, 4, masks=MaskOptions(minimum_mm3=5), device="cpu")
    generate(model, out, 4, seed=1, device="cpu", overwrite=True)
    assert manifest(out)["seed"] == 1 and content(out) != before
    foreign = tmp_path / "foreign"
    (foreign / "images").mkdir(parents=True)
    with pytest.raises(UserError, match="images already"):
        generate(model, foreign, 1, device="cpu")


def test_classes_in_turn_or_one(tmp_path):
    model = model_at(tmp_path / "model", classes=("benign", "malignant"))
    generate(model, tmp_path / "turn", 3, device="cpu")
    assert [pair["class"] for pair in manifest(tmp_path / "turn")["pairs"]] == ["benign", "malignant", "benign"]
    assert [case.diagnosis for case in read_cohort(tmp_path / "turn")] == ["benign", "malignant", "benign"]
    generate(model, tmp_path / "one", 3, class_name="malignant", device="cpu")
    assert (
        content(tmp_path / "one")["images/pair_00001.nii.gz"] == content(tmp_path / "turn")["images/pair_00001.nii.gz"]
    )
    assert (
        content(tmp_path / "one")["images/pair_00000.nii.gz"] != content(tmp_path / "turn")["images/pair_00000.nii.gz"]
    )
    with pytest.raises(UserError, match="no class wild"):
        generate(model, tmp_path / "no", 3, class_name="wild", device="cpu")


def test_a_sequence_runs_between_two_seeds(model, tmp_path):
    out = tmp_path / "sequence"
    words = ["generate", "--model", str(model), "--interpolate", "1", "2", "--steps", "5", "--output", str(out)]
    assert main([*words, "--device", "cpu"]) == 0
    for number, seed in ((0, 1), (4, 2)):
        generate(model, tmp_path / str(seed), 1, seed=seed, device="cpu")
        end = content(tmp_path / str(seed))["images/pair_00000.nii.gz"]
        assert content(out)[f"images/pair_{number:05d}.nii.gz"] == end
    assert (manifest(out)["seed"], manifest(out)["between"], manifest(out)["steps"]) == (1, 2, 5)
    arrays = [np.frombuffer(content(out)[f"images/pair_{n:05d}.nii.gz"], np.int16).astype(float) for n in range(5)]
    steps = [np.abs(a - b).mean() for a, b in itertools.pairwise(arrays)]
    assert max(steps) < np.abs(arrays[0] - arrays[-1]).mean()


def test_the_way_is_a_great_circle():
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    middle = interpolated(a, b, 0.5)
    torch.testing.assert_close(middle, torch.tensor([2.0**0.5, 2.0**0.5, 0.0]))
    torch.testing.assert_close(interpolated(a, b, 0.0), a)
    torch.testing.assert_close(interpolated(a, 3 * b, 1.0), 3 * b)
    torch.testing.assert_close(interpolated(a, 2 * a, 0.5), 1.5 * a)
    for share in (0.2, 0.7):
        assert interpolated(a, b, share).norm().item() == pytest.approx(2)


@pytest.mark.parametrize(("size", "masks"), [((16, 16, 16), "joined"), ((16, 16), "channel"), ((8, 16, 16), "none")])
def test_every_form_becomes_image_and_mask(tmp_path, size, masks):
    model = load_model(model_at(tmp_path, size, masks))
    image, mask = make_pair(model, draw_latents((5,), 1, 0)[0])
    wanted = {"joined": (16, 16, 8), "channel": (16, 16, 1), "none": (16, 16, 8)}[masks]
    assert image.GetSize() == wanted
    assert mask is None if masks == "none" else mask.GetSize() == wanted


def test_masks_are_cleaned_as_asked(model):
    loaded, latent = load_model(model), draw_latents((5,), 1, 0)[0]
    with torch.no_grad():
        made = loaded.network(latent[None])[0, 1].numpy()
    high = sitk.GetArrayFromImage(make_pair(loaded, latent, options=MaskOptions(threshold=0.6))[1])
    np.testing.assert_array_equal(high, made > 0.2)  # 0.6 of {0, 1} is 0.2 in the network's output
    sparse = float(np.quantile(made, 0.96) + 1) / 2
    plain, clean = (
        sitk.GetArrayFromImage(make_pair(loaded, latent, options=MaskOptions(sparse, size))[1]) for size in (0, 30)
    )
    parts = sitk.GetArrayFromImage(
        sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(plain), True), 30 // 9 + 1)
    )
    np.testing.assert_array_equal(clean, parts > 0)
    assert (clean != plain).any() and clean.any()


def test_models_are_told_apart(model, tmp_path, capsys):
    image = tmp_path / "image.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 16, 16), np.int16)), str(image))
    words = ["--model", str(model), "--device", "cpu"]
    assert main(["synthesize", *words, "--input", str(image), "--output", str(tmp_path / "sct.nii.gz")]) == 2
    assert "tiny translates no image" in capsys.readouterr().err
    with pytest.raises(UserError, match="makes no images from noise"):
        generate(centre_model(), tmp_path / "out", 1, device="cpu")
    loaded = load_model(model)
    with pytest.raises(UserError, match="latent of 7 does not fit the model tiny"):
        make_pair(loaded, torch.zeros(7))
    with pytest.raises(UserError, match="translates no image"):
        _ = loaded.input_scaling


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--count", "0"], "0 pairs cannot"),
        ([], "--count is missing"),
        (["--count", "2", "--seed", "-1"], "seed cannot"),
        (["--count", "2", "--steps", "3"], "--interpolate"),
        (["--interpolate", "1", "2", "--count", "3"], "two seeds"),
        (["--interpolate", "1", "2", "--steps", "1"], "1 pairs cannot"),
        (["--count", "2", "--minimum-volume", "-1"], "minimum volume"),
        (["--count", "2", "--threshold", "nan"], "threshold"),
    ],
)
def test_bad_options_are_refused(model, tmp_path, capsys, words, said):
    assert main(["generate", "--model", str(model), "--output", str(tmp_path / "out"), *words, "--device", "cpu"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "images").exists()


def test_cards_that_contradict_themselves_are_refused(model):
    path = model / "model.json"
    card = json.loads(path.read_text())
    for key, value in {"latent_shape": [6], "masks": "joined", "channels": ["image"], "spacing": [1, 1, 0]}.items():
        path.write_text(json.dumps({**card, key: value}))
        with pytest.raises(UserError, match="cannot be used"):
            load_model(model)
