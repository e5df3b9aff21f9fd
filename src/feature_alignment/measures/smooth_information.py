"""What wide networks with a smooth activation keep of the differences between inputs.

As :mod:`feature_alignment.measures.information`, for activations φ such as tanh. Weights have the
variance σ_w² / fan_in and biases σ_b², such that pre-activations y^l keep the variance q and nearby
inputs neither part nor meet to first order, the *edge of chaos*:

    q = σ_b² + σ_w² E[φ(√q z)²],   σ_w² E[φ′(√q z)²] = 1,   z standard normal.

With the coefficients a_k = E[φ(√q z) h_k(z)] of φ in normalised Hermite polynomials h_k and
r_k = σ_w² a_k² / q, the correlation c^l of two inputs at y^l and that of their gradients there are

    1 − c^{l+1} = Σ_k r_k (1 − (c^l)^k),   c̃^l = c̃^{l+1} Σ_k k r_k (c^l)^{k−1},   c̃^L = 1,

by Mehler's formula, E[h_j(z) h_k(z′)] = δ_jk c^k for z, z′ of correlation c. On the edge Σ k r_k is
1, so that 1 − c^l → β / l with β = 2 / Σ k (k − 1) r_k, c̃^l = Θ((l / L)²), and the equilibrium
layer, where 1 − c^l = c̃^l, is Θ(L^{2/3}).

References:
    Hayou, Doucet & Rousseau (2019), smooth activations on the edge of chaos; Lou et al. (2022), the
    equilibrium hypothesis, whose law for ReLU is L^{3/5}. That of smooth activations is derived.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feature_alignment.measures.information import equilibrium_layer

ACTIVATIONS: dict[str, Callable[[NDArray], NDArray]] = {"tanh": np.tanh}
NODES, TERMS = 160, 100
"""Nodes of the quadrature by Gauss and Hermite, and Hermite coefficients, of which the last have no
weight at the variances that are looked for."""
LARGEST_VARIANCE = 2.0


@dataclass(frozen=True)
class Edge:
    """A point on the edge of chaos: q, σ_w², σ_b² and r_1, r_2, …, by increasing k."""

    variance: float
    weight_variance: float
    bias_variance: float
    rates: tuple[float, ...]

    @property
    def beta(self) -> float:
        """β = 2 / Σ k (k − 1) r_k, the limit of l times the forward distance."""
        orders = np.arange(1, len(self.rates) + 1)
        return float(2 / (orders * (orders - 1) * np.array(self.rates)).sum())


def edge_of_chaos(activation: str, bias_variance: float) -> Edge:
    """Find the point on the edge of chaos with a bias variance, by bisection over q.

    Args:
        activation: A key of :data:`ACTIVATIONS`.
        bias_variance: σ_b².

    Raises:
        ValueError: If the activation is unknown, or no q up to :data:`LARGEST_VARIANCE` has this
            bias variance.
    """
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"unknown smooth activation {activation!r}; expected one of {known}")
    low, high = 1e-9, LARGEST_VARIANCE
    largest = _at(activation, high).bias_variance
    if not 0 < bias_variance < largest:
        raise ValueError(f"expected a bias variance from 0 to {largest:.3g}, got {bias_variance}")
    while (middle := (low + high) / 2) not in (low, high):
        if _at(activation, middle).bias_variance < bias_variance:
            low = middle
        else:
            high = middle
    return _at(activation, high)


def _at(activation: str, variance: float) -> Edge:
    """Return the point on the edge where pre-activations have a variance."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    seen = ACTIVATIONS[activation](np.sqrt(variance) * nodes) * weights / weights.sum()
    before, polynomial = np.zeros_like(nodes), np.ones_like(nodes)
    coefficients = []
    for order in range(TERMS + 1):
        coefficients.append(float(polynomial @ seen))
        following = (nodes * polynomial - np.sqrt(order) * before) / np.sqrt(order + 1)
        before, polynomial = polynomial, following
    squares = np.array(coefficients) ** 2
    weight_variance = variance / (np.arange(TERMS + 1) * squares).sum()
    rates = weight_variance * squares / variance
    bias_variance = variance * (1 - rates.sum())
    return Edge(variance, float(weight_variance), float(bias_variance), tuple(rates[1:].tolist()))


def forward_distances(first: Tensor | float, depth: int, edge: Edge) -> Tensor:
    """Compute 1 − c^l for l = 1 … L in the infinitely wide network.

    Where c is near 1, 1 − c^k is taken from 1 − c without a difference, which would lose digits.

    Args:
        first: c^1, the correlation of two inputs at the first layer's outputs, any shape.
        depth: L, the number of linear layers.
        edge: Where the network is initialised.

    Returns:
        (L, *shape of* ``first``) in float64.

    Raises:
        ValueError: If a correlation is outside [−1, 1] or the depth is not a positive number.
    """
    first = torch.as_tensor(first, dtype=torch.float64)
    if depth < 1 or not bool((first.abs() <= 1 + 1e-12).all()):
        raise ValueError(
            f"expected correlations in [-1, 1] and a depth of at least 1, got correlations from "
            f"{first.min().item()} to {first.max().item()} and depth {depth}"
        )
    distances = [1 - first.clamp(-1, 1)]
    rates = torch.tensor(edge.rates, dtype=torch.float64)
    orders = torch.arange(1, len(rates) + 1, dtype=torch.float64)
    for _ in range(depth - 1):
        distance = distances[-1][..., None]
        near = -torch.expm1(orders * torch.log1p(-distance.clamp(max=0.5)))
        lost = torch.where(distance < 0.5, near, 1 - (1 - distance) ** orders)
        distances.append(lost @ rates)
    return torch.stack(distances)


def backward_correlations(distances: Tensor, edge: Edge) -> Tensor:
    """Compute c̃^l for l = 1 … L in the infinitely wide network.

    Args:
        distances: 1 − c^l, (L, …), as :func:`forward_distances` returns them.
        edge: Where the network is initialised.

    Returns:
        (L, …), 1 at the last layer.
    """
    correlation, factors = 1 - distances.double(), torch.zeros_like(distances.double())
    for order in range(len(edge.rates), 0, -1):
        factors = factors * correlation + order * edge.rates[order - 1]
    factors[-1] = 1
    return factors.flip(0).cumprod(dim=0).flip(0)


def mean_field_equilibrium(correlation: float, depth: int, edge: Edge) -> float:
    """Compute the equilibrium layer of the infinitely wide network of one depth.

    Args:
        correlation: c^1, as a mean over pairs of inputs.
        depth: L.
        edge: Where the network is initialised.
    """
    distances = forward_distances(correlation, depth, edge)
    return equilibrium_layer(distances, backward_correlations(distances, edge))


def leading_order_equilibrium(depth: float, edge: Edge) -> float:
    """Compute β^{1/3} L^{2/3}, where the leading terms β/l and (l/L)² balance."""
    return edge.beta ** (1 / 3) * depth ** (2 / 3)
