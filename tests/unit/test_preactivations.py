import pytest
import torch
from torch import nn

from feature_alignment.models.mlp import mlp
from feature_alignment.tangents.preactivations import preactivation_covariances

from reference.ansatz import covariance


def network(activation="relu", bias=False, hidden_layers=3, width=7):
    draw = torch.Generator().manual_seed(0)
    return mlp(
        12,
        hidden_layers,
        width,
        3,
        bias=bias,
        activation=activation,
        initialisation="he_normal",
        generator=draw,
    ).double()


INPUTS = torch.randn(11, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "identity"])
@pytest.mark.parametrize("bias", [False, True])
def test_equals_brute_force_jacobians(activation, bias):
    net = network(activation, bias)
    found = preactivation_covariances(net, [INPUTS])
    assert list(found) == ["linear1", "linear2", "linear3"]
    for layer, value in found.items():
        expected = covariance(net, INPUTS, layer)
        # float64 rounding only: both routes sum 33 products of a few factors
        assert (value - expected).norm() < 1e-12 * expected.norm()


@pytest.mark.parametrize("width", [1, 7, 8])
@pytest.mark.parametrize("hidden_layers", [1, 2])
def test_any_width_and_depth(width, hidden_layers):
    net = network(hidden_layers=hidden_layers, width=width)
    for layer, value in preactivation_covariances(net, [INPUTS]).items():
        torch.testing.assert_close(value, covariance(net, INPUTS, layer), rtol=1e-12, atol=1e-14)


def test_batches_do_not_matter():
    net = network()
    whole = preactivation_covariances(net, [INPUTS])
    for layer, value in preactivation_covariances(net, INPUTS.split(4)).items():
        torch.testing.assert_close(value, whole[layer], rtol=1e-13, atol=0)


def test_linear_network_has_the_closed_form():
    net = network("identity", hidden_layers=2)
    downstream = net.linear3.weight @ net.linear2.weight
    expected = len(INPUTS) * downstream.T @ downstream
    found = preactivation_covariances(net, [INPUTS])["linear1"]
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=0)


def test_is_symmetric_and_positive_semidefinite():
    for value in preactivation_covariances(network(), [INPUTS]).values():
        torch.testing.assert_close(value, value.T, rtol=0, atol=1e-12)
        assert torch.linalg.eigvalsh(value).min() > -1e-12


def test_leaves_the_network_alone():
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    preactivation_covariances(net, [INPUTS])
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_names_a_module_that_is_no_part_of_a_chain():
    net = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="'1' is Softmax"):
        preactivation_covariances(net, [torch.randn(2, 4)])


@pytest.mark.parametrize(
    "layers", [[nn.Linear(4, 2)], [nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), nn.ReLU()]]
)
def test_wants_a_hidden_layer_and_a_linear_readout(layers):
    with pytest.raises(ValueError, match="linear layer at the end"):
        preactivation_covariances(nn.Sequential(*layers), [torch.randn(2, 4)])
