import warnings

import pytest
import torch
from nngeometry import GramMatrix, Jacobian
from nngeometry.backend import TorchHooksJacobianBackend
from nngeometry.layercollection import LayerCollection
from nngeometry.object import FMatDense, PMatDense
from nngeometry.object.vector import FVector
from torch import nn
from torch.nn import functional as F

from feature_alignment.measures.alignment import (
    alignment_of,
    centered_one_hot,
    kernel_alignment,
)
from feature_alignment.models.convolutional import convolutional_network
from feature_alignment.models.mlp import mlp
from feature_alignment.models.resnet import ResidualBlock
from feature_alignment.tangents import gram
from feature_alignment.tangents.kernels import (
    center_kernel,
    iterate_layer_kernels,
    layer_kernels,
    layer_traces,
    summarise_kernels,
    tangent_kernel,
)

from reference import kernels as reference

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


def randomised(network, seed=0):
    """Give every parameter and running statistic of the network a random float64 value."""
    draw = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    for module in network.modules():
        for value in module.parameters(recurse=False):
            fan_in = value[0].numel() if value.ndim > 1 else 4
            value.data.normal_(0, fan_in**-0.5, generator=draw)
        if isinstance(module, NORMS) and module.weight is not None:
            module.weight.data.add_(1)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(generator=draw)
            module.running_var.uniform_(0.5, 2, generator=draw)
    return network


def points(*shape, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=draw)


def perceptron(bias=True, activation="relu", hidden_layers=3, outputs=3):
    return randomised(
        mlp(
            12,
            hidden_layers,
            7,
            outputs,
            bias=bias,
            activation=activation,
            initialisation="he_normal",
            generator=torch.Generator().manual_seed(0),
        )
    )


def convolutional(architecture, width=2, outputs=3, channels=3):
    return convolutional_network(
        architecture,
        channels,
        outputs,
        width=width,
        initialisation="he_normal",
        generator=torch.Generator().manual_seed(0),
    )


def chain(*modules):
    return randomised(nn.Sequential(*modules))


def without_shift(norm):
    norm.register_parameter("bias", None)
    return norm


def assert_equal(found, expected, scales=None):
    """Compare kernels relative to their own norm, or to the norms of ``scales``."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        # float64 rounding only: sums of products of a few hundred factors
        scale = (scales or expected)[name].norm()
        assert (found[name] - value).norm() <= 1e-10 * scale, name


class Tokens(nn.Module):
    """Linear layers on (n, T, d), attention among the tokens of an example, then their mean."""

    def __init__(self, inplace, bias):
        super().__init__()
        self.embed = nn.Linear(5, 6, bias=bias)
        self.query = nn.Linear(6, 6, bias=bias)
        self.key = nn.Linear(6, 6, bias=bias)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3, bias=bias)
        self.activation = nn.ReLU(inplace)

    def forward(self, x):
        x = self.activation(self.embed(x))
        weights = (self.query(x) @ self.key(x).transpose(1, 2)).softmax(dim=2)
        return self.head(self.norm(x + weights @ x).mean(dim=1))


class Graph(nn.Module):
    """A residual connection, an activation used thrice, gates, slices and concatenation."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(10, 3)
        self.first = nn.Linear(5, 6)
        self.second = nn.Linear(6, 6)
        self.gate = nn.Linear(6, 4)
        self.side = nn.Linear(2, 6, bias=False)
        self.activation = nn.Tanh()

    def forward(self, x):
        hidden = self.activation(self.first(x))
        hidden = hidden + self.activation(self.second(hidden)) + self.side(x[:, 1:3])
        gate = torch.sigmoid(self.gate(F.gelu(hidden)))
        hidden = self.activation(hidden)
        return self.head(torch.cat([hidden, gate * hidden[:, :4]], dim=1))


class InPlace(nn.Module):
    """Operations that overwrite what layers returned, or a part of it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu_(self.conv(x))
        x = self.norm(x)
        x[:, 1:3].mul_(0.5)
        x = F.relu_(x).mean(dim=(2, 3))
        x = self.linear(x)
        x += 1
        return self.head(F.elu_(x))


class Idle(nn.Module):
    """One layer that is never called, and one whose result is thrown away."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(4, 4)
        self.used = nn.Linear(12, 3)
        self.dropped = nn.Conv2d(3, 2, 2)

    def forward(self, x):
        self.dropped(x)
        return self.used(x.flatten(1))


class Scalar(nn.Module):
    """Outputs of which one depends on a layer that the others do not use."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 2)
        self.second = nn.Linear(5, 1)

    def forward(self, x):
        return torch.cat([self.first(x), self.second(x).tanh()], dim=1)


class Cut(nn.Module):
    """A layer on inputs without gradients, layers cut off by ``how``, and keyword arguments."""

    def __init__(self, how):
        super().__init__()
        self.cut = nn.Linear(5, 4)
        self.after = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)
        self.how = how

    def forward(self, x):
        if self.how == "detach":
            x = self.cut(x).relu().detach()
        elif self.how == "no_grad":
            with torch.no_grad():
                x = self.cut(x).relu()
        else:
            x = self.cut((x > 0).to(x.dtype))
        return self.head(input=self.after(x).relu_())


NETWORKS = {
    "mlp": lambda: (perceptron(), points(5, 3, 2, 2)),
    "mlp without bias": lambda: (perceptron(bias=False, activation="gelu"), points(5, 12)),
    "one linear layer": lambda: (randomised(nn.Linear(4, 3)), points(5, 4)),
    "one output": lambda: (perceptron(outputs=1), points(5, 12)),
    "one example": lambda: (perceptron(), points(1, 12)),
    "many outputs": lambda: (perceptron(outputs=23), points(2, 12)),
    "strides, groups, dilation": lambda: (
        chain(
            nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
            nn.ReLU(),
            nn.Conv2d(6, 12, (3, 2), padding=(2, 1), dilation=(2, 1), groups=6),
            nn.Tanh(),
            nn.Conv2d(12, 5, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(5, 3, (2, 3), stride=(2, 1), padding=(0, 2), bias=False),
            nn.Flatten(),
            nn.Linear(72, 3),
        ),
        points(4, 4, 11, 9),
    ),
    "strides that leave a rest": lambda: (
        chain(nn.Conv2d(2, 3, 2, stride=(3, 2), dilation=2), nn.Flatten(), nn.Linear(36, 3)),
        points(4, 2, 11, 10),
    ),
    "a convolution as the last layer": lambda: (
        chain(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 3, 5), nn.Flatten()),
        points(4, 2, 7, 7),
    ),
    "vgg11": lambda: (convolutional("vgg11").double(), points(3, 3, 32, 32)),
    "vgg11_bn": lambda: (randomised(convolutional("vgg11_bn")), points(3, 3, 32, 32)),
    "resnet18": lambda: (randomised(convolutional("resnet18")), points(2, 3, 8, 8)),
    "resnet50": lambda: (randomised(convolutional("resnet50", width=1)), points(2, 3, 8, 8)),
    "residual block that reshapes": lambda: (
        chain(ResidualBlock(3, [(4, 3, 2), (4, 3, 1)]), nn.Flatten(), nn.Linear(36, 3)),
        points(4, 3, 5, 5),
    ),
    "bottleneck block": lambda: (
        chain(ResidualBlock(4, [(2, 1, 1), (2, 3, 1), (4, 1, 1)]), nn.Flatten(), nn.Linear(100, 3)),
        points(4, 4, 5, 5),
    ),
    "layer norm over one dimension": lambda: (
        chain(nn.Linear(5, 6), nn.LayerNorm(6, eps=0.1), nn.Tanh(), nn.Linear(6, 3)),
        points(4, 5),
    ),
    "layer norm over all and some dimensions": lambda: (
        chain(
            nn.Conv2d(2, 3, 3, padding=1),
            nn.LayerNorm((3, 4, 5)),
            nn.GELU(),
            without_shift(nn.LayerNorm((4, 5))),
            nn.LayerNorm(5, elementwise_affine=False),
            nn.LayerNorm(5),
            nn.Flatten(),
            nn.Linear(60, 3),
        ),
        points(4, 2, 4, 5),
    ),
    "batch norms": lambda: (
        chain(
            nn.BatchNorm2d(2, eps=0.1),
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4, affine=False),
            nn.ReLU(inplace=True),
            nn.Flatten(2),
            without_shift(nn.BatchNorm1d(4)),
            nn.BatchNorm1d(4, eps=0.01),
            nn.Tanh(),
            nn.Flatten(),
            nn.BatchNorm1d(36),
            nn.Linear(36, 3),
        ),
        points(4, 2, 5, 5),
    ),
    "tokens": lambda: (randomised(Tokens(False, True)), points(4, 6, 5)),
    "as many tokens as examples, no bias": lambda: (
        randomised(Tokens(False, False)),
        points(4, 4, 5),
    ),
    "tokens, activation in place": lambda: (randomised(Tokens(True, True)), points(4, 6, 5)),
    "tokens, activation in place, no bias": lambda: (
        randomised(Tokens(True, False)),
        points(4, 6, 5),
    ),
    "linear on a grid": lambda: (
        chain(nn.Linear(2, 4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(48, 3)),
        points(4, 4, 3, 2),
    ),
    "graph": lambda: (randomised(Graph()), points(4, 5)),
    "in place": lambda: (randomised(InPlace()), points(4, 2, 4, 5)),
    "in place first": lambda: (chain(nn.ReLU(inplace=True), nn.Linear(5, 3)), points(4, 5)),
    "some outputs only": lambda: (randomised(Scalar()), points(4, 5)),
    "no dropout in evaluation": lambda: (
        chain(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 3)),
        points(4, 5),
    ),
}
for _mode in ("zeros", "reflect", "replicate", "circular"):
    NETWORKS[f"padding {_mode}"] = lambda mode=_mode: (
        chain(
            nn.Conv2d(2, 3, (3, 4), padding="same", dilation=(2, 1), padding_mode=mode),
            nn.Tanh(),
            nn.Conv2d(3, 2, (2, 3), padding=(2, 1), padding_mode=mode),
            nn.Conv2d(2, 2, (4, 3), padding="valid", padding_mode=mode),
            nn.Flatten(),
            nn.Linear(50, 3),
        ),
        points(4, 2, 5, 7),
    )
for _how in ("detach", "no_grad", "binary inputs"):
    NETWORKS[f"cut by {_how}"] = lambda how=_how: (randomised(Cut(how)), points(4, 5))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("case", NETWORKS)
def test_equals_brute_force_jacobians(case):
    network, inputs = NETWORKS[case]()
    kept = inputs.clone()
    found = layer_kernels(network, inputs)
    assert torch.equal(inputs, kept)
    assert_equal(found, reference.layer_kernels(network, kept))


def test_normalisations_change_the_kernels_they_are_tested_on():
    # running statistics and eps far from their defaults, so that ignoring them would be noticed
    network, inputs = NETWORKS["batch norms"]()
    before = layer_kernels(network, inputs)
    network[0].eps = 1e-5
    network[6].running_var *= 2
    after = layer_kernels(network, inputs)
    for name in ("0", "6"):
        assert (after[name] - before[name]).norm() > 1e-3 * before[name].norm()


def test_layers_come_in_the_order_of_the_calls():
    assert list(layer_kernels(randomised(Graph()), points(4, 5))) == [
        "first",
        "second",
        "side",
        "gate",
        "head",
    ]


def test_layers_that_reach_no_output_have_zero_kernels():
    network, inputs = randomised(Idle()), points(4, 3, 2, 2)
    found = layer_kernels(network, inputs)
    assert list(found) == ["dropped", "used", "unused"]
    assert_equal(dict(found), reference.layer_kernels(network, inputs))
    for name in ("dropped", "unused"):
        assert torch.equal(found[name], torch.zeros(4, 3, 4, 3, dtype=torch.float64))
    summaries, total = summarise_kernels(network, inputs, points(4, 3))
    assert summaries["unused"] == summaries["dropped"]
    assert (summaries["unused"].norm, summaries["unused"].form) == (0, 0)
    assert_equal({"": total}, {"": found["used"]})
    traces = layer_traces(network, inputs)
    assert list(traces) == ["dropped", "used", "unused"]
    assert (traces["dropped"], traces["unused"]) == (0, 0)


@pytest.mark.parametrize("case", ["strides, groups, dilation", "padding reflect", "resnet18"])
def test_memory_format_does_not_matter(case):
    network, inputs = NETWORKS[case]()
    expected = layer_kernels(network, inputs)
    assert_equal(layer_kernels(network, inputs.to(memory_format=torch.channels_last)), expected)
    network = network.to(memory_format=torch.channels_last)
    assert_equal(layer_kernels(network, inputs.to(memory_format=torch.channels_last)), expected)
    assert_equal(layer_kernels(network, inputs.transpose(2, 3).contiguous().mT), expected)


def test_frozen_parameters_count():
    network, inputs = perceptron(), points(5, 12)
    expected = reference.layer_kernels(network, inputs)
    network.linear2.requires_grad_(False)
    network.linear3.bias.requires_grad_(False)
    assert_equal(layer_kernels(network, inputs), expected)
    network.requires_grad_(False)
    assert_equal(layer_kernels(network, inputs), expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_need_not_be_switched_on(mode):
    network, inputs = perceptron(), points(5, 12)
    expected = reference.layer_kernels(network, inputs)
    with mode():
        assert_equal(layer_kernels(network, inputs), expected)
        assert_equal(layer_kernels(network, points(5, 12)), expected)
        assert layer_traces(network, inputs).keys() == expected.keys()
        summarise_kernels(network, inputs, points(5, 3))


def test_results_carry_no_graph():
    network, inputs = perceptron(), points(5, 12).requires_grad_()
    assert not any(value.requires_grad for value in layer_kernels(network, inputs).values())
    assert not tangent_kernel(network, inputs).requires_grad
    assert not summarise_kernels(network, inputs, points(5, 3))[1].requires_grad


def test_a_generator_left_early_leaves_gradients_on():
    kernels = iterate_layer_kernels(perceptron(), points(5, 12))
    assert next(kernels)[0] == "linear1"
    assert torch.is_grad_enabled()
    kernels.close()
    assert torch.is_grad_enabled()


def state(network):
    values = {name: value.clone() for name, value in network.state_dict().items()}
    flags = [value.requires_grad for value in network.parameters()]
    return values, flags, [module.training for module in network.modules()]


def assert_untouched(network, before, gradients):
    values, flags, modes = state(network)
    assert all(torch.equal(values[name], value) for name, value in before[0].items())
    assert (flags, modes) == before[1:]
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        if gradient is None:
            assert parameter.grad is None
        else:
            assert torch.equal(parameter.grad, gradient)
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks


@pytest.mark.parametrize("case", ["mlp", "batch norms", "graph", "vgg11"])
def test_leaves_the_network_alone(case):
    network, inputs = NETWORKS[case]()
    if case != "batch norms":
        network.train()
    parameters = list(network.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
    before = state(network)
    layer_kernels(network, inputs)
    summarise_kernels(network, inputs, points(len(inputs), 3), centered=True)
    layer_traces(network, inputs)
    assert_untouched(network, before, gradients)
    assert not inputs.requires_grad
    assert inputs.grad is None


class Failing(nn.Module):
    def forward(self, x):
        raise ArithmeticError("no")


@pytest.mark.parametrize(
    "last, error", [(Failing(), ArithmeticError), (nn.Unflatten(1, (3, 1)), ValueError)]
)
def test_leaves_the_network_alone_after_an_error(last, error):
    network = chain(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3), last).train()
    before = state(network)
    with pytest.raises(error):
        layer_kernels(network, points(4, 5))
    assert_untouched(network, before, [None] * 4)


def test_hooks_of_others_stay():
    network, seen = perceptron(), []
    network.linear2.register_forward_hook(lambda *_: seen.append("forward"))
    layer_kernels(network, points(5, 12))
    assert seen == ["forward"]
    assert len(network.linear2._forward_hooks) == 1


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("budget", [1, 1000, 10**9])
@pytest.mark.parametrize("shape", [(5, 3, 4, 6, 7), (1, 1, 9, 2, 3), (6, 2, 1, 3, 1)])
def test_both_methods_are_the_sum_over_positions(shape, budget, bias):
    n, classes, outputs, size, positions = shape
    patches, gradients = points(n, size, positions), points(classes, n, outputs, positions)
    if bias:
        patches[:, -1] = 1
    expected = torch.einsum("ius,jut,cios,djot->cidj", patches, patches, gradients, gradients)
    for method in (gram._materialise, gram._contract):
        found = method(patches, gradients, budget)
        assert_equal({"": found}, {"": expected})
    assert_equal({"": gram.patch_gram(patches, gradients, budget)}, {"": expected})


@pytest.mark.parametrize(
    "forced, other", [("_materialise", "_contract"), ("_contract", "_materialise")]
)
@pytest.mark.parametrize(
    "case", ["strides, groups, dilation", "padding reflect", "vgg11", "tokens"]
)
def test_either_method_gives_the_kernels(case, forced, other, monkeypatch):
    network, inputs = NETWORKS[case]()
    expected = reference.layer_kernels(network, inputs)
    called = []
    method = getattr(gram, forced)
    monkeypatch.setattr(gram, "CONTRACTION_SPEED", 1e-12 if forced == "_materialise" else 1e12)
    monkeypatch.setattr(gram, forced, lambda *given: called.append(1) or method(*given))
    monkeypatch.setattr(gram, other, lambda *_: pytest.fail(f"{other} was chosen"))
    for budget in (0, 256):
        assert_equal(layer_kernels(network, inputs, budget_mib=budget), expected)
    monkeypatch.setattr(gram, "CACHED_BYTES", 1)
    assert_equal(layer_kernels(network, inputs), expected)
    assert called


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 33])
def test_gram_by_blocks_of_any_size(rows):
    values = points(1, rows, 5)
    flat = values[0]
    assert_equal({"": gram.row_gram(values)[0, :, 0]}, {"": flat @ flat.T})


IDENTITIES = ["mlp", "strides, groups, dilation", "batch norms", "tokens", "resnet18"]


@pytest.mark.parametrize("case", IDENTITIES)
@pytest.mark.parametrize("centered", [False, True])
def test_the_network_is_the_sum_of_its_layers(case, centered):
    network, inputs = NETWORKS[case]()
    rows = torch.cat(list(reference.jacobians(network, inputs).values()), dim=2)
    if centered:
        rows = rows - rows.mean(dim=0)
    flat = rows.flatten(0, 1)
    expected = {"": (flat @ flat.T).view(*rows.shape[:2], *rows.shape[:2])}
    layers = layer_kernels(network, inputs, centered=centered)
    assert_equal({"": sum(layers.values())}, expected)
    assert_equal({"": tangent_kernel(network, inputs, centered=centered)}, expected)


@pytest.mark.parametrize("case", IDENTITIES)
def test_centring_removes_the_mean_tangent_feature(case):
    network, inputs = NETWORKS[case]()
    plain = layer_kernels(network, inputs)
    centred = layer_kernels(network, inputs, centered=True)
    rows = reference.jacobians(network, inputs)
    expected = {name: reference.kernel(row - row.mean(dim=0)) for name, row in rows.items()}
    # rounding errors are those of the kernel before centring, which may be far larger
    assert_equal(centred, expected, plain)
    for kernels in (plain, centred):
        again = {name: center_kernel(value) for name, value in kernels.items()}
        assert_equal(again, centred, plain)
    for name, value in centred.items():
        assert value.mean(dim=0).norm() < 1e-14 * plain[name].norm()
        assert value.mean(dim=2).norm() < 1e-14 * plain[name].norm()


def test_centring_is_that_of_each_block_of_outputs():
    kernel = reference.kernel(points(5, 3, 20))
    centring = torch.eye(5, dtype=torch.float64) - 0.2
    for c in range(3):
        for d in range(3):
            found = center_kernel(kernel)[:, c, :, d]
            assert_equal({"": found}, {"": centring @ kernel[:, c, :, d] @ centring})


def test_a_centred_kernel_of_one_example_is_zero():
    network, inputs = NETWORKS["one example"]()
    assert all(not value.any() for value in layer_kernels(network, inputs, centered=True).values())


@pytest.mark.parametrize("case", IDENTITIES)
@pytest.mark.parametrize("centered", [False, True])
def test_kernels_are_symmetric_and_positive_semidefinite(case, centered):
    network, inputs = NETWORKS[case]()
    plain = layer_kernels(network, inputs)
    for name, value in layer_kernels(network, inputs, centered=centered).items():
        size = value.shape[0] * value.shape[1]
        matrix = value.reshape(size, size)
        rounding = 1e-14 * plain[name].norm().item()
        torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=rounding)
        assert torch.linalg.eigvalsh(matrix)[0] > -rounding


@pytest.mark.parametrize(
    "case", [*IDENTITIES, "layer norm over all and some dimensions", "one linear layer"]
)
def test_traces_are_those_of_the_kernels(case):
    network, inputs = NETWORKS[case]()
    kernels = layer_kernels(network, inputs)
    traces = layer_traces(network, inputs)
    assert list(traces) == list(kernels)
    for name, value in kernels.items():
        assert traces[name] == pytest.approx(torch.einsum("icic", value).item(), rel=1e-12)


@pytest.mark.parametrize("case", [*IDENTITIES, "one output", "some outputs only"])
@pytest.mark.parametrize("centered", [False, True])
def test_summaries_are_those_of_the_kernels(case, centered):
    network, inputs = NETWORKS[case]()
    kernels = layer_kernels(network, inputs, centered=centered)
    targets = points(*next(iter(kernels.values())).shape[:2], seed=2)
    summaries, total = summarise_kernels(network, inputs, targets, centered=centered)
    assert list(summaries) == list(kernels)
    for name, value in kernels.items():
        summary = summaries[name]
        form = torch.einsum("ic,icjd,jd", targets, value, targets).item()
        assert summary.norm == pytest.approx(value.norm().item(), rel=1e-12)
        assert summary.form == pytest.approx(form, rel=1e-10, abs=1e-12 * summary.norm)
        found = alignment_of(summary.form, summary.norm, targets)
        assert found == pytest.approx(kernel_alignment(value, targets), rel=1e-10, abs=1e-12)
        assert found == pytest.approx(reference.alignment(value, targets), rel=1e-10, abs=1e-12)
    assert_equal({"": total}, {"": sum(kernels.values())})


def test_the_form_is_the_squared_gradient_of_the_weighted_outputs():
    # yᵀKy = ‖Σ y_ic ∇f_c(x_i)‖², with one ordinary backward pass
    network, inputs = NETWORKS["strides, groups, dilation"]()
    targets = points(4, 3, seed=2)
    (network(inputs) * targets).sum().backward()
    for name, summary in summarise_kernels(network, inputs, targets)[0].items():
        parameters = network.get_submodule(name).parameters()
        square = sum(parameter.grad.square().sum().item() for parameter in parameters)
        assert summary.form == pytest.approx(square, rel=1e-11)


@pytest.mark.parametrize("case", IDENTITIES)
def test_dropping_examples_drops_their_rows(case):
    network, inputs = NETWORKS[case]()
    kept = torch.arange(len(inputs) - 1, -1, -2)
    whole = layer_kernels(network, inputs)
    expected = {name: value[kept][:, :, kept] for name, value in whole.items()}
    assert_equal(layer_kernels(network, inputs[kept]), expected)


@pytest.mark.parametrize("bias", [False, True])
def test_linear_networks_have_closed_forms(bias):
    network, inputs = perceptron(bias, "identity", hidden_layers=1), points(5, 12)
    first, second = network.linear1, network.linear2
    hidden = first(inputs).detach()
    downstream = (second.weight @ second.weight.T).detach()
    identity = torch.eye(3, dtype=torch.float64)
    found = layer_kernels(network, inputs)
    expected = {
        "linear1": torch.einsum("ij,cd->icjd", inputs @ inputs.T + bias, downstream),
        "linear2": torch.einsum("ij,cd->icjd", hidden @ hidden.T + bias, identity),
    }
    assert_equal(found, expected)


def test_float32_alignments_are_near_those_of_float64():
    network = convolutional("vgg19", width=4, outputs=10)
    inputs = points(20, 3, 32, 32)
    targets = centered_one_hot(torch.arange(20) % 10, 10)
    single, _ = summarise_kernels(network, inputs.float(), targets, centered=True)
    targets = targets.double()
    double, _ = summarise_kernels(network.double(), inputs, targets, centered=True)
    assert len(double) == 17
    for name, summary in double.items():
        found = alignment_of(single[name].form, single[name].norm, targets)
        # alignments here are about 0.01 to 0.1
        assert found == pytest.approx(alignment_of(summary.form, summary.norm, targets), abs=1e-4)
        assert single[name].norm == pytest.approx(summary.norm, rel=1e-3)


@pytest.mark.parametrize("kind", [torch.float32, torch.int64])
def test_targets_may_have_another_type(kind):
    network, inputs = perceptron(), points(5, 12)
    targets = (10 * points(5, 3)).round()
    expected, _ = summarise_kernels(network, inputs, targets)
    assert summarise_kernels(network, inputs, targets.to(kind))[0] == expected


# nngeometry 0.4 computes the same kernels through other code. It knows no groups, no padding by
# name or mode and no linear layers on (n, T, d), takes every norm's eps as 1e-5, and its Gram
# matrices of convolutions and norms are in float32 whatever the network; its Jacobians are not.


def library_jacobians(network, inputs):
    found = Jacobian(network, (inputs,)).to_torch()  # (C, n, P)
    layers = LayerCollection.from_model(network)
    return {
        name: found[:, :, layers.p_pos[name] : layers.p_pos[name] + layer.numel()].transpose(0, 1)
        for name, layer in layers.layers.items()
    }


@pytest.mark.parametrize(
    "case",
    [
        "mlp",
        "mlp without bias",
        "vgg11",
        "vgg11_bn",
        "resnet18",
        "residual block that reshapes",
        "bottleneck block",
        "a convolution as the last layer",
    ],
)
def test_equals_the_jacobians_of_nngeometry(case):
    network, inputs = NETWORKS[case]()
    found = layer_kernels(network, inputs)
    expected = library_jacobians(network, inputs)
    kernels = {name: reference.kernel(rows) for name, rows in expected.items()}
    assert_equal({name: found[name] for name in kernels}, kernels)
    assert found.keys() == kernels.keys()


def test_equals_the_gram_matrix_of_nngeometry():
    network, inputs = perceptron(), points(5, 12)
    found = GramMatrix(network, (inputs,)).to_torch().permute(1, 0, 3, 2)
    assert_equal({"": tangent_kernel(network, inputs)}, {"": found})


def test_the_spectrum_is_that_of_the_fisher_matrix_of_nngeometry():
    # F = JᵀJ / n and K = JJᵀ have the same eigenvalues beside zero
    network, inputs = perceptron(hidden_layers=1), points(5, 12)
    fisher = PMatDense(TorchHooksJacobianBackend(network), examples=(inputs,))
    kernel = tangent_kernel(network, inputs).reshape(15, 15)
    expected = 5 * torch.linalg.eigvalsh(fisher.to_torch())[-15:]
    torch.testing.assert_close(torch.linalg.eigvalsh(kernel), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("case", ["mlp", "vgg11", "residual block that reshapes"])
def test_alignments_are_those_of_the_routine_of_the_paper(case):
    network, inputs = NETWORKS[case]()
    network, inputs = network.float(), inputs.float()
    targets = centered_one_hot(torch.arange(len(inputs)) % 3, 3)
    summaries, _ = summarise_kernels(network, inputs, targets, centered=True)
    vector = FVector(vector_repr=targets.T.contiguous())
    for name, layer in LayerCollection.from_model(network).layers.items():
        one = LayerCollection()
        one.add_layer(name, layer)
        backend = TorchHooksJacobianBackend(network, centering=True, layer_collection=one)
        kernel = FMatDense(backend, examples=(inputs,))
        scale = kernel.frobenius_norm() * targets.norm() ** 2
        expected = (kernel.vTMv(vector) / scale).item()
        found = alignment_of(summaries[name].form, summaries[name].norm, targets)
        assert found == pytest.approx(expected, abs=1e-5)  # both in float32


def twice():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(4, 3))


def shared():
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    network[2].bias = network[0].bias
    return network


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.scale * self.linear(x)


class Scaled(nn.Linear):
    def forward(self, x):
        return F.linear(x, 3 * self.weight, self.bias)


class Adapted(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.update = nn.Parameter(torch.ones(outputs, inputs))

    def forward(self, x):
        return super().forward(x) + x @ self.update.T


class Overwriting(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        hidden = self.first(x)
        early = self.second(hidden)
        return early + self.head(hidden.mul_(2))


class Calling(nn.Module):
    """A network of two linear layers, with ``forward`` given from outside."""

    def __init__(self, function):
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)))


REFUSED = {
    "called twice": (twice, (5, 4), "'0' is called twice"),
    "shared parameter": (shared, (5, 4), "'0' shares a parameter"),
    "unknown layer": (
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.Flatten()),
        (5, 2, 1, 1),
        "'0' is a ConvTranspose2d with parameters.*Linear, Conv2d",
    ),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(4, 3)),
        (5, 4),
        "'0' is a Embedding with parameters",
    ),
    "bare parameter": (Bare, (5, 4), "the model itself.* is a Bare with parameters"),
    "recurrent": (lambda: nn.GRU(4, 3), (5, 4), "is a GRU with parameters"),
    "no parameters": (lambda: nn.Sequential(nn.Flatten()), (5, 4), "no parameters"),
    "batch norm in training": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)),
        (5, 4),
        r"batch norm '1'.*model\.eval\(\)",
    ),
    "batch norm without parameters, in training": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, affine=False)),
        (5, 4),
        "batch norm '1'",
    ),
    "batch norm without statistics": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval(),
        (5, 4),
        "running statistics tracked",
    ),
    "dropout": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.1)),
        (5, 4),
        r"dropout '1' is on.*model\.eval\(\)",
    ),
    "outputs with positions": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 1)),
        (5, 2, 4, 4),
        r"outputs of shape \(5, C\), got \(5, 3, 4, 4\)",
    ),
    "one output without its axis": (
        lambda: nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)),
        (5, 4),
        r"outputs of shape \(5, C\), got \(5,\)",
    ),
    "a mean over the examples": (
        lambda: Calling(lambda m, x: m.head(m.first(x)).mean(dim=0, keepdim=True)),
        (5, 4),
        r"outputs of shape \(5, C\), got \(1, 3\)",
    ),
    "two outputs": (
        lambda: Calling(lambda m, x: (m.head(x), m.first(x))),
        (5, 4),
        "outputs of shape .* got a tuple",
    ),
    "overwritten": (Overwriting, (5, 4), "what layer 'second' saw was overwritten"),
    "examples and tokens in one axis": (
        lambda: Calling(lambda m, x: m.head(m.first(x.flatten(0, 1)).view(x.shape).mean(dim=1))),
        (5, 6, 4),
        r"layer 'first' .*30.* 5 examples",
    ),
    "tokens first": (
        lambda: Calling(lambda m, x: m.head(m.first(x.transpose(0, 1)).mean(dim=0))),
        (5, 6, 4),
        r"layer 'first' .*6.* 5 examples",
    ),
    "weights used without their layer": (
        lambda: Calling(lambda m, x: m.head(F.linear(x, m.first.weight).relu())),
        (5, 4),
        "'first'",
    ),
    "weights used beside their layer": (
        lambda: Calling(lambda m, x: m.head(F.linear(m.first(x).relu(), m.first.weight.T))),
        (5, 4),
        "'first'",
    ),
    "weights used, and their layer for nothing": (
        lambda: Calling(
            lambda m, x: m.head(F.linear(x, m.first.weight).relu() + 0 * m.first(x).detach())
        ),
        (5, 4),
        "'first",
    ),
    "another forward": (lambda: nn.Sequential(Scaled(4, 3)), (5, 4), "'0' is a Scaled"),
    "further parameters": (lambda: nn.Sequential(Adapted(4, 3)), (5, 4), "'0' is a"),
    "weight norm": (weight_norm, (5, 4), "'0' "),
    "parametrised": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))),
        (5, 4),
        "is a Parametri.* with parameters",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    build, shape, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        layer_kernels(build().double(), points(*shape))


@pytest.mark.parametrize("shape", [(5, 2), (4, 3), (5,), (3, 5)])
def test_wants_a_target_for_every_output(shape):
    with pytest.raises(ValueError, match=r"targets of shape \(5, 3\), got"):
        summarise_kernels(perceptron(), points(5, 12), points(*shape))
