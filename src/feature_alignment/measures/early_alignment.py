"""How weights and gradients of a quadratic one-hidden-layer network align at its first step.

The network f(x) = Σ_i a_i (w_iᵀ x)², with w_i the rows of W (k × d) and a fixed, learns labels y
by gradient descent on the mean squared error. With residuals r = y − f(x) at initialisation and

    M = Wᵀ diag(a)² W,   R = (1/n) Σ_α r_α x_α x_αᵀ,   Σ = (1/n) Σ_α x_α x_αᵀ   (d × d),

the first step changes the weights by W̄ ∝ diag(a) W R, while the pre-activation covariance is
K ∝ diag(a) W Σ Wᵀ diag(a). Centred NFM and AGOP therefore begin as

    W̄ᵀ W̄ ∝ F̈ = R M R,   W̄ᵀ K W̄ ∝ G̈ = R M Σ M R,

their first derivatives in time that are not zero (the second ones). This is exact whatever the
network puts out at initialisation, which R contains. If it puts out nearly nothing, M depends on
the weights alone and R and Σ on the data alone. Gaussian weights give M Haar-random eigenvectors,
so that M is asymptotically free from {R, Σ}, and the correlation of F̈ and G̈ follows from the
spectrum of M and traces of words in R and Σ.

References:
    Beaglehole et al. (2024), early-time prediction in a quadratic network; the formulas are derived
    here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from feature_alignment.measures.ansatz import Correlations, matrix_correlations
from feature_alignment.measures.free_probability import free_cumulants, mixed_moment, trace_moments
from feature_alignment.measures.orthogonal import haar_orthogonal


@dataclass(frozen=True)
class InitialMatrices:
    """M, R and Σ of a quadratic network at initialisation, (d, d) and symmetric, in float64."""

    gram: Tensor
    residual: Tensor
    covariance: Tensor


def initial_matrices(
    weight: Tensor, readout: Tensor, inputs: Tensor, labels: Tensor
) -> InitialMatrices:
    """Compute M, R and Σ of f(x) = Σ_i a_i (w_iᵀ x)².

    Args:
        weight: W, (k, d).
        readout: a, (k,).
        inputs: x, (n, d).
        labels: y, (n,).

    Raises:
        ValueError: If the shapes do not fit.
    """
    width, dimension = weight.shape
    expected = {"readout": (width,), "inputs": (len(labels), dimension), "labels": (len(inputs),)}
    _check_shapes(weight, expected, {"readout": readout, "inputs": inputs, "labels": labels})
    weight, readout = weight.double(), readout.double()
    inputs, labels = inputs.double(), labels.double()
    residuals = labels - (inputs @ weight.T).square() @ readout
    scaled = readout[:, None] * weight
    return InitialMatrices(
        gram=scaled.T @ scaled,
        residual=inputs.T @ (residuals[:, None] * inputs) / len(inputs),
        covariance=inputs.T @ inputs / len(inputs),
    )


def expected_matrices(
    weight: Tensor, readout: Tensor, teacher: Tensor, covariance: Tensor
) -> InitialMatrices:
    """Compute M, R and Σ of f(x) = Σ_i a_i (w_iᵀ x)² for infinitely many examples.

    With x ~ N(0, Σ), labels y = xᵀ A x − tr(A Σ) and A_f = Wᵀ diag(a) W, Isserlis' theorem gives

        R = E[(y − f) x xᵀ] = 2 Σ (A − A_f) Σ − tr(A_f Σ) Σ.

    Args:
        weight: W, (k, d).
        readout: a, (k,).
        teacher: A, (d, d), symmetric.
        covariance: Σ, (d, d).

    Raises:
        ValueError: If the shapes do not fit.
    """
    width, dimension = weight.shape
    square = (dimension, dimension)
    expected = {"readout": (width,), "teacher": square, "covariance": square}
    _check_shapes(
        weight, expected, {"readout": readout, "teacher": teacher, "covariance": covariance}
    )
    weight, readout = weight.double(), readout.double()
    teacher, covariance = teacher.double(), covariance.double()
    scaled = readout[:, None] * weight
    network = weight.T @ scaled
    mean_output = (network * covariance).sum()
    return InitialMatrices(
        gram=scaled.T @ scaled,
        residual=2 * covariance @ (teacher - network) @ covariance - mean_output * covariance,
        covariance=covariance,
    )


def _check_shapes(
    weight: Tensor, expected: Mapping[str, tuple], given: Mapping[str, Tensor]
) -> None:
    for name, shape in expected.items():
        if given[name].shape != shape:
            raise ValueError(
                f"expected {name} of shape {shape} for a weight of shape {tuple(weight.shape)}, "
                f"got {tuple(given[name].shape)}"
            )


def early_feature_matrices(start: InitialMatrices) -> tuple[Tensor, Tensor]:
    """Return F̈ = R M R and G̈ = R M Σ M R, (d, d) each, up to positive factors."""
    half = start.residual @ start.gram
    return half @ start.residual, half @ start.covariance @ half.T


def predicted_cosine(start: InitialMatrices) -> float:
    """Predict the cosine of F̈ and G̈ as if M were free from {R, Σ}.

    tr(F̈ G̈) = tr(M R² M Σ M R²), ‖F̈‖² = tr(M R² M R²) and ‖G̈‖² = tr(M Σ M R² M Σ M R²) are
    replaced by what :func:`feature_alignment.measures.free_probability.mixed_moment` gives for
    the moments of M itself. These are averages over the eigenvectors of M. Traces of one network
    are near them if many eigenvalues of R² and of Σ count, not merely if d is large; otherwise
    the cosine of one network, a ratio of such traces, scatters about the prediction and exceeds
    it on average.

    Returns:
        tr(F̈ G̈) / (‖F̈‖ ‖G̈‖).
    """
    cumulants = free_cumulants(trace_moments(start.gram, 4))
    square = start.residual @ start.residual
    inner = mixed_moment(cumulants, [square, start.covariance, square])
    nfm_square = mixed_moment(cumulants, [square, square])
    agop_square = mixed_moment(cumulants, [start.covariance, square] * 2)
    return inner / (nfm_square * agop_square) ** 0.5


def unrelated_correlations(
    first: Tensor, second: Tensor, generator: torch.Generator
) -> Correlations:
    """Correlate Q F Qᵀ with G, for one Haar-random orthogonal Q.

    The spectra stay and the eigenvectors no longer have anything to do with each other. The
    cosine of two positive semi-definite matrices is still positive, near
    tr(F) tr(G) / (d ‖F‖ ‖G‖); that of their entries about the mean is near 0 for spectra of
    many equal eigenvalues only.

    Args:
        first: F, (d, d).
        second: G, (d, d).
        generator: Source of Q, on the CPU.

    Raises:
        ValueError: If the matrices are not square of one shape.
    """
    if first.shape != second.shape or first.ndim != 2 or len(first) != first.shape[1]:
        raise ValueError(
            f"expected two square matrices of one shape, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    rotation = haar_orthogonal(len(first), generator).to(first.device)
    return matrix_correlations(rotation @ first.double() @ rotation.T, second)
