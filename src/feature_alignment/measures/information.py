"""What a network at initialisation keeps of the differences between inputs, layer by layer.

Two examples x, x′ reach layer l with the *forward correlation* c^l, the cosine of what the layer
sees, and their outputs send back gradients with the *backward correlation* c̃^l, the cosine of
∂f(x)/∂y^l and ∂f(x′)/∂y^l, y^l being the layer's output. The normalised tangent kernel of layer l
is c^l c̃^l. Going forward c^l → 1, so that the kernel no longer tells inputs apart, with the
*forward distance* 1 − c^l; going backward c̃^l → 0, so that what is learned on one input says
nothing of another. The *equilibrium layer* is where the two losses balance, 1 − c^l = c̃^l.

For infinitely wide fully connected ReLU networks on the edge of chaos (weight variance 2 / fan_in,
no biases) and independent forward and backward weights,

    c^{l+1} = F(c^l),  F(c) = (√(1 − c²) + c (π − arccos c)) / π,
    c̃^l = c̃^{l+1} F′(c^l),  c̃^L = 1,  F′(c) = 1 − arccos(c) / π,

so that 1 − c^l → κ / l² with κ = 9π²/2, c̃^l = Θ((l / L)³), and the equilibrium layer is
Θ(L^{3/5}). Layers are counted from 1 to L, the depth.

References:
    Lou et al. (2022), the equilibrium hypothesis; Hayou, Doucet & Rousseau (2019) for the
    recursion.
"""

import math

import torch
from torch import Tensor

KAPPA = 4.5 * math.pi**2
"""κ = 9π²/2, the limit of l² times the forward distance on the edge of chaos for ReLU."""


def forward_distances(first: Tensor | float, depth: int) -> Tensor:
    """Compute 1 − c^l for l = 1 … L in the infinitely wide network.

    The recursion runs on the distance itself, which stays exact where c^l rounds to 1.

    Args:
        first: c^1, the cosine of two inputs, any shape, in [−1, 1].
        depth: L, the number of linear layers.

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
    for _ in range(depth - 1):
        distance = distances[-1]
        angle = _angle(distance)
        lost = angle.sin() - angle * (1 - distance)
        distances.append(distance - lost / math.pi)
    return torch.stack(distances)


def backward_correlations(distances: Tensor) -> Tensor:
    """Compute c̃^l for l = 1 … L in the infinitely wide network.

    Args:
        distances: 1 − c^l, (L, …), as :func:`forward_distances` returns them.

    Returns:
        (L, …), 1 at the last layer.
    """
    factors = 1 - _angle(distances.double()) / math.pi
    factors[-1] = 1
    return factors.flip(0).cumprod(dim=0).flip(0)


def _angle(distance: Tensor) -> Tensor:
    """Return arccos(1 − distance), without cancellation where the distance is small."""
    return 2 * (distance / 2).sqrt().clamp(max=1).asin()


def pair_cosines(rows: Tensor) -> Tensor:
    """Compute the cosine of every pair of distinct rows, such as the empirical c^l and c̃^l.

    Args:
        rows: (…, n, P): what a layer sees of n examples, or the gradients (C, n, P) of C outputs
            with respect to its outputs.

    Returns:
        (…, n (n − 1) / 2) in float64; pairs with a row of zeros have none, NaN.
    """
    rows = rows.double()
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    unit = rows / lengths
    cosines = unit @ unit.transpose(-1, -2)
    first, second = torch.triu_indices(rows.shape[-2], rows.shape[-2], offset=1)
    return cosines[..., first, second]


def equilibrium_layer(distances: Tensor, correlations: Tensor) -> float:
    """Find where forward and backward information balance, 1 − c^l = c̃^l.

    It is the first zero of log(1 − c^l) − log c̃^l, interpolated linearly between layers. A network
    in which the backward correlation is the greater one from the start is in balance at layer 1,
    one in which it is nowhere at layer L.

    Args:
        distances: 1 − c^l, (L,).
        correlations: c̃^l, (L,); what is not positive counts as lost altogether.

    Raises:
        ValueError: If the shapes differ, or a value is not finite.
    """
    if distances.shape != correlations.shape or distances.ndim != 1:
        raise ValueError(
            f"expected two vectors of one length, got shapes {tuple(distances.shape)} and "
            f"{tuple(correlations.shape)}"
        )
    both = torch.stack([distances, correlations]).double()
    if not bool(both.isfinite().all()):
        raise ValueError("a forward distance or a backward correlation is not finite")
    forward, backward = both.clamp(min=torch.finfo(torch.float64).tiny).log()
    gap = forward - backward
    balanced = (gap <= 0).nonzero()
    if len(balanced) == 0:
        return float(len(gap))
    after = int(balanced[0])
    if after == 0:
        return 1.0
    before, here = gap[after - 1].item(), gap[after].item()
    return after + before / (before - here)


def mean_field_equilibrium(correlation: float, depth: int, constant: float = 1.0) -> float:
    """Compute the equilibrium layer of the infinitely wide network of one depth.

    Args:
        correlation: c^1, as a mean over pairs of inputs.
        depth: L.
        constant: a, for the layer where 1 − c^l = a c̃^l; that both losses weigh the same, a = 1,
            is a choice, which no theory makes.
    """
    distances = forward_distances(correlation, depth)
    return equilibrium_layer(distances, constant * backward_correlations(distances))


def leading_order_equilibrium(depth: float) -> float:
    """Compute κ^{1/5} L^{3/5} = 2.136 L^{3/5}, where the leading terms κ/l² and (l/L)³ balance."""
    return KAPPA**0.2 * depth**0.6
