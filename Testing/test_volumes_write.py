"""Writing files: the whole file or none, and never over somebody else's."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.write import check_output, write_image


@pytest.fixture
def image() -> sitk.Image:
    return sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 9999, (20, 60, 60)).astype(np.int16))


def test_a_file_that_exists_is_kept(tmp_path: Path, image: sitk.Image) -> None:
    path = write_image(image, tmp_path / "new" / "ct.nii.gz")
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"ct\.nii\.gz exists already"):
        write_image(image + 1, path)
    assert path.read_bytes() == before
    write_image(image + 1, path, overwrite=True)
    assert path.read_bytes() != before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["ct", "ct.png", ".nii.gz", "ct.nii.gz.txt"])
def test_unknown_endings_are_refused(tmp_path: Path, image: sitk.Image, name: str) -> None:
    with pytest.raises(UserError, match="must end in"):
        write_image(image, tmp_path / name)


def test_a_folder_in_the_way_is_refused(tmp_path: Path, image: sitk.Image) -> None:
    (tmp_path / "ct.nii").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a folder"):
        write_image(image, tmp_path / "ct.nii")
    with pytest.raises(UserError, match="cannot be written"):
        write_image(image, tmp_path / "file" / "ct.nii")
    assert check_output(tmp_path / "CT.NII.GZ") == (tmp_path / "CT.NII.GZ", ".nii.gz")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path, image: sitk.Image) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="not writable"):
        write_image(image, tmp_path / "ct.nii")
    tmp_path.chmod(0o700)


def test_upper_case_endings_are_written(tmp_path: Path, image: sitk.Image) -> None:
    assert write_image(image, tmp_path / "CT.NII.GZ").stat().st_size > 1000


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_full_disk_is_noticed_and_leaves_nothing(tmp_path: Path, ending: str) -> None:
    script = f"""
import resource, signal, sys
import numpy as np, SimpleITK as sitk
from synthct.errors import UserError
from synthct.volumes.write import write_image
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 9999, (20, 60, 60)).astype(np.int16))
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    write_image(image, {str(tmp_path / "ct")!r} + {ending!r})
except UserError as error:
    sys.exit(0 if "cannot be written" in str(error) and "ITK" not in str(error) else 3)
sys.exit(4)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
