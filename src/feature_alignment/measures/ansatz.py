"""The neural feature ansatz: does the average gradient outer product match the weights' Gram?

Matrices of a layer with weight W (out × in) and pre-activation covariance K (out × out):

- NFM, the neural feature matrix: Wᵀ W (in × in);
- AGOP, the average gradient outer product: Wᵀ K W = Σ ∂f/∂x_l ∂f/∂x_lᵀ (in × in).

The correlations below never form an in × in matrix. With G = W Wᵀ, u = W 1 and N = in²:
Σ NFM∘AGOP = tr(K G²), Σ NFM² = tr(G²), Σ AGOP² = tr((K G)²), Σ NFM = ‖u‖², Σ AGOP = uᵀ K u.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def neural_feature_matrix(weight: Tensor) -> Tensor:
    """Return the neural feature matrix Wᵀ W, (in, in), of a weight (out, in)."""
    return weight.T @ weight


def average_gradient_outer_product(weight: Tensor, covariance: Tensor) -> Tensor:
    """Return the AGOP Wᵀ K W, (in, in), summed over examples and outputs as ``covariance`` is.

    Args:
        weight: W, (out, in).
        covariance: K, (out, out), as
            :func:`feature_alignment.tangents.preactivations.preactivation_covariances` returns it.
    """
    return weight.T @ covariance @ weight


@dataclass(frozen=True)
class Correlations:
    """Two correlations of the same pair of matrices, each in [−1, 1].

    ``cosine`` is tr(AᵀB) / (‖A‖ ‖B‖), as the paper writes it; ``pearson`` is the same after
    removing from each matrix the mean of its entries, as the authors' code computes it.
    """

    pearson: float
    cosine: float


def ansatz_correlations(weight: Tensor, covariance: Tensor) -> Correlations:
    """Correlate the NFM Wᵀ W with the AGOP Wᵀ K W.

    With the weight itself this is the uncentred ansatz (UC-NFA), with the weight minus its
    initial value the centred one (C-NFA).

    Args:
        weight: W or W − W(0), (out, in).
        covariance: K, (out, out), positive semi-definite; of the whole weight in either case.

    Returns:
        Both correlations, computed in float64.

    Raises:
        ValueError: If the shapes do not fit, a value is complex or not finite, or no correlation is
            defined: the weight or the covariance is zero, or all entries of a matrix are the same.

    References:
        Beaglehole et al. (2024), uncentred and centred neural feature ansatz.
    """
    weight, covariance = _checked(weight, covariance)
    gram = weight @ weight.T
    row_sums = weight.sum(dim=1)
    product = covariance @ gram
    return _correlations(
        weight.shape[1] ** 2,
        inner=(product * gram).sum(),
        sums=(row_sums @ row_sums, row_sums @ covariance @ row_sums),
        squares=(gram.square().sum(), (product * product.T).sum()),
    )


def unnormalised_alignment(weight: Tensor, covariance: Tensor) -> float:
    """Return tr(Wᵀ W · Wᵀ K W), the inner product of NFM and AGOP, computed in float64.

    Args:
        weight: W, (out, in).
        covariance: K, (out, out).

    Raises:
        ValueError: If the shapes do not fit, or a value is complex or not finite.
    """
    _check(weight, covariance)
    gram = weight.double() @ weight.double().T
    return (covariance.double() @ gram * gram).sum().item()


def left_alignment(weight: Tensor, covariance: Tensor) -> float:
    """Return how far the left singular vectors of W are eigenvectors of K: 1 if so, 0 by chance.

    With A = W Wᵀ = Σ_i a_i u_i u_iᵀ and K = Σ_j k_j q_j q_jᵀ, eigenvalues in falling order, and
    N outputs,

        (tr(K A) − tr(K) tr(A) / N) / (Σ_i a_i k_i − tr(K) tr(A) / N),

    where tr(K A) = Σ_ij a_i k_j (u_iᵀ q_j)². Over Haar-random eigenvectors q_j its mean is
    tr(K) tr(A) / N, and it is at most Σ_i a_i k_i (von Neumann's trace inequality), where the
    left singular vectors are the eigenvectors in the same order. Both spectra are as they are, so
    that the value says nothing but how the vectors lie to each other.

    Args:
        weight: W or W − W(0), (out, in).
        covariance: K, (out, out), positive semi-definite; of the whole weight in either case.

    Returns:
        The alignment, at most 1, computed in float64.

    Raises:
        ValueError: As in :func:`ansatz_correlations`, or if W Wᵀ or K is a multiple of the
            identity, whose eigenvectors are any.

    References:
        Beaglehole et al. (2024), abstract: the ansatz as an alignment of the left singular
        structure of the weights with the PTK. Departs from: the measure is ours.
    """
    weight, covariance = _checked(weight, covariance)
    gram = weight @ weight.T
    product = (covariance * gram).sum()
    chance = covariance.trace() * gram.trace() / len(gram)
    most = torch.linalg.eigvalsh(covariance) @ torch.linalg.eigvalsh(gram)
    if not most - chance > 1e-12 * most:
        raise ValueError(
            "the weight's Gram matrix or the covariance is a multiple of the identity, so that any "
            "vectors are its eigenvectors; a layer needs two outputs or more that differ"
        )
    return ((product - chance) / (most - chance)).item()


def power_correlations(
    weight: Tensor, covariance: Tensor, exponents: Sequence[float]
) -> list[Correlations]:
    """Correlate the NFM Wᵀ W with powers of the AGOP, (Wᵀ K W)^s.

    With the eigenvectors v_i and eigenvalues λ_i of the AGOP, of which there are at most as many
    as the layer has outputs, Σ NFM∘AGOP^s = Σ_i λ_i^s ‖W v_i‖² and Σ AGOP^s = Σ_i λ_i^s (v_iᵀ 1)².
    Eigenvalues below 1e-6 of the largest count as zero: K is summed in single
    precision, and a small power would raise its rounding.

    Args:
        weight: W or W − W(0), (out, in).
        covariance: K, (out, out), positive semi-definite.
        exponents: The s, each above 0.

    Returns:
        Both correlations for each exponent, computed in float64; for s = 1 those of
        :func:`ansatz_correlations`.

    Raises:
        ValueError: As in :func:`ansatz_correlations`, or if an exponent is not positive.
    """
    if not all(exponent > 0 for exponent in exponents):
        raise ValueError(f"expected exponents above 0, got {min(exponents)}")
    weight, covariance = _checked(weight, covariance)
    inputs = weight.shape[1]
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()).T @ weight  # AGOP = rootᵀ root
    values, vectors = torch.linalg.eigh(root @ root.T)
    kept = values > 1e-6 * values[-1]
    values = values[kept]
    directions = root.T @ vectors[:, kept] / values.sqrt()  # v_i, (in, r)
    along = (weight @ directions).square().sum(dim=0)
    sums = directions.sum(dim=0).square()
    gram = weight @ weight.T
    return [
        _correlations(
            inputs**2,
            inner=values**s @ along,
            sums=(weight.sum(dim=1).square().sum(), values**s @ sums),
            squares=(gram.square().sum(), (values ** (2 * s)).sum()),
        )
        for s in exponents
    ]


def cross_correlations(first: Tensor, second: Tensor, covariance: Tensor) -> Correlations:
    """Correlate the NFM of one weight, W₁ᵀ W₁, with the AGOP of another, W₂ᵀ K W₂.

    Args:
        first: W₁, (out, in).
        second: W₂, (out, in).
        covariance: K, (out, out), positive semi-definite.

    Raises:
        ValueError: As in :func:`ansatz_correlations`.
    """
    first, _ = _checked(first, covariance)
    second, covariance = _checked(second, covariance)
    crossed = first @ second.T
    gram = first @ first.T
    product = covariance @ (second @ second.T)
    sums = second.sum(dim=1)
    return _correlations(
        first.shape[1] ** 2,
        inner=(crossed @ covariance * crossed).sum(),
        sums=(first.sum(dim=1).square().sum(), sums @ covariance @ sums),
        squares=(gram.square().sum(), (product * product.T).sum()),
    )


def _correlations(
    entries: int, *, inner: Tensor, sums: tuple[Tensor, Tensor], squares: tuple[Tensor, Tensor]
) -> Correlations:
    """Return the correlations of two matrices from sums of products and of their own entries."""
    cosine = inner / (squares[0] * squares[1]).sqrt()
    variances = [s - total**2 / entries for s, total in zip(squares, sums, strict=True)]
    for name, variance, square in zip(("NFM", "AGOP"), variances, squares, strict=True):
        _check_spread(variance, square, f"the {name}")
    pearson = (inner - sums[0] * sums[1] / entries) / (variances[0] * variances[1]).sqrt()
    return Correlations(pearson.item(), cosine.item())


def _check_spread(variance: Tensor, square: Tensor, what: str) -> None:
    """Check that the entries of a matrix, in float64, differ by more than rounding."""
    if not variance > 1e-13 * square:
        raise ValueError(
            f"all entries of {what} are the same, so that no Pearson correlation is defined; a "
            "layer needs two inputs or more, with different weights"
        )


def _check(weight: Tensor, covariance: Tensor) -> None:
    if weight.ndim != 2 or covariance.shape != (len(weight), len(weight)):
        raise ValueError(
            f"expected a weight (out, in) and, for one of {tuple(weight.shape)}, a covariance "
            f"of shape {(len(weight), len(weight))}, got {tuple(covariance.shape)}; flatten the "
            "kernel positions of a convolution"
        )
    for name, matrix in (("weight", weight), ("covariance", covariance)):
        if matrix.is_complex() or not torch.isfinite(matrix).all():
            raise ValueError(f"the {name} is complex or not finite; look whether training diverged")


def _checked(weight: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in float64 and on one scale, so that squares of tiny changes do not underflow."""
    _check(weight, covariance)
    return _on_unit_scale(weight, "weight"), _on_unit_scale(covariance, "covariance")


def _on_unit_scale(matrix: Tensor, name: str) -> Tensor:
    if not matrix.any():
        raise ValueError(f"the {name} is zero or has no entries; no correlation is defined")
    return matrix.double() / matrix.abs().max().double()


def matrix_correlations(first: Tensor, second: Tensor) -> Correlations:
    """Correlate the entries of two matrices of one shape; see :class:`Correlations`.

    Raises:
        ValueError: If the shapes differ, a value is complex or not finite, or all entries of a
            matrix are the same.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"expected two matrices of one shape, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    for name, matrix in (("first", first), ("second", second)):
        if matrix.is_complex() or not torch.isfinite(matrix).all():
            raise ValueError(f"the {name} matrix is complex or not finite")
    first, second = first.double().flatten(), second.double().flatten()
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=0, eps=0)
    centred = first - first.mean(), second - second.mean()
    for name, own, whole in zip(("first", "second"), centred, (first, second), strict=True):
        _check_spread(own.square().sum(), whole.square().sum(), f"the {name} matrix")
    pearson = torch.nn.functional.cosine_similarity(*centred, dim=0, eps=0)
    return Correlations(pearson.item(), cosine.item())
