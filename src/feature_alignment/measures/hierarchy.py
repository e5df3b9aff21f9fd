"""Where in depth a quantity of layers is largest, and how much it differs between layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 3
NEAR = 0.05
UNTRAINED = "initial_"
"""How measures of the untrained network begin."""


@dataclass(frozen=True)
class Profile:
    """The shape of a curve over layers 1 … L.

    ``peak`` is the layer where the smoothed curve is largest, the first of several; ``near`` are
    the layers where it is within 5 % of that. ``spread`` is the largest smoothed value minus the
    least, ``interior_rise`` the largest over the larger of both ends: 1 where the curve peaks at
    an end.
    """

    peak: int
    near: tuple[int, ...]
    spread: float
    interior_rise: float


def smoothed(curve: Sequence[float], window: int = WINDOW) -> np.ndarray:
    """Return the centred moving average of a curve, over what there is of the window at its ends.

    Args:
        curve: One value per layer.
        window: Number of layers, odd.

    Raises:
        ValueError: If the curve is empty, not one-dimensional or not finite, or the window is even.
    """
    values = np.asarray(curve, dtype=float)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"expected one finite value per layer, got {curve}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"expected an odd window, got {window}")
    kernel = np.ones(window)
    full = slice(window // 2, window // 2 + len(values))
    return np.convolve(values, kernel)[full] / np.convolve(np.ones_like(values), kernel)[full]


def profile(curve: Sequence[float], window: int = WINDOW) -> Profile:
    """Describe a positive curve over layers, smoothed; see :class:`Profile`.

    Arguments as in :func:`smoothed`.

    Raises:
        ValueError: If a smoothed end is not positive.

    References:
        Lou et al. (2022), alignment hierarchy. How the paper finds the most aligned layer is not
        public; smoothing over three layers and the 5 % are ours.
    """
    smooth = smoothed(curve, window)
    largest = smooth.max()
    ends = max(smooth[0], smooth[-1])
    if ends <= 0:
        raise ValueError(f"expected positive values at the ends, got {curve}")
    near = np.flatnonzero(smooth >= (1 - NEAR) * largest) + 1
    return Profile(
        peak=int(smooth.argmax()) + 1,
        near=tuple(near.tolist()),
        spread=float(largest - smooth.min()),
        interior_rise=float(largest / ends),
    )
