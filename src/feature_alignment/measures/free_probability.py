"""Traces of words in a matrix M and other matrices that M is free from.

Freeness is what replaces independence where variables do not commute: a matrix with Haar-random
eigenvectors and any matrices that do not depend on them become free as their size grows. Below,
τ = trace / dimension, so that τ(1) = 1, and NC(p) are the *non-crossing partitions* of {1, …, p}:
those with no i < j < k < l of which i and k share one block, j and l another. There are as many
as the Catalan number (2p)! / (p! (p + 1)!).

References:
    Nica & Speicher, Lectures on the Combinatorics of Free Probability (2006).
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import chain, combinations, pairwise, product
from math import inf, prod

import torch
from torch import Tensor

Block = tuple[int, ...]
Partition = tuple[Block, ...]


def noncrossing_partitions(size: int) -> list[Partition]:
    """List NC(p), the non-crossing partitions of {1, …, p}.

    Args:
        size: p, at least 1.

    Returns:
        The partitions, each as its blocks in the order of their least elements, which are
        themselves in increasing order.

    Raises:
        ValueError: If the size is less than 1.
    """
    if size < 1:
        raise ValueError(f"expected at least one element to partition, got {size}")
    return [tuple(sorted(blocks)) for blocks in _partitions(range(1, size + 1))]


def _partitions(elements: Sequence[int]) -> Iterator[Partition]:
    """Yield the partitions: a block with the first element, and those of each of its gaps."""
    if not elements:
        yield ()
        return
    first, *rest = elements
    for count in range(len(rest) + 1):
        for others in combinations(rest, count):
            block = (first, *others)
            gaps = [
                [element for element in rest if low < element < high]
                for low, high in pairwise((*block, inf))
            ]
            for inside in product(*map(_partitions, gaps)):
                yield (block, *chain(*inside))


def kreweras_complement(partition: Sequence[Sequence[int]]) -> Partition:
    """Compute the Kreweras complement K(π) of a non-crossing partition π of {1, …, p}.

    Written between them, 1 1′ 2 2′ … p p′, it is the partition of the primed numbers with the
    largest blocks that do not cross those of π. As permutations, with each block a cycle in
    increasing order and γ = (1 2 … p), it is K(π) = π⁻¹ γ.

    Args:
        partition: The blocks of π, in any order.

    Returns:
        The complement, as :func:`noncrossing_partitions` writes it.

    Raises:
        ValueError: If the blocks are not a partition of {1, …, p}, or cross.

    References:
        Nica & Speicher (2006), Definition 9.21 and Lecture 18.
    """
    size = sum(map(len, partition))
    if size == 0 or sorted(chain(*partition)) != list(range(1, size + 1)):
        raise ValueError(
            f"expected blocks that hold each of 1, …, p once, got {tuple(map(tuple, partition))}"
        )
    before = {}
    for block in map(sorted, partition):
        before |= {element: block[place - 1] for place, element in enumerate(block)}
    blocks, left = [], set(range(1, size + 1))
    while left:
        cycle = [min(left)]
        while (following := before[cycle[-1] % size + 1]) != cycle[0]:
            cycle.append(following)
        left -= set(cycle)
        blocks.append(tuple(sorted(cycle)))
    if len(partition) + len(blocks) != size + 1:  # which they make if, and only if, none cross
        raise ValueError(
            f"expected blocks that do not cross, got {tuple(map(tuple, partition))}; only "
            "non-crossing partitions have a complement"
        )
    return tuple(blocks)


def trace_moments(matrix: Tensor, count: int) -> Tensor:
    """Compute τ(M), τ(M²), …, τ(M^p).

    Args:
        matrix: M, (d, d).
        count: p, at least 1.

    Returns:
        (p,) in float64.

    Raises:
        ValueError: If the matrix is not square, or the count less than 1.
    """
    _check_square([matrix])
    if count < 1:
        raise ValueError(f"expected at least one moment to compute, got {count}")
    powers = [matrix.double()]
    while 2 * len(powers) < count:
        powers.append(powers[-1] @ powers[0])
    halves = [(powers[n // 2 - 1], powers[n - n // 2 - 1]) for n in range(2, count + 1)]
    traces = [_trace([powers[0]]), *map(_trace, halves)]
    return torch.tensor(traces, dtype=torch.float64)


def free_cumulants(moments: Tensor) -> Tensor:
    """Compute the free cumulants κ_1, …, κ_p of a variable from its moments m_1, …, m_p.

    They are defined by m_n = Σ_{π ∈ NC(n)} Π_{V ∈ π} κ_|V|, of which the partition with a single
    block contributes κ_n and the others cumulants of lower order.

    Args:
        moments: (p,).

    Returns:
        (p,) in float64.

    Raises:
        ValueError: If the moments are not a vector, or are empty.

    References:
        Nica & Speicher (2006), Lecture 11.
    """
    if moments.ndim != 1 or len(moments) == 0:
        raise ValueError(f"expected moments of shape (p,), p > 0, got {tuple(moments.shape)}")
    cumulants: list[float] = []
    for order, moment in enumerate(moments.tolist(), start=1):
        finer = [blocks for blocks in noncrossing_partitions(order) if len(blocks) > 1]
        cumulants.append(moment - sum(_product(cumulants, blocks) for blocks in finer))
    return torch.tensor(cumulants, dtype=torch.float64)


def mixed_moment(cumulants: Tensor, matrices: Sequence[Tensor]) -> float:
    """Compute τ(M A_1 M A_2 … M A_p) for an M free from the matrices A_i.

    τ(M A_1 … M A_p) = Σ_{π ∈ NC(p)} κ_π(M) τ_{K(π)}(A_1, …, A_p), where κ_π multiplies the free
    cumulants of M over the blocks of π, and τ_{K(π)} the traces τ(A_i A_j …), i < j < …, over the
    blocks {i, j, …} of its Kreweras complement. The A_i may depend on each other in any way.

    Args:
        cumulants: κ_1, …, κ_p of M and possibly further ones; see :func:`free_cumulants`.
        matrices: A_1, …, A_p, (d, d) each.

    Returns:
        The moment, computed in float64.

    Raises:
        ValueError: If there is no matrix, the matrices are not square of one shape, or there are
            fewer cumulants than matrices.

    References:
        Nica & Speicher (2006), Theorem 14.4.
    """
    _check_square(matrices)
    order = len(matrices)
    if cumulants.ndim != 1 or len(cumulants) < order:
        raise ValueError(
            f"expected {order} free cumulants for a word with {order} matrices, got the shape "
            f"{tuple(cumulants.shape)}; compute them from as many moments"
        )
    factors = [matrix.double() for matrix in matrices]
    kappas = cumulants.tolist()
    traces: dict[Block, float] = {}
    total = 0.0
    for partition in noncrossing_partitions(order):
        complement = kreweras_complement(partition)
        for block in complement:
            if block not in traces:
                traces[block] = _trace([factors[place - 1] for place in block])
        total += _product(kappas, partition) * prod(traces[block] for block in complement)
    return total


def _product(cumulants: Sequence[float], partition: Partition) -> float:
    return prod(cumulants[len(block) - 1] for block in partition)


def _trace(factors: Sequence[Tensor]) -> float:
    """Return τ of the product of the factors."""
    *others, last = factors
    if not others:
        return last.trace().item() / len(last)
    return (reduce(torch.matmul, others) * last.T).sum().item() / len(last)


def _check_square(matrices: Sequence[Tensor]) -> None:
    shapes = sorted({tuple(matrix.shape) for matrix in matrices})
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] != shapes[0][1]:
        found = ", ".join(map(str, shapes)) or "no matrix"
        raise ValueError(f"expected square matrices of one shape, got {found}")
