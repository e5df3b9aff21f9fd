"""Two classes in the square: a disk, and a disk flipped in one half."""

import torch
from torch import Tensor

RADIUS_SQUARED = 2 / torch.pi
"""The disk covers half of the square, whose sides have length 2, so that classes are balanced."""

VARIANTS = ("disk", "half_disk")


def disk_labels(points: Tensor, variant: str) -> Tensor:
    """Return +1 inside the disk ‖x‖² ≤ 2/π and −1 outside.

    In the variant ``half_disk`` the labels are exchanged in the upper half, x₂ > 0.

    Args:
        points: (n, 2) in [−1, 1]².
        variant: One of :data:`VARIANTS`.

    Returns:
        (n,) of ±1, float32.

    Raises:
        ValueError: If the variant is unknown.

    References:
        Baratin et al. (2021), figure 1 and appendix.
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; expected one of {', '.join(VARIANTS)}")
    inside = points.square().sum(dim=1) <= RADIUS_SQUARED
    if variant == "half_disk":
        inside ^= points[:, 1] > 0
    return torch.where(inside, 1.0, -1.0)


def random_points(count: int, generator: torch.Generator) -> Tensor:
    """Return points drawn uniformly from [−1, 1]², (count, 2)."""
    return 2 * torch.rand(count, 2, generator=generator) - 1


def grid_points(side: int) -> Tensor:
    """Return the centres of ``side`` × ``side`` equal cells of [−1, 1]², row by row, x₁ fastest.

    The first row is the lowest, x₂ = −1 + 1/side.
    """
    centres = (2 * torch.arange(side) + 1) / side - 1
    x2, x1 = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x1.flatten(), x2.flatten()], dim=1)
