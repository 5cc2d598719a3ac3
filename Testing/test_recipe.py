"""Reading recipes, overriding keys, and what is refused."""

from pathlib import Path

import pytest
import yaml

from synthct.errors import UserError
from synthct.recipe import load_recipe, recipe_from_dict

MINIMAL = """
name: mine
source: a test
method: {name: regression}
networks: {generator: {name: unet, width: 8}}
optimisers: {generator: {name: adam, lr: 2e-4}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine ä.yaml"
    path.write_text(MINIMAL, encoding="utf-8")
    return path


def test_numbers_without_a_dot_are_numbers(path):
    """PyYAML alone reads 2e-4 as text."""
    recipe = load_recipe(path, {"generator.lr": "1e-5", "training.ema": ".5"})
    assert recipe.optimisers["generator"]["lr"] == 1e-5
    assert recipe.training.ema == 0.5
    assert load_recipe(path).optimisers["generator"]["lr"] == 2e-4


def test_round_trip_through_yaml(path, tmp_path):
    recipe = load_recipe(path, {"data.size": "64, 96", "spacing": "[2, 2, 3.5]", "seed": "3"})
    copy = tmp_path / "copy.yaml"
    copy.write_text(yaml.safe_dump(recipe.to_dict(), allow_unicode=True), encoding="utf-8")
    assert load_recipe(copy) == recipe
    assert recipe.data.size == (64, 96)
    assert recipe.preparation.spacing == (2.0, 2.0, 3.5)


@pytest.mark.parametrize(
    ("key", "text", "where", "value"),
    [
        ("batch", "3", ("training", "batch"), 3),
        ("training.batch", "3", ("training", "batch"), 3),
        ("width", "16", ("networks", "generator", "width"), 16),
        ("generator.width", "4-8", ("networks", "generator", "width"), "4-8"),
        ("networks.generator.dropout", "0.1", ("networks", "generator", "dropout"), 0.1),
        ("lr", "1e-3", ("optimisers", "generator", "lr"), 1e-3),
        ("method.masked", "false", ("method", "masked"), False),
        ("augmentation.flip", "true", ("data", "augmentation", "flip"), True),
        ("flip", "true", ("data", "augmentation", "flip"), True),
        ("planes", "axial,coronal", ("data", "planes"), ["axial", "coronal"]),
        ("input_scaling", "{name: hagan-ct}", ("data", "input_scaling"), {"name": "hagan-ct"}),
        ("networks.generator", "{name: resnet}", ("networks", "generator"), {"name": "resnet"}),
        ("name", "other", ("name",), "other"),
    ],
)
def test_keys_may_be_shortened(path, key, text, where, value):
    content = load_recipe(path, {key: text}).to_dict()
    for part in where:
        content = content[part]
    assert content == value


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"bacth": "3"}, ["bacth", "Did you mean batch?"]),
        ({"training.bacth": "3"}, ["training.bacth", "Did you mean training.batch?"]),
        ({"generator.dropout": "0.1"}, ["ambiguous", "networks.generator.dropout", "optimisers.generator.dropout"]),
        ({"networks.genrator.width": "4"}, ["networks.genrator.width", "Did you mean networks.generator.width?"]),
        ({"size": "64"}, ["data.size", "must be a list"]),
        ({"size": "64,64,64,64"}, ["data.size", "2 entries"]),
        ({"batch": "many"}, ["training.batch", "int"]),
        ({"batch": "[1"}, ["--batch", "[1"]),
        ({"flip": "3"}, ["data.augmentation.flip", "bool"]),
        ({"networks.generator": "unet"}, ["networks.generator", "keys and values"]),
        ({"data.paired.x": "1"}, ["data.paired.x"]),
        ({"registration": "rigidd"}, ["preparation.registration", "Did you mean rigid?"]),
        ({"planes": "axial,coronel"}, ["data.planes", "Did you mean coronal?"]),
        ({"precision": "16"}, ["training.precision", "32-true"]),
        ({"batch": "0"}, ["training.batch", "1 or more"]),
        ({"size": "0,64"}, ["data.size", "1 or more"]),
        ({"spacing": "2,2,-1"}, ["preparation.spacing"]),
        ({"spacing": "2,2,.nan"}, ["preparation.spacing"]),
        ({"ema": "1.5"}, ["training.ema", "between 0 and 1"]),
        ({"planes": "[]"}, ["data.planes", "empty"]),
    ],
)
def test_wrong_options_are_refused_by_name(path, overrides, words):
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- a\n- b\n", ["not a list of keys"]),
        ("a: [", ["cannot be read"]),
        (MINIMAL + "traning: {batch: 3}\n", ["traning", "Did you mean training?"]),
        (MINIMAL + "training: {bacth: 3}\n", ["`training`", "bacth", "Did you mean batch?"]),
        (MINIMAL + "training: 3\n", ["`training`", "keys and values"]),
        ("name: x\n", ["lacks", "source", "method"]),
        (MINIMAL + "!!python/object/apply:os.system ['true']: 1\n", ["cannot be read"]),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path, content, words):
    path = tmp_path / "wrong.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    assert "wrong.yaml" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_missing_file_and_preset_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml does not exist"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"Did you mean umea-gan-paired\?"):
        load_recipe("umea-gan-pared")


def test_defaults_are_written_out(path):
    content = load_recipe(path).to_dict()
    assert content["data"]["planes"] == ["axial"]
    assert content["training"]["steps"] is None
    assert recipe_from_dict(content) == load_recipe(path)
