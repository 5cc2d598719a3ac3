"""A broken case among many: named before the first step, left out where the user allows it, and remembered."""

import json

import pytest
import yaml
from training_recipes import tiny_cohort, tiny_recipe

from synthct.__main__ import main
from synthct.data.cache import open_cache
from synthct.data.cohort import read_cohort
from synthct.data.left_out import LeftOut
from synthct.data.split import Split, read_split
from synthct.errors import UserError
from synthct.events import read_events
from synthct.training.run import resume, train


def cut(path):
    """Leave half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.fixture
def cohort(tmp_path):
    return tiny_cohort(tmp_path / "cohort", 5)


def commanded(verb, tmp_path, *words):
    """Run a verb on the cohort; return the exit code and its events."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tiny_recipe(steps=2, steps_per_epoch=1).to_dict()))
    events = tmp_path / "events.jsonl"
    events.unlink(missing_ok=True)
    given = ["--preset", str(recipe), "--cohort", str(tmp_path / "cohort" / "cohort.json"), "--events", str(events)]
    return main([verb, *given, *words]), read_events(events)[0]


def test_refused_by_name_before_anything_is_prepared(cohort, tmp_path):
    cut(cohort.cases[1].ct)
    cut(cohort.cases[4].mr)
    code, events = commanded("train", tmp_path, "--run", str(tmp_path / "run"), "--device", "cpu")
    assert code == 2 and events[-1]["what"] == "2 cases cannot be used."
    assert "phantom_01: " in events[-1]["why"] and cohort.cases[4].mr.name in events[-1]["why"]
    assert "--skip-corrupt" in events[-1]["todo"]
    assert not any(event.get("task") in ("prepare", "training") for event in events)
    assert not (tmp_path / "run" / "prepared" / "phantom_00").exists()


def test_left_out_by_name_and_remembered(cohort, tmp_path):
    cut(cohort.cases[1].ct)
    run = tmp_path / "run"
    code, events = commanded("train", tmp_path, "--run", str(run), "--device", "cpu", "--skip-corrupt")
    assert code == 0 and events[-1]["kind"] == "result"
    (warning,) = [event for event in events if event["kind"] == "warning"]
    assert warning["what"] == "The case phantom_01 is left out." and cohort.cases[1].ct.name in warning["why"]
    kept = {case.id: case.excluded for case in read_cohort(run / "cohort.json")}
    assert cohort.cases[1].ct.name in kept.pop("phantom_01") and set(kept.values()) == {None} and len(kept) == 4
    split = read_split(run / "split.json")
    assert split.left_out == ("phantom_01",) and len(split.training + split.validation + split.test) == 4
    resume(run, device="cpu")  # needs no leave: the run knows


def test_a_split_that_names_it_goes_without_it(cohort, tmp_path):
    cut(cohort.cases[1].mr)
    ids = [case.id for case in cohort]
    split = Split(tuple(ids[:3]), (ids[3],), (ids[4],))
    recipe = tiny_recipe(steps=1)
    run = train(recipe, cohort, tmp_path / "run", device="cpu", split=split, skip_corrupt=True)
    assert read_split(run / "split.json").training == ("phantom_00", "phantom_02")


@pytest.mark.parametrize("skip", [True, False])
def test_a_disk_that_fails_leaves_no_case_out(cohort, tmp_path, skip):
    (tmp_path / "file").write_text("no folder")
    left_out = LeftOut(skip)
    with pytest.raises(UserError, match=r"^\S*phantom_00\S* could not be written\. .* Check the free space"):
        open_cache(cohort, tmp_path / "file" / "cache", left_out=left_out)
    assert not left_out.reasons


def test_a_missing_file(cohort, tmp_path):
    cohort.cases[2].mr.unlink()
    words = ("--run", str(tmp_path / "run"), "--device", "cpu")
    assert commanded("train", tmp_path, *words)[0] == 2
    assert commanded("train", tmp_path, *words, "--skip-corrupt")[0] == 0
    assert "does not exist" in read_cohort(tmp_path / "run" / "cohort.json")["phantom_02"].excluded
    resume(tmp_path / "run", device="cpu")


def test_preprocess(cohort, tmp_path):
    cut(cohort.cases[0].mask)
    out = tmp_path / "prepared"
    assert commanded("preprocess", tmp_path, "--output", str(out))[0] == 2
    code, events = commanded("preprocess", tmp_path, "--output", str(out), "--skip-corrupt", "--workers", "2")
    assert code == 0 and events[-1]["cases"] == 4
    again = read_cohort(out / "cohort.json")
    assert len(again) == 5 and len(again.used) == 4 and again["phantom_00"].excluded


def test_a_case_that_can_be_read_but_not_prepared(cohort, tmp_path):
    manifest = cohort.root / "cohort.json"
    content = json.loads(manifest.read_text())
    small = tiny_cohort(tmp_path / "other", 1, (8, 16, 20)).cases[0]
    content["cases"][3] |= {"ct": str(small.ct), "mr_series": None}
    content["preparation"] = {}  # it claims to be prepared; then MR and CT must be on one grid
    content["cases"][3].pop("mr_series")
    manifest.write_text(json.dumps(content))
    with pytest.raises(UserError, match="phantom_03"):
        open_cache(read_cohort(manifest), tmp_path / "cache")
    left_out = LeftOut(skip=True)
    volumes = open_cache(read_cohort(manifest), tmp_path / "cache", left_out=left_out)
    assert sorted(volumes) == [f"phantom_0{n}" for n in (0, 1, 2, 4)] and [*left_out.reasons] == ["phantom_03"]


def test_compare_leaves_it_out_too(cohort, tmp_path):
    cut(cohort.cases[1].ct)
    words = ("--output", str(tmp_path / "out"), "--device", "cpu")
    assert commanded("compare", tmp_path, *words)[0] == 2
    code, events = commanded("compare", tmp_path, *words, "--skip-corrupt")
    assert code == 0 and any(event.get("what") == "The case phantom_01 is left out." for event in events)


def test_nothing_left(tmp_path):
    cohort = tiny_cohort(tmp_path / "cohort", 2)
    for case in cohort:
        cut(case.mr)
    with pytest.raises(UserError, match="Every one was left out"):
        train(tiny_recipe(), cohort, tmp_path / "run", device="cpu", skip_corrupt=True)


def test_a_cache_that_was_damaged_later(cohort, tmp_path):
    run = train(tiny_recipe(steps=1), cohort, tmp_path / "run", device="cpu")
    cut(next(run.glob("prepared/.cache/phantom_02-*/ct.npy")))
    with pytest.raises(UserError, match=r"case phantom_02 cannot be used.*ct\.npy is damaged.*Remove that folder"):
        resume(run, device="cpu")
    assert read_events(run / "events.jsonl")[0][-1]["kind"] == "error"
