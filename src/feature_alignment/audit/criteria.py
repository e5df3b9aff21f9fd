"""Criteria: a table and a question to a verdict, with an interval over seeds.

A claim about "every layer" is a claim about several groups of rows. In each group a criterion
reduces every seed to one number and takes the mean over seeds with its 95 % confidence interval
(Student's t). The claim is *supported* when the interval of every group lies on the claimed side;
*contradicted* when that of some group lies wholly on the other side, at a level corrected for the
number of groups (Bonferroni), so that many groups do not contradict by chance; *inconclusive*
otherwise. One seed alone decides nothing. The estimate and interval reported are those of the
group nearest to the other side. Rows without a seed are exact: their interval is the value.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Outcome:
    """A verdict with its estimate, 95 % interval and number of seeds (1 for exact values)."""

    verdict: str
    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Range:
    """The claimed side: from ``least`` to ``most``; ``strict`` leaves the least itself out."""

    least: float = -math.inf
    most: float = math.inf
    strict: bool = False

    def holds(self, low: float, high: float) -> bool:
        """Say whether an interval lies wholly inside."""
        above = low > self.least if self.strict else low >= self.least
        return above and high <= self.most

    def misses(self, low: float, high: float) -> bool:
        """Say whether an interval lies wholly outside."""
        below = high <= self.least if self.strict else high < self.least
        return below or low > self.most

    def room(self, low: float, high: float) -> float:
        """Return how far an interval is from leaving, negative where it has left."""
        return min(low - self.least, self.most - high)


def judge(values: pd.Series, claimed: Range) -> Outcome:
    """Judge the claim that every group's mean over seeds lies in a range.

    Args:
        values: One number per seed and group, indexed by ``seed`` and the groups' columns.
        claimed: The range.

    Raises:
        ValueError: If there is no value, or one is missing or not finite.
    """
    if values.empty:
        raise ValueError("no rows are left to judge; check the claim's 'where' and measures")
    if not np.isfinite(values.to_numpy(dtype=float)).all():
        raise ValueError(f"values are not finite or do not pair up: {values.to_dict()}")
    levels = [name for name in values.index.names if name != "seed"]
    groups = (
        [part for _, part in values.groupby(level=levels, dropna=False)] if levels else [values]
    )
    intervals = [_interval(group, 1 - CONFIDENCE) for group in groups]
    corrected = [_interval(group, (1 - CONFIDENCE) / len(groups)) for group in groups]
    if all(claimed.holds(low, high) for _, low, high in intervals):
        verdict = SUPPORTED
    elif any(claimed.misses(low, high) for _, low, high in corrected):
        verdict = CONTRADICTED
    else:
        verdict = INCONCLUSIVE
    worst = min(range(len(groups)), key=lambda i: claimed.room(*intervals[i][1:]))
    return Outcome(verdict, *intervals[worst], n=len(groups[worst]))


def _interval(group: pd.Series, risk: float) -> tuple[float, float, float]:
    """Return the mean over seeds and its confidence interval."""
    mean = float(group.mean())
    if group.index.get_level_values("seed").isna().all():
        return mean, mean, mean
    if len(group) == 1:
        return mean, -math.inf, math.inf
    half = stats.t.ppf(1 - risk / 2, len(group) - 1) * float(stats.sem(group))
    return mean, mean - half, mean + half


def increases(
    rows: pd.DataFrame,
    *,
    x: str,
    y: str,
    over: Sequence[str] = (),
    start: float | None = None,
    min_change: float = 0.0,
) -> Outcome:
    """Judge that ``y`` ends more than ``min_change`` above where it starts, in every group.

    Args:
        rows: Table rows.
        x: Column that orders the values.
        y: Measure.
        over: Columns that form groups.
        start: Where along ``x`` to start; the smallest when ``None``.
        min_change: Threshold of last minus first value.
    """
    first, last = _ends(rows, x, y, over, start)
    return judge(last - first, Range(min_change, strict=True))


def decreases(
    rows: pd.DataFrame,
    *,
    x: str,
    y: str,
    over: Sequence[str] = (),
    start: float | None = None,
    min_factor: float = 1.0,
) -> Outcome:
    """Judge that ``y`` falls by more than ``min_factor`` in every group.

    Arguments as in :func:`increases`. The estimate is the first value divided by the last, its
    mean and interval taken of the logarithms.

    Raises:
        ValueError: If a value is negative.
    """
    first, last = _ends(rows, x, y, over, start)
    if (first < 0).any() or (last < 0).any():
        raise ValueError(f"expected {y!r} to be positive where it is judged by a factor")
    smallest = np.finfo(float).tiny
    logarithms = np.log(first.clip(lower=smallest)) - np.log(last.clip(lower=smallest))
    found = judge(logarithms, Range(math.log(min_factor), strict=True))
    factors = [_exponential(value) for value in (found.estimate, found.low, found.high)]
    return Outcome(found.verdict, *factors, n=found.n)


def exceeds(
    rows: pd.DataFrame,
    *,
    greater: str,
    lesser: str,
    x: str,
    at: str | float = "all",
    over: Sequence[str] = (),
    margin: float = 0.0,
) -> Outcome:
    """Judge that one measure exceeds another by more than ``margin``, in every group.

    Args:
        rows: Table rows.
        greater: Measure claimed to be greater.
        lesser: Measure claimed to be smaller, compared within each seed.
        x: Column along which the values lie.
        at: A value of ``x``, or ``first`` or ``last``; with ``all``, every value is a group.
        over: Columns that form groups.
        margin: Threshold of the difference; slightly negative to admit equality.
    """
    difference = _placed(rows, greater, x, at, over) - _placed(rows, lesser, x, at, over)
    return judge(difference, Range(margin, strict=True))


def at_least(
    rows: pd.DataFrame,
    *,
    y: str,
    bound: float,
    x: str,
    at: str | float = "all",
    over: Sequence[str] = (),
) -> Outcome:
    """Judge that ``y`` is at least ``bound`` in every group; arguments as in :func:`exceeds`."""
    return judge(_placed(rows, y, x, at, over), Range(bound))


def equals(
    rows: pd.DataFrame,
    *,
    y: str,
    expected: float,
    tolerance: float,
    x: str,
    at: str | float,
) -> Outcome:
    """Judge that ``y`` is within ``tolerance`` of ``expected`` at one place along ``x``."""
    return judge(_placed(rows, y, x, at, ()), Range(expected - tolerance, expected + tolerance))


def agree(rows: pd.DataFrame, *, first: str, second: str, tolerance: float, x: str) -> Outcome:
    """Judge the identity of two measures: nowhere do they differ by more than ``tolerance``."""
    distance = (_placed(rows, first, x, "all", ()) - _placed(rows, second, x, "all", ())).abs()
    return judge(distance, Range(most=tolerance))


def crosses(
    rows: pd.DataFrame, *, first: str, second: str, x: str, between: Sequence[float]
) -> Outcome:
    """Judge that ``first`` crosses ``second`` once along ``x``, from below, inside a range.

    The estimate is the crossing, interpolated linearly. Curves that do not cross, or cross more
    than once, contradict the claim, and there is no estimate.
    """
    difference = _placed(rows, first, x, "all", ()) - _placed(rows, second, x, "all", ())
    places = {
        seed: _crossing(curve.droplevel("seed"))
        for seed, curve in difference.groupby(level="seed", dropna=False)
    }
    if None in places.values():
        return Outcome(CONTRADICTED, math.nan, math.nan, math.nan, len(places))
    return judge(pd.Series(places).rename_axis("seed"), Range(*between))


def _crossing(gap: pd.Series) -> float | None:
    """Return where a curve changes from negative to positive, if its sign changes only there."""
    gap = gap[gap.abs() > 1e-12].sort_index()
    place, height = gap.index.to_numpy(dtype=float), gap.to_numpy()
    changes = np.flatnonzero(np.sign(height[1:]) != np.sign(height[:-1]))
    if len(changes) != 1 or height[0] > 0:
        return None
    i = changes[0]
    return float(np.interp(0, height[i : i + 2], place[i : i + 2]))


CRITERIA: dict[str, Callable[..., Outcome]] = {
    function.__name__: function
    for function in (increases, decreases, exceeds, at_least, equals, agree, crosses)
}


def _values(rows: pd.DataFrame, measure: str, columns: Sequence[str]) -> pd.Series:
    """Return the values of a measure, indexed by seed and the given columns.

    Raises:
        ValueError: If a column or the measure is not there, a value is not a number, or the
            columns do not tell the values apart.
    """
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise ValueError(f"no column {missing[0]!r}; the table has: {', '.join(rows.columns)}")
    chosen = rows[rows["measure"] == measure]
    if chosen.empty:
        known = ", ".join(sorted(rows["measure"].unique()))
        raise ValueError(f"no rows with measure {measure!r}; there are: {known}")
    if chosen["value"].isna().any():
        raise ValueError(f"a value of {measure!r} is missing or not a number")
    indexed = chosen.set_index(["seed", *columns])["value"].sort_index()
    if indexed.index.has_duplicates:
        twice = indexed.index[indexed.index.duplicated()][0]
        place = dict(zip(indexed.index.names, twice, strict=True))
        raise ValueError(
            f"several values of {measure!r} for {place}"
            "; name what tells them apart in 'over' or 'where'"
        )
    return indexed


def _placed(
    rows: pd.DataFrame, measure: str, x: str, at: str | float, over: Sequence[str]
) -> pd.Series:
    """Return the values at one place along ``x``, or at all of them, each a group of its own."""
    values = _values(rows, measure, (x, *over))
    if at == "all":
        return values
    place = values.index.get_level_values(x)
    if at in ("first", "last"):
        groups = values.index.to_frame(index=False).groupby(["seed", *over], dropna=False)[x]
        chosen = values[(place == groups.transform("min" if at == "first" else "max")).to_numpy()]
    else:
        chosen = values[[math.isclose(p, at, rel_tol=1e-9, abs_tol=1e-12) for p in place]]
    if chosen.empty:
        raise ValueError(f"no value of {measure!r} at {x} = {at}")
    return chosen.droplevel(x)


def _ends(
    rows: pd.DataFrame, x: str, y: str, over: Sequence[str], start: float | None
) -> tuple[pd.Series, pd.Series]:
    """Return the first and the last value along ``x``, by seed and group."""
    values = _values(rows, y, (x, *over)).reset_index()
    if start is not None:
        values = values[values[x] >= start]
    groups = values.sort_values(x).groupby(["seed", *over], dropna=False)["value"]
    if values.empty or (groups.size() < 2).any():
        raise ValueError(f"expected values at two or more places of {x!r} from {start} on")
    return groups.first(), groups.last()


def _exponential(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
