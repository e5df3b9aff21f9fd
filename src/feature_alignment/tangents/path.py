"""The tangent kernel of the gradient averaged along a straight path of weights.

Between weights θ_0 and θ_T, the averaged tangent features of a network with one output are

    ḡ(x) = ∫_0^1 ∇_θ f(x; (1 − t) θ_0 + t θ_T) dt,

and f_T(x) − f_0(x) = ⟨ḡ(x), θ_T − θ_0⟩ exactly: as a linear model on ḡ, with weights θ_T − θ_0,
the network learns what it learns. Their kernel is K̄(x, x′) = ⟨ḡ(x), ḡ(x′)⟩, which is not the
average of the kernels on the path.

References:
    LeJeune & Alemohammad (2024), figures 1 and 3.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from feature_alignment.tangents.capture import LayerPass, layer_passes
from feature_alignment.tangents.gram import row_gram
from feature_alignment.tangents.verify import check_inputs, full_precision

BLOCK_BYTES = 16 * 2**20
"""How much of the averaged products is written out at a time; more leaves the processor's cache."""


@dataclass(frozen=True)
class PathAverage:
    """What the averaged tangent features ḡ say of n examples.

    ``kernel`` K̄[i,j] = ⟨ḡ(x_i), ḡ(x_j)⟩, (n, n), and ``change`` ⟨ḡ(x_i), θ_T − θ_0⟩, (n,).
    ``layers`` are the terms of K̄ that the parameters of single layers make, (n, n) each, by module
    name in the order of the calls; K̄ is their sum.
    """

    kernel: Tensor
    change: Tensor
    layers: dict[str, Tensor]


@torch.no_grad()
def path_average(start: nn.Module, end: nn.Module, inputs: Tensor, *, points: int) -> PathAverage:
    """Compute the kernel of the tangent features averaged along the path, and the change of f.

    ∂f/∂W_l is the product of ∂f/∂h_l, h_l being the outputs of layer l, and what the layer saw.
    The first layer sees the same all along the path, so that its part of K̄ needs the average of
    ∂f/∂h_1 alone; for the others the averaged products are written out for a few units at a time.
    Next to the result, that takes ``points`` · n values for each unit that a layer but the first
    sees or has.

    Args:
        start: The network with θ_0, fully connected: its parameters belong to Linear modules,
            called once each.
        end: The same network with θ_T. All parameters count, frozen or not; float16 and bfloat16
            networks are computed in float32.
        inputs: (n, …), passed to the network, which returns (n, 1).
        points: Number of equally weighted points t from 0 to 1 that stand for the integral; one
            point is t = 0.

    Raises:
        ValueError: If there is no point, the networks differ in their parameters, have more than
            one output, in more than their parameters, or are not fully connected; or see
            :func:`feature_alignment.tangents.capture.layer_passes`.
    """
    if points < 1:
        raise ValueError(f"expected one point or more on the path, got points={points}")
    dtype = check_inputs(start, inputs)
    shapes = [{name: p.shape for name, p in net.named_parameters()} for net in (start, end)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"expected two states of one network, got parameters {_listed(shapes[0])} and "
            f"{_listed(shapes[1])}"
        )
    _check_same(start, end)
    with full_precision(inputs.device):
        return _path_average(start, end, inputs, points, dtype)


def _path_average(
    start: nn.Module, end: nn.Module, inputs: Tensor, points: int, dtype: torch.dtype
) -> PathAverage:
    moving = copy.deepcopy(start).to(dtype)
    if inputs.is_floating_point():
        inputs = inputs.to(dtype)
    triples = list(zip(start.parameters(), moving.parameters(), end.parameters(), strict=True))
    averages: list[_LayerAverage] = []
    for index, t in enumerate(torch.linspace(0, 1, points, dtype=torch.float64).tolist()):
        for first, parameter, last in triples:
            parameter.copy_(torch.lerp(first.to(dtype), last.to(dtype), t))
        passes, outputs = layer_passes(moving, inputs)
        if not averages:
            _check(passes, outputs)
            averages = [_FirstLayer(passes[0]), *(_LaterLayer(p, points) for p in passes[1:])]
        for average, layer in zip(averages, passes, strict=True):
            average.add(layer, index, 1 / points)
    layers: dict[str, Tensor] = {}
    change = outputs.new_zeros(len(outputs))
    modules = dict(start.named_modules()), dict(end.named_modules())
    while averages:
        average = averages.pop(0)
        moved = _moved(*(named[average.name] for named in modules), dtype)
        term = layers[average.name] = outputs.new_zeros(len(outputs), len(outputs))
        average.contribute(moved, term, change)
    return PathAverage(sum(layers.values()), change, layers)


class _FirstLayer:
    """The average of ∂f/∂h_1, next to inputs that stay as they are."""

    def __init__(self, layer: LayerPass):
        self.name = layer.name
        self._inputs = layer.inputs.new_ones(len(layer.inputs), _columns(layer.module))
        self._inputs[:, : layer.module.in_features] = layer.inputs
        self._gradient = torch.zeros_like(layer.gradients[0])

    def add(self, layer: LayerPass, index: int, weight: float) -> None:
        self._gradient.add_(layer.gradients[0], alpha=weight)

    def contribute(self, moved: Tensor, kernel: Tensor, change: Tensor) -> None:
        kernel += (self._gradient @ self._gradient.T) * (self._inputs @ self._inputs.T)
        change += ((self._inputs @ moved.T) * self._gradient).sum(dim=1)


class _LaterLayer:
    """∂f/∂h_l (n, T, out) and what the layer saw (n, T, in), with 1 as a last input for a bias."""

    def __init__(self, layer: LayerPass, points: int):
        self.name = layer.name
        n, width = layer.gradients.shape[1:]
        self._inputs = layer.inputs.new_ones(n, points, _columns(layer.module))
        self._gradients = layer.gradients.new_empty(n, points, width)

    def add(self, layer: LayerPass, index: int, weight: float) -> None:
        self._inputs[:, index, : layer.module.in_features] = layer.inputs
        self._gradients[:, index] = layer.gradients[0] * weight

    def contribute(self, moved: Tensor, kernel: Tensor, change: Tensor) -> None:
        n, _, columns = self._inputs.shape
        units = max(1, BLOCK_BYTES // (n * columns * self._inputs.element_size()))
        for gradients, part in zip(
            self._gradients.split(units, dim=2), moved.split(units), strict=True
        ):
            products = (gradients.transpose(1, 2) @ self._inputs).flatten(1)
            kernel += row_gram(products[None])[0, :, 0]
            change += products @ part.flatten()


_LayerAverage = _FirstLayer | _LaterLayer


def _columns(linear: nn.Linear) -> int:
    return linear.in_features + (linear.bias is not None)


def _moved(start: nn.Linear, end: nn.Linear, dtype: torch.dtype) -> Tensor:
    """Return how far a layer moved, (out, in), with the bias as a last column."""
    weight = end.weight.to(dtype) - start.weight.to(dtype)
    if start.bias is None:
        return weight
    return torch.cat([weight, (end.bias.to(dtype) - start.bias.to(dtype))[:, None]], dim=1)


def _check_same(start: nn.Module, end: nn.Module) -> None:
    """Check that two networks differ in nothing but the values of parameters."""
    kinds = [[type(module).__name__ for module in net.modules()] for net in (start, end)]
    buffers = [dict(net.named_buffers()) for net in (start, end)]
    same = buffers[0].keys() == buffers[1].keys() and all(
        torch.equal(value, buffers[1][name]) for name, value in buffers[0].items()
    )
    if kinds[0] != kinds[1] or not same:
        raise ValueError(
            f"expected two states of one network that differ in parameters alone, got modules "
            f"{', '.join(kinds[0])} and {', '.join(kinds[1])}"
            f"{'' if same else ', with different buffers'}"
        )


def _check(passes: list[LayerPass], outputs: Tensor) -> None:
    if outputs.shape[1] != 1:
        raise ValueError(f"expected a network with one output, got {outputs.shape[1]}")
    for layer in passes:
        linear = isinstance(layer.module, nn.Linear) and layer.gradients is not None
        if not linear or layer.inputs.ndim != 2:
            raise ValueError(
                f"expected a fully connected network, got the layer {layer.name!r}, a "
                f"{type(layer.module).__name__} that does not map one vector per example on the "
                "way to the output"
            )


def _listed(shapes: dict[str, torch.Size]) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
