"""The DICOM button of MRtoCT: the MR's own slices are found, a real job writes the series, nothing is replaced."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair

ROOT = Path(__file__).parents[1]


@pytest.fixture
def window(slicer_host):
    widget = slicer_host.open_module(ROOT / "MRtoCT/MRtoCT.py")
    widget.devices.close()
    widget.setParameterNode(None)
    widget.initializeParameterNode()
    widget.ui.dicomLabel.text = ""
    widget.ui.dicomAxialCheckBox.checked = False
    yield widget
    widget.dicom.close()


@pytest.fixture
def chosen(slicer_host, window):
    """MR and synthetic CT of one phantom in the scene, the synthetic CT chosen as output."""
    from synthct.scene.nodes import node_from_image
    from synthct.scene.studies import sign

    mr, ct, _ = phantom_pair()
    mr_node, ct_node = node_from_image(mr, "MR"), node_from_image(ct, "MR sCT")
    sign(ct_node, "Tiny/model", "MR", mr_node)
    window.ui.inputSelector.setCurrentNode(mr_node)
    window.ui.outputSelector.setCurrentNode(ct_node)
    return mr_node, ct_node


def mr_slices(folder):
    """Write the phantom's MR as DICOM slices and return them by instance UID."""
    mr, _, _ = phantom_pair()
    folder.mkdir()
    files, study, series, frame = {}, *(pydicom.uid.generate_uid() for _ in range(3))
    for number in range(mr.GetSize()[2]):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.PatientName, dataset.PatientID, dataset.Modality = "Müller^Eva", "4711", "MR"
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.ImagePositionPatient = list(mr.TransformIndexToPhysicalPoint((0, 0, number)))
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness, dataset.InstanceNumber = [4, 4], 5, number + 1
        voxels = sitk.GetArrayFromImage(mr)[number].astype(np.uint16)
        dataset.Rows, dataset.Columns = voxels.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.PixelData = voxels.tobytes()
        path = folder / f"slice {number}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        files[dataset.SOPInstanceUID] = str(path)
    return files


def export(slicer_host, window):
    window.ui.dicomButton.click()
    slicer_host.wait_until(lambda: window.dicom.job is None, 120)


def test_nothing_to_export(slicer_host, window):
    window.ui.outputSelector.setCurrentNode(None)
    assert window.ui.dicomButton.enabled is False


def test_the_mr_of_slicers_database_lends_its_study(slicer_host, window, chosen, tmp_path, monkeypatch):
    import slicer
    from host.dicom_database import DicomDatabase

    files = mr_slices(tmp_path / "mr")
    (tmp_path / "mr/other.dcm").write_bytes(b"another series lies beside it")
    monkeypatch.setattr(slicer, "dicomDatabase", DicomDatabase(files), raising=False)
    chosen[0].SetAttribute("DICOM.instanceUIDs", " ".join(files))
    target = tmp_path / "für den Planer"
    (target / "MR sCT DICOM").mkdir(parents=True)
    slicer_host.answer("Where to put", str(target))
    assert window.ui.dicomButton.enabled is True
    window.ui.dicomButton.click()
    assert window.ui.dicomButton.text == "Cancel export" and window.ui.dicomAxialCheckBox.enabled is False
    slicer_host.wait_until(lambda: window.dicom.job is None, 120)
    assert not slicer_host.errors and window.ui.dicomButton.text == "Export DICOM…"
    series = sorted((target / "MR sCT DICOM 2").iterdir())
    assert f"12 DICOM slices are in {target / 'MR sCT DICOM 2'}" in window.ui.dicomLabel.text
    header, source = pydicom.dcmread(series[0]), pydicom.dcmread(next(iter(files.values())))
    for key in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert header[key].value == source[key].value
    assert header.Modality == "CT" and "Tiny" in header.SeriesDescription
    ct = sitk.GetArrayFromImage(phantom_pair()[1])
    assert len(series) == len(ct) and (header.pixel_array.astype(int) + int(header.RescaleIntercept) == ct[0]).all()
    assert not list((target / "MR sCT DICOM").iterdir())


def test_without_dicom_it_asks_for_the_folder_or_says_placeholders(slicer_host, window, chosen, tmp_path):
    files = mr_slices(tmp_path / "mr")
    out = tmp_path / "out"
    out.mkdir()
    slicer_host.answer("was not loaded from", "Cancel")
    window.ui.dicomButton.click()
    assert window.dicom.job is None and not list(out.iterdir())
    slicer_host.answer("was not loaded from", "No")
    slicer_host.answer("Where to put", str(out))
    window.ui.dicomAxialCheckBox.checked = True
    export(slicer_host, window)
    assert "placeholder" in window.ui.dicomLabel.text.lower()
    assert pydicom.dcmread(next((out / "MR sCT DICOM").iterdir())).PatientID != "4711"
    slicer_host.answer("was not loaded from", "Yes")
    slicer_host.answer("Folder of the MR", str(tmp_path / "mr"))
    slicer_host.answer("Where to put", str(out))
    export(slicer_host, window)
    header = pydicom.dcmread(next((out / "MR sCT DICOM 2").iterdir()))
    assert header.PatientID == "4711" and len(files) == len(list((out / "MR sCT DICOM 2").iterdir()))
    assert not slicer_host.errors


def test_what_cannot_be_exported_says_why(slicer_host, window, chosen, tmp_path):
    window.ui.outputSelector.setCurrentNode(chosen[0])  # an MR is no CT
    slicer_host.answer("was not loaded from", "No")
    slicer_host.answer("Where to put", str(tmp_path))
    slicer_host.answer("does not hold a CT", "Ok")
    export(slicer_host, window)
    assert "does not hold a CT" in window.ui.dicomLabel.text and not list(tmp_path.iterdir())


def test_cancel_leaves_nothing(slicer_host, window, chosen, tmp_path):
    slicer_host.answer("was not loaded from", "No")
    slicer_host.answer("Where to put", str(tmp_path))
    window.ui.dicomButton.click()
    exchanged = window.dicom.job.folder.parent
    window.ui.dicomButton.click()
    assert window.ui.dicomButton.enabled is False
    slicer_host.wait_until(lambda: window.dicom.job is None, 60)
    assert "nothing was exported" in window.ui.dicomLabel.text
    assert not list(tmp_path.iterdir()) and not exchanged.exists()


def test_installed_models_are_in_the_list(slicer_host, window, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHCT_MODELS", str(tmp_path))
    (tmp_path / "pelvis T2").mkdir()
    before = window.models.path
    window.models.offer_installed()
    window.models.offer_installed()
    box = window.ui.modelPathEdit.comboBox()
    assert [box.itemText(n) for n in range(box.count)].count(str(tmp_path / "pelvis T2")) == 1
    assert window.models.path == before
