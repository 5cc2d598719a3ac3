"""The library of models: what enters is whole and no pickle, what is in it can be used by name everywhere."""

import io
import json
import shutil
import subprocess
import sys
import zipfile

import pydicom
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.networks.registry import build_network
from synthct.synthesis import library, models_folder
from synthct.synthesis.card import card_of, model_folder
from synthct.synthesis.library import install, list_models, pack, remove
from synthct.synthesis.model_file import load_model, save_model

CARD = {
    "name": "Pelvis: T2w/1",
    "in_channels": 1,
    "out_channels": 1,
    "network": {"name": "unet", "width": "2-4"},
    "input_scaling": {"name": "umea-mr"},
    "target_scaling": {"name": "umea-ct"},
    "size": [16, 16],
    "hu_range": [-1000, 1500],
    "anatomy": "pelvis",
    "training": {"scores": {"mae_hu": 41.5}},
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHCT_MODELS", str(tmp_path / "mödels"))
    return tmp_path / "mödels"


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "a run/model", build_network(CARD["network"], 1, 1, seed=0), CARD)


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_an_installed_model_is_used_by_its_name(model, folder, tmp_path, capsys):
    assert main(["models", "install", str(model.parent)]) == 0
    assert [path.name for path in folder.iterdir()] == ["Pelvis- T2w-1"]
    assert main(["models", "install", str(model), "--name", "pelvis"]) == 0
    assert main(["models"]) == 0
    lines = capsys.readouterr().out
    assert "pelvis  mr-to-ct  pelvis  mae_hu 41.5" in lines and lines.count("hash ok") == 2
    assert model_folder("pelvis") == folder / "pelvis" and load_model("pelvis").card["name"] == "Pelvis: T2w/1"
    image = sitk.GaussianSource(sitk.sitkFloat32, (16, 16, 4), mean=(8, 8, 2), scale=900)
    sitk.WriteImage(image, str(tmp_path / "mr.nii"))
    files = ["--input", str(tmp_path / "mr.nii"), "--output", str(tmp_path / "ct.nii")]
    assert main(["synthesize", "--model", "pelvis", *files, "--device", "cpu"]) == 0
    sitk.WriteImage(phantom_pair()[1], str(tmp_path / "ct.nii"))
    series = ["--input", str(tmp_path / "ct.nii"), "--output", str(tmp_path / "dicom")]
    assert main(["dicom", "--model", "pelvis", *series]) == 0
    header = pydicom.dcmread(next((tmp_path / "dicom").iterdir()))
    assert card_of("pelvis")["weights_sha256"][:20] in str(header)
    assert main(["models", "card", "pelvis"]) == 0 and '"anatomy": "pelvis"' in capsys.readouterr().out
    assert main(["models", "check", "pelvis"]) == 0
    assert main(["models", "remove", "pelvis", "--yes"]) == 0 and not (folder / "pelvis").exists()
    assert main(["models", "card", "pelvis"]) == 2


def test_a_folder_of_the_same_name_goes_before(model, monkeypatch):
    install(model, "model")
    monkeypatch.chdir(model.parent)
    assert model_folder("model").resolve() == model.resolve()


def test_zip_and_back(model, tmp_path, folder):
    path = pack(model, tmp_path / "out/pelvis.zip")
    assert install(path, "again").card == card_of(model)
    assert load_model("again").card == card_of(model)
    with pytest.raises(UserError, match="exists already"):
        pack(model, path)
    with pytest.raises(UserError, match=r"end in \.zip"):
        pack(model, tmp_path / "pelvis.tar")
    with pytest.raises(UserError, match="installed already"):
        install(path, "again")
    assert sorted(entry.name for entry in folder.iterdir()) == ["again"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("../evil.json", "leads out"), ("/etc/evil", "leads out"), ("C:\\evil", "leads out"), ("m/x.pkl", "a pickle")],
)
def test_archives_with_traps_are_refused(model, tmp_path, folder, name, words):
    whole = {f"m/{file}": (model / file).read_bytes() for file in ("model.json", "weights.safetensors")}
    with pytest.raises(UserError, match=words):
        install(zipped(tmp_path / "trap.zip", {**whole, name: b"x"}))
    assert not list(folder.iterdir()) and not (tmp_path / "evil.json").exists()


def test_archives_that_are_no_model_are_refused(model, tmp_path, folder, monkeypatch):
    card, weights = ((model / file).read_bytes() for file in ("model.json", "weights.safetensors"))
    pickle = io.BytesIO(b"\x80\x04" + weights).getvalue()
    for members, words in [
        ({"a/model.json": card, "b/model.json": card}, "holds 2 models"),
        ({"readme": b""}, "holds 0 models"),
        ({"model.json": card}, "has no weights"),
        ({"model.json": card, "weights.safetensors": weights[:-4]}, "not a whole|not those"),
        ({"model.json": card, "weights.safetensors": weights[:-4] + b"abcd"}, "not those of the model card"),
        ({"model.json": card, "weights.safetensors": pickle}, "pickle"),
        ({"model.json": b"{}", "weights.safetensors": weights}, "not a model card"),
    ]:
        with pytest.raises(UserError, match=words):
            install(zipped(tmp_path / "bad.zip", members))
    (tmp_path / "bad.zip").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match="cannot be unpacked"):
        install(tmp_path / "bad.zip")
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "bad.zip", "w", method) as archive:
            archive.writestr("model.json", card)
            archive.writestr("weights.safetensors", weights)
            place = archive.getinfo("weights.safetensors").header_offset + 60
        content = bytearray((tmp_path / "bad.zip").read_bytes())
        content[place : place + 40] = b"\xff" * 40
        (tmp_path / "bad.zip").write_bytes(content)
        with pytest.raises(UserError, match="cannot be unpacked"):
            install(tmp_path / "bad.zip")
    with pytest.raises(UserError, match="does not exist"):
        install(tmp_path / "none.zip")
    monkeypatch.setitem(library.LARGEST, "weights.safetensors", 1000)
    with pytest.raises(UserError, match="larger than a model"):
        install(zipped(tmp_path / "bomb.zip", {"model.json": card, "weights.safetensors": bytes(5_000_000)}))
    assert not list(folder.iterdir())


def test_damage_is_seen(model, folder, capsys):
    installed = install(model, "pelvis").folder
    weights = installed / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    assert main(["models", "check"]) == 2 and "not those of the model card" in capsys.readouterr().err
    assert main(["models"]) == 0 and "DAMAGED" in capsys.readouterr().out
    (installed / "model.json").unlink()
    assert "no model" in list_models()[0].problem or "cannot be read" in list_models()[0].problem
    remove("pelvis")
    assert list_models() == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x.", "a:b"])
def test_names_that_are_paths_are_no_names(model, name):
    with pytest.raises(UserError, match="cannot be called"):
        install(model, name)
    with pytest.raises(UserError, match="No model called"):
        remove(name)


def test_removing_asks_first(model, folder):
    install(model, "pelvis")
    command = [sys.executable, "-m", "synthct", "models", "remove", "pelvis"]
    answers = [subprocess.run(command, input=text, capture_output=True, text=True, check=False) for text in ("", "n\n")]
    assert [answer.returncode for answer in answers] == [2, 130] and (folder / "pelvis").exists()
    assert "--yes" in answers[0].stderr
    assert subprocess.run(command, input="y\n", capture_output=True, text=True, check=False).returncode == 0
    assert not (folder / "pelvis").exists()


def test_the_folder_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.delenv("SYNTHCT_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    for platform, part in [("linux", tmp_path), ("win32", tmp_path / "local"), ("darwin", "Application Support")]:
        monkeypatch.setattr(models_folder.sys, "platform", platform)
        assert str(part) in str(models_folder.models_folder())
    assert models_folder.installed_folders() == []


def test_what_slicer_lists_needs_no_torch(model, folder):
    install(model, "pelvis")
    program = (
        "import sys; from synthct.synthesis.models_folder import installed_folders\n"
        "import synthct.synthesis.library\n"
        "print(installed_folders()[0].name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["pelvis", "False"]


def test_one_way_out_at_a_time(model, tmp_path):
    assert main(["models", "export", str(model)]) == 2
    assert main(["models", "export", str(model), "--output", str(tmp_path / "m.zip")]) == 0
    assert json.loads(zipfile.ZipFile(tmp_path / "m.zip").read("Pelvis- T2w-1/model.json"))["name"] == CARD["name"]
    shutil.rmtree(model)
    assert main(["models", "install"]) == 2
