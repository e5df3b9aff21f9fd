"""Adaptive tangent features: displacements of a network's weights as products of factors.

A *fixed* model displaces weights freely. An adaptive one writes the displacement of a linear
layer, inputs in rows, as

    D = M1 W M2,    d = b M2,

and that of a convolution with kernel positions p, input channels i and output channels o as

    D[p', i', o'] = Σ M1[p', p] M2[i', i] W[p, i, o] M3[o, o'],    d = b M3.

At the start W = 0, b = 0 and all M are identities. For fixed M this is a linear model on tangent
features transformed by the M; all factors are trained together. The M are stored as their
differences from the identity, so that weight decay pulls towards W = 0 and M = I, which is the
regulariser of the paper's theory.

References:
    LeJeune & Alemohammad (2024), figure 4: the factorised model. Its scripts train without
    the regulariser.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from feature_alignment.tangents.capture import layer_passes
from feature_alignment.tangents.linearized import TangentModel
from feature_alignment.tangents.verify import undisturbed


class AdaptiveLinear(nn.Module):
    """h ↦ h M1 W M2 + b M2, with M1 − I (in, in), W (in, out), M2 − I (out, out) and b (out,)."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        inputs, outputs = layer.in_features, layer.out_features
        self.shift1 = _zeros(layer, inputs, inputs)
        self.core = _zeros(layer, inputs, outputs)
        self.shift2 = _zeros(layer, outputs, outputs)
        self.core_bias = _zeros(layer, outputs) if layer.bias is not None else None

    def moved(self, seen: Tensor, *, keep: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return h D + d by the cheaper order of the products.

        To ``keep`` for gradients are h M1 and h M1 W + b, for which there is one order.
        """
        n, (inputs, outputs) = len(seen), self.core.shape
        factor_by_factor = n * (inputs**2 + outputs**2)
        product_first = inputs * outputs * (inputs + outputs)
        if factor_by_factor > product_first and not keep:
            return nn.functional.linear(seen, self.weight, self.bias), ()
        first = torch.addmm(seen, seen, self.shift1)
        second = _affine(first, self.core, self.core_bias)
        return torch.addmm(second, second, self.shift2), (first, second)

    def gradients(self, seen: Tensor, kept: tuple[Tensor, ...], outer: Tensor) -> list[Tensor]:
        """Return the gradients of M1, W, M2 and b from that of h D + d."""
        first, second = kept
        inner = torch.addmm(outer, outer, self.shift2.T)
        found = [seen.T @ (inner @ self.core.T), first.T @ inner, second.T @ outer]
        return found if self.core_bias is None else [*found, inner.sum(dim=0)]

    def forward(self, seen: Tensor) -> Tensor:
        """Return h D + d."""
        return self.moved(seen)[0]

    @property
    def weight(self) -> Tensor:
        """D as the weight of a linear layer, (out, in)."""
        left = torch.addmm(self.core, self.shift1, self.core)
        return torch.addmm(left, left, self.shift2).T

    @property
    def bias(self) -> Tensor | None:
        """d, (out,)."""
        return _moved_bias(self.core_bias, self.shift2)


class AdaptiveConv2d(nn.Module):
    """A convolution by D, with M1 − I (P, P), M2 − I (in, in), W (out, in, P), M3 − I (out, out).

    P is the number of kernel positions.
    """

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        if layer.groups != 1 or layer.padding_mode != "zeros":
            raise ValueError(f"expected a convolution without groups, zero-padded, got {layer}")
        outputs, inputs, *self.window = layer.weight.shape
        positions = layer.weight[0, 0].numel()
        self.options = {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
        }
        self.shift1 = _zeros(layer, positions, positions)
        self.shift2 = _zeros(layer, inputs, inputs)
        self.core = _zeros(layer, outputs, inputs, positions)
        self.shift3 = _zeros(layer, outputs, outputs)
        self.core_bias = _zeros(layer, outputs) if layer.bias is not None else None

    def forward(self, seen: Tensor) -> Tensor:
        """Return the displacement's part of the layer's outputs."""
        return nn.functional.conv2d(seen, self.weight, self.bias, **self.options)

    @property
    def weight(self) -> Tensor:
        """D as the weight of a convolution, (out, in, height, width)."""
        outputs, inputs, positions = self.core.shape
        rows = self.core.reshape(-1, positions)
        rows = torch.addmm(rows, rows, self.shift1.T).view(outputs, inputs, positions)
        rows = rows.transpose(0, 1).reshape(inputs, -1)  # matrix products, not one per position
        rows = torch.addmm(rows, self.shift2, rows).view(inputs, outputs, positions)
        rows = rows.transpose(0, 1).reshape(outputs, -1)
        rows = torch.addmm(rows, self.shift3.T, rows)
        return rows.view(outputs, inputs, *self.window)

    @property
    def bias(self) -> Tensor | None:
        """d, (out,)."""
        return _moved_bias(self.core_bias, self.shift3)


class AdaptiveModel(TangentModel):
    """The network's first-order expansion in factorised displacements (*adaptive features*)."""

    kinds: ClassVar = {nn.Linear: AdaptiveLinear, nn.Conv2d: AdaptiveConv2d}


def adaptive_kernel(model: AdaptiveModel, inputs: Tensor) -> Tensor:
    """Compute the kernel of the adapted tangent features, those of W and b for the M as they are.

    Of a linear layer that saw h and whose outputs have the gradients g, the features of W are
    (h M1)ᵀ (g M2ᵀ), so that its kernel is ((h M1)(h M1)ᵀ + 1) ⊙ (g M2ᵀ)(g M2ᵀ)ᵀ, the 1 for b.

    Args:
        model: Of linear layers.
        inputs: (n, …), as the base takes them.

    Returns:
        (n, C, n, C). At the start it is the base's tangent kernel.

    Raises:
        ValueError: If a layer is not linear, or the inputs do not suit the model.
    """
    model.check_inputs(inputs)
    with undisturbed(model.base):
        return _adaptive_kernel(model, inputs)


def _adaptive_kernel(model: AdaptiveModel, inputs: Tensor) -> Tensor:
    passes, outputs = layer_passes(model.base, inputs)
    n, classes = outputs.shape
    total = outputs.new_zeros(classes * n, classes * n)
    for place, layer in enumerate(passes):
        factors = model.displacements[layer.name]
        if not isinstance(factors, AdaptiveLinear):
            raise ValueError(f"{layer.name!r} is no linear layer; its adapted kernel is not known")
        seen = layer.inputs
        if place == 0 and model.basis is not None:
            seen = seen + seen @ model.basis @ factors.shift1 @ model.basis.T
        else:
            seen = seen + seen @ factors.shift1
        gradients = layer.gradients + layer.gradients @ factors.shift2.T
        products = seen @ seen.T + (factors.core_bias is not None)
        rows = gradients.flatten(0, 1)
        total += (rows @ rows.T) * products.repeat(classes, classes)
    return total.view(classes, n, classes, n).permute(1, 0, 3, 2)


def _zeros(like: nn.Module, *shape: int) -> nn.Parameter:
    return nn.Parameter(like.weight.new_zeros(shape))


def _affine(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return values @ weight if bias is None else torch.addmm(bias, values, weight)


def _moved_bias(bias: Tensor | None, shift: Tensor) -> Tensor | None:
    return None if bias is None else bias + bias @ shift
