"""Model folders: what is written comes back, and everything else is refused with a reason."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from synthesis_models import WINDOW

from synthct.errors import UserError
from synthct.networks.registry import build_network
from synthct.synthesis.card import card_of
from synthct.synthesis.model_file import load_model, save_model

CARD = {
    "name": "tiny",
    "network": {"name": "unet", "width": "4-8"},
    "in_channels": 3,
    "out_channels": 1,
    "neighbours": 1,
    "input_scaling": {"name": "mr-percentile", "low": 0.5, "high": 99.5},
    "target_scaling": WINDOW,
    "size": [32, 32],
    "hu_range": [-1024, 2000],
}


@pytest.fixture
def network():
    return build_network(CARD["network"], 3, 1, seed=1)


@pytest.fixture
def folder(tmp_path, network):
    return save_model(tmp_path / "Prüfung 1" / "model", network, CARD)


def test_a_saved_model_gives_the_same_output(folder, network):
    model = load_model(folder)
    image = torch.rand(2, 3, 16, 24)
    assert torch.equal(model.network(image), network.eval()(image))
    assert not model.network.training and not any(p.requires_grad for p in model.network.parameters())
    assert model.divisor == 2 and model.input_scaling.name == "mr-percentile"
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights.safetensors"]


def test_a_run_a_model_and_each_of_its_files_can_be_named(folder):
    for path in (folder.parent, folder, folder / "model.json", folder / "weights.safetensors", str(folder)):
        assert load_model(path).folder == folder
        assert card_of(path)["name"] == "tiny"


def test_the_card_is_read_without_torch(folder):
    program = (
        "import sys; from synthct.synthesis.card import card_of\n"
        f"print(card_of({str(folder)!r})['planes'], 'torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "['axial'] False"


def test_saving_replaces_the_model_and_a_cut_between_the_renames_is_survived(folder, network):
    torch.nn.init.constant_(network.head.weight, 0.5)
    before = (folder / "model.json").read_text()
    save_model(folder, network, {**CARD, "name": "newer"})
    after = (folder / "model.json").read_text()
    (folder / "model.json").write_text(before)
    with pytest.raises(UserError, match="not those of the model card"):
        load_model(folder)
    (folder / ".model.json.part").write_text(after)
    model = load_model(folder)
    assert model.card["name"] == "newer" and (model.network.head.weight == 0.5).all()


def edit(folder: Path, **changes):
    card = json.loads((folder / "model.json").read_text())
    card.update(changes)
    (folder / "model.json").write_text(json.dumps({k: v for k, v in card.items() if v is not ...}))


def truncate(folder):
    os.truncate(folder / "weights.safetensors", 500)


def flip_a_bit(folder):
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


def remove_weights(folder):
    (folder / "weights.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda f: edit(f, format=2), "format 2"),
        (lambda f: edit(f, format="x"), "not a model card"),
        (lambda f: edit(f, weights_sha256="0" * 64), "not those of the model card"),
        (lambda f: edit(f, weights_sha256=...), "weights_sha256"),
        (lambda f: edit(f, network={"name": "hypernet"}), "hypernet"),
        (lambda f: edit(f, network={"name": "unet", "width": "4-16"}), "do not fit"),
        (lambda f: edit(f, network={"name": "unet", "evaluate": "__import__('os')"}), "evaluate"),
        (lambda f: edit(f, input_scaling={"name": "exotic"}), None),
        (lambda f: edit(f, size=[32]), "size"),
        (lambda f: edit(f, size=["32", 32]), "size"),
        (lambda f: edit(f, planes=["upright"]), "planes"),
        (lambda f: edit(f, neighbours=2), "in_channels"),
        (lambda f: edit(f, hu_range=[True, False]), "hu_range"),
        (lambda f: edit(f, spacing=[1, -1, 1]), "spacing"),
        (lambda f: (f / "model.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.json").write_bytes(b"\xff\xfe{}"), "cannot be read"),
        (lambda f: (f / "model.json").unlink(), "no model"),
        (truncate, "truncated"),
        (lambda f: os.truncate(f / "weights.safetensors", 0), "truncated"),
        (flip_a_bit, "not those of the model card"),
        (remove_weights, "no weights.safetensors"),
    ],
)
def test_a_damaged_model_is_refused(folder, damage, word):
    damage(folder)
    if word is None:
        with pytest.raises(UserError, match="exotic"):
            _ = load_model(folder).input_scaling
        return
    with pytest.raises(UserError, match=word):
        load_model(folder)


class Trap:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_in_place_of_safetensors_is_never_loaded(folder, tmp_path, kind):
    trap = tmp_path / "trap"
    target = folder / "weights.safetensors"
    if kind == "pickle":
        target.write_bytes(pickle.dumps(Trap(trap)))
    else:
        torch.save({"state": Trap(trap)}, target)
        assert zipfile.is_zipfile(target)
    with pytest.raises(UserError, match="pickle"):
        load_model(folder)
    other = target.rename(tmp_path / "weights.pt")
    with pytest.raises(UserError, match="pickle"):
        load_model(other)
    with pytest.raises(UserError, match="pickle files are not opened"):
        load_model(tmp_path)
    assert not trap.exists()


def test_a_missing_model_and_a_run_without_one_are_told_apart(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="after the first validation"):
        load_model(tmp_path)


def test_an_incomplete_card_is_refused_when_saving(tmp_path, network):
    with pytest.raises(UserError, match="hu_range"):
        save_model(tmp_path / "model", network, {key: value for key, value in CARD.items() if key != "hu_range"})
    assert not (tmp_path / "model").exists()
