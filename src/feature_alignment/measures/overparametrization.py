"""The capacity measure of networks with one hidden layer that does not grow with its width.

The network is f(x) = V φ(U x) with U (h × in) and V (out × h); U₀ are the initial values of U. The
measure looks at how far each unit has moved, not at how large its weights are:

    ‖U₀‖₂ ‖V‖_F + ‖U − U₀‖_F ‖V‖_F + √h.

References:
    Neyshabur, Li, Bhojanapalli, LeCun & Srebro, "Towards understanding the role of
    over-parametrization in generalization of neural networks" (2018), the last row of their table
    of measures and the bound behind it. Departs from: biases are left out, as their networks have
    none; the length of the inputs, √n, the margin, constants and logarithms are left out, too.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Capacity(NamedTuple):
    """The three terms of the measure, in the order of its formula."""

    initial: float
    distance: float
    width: float


def neyshabur_capacity(hidden: Tensor, output: Tensor, initial_hidden: Tensor) -> Capacity:
    """Return the terms ‖U₀‖₂ ‖V‖_F, ‖U − U₀‖_F ‖V‖_F and √h; the measure is their sum.

    Computed in float64, with ‖·‖₂ the largest singular value.

    Args:
        hidden: U, (h, d).
        output: V, (C, h).
        initial_hidden: U₀, (h, d).

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Neyshabur et al. (2018), see the module.
    """
    shapes = [tuple(matrix.shape) for matrix in (hidden, output, initial_hidden)]
    if hidden.ndim != 2 or output.ndim != 2 or output.shape[1] != len(hidden):
        raise ValueError(f"expected weights of shapes (h, d) and (C, h), got {shapes[:2]}")
    if initial_hidden.shape != hidden.shape:
        raise ValueError(f"expected initial weights of shape {shapes[0]}, got {shapes[2]}")
    now, start = hidden.double(), initial_hidden.double()
    outgoing = torch.linalg.matrix_norm(output.double()).item()
    return Capacity(
        initial=torch.linalg.matrix_norm(start, 2).item() * outgoing,
        distance=torch.linalg.matrix_norm(now - start).item() * outgoing,
        width=len(hidden) ** 0.5,
    )
