"""Linearised and adaptive models against derivatives taken by torch.func."""

import pytest
import torch
from tangent_cases import build, perceptron, points
from torch import nn
from torch.func import functional_call, jvp

from feature_alignment.tangents.adaptive import AdaptiveLinear, AdaptiveModel, adaptive_kernel
from feature_alignment.tangents.features import Explicit, Factored, stored_values, tangent_features
from feature_alignment.tangents.kernels import tangent_kernel
from feature_alignment.tangents.linearized import LinearizedModel, row_space

# torch's forward differentiation compiles its own rules in a way that it calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")

KINDS = [LinearizedModel, AdaptiveModel]


NETWORKS = ["mlp", "mlp without bias", "cnn", "strides and ReLUs"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomise(model: nn.Module, seed: int = 1) -> None:
    draw = generator(seed)
    with torch.no_grad():
        for parameter in model.displacements.parameters():
            parameter.normal_(0, 0.3, generator=draw)


def along(network: nn.Sequential, delta: dict[str, torch.Tensor], inputs: torch.Tensor):
    """Return f(x; θ0) + J(x) δ by forward differentiation."""
    start = {name: parameter.detach() for name, parameter in network.named_parameters()}
    outputs, derivative = jvp(
        lambda parameters: functional_call(network, parameters, (inputs,)), (start,), (delta,)
    )
    return outputs + derivative


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_model_is_the_derivative_along_its_delta(name, kind):
    network, inputs = build(name, 9)
    model = kind(network)
    randomise(model)
    outputs = model(model.base_pass(inputs))
    delta = model.delta()
    assert {key: value.shape for key, value in delta.items()} == {
        key: value.shape for key, value in network.named_parameters()
    }
    assert all(value.abs().min() > 0 for value in delta.values())
    torch.testing.assert_close(outputs, along(network, delta, inputs), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_stored_features_give_the_same_outputs_and_gradients(name, kind):
    network, inputs = build(name, 120)
    model = kind(network)
    randomise(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found = []
    for stored in (model.base_pass(inputs), tangent_features(network, inputs)):
        outputs = model(stored)
        found.append((outputs, *torch.autograd.grad(outputs.square().sum(), trained)))
        torch.testing.assert_close(model(stored[torch.tensor([5, 0])]), outputs[[5, 0]])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


def test_features_are_stored_in_the_smaller_form():
    network, inputs = build("cnn", 2)
    kinds = {name: type(part) for name, part in tangent_features(network, inputs).layers.items()}
    assert kinds["conv1"] is Explicit  # 5 · 56 numbers instead of 768 + 5 · 512
    assert kinds["conv4"] is Factored  # 5 · 1 168 numbers would be more than 32 + 5 · 64
    values = stored_values(network, inputs)
    everything = tangent_features(network, inputs)
    tensors = [everything.outputs]
    for part in everything.layers.values():
        tensors += [value for value in vars(part).values() if isinstance(value, torch.Tensor)]
    assert 2 * values == sum(tensor.numel() for tensor in tensors)


def test_features_of_other_layers_are_refused():
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)).double()
    with pytest.raises(ValueError, match="'1' is LayerNorm"):
        tangent_features(network, torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_models_start_at_the_network_and_leave_it_alone(name, kind):
    network, inputs = build(name, 4)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    model = kind(network)
    features = model.base_pass(inputs)
    torch.testing.assert_close(model(features), network(inputs), atol=1e-12, rtol=1e-12)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(features).square().sum().backward()
        optimizer.step()
    assert (model(features) - network(inputs)).abs().max() > 1e-3
    for key, value in before.items():
        assert torch.equal(network.state_dict()[key], value)
        assert torch.equal(model.base.state_dict()[key], value)


def test_delta_of_a_dense_layer_is_the_product_of_its_factors():
    layer = nn.Linear(5, 3).double()
    factors = AdaptiveLinear(layer)
    draw = generator()
    with torch.no_grad():
        for parameter in factors.parameters():
            parameter.normal_(generator=draw)
    first = torch.eye(5, dtype=torch.float64) + factors.shift1
    second = torch.eye(3, dtype=torch.float64) + factors.shift2
    torch.testing.assert_close(factors.weight, (first @ factors.core @ second).T)
    torch.testing.assert_close(factors.bias, factors.core_bias @ second)


def test_delta_of_a_convolution_is_the_sum_over_its_factors():
    model = AdaptiveModel(build("strides and ReLUs")[0])
    randomise(model)
    factors = model.displacements["0"]
    eye = {n: torch.eye(n, dtype=torch.float64) for n in (2, 3, 9)}
    kernel = torch.einsum(
        "Pp,Ii,oip,oO->PIO",
        eye[9] + factors.shift1,
        eye[2] + factors.shift2,
        factors.core,
        eye[3] + factors.shift3,
    )
    expected = kernel.permute(2, 1, 0).reshape(3, 2, 3, 3)
    torch.testing.assert_close(factors.weight, expected)


def test_adaptive_kernel_is_that_of_the_gradients_of_its_cores():
    network, inputs = perceptron(), points(5, 12)
    model = AdaptiveModel(network)
    expected = tangent_kernel(network, inputs)
    torch.testing.assert_close(adaptive_kernel(model, inputs), expected)
    randomise(model)
    found = adaptive_kernel(model, inputs)
    cores = [p for name, p in model.named_parameters() if "core" in name]
    outputs = model(model.base_pass(inputs)).flatten()
    rows = [torch.autograd.grad(value, cores, retain_graph=True) for value in outputs]
    jacobian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    torch.testing.assert_close(found.reshape(15, 15), jacobian @ jacobian.T, atol=1e-9, rtol=1e-9)
    assert (found - expected).abs().max() > 0.1


def test_adaptive_kernel_counts_what_lies_outside_the_basis():
    network = perceptron(inputs=30)
    draw = generator(5)
    inputs = torch.randn(6, 30, generator=draw, dtype=torch.float64)
    narrow = AdaptiveModel(network, row_space(inputs[:4]))
    randomise(narrow)
    wide = AdaptiveModel(network)
    first = next(iter(wide.displacements))
    with torch.no_grad():
        for name, parameter in wide.displacements.named_parameters():
            given = narrow.displacements.get_parameter(name)
            if name == f"{first}.shift1":
                given = narrow.basis @ given @ narrow.basis.T
            elif name == f"{first}.core":
                given = narrow.basis @ given
            parameter.copy_(given)
    others = torch.randn(5, 30, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(adaptive_kernel(narrow, others), adaptive_kernel(wide, others))


def test_adaptive_kernel_of_convolutions_is_refused():
    network, inputs = build("cnn")
    with pytest.raises(ValueError, match="'conv1' is no linear layer"):
        adaptive_kernel(AdaptiveModel(network), inputs)


def test_both_orders_of_the_product_agree():
    model = AdaptiveModel(perceptron(inputs=40))
    randomise(model)
    features = model.base_pass(torch.randn(500, 40, generator=generator(4), dtype=torch.float64))
    few = torch.cat([model(part) for part in features.split(5)])  # factor by factor
    torch.testing.assert_close(few, model(features))


@pytest.mark.parametrize("kind", KINDS)
def test_training_in_the_row_space_takes_the_same_way(kind):
    network = perceptron(inputs=30)
    draw = generator(5)
    mixing = torch.randn(8, 30, generator=draw, dtype=torch.float64)
    inputs = torch.randn(20, 8, generator=draw, dtype=torch.float64) @ mixing
    others = torch.randn(50, 30, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 3, (20,), generator=draw)
    basis = row_space(inputs)
    assert basis.shape == (30, 8)
    outputs, deltas = [], []
    for chosen in (None, basis):
        model = kind(network, chosen)
        features, held_out = model.base_pass(inputs), model.base_pass(others)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9, weight_decay=1e-3)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(features), labels).backward()
            optimizer.step()
        outputs.append(model(held_out))
        deltas.append(model.delta())
    assert (outputs[0] - network(others)).abs().max() > 0.1
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-9, rtol=1e-9)
    for name, delta in deltas[0].items():
        torch.testing.assert_close(delta, deltas[1][name], atol=1e-9, rtol=1e-9)


def test_base_pass_is_indexed_like_its_examples():
    network, inputs = build("cnn", 7)
    model = LinearizedModel(network)
    randomise(model)
    everything = model.base_pass(inputs)
    assert len(everything) == 7
    chosen = torch.tensor([5, 0, 5])
    torch.testing.assert_close(model(everything[chosen]), model(everything)[chosen])
    parts = list(everything.split(3))
    assert [len(part) for part in parts] == [3, 3, 1]
    torch.testing.assert_close(torch.cat([model(part) for part in parts]), model(everything))


def test_unknown_module_is_named():
    with pytest.raises(ValueError, match=r"'0' is a GELU; tangent models are known for"):
        LinearizedModel(nn.Sequential(nn.GELU(), nn.Linear(2, 2)))


def test_basis_must_fit():
    with pytest.raises(ValueError, match=r"expected a basis .*\(5, 2\)"):
        LinearizedModel(perceptron(), torch.zeros(5, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="linear first layer"):
        LinearizedModel(build("cnn")[0], torch.zeros(3, 2, dtype=torch.float64))


def test_grouped_convolutions_are_refused():
    with pytest.raises(ValueError, match="without groups"):
        AdaptiveModel(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Flatten()))


def test_layers_must_have_a_relu_between_them():
    with pytest.raises(ValueError, match="expected a ReLU between '1' and the layer before it"):
        LinearizedModel(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)))
