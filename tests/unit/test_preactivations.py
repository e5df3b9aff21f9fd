import re
from functools import partial

import pytest
import torch
from tangent_cases import CASES, assert_equal, build, perceptron, points
from torch import nn
from torch.nn import functional as F

from feature_alignment.tangents.preactivations import graph_covariances, preactivation_covariances

from reference import kernels as reference
from reference.ansatz import covariance as by_jacobians

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

INPUTS = points(11, 3, 2, 2)
network = partial(perceptron, False)
GROUPED = "strides, groups, dilation"
PROJECTION = re.compile(r"self_attn(\.out_proj)?$")
GRAPHS = [case for case in CASES if case not in (GROUPED, "sequences")]  # both have groups
DEAD = {
    "idle layers": ["dead"],
    "outputs that are all zero": ["only"],
    "resnet50": ["stage3.block3.conv1", "stage3.block5.conv1", "stage3.block5.conv2"],
}
"""Layers whose covariance is zero, as no unit behind them is ever active."""


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "identity"])
@pytest.mark.parametrize("bias", [False, True])
def test_chain_and_graph_equal_brute_force(activation, bias):
    net = perceptron(bias, activation)
    expected = reference.covariances(net, INPUTS)
    # float64 rounding only: every route sums 33 products of a few factors
    graph = graph_covariances(net, [INPUTS])
    assert_equal(graph, expected, within=1e-12)
    del expected["linear4"], graph["linear4"]
    assert list(expected) == ["linear1", "linear2", "linear3"]
    chain = preactivation_covariances(net, [INPUTS])
    assert_equal(chain, expected, within=1e-12)
    assert_equal(graph, chain, within=1e-12)
    assert_equal(chain, {layer: by_jacobians(net, INPUTS, layer) for layer in chain}, within=1e-12)


@pytest.mark.parametrize("width", [1, 7, 8])
@pytest.mark.parametrize("hidden_layers", [1, 2])
def test_any_width_and_depth(width, hidden_layers):
    net = network(hidden_layers=hidden_layers, width=width)
    for layer, value in preactivation_covariances(net, [INPUTS]).items():
        torch.testing.assert_close(value, by_jacobians(net, INPUTS, layer), rtol=1e-12, atol=1e-14)


def test_batches_do_not_matter():
    net = network()
    whole = preactivation_covariances(net, [INPUTS])
    for layer, value in preactivation_covariances(net, INPUTS.split(4)).items():
        torch.testing.assert_close(value, whole[layer], rtol=1e-13, atol=0)


def test_linear_network_has_the_closed_form():
    net = perceptron(activation="identity", hidden_layers=2)
    downstream = net.linear3.weight @ net.linear2.weight
    expected = len(INPUTS) * downstream.T @ downstream
    found = preactivation_covariances(net, [INPUTS])["linear1"]
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=0)


def test_is_symmetric_and_positive_semidefinite():
    for value in preactivation_covariances(network(), [INPUTS]).values():
        torch.testing.assert_close(value, value.T, rtol=0, atol=1e-12)
        assert torch.linalg.eigvalsh(value).min() > -1e-12


@pytest.mark.parametrize("covariances", [preactivation_covariances, graph_covariances])
def test_leaves_the_network_alone(covariances):
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = covariances(net, [INPUTS])
    assert not any(value.requires_grad for value in found.values())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_names_a_module_that_is_no_part_of_a_chain():
    net = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="'1' is a Softmax"):
        preactivation_covariances(net, [torch.randn(2, 4)])


@pytest.mark.parametrize(
    "layers", [[nn.Linear(4, 2)], [nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), nn.ReLU()]]
)
def test_wants_a_hidden_layer_and_a_linear_readout(layers):
    with pytest.raises(ValueError, match="linear layer at the end"):
        preactivation_covariances(nn.Sequential(*layers), [torch.randn(2, 4)])


@pytest.mark.parametrize("case", GRAPHS)
def test_graph_equals_the_sum_over_positions(case):
    net, inputs = build(case)
    found = graph_covariances(net, [inputs])
    expected = reference.covariances(net, inputs)
    # Projections of attention are layers that hooks of the oracle do not see
    found = {name: value for name, value in found.items() if not PROJECTION.search(name)}
    assert list(found) == list(expected)
    assert [name for name, value in expected.items() if not value.norm() > 0] == DEAD.get(case, [])
    assert_equal(found, expected)
    parts = graph_covariances(net, inputs.split(2))
    assert_equal({name: parts[name] for name in found}, found, within=1e-12)  # in batches
    for value in found.values():
        torch.testing.assert_close(value, value.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", GRAPHS)
def test_graph_is_in_the_precision_of_the_model(case):
    net, inputs = build(case)
    exact = graph_covariances(net, [inputs])
    for layer, value in graph_covariances(net.float(), [inputs.float()]).items():
        assert value.dtype == torch.float32
        # float32 gradients and sums of at most 15 360 terms
        assert (value - exact[layer]).norm() <= 1e-4 * exact[layer].norm()


class Unfolded(nn.Module):
    """A convolution written as the product of its weight matrix with patches, which it keeps."""

    def __init__(self, convolution):
        super().__init__()
        self.convolution = convolution

    def forward(self, x):
        conv = self.convolution
        patches = F.unfold(x, conv.kernel_size, conv.dilation, conv.padding, conv.stride)
        self.patches = patches.detach().requires_grad_()  # (n, in · kernel positions, positions)
        output = conv.weight.flatten(1) @ self.patches
        if conv.bias is not None:
            output = output + conv.bias[:, None]
        return output.reshape(conv(x).shape)


@pytest.mark.parametrize(
    "case",
    [
        "vgg11 with a hidden layer and dropout",
        "strides and pools",
        "shortcut and shared ReLU",
        "strides and ReLUs",
        "residual block that reshapes",
    ],
)
def test_weights_turn_it_into_the_gram_of_gradients_in_patches(case):
    net, inputs = build(case)
    found = graph_covariances(net, inputs.split(2))
    convolutions = {
        layer: net.get_submodule(layer)
        for layer in found
        if isinstance(net.get_submodule(layer), nn.Conv2d)
    }
    assert len(convolutions) >= (2 if case == "strides and ReLUs" else 3)
    for layer, convolution in convolutions.items():
        unfolded = Unfolded(convolution)
        net.set_submodule(layer, unfolded)
        outputs = net(inputs)
        gram = 0
        for output in outputs.T:
            (gradient,) = torch.autograd.grad(output.sum(), unfolded.patches, retain_graph=True)
            gram = gram + torch.einsum("nis,njs->ij", gradient, gradient)
        net.set_submodule(layer, convolution)
        torch.testing.assert_close(outputs, net(inputs), rtol=1e-10, atol=1e-12)
        weight = convolution.weight.detach().flatten(1)
        assert gram.norm() > 0
        assert_equal({layer: weight.T @ found[layer] @ weight}, {layer: gram})


@pytest.mark.parametrize(
    "case",
    [
        "mlp",
        "vgg11",
        "vgg11 with a hidden layer and dropout",
        "strides and pools",
        "shortcut and shared ReLU",
        "tokens of a chain",
        "resnet18",
        "linear on a grid",
        "tokens",
    ],
)
def test_graph_of_a_linear_head_counts_the_examples(case):
    net, inputs = build(case)
    head = list(graph_covariances(net, inputs.split(2)).values())[-1]
    assert torch.equal(head, len(inputs) * torch.eye(3, dtype=torch.float64))


def test_graph_leaves_out_what_no_output_depends_on_and_keeps_dead_layers():
    net, inputs = build("idle layers")
    found = graph_covariances(net, [inputs])
    assert list(found) == ["used", "dead"]
    assert torch.equal(found["dead"], torch.zeros(5, 5, dtype=torch.float64))
    assert found["used"].norm() > 0


def test_graph_refuses_dropout_that_is_on():
    net, inputs = build("vgg11 with a hidden layer and dropout")
    with pytest.raises(ValueError, match=r"dropout 'dropout1' is on; call model.eval\(\)"):
        graph_covariances(net.train(), [inputs])


def test_graph_refuses_groups():
    net, inputs = build(GROUPED)
    with pytest.raises(ValueError, match="convolution '0' has 2 groups.*use groups=1"):
        graph_covariances(net, [inputs])


def test_graph_refuses_layers_it_does_not_know():
    net = nn.Sequential(nn.Bilinear(2, 3, 2), nn.Flatten(), nn.Linear(75, 2))
    with pytest.raises(ValueError, match="'0' is a Bilinear"):
        graph_covariances(net, [torch.randn(3, 2, 4, 4)])


def test_graph_wants_a_batch():
    with pytest.raises(ValueError, match="at least one batch of inputs"):
        graph_covariances(network(), [])
