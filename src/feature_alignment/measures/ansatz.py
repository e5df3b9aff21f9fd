"""The neural feature ansatz: does the average gradient outer product match the weights' Gram?

Matrices of a layer with weight W (out × in) and pre-activation covariance K (out × out):

- NFM, the neural feature matrix: Wᵀ W (in × in);
- AGOP, the average gradient outer product: Wᵀ K W = Σ ∂f/∂x_l ∂f/∂x_lᵀ (in × in).

The correlations below never form an in × in matrix. With G = W Wᵀ, u = W 1 and N = in²:
Σ NFM∘AGOP = tr(K G²), Σ NFM² = tr(G²), Σ AGOP² = tr((K G)²), Σ NFM = ‖u‖², Σ AGOP = uᵀ K u.
"""

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
        ValueError: If the shapes do not fit, or the weight or the covariance is zero, for which
            no correlation is defined.

    References:
        beaglehole2024, uncentred and centred neural feature ansatz.
    """
    if covariance.shape != (len(weight), len(weight)):
        raise ValueError(
            f"expected a covariance of shape {(len(weight), len(weight))} for a weight of shape "
            f"{tuple(weight.shape)}, got {tuple(covariance.shape)}"
        )
    # On one scale, so that squares of tiny weight changes do not underflow.
    weight = _on_unit_scale(weight, "weight")
    covariance = _on_unit_scale(covariance, "covariance")
    entries = weight.shape[1] ** 2
    gram = weight @ weight.T
    row_sums = weight.sum(dim=1)
    product = covariance @ gram
    nfm_sum = row_sums @ row_sums
    agop_sum = row_sums @ covariance @ row_sums
    nfm_square = gram.square().sum()
    agop_square = (product * product.T).sum()
    inner = (product * gram).sum()
    cosine = inner / (nfm_square * agop_square).sqrt()
    variances = (nfm_square - nfm_sum**2 / entries) * (agop_square - agop_sum**2 / entries)
    pearson = (inner - nfm_sum * agop_sum / entries) / variances.sqrt()
    return Correlations(pearson.item(), cosine.item())


def _on_unit_scale(matrix: Tensor, name: str) -> Tensor:
    largest = matrix.abs().max().double()
    if not torch.isfinite(largest) or largest == 0:
        raise ValueError(f"the {name} is zero or not finite; no correlation is defined")
    return matrix.double() / largest


def matrix_correlations(first: Tensor, second: Tensor) -> Correlations:
    """Correlate the entries of two matrices of one shape; see :class:`Correlations`."""
    first, second = first.double().flatten(), second.double().flatten()
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=0, eps=0)
    centred = first - first.mean(), second - second.mean()
    pearson = torch.nn.functional.cosine_similarity(*centred, dim=0, eps=0)
    return Correlations(pearson.item(), cosine.item())
