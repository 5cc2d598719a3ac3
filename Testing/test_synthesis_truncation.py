"""``synthct generate --truncation``: a StyleGAN2's images drawn towards the mean one."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from noise_models import model_at

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.networks.registry import build_network
from synthct.synthesis.generation.generate import generate
from synthct.synthesis.model_file import load_model, save_model


@pytest.fixture
def model(tmp_path):
    card = load_model(model_at(tmp_path / "dcgan", size=(32, 32), masks="none")).card
    entry = {"name": "stylegan2", "capacity": 128, "widest": 8, "style": 8, "mapping": 2}
    network = build_network(entry, 5, 1, (32, 32), seed=0)
    network.track(torch.ones(8))
    known = {key: value for key, value in card.items() if key != "weights_sha256"}
    save_model(tmp_path / "stylegan2", network, {**known, "network": entry})
    return tmp_path / "stylegan2"


def made(model, folder, *options):
    command = ["generate", "--model", str(model), "--output", str(folder), "--count", "3", "--device", "cpu", *options]
    assert main(command) == 0
    pairs = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["pairs"]
    return np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(folder / pair["image"]))) for pair in pairs])


def test_less_is_less_varied(model, tmp_path):
    spread = [made(model, tmp_path / f"psi{psi}", "--truncation", psi).std(axis=0).mean() for psi in ("1", "0.5", "0")]
    assert spread[0] > spread[1] > spread[2] == 0
    assert np.array_equal(made(model, tmp_path / "plain"), made(model, tmp_path / "psi1", "--truncation", "1"))


def test_a_model_at_hand_stays_as_it_was(model, tmp_path):
    loaded = load_model(model)
    generate(loaded, tmp_path / "out", 1, truncation=0.0, device="cpu")
    assert loaded.network.truncation == 1.0


def test_other_truncations_are_other_pairs(model, tmp_path):
    made(model, tmp_path / "out", "--truncation", "0.5")
    with pytest.raises(UserError, match="Another truncation"):
        generate(model, tmp_path / "out", 3, device="cpu")


@pytest.mark.parametrize(("name", "value", "words"), [("dcgan", 0.5, "knows no truncation"), ("stylegan2", 1.5, "1.5")])
def test_wrong_ones_are_refused(model, tmp_path, name, value, words):
    with pytest.raises(UserError, match=words):
        generate(tmp_path / name, tmp_path / "out", 1, truncation=value, device="cpu")
