"""Rare classes of a label map weigh more in a regression's loss, up to a limit."""

import pytest
import torch

from synthct.errors import UserError
from synthct.methods.label_input import rare_class_weight
from synthct.methods.registry import build_method
from synthct.recipe import load_recipe

SMALL = {
    "data.size": [16, 16],
    "data.input_scaling": "{name: one-hot, classes: 8}",
    "generator.width": "4-8",
    "generator.norm": "none",
    "training.batch": 2,
}


def test_weights_are_inverse_shares_inside_the_mask_up_to_the_limit():
    labels = torch.tensor([[3.0] * 40 + [0.0] * 10 + [4.0] * 2 + [5.0] + [6.0] * 47])
    weights = rare_class_weight(labels, (labels != 6).float(), 8, 30)
    assert weights[labels == 3].tolist() == [1] * 40 and weights[labels == 0].tolist() == [4] * 10
    assert weights[labels == 4].tolist() == [20] * 2 and weights[labels == 5].tolist() == [30]
    assert rare_class_weight(labels, None, 8, 30)[0, 0] == pytest.approx(47 / 40)
    assert (rare_class_weight(labels, torch.zeros_like(labels), 8, 30) == 1).all()


def method(weight, neighbours=1, **overrides):
    options = {**SMALL, "data.neighbours": neighbours, "method.rare_class_weight": weight, **overrides}
    return build_method(load_recipe("synthct-labels-unet", options))


def loss_of(built, batch):
    losses = built.training_step(batch, lambda name, loss: None, 0.0)
    return float(losses["l1"])


@pytest.mark.parametrize("neighbours", [0, 1])
def test_the_loss_is_the_weighted_mean_by_the_middle_slice(neighbours):
    labels = torch.full((2, 2 * neighbours + 1, 16, 16), 3.0)
    labels[:, neighbours, 4:6, 4:6] = 5
    if neighbours:
        labels[:, 0] = 5  # neither neighbour counts
    batch = {"input": labels, "target": torch.zeros(2, 1, 16, 16), "mask": torch.ones(2, 1, 16, 16)}
    batch["mask"][:, :, 0] = 0
    built = method(20.0, neighbours)
    with torch.no_grad():
        error = built.networks["generator"](labels).abs()
    nodule = labels[:, neighbours : neighbours + 1] == 5
    weight = torch.where(nodule, 20.0, 1.0) * batch["mask"]
    assert loss_of(built, batch) == pytest.approx(float((weight * error).sum() / weight.sum()), rel=1e-5)
    plain = method(1.0, neighbours)
    assert loss_of(plain, batch) == pytest.approx(float((batch["mask"] * error).sum() / batch["mask"].sum()), rel=1e-5)


def test_without_a_limit_every_class_counts_as_much_as_the_commonest():
    labels = torch.zeros(2, 1, 16, 16)
    labels[:, :, 6:9, 6:9] = 5
    weight = rare_class_weight(labels, None, 8, 1000.0)
    assert float(weight[labels == 5].sum()) == pytest.approx(float(weight[labels == 0].sum()))


def test_only_label_maps_by_one_hot_have_classes():
    with pytest.raises(UserError, match="rare_class_weight"):
        method(0.5)
    with pytest.raises(UserError, match="rare_class_weight"):
        method(20.0, **{"data.input_scaling": "{name: lidc-label}"})
    with pytest.raises(UserError, match="rare_class_weight"):
        build_method(load_recipe("synthct-unet", {"method.rare_class_weight": 20}))
