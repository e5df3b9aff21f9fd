"""Two classes in the square: the two halves of a yin and yang."""

from math import pi, sqrt

import torch
from torch import Tensor

RADIUS = sqrt(2 / pi)
"""Of the disk, which covers half of the square, as that of :mod:`feature_alignment.data.disk`."""
EYE = 1 / 3
"""The radius of an eye over that of the half disk around it."""


def yin_yang_labels(points: Tensor) -> Tensor:
    """Return +1 on the right and −1 on the left of a boundary that winds through the disk.

    Outside the disk ‖x‖² ≤ 2/π the boundary is x₁ = 0. Inside, the half disk of half its radius
    above the centre is +1 and that below is −1, and each has an eye of the other class at its
    middle. Labels of x and −x are opposite, so that classes are balanced.

    Args:
        points: (n, 2) in [−1, 1]².

    Returns:
        (n,) of ±1, float32.

    References:
        Baratin et al. (2021): the notebook that comes with the authors' code draws such data.
        Departs from: sizes are ours.
    """
    half = RADIUS / 2
    right = points[:, 0] > 0
    for centre, above in ((half, True), (-half, False)):
        distance = (points - points.new_tensor([0.0, centre])).norm(dim=1)
        right = torch.where(distance <= half, torch.tensor(above), right)
        right = torch.where(distance <= EYE * half, torch.tensor(not above), right)
    return torch.where(right, 1.0, -1.0)
