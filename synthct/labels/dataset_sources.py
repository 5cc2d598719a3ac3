"""Which cases give cubes to a data set, and which templates are planted: none that is validated or tested on (row B9a).

A case is held out where the manifest's ``part`` says validation or test, or a split does; with it goes its patient.
A template is left out where the nodule was cut from a case that is held out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthct.data.cohort import Case, Cohort
from synthct.data.discovery import classify
from synthct.data.fingerprint import fingerprint
from synthct.data.split import Split
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.templates import Template
from synthct.recipe import LABEL_TASK

_NAMED = 5
_HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class Sources:
    """What a data set is made from.

    Attributes
    ----------
    cases, templates
        That may be used, in the order of manifest and library.
    cases_left_out
        Why, by case id.
    templates_left_out
        Why, by name.
    """

    cases: tuple[Case, ...]
    templates: tuple[Template, ...]
    cases_left_out: dict[str, str]
    templates_left_out: dict[str, str]


def training_sources(
    cohort: Cohort,
    templates: Sequence[Template],
    split: Split | None = None,
    split_name: str = "the split",
    events: Events = SILENT,
) -> Sources:
    """Return the cases and templates that may be used; what is left out is told in a warning each.

    Parameters
    ----------
    cohort
        Cases with label maps.
    templates
        Their ``source`` (`synthct.labels.templates.Template`) is compared with the cases by name and by the CT itself.
    split
        Its validation and test cases are held out beside those that the manifest marks. Cases of the cohort that it
        does not name are not.
    split_name
        What messages call it.

    Raises
    ------
    UserError
        A case without a label map, no case left, or templates of which none is left.
    """
    cohort = cohort.for_task(LABEL_TASK)
    held_out = _held_out(cohort, split, split_name)
    used = [case for case in cohort.used if case.id not in held_out]
    left_out = {case.id: held_out[case.id] for case in cohort.used if case.id in held_out}
    if left_out:
        events.warning(
            f"{_counted(len(left_out), 'case')} of {len(cohort.used)} give no cubes: {_listed(left_out)}.",
            f"{next(iter(left_out))}: {next(iter(left_out.values()))}.",
            "What is tested on them stays free of what was trained on.",
        )
    if not used:
        raise UserError(
            f"No case of the cohort {cohort.root} may give a cube.",
            f"{next(iter(left_out.items()))[0]}: {next(iter(left_out.values()))}; so are all others."
            if left_out
            else "Every one is excluded.",
            "Add cases to train on, or give another --split (none: that of the model's run does not count).",
        )
    kept, strangers = _of_others(templates, [case for case in cohort if case.id in held_out])
    if strangers:
        events.warning(
            f"{_counted(len(strangers), 'template')} of {len(templates)} are not planted: {_listed(strangers)}.",
            f"{next(iter(strangers))}: {next(iter(strangers.values()))}.",
            "What is tested on those cases stays free of what was trained on.",
        )
    if templates and not kept:
        raise UserError(
            "No template of the library may be planted.",
            f"{next(iter(strangers))}: {next(iter(strangers.values()))}; so are all others.",
            "Cut templates from cases that are trained on.",
        )
    return Sources(tuple(used), tuple(kept), left_out, strangers)


def _held_out(cohort: Cohort, split: Split | None, split_name: str) -> dict[str, str]:
    """Why, by case id, excluded cases too."""
    patients: dict[str, str] = {}
    for case in cohort:
        if case.part in _HELD_OUT:
            patients.setdefault(case.patient_id, f"its patient is of part {case.part} in the cohort")
        for part in _HELD_OUT if split is not None else ():
            if case.id in split.part(part):  # type: ignore[union-attr]
                sliced = " with a slab of its slices" if case.id in split.slabs.get(part, {}) else ""  # type: ignore[union-attr]
                patients.setdefault(case.patient_id, f"its patient is of part {part} in {split_name}{sliced}")
    return {case.id: patients[case.patient_id] for case in cohort if case.patient_id in patients}


def _of_others(templates: Sequence[Template], held_out: Sequence[Case]) -> tuple[list[Template], dict[str, str]]:
    """Part templates into those of other cases, and those of ``held_out`` with the reason."""
    names: dict[str, str] = {}
    contents: dict[str, str] = {}
    asked = any(_source(template).get("ct_fingerprint") for template in templates)
    for case in held_out:
        for name in (case.id, case.patient_id, case.ct.name, case.labels.name if case.labels else ""):
            names.setdefault(_bare(name), case.id)
        if asked and case.ct.exists():
            contents[fingerprint([case.ct])] = case.id
    names.pop("", None)
    kept, strangers = [], {}
    for template in templates:
        source = _source(template)
        of_case = contents.get(str(source.get("ct_fingerprint"))) or next(
            (names[name] for key in ("case", "ct") if (name := _bare(str(source.get(key) or ""))) in names), None
        )
        if of_case is None:
            kept.append(template)
        else:
            strangers[template.name] = f"it was cut from the case {of_case}, which is held out"
    return kept, strangers


def _source(template: Template) -> dict[str, Any]:
    source = template.facts.get("source")
    return source if isinstance(source, dict) else {}


def _bare(name: str) -> str:
    """Return a case's name, also from that of a file, without the words that say what the file is."""
    path = Path(name)
    whole = path.name.casefold()
    bare = classify(Path(whole if whole.endswith(".nii.gz") else f"{whole}.nii.gz"))
    return bare[1] if bare[0] is not None else whole.removesuffix(".nii.gz")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _listed(names: Collection[str]) -> str:
    return ", ".join([*names][:_NAMED]) + (", …" if len(names) > _NAMED else "")
