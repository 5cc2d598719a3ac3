"""A manifest that says which case trains and which is tested on: that is the split, and nothing else is drawn."""

import dataclasses
from pathlib import Path

import pytest
from phantoms import write_phantom_cohort

from synthct.data.cohort import Case, Cohort, read_cohort, write_cohort
from synthct.data.split import Split, folds, split_cohort
from synthct.errors import UserError

PLACE = Path("nowhere")


def cohort(*parts, patients=()):
    named = [*patients, *[None] * (len(parts) - len(patients))]
    cases = (
        Case(f"p{n}", PLACE / "mr.nii", PLACE / "ct.nii", part=part, patient=patient)
        for n, (part, patient) in enumerate(zip(parts, named, strict=True))
    )
    return Cohort(tuple(cases), PLACE)


def test_the_manifest_is_the_split():
    split = split_cohort(cohort("test", "training", "validation", "training"), {}, seed=3)
    assert split == Split(("p1", "p3"), ("p2",), ("p0",))
    left_out = cohort("test", "training", None)
    cases = (*left_out.cases[:2], dataclasses.replace(left_out.cases[2], excluded="no body"))
    assert split_cohort(dataclasses.replace(left_out, cases=cases), {}) == Split(("p1",), (), ("p0",))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (cohort("training", None, "test"), "p1 .* has no part"),
        (cohort("training", "test", patients=("one", "one")), "the patient one into training and test"),
        (cohort("test", "validation"), "No case .* is kept for training"),
    ],
)
def test_parts_that_make_no_split(found, words):
    with pytest.raises(UserError, match=words):
        split_cohort(found, {})


def test_folds_do_not_train_on_what_is_kept():
    with pytest.raises(UserError, match="keeps the case p2 for test"):
        folds(cohort("training", "training", "test", "training"), 2)
    assert len(folds(cohort("training", "training", "training"), 3)) == 3


def test_parts_are_read_and_written(tmp_path):
    path = write_phantom_cohort(tmp_path, 2, (6, 8, 8))
    found = read_cohort(path)
    marked = dataclasses.replace(found, cases=(dataclasses.replace(found.cases[0], part="test"), found.cases[1]))
    write_cohort(marked, path, overwrite=True)
    assert [case.part for case in read_cohort(path)] == ["test", None]
    path.write_text(path.read_text().replace('"test"', '"exam"'))
    with pytest.raises(UserError, match="exam"):
        read_cohort(path)
