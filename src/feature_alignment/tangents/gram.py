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

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

CONTRACTION_SPEED = 0.3
"""Multiplications per second of :func:`_contract` relative to :func:`_materialise`, measured on
processors with AVX2 and with AVX-512: its products are with C rows, which are few."""
BLOCK_BYTES = 48 * 2**20
"""Size of a block of :func:`_materialise`: large, as its products are the better for it."""
CACHED_BYTES = 16 * 2**20
"""Up to here a block of :func:`_contract` stays in the processor's cache; several times faster."""


BLOCKS = 8
"""Of so many blocks of rows, those to the left of the diagonal are not computed."""


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
    if writing_pays(n, classes, outputs, size, positions):
        return _materialise(patches, gradients, budget)
    return _contract(patches, gradients, min(budget, CACHED_BYTES))


def writing_pays(n: int, classes: int, outputs: int, size: int, positions: int) -> bool:
    """Return whether writing per-example gradients out is the quicker way to their kernel.

    Args:
        n: Number of examples.
        classes: C.
        outputs: O.
        size: D.
        positions: S.
    """
    rows = n * classes
    materialised = rows * outputs * size * (positions + rows / 2)
    contracted = (
        n**2
        / 2
        * positions
        * (positions * size + positions * classes * outputs + classes**2 * outputs)
    )
    return materialised < contracted / CONTRACTION_SPEED


def upper_rows(rows: Tensor) -> Iterator[Tensor]:
    """Yield K[c,:,c:,:], (n, C − c, n), of gradients (C, n, P) written out, for one c at a time.

    What is yielded may be changed, and is overwritten by the next.
    """
    classes, n, _ = rows.shape
    space = rows.new_empty(n, classes * n)
    for c, own in enumerate(rows):
        into = space.view(-1)[: n * (classes - c) * n].view(n, -1)
        torch.mm(own, rows[c:].flatten(0, 1).T, out=into)
        yield into.view(n, -1, n)


def row_gram(rows: Tensor) -> Tensor:
    """Compute the Gram matrix (C, n, C, n) of gradients (C, n, P) written out."""
    classes, n, _ = rows.shape
    gram = rows.new_zeros(classes, n, classes, n)
    _add_gram(gram, rows)
    return _mirrored(gram)


def _materialise(patches: Tensor, gradients: Tensor, budget: int) -> Tensor:
    """Write out per-example gradients of a few patch entries at a time and multiply them."""
    n, size, _ = patches.shape
    classes, _, outputs, _ = gradients.shape
    total = patches.new_zeros(classes, n, classes, n)
    step = max(1, min(budget, BLOCK_BYTES) // (classes * n * outputs * patches.element_size()))
    step = min(step, size)
    space = patches.new_empty(classes * n * outputs * step)
    for start in range(0, size, step):
        part = patches[:, start : start + step].transpose(1, 2)  # (n, S, step)
        jacobian = space[: classes * n * outputs * part.shape[2]].view(classes, n, outputs, -1)
        for own, into in zip(gradients, jacobian, strict=True):
            torch.bmm(own, part, out=into)
        _add_gram(total, jacobian.flatten(2))
    return _mirrored(total)


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


def _add_gram(total: Tensor, rows: Tensor) -> None:
    """Add the Gram matrix of rows (C, n, P) to the blocks (c, d) with c ≤ d of ``total``.

    With one output, or few, examples are split as well, so that half is saved there too.
    """
    classes, n, _ = rows.shape
    flat, matrix = rows.flatten(0, 1), total.view(classes * n, classes * n)
    parts = max(1, BLOCKS // classes)
    edges = [c * n + n * part // parts for c in range(classes) for part in range(parts)]
    for low, high in pairwise([*edges, classes * n]):
        matrix[low:high, low:].addmm_(flat[low:high], flat[low:].T)


def _mirrored(total: Tensor) -> Tensor:
    """Fill in what :func:`_add_gram` leaves out, and return ``total``."""
    classes = len(total)
    for c in range(classes):
        total[c + 1 :, :, c] = total[c, :, c + 1 :].permute(1, 2, 0)
        if classes < BLOCKS:
            own = total[c, :, c]
            own.copy_(own.triu() + own.triu(1).T)
    return total
