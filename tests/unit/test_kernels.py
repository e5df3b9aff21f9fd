import warnings
from functools import partial

import pytest
import torch
from nngeometry import GramMatrix, Jacobian
from nngeometry.backend import TorchHooksJacobianBackend
from nngeometry.layercollection import LayerCollection
from nngeometry.object import FMatDense, PMatDense
from nngeometry.object.vector import FVector
from tangent_cases import (
    CASES,
    assert_equal,
    build,
    calling,
    convolutional,
    jacobians,
    of,
    perceptron,
    points,
    randomised,
)
from torch import nn
from torch.nn import functional as F

from feature_alignment.measures.alignment import alignment_of, centered_one_hot, kernel_alignment
from feature_alignment.tangents import gram
from feature_alignment.tangents.capture import layer_passes
from feature_alignment.tangents.features import tangent_features
from feature_alignment.tangents.kernels import (
    center_kernel,
    iterate_layer_kernels,
    layer_kernels,
    layer_traces,
    summarise_kernels,
    tangent_kernel,
)
from feature_alignment.tangents.layers import LAYERS, RULES, Patches, Rows
from feature_alignment.tangents.preactivations import graph_covariances

from reference import kernels as reference

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

every_case = pytest.mark.parametrize("case", CASES)
plain_or_centered = pytest.mark.parametrize("centered", [False, True])


def chain(*modules):
    return randomised(nn.Sequential(*modules))


def expected_kernels(case, centered=False):
    rows = jacobians(case)
    if centered:
        rows = {name: row - row.mean(dim=0) for name, row in rows.items()}
    return {name: reference.kernel(row) for name, row in rows.items()}


def per_example(layer):
    return torch.stack(list(layer.rule.per_example(layer)), dim=1)


@every_case
@plain_or_centered
def test_kernels_equal_brute_force_jacobians(case, centered):
    network, inputs = build(case)
    kept = inputs.clone()
    found = layer_kernels(network, inputs, centered=centered)
    assert torch.equal(inputs, kept)
    # rounding errors are those of the kernel before centring, which may be far larger
    scales = expected_kernels(case)
    assert_equal(found, expected_kernels(case, centered), scales)
    again = {name: center_kernel(value) for name, value in found.items()}
    assert_equal(again, expected_kernels(case, centered=True), scales)


@every_case
@plain_or_centered
def test_the_network_is_the_sum_of_its_layers(case, centered):
    network, inputs = build(case)
    rows = torch.cat(list(jacobians(case).values()), dim=2)
    scales = {"": reference.kernel(rows)}
    expected = {"": reference.kernel(rows - rows.mean(dim=0)) if centered else scales[""]}
    layers = layer_kernels(network, inputs, centered=centered)
    assert_equal({"": sum(layers.values())}, expected)
    assert_equal({"": tangent_kernel(network, inputs, centered=centered)}, expected)


@every_case
@plain_or_centered
def test_kernels_are_symmetric_and_positive_semidefinite(case, centered):
    network, inputs = build(case)
    scales = expected_kernels(case)
    for name, value in layer_kernels(network, inputs, centered=centered).items():
        size = value.shape[0] * value.shape[1]
        matrix = value.reshape(size, size)
        rounding = 1e-14 * scales[name].norm().item()
        torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=rounding)
        assert torch.linalg.eigvalsh(matrix)[0] >= -rounding
        if centered:
            assert value.mean(dim=0).norm() <= rounding
            assert value.mean(dim=2).norm() <= rounding


@every_case
def test_per_example_gradients_equal_brute_force_jacobians(case):
    reached = [layer for layer in layer_passes(*build(case))[0] if layer.gradients is not None]
    expected = jacobians(case)
    found = {layer.name: per_example(layer) for layer in reached}
    assert_equal(found, {name: expected[name] for name in found})
    assert not any(row.any() for name, row in expected.items() if name not in found)


@every_case
def test_traces_are_the_squares_of_brute_force_jacobians(case):
    network, inputs = build(case)
    traces = layer_traces(network, inputs)
    assert list(traces) == list(layer_kernels(network, inputs))
    for name, rows in jacobians(case).items():
        assert traces[name] == pytest.approx(rows.square().sum().item(), rel=1e-12)


@every_case
@plain_or_centered
def test_summaries_are_those_of_the_kernels(case, centered):
    network, inputs = build(case)
    kernels = layer_kernels(network, inputs, centered=centered)
    scales = expected_kernels(case)
    targets = points(*next(iter(kernels.values())).shape[:2], seed=2)
    summaries, total = summarise_kernels(network, inputs, targets, centered=centered)
    assert list(summaries) == list(kernels)
    for name, value in kernels.items():
        summary, rounding = summaries[name], 1e-14 * scales[name].norm().item()
        if value.norm() <= rounding:  # nothing else is left by centring
            assert summary.norm <= rounding
            assert abs(summary.form) <= rounding * targets.square().sum()
            continue
        form = torch.einsum("ic,icjd,jd", targets, value, targets).item()
        assert summary.norm == pytest.approx(value.norm().item(), rel=1e-12)
        absolute = max(1e-12 * summary.norm, rounding)  # of the kernel before centring
        assert summary.form == pytest.approx(form, rel=1e-10, abs=absolute)
        found = alignment_of(summary.form, summary.norm, targets)
        near = partial(pytest.approx, rel=1e-10, abs=absolute / summary.norm)
        assert found == near(kernel_alignment(value, targets))
        assert found == near(reference.alignment(value, targets))
    assert_equal({"": total}, {"": sum(kernels.values())})


@every_case
def test_stored_features_give_derivatives_along_displacements(case):
    network, inputs = build(case)
    layers = {name: network.get_submodule(name) for name in jacobians(case)}
    known = all(
        isinstance(layer, nn.Linear | nn.Conv2d) and getattr(layer, "groups", 1) == 1
        for layer in layers.values()
    )
    if not known or case in ("idle layers", "cut by detach", "cut by no_grad"):
        with pytest.raises(ValueError, match="stored features are known|no output depends"):
            tangent_features(network, inputs)
        return
    features = tangent_features(network, inputs)
    torch.testing.assert_close(features.outputs, network(inputs).detach())
    for name, rows in jacobians(case).items():
        shapes = [parameter.shape for parameter in layers[name].parameters()]
        moved = [points(*shape, seed=3 + place) for place, shape in enumerate(shapes)]
        weight, bias = moved if len(moved) == 2 else (*moved, None)
        expected = rows @ torch.cat([part.flatten() for part in moved])
        assert_equal({name: features.layers[name].along(weight, bias)}, {name: expected})


@every_case
def test_dropping_examples_drops_their_rows(case):
    network, inputs = build(case)
    kept = torch.arange(len(inputs) - 1, -1, -2)
    expected = {name: value[kept][:, :, kept] for name, value in expected_kernels(case).items()}
    assert_equal(layer_kernels(network, inputs[kept]), expected)


def test_every_type_of_layer_has_a_case():
    tested = {type(module) for case in CASES for module in build(case)[0].modules()}
    assert set(LAYERS) <= tested


class Scale(nn.Module):
    """One weight for each feature."""

    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, x):
        return self.weight * x


def scale_rows(layer, inputs, gradients):
    return gradients * inputs


def sequence_patches(layer, inputs, gradients):
    yield inputs.unfold(2, *layer.kernel_size, 1).transpose(2, 3).flatten(1, 2), gradients


def sequence_add(total, layer, values):
    return total + layer._conv_forward(values, layer.weight, None)


def assert_known(network, inputs):
    """Check kernels, sums, traces and per-example gradients against brute force."""
    rows = reference.jacobians(network, inputs)
    expected = {name: reference.kernel(row) for name, row in rows.items()}
    assert_equal(layer_kernels(network, inputs), expected)
    _, total = summarise_kernels(network, inputs, points(len(inputs), 3))
    assert_equal({"": total}, {"": sum(expected.values())})
    traces = layer_traces(network, inputs)
    assert traces == pytest.approx({name: row.square().sum().item() for name, row in rows.items()})
    found = {layer.name: per_example(layer) for layer in layer_passes(network, inputs)[0]}
    assert_equal(found, rows)


def test_a_new_type_of_layer_is_one_function_and_one_entry(monkeypatch):
    network, inputs = chain(nn.Linear(5, 4), nn.Tanh(), Scale(4), nn.Linear(4, 3)), points(4, 5)
    with pytest.raises(ValueError, match="'2' is a Scale with parameters weight.*plain Linear"):
        layer_kernels(network, inputs)
    monkeypatch.setitem(RULES, Scale, Rows(scale_rows))
    assert_known(network, inputs)
    assert list(graph_covariances(network, [inputs])) == ["0", "3"]


def test_a_new_type_of_layer_with_patches_has_features_and_covariances_too(monkeypatch):
    rule = Patches(sequence_patches, 2, nn.Conv1d._conv_forward, sequence_add)
    monkeypatch.setitem(RULES, nn.Conv1d, rule)
    network = chain(nn.Conv1d(2, 4, 3), nn.Tanh(), nn.Conv1d(4, 3, 2), nn.Flatten())
    network.append(nn.Linear(9, 3, dtype=torch.float64))
    inputs = points(4, 2, 6)
    assert_known(network, inputs)
    flat = chain(nn.Conv2d(2, 4, (1, 3)), nn.Tanh(), nn.Conv2d(4, 3, (1, 2)), nn.Flatten())
    flat.append(network[4])
    for place in (0, 2):
        flat[place].weight.data = network[place].weight.data[:, :, None]
        flat[place].bias.data = network[place].bias.data
    expected = graph_covariances(flat, [inputs[:, :, None]])
    assert_equal(graph_covariances(network, [inputs]), expected)
    moved = points(4, 2, 3), points(4)
    found = tangent_features(network, inputs).layers["0"].along(*moved)
    rows = reference.jacobians(network, inputs)["0"]
    assert_equal({"": found}, {"": rows @ torch.cat([part.flatten() for part in moved])})


def test_normalisations_change_the_kernels_they_are_tested_on():
    # running statistics and eps far from their defaults, so that ignoring them would be noticed
    network, inputs = build("batch norms")
    before = layer_kernels(network, inputs)
    network[0].eps = 1e-5
    network[6].running_var *= 2
    after = layer_kernels(network, inputs)
    for name in ("0", "6"):
        assert (after[name] - before[name]).norm() > 1e-3 * before[name].norm()


@pytest.mark.parametrize(
    "case, names",
    [
        ("graph", ["first", "second", "side", "gate", "head"]),
        ("idle layers", ["dropped", "used", "dead", "unused"]),
    ],
)
def test_layers_come_in_the_order_of_the_calls(case, names):
    assert list(layer_kernels(*build(case))) == names


def test_layers_that_reach_no_output_have_zero_kernels():
    network, inputs = build("idle layers")
    found = layer_kernels(network, inputs)
    summaries, total = summarise_kernels(network, inputs, points(4, 3))
    traces = layer_traces(network, inputs)
    for name in ("dropped", "dead", "unused"):
        assert torch.equal(found[name], torch.zeros(4, 3, 4, 3, dtype=torch.float64))
        assert (summaries[name].norm, summaries[name].form, traces[name]) == (0, 0, 0)
    assert_equal({"": total}, {"": found["used"]})


@pytest.mark.parametrize("case", ["strides, groups, dilation", "padding reflect", "resnet18"])
def test_memory_format_does_not_matter(case):
    network, inputs = build(case)
    expected = layer_kernels(network, inputs)
    assert_equal(layer_kernels(network, inputs.to(memory_format=torch.channels_last)), expected)
    network = network.to(memory_format=torch.channels_last)
    assert_equal(layer_kernels(network, inputs.to(memory_format=torch.channels_last)), expected)
    assert_equal(layer_kernels(network, inputs.transpose(2, 3).contiguous().mT), expected)


def freeze(network, frozen):
    """Freeze weights, biases or the first layers; return the columns of the others by layer."""
    modules = [m for m in network.modules() if list(m.parameters(recurse=False))]
    for place, module in enumerate(modules):
        for name, parameter in module.named_parameters(recurse=False):
            halfway = frozen == "first layers" and 2 * place < len(modules)
            parameter.requires_grad_(not (halfway or name == frozen))
    columns = {}
    for name, parameter in network.named_parameters():
        kept = torch.full((parameter.numel(),), parameter.requires_grad)
        columns.setdefault(name.rpartition(".")[0], []).append(kept)
    return {name: torch.cat(parts) for name, parts in columns.items()}


@every_case
@pytest.mark.parametrize("frozen", ["weight", "bias", "first layers"])
def test_frozen_parameters_may_be_left_out(case, frozen):
    network, inputs = build(case)
    columns = freeze(network, frozen)
    rows = {name: row[:, :, columns[name]] for name, row in jacobians(case).items()}
    rows = {name: row for name, row in rows.items() if row.shape[2]}
    if not rows:
        with pytest.raises(ValueError, match="no parameter requires gradients"):
            layer_kernels(network, inputs, trainable_only=True)
        return
    expected = {name: reference.kernel(row) for name, row in rows.items()}
    scales = expected_kernels(case)
    options = {"trainable_only": True}
    assert_equal(layer_kernels(network, inputs, **options), expected, scales)
    whole = {"": sum(scales.values())}
    total = {"": sum(expected.values())}
    assert_equal({"": tangent_kernel(network, inputs, **options)}, total, whole)
    targets = points(*total[""].shape[:2], seed=2)
    _, found = summarise_kernels(network, inputs, targets, **options)
    assert_equal({"": found}, total, whole)
    traces = layer_traces(network, inputs, **options)
    squares = {name: row.square().sum().item() for name, row in rows.items()}
    assert traces == pytest.approx(squares, rel=1e-11, abs=1e-20)
    passes, _ = layer_passes(network, inputs, **options)
    reached = {layer.name: per_example(layer) for layer in passes if layer.gradients is not None}
    lengths = {name: jacobians(case)[name] for name in reached}
    assert_equal(reached, {name: rows[name] for name in reached}, lengths)


def test_frozen_layers_may_be_of_any_kind():
    network = chain(nn.Linear(4, 6), Scale(6), nn.Tanh(), nn.Linear(6, 3))
    inputs = points(5, 4)
    with pytest.raises(ValueError, match="'1' is a Scale"):
        layer_kernels(network, inputs)
    network[1].requires_grad_(False)
    expected = reference.layer_kernels(network, inputs)
    found = layer_kernels(network, inputs, trainable_only=True)
    assert_equal(found, {name: expected[name] for name in ("0", "3")})


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
    network, inputs = build(case)
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
    assert seen == ["forward"] * 2  # with all examples, and with a few by themselves
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
    network, inputs = build(case)
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


def test_centring_is_that_of_each_block_of_outputs():
    kernel = reference.kernel(points(5, 3, 20))
    centring = torch.eye(5, dtype=torch.float64) - 0.2
    for c in range(3):
        for d in range(3):
            found = center_kernel(kernel)[:, c, :, d]
            assert_equal({"": found}, {"": centring @ kernel[:, c, :, d] @ centring})


def test_a_centred_kernel_of_one_example_is_zero():
    network, inputs = build("one example")
    assert all(not value.any() for value in layer_kernels(network, inputs, centered=True).values())


def test_the_form_is_the_squared_gradient_of_the_weighted_outputs():
    # yᵀKy = ‖Σ y_ic ∇f_c(x_i)‖², with one ordinary backward pass
    network, inputs = build("strides, groups, dilation")
    targets = points(4, 3, seed=2)
    (network(inputs) * targets).sum().backward()
    for name, summary in summarise_kernels(network, inputs, targets)[0].items():
        parameters = network.get_submodule(name).parameters()
        square = sum(parameter.grad.square().sum().item() for parameter in parameters)
        assert summary.form == pytest.approx(square, rel=1e-11)


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
    network, inputs = build(case)
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
    network, inputs = build(case)
    if case == "vgg11":  # as initialised: centring leaves 2e-4 of a random one's kernels
        network = convolutional("vgg11").eval()
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


def two(function):
    return calling(function, first=nn.Linear(4, 4), head=nn.Linear(4, 3))


def weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)))


REFUSED = {
    # name: what builds the network, message, shape of the inputs if it is not (5, 4)
    "called twice": (two(lambda m, x: m.head(m.first(m.first(x)))), "'first' is called twice"),
    "shared parameter": (shared, "'0' shares a parameter"),
    "unknown layer": (
        of(nn.Bilinear(2, 3, 2), nn.Flatten()),
        "'0' is a Bilinear with parameters.*Linear, Conv2d",
        (5, 2, 1, 1),
    ),
    "bag of embeddings": (of(nn.EmbeddingBag(4, 3)), "'0' is a EmbeddingBag with parameters"),
    "embedding that rescales its rows": (
        of(nn.Embedding(4, 3, max_norm=1.0)),
        "'0' is an Embedding that rescales its rows",
    ),
    "bare parameter": (Bare, "the model itself.* is a Bare with parameters"),
    "recurrent": (lambda: nn.GRU(4, 3), "is a GRU with parameters"),
    "no parameters": (of(nn.Flatten()), "no parameters"),
    "batch norm in training": (
        of(nn.Linear(4, 3), nn.BatchNorm1d(3)),
        r"batch norm '1'.*model\.eval\(\)",
    ),
    "batch norm without parameters, in training": (
        of(nn.Linear(4, 3), nn.BatchNorm1d(3, affine=False)),
        "batch norm '1'",
    ),
    "batch norm without statistics": (
        of(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False).eval()),
        "running statistics tracked",
    ),
    "dropout": (of(nn.Linear(4, 3), nn.Dropout(0.1)), r"dropout '1' is on.*model\.eval\(\)"),
    "outputs with positions": (
        of(nn.Conv2d(2, 3, 1)),
        r"outputs of shape \(5, C\), got \(5, 3, 4, 4\)",
        (5, 2, 4, 4),
    ),
    "one output without its axis": (
        of(nn.Linear(4, 1), nn.Flatten(0)),
        r"outputs of shape \(5, C\), got \(5,\)",
    ),
    "a mean over the examples": (
        two(lambda m, x: m.head(m.first(x)).mean(dim=0, keepdim=True)),
        r"outputs of shape \(5, C\), got \(1, 3\)",
    ),
    "two outputs": (two(lambda m, x: (m.head(x), m.first(x))), "outputs of shape .* got a tuple"),
    "overwritten": (
        two(lambda m, x: (h := m.first(x), m.head(h) + h.mul_(2)[:, :3])[1]),
        "what layer 'head' saw was overwritten",
    ),
    "examples and tokens in one axis": (
        two(lambda m, x: m.head(m.first(x.flatten(0, 1)).view(x.shape).mean(dim=1))),
        r"layer 'first' .*30.* 5 examples",
        (5, 6, 4),
    ),
    "tokens first": (
        two(lambda m, x: m.head(m.first(x.transpose(0, 1)).mean(dim=0))),
        r"layer 'first' .*6.* 5 examples",
        (5, 6, 4),
    ),
    "weights used without their layer": (
        two(lambda m, x: m.head(F.linear(x, m.first.weight).relu())),
        "'first'",
    ),
    "weights used beside their layer": (
        two(lambda m, x: m.head(F.linear(m.first(x).relu(), m.first.weight.T))),
        "'first'",
    ),
    "weights used, and their layer for nothing": (
        two(lambda m, x: m.head(F.linear(x, m.first.weight).relu() + 0 * m.first(x).detach())),
        "'first",
    ),
    "another forward": (of(Scaled(4, 3)), "'0' is a Scaled"),
    "further parameters": (of(Adapted(4, 3)), "'0' is a"),
    "weight norm": (weight_norm, "'0' "),
    "parametrised": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))),
        "is a Parametri.* with parameters",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    make, message, *shape = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        layer_kernels(make().double(), points(*(shape[0] if shape else (5, 4))))


@pytest.mark.parametrize("shape", [(5, 2), (4, 3), (5,), (3, 5)])
def test_wants_a_target_for_every_output(shape):
    with pytest.raises(ValueError, match=r"targets of shape \(5, 3\), got"):
        summarise_kernels(perceptron(), points(5, 12), points(*shape))
