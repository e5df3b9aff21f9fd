"""SuperNat: gradient descent on a linear model, in coordinates that tighten a complexity bound.

A linear model f = Φw on n examples is trained on L = ‖f − y‖² / 2n, with gradient
g = ∇_f L = (f − y)/n and features Φ = Σ_j √λ_j u_j v_jᵀ. For any A = Σ_j ν_j v_j v_jᵀ, the step
δw_j = −η √λ_j u_jᵀg adds ‖δw‖_A ‖Φ‖_{A⁻¹} to a bound on the Rademacher complexity, and by
Cauchy–Schwarz

    (Σ_j ν_j δw_j²) (Σ_j λ_j/ν_j)  ≥  (Σ_j √λ_j |δw_j|)²,  with equality at  ν_j = κ / |u_jᵀg|,

whatever κ > 0. The same in coordinates where A is the identity: Φ → ΦQ, w → Q⁻¹w with
Q = Σ_j ν_j^(−1/2) v_j v_jᵀ, which leaves f alone and takes λ_j to λ_j |u_jᵀg| / κ. SuperNat does
so before every gradient step, and the changes accumulate.

Neither Q nor the step mixes singular directions, so one decomposition is enough. What remains is
a recursion on c_j = u_jᵀ(f − y) and λ_j:

    λ_j ← rescaled λ_j,    c_j ← (1 − η λ_j / n) c_j.

Departs from: the algorithm is from memory, ν_j derived above. The main unknown is κ, which the
bound leaves free but the path does not: a constant κ fixes a scale of the residual, and a κ that
keeps ‖Φ‖ makes learning faster, not slower. :func:`supernat` takes κ = max_k |u_kᵀg|, so that
features only ever shrink. That, w = 0 at the start and the floor :data:`FLOOR` are ours.

References:
    Baratin et al. (2021), section on SuperNat and figure 5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Rescaling = Callable[[Array, Array], Array]

FLOOR = 1e-12
"""Smallest factor on an eigenvalue in one step."""


def gradient_descent(spectrum: Array, gradient: Array) -> Array:
    """Return the eigenvalues as they are."""
    return spectrum


def supernat(spectrum: Array, gradient: Array) -> Array:
    """Return λ_j |u_jᵀg| / κ with κ = max_k |u_kᵀg|: the largest residual keeps its feature.

    Args:
        spectrum: (r,) eigenvalues λ_j of the kernel ΦΦᵀ.
        gradient: (r,) u_jᵀg, up to a common factor.
    """
    size = np.abs(gradient)
    return spectrum * np.maximum(size / max(size.max(), np.finfo(float).tiny), FLOOR)


def supernat_constant_top(spectrum: Array, gradient: Array) -> Array:
    """Return the same with the κ that keeps the largest eigenvalue: a control for the choice of κ.

    Arguments as in :func:`supernat`.
    """
    rescaled = supernat(spectrum, gradient)
    return rescaled * (spectrum.max() / rescaled.max())


METHODS: dict[str, Rescaling] = {
    "gd": gradient_descent,
    "supernat": supernat,
    "supernat_constant_top": supernat_constant_top,
}


@dataclass(frozen=True)
class Trajectory:
    """Where training was after each of the recorded ``steps``.

    Attributes:
        steps: (k,) numbers of steps taken.
        weights: (k, p) weights θ on the features as they were given, f(x) = θᵀφ(x).
        complexity: (k,) length Σ_t ‖δw_t‖ ‖Φ_t‖_F / √n of the path so far, each step in the
            coordinates in which it was taken.
    """

    steps: NDArray[np.int64]
    weights: Array
    complexity: Array


def train(
    features: ArrayLike,
    targets: ArrayLike,
    rescaling: Rescaling,
    learning_rate: float,
    steps: Sequence[int],
) -> Trajectory:
    """Train a linear model from w = 0 by gradient descent on ‖Φw − y‖² / 2n.

    Args:
        features: (n, p) matrix Φ.
        targets: (n,) vector y.
        rescaling: What happens to the eigenvalues before each step, one of :data:`METHODS`.
        learning_rate: η, the same in all coordinates.
        steps: Increasing numbers of steps to record the path at; the last ends it.

    Raises:
        ValueError: If shapes do not match, features or targets are not finite or all features
            zero, steps do not increase from 0 or more, or η is not between 0 and 2n/λ_max, from
            which on gradient descent diverges.
    """
    features, targets = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    steps = np.asarray(steps)
    _check(features, targets, steps)
    left, singular, right = np.linalg.svd(features, full_matrices=False)
    rank = np.count_nonzero(singular > singular[0] * max(features.shape) * np.finfo(float).eps)
    left, singular, right = left[:, :rank], singular[:rank], right[:rank]
    spectrum, n = singular**2, len(targets)
    if not 0 < learning_rate < 2 * n / spectrum[0]:
        raise ValueError(
            f"expected a learning rate between 0 and 2n/λ_max = {2 * n / spectrum[0]:.4g}, "
            f"got {learning_rate}; larger ones diverge"
        )
    goal = left.T @ targets
    residual, complexity = -goal, 0.0
    fitted, complexities = [], []
    recorded = set(steps.tolist())
    for step in range(steps[-1] + 1):
        if step in recorded:
            fitted.append(residual + goal)
            complexities.append(complexity)
        spectrum = rescaling(spectrum, residual)
        moved = learning_rate / n * np.sqrt(spectrum @ residual**2)
        complexity += moved * np.sqrt(spectrum.sum() / n)
        residual = residual * (1 - learning_rate / n * spectrum)
    return Trajectory(steps, np.array(fitted) / singular @ right, np.array(complexities))


def mean_squared_error(weights: Array, features: ArrayLike, targets: ArrayLike) -> Array:
    """Return ‖Φθ − y‖² / n for every row of weights.

    Args:
        weights: (k, p) weights.
        features: (n, p) matrix Φ.
        targets: (n,) vector y.
    """
    return np.mean((weights @ np.asarray(features).T - targets) ** 2, axis=1)


def _check(features: Array, targets: Array, steps: NDArray) -> None:
    if features.ndim != 2 or targets.shape != features.shape[:1]:
        raise ValueError(
            "expected features of shape (n, p) and targets of shape (n,), "
            f"got {features.shape} and {targets.shape}"
        )
    if not (np.isfinite(features).all() and np.isfinite(targets).all() and features.any()):
        raise ValueError("expected finite features, not all zero, and finite targets")
    whole = steps.ndim == 1 and len(steps) > 0 and np.issubdtype(steps.dtype, np.integer)
    if not whole or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise ValueError(f"expected increasing whole numbers of steps from 0 on, got {steps}")
