"""Networks that look like chains: covariances and tangent models are right or refuse."""

import copy
from functools import partial

import pytest
import torch
from tangent_cases import assert_equal, points, randomised
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from feature_alignment.probes.ansatz import ansatz_probe, hidden_layers
from feature_alignment.tangents.adaptive import AdaptiveModel, adaptive_kernel
from feature_alignment.tangents.linearized import LinearizedModel
from feature_alignment.tangents.preactivations import graph_covariances, preactivation_covariances

from reference import kernels as reference

# torch's forward differentiation compiles its own rules in a way that it calls deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning"),
]

POINTS = points(9, 5)
IMAGES = points(9, 2, 6, 6)


def tangent(kind, network, inputs):
    """Return the model's outputs along a random displacement."""
    model = kind(network)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.displacements.parameters():
            parameter.normal_(0, 0.3, generator=draw)
    return model(model.base_pass(inputs)), model.delta()


def along(network, delta, inputs):
    """Return f(x) + J(x) δ with every example's J by torch.func.jacrev."""
    start = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def outputs(parameters, x):
        return torch.func.functional_call(network, parameters, (x[None],))[0]

    found = []
    for x in inputs:
        jacobian = torch.func.jacrev(outputs)(start, x)
        moved = [jacobian[name].flatten(1) @ delta[name].flatten() for name in delta]
        found.append(outputs(start, x) + sum(moved))
    return torch.stack(found)


def jacrev_covariances(network, inputs):
    """K_l with the gradients in a bias that is added behind each layer, by torch.func.jacrev."""
    linears = [(i, part) for i, part in enumerate(network) if isinstance(part, nn.Linear)]
    zeros = {str(i): part.weight.new_zeros(part.out_features) for i, part in linears}

    def outputs(shifts, x):
        for place, module in enumerate(network):
            x = F.relu(x) if isinstance(module, nn.ReLU) else module(x)
            x = x + shifts[str(place)] if str(place) in shifts else x
        return x[0]

    total = {name: 0 for name in zeros}
    for x in inputs:
        for name, rows in torch.func.jacrev(outputs)(zeros, x[None]).items():
            total[name] = total[name] + (rows.T @ rows).detach()
    *hidden, _ = total
    return {name: total[name] for name in hidden}


def chain(*modules):
    return randomised(nn.Sequential(*copy.deepcopy(modules)))


def dense(between, again=None):
    """Return a chain with the same module, or another, at two places."""
    again = between if again is None else again
    return randomised(
        nn.Sequential(nn.Linear(5, 6), between, nn.Linear(6, 7), again, nn.Linear(7, 3))
    )


def pooled():
    pool, relu = nn.AvgPool2d(3, 1, 1), nn.ReLU()
    return randomised(
        nn.Sequential(
            *[pool, nn.Conv2d(2, 3, 3), pool, relu, pool, nn.Conv2d(3, 2, 3, padding=1)],
            *[relu, nn.Flatten(), nn.Linear(32, 3)],
        )
    )


class Named(nn.Sequential):
    """A sequence with a constructor of its own and the forward of all sequences."""

    def __init__(self):
        super().__init__(*dense(nn.ReLU()))


CHAINS = {
    "shared ReLU": partial(dense, nn.ReLU()),
    "shared Tanh": partial(dense, nn.Tanh()),
    "shared in-place ReLU": partial(dense, nn.ReLU(inplace=True)),
    "in-place ReLUs": partial(dense, nn.ReLU(inplace=True), nn.ReLU(inplace=True)),
    "two ReLUs in a row": lambda: chain(nn.Linear(5, 6), nn.ReLU(), nn.ReLU(), nn.Linear(6, 3)),
    "leading ReLU": lambda: chain(nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)),
    "leading in-place ReLU": lambda: chain(
        nn.ReLU(inplace=True), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)
    ),
    "a named sequence": Named,
}


@pytest.mark.parametrize("name", CHAINS)
def test_covariances_of_chains_equal_jacrev(name):
    network, inputs = CHAINS[name](), POINTS.clone()
    expected = jacrev_covariances(network, inputs.clone())
    assert_equal(preactivation_covariances(network, inputs.split(4)), expected)
    assert torch.equal(inputs, POINTS)


@pytest.mark.parametrize("kind", [LinearizedModel, AdaptiveModel])
@pytest.mark.parametrize(
    "name", [*[name for name in CHAINS if "Tanh" not in name], "shared pooling", "ends in a ReLU"]
)
def test_tangent_models_of_chains_equal_jacrev(name, kind):
    others = {
        "shared pooling": (pooled, IMAGES),
        "ends in a ReLU": (lambda: chain(nn.Linear(5, 6), nn.ReLU()), POINTS),
    }
    make, given = others.get(name) or (CHAINS[name], POINTS)
    network, inputs = make(), given.clone()
    outputs, delta = tangent(kind, network, inputs)
    assert torch.equal(inputs, given)  # not even by a leading in-place ReLU
    assert set(delta) == {key for key, _ in network.named_parameters()}
    # The oracle is not to be trusted with operations in place under vmap.
    for module in network:
        if isinstance(module, nn.ReLU):
            module.inplace = False
    torch.testing.assert_close(outputs, along(network, delta, inputs), rtol=1e-10, atol=1e-10)


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x) / self.in_features**0.5


class Shifted(nn.ReLU):
    def forward(self, x):
        return super().forward(x - 0.1)


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


class Residual(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + x[:, :3]


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(F.relu(self.first(x)))


def simple():
    return chain(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))


def changed(change):
    def make():
        network = simple()
        change(network)
        return network

    return make


def tied_modules():
    square = nn.Linear(5, 5)
    return randomised(nn.Sequential(square, nn.ReLU(), square, nn.ReLU(), nn.Linear(5, 3)))


def tied_weights():
    network = chain(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    network[2].weight = network[0].weight
    return network


def patch(network):
    network[0].forward = lambda x: 2 * F.linear(x, network[0].weight, network[0].bias)


def patch_network(network):
    network.forward = lambda x: 2 * nn.Sequential.forward(network, x)


def double(module, given, output):
    return 2 * output


def detached(module, given, output):
    return output.detach() + 0 * output


def one_of_many(module, given, output):
    if len(output) == len(POINTS):  # not where a few are run by themselves
        output = output.clone()
        output[4] = 0
    return output


REFUSED = {
    # name: network, what the error says
    "layer used twice": (tied_modules, "layer '0' is called twice or shares a parameter"),
    "tied weights": (tied_weights, "layer '0' is called twice or shares a parameter"),
    "functional ReLU": (lambda: randomised(Functional()), "a Functional with a forward of its own"),
    "residual": (lambda: randomised(Residual(*simple())), "a Residual with a forward of its own"),
    "scaled": (lambda: chain(Scaled(5, 6), nn.ReLU(), nn.Linear(6, 3)), "'0' is a Scaled.*plain"),
    "shifted": (
        lambda: chain(nn.Linear(5, 6), Shifted(), nn.Linear(6, 3)),
        "'1' is a Shifted.*a subclass of ReLU",
    ),
    "parametrised": (
        changed(lambda n: parametrizations.weight_norm(n[0])),
        "'0' is a ParametrizedLinear.*remove_parametrizations",
    ),
    "old weight norm": (changed(lambda n: nn.utils.weight_norm(n[0])), "make the layer plain"),
    "old spectral norm": (changed(lambda n: nn.utils.spectral_norm(n[0])), "make the layer plain"),
    "pruned": (
        changed(lambda n: prune.l1_unstructured(n[0], "weight", 0.5)),
        "weight and bias of '0'.*prune.remove",
    ),
    "patched layer": (changed(patch), "forward of '0', a Linear, was replaced"),
    "patched network": (changed(patch_network), "forward of its own"),
    "hook that doubles": (changed(lambda n: n[0].register_forward_hook(double)), "off by.*a hook"),
    "hook on the network": (changed(lambda n: n.register_forward_hook(double)), "a hook"),
    "pre-hook": (
        changed(lambda n: n[2].register_forward_pre_hook(lambda m, given: (2 * given[0],))),
        "a hook",
    ),
    "hook that detaches": (
        changed(lambda n: n[1].register_forward_hook(detached)),
        "gradient of layer '0'.*a hook",
    ),
    "backward hook": (
        changed(lambda n: n[1].register_full_backward_hook(lambda m, g, o: (2 * g[0],))),
        "gradient of layer '0'.*a hook",
    ),
    "hook on one example of many": (
        changed(lambda n: n[0].register_forward_hook(one_of_many)),
        "hooks change the network's outputs",
    ),
    "dropout by hook": (
        changed(lambda n: n[0].register_forward_hook(lambda m, g, o: F.dropout(o))),
        "draws random numbers",
    ),
    "ReLU in place of another's result": (
        lambda: chain(nn.Linear(5, 6), nn.ReLU(), nn.ReLU(inplace=True), nn.Linear(6, 3)),
        "cannot be differentiated.*out-of-place",
    ),
    "complex": (lambda: simple().to(torch.complex128), "expected real"),
    "weights that are not a number": (
        changed(lambda n: n[0].weight.data[2].fill_(float("nan"))),
        "outputs of layer '0' are not finite",
    ),
    "infinite weights": (
        changed(lambda n: n[0].weight.data[2].fill_(-1e308)),
        "outputs of layer '0' are not finite",
    ),
}

INSTRUMENTS = {
    "chain": lambda network, inputs: preactivation_covariances(network, [inputs]),
    "fixed": lambda network, inputs: LinearizedModel(network).base_pass(inputs),
    "adaptive": lambda network, inputs: AdaptiveModel(network).base_pass(inputs),
}
each_instrument = pytest.mark.parametrize("instrument", INSTRUMENTS)


@each_instrument
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_chain_is_refused(name, instrument):
    make, message = REFUSED[name]
    network, state = make(), torch.get_rng_state()
    inputs = 100 * POINTS if name == "infinite weights" else POINTS
    with pytest.raises(ValueError, match=message):
        INSTRUMENTS[instrument](network, inputs)
    assert torch.equal(torch.get_rng_state(), state)


@each_instrument
def test_hooks_of_all_modules_are_seen(instrument):
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, _, output: 2 * output if isinstance(module, nn.ReLU) else output
    )
    try:
        with pytest.raises(ValueError, match="a hook"):
            INSTRUMENTS[instrument](simple(), POINTS)
    finally:
        hook.remove()


@each_instrument
def test_hooks_that_look_on_are_welcome(instrument):
    network, seen = simple(), []
    network[1].register_forward_hook(lambda module, given, output: seen.append(output))
    plain = INSTRUMENTS[instrument](simple(), POINTS)
    found = INSTRUMENTS[instrument](network, POINTS)
    if instrument == "chain":
        assert_equal(found, plain)
    else:
        assert torch.equal(found.outputs, plain.outputs)
    assert seen


@pytest.mark.parametrize("instrument", ["fixed", "adaptive"])
def test_standardised_convolutions_are_refused_by_tangent_models(instrument):
    network = chain(Standardised(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
    with pytest.raises(ValueError, match="'0' is a Standardised.*a subclass of Conv2d"):
        INSTRUMENTS[instrument](network, IMAGES)


INPUTS = {
    "tokens": (points(4, 3, 5), "layer '0' to see|expected outputs|expected layer"),
    "one axis": (points(5), "layer '0' to see|expected layer"),
    "another size": (points(4, 6), "layer '0' to see|expected layer"),
    "no example": (POINTS[:0], "of one example or more"),
    "not a number": (POINTS.clone().fill_(float("nan")), "the inputs are not finite"),
    "one of them infinite": (POINTS / (POINTS.max() != POINTS), "the inputs are not finite"),
    "another precision": (POINTS.float(), "float32"),
    "complex inputs": (POINTS.to(torch.complex128), "expected real inputs"),
    "whole numbers": (torch.ones(4, 5, dtype=torch.int64), "same dtype|one precision"),
}


@each_instrument
@pytest.mark.parametrize("name", INPUTS)
def test_inputs_that_cannot_be_right_are_refused(name, instrument):
    inputs, message = INPUTS[name]
    with pytest.raises(ValueError, match=message):
        INSTRUMENTS[instrument](simple(), inputs)


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="at least one batch"):
        preactivation_covariances(simple(), [])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("covariances", [preactivation_covariances, graph_covariances])
def test_covariances_of_half_precision_are_summed_in_single(covariances, dtype):
    network, inputs = simple().to(dtype), (100 * POINTS).to(dtype)
    exact = covariances(copy.deepcopy(network).double(), [inputs.double()])
    for name, value in covariances(network, [inputs]).items():
        assert value.dtype == torch.float32
        # the weights are rounded before, at most the gradients besides
        assert (value - exact[name]).norm() <= 5e-3 * exact[name].norm()


@pytest.mark.parametrize("covariances", [preactivation_covariances, graph_covariances])
def test_autocast_and_inference_mode_change_no_covariance(covariances):
    network, inputs = simple().float(), POINTS.float()
    expected = covariances(network, [inputs])
    with torch.autocast("cpu", torch.bfloat16):
        found = covariances(network, [inputs])
    with torch.inference_mode():
        inferred = covariances(network, [inputs + 0])
    for name, value in expected.items():
        assert torch.equal(found[name], value)
        assert torch.equal(inferred[name], value)


@pytest.mark.parametrize("kind", [LinearizedModel, AdaptiveModel])
def test_tangent_models_have_full_precision(kind):
    network, inputs = simple().float(), POINTS.float()
    expected, _ = tangent(kind, network, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = tangent(kind, network, inputs)
    assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="one precision, single or double"):
        tangent(kind, network.half(), inputs.half())


def test_adapted_kernels_have_full_precision():
    model, inputs = AdaptiveModel(simple().float()), POINTS.float()
    expected = adaptive_kernel(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(adaptive_kernel(model, inputs), expected)
    with pytest.raises(ValueError, match="one precision, single or double"):
        adaptive_kernel(model.half(), inputs.half())


@pytest.mark.parametrize("kind", [LinearizedModel, AdaptiveModel])
def test_frozen_parameters_count(kind):
    network = simple()
    covariances, (outputs, _) = (
        preactivation_covariances(network, [POINTS]),
        tangent(kind, network, POINTS),
    )
    network[0].requires_grad_(requires_grad=False)
    assert_equal(preactivation_covariances(network, [POINTS]), covariances)
    assert torch.equal(tangent(kind, network, POINTS)[0], outputs)


def test_verification_draws_no_random_numbers():
    network = simple()
    states = [torch.get_rng_state()]
    for run in INSTRUMENTS.values():
        run(network, POINTS)
        states.append(torch.get_rng_state())
    assert all(torch.equal(state, states[0]) for state in states)


def test_hidden_layers_of_nested_sequences_are_in_the_order_of_calls():
    network = chain(
        nn.Sequential(nn.Linear(5, 6), nn.ReLU()),
        nn.Sequential(nn.Sequential(nn.Linear(6, 7)), nn.ReLU()),
        nn.Linear(7, 3),
    )
    assert hidden_layers(network) == ["0.0", "1.0.0"]
    readings = list(ansatz_probe(network, POINTS, covariances=graph_covariances)(network))
    assert {reading.layer for reading in readings} == {"0.0", "1.0.0"}


def test_hidden_layers_that_cannot_be_told_must_be_named():
    network = randomised(Functional())
    with pytest.raises(ValueError, match=r"'the network' is a Functional.*layers=\[…\]"):
        ansatz_probe(network, POINTS, covariances=graph_covariances)
    inside = nn.Sequential(nn.ModuleDict({"a": network}), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="'0' is a ModuleDict"):
        hidden_layers(inside)
    probe = ansatz_probe(network, POINTS, layers=["first"], covariances=graph_covariances)
    assert {reading.layer for reading in probe(network)} == {"first"}


@pytest.mark.parametrize(
    ("layers", "message"),
    [([], "no layers to correlate"), (["absent"], "'absent' is not"), (["1"], "'1' is not")],
)
def test_layers_to_correlate_must_be_there(layers, message):
    with pytest.raises(ValueError, match=message):
        ansatz_probe(simple(), POINTS, layers=layers)


def test_a_single_layer_is_not_hidden():
    with pytest.raises(ValueError, match="no hidden linear layer"):
        hidden_layers(nn.Sequential(nn.Flatten(), nn.Linear(5, 3)))


def test_a_layer_without_covariance_is_named():
    network = simple()
    probe = ansatz_probe(network, POINTS, layers=["0", "2"])  # a chain leaves the last out
    with pytest.raises(ValueError, match="no covariance of 2, only of 0"):
        list(probe(network))


def test_grouped_convolutions_can_be_left_out():
    network = chain(
        *[nn.Conv2d(2, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU()],
        *[nn.Flatten(), nn.Linear(12, 3)],
    )
    expected = reference.covariances(network, IMAGES)
    del expected["0"]
    assert_equal(graph_covariances(network, [IMAGES], ["2", "5"]), expected)
    with pytest.raises(ValueError, match="1, absent: not linear or convolutional"):
        graph_covariances(network, [IMAGES], ["2", "absent", "1"])
