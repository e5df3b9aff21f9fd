import math

import pytest
import torch
from torch import nn

from feature_alignment.models.mlp import mlp


def build(initialisation="pytorch", **options):
    draw = torch.Generator().manual_seed(0)
    return mlp(300, 2, 400, 10, initialisation=initialisation, generator=draw, **options)


def test_layers_are_named_by_depth_and_share_nothing():
    net = build()
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters() if "weight" in name}
    assert shapes == {
        "linear1.weight": (400, 300),
        "linear2.weight": (400, 400),
        "linear3.weight": (10, 400),
    }
    assert len({p.data_ptr() for p in net.parameters()}) == 6


def test_without_bias_there_is_none():
    assert not [name for name, _ in build(bias=False).named_parameters() if "bias" in name]


@pytest.mark.parametrize(
    "initialisation, deviation",
    [
        ("pytorch", 1 / math.sqrt(3 * 300)),
        ("he_normal", math.sqrt(2 / 300)),
        ("xavier_normal", math.sqrt(2 / 700)),
        ("torchvision_vgg", 0.01),
    ],
)
def test_weights_have_the_stated_deviation(initialisation, deviation):
    weight = build(initialisation).linear1.weight
    # 120 000 draws: the relative error of the deviation is about 0.2 %
    assert weight.std().item() == pytest.approx(deviation, rel=0.01)
    assert abs(weight.mean().item()) < 5 * deviation / math.sqrt(weight.numel())


def test_pytorch_initialisation_is_that_of_torch():
    bound = build("pytorch").linear1.weight.abs().max().item()
    theirs = nn.Linear(300, 400).weight.abs().max().item()
    assert bound == pytest.approx(theirs, rel=1e-3)
    assert bound <= 1 / math.sqrt(300)


def test_unknown_activations_are_errors_that_list_the_known():
    with pytest.raises(ValueError, match="unknown activation 'rely'.*relu"):
        build(activation="rely")
