"""Tangents through linear layers and their gradients, written out.

A step of a small network is many small operations, and automatic differentiation costs as much as
they do. The tangent of a chain of linear layers with ReLUs,

    t_l = m_l ⊙ (moved_l(h_{l−1}) + t_{l−1} W_l),

has the gradients g_{l−1} = m_{l−1} ⊙ (g_l W_lᵀ) with respect to t_{l−1}, and each displacement
knows its own from h_{l−1} and g_l.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class DenseDisplacement(Protocol):
    """A displacement of a linear layer that knows its own gradients."""

    def parameters(self) -> Sequence[Tensor]:
        """Return what is trained, in the order of :meth:`gradients`."""

    def moved(self, seen: Tensor, *, keep: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return h D + d, (n, out), from h, (n, in), and what :meth:`gradients` needs again.

        Without ``keep`` nothing will be needed again.
        """

    def gradients(self, seen: Tensor, kept: tuple[Tensor, ...], outer: Tensor) -> list[Tensor]:
        """Return the gradients of the parameters from that of the result, (n, out)."""


def dense_tangent(
    displacements: Sequence[DenseDisplacement], weights: Sequence[Tensor], seen: Sequence[Tensor]
) -> Tensor:
    """Return the last t, differentiable once with respect to the displacements' parameters.

    Args:
        displacements: One per layer.
        weights: The layers' weights W_l, (out, in).
        seen: What each layer saw, (n, in); from the second on it is the ReLU's output.
    """
    trained = [parameter for part in displacements for parameter in part.parameters()]
    keep = torch.is_grad_enabled()
    return _DenseTangent.apply(displacements, weights, seen, keep, *trained)


class _DenseTangent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        displacements: Sequence[DenseDisplacement],
        weights: Sequence[Tensor],
        seen: Sequence[Tensor],
        keep: bool,
        *_: Tensor,
    ) -> Tensor:
        kept, tangent = [], None
        for displacement, weight, h in zip(displacements, weights, seen, strict=True):
            moved, own = displacement.moved(h, keep=keep)
            kept.append(own)
            if tangent is None:
                tangent = moved
            else:
                tangent = torch.addmm(moved, where_active(tangent, h), weight.T)
        ctx.parts = displacements, weights, seen, kept
        return tangent

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[Tensor | None, ...]:
        found: list[Tensor] = []
        displacements, weights, seen, kept = ctx.parts
        for place in reversed(range(len(seen))):
            found = displacements[place].gradients(seen[place], kept[place], outer) + found
            if place:
                outer = where_active(outer @ weights[place], seen[place])
        return None, None, None, None, *found


def where_active(tangent: Tensor, activation: Tensor) -> Tensor:
    """Return the derivative along ``tangent`` of the ReLU that returned ``activation``.

    A product with booleans takes several times as long.
    """
    return torch.ops.aten.threshold_backward(tangent, activation, 0)
