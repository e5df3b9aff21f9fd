"""A one-hidden-layer network with quadratic units."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from feature_alignment.models.undrawn import undrawn


class Square(nn.Module):
    """Squares every unit."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the squares, in the shape of ``hidden``."""
        return hidden.square()


def quadratic_network(inputs: int, readout: Tensor, generator: torch.Generator) -> nn.Sequential:
    """Build f(x) = Σ_i a_i (w_iᵀ x)² with w_i ~ N(0, I/d) to be trained and a fixed.

    The modules are ``linear1`` (W), ``activation1`` and ``linear2`` (a, which takes no gradient).

    Args:
        inputs: d.
        readout: a, (width,); the network has its floating-point type.
        generator: Source of the weights w.

    Returns:
        The network, on the CPU, in training mode; from (n, d) to (n, 1).

    Raises:
        ValueError: If the readout is not a vector.
    """
    if readout.ndim != 1:
        raise ValueError(f"expected a readout of shape (width,), got {tuple(readout.shape)}")
    width, dtype = len(readout), readout.dtype
    hidden = undrawn(nn.Linear, inputs, width, bias=False, dtype=dtype)
    last = undrawn(nn.Linear, width, 1, bias=False, dtype=dtype)
    with torch.no_grad():
        hidden.weight.normal_(0, 1 / math.sqrt(inputs), generator=generator)
        last.weight.copy_(readout[None])
    last.weight.requires_grad_(False)
    return nn.Sequential(OrderedDict(linear1=hidden, activation1=Square(), linear2=last))
