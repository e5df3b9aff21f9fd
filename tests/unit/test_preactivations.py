import pytest
import torch
from torch import nn
from torch.nn import functional as F

from feature_alignment.models.mlp import mlp
from feature_alignment.models.vgg import vgg
from feature_alignment.tangents.preactivations import graph_covariances, preactivation_covariances

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


class Residual(nn.Module):
    """A block with a batch norm, a convolution as its shortcut, and a shared in-place ReLU."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(4, 4, 1)
        self.activation = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.activation(self.norm(self.stem(x)))
        x = self.activation(self.inner(x) + self.shortcut(x))
        return self.head(x.mean(dim=(2, 3)))


class Unused(nn.Module):
    """A convolution never called, one whose output is thrown away, and one that is dead."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Conv2d(2, 4, 3)
        self.thrown_away = nn.Conv2d(2, 4, 3)
        self.used = nn.Conv2d(2, 4, 3)
        self.dead = nn.Conv2d(4, 5, 1)
        nn.init.constant_(self.dead.bias, -1e6)  # so that the ReLU after it is never on
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        self.thrown_away(x)
        x = self.used(x)
        return self.head(x.mean(dim=(2, 3))) + F.relu(self.dead(x)).sum(dim=(1, 2, 3))[:, None]


def small_vgg():
    return vgg(
        "vgg11",
        2,
        3,
        width=2,
        batch_norm=False,
        initialisation="he_normal",
        generator=torch.Generator().manual_seed(2),
        hidden_layers=1,
        dropout=0.5,
    )


def strided():
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(5, 4, (3, 2), padding=(1, 0), stride=(1, 2)),
        nn.Tanh(),
        nn.Conv2d(4, 4, 2, dilation=2, padding=1, bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(32, 6),
        nn.GELU(),
        nn.Linear(6, 3),
    )


def tokens():
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3))


GRAPHS = {
    # network, shape of one input, layers with a covariance
    "vgg": (
        small_vgg,
        (2, 32, 32),
        [*(f"conv{depth}" for depth in range(1, 9)), "linear1", "linear2"],
    ),
    "strided": (strided, (2, 16, 16), ["0", "3", "5", "8", "10"]),
    "residual": (Residual, (2, 5, 5), ["stem", "inner", "shortcut", "head"]),
    "tokens": (tokens, (6, 5), ["0", "3"]),
}


def graph(name):
    """Return a network in float64 and evaluation mode, without any zero bias, and its inputs."""
    build, shape, _ = GRAPHS[name]
    draw = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        net = build().double().eval()
    for key, value in net.state_dict().items():
        if key.endswith(("bias", "running_mean")):
            value.normal_(0, 0.1, generator=draw)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 2, generator=draw)
    return net, torch.randn(5, *shape, dtype=torch.float64, generator=draw)


def gradients_by_position(net, inputs, layer):
    """Yield ∂f_c(x)/∂h_l at one position, (out,), by one backward pass per example and output."""
    seen = []

    def record(_, __, output):
        seen.append(output)
        return output.clone()  # an in-place activation leaves what was recorded alone

    handle = net.get_submodule(layer).register_forward_hook(record)
    for x in inputs:
        for output in net(x[None])[0]:
            (gradient,) = torch.autograd.grad(output, seen[-1], retain_graph=True)
            yield from gradient[0].flatten(1).T if gradient.ndim == 4 else gradient.flatten(0, -2)
    handle.remove()


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_equals_the_sum_over_positions(name):
    net, inputs = graph(name)
    found = graph_covariances(net, [inputs])
    assert list(found) == GRAPHS[name][2]
    for layer, value in found.items():
        expected = sum(torch.outer(g, g) for g in gradients_by_position(net, inputs, layer))
        assert expected.norm() > 0
        # float64 rounding of sums of at most 15 360 terms
        assert (value - expected).norm() < 1e-10 * expected.norm(), layer


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


@pytest.mark.parametrize("name", ["vgg", "strided", "residual"])
def test_weights_turn_it_into_the_gram_of_gradients_in_patches(name):
    net, inputs = graph(name)
    found = graph_covariances(net, inputs.split(2))
    convolutions = {
        layer: net.get_submodule(layer)
        for layer in found
        if isinstance(net.get_submodule(layer), nn.Conv2d)
    }
    assert len(convolutions) >= 3
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
        expected = weight.T @ found[layer] @ weight
        assert gram.norm() > 0
        # float64 rounding of the same sums in another order
        assert (expected - gram).norm() < 1e-10 * gram.norm(), layer


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "identity"])
@pytest.mark.parametrize("bias", [False, True])
def test_graph_equals_chain_on_hidden_layers(activation, bias):
    net = network(activation, bias)
    found = graph_covariances(net, [INPUTS])
    chain = preactivation_covariances(net, [INPUTS])
    assert list(found) == [*chain, "linear4"]
    for layer, value in chain.items():
        assert (found[layer] - value).norm() < 1e-12 * value.norm()  # float64 rounding


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_of_a_linear_head_counts_the_examples(name):
    net, inputs = graph(name)
    head = list(graph_covariances(net, inputs.split(2)).values())[-1]
    assert torch.equal(head, 5 * torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_batches_do_not_matter(name):
    net, inputs = graph(name)
    whole = graph_covariances(net, [inputs])
    for layer, value in graph_covariances(net, inputs.split(2)).items():
        assert (value - whole[layer]).norm() < 1e-12 * whole[layer].norm()  # float64 rounding


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_is_symmetric_and_in_the_precision_of_the_model(name):
    net, inputs = graph(name)
    exact = graph_covariances(net, [inputs])
    for layer, value in graph_covariances(net.float(), [inputs.float()]).items():
        torch.testing.assert_close(exact[layer], exact[layer].T, rtol=0, atol=1e-12)
        assert value.dtype == torch.float32
        # float32 gradients and sums of at most 15 360 terms
        assert (value - exact[layer]).norm() < 1e-4 * exact[layer].norm()


def test_graph_leaves_the_network_alone():
    net, inputs = graph("vgg")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = graph_covariances(net, [inputs])
    assert not any(value.requires_grad for value in found.values())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_graph_leaves_out_what_no_output_depends_on_and_keeps_dead_layers():
    found = graph_covariances(Unused(), [torch.randn(3, 2, 6, 6)])
    assert list(found) == ["used", "head", "dead"]
    assert torch.equal(found["dead"], torch.zeros(5, 5))
    assert found["used"].norm() > 0


def test_graph_refuses_dropout_that_is_on():
    net, inputs = graph("vgg")
    with pytest.raises(ValueError, match=r"dropout 'dropout1' is on; call model.eval\(\)"):
        graph_covariances(net.train(), [inputs])


def test_graph_refuses_groups():
    net = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(ValueError, match="convolution '0' has 2 groups.*use groups=1"):
        graph_covariances(net, [torch.randn(3, 4, 4, 4)])


def test_graph_refuses_layers_it_does_not_know():
    net = nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.Flatten(), nn.Linear(75, 2))
    with pytest.raises(ValueError, match="'0' is a ConvTranspose2d"):
        graph_covariances(net, [torch.randn(3, 2, 4, 4)])


def test_graph_wants_a_batch():
    with pytest.raises(ValueError, match="at least one batch of inputs"):
        graph_covariances(network(), [])
