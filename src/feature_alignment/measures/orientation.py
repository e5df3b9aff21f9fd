"""How alike two positive semi-definite matrices are oriented, and what comes for free."""

from typing import NamedTuple

from torch import Tensor


class Orientation(NamedTuple):
    """The cosine of two matrices, and its mean where one of them is turned at random."""

    cosine: float
    chance: float

    @property
    def above_chance(self) -> float:
        """(cosine − chance) / (1 − chance): 1 if the matrices are proportional, 0 by chance."""
        return (self.cosine - self.chance) / (1 - self.chance)


def orientation(first: Tensor, second: Tensor) -> Orientation:
    """Return tr(A B) / (‖A‖ ‖B‖), and tr A tr B / (d ‖A‖ ‖B‖).

    The latter is the mean of the former over A in the Haar-random basis Q A Qᵀ, since the mean of
    Q A Qᵀ is tr A / d times the identity. Of positive semi-definite matrices it is above 0, so that
    the cosine alone says little.

    Args:
        first: A, (d, d), symmetric and positive semi-definite.
        second: B, (d, d), the same.

    Returns:
        Both, computed in float64.

    Raises:
        ValueError: If the shapes do not fit, a value is not finite, or a matrix is zero.
    """
    if first.ndim != 2 or first.shape[0] != first.shape[1] or first.shape != second.shape:
        raise ValueError(
            f"expected two square matrices of one size, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    a, b = first.double(), second.double()
    lengths = (a.norm() * b.norm()).item()
    if not 0 < lengths < float("inf"):
        raise ValueError(
            f"expected finite matrices that are not zero, got norms {a.norm():g} and {b.norm():g}"
        )
    chance = (a.trace() * b.trace()).item() / (len(a) * lengths)
    return Orientation((a * b).sum().item() / lengths, chance)
