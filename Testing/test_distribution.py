"""Sets of images compared: known answers for scores and words, the verb in a child process, what it refuses."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file
from test_distribution_classifier import TINY, ball_in_noise, balls

from synthct.__main__ import main
from synthct.data.cohort import write_cohort
from synthct.evaluation.distribution import embedding
from synthct.evaluation.distribution.distances import frechet_distance, kernel_distance
from synthct.evaluation.distribution.scores import DRAWS, Rows, compare_sets, in_their_span, in_words
from synthct.methods.registry import build_method
from synthct.networks.resnet_classifier import resnet_classifier
from synthct.recipe import load_recipe
from synthct.synthesis.feature_models import open_features
from synthct.synthesis.feature_set import features_of, open_set
from synthct.synthesis.model_file import save_model
from synthct.training.class_card import class_card


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def rows(features, probabilities=None):
    return Rows(features, tuple(f"p{n}" for n in range(len(features))), probabilities)


def normal(count, seed, width=6):
    return np.random.default_rng(seed).standard_normal((count, width))


def test_sets_of_one_distribution_lie_no_farther_than_halves():
    found = compare_sets(rows(normal(80, 0)), rows(normal(80, 1)))
    assert abs(found["scores"]["kid"]) < 0.3 and found["scores"]["precision"] > 0.8
    assert found["at_equal_numbers"]["samples"] == 40 and found["at_equal_numbers"]["draws"] == DRAWS
    words = in_words(found)
    assert [line.split(" at ")[0] for line in words[:2]] == ["Fréchet distance", "Kernel distance"]
    assert all("no difference is seen" in line for line in words[:2])


def test_identical_sets_give_zero():
    features = normal(40, 2)
    scores = compare_sets(rows(features), rows(features))["scores"]
    assert scores["fid"] == pytest.approx(0, abs=1e-9)
    assert (scores["precision"], scores["recall"]) == (1, 1)


def test_the_farther_the_shift_the_larger_the_distances():
    real = normal(60, 3)
    found = [compare_sets(rows(real), rows(normal(60, 4) + shift)) for shift in (0, 1, 2)]
    for name in ("fid", "kid", "mmd"):
        values = [each["scores"][name] for each in found]
        assert values == sorted(values) and values[2] > 2 * abs(values[0]), name
    # A shift by s along each of 6 axes adds 6·s² to the Fréchet distance.
    exact = compare_sets(rows(real), rows(real + 2))["scores"]["fid"]
    assert exact == pytest.approx(24, rel=1e-9)
    words = in_words(found[2])
    assert all("lies farther" in line for line in words[:2])
    assert "look like no real one" in words[2]


def test_collapse_lowers_recall_and_leaves_precision():
    real = normal(90, 5, 3)
    found = compare_sets(rows(real), rows(0.02 * normal(90, 6, 3)))
    assert found["scores"]["precision"] > 0.9 and found["scores"]["recall"] < 0.2
    assert any("Some of the real variety is missing" in line for line in in_words(found))


def test_a_precision_that_varies_much_is_called_neither_equal_nor_lower():
    def said(mean, sd):
        fids = {"fid": {"mean": 1.0, "sd": 0.1}, "kid": {"mean": 0.0, "sd": 0.1}}
        same, other = {"mean": 0.95, "sd": 0.07}, {"mean": mean, "sd": sd}
        equal = {
            "real_against_real": {**fids, "precision": same},
            "synthetic_against_real": {**fids, "precision": other},
        }
        return in_words({"scores": {}, "at_equal_numbers": {"samples": 12, **equal}})[-1]

    assert said(0.94, 0.1).endswith("Synthetic samples lie where real ones lie.")
    assert said(0.2, 0.1).endswith("Some synthetic samples look like no real one.")
    assert said(0.5, 0.44).endswith("differs too much between the divisions to say more.")


def test_few_samples_are_said_to_be_few_and_slices_stay_with_their_patient():
    found = compare_sets(rows(normal(3, 7)), rows(normal(3, 8)))
    assert found["at_equal_numbers"] is None and found["scores"]["precision"] is None
    assert any("biased upwards" in note for note in found["notes"])
    assert any("too small to be halved" in note for note in found["notes"])
    assert in_words(found) == []
    # Ten equal slices of each of six patients: halves that share no patient are never equal.
    real = Rows(np.repeat(normal(6, 9), 10, axis=0), tuple(f"p{n // 10}" for n in range(60)))
    equal = compare_sets(real, rows(normal(60, 10)))["at_equal_numbers"]
    assert equal["samples"] == 30 and equal["real_against_real"]["precision"]["mean"] < 0.7


def test_inception_score_is_that_of_both_sets_with_its_classes_named():
    certain, unsure = np.eye(2)[[0, 1] * 10], np.full((20, 2), 0.5)
    found = compare_sets(rows(normal(20, 11), certain), rows(normal(20, 12), unsure), ("benign", "malignant"))
    assert found["scores"]["inception_score"] == pytest.approx(1)
    assert found["scores"]["inception_score_real"] == pytest.approx(2)
    assert "classes: benign, malignant" in in_words(found)[-1]
    assert "inception_score" not in compare_sets(rows(normal(20, 11)), rows(normal(20, 12), unsure))["scores"]


def test_distances_in_the_span_of_few_samples_are_the_same():
    a, b = normal(7, 13, 50), normal(9, 14, 50)
    one, other = in_their_span(a, b)
    assert one.shape == (7, 16)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(a, b), rel=1e-6)


def test_draws_follow_from_the_seed():
    sets = rows(normal(30, 15)), rows(normal(30, 16))
    assert compare_sets(*sets, seed=3) == compare_sets(*sets, seed=3)
    assert compare_sets(*sets, seed=3)["at_equal_numbers"] != compare_sets(*sets, seed=4)["at_equal_numbers"]
    found = compare_sets(*sets)["scores"]["kid_subsets"]
    assert found["size"] == 15 and found["mean"] == pytest.approx(
        kernel_distance(normal(30, 15), normal(30, 16)), abs=0.4
    )


def test_tsne_parts_what_lies_apart_and_says_its_perplexity():
    pytest.importorskip("sklearn")
    features = np.concatenate([normal(30, 17), normal(30, 18) + 30])
    places, how = embedding.embed(features)
    assert places.shape == (60, 2) and "perplexity 10 and learning rate 200" in how
    middles = places[:30].mean(axis=0), places[30:].mean(axis=0)
    near = np.linalg.norm(places - middles[0], axis=1) < np.linalg.norm(places - middles[1], axis=1)
    assert near.tolist() == [True] * 30 + [False] * 30
    np.testing.assert_array_equal(places, embedding.embed(features)[0])
    assert "perplexity 2 in place of 10, which 7 samples are too few for" in embedding.embed(normal(7, 19))[1]


def test_samples_flung_far_out_are_drawn_at_the_edge():
    places = normal(40, 20)[:, :2]
    assert embedding._near(places)[1] <= 2
    places[3] = 1000, -1000
    near, beyond = embedding._near(places)
    assert near[3, 0] < 8 and near[3, 1] > -8 and np.array_equal(near[:3], places[:3]) and beyond >= 1
    assert embedding.draw_embedding(places, ["real"] * 40, ["real"] * 40, "far").startswith(b"\x89PNG")


def test_without_scikit_learn_principal_axes_are_drawn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    features = np.zeros((5, 3))
    features[:, 1] = [-4, -2, 0, 2, 4]
    features[:, 2] = [1, -1, 0, -1, 1]
    places, how = embedding.embed(features)
    assert "pip install" in how
    np.testing.assert_allclose(np.abs(places[:, 0]), [4, 2, 0, 2, 4], atol=1e-12)
    png = embedding.draw_embedding(places, ["real"] * 3 + ["synthetic"] * 2, ["a", "a", "b", "b", "synthetic"], "")
    assert png.startswith(b"\x89PNG") and len(png) > 5000


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Balls of both sizes with a manifest that knows their classes."""
    folder = tmp_path_factory.mktemp("real")
    write_cohort(balls(folder, 12), folder / "cohort.json")
    return folder


@pytest.fixture(scope="module")
def fair(tmp_path_factory):
    """Other draws of the same distribution, as a folder of images and masks alone."""
    folder = tmp_path_factory.mktemp("fair")
    balls(folder, 12, first=50)
    return folder


@pytest.fixture(scope="module")
def model(real, tmp_path_factory):
    """A classifier as a training keeps it, with weights from its seed."""
    recipe = load_recipe("synthct-features-resnet", {**TINY, "data.classes": ["large", "small"]})
    method = build_method(recipe)
    seen = [type("Volume", (), {"spacing": (2.0, 2.0, 2.5)})()]
    card = {**class_card(recipe, method, seen), "training": {"scores": {"accuracy": 0.9}}}
    return save_model(tmp_path_factory.mktemp("model") / "model", method.networks["classifier"].eval(), card)


def distribution(real, synthetic, features, output, *more):
    words = ["distribution", "--real", real, "--synthetic", synthetic, "--features", features, "--output", output]
    assert main([*map(str, words), "--device", "cpu", *map(str, more)]) == 0
    return json.loads(output.read_text(encoding="utf-8"))


def test_verb_in_a_child_process_writes_numbers_report_and_picture(real, fair, model, tmp_path):
    outputs = {"--output": "dist.json", "--report": "page.html", "--picture": "tsne.png", "--events": "events.jsonl"}
    outputs["--places"] = "places.csv"
    words = ["--real", real, "--synthetic", fair, "--features", model, "--device", "cpu"]
    words += [word for name, file in outputs.items() for word in (name, tmp_path / file)]
    done = subprocess.run(
        [sys.executable, "-m", "synthct", "distribution", *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "must not be compared" in done.stdout
    found = json.loads((tmp_path / "dist.json").read_text(encoding="utf-8"))
    assert len(found["features"]["sha256"]) == 64 and found["features"]["features"] == 64
    assert found["scores"]["inception_score_classes"] == ["large", "small"]
    assert "90 % of held-out cases right" in found["features"]["definition"]
    assert (found["real"]["samples"], found["synthetic"]["samples"]) == (12, 12)
    assert found["real"]["median_extent_mm"] == [48, 48, 50]
    assert set(found["definitions"]) >= {"fid", "kid", "mmd", "precision", "recall", "inception_score"}
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "real against real" in page and found["features"]["sha256"] in page and "data:image/png" in page
    assert (tmp_path / "tsne.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "places.csv", newline="", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert [point["set"] for point in points] == ["real"] * 12 + ["synthetic"] * 12
    assert {point["source"] for point in points} == {"large", "small", "synthetic"}
    assert points[0]["image"] == str(real / "images" / f"{points[0]['case']}.nii.gz")
    assert len({(point["x"], point["y"]) for point in points}) == 24 and found["embedding"] in page
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert kinds[-1] == "result" and "warning" in kinds


def test_statistics_need_nothing_trained_and_see_what_differs(real, fair, tmp_path):
    first = distribution(real, fair, "statistics", tmp_path / "fair.json")
    assert first["features"]["sha256"] is None and "inception_score" not in first["scores"]
    assert all("no difference is seen" in line for line in first["words"][:2])
    alike = tmp_path / "collapsed"
    balls(alike, 12, radii=(0.55,), first=70)
    collapsed = distribution(real, alike, "statistics", tmp_path / "fair.json", "--overwrite")
    assert collapsed["scores"]["fid"] > 2 * first["scores"]["fid"]
    assert collapsed["scores"]["recall"] < first["scores"]["recall"]
    assert "lies farther" in collapsed["words"][0]
    image = sitk.ReadImage(str(alike / "images" / "ball_70.nii.gz"))
    for number in (71, 72):
        sitk.WriteImage(image, str(alike / "images" / f"ball_{number}.nii.gz"))
    repeated = distribution(real, alike, "statistics", tmp_path / "fair.json", "--overwrite")
    assert any(note.startswith("Only 10 of 12 synthetic samples differ") for note in repeated["notes"])


def test_copies_of_real_images_have_precision_and_are_named(real, tmp_path):
    for number in range(8):
        for place in ("images", "masks"):
            target = tmp_path / "copies" / place / f"made_{number}.mha"
            target.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.ReadImage(str(real / place / f"ball_{number:02d}.nii.gz")), str(target))
    found = distribution(real, tmp_path / "copies", "statistics", tmp_path / "dist.json")
    assert found["scores"]["precision"] == 1
    assert len(found["synthetic"]["equal_to_a_real_one"]) == 8
    assert not any(note.startswith("Only") for note in found["notes"])
    assert any(note.startswith("8 of 8 synthetic images equal a real one") for note in found["notes"])


def test_masks_and_pairs_have_features_of_their_own(real, fair, model, tmp_path):
    masks = distribution(real, fair, model, tmp_path / "dist.json", "--by", "masks")
    assert masks["features"]["features"] == 64 and "inception_score" in masks["scores"]
    assert any("never saw a mask" in note for note in masks["notes"])
    assert any("may be blind to the rest" in note for note in masks["notes"])
    pairs = distribution(real, fair, model, tmp_path / "dist.json", "--by", "pairs", "--overwrite")
    assert pairs["features"]["features"] == 128 and "inception_score" not in pairs["scores"]
    features = open_features(str(model), None, None, False, None)
    sets = {
        by: features_of(open_set(real), features, by, torch.device("cpu"), tmp_path / "dist-features")
        for by in ("images", "masks", "pairs")
    }
    np.testing.assert_array_equal(
        sets["pairs"].features, np.concatenate([sets["images"].features, sets["masks"].features], axis=1)
    )


def test_features_are_kept_and_an_entry_that_is_damaged_is_made_again(real, model, tmp_path, monkeypatch):
    features = open_features(str(model), None, None, False, None)
    cohort, device, kept = open_set(real), torch.device("cpu"), tmp_path / "kept"
    first = features_of(cohort, features, "images", device, kept)
    entries = sorted(kept.iterdir())
    assert len(entries) == 12
    entries[3].write_bytes(b"PK damaged")
    entries[5].write_bytes(b"")
    seen = []
    original = type(features).of
    monkeypatch.setattr(type(features), "of", lambda *given: seen.append(1) or original(*given))
    again = features_of(cohort, features, "images", device, kept)
    np.testing.assert_array_equal(first.features, again.features)
    assert len(seen) == 2 and first.digests == again.digests
    np.testing.assert_array_equal(first.probabilities, again.probabilities)


def test_other_spacing_and_size_are_brought_to_the_network_and_said(real, model, tmp_path):
    for number in range(3):
        image, _ = ball_in_noise(200 + number, 0.5, (15, 18, 18))
        image.SetSpacing((4.0, 4.0, 4.0))
        path = tmp_path / "other" / "images" / f"made_{number}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path))
    found = distribution(real, tmp_path / "other", model, tmp_path / "dist.json")
    assert any("show 48×48×50 mm" in note and "72×72×60 mm" in note for note in found["notes"])


def test_single_slices_are_compared_as_slices(tmp_path):
    for which in ("real", "synthetic"):
        for number in range(5):
            path = tmp_path / which / f"{which}_{number}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            seed = number + 10 * (which == "real")
            hu = np.random.default_rng(seed).integers(-900, 300, (1, 20, 20)).astype(np.int16)
            sitk.WriteImage(sitk.GetImageFromArray(hu), str(path))
    found = distribution(tmp_path / "real", tmp_path / "synthetic", "statistics", tmp_path / "dist.json")
    assert found["features"]["size"] == [64, 64] and "quadrants" in found["features"]["definition"]


@pytest.mark.parametrize(("network", "shortcut"), [("resnet10", "A"), ("resnet18", "B")])
def test_weights_given_by_hand_are_those_of_the_file(network, shortcut, tmp_path):
    depth = int(network.removeprefix("resnet"))
    torch.manual_seed(1)
    known = resnet_classifier(1, 5, depth=depth, shortcut=shortcut, shortcut_bias=shortcut == "B").eval()
    path = tmp_path / "weights.safetensors"
    save_file({f"module.{name}": value for name, value in known.state_dict().items()}, path)
    features = open_features(str(path), network, (32, 32, 32), False, None)
    images = np.random.default_rng(0).standard_normal((1, 32, 32, 32)).astype(np.float32)
    found, shares = features.of(images, torch.device("cpu"))
    heard = []
    known.fc.register_forward_pre_hook(lambda _module, inputs: heard.append(inputs[0]))
    with torch.no_grad():
        known(torch.from_numpy(images)[None])
    assert shares is None and features.sha256 and found.shape == (1, 512)
    np.testing.assert_allclose(found, heard[0].numpy(), rtol=1e-4, atol=1e-5)


def refused(capsys, *words):
    assert main(["distribution", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_what_cannot_be_compared_is_refused_in_words(real, fair, model, tmp_path, capsys):
    usual = ["--output", tmp_path / "dist.json", "--device", "cpu"]
    sets = ["--real", real, "--synthetic", fair]
    assert "share 12 of their images" in refused(
        capsys, "--real", real, "--synthetic", real / "images", "--features", "statistics", *usual
    )
    alone = tmp_path / "alone"
    balls(alone, 1, first=90)
    assert "holds 1 image." in refused(capsys, "--real", real, "--synthetic", alone, "--features", "statistics", *usual)
    assert "does not exist" in refused(
        capsys, "--real", real, "--synthetic", tmp_path / "no", "--features", "statistics", *usual
    )
    assert "--size cannot be given" in refused(capsys, *sets, "--features", model, "--size", 32, 32, 32, *usual)
    assert "--size 8 8 cannot be" in refused(capsys, *sets, "--features", "statistics", "--size", 8, 8, *usual)
    weights = tmp_path / "weights.safetensors"
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7, 7)}, weights)
    assert "resnet10 to resnet200" in refused(capsys, *sets, "--features", weights, *usual)
    assert "conv1.weight should be (64, 1, 7, 7, 7)" in refused(
        capsys, *sets, "--features", weights, "--network", "resnet10", *usual
    )
    assert "no network resnet11" in refused(capsys, *sets, "--features", weights, "--network", "resnet11", *usual)
    pickle = tmp_path / "weights.pth"
    pickle.write_bytes(b"\x80\x02.")
    assert "is a pickle file" in refused(capsys, *sets, "--features", pickle, "--network", "resnet10", *usual)
    renamed = tmp_path / "renamed.safetensors"
    renamed.write_bytes(b"\x80\x02.")
    assert "is a pickle" in refused(capsys, *sets, "--features", renamed, "--network", "resnet10", *usual)
    card = json.loads((model / "model.json").read_text(encoding="utf-8"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "weights.safetensors").write_bytes((model / "weights.safetensors").read_bytes())
    (other / "model.json").write_text(json.dumps({**card, "task": "ct-to-tissues"}), encoding="utf-8")
    assert "Its task is ct-to-tissues" in refused(capsys, *sets, "--features", other, *usual)
    assert not (tmp_path / "dist.json").exists()


def test_masks_that_are_missing_or_hold_other_values_are_refused_by_name(real, tmp_path, capsys):
    for name, highest in (("none", None), ("two", 2)):
        for number in range(2):
            image, mask = ball_in_noise(300 + number, 0.5)
            made = {"images": image} if highest is None else {"images": image, "masks": mask * highest}
            for place, volume in made.items():
                path = tmp_path / name / place / f"made_{number}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                sitk.WriteImage(volume, str(path))
    usual = ["--features", "statistics", "--by", "masks", "--output", tmp_path / "dist.json", "--device", "cpu"]
    assert "made_0 has no mask" in refused(capsys, "--real", real, "--synthetic", tmp_path / "none", *usual)
    assert "--mask-values 2" in refused(capsys, "--real", real, "--synthetic", tmp_path / "two", *usual)
    distribution(real, tmp_path / "two", "statistics", tmp_path / "dist.json", "--by", "masks", "--mask-values", 2)
    assert "exists" in refused(capsys, "--real", real, "--synthetic", tmp_path / "two", *usual)
