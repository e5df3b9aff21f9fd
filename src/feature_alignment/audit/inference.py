"""From one number per seed to p-values and intervals: the statistics of every verdict.

All is of arrays (n seeds, G groups), on the scale on which a claim is judged. Two p-values are
computed per group: that the claim is false (small: it is supported) and that it is true (small: it
is contradicted). Both are one-sided. Of several groups they are combined as partial conjunctions,
which holds whatever the groups have to do with each other.

References:
    Schuirmann (1987), two one-sided tests; Benjamini and Heller (2008), Screening for partial
    conjunction hypotheses, Biometrics 64; Benjamini and Hochberg (1995), JRSS B 57.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import permutations

import numpy as np
import scipy  # which loads its parts when they are used
from numpy.typing import NDArray

from feature_alignment.audit.criterion import Range
from feature_alignment.audit.looks import LOOKS, level

POWER = 0.8
MOST_EXACT = 120
"""Up to how many seeds an exact test is looked ahead to."""
MOST_POINTS = 8
"""How many points a rank correlation may be over, for every order of them to be counted."""


def alike(values: NDArray) -> NDArray:
    """Return, per group, whether all seeds have one value, but for rounding."""
    middle = values[0]
    with np.errstate(invalid="ignore"):
        near = np.abs(values - middle) <= 1e-12 * np.maximum(1, np.abs(middle))
    return (near | (values == middle)).all(axis=0)


def tails(values: NDArray, bound: float, on_it: float) -> tuple[NDArray, NDArray]:
    """Return, per group, the p-values of mean ≤ bound and of mean ≥ bound.

    Student's t, one-sided. Where all seeds have one value, the sign test, which is exact: that n
    independent values all lie on one side of their median has probability 2⁻ⁿ.

    Args:
        values: Shape (n, G), n ≥ 2, finite.
        bound: May be infinite, when one of the p-values is 0 and the other 1.
        on_it: On which side a value at the bound is: 1 above, −1 below.
    """
    n = len(values)
    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    if math.isinf(bound):
        return np.full(mean.shape, float(bound > 0)), np.full(mean.shape, float(bound < 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (mean - bound) / (spread / math.sqrt(n))
    above, below = scipy.special.stdtr(n - 1, -t), scipy.special.stdtr(n - 1, t)
    at = np.abs(mean - bound) <= 1e-12 * max(1.0, abs(bound))
    side = np.where(at, on_it, np.sign(mean - bound))
    same = alike(values)
    above = np.where(same, np.where(side > 0, 0.5**n, 1.0), above)
    below = np.where(same, np.where(side < 0, 0.5**n, 1.0), below)
    return above, below


def sides(values: NDArray, claimed: Range) -> tuple[NDArray, NDArray]:
    """Return, per group, the p-values of the mean lying outside a range, and of lying inside.

    The first is the larger of two one-sided ones, the second the smaller.
    """
    above_least, below_least = tails(values, claimed.least, -1.0 if claimed.strict else 1.0)
    above_most, below_most = tails(values, claimed.most, -1.0)
    return np.maximum(above_least, below_most), np.minimum(below_least, above_most)


def intervals(values: NDArray, error: float) -> tuple[NDArray, NDArray]:
    """Return the ends of Student's interval per group, unbounded where all seeds are alike.

    Args:
        values: Shape (n, G), n ≥ 2.
        error: The probability that an interval leaves out the mean.
    """
    n = len(values)
    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    half = -scipy.special.stdtrit(n - 1, error / 2) * spread / math.sqrt(n)
    half = np.where(alike(values), math.inf, half)
    return mean - half, mean + half


def at_least_so_many(p_values: NDArray, least: int) -> float:
    """Return a p-value of fewer than ``least`` of G hypotheses being true, (G − u + 1)·p₍ᵤ₎.

    With ``least = G`` it is the largest p-value, with ``least = 1`` Bonferroni's.

    Args:
        p_values: Those of each hypothesis being false, shape (G,).
        least: u, from 1 to G.
    """
    count = len(p_values)
    return min(1.0, (count - least + 1) * float(np.sort(p_values)[least - 1]))


def needed(count: int, share: float) -> int:
    """Return how many of some groups a share asks for."""
    return max(1, math.ceil(share * count - 1e-9))


@cache
def _rank_sums(points: int, seeds: int) -> NDArray:
    """Return the probabilities of Σd² = 0, 1, 2, … summed over seeds, of ranks in any order."""
    ranks = np.arange(points)
    orders = np.array(list(permutations(ranks)))
    one = np.bincount(((orders - ranks) ** 2).sum(axis=1)) / len(orders)
    found = np.ones(1)
    for _ in range(seeds):
        found = np.convolve(found, one)
    return found


def rank_tails(correlations: NDArray, points: int) -> tuple[NDArray, NDArray]:
    """Return, per group, the exact p-values of no positive and of no negative association.

    Every order of the points is as likely as any other under the hypothesis, in every seed on its
    own. The statistic is the mean of Spearman's correlation over seeds.

    Args:
        correlations: Shape (n, G).
        points: How many points each is over, 2 to 8.

    Raises:
        ValueError: If there are more points.
    """
    if not 2 <= points <= MOST_POINTS:
        raise ValueError(
            f"expected a rank correlation over 2 to {MOST_POINTS} points, got {points}"
        )
    n = len(correlations)
    cube = points * (points**2 - 1) / 6
    distances = ((1 - correlations) * cube).sum(axis=0)
    chances = np.cumsum(_rank_sums(points, n))
    top = len(chances) - 1
    positive = chances[np.clip(np.ceil(distances - 1e-9), 0, top).astype(int)]
    negative = chances[np.clip(np.ceil(2 * n * cube - distances - 1e-9), 0, top).astype(int)]
    return np.minimum(1, positive), np.minimum(1, negative)


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini–Hochberg q-values: the least rate of false discoveries that admits each."""
    if not p_values:
        return []
    return scipy.stats.false_discovery_control(p_values).tolist()


def seeds_needed(
    means: NDArray, spreads: NDArray, claimed: Sequence[Range], share: float, now: int
) -> int | None:
    """Return the first later look at which a verdict would fall with probability 80 %.

    The means and standard deviations found are taken for the truth, and groups for independent, so
    this is a guide and no promise.

    Args:
        means: One per group, shape (G,).
        spreads: Standard deviations over seeds, shape (G,).
        claimed: The range of each.
        share: Of the groups that must lie inside.
        now: How many seeds there are.

    Returns:
        A number of seeds, or ``None`` if the last look would not suffice.
    """
    count = len(means)
    must = needed(count, share)
    room = np.array([min(m - r.least, r.most - m) for m, r in zip(means, claimed, strict=True)])
    spreads = np.maximum(spreads, 1e-12 * np.maximum(1, np.abs(means)))
    supports = int((room > 0).sum()) >= must
    most, rank = (count - must + 1, must) if supports else (must, count - must + 1)
    for look, n in enumerate(LOOKS, 1):
        critical = -scipy.special.stdtrit(n - 1, level(look) / 2 / most)
        wide = math.sqrt(1 + critical**2 / (2 * (n - 1)))  # the usual stand-in for noncentral t
        shift = np.abs(room) / spreads * math.sqrt(n)
        power = scipy.special.ndtr((shift - critical * (1 - 1 / (4 * (n - 1)))) / wide)
        power = np.sort(np.where((room > 0) == supports, power, 0.0))[::-1]
        chance = float(np.prod(power[:rank])) if supports else float(power[rank - 1])
        if n > now and chance >= POWER:
            return n
    return None


def exact_seeds_needed(points: int, correlation: float, now: int) -> int | None:
    """Return the first later look at which an exact test decides, if seeds stay as they are.

    Args:
        points: How many points each rank correlation is over; 2 for a sign test.
        correlation: The mean rank correlation, of which the sign is judged.
        now: How many seeds there are.
    """
    for look, n in enumerate(LOOKS, 1):
        if now < n <= MOST_EXACT:
            tails = rank_tails(np.full((n, 1), abs(correlation)), points)
            if min(float(p[0]) for p in tails) <= level(look) / 2:
                return n
    return None
