"""Tangent kernels of networks, layer by layer, exactly.

The tangent kernel of layer l on examples x_1 … x_n, for a network with outputs f_1 … f_C, is

    K_l[i,c,j,d] = Σ_{θ in layer l} ∂f_c(x_i)/∂θ · ∂f_d(x_j)/∂θ,

weights and biases together; that of the network is the sum over layers. Kernels have the shape
(n, C, n, C). One forward pass and C backward passes serve all layers.

References:
    baratin2021, tangent features; Jacot et al. (2018) for the kernel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_alignment.tangents.capture import LayerPass, layer_passes
from feature_alignment.tangents.gram import patch_gram, row_gram

BUDGET_MIB = 256


def layer_kernels(
    model: nn.Module, inputs: Tensor, *, centered: bool = False, budget_mib: int = BUDGET_MIB
) -> dict[str, Tensor]:
    """Compute the tangent kernel of every layer with parameters.

    Args:
        model: Its parameters belong to Linear, Conv2d (any stride, padding, dilation, groups),
            BatchNorm in evaluation mode or LayerNorm modules, each called once, in any graph.
        inputs: (n, …), passed to ``model``, which returns (n, C).
        centered: Whether to remove each output's mean tangent feature over the examples; see
            :func:`center_kernel`.
        budget_mib: Bound on intermediate results, MiB, beside the kernels themselves and the
            gradients with respect to layer outputs, n · C values per unit.

    Returns:
        For each layer, by module name in the order of the calls, K_l of shape (n, C, n, C).

    Raises:
        ValueError: If the network is none of these; see
            :func:`feature_alignment.tangents.capture.layer_passes`.
    """
    options = {"centered": centered, "budget_mib": budget_mib}
    return dict(iterate_layer_kernels(model, inputs, **options))


@torch.no_grad()
def iterate_layer_kernels(
    model: nn.Module, inputs: Tensor, *, centered: bool = False, budget_mib: int = BUDGET_MIB
) -> Iterator[tuple[str, Tensor]]:
    """Yield what :func:`layer_kernels` returns one layer at a time, to be used and dropped."""
    passes, outputs = layer_passes(model, inputs)
    while passes:
        layer = passes.pop(0)
        kernel = _layer_kernel(layer, budget_mib * 2**20)
        if kernel is None:
            kernel = _zero_kernel(outputs)
        if centered:
            kernel -= kernel.mean(dim=1, keepdim=True)
            kernel -= kernel.mean(dim=3, keepdim=True)
        yield layer.name, kernel.permute(1, 0, 3, 2)


def tangent_kernel(
    model: nn.Module, inputs: Tensor, *, centered: bool = False, budget_mib: int = BUDGET_MIB
) -> Tensor:
    """Compute the tangent kernel of the whole network, Σ_l K_l, (n, C, n, C).

    Arguments and errors as in :func:`layer_kernels`.
    """
    options = {"centered": centered, "budget_mib": budget_mib}
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
    budget_mib: int = BUDGET_MIB,
) -> tuple[dict[str, KernelSummary], Tensor]:
    """Summarise the kernel of every layer, keeping none but their sum.

    Args:
        model: As in :func:`layer_kernels`.
        inputs: (n, …).
        targets: y of the quadratic form, (n, C).
        centered: As in :func:`layer_kernels`.
        budget_mib: As in :func:`layer_kernels`.

    Returns:
        The summary of each layer's kernel by module name, and the kernel of the whole network,
        (n, C, n, C). A centred kernel so small beside what centring removed that only rounding
        can be left, as when a layer sees the same for all examples, is summarised as zero.

    Raises:
        ValueError: If the targets are not (n, C), or as in :func:`layer_kernels`.
    """
    passes, outputs = layer_passes(model, inputs)
    if targets.shape != outputs.shape:
        raise ValueError(
            f"expected targets of shape {tuple(outputs.shape)}, got {tuple(targets.shape)}"
        )
    weights = targets.T.to(outputs).contiguous()
    total = _zero_kernel(outputs)
    summaries = {}
    while passes:
        layer = passes.pop(0)
        square = form = removed = 0.0
        for c, rows in enumerate(_upper_rows(layer, budget_mib * 2**20)):  # K[c,i,d,j], d ≥ c
            if centered:
                for dim in (0, 2):
                    means = rows.mean(dim=dim, keepdim=True)
                    rows -= means
                    removed += len(inputs) * means.square().sum(dtype=torch.float64).item()
            total[c, :, c:] += rows
            # Sums over outputs in float64: long sums of float32 squares lose digits.
            squares = torch.linalg.vector_norm(rows, dim=2).square().sum(dim=0, dtype=torch.float64)
            forms = (weights[c] @ rows.flatten(1)).view(-1, len(inputs)) * weights[c:]
            square += 2 * squares.sum().item() - squares[0].item()
            form += 2 * forms.sum().item() - forms[0].sum().item()
        if square < (100 * torch.finfo(outputs.dtype).eps) ** 2 * removed:
            square = form = 0.0  # centring has left nothing but rounding
        summaries[layer.name] = KernelSummary(sqrt(square), form)
    for c in range(len(total)):
        total[c + 1 :, :, c] = total[c, :, c + 1 :].permute(1, 2, 0)
    return summaries, total.permute(1, 0, 3, 2)


def _zero_kernel(outputs: Tensor) -> Tensor:
    n, classes = outputs.shape
    return outputs.new_zeros(classes, n, classes, n)


def _upper_rows(layer: LayerPass, budget: int) -> Iterator[Tensor]:
    """Yield K[c,:,c:,:], the rows of one output after the other, (n, C − c, n), to be changed.

    One output at a time, they stay in the processor's cache from one operation to the next.
    """
    if layer.gradients is None:
        return
    if isinstance(layer.module, nn.Linear) and layer.inputs.ndim == 2:
        inputs, gradients = layer.inputs, layer.gradients
        products = inputs @ inputs.T
        if layer.module.bias is not None:
            products += 1
        for c, own in enumerate(gradients):
            rows = own @ gradients[c:].flatten(0, 1).T
            yield rows.view(len(inputs), -1, len(inputs)).mul_(products[:, None, :])
    else:
        kernel = _layer_kernel(layer, budget)
        for c, rows in enumerate(kernel):
            yield rows[:, c:]


def center_kernel(kernel: Tensor) -> Tensor:
    """Return the kernel of tangent features minus each output's mean over the examples.

    In every block of outputs (c, d) the examples are centred, K ← H K H with H = I − 11ᵀ/n.

    Args:
        kernel: (n, C, n, C).
    """
    kernel = kernel - kernel.mean(dim=0, keepdim=True)
    return kernel - kernel.mean(dim=2, keepdim=True)


@torch.no_grad()
def layer_traces(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Compute the trace Σ_{i,c} K_l[i,c,i,c] of every layer's kernel, without the kernel.

    Arguments and errors as in :func:`layer_kernels`.
    """
    passes, _ = layer_passes(model, inputs)
    return {layer.name: sum(map(_square_sum, _per_example(layer))) for layer in passes}


def _square_sum(gradients: Tensor) -> float:
    return gradients.square().sum(dtype=torch.float64).item()


def _per_example(layer: LayerPass) -> Iterator[Tensor]:
    """Yield the per-example gradients of a layer, one output at a time."""
    if layer.gradients is None:
        return
    if isinstance(layer.module, nn.Linear | nn.Conv2d):
        for patches, gradients in _patches(layer):
            if patches.shape[-1] == 1:  # ‖g uᵀ‖² = ‖g‖² ‖u‖²
                lengths = torch.linalg.vector_norm(patches, dim=(1, 2))
                yield gradients.flatten(2) * lengths[:, None]
            else:
                yield from (part @ patches.transpose(1, 2) for part in gradients)
    else:
        yield _normalisation_gradients(layer)


def per_example_gradients(layer: LayerPass) -> Iterator[Tensor]:
    """Yield ∂f_c(x_i)/∂(weight, bias) of a linear or convolutional layer, (n, P), for each c.

    Parameters in the order of the flattened weight, then the bias.
    """
    [(patches, gradients)] = _patches(layer)
    for part in gradients:
        products = part @ patches.transpose(1, 2)
        if layer.module.bias is not None:
            yield torch.cat([products[:, :, :-1].flatten(1), products[:, :, -1]], dim=1)
        else:
            yield products.flatten(1)


def _layer_kernel(layer: LayerPass, budget: int) -> Tensor | None:
    """Return the kernel as (C, n, C, n), ``None`` if no output depends on the layer."""
    if layer.gradients is None:
        return None
    if isinstance(layer.module, nn.Linear | nn.Conv2d):
        parts = [patch_gram(*group, budget) for group in _patches(layer)]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)
    return row_gram(_normalisation_gradients(layer))


def _patches(layer: LayerPass) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield patches (n, D, S) and gradients (C, n, O, S), for each group of channels.

    With a bias, patches have a last entry 1.
    """
    module, gradients = layer.module, layer.gradients
    if isinstance(module, nn.Linear):
        n = len(layer.inputs)
        patches = layer.inputs.reshape(n, -1, module.in_features).transpose(1, 2)
        rows = gradients.reshape(len(gradients), n, -1, module.out_features).transpose(2, 3)
        yield _with_bias(patches, module), rows
        return
    rows = gradients.flatten(3)
    padded = F.pad(layer.inputs, *_padding(module))
    channels = module.in_channels // module.groups
    filters = module.out_channels // module.groups
    for group in range(module.groups):
        seen = padded[:, group * channels : (group + 1) * channels]
        patches = F.unfold(seen, module.kernel_size, dilation=module.dilation, stride=module.stride)
        yield (
            _with_bias(patches, module),
            rows[:, :, group * filters : (group + 1) * filters],
        )


def _with_bias(patches: Tensor, module: nn.Module) -> Tensor:
    return patches if module.bias is None else F.pad(patches, (0, 0, 0, 1), value=1.0)


def _padding(convolution: nn.Conv2d) -> tuple[list[int], str]:
    """Return the padding as :func:`torch.nn.functional.pad` takes it: last dimension first."""
    mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
    if convolution.padding == "same":
        totals = [d * (k - 1) for d, k in zip(convolution.dilation, convolution.kernel_size)]  # noqa: B905
        sides = [(total // 2, total - total // 2) for total in totals]
    elif convolution.padding == "valid":
        sides = [(0, 0), (0, 0)]
    else:
        sides = [(amount, amount) for amount in convolution.padding]
    return [amount for side in reversed(sides) for amount in side], mode


def _normalisation_gradients(layer: LayerPass) -> Tensor:
    """Return the gradients with respect to scale and shift of a normalisation, (C, n, 2P)."""
    module, gradients, inputs = layer.module, layer.gradients, layer.inputs
    if isinstance(module, nn.LayerNorm):
        normalised = F.layer_norm(inputs, module.normalized_shape, eps=module.eps)
        size = prod(module.normalized_shape)
        shape = (len(inputs), -1, size)
        weights = (gradients * normalised).reshape(len(gradients), *shape).sum(dim=2)
        biases = gradients.reshape(len(gradients), *shape).sum(dim=2)
    else:
        normalised = F.batch_norm(inputs, module.running_mean, module.running_var, eps=module.eps)
        weights = (gradients * normalised).flatten(3) if inputs.ndim > 2 else gradients * normalised
        weights = weights.sum(dim=3) if inputs.ndim > 2 else weights
        biases = gradients.flatten(3).sum(dim=3) if inputs.ndim > 2 else gradients
    return torch.cat([weights, biases], dim=2) if module.bias is not None else weights
