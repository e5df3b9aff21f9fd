"""How many examples one learner needs where another needs n: curves of error against n."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # which loads its parts when they are used

GRID = 200
"""Errors, evenly spaced, over which :func:`sample_ratio` averages."""


@dataclass(frozen=True)
class Selection:
    """The epoch that early stopping selects and the one at which it stops."""

    epoch: float
    stopped: float


def early_stopping(
    epochs: Sequence[float], errors: Sequence[float], *, patience: float, least_epochs: float = 0
) -> Selection:
    """Return what early stopping on one curve of errors selects.

    The first epoch with the lowest error so far is selected once no lower one has come for more
    than ``patience`` epochs, from ``least_epochs`` on, or at the end of the curve.

    Args:
        epochs: In rising order.
        errors: One for each.
        patience: In epochs.
        least_epochs: Before which nothing stops.

    Raises:
        ValueError: If there is no error, or the numbers of epochs and errors differ.
    """
    if len(epochs) != len(errors) or not len(errors):
        raise ValueError(f"expected an error per epoch, got {len(errors)} for {len(epochs)} epochs")
    best = 0
    for place, epoch in enumerate(epochs):
        if errors[place] < errors[best]:
            best = place
        if epoch - epochs[best] > patience and epoch >= least_epochs:
            break
    return Selection(float(epochs[best]), float(epochs[place]))


def examples_to_reach(error: float, curve: Mapping[int, float]) -> float:
    """Return the number of examples at which a curve reaches an error, log-interpolated.

    The curve is made monotone first: its value at n is the lowest at any number up to n. Between
    two numbers of examples log n is linear in the error.

    Args:
        error: The error to reach.
        curve: From the number of examples to the error.

    Returns:
        0 if the curve is there before its first number of examples, infinity if it never is.
    """
    sizes = np.log(sorted(curve))
    errors = np.minimum.accumulate([curve[size] for size in sorted(curve)])
    if error > errors[0]:
        return 0.0
    if error < errors[-1]:
        return math.inf
    first = int(np.argmax(errors <= error))
    if errors[first] == error:
        return math.exp(sizes[first])
    share = (errors[first - 1] - error) / (errors[first - 1] - errors[first])
    return math.exp(sizes[first - 1] + share * (sizes[first] - sizes[first - 1]))


@dataclass(frozen=True)
class Ratio:
    """A ratio, or a bound on it: ``side`` is ``at``, ``above`` or ``below``."""

    value: float
    side: str


def mean_ratio(first: Mapping[int, float], second: Mapping[int, float]) -> Ratio:
    """Return how many times the examples of the second learner the first needs for its errors.

    The geometric mean of n_first(e) / n_second(e) over the errors e that both curves reach, all
    weighted alike; below 1 if the first needs fewer. Curves are made monotone as in
    :func:`examples_to_reach`. If one starts below where the other ends, no error is common, and the
    first and last number of examples give a bound.

    Args:
        first: From the number of examples to the error.
        second: The same for the other learner.

    References:
        LeJeune & Alemohammad (2024), its headline. Departs from: the paper gives no definition.
    """
    start = {name: curve[min(curve)] for name, curve in (("first", first), ("second", second))}
    high, low = min(start.values()), max(min(first.values()), min(second.values()))
    if low > high:
        if min(first.values()) > start["second"]:
            return Ratio(max(first) / min(second), "above")
        return Ratio(min(first) / max(second), "below")
    logarithms = [
        math.log(examples_to_reach(error, first) / examples_to_reach(error, second))
        for error in np.linspace(high, low, GRID)
    ]
    return Ratio(math.exp(float(np.mean(logarithms))), "at")


def ratio_at(n: int, first: Mapping[int, float], second: Mapping[int, float]) -> Ratio:
    """Return how many times n the first learner needs for the error of the second at n.

    A bound where the first curve starts below that error or never reaches it.

    Args:
        n: A number of examples of the second curve.
        first: From the number of examples to the error.
        second: The same for the other learner.
    """
    needed = examples_to_reach(second[n], first)
    if needed == 0:
        return Ratio(min(first) / n, "below")
    if math.isinf(needed):
        return Ratio(max(first) / n, "above")
    return Ratio(needed / n, "at")


def geometric_interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval over seeds of the geometric mean of ratios.

    Percentiles over 2 000 resamples of the seeds, drawn from a fixed state. With three or four
    seeds that is their range, and too narrow: verdicts do not rest on it.

    Args:
        ratios: One per seed, positive. A single one is its own interval.
    """
    logarithms = np.log(ratios)
    if len(logarithms) < 2 or np.ptp(logarithms) == 0:
        return float(ratios[0]), float(ratios[0])
    found = scipy.stats.bootstrap(
        (logarithms,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    )
    interval = found.confidence_interval
    return math.exp(interval.low), math.exp(interval.high)
