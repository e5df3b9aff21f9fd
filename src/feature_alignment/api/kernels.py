"""Tangent kernels, alignment and spectrum of any model: five lines from a batch to a number."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from feature_alignment.api.networks import Batch, Output, Prepared, evaluated, prepared, targets_of
from feature_alignment.measures import spectrum as spectra
from feature_alignment.measures.alignment import alignment_of
from feature_alignment.tangents.kernels import BUDGET_MIB, kernels_of, summaries_of
from feature_alignment.tangents.memory import expect_room, kernels_size
from feature_alignment.tangents.network import RULE, NetworkPasses, network_passes
from feature_alignment.tangents.verify import working_dtype

log = logging.getLogger(__name__)

Outputs = Literal["full", "trace", "each"]
"""Which kernel: ``full`` K[i,c,j,d], (n, C, n, C); ``trace`` Σ_c K[i,c,j,c], (n, n); or ``each``
K[i,c,j,c] by output, (C, n, n). The last two need C times less memory than the first."""


class ByLayer(dict):
    """Values by name of the layer, and how each layer was measured.

    ``methods`` says by name of the layer ``rule``, where a rule for its type was used; else
    ``vmap(jacrev)`` or ``one backward pass per example and output``, and why. Both are exact.
    """

    def __init__(self, values: dict, methods: dict[str, str]):
        super().__init__(values)
        self.methods = methods


class LayerKernels(ByLayer):
    """Tangent kernels by name of the layer, in the order of their calls."""

    def total(self) -> Tensor:
        """Return the kernel of the whole network, Σ_l K_l."""
        return sum(self.values())


class LayerAlignments(ByLayer):
    """Kernel–label alignments by name of the layer; ``network`` is that of the sum of kernels.

    A layer whose kernel is zero, or is the same for all examples, is not among them.
    """

    def __init__(self, values: dict[str, float], methods: dict[str, str], network: float):
        super().__init__(values, methods)
        self.network = network


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues λ_1 ≥ λ_2 ≥ … of a kernel, in float64."""

    eigenvalues: NDArray[np.float64]

    @cached_property
    def effective_rank(self) -> float:
        """exp(−Σ p_j log p_j) with p_j = λ_j / Σ λ."""
        return spectra.effective_rank(self.eigenvalues)

    def trace_ratio(self, count: int) -> float:
        """Return Σ_{j ≤ count} λ_j / Σ_j λ_j."""
        return spectra.trace_ratio(self.eigenvalues, count)


def layer_kernels(
    model: nn.Module,
    x: Batch,
    *,
    output: Output | None = None,
    outputs: Outputs = "full",
    centered: bool = False,
    trainable_only: bool = False,
    budget_mib: int = BUDGET_MIB,
) -> LayerKernels:
    """Compute the tangent kernel of every layer with parameters, exactly, for any model.

    K_l[i,c,j,d] = Σ_{θ in layer l} ∂f_c(x_i)/∂θ · ∂f_d(x_j)/∂θ, with the model in evaluation mode.
    A layer with a rule for its type takes one; what has none, is tied, parametrised, called
    several times or used in a function is differentiated as it stands. ``methods`` of the result
    says which, and the log. Both are checked against automatic differentiation on some of the
    examples before anything is returned.

    Args:
        model: Any module that maps examples one by one. Its mode, parameters and buffers stay as
            they are.
        x: Inputs (n, …), a mapping from the model's arguments to tensors, or the pair (x, y).
        output: What of the model's return is measured; needed unless that is (n,) or (n, C).
        outputs: ``full``, ``trace`` or ``each``; see :data:`Outputs`.
        centered: Whether to remove each output's mean tangent feature over the examples.
        trainable_only: Whether only parameters with ``requires_grad`` count.
        budget_mib: Bound on intermediate results, MiB.

    Returns:
        Kernels by name of the layer: (n, C, n, C), (n, n) or (C, n, n). Float16 and bfloat16
        models are measured in float32.

    Raises:
        ValueError: If examples interact, random numbers are drawn, or something is not finite or
            does not fit.
        MemoryError: If the kernels need more memory than there is, before they are computed.
    """
    made, found = _passes(model, x, None, output, outputs, trainable_only)
    methods = _methods(made, found)
    pairs = _kernels(found, outputs, centered, budget_mib)
    return LayerKernels({made.name(name): kernel for name, kernel in pairs}, methods)


def tangent_kernel(
    model: nn.Module,
    x: Batch,
    *,
    output: Output | None = None,
    outputs: Outputs = "full",
    centered: bool = False,
    trainable_only: bool = False,
    budget_mib: int = BUDGET_MIB,
) -> Tensor:
    """Compute the tangent kernel of the whole model, Σ_l K_l, holding one layer's at a time.

    Arguments, shapes and errors as in :func:`layer_kernels`.
    """
    made, found = _passes(model, x, None, output, outputs, trainable_only, kernels=2)
    _methods(made, found)
    return sum(kernel for _, kernel in _kernels(found, outputs, centered, budget_mib))


def layer_alignment(
    model: nn.Module,
    x: Batch,
    y: Tensor | None = None,
    *,
    output: Output | None = None,
    centered: bool = True,
    trainable_only: bool = False,
    budget_mib: int = BUDGET_MIB,
) -> LayerAlignments:
    """Compute the alignment of every layer's tangent kernel with the targets.

    yᵀ K_l y / (‖K_l‖_F ‖y‖²), from 0 to 1, of the kernel in all outputs.

    Args:
        model: As in :func:`layer_kernels`.
        x: As there.
        y: Labels, whole numbers (n,), taken one-hot; or values of the shape of the outputs. Left
            out where x is the pair (x, y).
        output: As there.
        centered: Whether kernels and targets are centred over the examples.
        trainable_only: As there.
        budget_mib: As there.

    Raises:
        ValueError: If the targets do not fit the outputs or are all the same, or every kernel is
            zero; or as in :func:`layer_kernels`.

    References:
        Baratin et al. (2021), centred kernel alignment.
    """
    made, found = _passes(model, x, y, output, "full", trainable_only, kernels=2)
    alignments, _ = aligned(made, found, centered=centered, budget_mib=budget_mib)
    announce(alignments.methods)
    return alignments


def aligned(
    made: Prepared, found: NetworkPasses, *, centered: bool, budget_mib: int
) -> tuple[LayerAlignments, Tensor]:
    """Return the alignments, and the kernel (n, C, n, C) of the whole model, from its passes."""
    targets = targets_of(made.targets, made, found.outputs, centered=centered)
    options = {"centered": centered, "budget_mib": budget_mib}
    summaries, kernel = summaries_of(list(found.layers), found.outputs, targets, **options)
    values = {
        made.name(name): alignment_of(summary.form, summary.norm, targets)
        for name, summary in summaries.items()
        if summary.norm
    }
    form = sum(summary.form for summary in summaries.values())
    network = alignment_of(form, kernel.double().norm().item(), targets)
    methods = {made.name(name): made.text(method) for name, method in found.methods.items()}
    return LayerAlignments(values, methods, network), kernel


def spectrum(kernel: Tensor) -> Spectrum:
    """Compute the eigenvalues of a kernel, with effective rank and trace ratios.

    Args:
        kernel: (N, N) or (n, C, n, C), taken as a matrix of n · C rows.

    Raises:
        ValueError: If the kernel is not square, symmetric, finite and positive semi-definite up to
            rounding.

    References:
        Baratin et al. (2021), figure 2.
    """
    return Spectrum(spectra.eigenvalues(kernel))


def memory_needed(
    model: nn.Module, x: Batch, *, output: Output | None = None, outputs: Outputs = "full"
) -> int:
    """Return how many bytes the kernels of all layers take, without computing any.

    Arguments as in :func:`layer_kernels`.
    """
    with evaluated(model):
        made = prepared(model, x, None, output)
        owners = {name.rpartition(".")[0] for name, _ in made.module.named_parameters()}
        n, classes = len(made.inputs), made.shape.numel()
        return _size(n, classes, len(owners), working_dtype(model), outputs)


def _size(n: int, classes: int, layers: int, dtype: torch.dtype, outputs: Outputs) -> int:
    share = {"full": 1, "each": classes, "trace": classes**2}[_known(outputs)]
    return kernels_size(n, classes, layers, dtype) // share


def _known(outputs: str) -> str:
    if outputs not in ("full", "trace", "each"):
        raise ValueError(f"expected outputs to be 'full', 'trace' or 'each', got {outputs!r}")
    return outputs


def _passes(
    model: nn.Module,
    x: Batch,
    y: Tensor | None,
    output: Output | None,
    outputs: Outputs,
    trainable_only: bool,
    kernels: int | None = None,
) -> tuple[Prepared, NetworkPasses]:
    """Return the passes of a model, once it is sure that its kernels have room.

    ``kernels`` is how many are held at a time; ``None`` for those of all layers.
    """
    _known(outputs)
    with evaluated(model):
        made = prepared(model, x, y, output)

        def expect(layers: int, few: Tensor) -> None:
            n, classes = len(made.inputs), few.shape[1]
            size = _size(n, classes, kernels or layers, few.dtype, outputs)
            what = f"kernels of {n} examples and {classes} outputs in {kernels or layers} layers"
            lower = "the number of examples, or take outputs='trace'"
            expect_room((size // few.element_size(),), few, what, lower)

        none = made.inputs.new_empty(0, made.shape.numel(), dtype=working_dtype(model))
        expect(1, none)  # one kernel at least, before anything else
        options = {"trainable_only": trainable_only, "expect": expect}
        try:
            return made, network_passes(made.module, made.inputs, **options)
        except ValueError as error:
            if (text := made.text(str(error))) != str(error):
                raise ValueError(text) from error
            raise


def _methods(made: Prepared, found: NetworkPasses) -> dict[str, str]:
    methods = {made.name(name): made.text(method) for name, method in found.methods.items()}
    announce(methods)
    return methods


def announce(methods: dict[str, str]) -> None:
    """Log which layers were not measured by a rule, if any."""
    others = [method for method in methods.values() if method != RULE]
    if others:
        more = f", and {len(others) - 1} more for their own reasons" if len(others) > 1 else ""
        log.warning("%d of %d layers by %s%s", len(others), len(methods), others[0], more)


def _kernels(
    found: NetworkPasses, outputs: Outputs, centered: bool, budget_mib: int
) -> Iterator[tuple[str, Tensor]]:
    options = {"centered": centered, "budget_mib": budget_mib}
    if outputs == "full":
        yield from kernels_of(found.layers, found.outputs, **options)
        return
    count = found.outputs.shape[1]
    while found.layers:
        layer = found.layers.pop(0)
        parts = []
        for c in range(count):
            one = replace(
                layer,
                gradients=None if layer.gradients is None else layer.gradients[c : c + 1],
                written=None if layer.written is None else layer.written[c : c + 1],
            )
            [(_, kernel)] = kernels_of([one], found.outputs[:, c : c + 1], **options)
            parts.append(kernel[:, 0, :, 0])
            if outputs == "trace" and c:
                parts = [parts[0].add_(parts[1])]
        yield layer.name, parts[0] if outputs == "trace" else torch.stack(parts)
