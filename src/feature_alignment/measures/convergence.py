"""The features that a weight should have where training with weight decay has come to rest.

With the mean loss L over n examples, of which ℓ_i is one's, and weight decay λ, a weight W,
(out, in), with inputs h rests where ∇_W L + λ W = 0. Multiplied by Wᵀ from the left,

    Wᵀ W = −(1 / λ) Wᵀ ∇_W L = −(1 / (n λ)) Σ_i (∇_h ℓ_i) h_iᵀ,

the features at convergence theorem (FACT). The right side needs neither weight decay nor rest to be
computed, and need not be symmetric.

References:
    Boix-Adserà, Mallinar, Simon & Belkin (2025), arXiv 2507.05644.
"""

from torch import Tensor

from feature_alignment.measures.ansatz import (
    Correlations,
    matrix_correlations,
    neural_feature_matrix,
)


def features_at_convergence(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return −Wᵀ ∇_W L, (in, in), which is λ Wᵀ W where training with weight decay λ rests.

    Args:
        weight: W, (out, in).
        gradient: ∇_W L, (out, in), of the mean loss over all examples, without weight decay.
    """
    return -weight.T @ gradient


def fact_correlations(weight: Tensor, gradient: Tensor) -> Correlations:
    """Correlate the NFM Wᵀ W with −Wᵀ ∇_W L; the scale 1 / λ makes no difference.

    Args:
        weight: W, (out, in).
        gradient: ∇_W L, (out, in), as for :func:`features_at_convergence`.

    Returns:
        Both correlations, computed in float64.

    Raises:
        ValueError: If the shapes differ, a value is complex or not finite, or all entries of a
            matrix are the same, as where the gradient is zero.
    """
    if weight.ndim != 2 or weight.shape != gradient.shape:
        raise ValueError(
            f"expected a weight (out, in) and its gradient, of one shape, got "
            f"{tuple(weight.shape)} and {tuple(gradient.shape)}"
        )
    weight, gradient = weight.double(), gradient.double()
    largest = gradient.abs().max()
    scaled = gradient / largest if largest > 0 else gradient
    return matrix_correlations(
        neural_feature_matrix(weight), features_at_convergence(weight, scaled)
    )


def distance_from_rest(weight: Tensor, gradient: Tensor, weight_decay: float) -> float:
    """Return ‖∇_W L + λ W‖ / (λ ‖W‖), 0 where training with weight decay λ rests.

    Args:
        weight: W, (out, in).
        gradient: ∇_W L, (out, in), without weight decay.
        weight_decay: λ, above 0.

    Raises:
        ValueError: If there is no weight decay.
    """
    if not weight_decay > 0:
        raise ValueError(
            f"expected weight decay above 0, got {weight_decay}; without it, the weight need "
            "not come to rest"
        )
    weight, gradient = weight.double(), gradient.double()
    return ((gradient + weight_decay * weight).norm() / (weight_decay * weight.norm())).item()
