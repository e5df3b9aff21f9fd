"""Gram matrices of per-example gradients of layers whose weights are shared over positions.

A layer that maps patches u_s (D,) at positions s = 1…S to outputs h_s = W u_s (O,) has the
per-example gradient ∂f_c(x_i)/∂W = Σ_s g_ics u_isᵀ with g_ics = ∂f_c(x_i)/∂h_s, and so

    K[c,i,d,j] = Σ_{s,t} (u_is · u_jt) (g_ics · g_jdt).

For linear layers (S = 1) that is one product of Gram matrices. Otherwise either the gradients are
written out and multiplied, or the products of patches are applied to g_jd before it meets g_ic;
:func:`patch_gram` takes the cheaper. Everything is symmetric under (c,i) ↔ (d,j), so about half is
computed.

References:
    The Gram form for S = 1 is Goodfellow's (2015); the rest is worked out here.
"""

from itertools import pairwise

import torch
from torch import Tensor

CONTRACTION_SPEED = 0.7
"""Multiplications per second of :func:`_contract` relative to :func:`_materialise`, measured."""
CACHED_BYTES = 16 * 2**20
"""Up to here a block of :func:`_contract` stays in the processor's cache; several times faster."""


def patch_gram(patches: Tensor, gradients: Tensor, budget: int) -> Tensor:
    """Compute K[c,i,d,j] = Σ_{s,t} (u_is · u_jt) (g_ics · g_jdt).

    Args:
        patches: u, (n, D, S).
        gradients: g, (C, n, O, S).
        budget: Bytes that intermediate results may take, as far as blocks can be made smaller.

    Returns:
        (C, n, C, n).
    """
    n, size, positions = patches.shape
    classes, _, outputs, _ = gradients.shape
    if positions == 1:
        return _multiply(patches[..., 0], gradients[..., 0])
    rows = n * classes
    materialised = rows * outputs * size * (positions + rows / 2)
    contracted = (
        n**2
        / 2
        * positions
        * (positions * size + positions * classes * outputs + classes**2 * outputs)
    )
    if materialised < contracted / CONTRACTION_SPEED:
        return _materialise(patches, gradients, budget)
    return _contract(patches, gradients, min(budget, CACHED_BYTES))


def row_gram(rows: Tensor) -> Tensor:
    """Compute the Gram matrix (C, n, C, n) of gradients (C, n, P) written out."""
    classes, n, _ = rows.shape
    flat = rows.flatten(0, 1)
    gram = flat.new_zeros(len(flat), len(flat))
    _add_gram(gram, flat)
    return _mirrored(gram).view(classes, n, classes, n)


def _materialise(patches: Tensor, gradients: Tensor, budget: int) -> Tensor:
    """Write out per-example gradients of a few output channels at a time and multiply them."""
    n, size, _ = patches.shape
    classes, _, outputs, _ = gradients.shape
    total = patches.new_zeros(classes * n, classes * n)
    step = max(1, budget // (classes * n * size * patches.element_size()))
    by_example = gradients.transpose(0, 1)
    for start in range(0, outputs, step):
        part = by_example[:, :, start : start + step]
        jacobian = part.flatten(1, 2) @ patches.transpose(1, 2)  # (n, C · step, D)
        _add_gram(total, jacobian.view(n * classes, -1))
    gram = _mirrored(total).view(n, classes, n, classes)
    return gram.permute(1, 0, 3, 2).contiguous()


def _multiply(inputs: Tensor, gradients: Tensor) -> Tensor:
    """Return (u_i · u_j) (g_ic · g_jd) for inputs (n, D) and gradients (C, n, O)."""
    classes, n, _ = gradients.shape
    rows = gradients.flatten(0, 1)
    product = (rows @ rows.T).view(classes, n, classes, n)
    product *= (inputs @ inputs.T)[:, None, :]
    return product


def _contract(patches: Tensor, gradients: Tensor, budget: int) -> Tensor:
    """Apply the products of patches to the gradients first, a few examples j at a time."""
    n, _, positions = patches.shape
    classes, _, outputs, _ = gradients.shape
    by_position = gradients.transpose(2, 3).contiguous()  # (C, n, S, O)
    rows = by_position.transpose(0, 1).reshape(n, classes, positions * outputs)
    flat = patches.transpose(1, 2).contiguous()  # (n, S, D)
    total = patches.new_zeros(classes, n, classes, n)
    slab = classes * n * positions * outputs * patches.element_size()
    step = max(1, budget // slab)
    for start in range(0, n, step):
        here = slice(start, min(start + step, n))
        later = flat[start:].flatten(0, 1)  # only i ≥ start: the rest follows by symmetry
        applied = patches.new_empty(here.stop - start, classes, len(later), outputs)
        for place, j in enumerate(range(start, here.stop)):
            products = later @ flat[j].T  # (i · S, S)
            torch.matmul(products, by_position[:, j], out=applied[place])
        columns = applied.view(-1, n - start, positions * outputs).transpose(0, 1)
        part = rows[start:] @ columns.transpose(1, 2)  # (i, C, j · C)
        part = part.view(n - start, classes, here.stop - start, classes).permute(1, 0, 3, 2)
        total[:, start:, :, here] = part
        total[:, here, :, start:] = part.permute(2, 3, 0, 1)
    return total


def _add_gram(total: Tensor, rows: Tensor, blocks: int = 8) -> None:
    """Add rows rowsᵀ to the blocks of ``total`` on and above its diagonal."""
    edges = [len(rows) * block // blocks for block in range(blocks + 1)]
    for low, high in pairwise(edges):
        total[:high, low:high].addmm_(rows[:high], rows[low:high].T)


def _mirrored(total: Tensor) -> Tensor:
    """Return the symmetric matrix whose upper triangle is that of ``total``."""
    upper = total.triu_()
    return upper + upper.triu(1).T
