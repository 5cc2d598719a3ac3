"""Whether a test case has been seen by anything that is tested on it: an arm, or the model behind an arm (row C14).

A test case is recognised by its id, its patient and the hash of its voxels. Looked at are all training cases; of
made-up sets the manifest: the cases that cubes were cut from and nodules were taken from; and the run of the model that
made them: what it was trained on and chosen by. A crop or resampling under another name is not recognised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthct.data.cohort import read_cohort
from synthct.data.split import read_split
from synthct.data.voxel_hash import VoxelHashes
from synthct.errors import UserError
from synthct.events import Events
from synthct.studies.segmentation.cases import Cases, LesionCase
from synthct.studies.segmentation.recipe import UNKNOWN, DataSet, ExperimentRecipe
from synthct.synthesis.card import card_of

MANIFEST = "manifest.json"
_NUMBER = re.compile(r"-\d+$")


def refuse_leaks(recipe: ExperimentRecipe, cases: Cases, root: Path, hashes: VoxelHashes, events: Events) -> list[str]:
    """Look for every test case in all that the arms learn from, and return what was looked at, in sentences.

    Raises
    ------
    UserError
        Naming the first test case that was found, and where; or a made-up set whose model's training is not known.
    """
    test = _Test(cases.test, hashes)
    said = [f"{len(cases.test)} test cases were looked for by id, patient and voxels."]
    for name in _used(recipe):
        entry, pool = recipe.sets[name], cases.pools[name]
        manifest = _manifest(_folder(root, entry))
        for case in pool:
            test.refuse(f"trains in the set {name}", case.id, case.patient)
        if manifest is not None:
            said += _of_manifest(name, manifest, test)
        if manifest is not None or entry.gan is not None:
            said += _of_model(name, entry, root, manifest, test, hashes, events)
        said += _of_images(name, pool, test, hashes, events)
    return said


@dataclass
class _Test:
    """The test cases by what they are recognised by."""

    cases: Sequence[LesionCase]
    hashes: VoxelHashes

    def __post_init__(self) -> None:
        self.names: dict[str, str] = {}
        for case in self.cases:
            for name in (case.id, case.patient):
                self.names.setdefault(name.casefold(), case.id)
        self.images: dict[str, str] = {}
        for case in self.cases:
            self.images.setdefault(self.hashes.of(case.ct, case.series), case.id)

    def refuse(self, where: str, *names: str) -> None:
        """Refuse a test case that goes by one of ``names``."""
        for name in names:
            found = self.names.get(name.casefold())
            if found is not None:
                raise _leak(found, f"{name} {where}")

    def refuse_image(self, where: str, name: str, digest: str) -> None:
        """Refuse a test case with the voxels of ``name``."""
        found = self.images.get(digest)
        if found is not None:
            raise _leak(found, f"{name} {where} and has the same voxels")


def _leak(case: str, why: str) -> UserError:
    return UserError(
        f"The test case {case} is not unseen.",
        f"{why}.",
        "Take it out of the training or out of the test; a GAN that has seen it must be trained anew.",
    )


def _used(recipe: ExperimentRecipe) -> list[str]:
    """Return the sets that any arm takes cases from."""
    names: dict[str, None] = {}
    for arm in recipe.all_arms:
        names |= dict.fromkeys(arm.sources)
        names |= dict.fromkeys(arm.then.sources if arm.then else ())
        names |= dict.fromkeys(arm.adapt.target if arm.adapt else ())
    return list(names)


def _of_images(
    name: str, pool: Sequence[LesionCase], test: _Test, hashes: VoxelHashes, events: Events
) -> Iterable[str]:
    for number, case in enumerate(pool):
        events.progress(number, len(pool), f"comparing {name} with the test cases")
        test.refuse_image(f"trains in the set {name}", case.id, hashes.of(case.ct, case.series))
    return [f"{name}: {len(pool)} images were compared with those of the test."]


def _of_manifest(name: str, manifest: Mapping[str, Any], test: _Test) -> list[str]:
    """Look at the cases that a data set's cubes and nodules come from."""
    volumes = [entry for entry in manifest.get("volumes", []) if isinstance(entry, Mapping)]
    for volume in volumes:
        where = f"is where {volume.get('id')} of the set {name} was cut from"
        test.refuse(where, *(str(volume[key]) for key in ("case", "patient") if volume.get(key)))
        for nodule in volume.get("nodules") or ():
            template = str(nodule.get("template", ""))
            origin = f"gave the nodule of {volume.get('id')} of the set {name} (template {template})"
            test.refuse(origin, template, _NUMBER.sub("", template))
    return [f"{name}: the cases behind {len(volumes)} volumes and their nodules were looked at."] if volumes else []


def _of_model(
    name: str,
    entry: DataSet,
    root: Path,
    manifest: Mapping[str, Any] | None,
    test: _Test,
    hashes: VoxelHashes,
    events: Events,
) -> list[str]:
    """Look at what the model behind a set was trained on."""
    made_by = _model_of(manifest)
    if entry.gan == UNKNOWN:
        events.warning(
            f"It is not known what the model behind {name} was trained on.",
            "If it has seen the test cases, the arms with this set are too good (row C14's fault).",
            "Give its run folder as `gan` of the set, if there is one.",
        )
        return [f"{name}: NOT CHECKED: what its model ({made_by.get('name', 'unknown')}) was trained on is not known."]
    if entry.gan is None:
        raise UserError(
            f"It is not known what the model {made_by.get('name', '')} behind the set {name} was trained on.",
            "If it has seen the test cases, the arms with this set would be too good.",
            f"Give its run folder as `sets.{name}.gan` of the recipe; `unknown` goes on without, and says so.",
        )
    run = root / Path(entry.gan).expanduser()
    split_file, cohort_file = run / "split.json", run / "cohort.json"
    if not split_file.is_file() or not cohort_file.is_file():
        raise UserError(
            f"{run} is no run folder of a training.",
            "What the model was trained on stands in its split.json and cohort.json.",
            f"Correct `sets.{name}.gan` of the recipe.",
        )
    card = card_of(run)
    if made_by.get("weights_sha256") not in (None, card["weights_sha256"]):
        raise UserError(
            f"The set {name} was not made by the model in {run}.",
            f"Its manifest names weights {str(made_by['weights_sha256'])[:12]}…, the run has "
            f"{card['weights_sha256'][:12]}….",
            f"Correct `sets.{name}.gan` of the recipe.",
        )
    missing: list[str] = []
    cohort = read_cohort(cohort_file, skip_missing=Events(listener=lambda event: missing.append(str(event["what"]))))
    split = read_split(split_file)
    seen = {*split.training, *split.validation}
    images = 0
    for case in cohort:
        if case.id not in seen:
            continue
        where = f"was seen in training by the model that made the set {name} ({run})"
        test.refuse(where, case.id, case.patient_id)
        if case.ct.exists():
            test.refuse_image(where, case.id, hashes.of(case.ct, case.ct_series))
            images += 1
    lacking = len(seen) - images
    text = f"{name}: {len(seen)} cases that its model was trained on were looked at"
    said = [f"{text}, {lacking} of them by name alone: their files are gone." if lacking else f"{text}."]
    if (run / "initial").exists():
        said.append(f"{name}: NOT CHECKED: what the model was trained on from which that of {run} started.")
    return said


def _model_of(manifest: Mapping[str, Any] | None) -> Mapping[str, Any]:
    for content in (manifest or {}, (manifest or {}).get("settings") or {}):
        if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
            model: Mapping[str, Any] = content["model"]
            return model
    return {}


def _folder(root: Path, entry: DataSet) -> Path:
    path = root / Path(entry.path).expanduser()
    return path if path.is_dir() else path.parent


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a made-up set, or None where the folder has none."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read.", f"{error}.", "Restore it: it says where the set comes from."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no manifest.", todo="Restore it: it says where the set comes from.")
    return content
