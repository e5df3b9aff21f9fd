"""Penalties on the factors of adaptive features, and the penalties they amount to.

A penalty w(z) is paid for scaling a tangent feature by z ≥ 1. Minimising it together with the
ridge penalty on the scaled coefficient, v = z · (v/z), leaves a penalty on the product alone:

    w̃(v) = min_{z ≥ 1}  w(z) + v² / z².

All minimisations are exact: closed forms, or the single root of a monotone function.

References:
    LeJeune & Alemohammad (2024), figure 2.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize.elementwise import find_root

Curve = NDArray[np.float64]

SHARED_FROM = (1 + np.sqrt(3)) / 2
"""(1 + √3)/2, from which on :func:`w3` divides the scaling between its two factors."""


def w1(z: ArrayLike) -> Curve:
    """Return (z − 1)², for z ≥ 1."""
    return (_at_least(z, 1) - 1) ** 2


def w2(z: ArrayLike) -> Curve:
    """Return |z − 1|, for z ≥ 1."""
    return _at_least(z, 1) - 1


def w3(v: ArrayLike) -> Curve:
    """Return min_{1 ≤ z ≤ v} w1(z) + w2(v/z), for v ≥ 1.

    The derivative 2(z − 1) − v/z² rises with z, so the minimum lies where it is zero,
    2(z − 1)z² = v, or at the end z = v of the interval if that comes first, which it does up to
    v = (1 + √3)/2.
    """
    v = _at_least(v, 1)
    z = np.minimum(v, _increasing_root(lambda z, target: 2 * (z - 1) * z**2 - target, v))
    return (z - 1) ** 2 + v / z - 1


def effective_w1(v: ArrayLike) -> tuple[Curve, Curve]:
    """Return w̃1(v) and its minimiser, for v ≥ 0: the root of (z − 1)z³ = v²."""
    v = _at_least(v, 0)
    z = _quartic_root(v)
    return (z - 1) ** 2 + (v / z) ** 2, z


def effective_w2(v: ArrayLike) -> tuple[Curve, Curve]:
    """Return w̃2(v) and its minimiser max(1, (2v²)^⅓), for v ≥ 0."""
    v = _at_least(v, 0)
    z = np.maximum(1, np.cbrt(2 * v**2))
    return z - 1 + (v / z) ** 2, z


def effective_w3(v: ArrayLike) -> tuple[Curve, Curve]:
    """Return w̃3(v) and its minimiser, for v ≥ 0.

    While the minimiser of w̃1 is at most (1 + √3)/2, w̃3 = w̃1. Beyond, with a the first factor
    of w3 (so that z = 2(a − 1)a² and, by the envelope theorem, w3′(z) = 1/a), stationarity
    1/a = 2v²/z³ reads 4(a − 1)³a⁵ = v².
    """
    v = _at_least(v, 0)
    alone = _quartic_root(v)
    edge = 2 * (SHARED_FROM - 1) ** 1.5 * SHARED_FROM**2.5
    first = _increasing_root(
        lambda a, target: 4 * (a - 1) ** 3 * a**5 - target, np.maximum(v, edge) ** 2
    )
    z = np.where(alone <= SHARED_FROM, alone, 2 * (first - 1) * first**2)
    return w3(np.maximum(z, 1)) + (v / z) ** 2, z


def _quartic_root(v: Curve) -> Curve:
    return _increasing_root(lambda z, target: (z - 1) * z**3 - target, v**2)


def _increasing_root(function: Callable[[Curve, Curve], Curve], target: Curve) -> Curve:
    """Return the root z ≥ 1 of function(z, target), which rises in z from −target at z = 1."""
    ceiling = 2 + target  # every function here exceeds its target by then
    found = find_root(function, (np.ones_like(target), ceiling), args=(target,))
    if not found.success.all():
        raise ArithmeticError(f"no minimiser found for {target[~found.success]}")
    return found.x


def _at_least(values: ArrayLike, least: float) -> Curve:
    values = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(values).all() and (values >= least).all()):
        raise ValueError(f"expected finite arguments of at least {least}, got {values}")
    return values
