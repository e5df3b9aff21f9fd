"""Gram matrices of per-example gradients of layers whose weights are shared over positions.

A layer that maps patches u_s (D,) at positions s = 1…S to outputs h_s = W u_s (O,) has the
per-example gradient ∂f_c(x_i)/∂W = Σ_s g_ics u_isᵀ with g_ics = ∂f_c(x_i)/∂h_s, and so

    K[c,i,d,j] = Σ_{s,t} (u_is · u_jt) (g_ics · g_jdt).

Three orders of summation give the same numbers at different cost; :func:`patch_gram` takes the
cheapest. Everything is symmetric under (c,i) ↔ (d,j), so about half is computed.

References:
    The Gram form for linear layers (S = 1) is Goodfellow's (2015); the rest is worked out here.
"""

import torch
from torch import Tensor

CONTRACTION_EFFICIENCY = 0.4
"""Speed of :func:`_contract`'s thin products relative to the large ones of the others."""


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
    rows = n * classes
    patch_products = n**2 * positions**2 * size
    costs = {
        _materialise: (2 * positions + rows) * rows * outputs * size,
        _multiply: patch_products + (rows * positions) ** 2 * (outputs + 8),
        _contract: (
            patch_products
            + n**2 * classes * outputs * positions * (3 * positions + 2 * classes)
        )
        / CONTRACTION_EFFICIENCY,
    }
    cheapest = min(costs, key=costs.__getitem__)
    return cheapest(patches, gradients, budget)


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


def _multiply(patches: Tensor, gradients: Tensor, budget: int) -> Tensor:
    """Multiply products of patches and of gradients, one pair of positions at a time."""
    del budget  # nothing larger than the result is made
    n, _, positions = patches.shape
    classes = len(gradients)
    at = [gradients[..., s].flatten(0, 1).contiguous() for s in range(positions)]  # (C·n, O)
    seen = [patches[..., s] for s in range(positions)]
    total = patches.new_zeros(classes, n, classes, n)
    for s in range(positions):
        for t in range(s + 1):
            product = (at[s] @ at[t].T).view(classes, n, classes, n)
            product *= (seen[s] @ seen[t].T)[:, None, :]
            if positions == 1:
                return product
            total += product
            if s != t:
                total += product.permute(2, 3, 0, 1)
    return total


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


def _add_gram(total: Tensor, rows: Tensor, blocks: int = 4) -> None:
    """Add rows rowsᵀ to the blocks of ``total`` on and above its diagonal."""
    edges = [len(rows) * block // blocks for block in range(blocks + 1)]
    for low, high in zip(edges, edges[1:], strict=False):
        total[:high, low:high].addmm_(rows[:high], rows[low:high].T)


def _mirrored(total: Tensor) -> Tensor:
    """Return the symmetric matrix whose upper triangle is that of ``total``."""
    upper = total.triu_()
    return upper + upper.triu(1).T
