"""Every preset: readable, complete, buildable at its published size without memory, its numbers with a source."""

import re

import pytest
import torch
import yaml

from synthct.errors import UserError
from synthct.methods.noise import draw_latents, latent_shape_of, pair_channels
from synthct.methods.registry import build_method
from synthct.recipe import CLASS_TASK, NOISE_TASK, PRESETS, load_recipe, preset_names, recipe_from_dict
from synthct.volumes.scaling import make_scaling


@pytest.fixture(params=preset_names())
def name(request):
    return request.param


def test_every_published_configuration_has_its_preset():
    published = {"umea-gan", "umea-gan-paired", "umea-cyclegan-unet", "umea-cyclegan-resnet", "umea-wgan"}
    assert published | {
        "synthct-unet",
        "synthct-resenc-3d",
        "synthct-wgan-gp",
        "synthct-pix2pix",
        "pix2pix",
        "synthct-gan-paired",
        "synthct-cyclegan",
        "synthct-selfreg",
        "synthct-ct-tissues",
        "linkoping-pix2pix-labels",
        "linkoping-cyclegan-labels",
        "synthct-labels-unet",
        "synthct-labels-pix2pix",
        "synthct-labels-3d",
        "oslo-stylegan2",
        "oslo-fastgan",
        "synthct-stylegan2",
        "synthct-fastgan",
        "lecture-dcgan-nodules",
        "lecture-cgan-nodules",
        "synthct-features-resnet",
    } <= set(preset_names())


def test_preset_round_trips(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name
    path = tmp_path / "copy.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()), encoding="utf-8")
    assert load_recipe(path) == recipe == recipe_from_dict(recipe.to_dict())


def test_preset_builds_at_its_full_size(name):
    recipe = load_recipe(name)
    make_scaling(recipe.data.input_scaling)
    make_scaling(recipe.data.target_scaling)
    with torch.device("meta"):
        method = build_method(recipe)
        if recipe.task == NOISE_TASK:
            generator = method.networks["generator"]
            latents = draw_latents(latent_shape_of(generator), 2, device="meta")
            classes = torch.zeros(2, dtype=torch.int64) if recipe.data.classes else None
            assert generator(latents, classes).shape == (2, pair_channels(recipe.data), *recipe.data.size)
            assert (generator.dimensions, generator.classes) == (len(recipe.data.size), len(recipe.data.classes))
            return
        images = torch.empty(2, 2 * recipe.data.neighbours + 1, *recipe.data.size)
        outputs = len(method.classes) or 1
        if recipe.task == CLASS_TASK:
            assert method.networks["classifier"](images).shape == (2, outputs)
            return
        assert method.networks[method.generator_role](images).shape == (2, outputs, *recipe.data.size)
    assert method.paired == recipe.data.paired


def test_preset_refuses_unknown_options(name):
    role = next(iter(load_recipe(name).networks))
    for section in ("networks", "optimisers"):
        content = load_recipe(name).to_dict()
        content[section][role]["weird"] = 1
        with torch.device("meta"), pytest.raises(UserError, match=rf"{section}.{role}.*weird"):
            build_method(recipe_from_dict(content))
    content = load_recipe(name).to_dict()
    content["method"]["weird"] = 1
    with torch.device("meta"), pytest.raises(UserError, match=r"method.*weird"):
        build_method(recipe_from_dict(content))


def test_published_numbers_carry_their_source():
    """Each line with a number or choice of a published preset ends in a comment, or repeats a line that has one."""
    published = ("umea-*.yaml", "linkoping-*.yaml", "lecture-*.yaml", "oslo-*.yaml", "pix2pix.yaml")
    for path in [path for pattern in published for path in PRESETS.glob(pattern)]:
        for line in path.read_text(encoding="utf-8").splitlines():
            bare = re.fullmatch(r"\s*(\w+):\s*(\S.*)", line)
            if bare and "#" not in line:
                assert bare[1] in ("name", "source", "task", "seed"), f"{path.name}: {line}"


def test_umea_gan_is_row_a4():
    recipe = load_recipe("umea-gan")
    for role in ("generator", "discriminator"):
        entry = recipe.optimisers[role]
        assert (entry["name"], entry["lr"], entry["beta1"]) == ("nadam", 2e-5, 0.9)
    assert (recipe.training.batch, recipe.training.epochs, recipe.training.ema) == (14, 150, None)
    assert recipe.data.size == (256, 256)
    assert not recipe.data.paired
    assert recipe.method["label_noise"] == 0.01
    assert recipe.networks["discriminator"]["name"] == "d-disc"
    paired = load_recipe("umea-gan-paired")
    assert paired.data.paired
    assert (paired.method["mae"], paired.method["mae_weight"]) == ("paired", 100)
    assert paired.networks == recipe.networks
    assert paired.optimisers == recipe.optimisers


def test_umea_wgan_is_row_a6():
    recipe, gan = load_recipe("umea-wgan"), load_recipe("umea-gan")
    assert (recipe.method["constraint"], recipe.method["clip"]) == ("clip", 0.001)
    assert recipe.method["critic_updates"] == 4
    assert recipe.networks["critic"] == gan.networks["discriminator"]
    assert recipe.networks["generator"] == {**gan.networks["generator"], "output": "linear"}
    assert recipe.optimisers == {"generator": gan.optimisers["generator"], "critic": gan.optimisers["discriminator"]}
    assert recipe.training == gan.training


def test_oslo_vanilla_gans_and_wgans_are_rows_c4_and_c5():
    """The tables of the thesis: blocks, sizes, optimisers, rates, clip, penalty, batch, epochs of one image each."""
    first, second = load_recipe("oslo-vanilla-gan-1"), load_recipe("oslo-vanilla-gan-2")
    wgans = {name: load_recipe(f"oslo-wgan-{name}") for name in ("clip-3d", "gp-3d", "clip-2d", "gp-2d")}
    assert [first.data.size, second.data.size] == [(16, 16, 16), (54, 154, 154)]
    assert [len(r.networks["generator"]["filters"].split("-")) for r in (first, second)] == [7, 4]
    rates = [[recipe.optimisers[role]["lr"] for role in recipe.optimisers] for recipe in (first, second)]
    assert rates == [[1e-4, 1e-4], [2e-4, 1e-4]]
    for name, recipe in wgans.items():
        flat = name.endswith("2d")
        assert recipe.data.size == ((1024, 3680) if flat else second.data.size), name
        assert (recipe.data.fit, recipe.data.masks) == (("montage", "none") if flat else ("centre", "joined")), name
        assert [entry["name"] for entry in recipe.optimisers.values()] == ["rmsprop"] * 2, name
        assert [entry["lr"] for entry in recipe.optimisers.values()] == [2e-4, 1e-4], name
        assert recipe.networks["generator"] == second.networks["generator"], name
        assert recipe.method["critic_updates"] == 1, name
        wanted = ("penalty_weight", 10) if name.startswith("gp") else ("clip", 0.01)
        assert recipe.method[wanted[0]] == wanted[1], name
    for recipe in (first, second, *wgans.values()):
        assert (recipe.training.batch, recipe.training.steps, recipe.training.ema) == (1, 200, None)


def test_lecture_dcgan_is_row_d1():
    recipe, told = load_recipe("lecture-dcgan-nodules"), load_recipe("lecture-cgan-nodules")
    assert (recipe.method["latent"], recipe.data.size, recipe.data.masks) == (100, (56, 56), "none")
    for role in ("generator", "discriminator"):
        entry = recipe.optimisers[role]
        assert (entry["name"], entry["lr"], entry["beta1"]) == ("adam", 2e-4, 0.5)
        assert (recipe.networks[role]["norm"], recipe.networks[role]["initialisation"]) == ("batch", "normal")
    assert told.data.classes == ("benign", "malignant")
    assert (told.optimisers, told.training) == (recipe.optimisers, recipe.training)


def test_pix2pix_is_as_published():
    recipe = load_recipe("pix2pix")
    assert recipe.data.paired
    assert (recipe.method["l1_weight"], recipe.method["generator_loss"]) == (100, "non-saturating")
    assert [recipe.networks[role]["norm"] for role in ("generator", "discriminator")] == ["batch", "batch"]
    assert (recipe.networks["generator"]["depth"], recipe.networks["generator"]["dropout"]) == (8, 0.5)
    for entry in recipe.optimisers.values():
        assert (entry["name"], entry["lr"], entry["beta1"]) == ("adam", 2e-4, 0.5)
    assert (recipe.training.batch, recipe.training.epochs) == (1, 200)
    assert load_recipe("synthct-pix2pix").networks["generator"]["upsampling"] == "resize"


def test_own_wgan_has_the_gradient_penalty_that_the_thesis_asks_for():
    recipe, unet = load_recipe("synthct-wgan-gp"), load_recipe("synthct-unet")
    assert (recipe.method["constraint"], recipe.method["penalty_weight"]) == ("penalty", 10)
    assert recipe.networks["critic"]["norm"] == "none"
    assert recipe.networks["generator"] == unet.networks["generator"]
    assert (recipe.data, recipe.preparation) == (unet.data, unet.preparation)


@pytest.mark.parametrize(
    ("weight", "identity", "rate"), [("1", "1", "2e-5"), ("10", "0.1", "2e-3"), ("5", "null", "2e-4")]
)
def test_what_the_thesis_tried_with_its_cyclegan_can_be_asked_for(weight, identity, rate):
    overrides = {"cycle_weight": weight, "identity_weight": identity}
    overrides |= {f"optimisers.{role}.lr": rate for role in ("generator", "discriminator")}
    recipe = load_recipe("umea-cyclegan-unet", overrides)
    with torch.device("meta"):
        method = build_method(recipe)
    assert method.cycle_weight(0.5) == float(weight)
    assert recipe.method["identity_weight"] == (None if identity == "null" else float(identity))
    assert [optimiser.param_groups[0]["lr"] for optimiser in method.optimisers.values()] == [float(rate)] * 2


@pytest.mark.parametrize("generator", ["unet", "resnet"])
def test_umea_cyclegan_is_row_a7(generator):
    recipe = load_recipe(f"umea-cyclegan-{generator}")
    for role in ("generator", "discriminator"):
        entry = recipe.optimisers[role]
        assert (entry["name"], entry["lr"], entry["beta1"]) == ("adam", 2e-4, 0.9)
    assert (recipe.training.batch, recipe.training.epochs) == (9, 100)
    assert recipe.networks["generator"]["name"] == generator
    assert (recipe.method["cycle_weight"], recipe.method["identity_weight"]) == (10, 1)
    assert recipe.method["cycle_weight_end"] is None


def test_own_cyclegan_has_what_the_thesis_lacked():
    recipe = load_recipe("synthct-cyclegan")
    assert recipe.optimisers["generator"]["beta1"] == 0.5
    assert recipe.method["pool"] == 50
    assert recipe.method["cycle_weight_end"] < recipe.method["cycle_weight"]
    assert recipe.training.ema


def test_generator_losses_are_stated():
    for name in ("umea-gan", "umea-gan-paired", "synthct-gan-paired", "pix2pix", "synthct-pix2pix", "synthct-selfreg"):
        assert load_recipe(name).method["generator_loss"] == "non-saturating", name


def test_tissues_are_found_in_what_the_regression_gives():
    unet, tissues = load_recipe("synthct-unet"), load_recipe("synthct-ct-tissues")
    assert tissues.data.target_scaling == unet.data.target_scaling
    assert (tissues.data.size, tissues.preparation) == (unet.data.size, unet.preparation)
    overrides = {
        "method.feature_weight": "1",
        "method.feature_model": "RUN",
        "networks.features": str(tissues.networks["segmenter"]),
    }
    with torch.device("meta"):
        method = build_method(load_recipe("synthct-unet", overrides))
    assert [str(path) for path in method.pretrained.values()] == ["RUN"]


def test_refinement_begins_where_the_regression_ends():
    unet, gan = load_recipe("synthct-unet"), load_recipe("synthct-gan-paired")
    assert gan.networks["generator"] == unet.networks["generator"]
    assert (gan.data, gan.preparation) == (unet.data, unet.preparation)


def test_own_3d_baseline_differs_from_the_2d_one_in_the_network_alone():
    recipe, unet = load_recipe("synthct-resenc-3d"), load_recipe("synthct-unet")
    assert recipe.method == unet.method
    assert recipe.preparation == unet.preparation
    assert (recipe.data.input_scaling, recipe.data.target_scaling) == (
        unet.data.input_scaling,
        unet.data.target_scaling,
    )
    assert len(recipe.data.size) == 3
