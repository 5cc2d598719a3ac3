"""Which cases train an arm of a segmentation experiment, and that no test case is among what was learned from."""

import json

import pytest
import SimpleITK as sitk
import torch
from experiment_parts import recipe_of, write_recipe, write_set

from synthct.data.voxel_hash import VoxelHashes
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.networks.registry import build_network
from synthct.studies.segmentation.cases import chosen, find_cases, in_folds
from synthct.studies.segmentation.experiment import planned
from synthct.studies.segmentation.leaks import refuse_leaks
from synthct.studies.segmentation.recipe import experiment_names, load_experiment
from synthct.synthesis.model_file import save_model
from synthct.synthesis.segment import segmentation_card

PATIENTS = ["p0", "p1", "p2", "p2", "p3", "p4", "p5", "p6"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets")
    write_set(path / "real", 8, 1, patient=PATIENTS)
    write_set(path / "made", 6, 2)
    return path


def ids(cases):
    return [case.id for case in cases]


def checked(folder, memory, **changes):
    recipe = recipe_of(folder, **changes)
    return refuse_leaks(recipe, find_cases(recipe, folder, SILENT), folder, VoxelHashes(memory / "hashes.json"), SILENT)


def test_subsets_are_nested_and_do_not_depend_on_other_cases(folder, tmp_path):
    cases = find_cases(recipe_of(folder), folder, SILENT)
    subsets = [ids(chosen("arm", {"made": count}, cases)) for count in (2, 4, 6)]
    assert subsets[0] == subsets[1][:2] and subsets[1] == subsets[2][:4]
    assert subsets[2] != sorted(subsets[2])
    assert ids(chosen("arm", {"made": "all"}, cases)) == subsets[2]
    other = find_cases(recipe_of(folder, seed=1), folder, SILENT)
    assert ids(other.pools["made"]) != subsets[2]
    write_set(tmp_path / "made", 4, 2)
    write_set(tmp_path / "real", 8, 1)
    fewer = find_cases(recipe_of(tmp_path), tmp_path, SILENT)
    assert ids(fewer.pools["made"]) == [name for name in subsets[2] if name in ("made0", "made1", "made2", "made3")]
    with pytest.raises(UserError, match="wants 7 cases of made, which has 6"):
        chosen("arm", {"made": 7}, cases)


def test_test_patients_train_nothing(folder):
    heard = []
    recipe = recipe_of(folder, test={"set": "real", "cases": ["real2"]})
    cases = find_cases(recipe, folder, Events(listener=heard.append))
    assert ids(cases.test) == ["real2"]
    assert sorted(ids(cases.pools["real"])) == [
        "real0",
        "real1",
        "real4",
        "real5",
        "real6",
        "real7",
    ]  # real3 is p2, too
    assert "1 cases of real train nothing" in heard[0]["what"]


def test_the_split_of_a_gan_can_be_the_test(folder, tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"training": ["real1"], "test": ["real5", "real6"]}))
    recipe = recipe_of(folder, test={"set": "real", "split": str(tmp_path)})
    assert ids(find_cases(recipe, folder, SILENT).test) == ["real5", "real6"]
    with pytest.raises(UserError, match="test case real99 is not in the set real"):
        find_cases(recipe_of(folder, test={"set": "real", "cases": ["real99"]}), folder, SILENT)
    share = find_cases(recipe_of(folder, test={"set": "real", "share": 0.3}), folder, SILENT)
    assert len({case.patient for case in share.test}) == 2


def test_folds_keep_patients_together_and_validate_every_case_once(folder):
    cases = find_cases(recipe_of(folder, test={"set": "real", "cases": ["real0"]}), folder, SILENT)
    every = (*cases.pools["real"], *cases.pools["made"])
    folds = in_folds(every, 3)
    assert sorted(ids([case for fold in folds for case in fold.validation])) == sorted(ids(every))
    for fold in folds:
        assert not {case.patient for case in fold.training} & {case.patient for case in fold.validation}
        assert len(fold.training) + len(fold.validation) == len(every)
        assert sum(case.set == "made" for case in fold.validation) == 2
    assert in_folds(every, 1)[0].validation == ()
    with pytest.raises(UserError, match="2 patients cannot be parted into 3 folds"):
        in_folds(cases.pools["made"][:2], 3)


def test_fine_tuning_and_adaptation_stay_within_the_folds(folder):
    arms = [
        {"name": "real_4", "sources": {"real": 4}},
        {"name": "tuned", "sources": {"made": 6}, "then": {"sources": {"real": "all"}}, "ensemble": 2},
        {"name": "adapted", "sources": {"made": 6}, "adapt": {"target": {"real": "all"}}},
    ]
    recipe = recipe_of(folder, arms=arms, folds=3)
    cases = find_cases(recipe, folder, SILENT)
    tuned, adapted = (planned(arm, cases, recipe) for arm in recipe.all_arms[1:])
    assert len(tuned) == 2 and len(adapted) == 3
    for stages in tuned:
        held = {case.patient for case in (*stages.first.validation, *stages.then.validation)}
        assert held and not held & {case.patient for case in (*stages.first.training, *stages.then.training)}
    for stages in adapted:
        assert {case.set for case in stages.target} == {"real"}
        assert len(stages.target) < len(cases.pools["real"])


def test_shares_rise_within_one_total(folder):
    shares = [{"name": "share", "real": "real", "synthetic": "made", "total": 4, "steps": [0, 0.5, 1]}]
    recipe = recipe_of(folder, shares=shares, baseline="share_0")
    assert [(arm.name, arm.sources) for arm in recipe.all_arms[2:]] == [
        ("share_0", {"real": 4}),
        ("share_50", {"real": 2, "made": 2}),
        ("share_100", {"made": 4}),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline": "real"}, ["baseline real", "Did you mean real_4"]),
        ({"arms": [{"name": "real_4", "sources": {"reel": 4}}]}, ["no set reel", "Did you mean real"]),
        ({"arms": [{"name": "real_4", "sources": {"real": 0}}]}, ["real_4 cannot take"]),
        ({"arms": [{"name": "a", "sources": {"real": 1}}] * 2, "baseline": "a"}, ["Two arms", "a, a"]),
        ({"test": {"set": "real", "share": 0.2, "part": "test"}}, ["part and share"]),
        ({"training": {"patch": [8, 8, 8]}}, ["network", "optimiser"]),
        ({"folds": 2, "arms": [{"name": "real_4", "sources": {"real": 4}, "ensemble": 3}]}, ["ensemble of 3"]),
    ],
)
def test_wrong_recipes_are_refused_by_name(tmp_path, changes, words):
    with pytest.raises(UserError) as caught:
        recipe_of(tmp_path, **changes)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", experiment_names())
def test_recipes_that_come_along_are_whole(name):
    recipe, _ = load_experiment(name, {"sets.real.path": "elsewhere", "training.batch": "1"})
    assert recipe.sets["real"].path == "elsewhere" and recipe.training.batch == 1
    with torch.device("meta"):
        build_network(recipe.training.network, 1, 2, recipe.training.patch)
    assert recipe.test.part == "test" and all(entry.gan for name, entry in recipe.sets.items() if name != "real")


def test_a_body_mask_is_no_mask_of_lesions(folder, tmp_path):
    write_set(tmp_path / "made", 2, 2)
    cohort = write_set(tmp_path / "real", 3, 1)
    content = json.loads(cohort.read_text())
    content["cases"][1]["labels"] = "images/m1.nii.gz"
    cohort.write_text(json.dumps(content))
    with pytest.raises(UserError, match="real1 of the set real has no mask of its lesions"):
        find_cases(recipe_of(tmp_path), tmp_path, SILENT)


def test_a_copy_under_another_name_and_format_is_found(folder, tmp_path):
    write_set(tmp_path / "real", 8, 1, patient=PATIENTS)
    cohort = write_set(tmp_path / "made", 6, 2)
    content = json.loads(cohort.read_text())
    copy = sitk.Flip(sitk.ReadImage(str(tmp_path / "real/images/i1.nii.gz")), (True, False, True))  # stored otherwise
    sitk.WriteImage(copy, str(tmp_path / "made/images/copy.nrrd"))
    content["cases"][3]["ct"] = "images/copy.nrrd"
    cohort.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"real1 is not unseen. made3 trains in the set made and has the same voxels"):
        checked(tmp_path, tmp_path)


def test_a_test_case_by_name_is_found_in_another_set(folder, tmp_path):
    write_set(tmp_path / "real", 8, 1)
    write_set(tmp_path / "made", 6, 2, patient=[None, None, None, None, "real1", None])
    with pytest.raises(UserError, match=r"real1 is not unseen. real1 trains in the set made"):
        checked(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        ({"case": "real1", "patient": "x"}, "real1 is where volume_0 of the set made was cut from"),
        ({"case": "x", "patient": "p0"}, "p0 is where volume_0"),
        ({"case": "x", "patient": "x", "nodules": [{"template": "real1-02"}]}, "template real1-02"),
    ],
)
def test_what_a_data_set_was_cut_from_is_looked_at(tmp_path, volume, words):
    write_set(tmp_path / "real", 8, 1, patient=PATIENTS)
    write_set(tmp_path / "made", 6, 2)
    content = {"settings": {"model": {"name": "m", "weights_sha256": "0" * 64}}}
    content["volumes"] = [{"id": "volume_0", "nodules": [], **volume}]
    (tmp_path / "made/manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not unseen") as caught:
        checked(tmp_path, tmp_path)
    assert words in str(caught.value)


def test_what_the_gan_was_trained_on_is_looked_at(tmp_path):
    write_set(tmp_path / "real", 8, 1, patient=PATIENTS)
    write_set(tmp_path / "made", 6, 2)
    write_set(tmp_path / "gan", 4, 3, prefix="other")
    network = build_network({"name": "unet-3d", "channels": [4, 4]}, 1, 2)
    entry = {"name": "unet-3d", "channels": [4, 4]}
    card = segmentation_card("m", entry, [8, 8, 8], None, {"name": "ct-window"}, ("background", "lesion"), {})
    save_model(tmp_path / "gan/model", network, card)
    weights = json.loads((tmp_path / "gan/model/model.json").read_text())["weights_sha256"]
    manifest = tmp_path / "made/manifest.json"
    manifest.write_text(json.dumps({"model": {"name": "m", "weights_sha256": weights}, "pairs": []}))
    split = tmp_path / "gan/split.json"
    split.write_text(json.dumps({"training": ["other0", "other1"], "validation": ["other2"], "test": ["other3"]}))
    sets = {"real": {"path": "real"}, "made": {"path": "made", "gan": "gan"}}
    said = checked(tmp_path, tmp_path, sets=sets)
    assert "made: 3 cases that its model was trained on were looked at." in said

    real = sitk.ReadImage(str(tmp_path / "real/images/i0.nii.gz"))
    sitk.WriteImage(real, str(tmp_path / "gan/images/i3.nii.gz"))
    checked(tmp_path, tmp_path, sets=sets)  # the GAN's own test case may be tested on
    sitk.WriteImage(real, str(tmp_path / "gan/images/i2.nii.gz"))
    with pytest.raises(UserError, match=r"real0 is not unseen. other2 was seen in training by the model"):
        checked(tmp_path, tmp_path, sets=sets)

    with pytest.raises(UserError, match=r"not known what the model m behind the set made.*sets.made.gan"):
        checked(tmp_path, tmp_path, sets={**sets, "made": {"path": "made"}})
    said = checked(tmp_path, tmp_path, sets={**sets, "made": {"path": "made", "gan": "unknown"}})
    assert any("NOT CHECKED" in line for line in said)
    manifest.write_text(json.dumps({"model": {"name": "m", "weights_sha256": "0" * 64}}))
    with pytest.raises(UserError, match="made was not made by the model in"):
        checked(tmp_path, tmp_path, sets=sets)


def test_recipe_files_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"no recipe linkoping.*linkoping-lidc-utility"):
        load_experiment("linkoping")
    path = write_recipe(tmp_path)
    path.write_text(path.read_text().replace("batch", "x").replace("iterations", "iteratons"))
    with pytest.raises(UserError, match="iteratons"):
        load_experiment(str(path))
