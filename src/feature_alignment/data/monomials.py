"""Synthetic regression tasks that few of many coordinates decide."""

import torch
from torch import Tensor


def chain_monomials(inputs: Tensor, rank: int) -> Tensor:
    """Return y = Σ_{k=1}^{r} x_k x_{k mod r + 1}, a closed chain over the first r coordinates.

    For independent standard normal inputs its mean is 0 and its variance r.

    Args:
        inputs: x, (n, d).
        rank: r, from 3 to d.

    Returns:
        (n,).

    Raises:
        ValueError: If the rank does not fit; of two coordinates the chain would be x_1 x_2 twice.

    References:
        Beaglehole et al. (2024), the chain monomial task (from memory).
    """
    if not 3 <= rank <= inputs.shape[1]:
        raise ValueError(f"expected a rank from 3 to {inputs.shape[1]} coordinates, got {rank}")
    relevant = inputs[:, :rank]
    return (relevant * relevant.roll(-1, dims=1)).sum(dim=1)


def gaussian_chain(
    count: int, dimension: int, rank: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw standard normal inputs (count, dimension) and return them with their chain (count,)."""
    inputs = torch.randn(count, dimension, generator=generator)
    return inputs, chain_monomials(inputs, rank)
