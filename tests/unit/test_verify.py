"""What instruments refuse, so that nothing is answered wrongly in silence."""

import copy
import gc
import random
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from tangent_cases import assert_equal, calling, convolutional, of, perceptron, points, randomised
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from feature_alignment.tangents.capture import layer_passes
from feature_alignment.tangents.features import tangent_features
from feature_alignment.tangents.kernels import (
    iterate_layer_kernels,
    layer_kernels,
    layer_traces,
    summarise_kernels,
    tangent_kernel,
)
from feature_alignment.tangents.path import path_average
from feature_alignment.tangents.preactivations import graph_covariances
from feature_alignment.tangents.verify import Account, check_inputs, verify

from reference import kernels as reference

INSTRUMENTS = {
    "passes": layer_passes,
    "kernels": layer_kernels,
    "kernels one by one": lambda network, x: list(iterate_layer_kernels(network, x)),
    "whole kernel": tangent_kernel,
    "summaries": lambda network, x: summarise_kernels(network, x, torch.ones(len(x), 3).to(x)),
    "traces": layer_traces,
    "features": tangent_features,
    "covariances": lambda network, x: graph_covariances(network, [x]),
}
every_instrument = pytest.mark.parametrize("instrument", INSTRUMENTS)


def two(forward):
    """Return a factory of a network with two linear layers, 4 to 4 to 3."""
    return calling(forward, first=nn.Linear(4, 4), head=nn.Linear(4, 3))


def sorted_inside(m, x):
    order = x.sum(dim=tuple(range(1, x.ndim))).argsort()
    back = order.argsort()
    return m.head(m.first(x[order]).tanh())[back]


def stably_sorted(m, x):  # as experts are: the first and the last example stay where they are
    order = (x[:, 0] > 0).long().argsort(stable=True)
    return m.head(m.first(x[order]).tanh())[order.argsort()]


def swapped(m, x):
    order = torch.arange(len(x))
    if len(x) > 2:
        order[-2:] = order[-2:].flip(0)
    return m.head(m.first(x[order]).tanh())[order.argsort()]


class Scaled(nn.Linear):
    def forward(self, x):
        return F.linear(x, 3 * self.weight, self.bias)


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std(dim=(1, 2, 3), keepdim=True), self.bias)


def patched():
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    plain = network[0].forward
    network[0].forward = lambda x: 2 * plain(x) + x
    return network


def pruned():
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    prune.l1_unstructured(network[0], "weight", 2)
    return network


def pre_hook_changes_the_weight():
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))

    def double(module, given):
        return (2 * F.linear(given[0], module.weight),)

    network[0].register_forward_pre_hook(double)
    return network


def clipped():
    """Gradients that a hook makes nonlinear are not those of any kernel."""
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    network[2].register_full_backward_hook(lambda _, inner, __: (inner[0].sign(),))
    return network


def drawing(function):
    return two(lambda m, x: m.head(function(m.first(x))))


def attending(m, x):
    x = m.first(x)
    return m.head(F.scaled_dot_product_attention(x, x, x, dropout_p=0.5).mean(dim=1))


def stochastic_depth(x):
    return x + (torch.rand(len(x), 1, dtype=x.dtype) < 0.8) * x.tanh()


PRIVATE = torch.Generator().manual_seed(0)
RANDOM = "draws random numbers.*model.eval"
APART = "by themselves"

REFUSED = {
    # name: what builds the network, message, shape of the inputs if it is not (5, 4)
    "as many tokens as examples, tokens first": (
        two(lambda m, x: m.head(m.first(x.transpose(0, 1)).tanh().mean(dim=0))),
        APART,
        (5, 5, 4),
    ),
    "tokens first, two examples": (
        two(lambda m, x: m.head(m.first(x.transpose(0, 1)).tanh().mean(dim=0))),
        APART,
        (2, 2, 4),
    ),
    "sorted inside": (two(sorted_inside), APART),
    "sorted inside, two examples": (
        two(lambda m, x: m.head(m.first(x.flip(0)).tanh()).flip(0)),
        APART,
        (2, 4),
    ),
    "sorted by kind inside": (two(stably_sorted), APART, (20, 4)),
    "two examples swapped inside": (two(swapped), APART),
    "examples shifted inside": (
        two(lambda m, x: m.head(m.first(x.roll(1, 0)).tanh()).roll(-1, 0)),
        APART,
    ),
    "each example sees the one before": (
        two(lambda m, x: m.head(m.first(x) + m.first.bias.new_tensor(0.1) * x.roll(1, 0))),
        APART,
    ),
    "a batch mean subtracted": (
        two(lambda m, x: m.head((h := m.first(x).tanh()) - h.mean(dim=0))),
        APART,
    ),
    "a batch mean subtracted from the outputs": (
        two(lambda m, x: (f := m.head(m.first(x).tanh())) - f.mean(dim=0)),
        APART,
    ),
    "a batch mean, without its gradient": (
        two(lambda m, x: m.head((h := m.first(x).tanh()) - h.mean(dim=0).detach())),
        APART,
    ),
    "functional batch norm": (
        two(lambda m, x: m.head(F.batch_norm(m.first(x), None, None, training=True))),
        "Expected more than 1 value per channel|by themselves",
    ),
    "contrasted with all examples": (
        two(lambda m, x: m.head((h := m.first(x)) - (h @ h.T).softmax(dim=1) @ h)),
        APART,
    ),
    "a shape for one size of batch": (
        two(lambda m, x: m.head(m.first(x).reshape(5, 4))),
        "does not take 4 of the examples by themselves",
    ),
    "patched forward": (patched, APART),
    "another forward": (of(Scaled(4, 3)), "'0' is a Scaled with parameters"),
    "standardised weights": (
        of(Standardised(2, 3, 3), nn.Flatten()),
        "'0' is a Standardised",
        (5, 2, 3, 3),
    ),
    "pruned": (pruned, "'0' is a Linear with parameters bias, weight_orig"),
    "spectral norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))),
        "Parametri",
    ),
    "a hook that uses the weight": (pre_hook_changes_the_weight, "used outside its layer"),
    "gradients made signs": (clipped, APART),
    "functional dropout": (drawing(lambda h: F.dropout(h, 0.5, training=True)), RANDOM),
    "dropout in attention": (two(attending), RANDOM, (5, 6, 4)),
    "randomised ReLU": (of(nn.Linear(4, 3), nn.RReLU()), RANDOM),
    "stochastic depth": (drawing(stochastic_depth), RANDOM),
    "noise": (drawing(lambda h: h + torch.randn_like(h)), RANDOM),
    "noise of Python's": (drawing(lambda h: h * random.random()), RANDOM),
    "noise of numpy's": (drawing(lambda h: h * np.random.rand()), RANDOM),  # noqa: NPY002
    "noise of a private generator": (
        drawing(lambda h: h * torch.rand(1, generator=PRIVATE, dtype=h.dtype)),
        APART,
    ),
    "dropout of features": (of(nn.Linear(4, 3), nn.FeatureAlphaDropout(0.3)), "dropout '1' is on"),
    "a dictionary": (two(lambda m, x: {"logits": m.head(m.first(x))}), r"\(5, C\), got a dict"),
    "nothing": (two(lambda m, x: None), r"\(5, C\), got a NoneType"),
    "one output without its axis": (two(lambda m, x: m.head(x)[:, 0]), r"\(5, C\), got \(5,\)"),
    "no outputs": (two(lambda m, x: m.head(x)[:, :0]), "C ≥ 1"),
    "complex": (lambda: nn.Linear(4, 3, dtype=torch.complex64), "type torch.complex"),
    "lazy": (of(nn.LazyLinear(3)), "'0.weight' is not initialised"),
    "no parameters": (of(nn.Flatten()), "no parameters"),
    "complex outputs": (two(lambda m, x: torch.complex(m.head(x), m.head(x))), "'head' is called"),
    "outputs cast": (two(lambda m, x: m.head(m.first(x)).float()), "expected outputs in .*64"),
    "outputs not finite": (two(lambda m, x: m.head(m.first(x)).abs().neg().sqrt()), "not finite"),
    "a layer that sees what is not finite": (
        two(lambda m, x: torch.nan_to_num(m.head(m.first(x) / 0), 0, 0, 0)),
        "layer '(first|head)'.*not finite",
    ),
    "gradients not finite": (
        two(lambda m, x: (m.head(m.first(x)) * 0).sqrt()),
        "the gradients at layer '(first|head)' are not finite",
    ),
    "called twice": (two(lambda m, x: m.head(m.first(m.first(x)))), "'first' is called twice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    make, message, *shape = REFUSED[case]
    torch.manual_seed(0)
    network = make()
    if case not in ("complex", "lazy"):
        network = network.double()
    with pytest.raises(ValueError, match=message):
        layer_kernels(network, points(*(shape[0] if shape else (5, 4))))


@every_instrument
@pytest.mark.parametrize(
    "case", ["sorted by kind inside", "patched forward", "functional dropout", "a dictionary"]
)
def test_every_instrument_refuses(instrument, case):
    make, message, *shape = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        INSTRUMENTS[instrument](make().double(), points(*(shape[0] if shape else (5, 4))))


INPUTS = {
    "NaN": (points(5, 12).index_fill(0, torch.tensor([3]), torch.nan), "not finite"),
    "infinite": (points(5, 12).index_fill(0, torch.tensor([3]), -torch.inf), "not finite"),
    "empty": (points(0, 12), r"one example or more, got the shape \(0, 12\)"),
    "without pixels": (points(5, 0), r"got the shape \(5, 0\)"),
    "one number": (torch.tensor(1.0), r"got the shape \(\)"),
    "another type": (points(5, 12).float(), "float32, the model is torch.float64"),
    "complex": (torch.complex(points(5, 12), points(5, 12)), "expected real inputs"),
    "another device": (points(5, 12).to("meta"), "on meta, the model is on cpu"),
    "an array": (points(5, 12).numpy(), "got a ndarray"),
    "a list": ([points(5, 12)], "got a list"),
}


@every_instrument
@pytest.mark.parametrize("case", INPUTS)
def test_every_instrument_refuses_inputs(instrument, case):
    inputs, message = INPUTS[case]
    if instrument == "summaries":
        run = partial(summarise_kernels, targets=points(5, 3))
    else:
        run = INSTRUMENTS[instrument]
    with pytest.raises(ValueError, match=message):
        run(perceptron(), inputs)


def test_a_sum_that_overflows_is_not_infinite():
    inputs = torch.full((2, 4), 3e38)
    assert check_inputs(nn.Linear(4, 3), inputs) == torch.float32


def test_refuses_parameters_on_several_devices():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3, device="meta"))
    with pytest.raises(ValueError, match="the parameters lie on cpu, meta"):
        layer_kernels(network, torch.ones(5, 4))


def test_refuses_kernels_that_overflow():
    network, inputs = nn.Sequential(nn.Linear(4, 3)), 1e25 * torch.ones(5, 4)
    targets = torch.ones(5, 3)
    for measure in (layer_kernels, layer_traces, partial(summarise_kernels, targets=targets)):
        with pytest.raises(ValueError, match="kernel of layer '0'"):
            measure(network, inputs)


def test_refuses_targets_that_are_not_finite():
    with pytest.raises(ValueError, match="the targets are not finite"):
        summarise_kernels(perceptron(), points(5, 12), torch.full((5, 3), torch.nan))


@pytest.mark.parametrize("draws", [False, True])
def test_random_generators_stay_as_they_are(draws):
    def noise(h):
        if draws:
            h = h * random.random() * np.random.rand()  # noqa: NPY002
        return F.dropout(h, 0.5, training=draws)

    network = drawing(noise)().double()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    if draws:
        with pytest.raises(ValueError, match=RANDOM):
            layer_kernels(network, points(5, 4))
    else:
        layer_kernels(network, points(5, 4))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]  # noqa: NPY002


def test_what_is_random_in_training_alone_has_kernels_in_evaluation():
    network = randomised(nn.Sequential(nn.Linear(4, 6), nn.RReLU(), nn.Linear(6, 3)))
    inputs, mean = points(5, 4), nn.LeakyReLU((1 / 8 + 1 / 3) / 2)
    expected = reference.layer_kernels(nn.Sequential(network[0], mean, network[2]), inputs)
    assert_equal(layer_kernels(network, inputs), expected)


class Counting(nn.Module):
    """A buffer that counts, and one that follows the inputs."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(4), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.mean = 0.9 * self.mean + x.detach().mean(dim=0)
        return x


@pytest.mark.parametrize("instrument", [name for name in INSTRUMENTS if name != "covariances"])
def test_buffers_stay_as_they_are(instrument):
    norm = nn.InstanceNorm2d(4, track_running_stats=True)
    network = nn.Sequential(
        Counting(),
        nn.Linear(4, 12),
        nn.Unflatten(1, (4, 3, 1)),
        norm,
        nn.Flatten(),
        nn.Linear(12, 3),
    ).double()
    before = copy.deepcopy(dict(network.named_buffers()))
    INSTRUMENTS[instrument](network.train(), points(5, 4))
    for name, value in network.named_buffers():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("centered", [False, True])
def test_half_precision_is_computed_in_single(kind, centered):
    network = convolutional("vgg11_bn", width=4).eval().to(kind)
    inputs = points(6, 3, 32, 32).to(kind)
    single, wide = copy.deepcopy(network).float(), inputs.float()
    targets = points(6, 3).float()
    expected, whole = summarise_kernels(single, wide, targets, centered=centered)
    found, total = summarise_kernels(network, inputs, targets, centered=centered)
    assert found == expected
    assert torch.equal(total, whole)
    assert all(summary.norm > 0 for summary in found.values())
    kernels = layer_kernels(network, inputs, centered=centered)
    for name, value in layer_kernels(single, wide, centered=centered).items():
        assert torch.equal(kernels[name], value)
    assert layer_traces(network, inputs) == layer_traces(single, wide)
    assert {parameter.dtype for parameter in network.parameters()} == {kind}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_paths_and_features_of_half_precision_are_in_single(kind):
    start = perceptron(outputs=1).to(kind)
    end = copy.deepcopy(start)
    for parameter in end.parameters():
        parameter.data.mul_(1.5)
    inputs = points(5, 12).to(kind)
    found = path_average(start, end, inputs, points=3)
    wide = [copy.deepcopy(network).float() for network in (start, end)]
    expected = path_average(*wide, inputs.float(), points=3)
    assert torch.equal(found.kernel, expected.kernel)
    assert torch.equal(found.change, expected.change)
    features = tangent_features(start, inputs)
    assert torch.equal(features.outputs, tangent_features(wide[0], inputs.float()).outputs)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_autocast_has_no_effect(kind):
    network, inputs = perceptron().float(), points(5, 12).float()
    targets = points(5, 3).float()
    expected = layer_kernels(network, inputs)
    summaries = summarise_kernels(network, inputs, targets)
    traces, one = layer_traces(network, inputs), perceptron(outputs=1).float()
    plain = graph_covariances(network, [inputs])
    stored = tangent_features(network, inputs).layers["linear1"].gradients
    averaged = path_average(one, one, inputs, points=2).kernel
    with torch.autocast("cpu", dtype=kind):
        found = layer_kernels(network, inputs)
        again = summarise_kernels(network, inputs, targets)
        assert layer_traces(network, inputs) == traces
        covariances = graph_covariances(network, [inputs])
        features = tangent_features(network, inputs).layers["linear1"].gradients
        path = path_average(one, one, inputs, points=2).kernel
        assert torch.is_autocast_enabled("cpu")
    for name, value in expected.items():
        assert torch.equal(found[name], value)
    assert again[0] == summaries[0]
    assert torch.equal(again[1], summaries[1])
    assert all(torch.equal(covariances[name], value) for name, value in plain.items())
    assert torch.equal(features, stored)
    assert torch.equal(path, averaged)


def test_refuses_autocast_inside_the_network():
    def forward(m, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return m.head(m.first(x)).float()

    with pytest.raises(ValueError, match="'first' saw .*float32 and returned .*bfloat16"):
        layer_kernels(two(forward)(), points(5, 4).float())


def test_a_network_made_in_inference_mode_has_kernels():
    with torch.inference_mode():
        network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    plain = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    plain.load_state_dict({name: value.clone() for name, value in network.state_dict().items()})
    inputs = points(5, 4)
    assert_equal(layer_kernels(network, inputs), reference.layer_kernels(plain, inputs))


def test_full_backward_hooks_that_look_do_not_matter():
    network, inputs, seen = perceptron(), points(5, 12), []
    expected = reference.layer_kernels(network, inputs)
    network.linear2.register_full_backward_hook(lambda *_: seen.append("backward"))
    network.linear3.register_full_backward_pre_hook(lambda *_: seen.append("before"))
    assert_equal(layer_kernels(network, inputs), expected)
    assert {"backward", "before"} <= set(seen)


def test_a_weight_that_is_a_buffer_does_not_count():
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    weight = network[0].weight.detach()
    del network[0].weight
    network[0].register_buffer("weight", weight)
    inputs = points(5, 4)
    assert_equal(layer_kernels(network, inputs), reference.layer_kernels(network, inputs))


def account_of(network, inputs, factor=1.0):
    def gradients(place, weights):
        outputs = network(inputs[place : place + 1])[0]
        found = torch.autograd.grad(outputs @ weights, list(network.parameters()))
        names = [name for name, _ in network.named_parameters()]
        return {name: factor * part for name, part in zip(names, found, strict=True)}

    return Account(network(inputs).detach(), gradients)


def test_what_fails_in_single_precision_is_decided_in_double():
    network, inputs = perceptron().float(), points(5, 12).float()
    doubled = copy.deepcopy(network).double()
    wrong, asked = account_of(network, inputs, 1.01), []
    right = account_of(doubled, inputs.double())
    verify(network, inputs, wrong, lambda: asked.append(1) or right)
    assert asked
    verify(network, inputs, account_of(network, inputs), lambda: pytest.fail("asked"))
    false = account_of(doubled, inputs.double(), 1.0001)
    with pytest.raises(ValueError, match="gradient of layer 'linear1'"):
        verify(network, inputs, wrong, lambda: false)

    def failing():
        raise RuntimeError("constants in float32")

    with pytest.raises(ValueError, match="gradient of layer 'linear1'"):
        verify(network, inputs, wrong, failing)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 30])
def test_one_wrong_example_in_four_is_enough(count):
    network, inputs = perceptron(), points(count, 12)
    right = account_of(network, inputs)

    def gradients(place, weights):
        factor = 1.001 if place == count - 1 else 1.0
        return {name: factor * part for name, part in right.gradients(place, weights).items()}

    verify(network, inputs, right, lambda: right)
    with pytest.raises(ValueError, match="the gradient of layer"):
        verify(network, inputs, Account(right.outputs, gradients), lambda: right)
    with pytest.raises(ValueError, match="the outputs for examples"):
        verify(network, inputs, Account(1.001 * right.outputs, right.gradients), lambda: right)


def doubling(_, __, output):
    return output.roll(1, 0)


CHANGES = {
    "a hook": lambda network: network.linear2.register_forward_hook(doubling),
    "a forward": lambda network: setattr(network.linear2, "forward", torch.tanh),
    "a forward hook of all modules": lambda network: nn.modules.module.register_module_forward_hook(
        lambda module, _, output: output.roll(1, 0) if module is network.linear2 else None
    ),
    "a module": lambda network: setattr(network, "activation1", Rolling()),
}


class Rolling(nn.Module):
    def forward(self, x):
        return x.roll(1, 0)


def test_networks_measured_again_and_again_are_verified_now_and_then():
    network, inputs, seen = perceptron(), points(5, 12), []
    network.linear2.register_forward_hook(lambda *_: seen.append("forward"))
    for _ in range(21):
        layer_kernels(network, inputs)
    assert len(seen) == 21 + 3
    layer_kernels(network, points(6, 12))
    assert len(seen) == 26
    layer_kernels(network.train(), inputs)
    assert len(seen) == 28
    layer_kernels(network, inputs, trainable_only=True)  # all are trainable: nothing changes
    assert len(seen) == 29
    network.linear1.requires_grad_(False)
    layer_kernels(network, inputs, trainable_only=True)
    assert len(seen) == 31


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_is_verified_again_until_it_is_right(change):
    network, inputs = perceptron(width=7), points(5, 12)
    layer_kernels(network, inputs)
    handle = CHANGES[change](network)
    try:
        for _ in range(2):
            with pytest.raises(ValueError, match=APART):
                layer_kernels(network, inputs)
    finally:
        if handle is not None:
            handle.remove()


def test_a_flag_that_a_network_obeys_is_noticed():
    network = two(lambda m, x: m.head(m.first(x.roll(m.shift, 0)).tanh()))().double()
    network.shift = 0
    inputs = points(5, 4)
    layer_kernels(network, inputs)
    network.shift = 1
    with pytest.raises(ValueError, match=APART):
        layer_kernels(network, inputs)


def test_verification_keeps_no_network_alive():
    network = perceptron()
    layer_kernels(network, points(5, 12))
    reference_to = weakref.ref(network)
    del network
    gc.collect()
    assert reference_to() is None


def test_paths_are_between_states_of_one_network():
    start, end = perceptron(outputs=1), perceptron(outputs=1, activation="gelu")
    with pytest.raises(ValueError, match="differ in parameters alone, got modules"):
        path_average(start, end, points(5, 12), points=3)
