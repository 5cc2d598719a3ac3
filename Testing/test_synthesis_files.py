"""From file to file: formats, refusals before anything is computed, and nothing half-written."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from synthesis_models import Centre, centre_model, random_grid_image

from synthct.errors import UserError
from synthct.events import Events
from synthct.networks.registry import NETWORKS
from synthct.synthesis.files import synthesize_file
from synthct.synthesis.model_file import save_model
from synthct.volumes.geometry import same_grid


@pytest.fixture
def mr(tmp_path):
    image = random_grid_image(np.random.default_rng(0).integers(0, 2000, (8, 20, 24)).astype(np.int16), 0)
    path = tmp_path / "Müller MR.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "centre", lambda in_channels, out_channels: Centre())
    return save_model(tmp_path / "run" / "model", Centre(), centre_model().card)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_file_becomes_a_file_on_the_same_grid(mr, model, tmp_path, ending):
    events = []
    output = synthesize_file(
        model.parent, mr, tmp_path / "new folder" / f"sct{ending}", device="cpu", events=Events(listener=events.append)
    )
    source, result = sitk.ReadImage(str(mr)), sitk.ReadImage(str(output))
    assert same_grid(source, result) and result.GetPixelID() == sitk.sitkInt16
    assert np.array_equal(sitk.GetArrayFromImage(source), sitk.GetArrayFromImage(result))
    assert events[0]["kind"] == "progress"
    assert events[-1]["kind"] == "result" and Path(events[-1]["output"]) == output and events[-1]["device"] == "cpu"
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_a_mask_file_and_planes(mr, model, tmp_path):
    region = sitk.ReadImage(str(mr)) > 1000
    sitk.WriteImage(region, str(tmp_path / "mask.nrrd"))
    output = synthesize_file(
        model, mr, tmp_path / "sct.nrrd", mask=tmp_path / "mask.nrrd", planes=("coronal", "axial"), device="cpu"
    )
    values, inside = (sitk.GetArrayFromImage(image) for image in (sitk.ReadImage(str(output)), region))
    assert np.all(values[inside == 0] == -1024) and values[inside == 1].min() > 1000


def refused(source, known_model, tmp_path, word, **options):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=word) as caught:
        synthesize_file(
            **{"model": known_model, "input": source, "output": tmp_path / "sct.nii.gz", "device": "cpu", **options}
        )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    return caught.value


def test_what_is_refused_and_leaves_every_file_as_it_was(mr, model, tmp_path):
    mask = tmp_path / "mask.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(mr)) > 5, str(mask))
    taken = tmp_path / "taken.nii.gz"
    taken.write_bytes(b"precious")
    os.link(mr, tmp_path / "linked.nii.gz")
    refused(mr, model, tmp_path, "same file", output=mr, overwrite=True)
    refused(mr, model, tmp_path, "same file", output=tmp_path / "run" / ".." / mr.name, overwrite=True)
    refused(mr, model, tmp_path, "same file", output=tmp_path / "linked.nii.gz", overwrite=True)
    refused(mr, model, tmp_path, "same file", mask=mask, output=mask, overwrite=True)
    refused(mr, model, tmp_path, "exists", output=taken)
    refused(mr, model, tmp_path, "sct.png", output=tmp_path / "sct.png")
    refused(mr, model, tmp_path, "does not exist", input=tmp_path / "missing.nii.gz")
    refused(mr, model, tmp_path, "does not exist", model=tmp_path / "missing")
    refused(mr, model, tmp_path, "no device", device="cuda:77")
    refused(mr, model, tmp_path, "no plane", planes=("upright",))
    truncated = tmp_path / "truncated.nii.gz"
    truncated.write_bytes(mr.read_bytes()[:500])
    assert "truncated.nii.gz" in refused(mr, model, tmp_path, ".", input=truncated).what
    constant = tmp_path / "constant.nrrd"
    sitk.WriteImage(sitk.ReadImage(str(mr)) * 0, str(constant))
    assert "constant.nrrd" in refused(mr, model, tmp_path, "constant", input=constant).what
    nan = tmp_path / "nan.nii.gz"
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(mr)), sitk.sitkFloat32) * float("nan"), str(nan))
    assert "nan.nii.gz" in refused(mr, model, tmp_path, ".", input=nan).what
    empty = tmp_path / "empty.nii.gz"
    empty.write_bytes(gzip.compress(b""))
    assert "empty.nii.gz" in refused(mr, model, tmp_path, ".", input=empty).what


def test_overwriting_must_be_asked_for(mr, model, tmp_path):
    taken = tmp_path / "taken.nii.gz"
    taken.write_bytes(b"old")
    synthesize_file(model, mr, taken, device="cpu", overwrite=True)
    assert sitk.ReadImage(str(taken)).GetSize() == (24, 20, 8)


def test_a_full_disk_is_named(mr, model, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise RuntimeError("itk::ERROR: No space left on device")

    monkeypatch.setattr(sitk, "WriteImage", full)
    refused(mr, model, tmp_path, "cannot be written")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused_before_work(mr, model, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    refused(mr, model, tmp_path, "not writable", output=locked / "sct.nii.gz")
