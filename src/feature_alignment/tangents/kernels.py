"""Tangent kernels of networks, layer by layer, exactly.

The tangent kernel of layer l on examples x_1 … x_n, for a network with outputs f_1 … f_C, is

    K_l[i,c,j,d] = Σ_{θ in layer l} ∂f_c(x_i)/∂θ · ∂f_d(x_j)/∂θ,

weights and biases together; that of the network is the sum over layers. Kernels have the shape
(n, C, n, C). One forward pass and C backward passes serve all layers.

All parameters count, frozen or not, unless ``trainable_only`` is set. Kernels of float16 and
bfloat16 networks are computed in float32, of the weights as they are; autocast has no effect.

References:
    Baratin et al. (2021), tangent features; Jacot et al. (2018) for the kernel.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, sqrt

import torch
from torch import Tensor, nn

from feature_alignment.tangents.capture import layer_passes
from feature_alignment.tangents.layers import LayerPass
from feature_alignment.tangents.memory import expect_room, kernels_size
from feature_alignment.tangents.precision import exact_products
from feature_alignment.tangents.verify import check_finite, full_precision

BUDGET_MIB = 256
FEWER = "the number of examples, or take layer_traces, which needs no kernel"
LESS = (
    "the number of examples, or take iterate_layer_kernels, which holds one kernel at a time, "
    "summarise_kernels, which holds their sum, or layer_traces, which needs no kernel"
)

log = logging.getLogger(__name__)


def layer_kernels(
    model: nn.Module,
    inputs: Tensor,
    *,
    centered: bool = False,
    trainable_only: bool = False,
    budget_mib: int = BUDGET_MIB,
) -> dict[str, Tensor]:
    """Compute the tangent kernel of every layer with parameters.

    Args:
        model: Its parameters belong to Linear, Conv2d (any stride, padding, dilation, groups),
            BatchNorm in evaluation mode or LayerNorm modules, each called once, in any graph.
        inputs: (n, …), passed to ``model``, which returns (n, C).
        centered: Whether to remove each output's mean tangent feature over the examples; see
            :func:`center_kernel`.
        trainable_only: Whether only parameters with ``requires_grad`` count. Layers without any
            are then left out, and may be of any kind.
        budget_mib: Bound on intermediate results, MiB, besides the kernels themselves and the
            gradients with respect to layer outputs, n · C values per unit.

    Returns:
        For each layer, by module name in the order of the calls, K_l of shape (n, C, n, C).

    Raises:
        ValueError: If the network is none of these, or a kernel is too large for its type; see
            :func:`feature_alignment.tangents.capture.layer_passes`.
        MemoryError: If the kernels need more memory than there is
            (:func:`feature_alignment.tangents.memory.kernels_size`), before any is computed; what
            they need is logged.
    """

    def expect(layers: int, outputs: Tensor) -> None:
        n, classes = len(inputs), outputs.shape[1]
        size = kernels_size(n, classes, layers, outputs.dtype)
        log.info("the kernels of %d layers take %.3g MiB", layers, size / 2**20)
        expect_room(
            (layers, n, classes, n, classes),
            outputs,
            f"{layers} times the tangent kernel of {n} examples and {classes} outputs",
            LESS,
        )

    passes, outputs = layer_passes(
        model, inputs, trainable_only=trainable_only, write=True, expect=expect
    )
    return dict(kernels_of(passes, outputs, centered=centered, budget_mib=budget_mib))


@torch.no_grad()
def iterate_layer_kernels(
    model: nn.Module,
    inputs: Tensor,
    *,
    centered: bool = False,
    trainable_only: bool = False,
    budget_mib: int = BUDGET_MIB,
) -> Iterator[tuple[str, Tensor]]:
    """Yield what :func:`layer_kernels` returns one layer at a time, to be used and dropped."""
    passes, outputs = layer_passes(
        model, inputs, trainable_only=trainable_only, write=True, expect=_expecting(inputs)
    )
    yield from kernels_of(passes, outputs, centered=centered, budget_mib=budget_mib)


@torch.no_grad()
def kernels_of(
    passes: list[LayerPass],
    outputs: Tensor,
    *,
    centered: bool = False,
    budget_mib: int = BUDGET_MIB,
) -> Iterator[tuple[str, Tensor]]:
    """Yield the kernel (n, C, n, C) of each layer, and take the layer off the list.

    Args:
        passes: What the kernels follow from.
        outputs: f, (n, C).
        centered: As in :func:`layer_kernels`.
        budget_mib: As in :func:`layer_kernels`.
    """
    while passes:
        layer = passes.pop(0)
        with full_precision(outputs.device), exact_products():
            kernel = _layer_kernel(layer, outputs, budget_mib * 2**20)
        check_finite(kernel, f"the kernel of layer {layer.name!r}: its values")
        if centered:
            kernel -= kernel.mean(dim=1, keepdim=True)
            kernel -= kernel.mean(dim=3, keepdim=True)
        yield layer.name, kernel.permute(1, 0, 3, 2)


def tangent_kernel(
    model: nn.Module,
    inputs: Tensor,
    *,
    centered: bool = False,
    trainable_only: bool = False,
    budget_mib: int = BUDGET_MIB,
) -> Tensor:
    """Compute the tangent kernel of the whole network, Σ_l K_l, (n, C, n, C).

    Arguments and errors as in :func:`layer_kernels`.
    """
    options = {"centered": centered, "trainable_only": trainable_only, "budget_mib": budget_mib}
    return sum(kernel for _, kernel in iterate_layer_kernels(model, inputs, **options))


@dataclass(frozen=True)
class KernelSummary:
    """What alignment needs of a kernel: ‖K‖_F and the quadratic form yᵀKy."""

    norm: float
    form: float


@torch.no_grad()
def summarise_kernels(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    centered: bool = False,
    trainable_only: bool = False,
    budget_mib: int = BUDGET_MIB,
) -> tuple[dict[str, KernelSummary], Tensor]:
    """Summarise the kernel of every layer, keeping none but their sum.

    Args:
        model: As in :func:`layer_kernels`.
        inputs: (n, …).
        targets: y of the quadratic form, (n, C).
        centered: As in :func:`layer_kernels`.
        trainable_only: As in :func:`layer_kernels`.
        budget_mib: As in :func:`layer_kernels`.

    Returns:
        The summary of each layer's kernel by module name, and the kernel of the whole network,
        (n, C, n, C). A centred kernel so small compared with what centring removed that only
        rounding can be left, as when a layer sees the same for all examples, is summarised as zero.

    Raises:
        ValueError: If the targets are not (n, C) and finite, or as in :func:`layer_kernels`.
    """
    passes, outputs = layer_passes(
        model, inputs, trainable_only=trainable_only, write=True, expect=_expecting(inputs)
    )
    return summaries_of(passes, outputs, targets, centered=centered, budget_mib=budget_mib)


@torch.no_grad()
def summaries_of(
    passes: list[LayerPass],
    outputs: Tensor,
    targets: Tensor,
    *,
    centered: bool = False,
    budget_mib: int = BUDGET_MIB,
) -> tuple[dict[str, KernelSummary], Tensor]:
    """Return what :func:`summarise_kernels` does, and take the layers off the list.

    Args:
        passes: What the kernels follow from.
        outputs: f, (n, C).
        targets: As in :func:`summarise_kernels`.
        centered: As in :func:`layer_kernels`.
        budget_mib: As in :func:`layer_kernels`.

    Raises:
        ValueError: If the targets are not (n, C) and finite.
    """
    if targets.shape != outputs.shape:
        raise ValueError(
            f"expected targets of shape {tuple(outputs.shape)}, got {tuple(targets.shape)}"
        )
    check_finite(targets, "the targets")
    weights = targets.T.to(outputs).contiguous()
    total = _zero_kernel(outputs)
    with full_precision(outputs.device), exact_products():
        summaries = _summaries(passes, weights, total, centered, budget_mib * 2**20)
    for c in range(len(total)):
        total[c + 1 :, :, c] = total[c, :, c + 1 :].permute(1, 2, 0)
    return summaries, total.permute(1, 0, 3, 2)


def _summaries(
    passes: list[LayerPass], weights: Tensor, total: Tensor, centered: bool, budget: int
) -> dict[str, KernelSummary]:
    """Return the summaries, and add the upper half of every kernel to ``total``."""
    summaries = {}
    while passes:
        layer = passes.pop(0)
        factors = layer.rule.factors(layer) if layer.reached else None
        if factors is not None:
            square, form, removed = _factored(*factors, weights, total, centered)
        else:
            sums = _Sums(weights)
            for c, rows in enumerate(_upper_rows(layer, budget)):  # K[c,i,d,j], d ≥ c
                if centered:
                    sums.removed += [_subtract_mean(rows, dim) for dim in (0, 2)]
                total[c, :, c:] += rows
                sums.add(c, rows)
            square, form, removed = sums.found()
        _check_sum(square, layer)
        if square < (100 * torch.finfo(total.dtype).eps) ** 2 * removed:
            square = form = 0.0  # centring has left nothing but rounding
        summaries[layer.name] = KernelSummary(sqrt(square), form)
    return summaries


def _factored(
    outer: Tensor, inner: Tensor, weights: Tensor, total: Tensor, centered: bool
) -> tuple[float, float, float]:
    """Return what :meth:`_Sums.found` does, of K = V[c,d] A[i,j]; add its upper half to ``total``.

    ‖K‖ = ‖V‖ ‖A‖ and yᵀKy = Σ_cd V[c,d] y_cᵀ A y_d.
    """
    removed = inner.new_zeros((), dtype=torch.float64)
    if centered:
        lengths = [_subtract_mean(inner, dim) for dim in (0, 1)]
        removed = torch.stack(lengths).double().square().sum()
    for c, row in enumerate(outer.tolist()):
        for d in range(c, len(row)):
            if row[d]:
                total[c, :, d].add_(inner, alpha=row[d])
    values, inner = outer.double(), inner.double()
    form = (values * (weights.double() @ inner @ weights.double().T)).sum()
    scale = values.square().sum()
    return tuple(torch.stack([scale * inner.square().sum(), form, scale * removed]).tolist())


def _subtract_mean(rows: Tensor, dim: int) -> Tensor:
    """Subtract the mean along an axis in place, and return the length of what was subtracted."""
    means = rows.mean(dim=dim, keepdim=True)
    rows -= means
    return torch.linalg.vector_norm(means) * sqrt(rows.shape[dim])


class _Sums:
    """‖K‖² and yᵀKy of one layer, from K[c,:,c:,:] for one output c after the other.

    Few numbers are asked for before the end, and sums over outputs are in float64: long sums of
    float32 squares lose digits.
    """

    def __init__(self, weights: Tensor):
        self._weights = weights
        self._lengths: list[Tensor] = []
        self._products: list[Tensor] = []
        self.removed: list[Tensor] = []

    def add(self, c: int, rows: Tensor) -> None:
        """Add rows (n, C − c, n)."""
        self._lengths.append(torch.linalg.vector_norm(rows, dim=2))
        self._products.append(self._weights[c] @ rows.flatten(1))

    def found(self) -> tuple[float, float, float]:
        """Return ‖K‖², yᵀKy and the square of what centring removed."""
        if not self._lengths:
            return 0.0, 0.0, 0.0
        classes = len(self._weights)
        # Blocks off the diagonal stand for two.
        twice = self._weights.new_full((classes, classes), 2, dtype=torch.float64)
        twice = twice.fill_diagonal_(1)[tuple(torch.triu_indices(classes, classes))]
        squares = torch.cat(self._lengths, dim=1).double().square_()
        columns = torch.cat([self._weights[c:] for c in range(classes)]).double()
        forms = torch.cat(self._products).view_as(columns) * columns
        removed = torch.stack([*self.removed, self._weights.new_zeros(())]).double().square_().sum()
        numbers = [squares.sum(dim=0) @ twice, forms.sum(dim=1) @ twice, removed]
        square, form, gone = torch.stack(numbers).tolist()
        return square, form, gone


def _zero_kernel(outputs: Tensor) -> Tensor:
    n, classes = outputs.shape
    _expect_room(outputs)
    return outputs.new_zeros(classes, n, classes, n)


def _expecting(inputs: Tensor) -> Callable[[int, Tensor], None]:
    """Return what checks, given a few outputs, that one kernel of all examples has room."""
    return lambda _, outputs: _expect_room(outputs, len(inputs))


def _expect_room(outputs: Tensor, examples: int | None = None) -> None:
    n, classes = examples or len(outputs), outputs.shape[1]
    what = f"the tangent kernel of {n} examples and {classes} outputs"
    expect_room((classes, n, classes, n), outputs, what, FEWER)


def _layer_kernel(layer: LayerPass, outputs: Tensor, budget: int) -> Tensor:
    if not layer.reached:
        return _zero_kernel(outputs)
    _expect_room(outputs)
    return layer.rule.kernel(layer, budget)


def _upper_rows(layer: LayerPass, budget: int) -> Iterator[Tensor]:
    if layer.reached:
        yield from layer.rule.upper_rows(layer, budget)


def center_kernel(kernel: Tensor) -> Tensor:
    """Return the kernel of tangent features minus each output's mean over the examples.

    In every block of outputs (c, d) the examples are centred, K ← H K H with H = I − 11ᵀ/n.

    Args:
        kernel: (n, C, n, C).
    """
    kernel = kernel - kernel.mean(dim=0, keepdim=True)
    return kernel - kernel.mean(dim=2, keepdim=True)


@torch.no_grad()
def layer_traces(
    model: nn.Module, inputs: Tensor, *, trainable_only: bool = False
) -> dict[str, float]:
    """Compute the trace Σ_{i,c} K_l[i,c,i,c] of every layer's kernel, without the kernel.

    Arguments and errors as in :func:`layer_kernels`.
    """
    passes, outputs = layer_passes(model, inputs, trainable_only=trainable_only, write=True)
    with full_precision(outputs.device), exact_products():
        traces = {layer.name: sum(map(_square_sum, _squares(layer))) for layer in passes}
    for layer in passes:
        _check_sum(traces[layer.name], layer)
    return traces


def _check_sum(square: float, layer: LayerPass) -> None:
    if not isfinite(square):
        raise ValueError(
            f"the kernel of layer {layer.name!r} is too large for its type; scale inputs or "
            "weights down, or call model.double()"
        )


def _squares(layer: LayerPass) -> Iterator[Tensor]:
    if layer.reached:
        yield from layer.rule.squares(layer)


def _square_sum(values: Tensor) -> float:
    return values.square().sum(dtype=torch.float64).item()
