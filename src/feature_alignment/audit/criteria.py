"""Criteria: a table and a question to a verdict, with an interval over seeds.

A claim about "every layer" is a claim about several groups of rows. In each group a criterion
reduces every seed to one number and takes the mean over seeds with its 95 % confidence interval
(Student's t). The claim is *supported* when the interval of every group lies on the claimed side;
*contradicted* when that of some group lies wholly on the other side, at a level corrected for the
number of groups (Bonferroni), so that many groups do not contradict by chance; *inconclusive*
otherwise. One seed alone decides nothing. The estimate and interval reported are those of the
group nearest to the other side, of a contradicted claim among the groups that contradict it. Rows
without a seed are exact: their interval is the value.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy
from scipy import stats

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Outcome:
    """A verdict with its estimate, 95 % interval and number of seeds (1 for exact values).

    ``group`` names the group that they are of, such as ``layer conv1``, where there are several.
    """

    verdict: str
    estimate: float
    low: float
    high: float
    n: int
    group: str = ""


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
    groups = dict(list(values.groupby(level=levels, dropna=False))) if levels else {(): values}
    intervals = {key: _interval(group, 1 - CONFIDENCE) for key, group in groups.items()}
    risk = (1 - CONFIDENCE) / len(groups)
    corrected = {key: _interval(group, risk) for key, group in groups.items()}
    missing = [key for key, (_, *ends) in corrected.items() if claimed.misses(*ends)]
    if all(claimed.holds(low, high) for _, low, high in intervals.values()):
        verdict = SUPPORTED
    else:
        verdict = CONTRADICTED if missing else INCONCLUSIVE
    worst = min(missing or groups, key=lambda key: claimed.room(*intervals[key][1:]))
    name = _group_name(levels, worst, groups)
    return Outcome(verdict, *intervals[worst], n=len(groups[worst]), group=name)


def _group_name(levels: Sequence[str], key: tuple, among: Collection[tuple]) -> str:
    """Return such as ``dataset mnist, depth 10``, of the levels in which groups differ."""
    parts = {
        level: f"{part:g}" if isinstance(part, float) else part
        for level, part, every in zip(levels, key, zip(*among, strict=True), strict=True)
        if len(set(every)) > 1
    }
    return ", ".join(f"{level} {part}" for level, part in parts.items())


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
    min_change: float | None = None,
    min_factor: float | None = None,
    to: str = "last",
) -> Outcome:
    """Judge that ``y`` ends above where it starts, in every group.

    Args:
        rows: Table rows.
        x: Column that orders the values.
        y: Measure.
        over: Columns that form groups.
        start: Where along ``x`` to start; the smallest when ``None``.
        min_change: Threshold of last minus first value, 0 if no threshold is given.
        min_factor: Threshold of last divided by first value instead.
        to: Whether the ``last`` or the ``highest`` value is compared with the first.

    Raises:
        ValueError: If a value is negative where it is judged by a factor, or both thresholds are
            given.
    """
    curves = _curves(rows, x, y, over, start)
    last = curves.max() if to == "highest" else curves.last()
    return _judge_rise(curves.first(), last, min_change, min_factor, y)


def decreases(
    rows: pd.DataFrame,
    *,
    x: str,
    y: str,
    over: Sequence[str] = (),
    start: float | None = None,
    min_factor: float = 1.0,
    to: str = "last",
) -> Outcome:
    """Judge that ``y`` falls by more than ``min_factor`` in every group.

    Arguments as in :func:`increases`, with ``to`` the ``last`` or the ``lowest`` value. The
    estimate is the first value divided by it, its mean and interval taken of the logarithms.

    Raises:
        ValueError: If a value is negative.
    """
    curves = _curves(rows, x, y, over, start)
    last = curves.min() if to == "lowest" else curves.last()
    return _judge_rise(last, curves.first(), None, min_factor, y)


def peaks(
    rows: pd.DataFrame,
    *,
    x: str,
    y: str,
    over: Sequence[str] = (),
    start: float | None = None,
    min_change: float | None = None,
    min_factor: float | None = None,
) -> Outcome:
    """Judge that ``y`` rises and falls: somewhere it lies above both ends, in every group.

    The estimate is the highest value minus the higher end, or divided by it where a factor is
    asked for. Arguments as in :func:`increases`.
    """
    curves = _curves(rows, x, y, over, start)
    ends = np.maximum(curves.first(), curves.last())
    return _judge_rise(ends, curves.max(), min_change, min_factor, y)


def dips(
    rows: pd.DataFrame,
    *,
    x: str,
    y: str,
    over: Sequence[str] = (),
    start: float | None = None,
    min_change: float | None = None,
    min_factor: float | None = None,
) -> Outcome:
    """Judge that ``y`` falls and rises: somewhere it lies below both ends, in every group.

    The estimate is the lower end minus the lowest value, or divided by it where a factor is asked
    for. Arguments as in :func:`increases`.
    """
    curves = _curves(rows, x, y, over, start)
    ends = np.minimum(curves.first(), curves.last())
    return _judge_rise(curves.min(), ends, min_change, min_factor, y)


def rank_correlates(
    rows: pd.DataFrame, *, x: str, y: str, bound: float, over: Sequence[str] = ()
) -> Outcome:
    """Judge that Spearman's rank correlation of ``y`` with ``x`` is at least ``bound``.

    Args:
        rows: Table rows.
        x: A column, or another measure, which is paired with ``y`` within each run.
        y: Measure.
        bound: Least correlation of the values along ``x``, in every seed.
        over: Columns that form groups.
    """
    if x in rows.columns:
        pairs = _values(rows, y, (x, *over)).rename("y").reset_index()
    else:
        keys = ("run", *over)
        both = {"x": _values(rows, x, keys), "y": _values(rows, y, keys)}
        pairs = pd.DataFrame(both).reset_index()
    place = x if x in rows.columns else "x"
    ranks = {
        key: stats.spearmanr(part[place], part["y"]).statistic
        for key, part in pairs.groupby(["seed", *over], dropna=False)
    }
    index = pd.MultiIndex.from_tuples(ranks, names=["seed", *over])
    correlations = pd.Series(list(ranks.values()), index=index, dtype=float)
    return judge(correlations, Range(bound))


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


def at_most(
    rows: pd.DataFrame,
    *,
    y: str,
    bound: float,
    x: str,
    at: str | float = "all",
    over: Sequence[str] = (),
) -> Outcome:
    """Judge that ``y`` is at most ``bound`` in every group; arguments as in :func:`exceeds`."""
    return judge(_placed(rows, y, x, at, over), Range(most=bound))


def equals(
    rows: pd.DataFrame,
    *,
    y: str,
    expected: float,
    tolerance: float,
    x: str,
    at: str | float,
    over: Sequence[str] = (),
) -> Outcome:
    """Judge that ``y`` is within ``tolerance`` of ``expected``; arguments as in :func:`exceeds`."""
    return judge(_placed(rows, y, x, at, over), Range(expected - tolerance, expected + tolerance))


def agree(rows: pd.DataFrame, *, first: str, second: str, tolerance: float, x: str) -> Outcome:
    """Judge the identity of two measures: nowhere do they differ by more than ``tolerance``."""
    distance = (_placed(rows, first, x, "all", ()) - _placed(rows, second, x, "all", ())).abs()
    return judge(distance, Range(most=tolerance))


def crosses(
    rows: pd.DataFrame, *, first: str, second: str | float, x: str, between: Sequence[float]
) -> Outcome:
    """Judge that ``first`` crosses ``second`` once along ``x``, from below, inside a range.

    ``second`` is a measure or a fixed number. The estimate is the crossing, interpolated linearly.
    Curves that do not cross, or cross more than once, contradict the claim, and there is no
    estimate.
    """
    level = second if isinstance(second, int | float) else _placed(rows, second, x, "all", ())
    difference = _placed(rows, first, x, "all", ()) - level
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
    for function in (
        increases,
        decreases,
        peaks,
        dips,
        rank_correlates,
        exceeds,
        at_least,
        at_most,
        equals,
        agree,
        crosses,
    )
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


def _curves(
    rows: pd.DataFrame, x: str, y: str, over: Sequence[str], start: float | None
) -> SeriesGroupBy:
    """Return the values along ``x`` from ``start`` on, grouped by seed and group."""
    values = _values(rows, y, (x, *over)).reset_index()
    if start is not None:
        values = values[values[x] >= start]
    groups = values.sort_values(x).groupby(["seed", *over], dropna=False)["value"]
    if values.empty or (groups.size() < 2).any():
        raise ValueError(f"expected values at two or more places of {x!r} from {start} on")
    return groups


def _judge_rise(
    low: pd.Series,
    high: pd.Series,
    min_change: float | None,
    min_factor: float | None,
    measure: str,
) -> Outcome:
    """Judge that ``high`` exceeds ``low`` by more than a difference, or by more than a factor."""
    if min_factor is None:
        return judge(high - low, Range(min_change or 0.0, strict=True))
    if min_change is not None:
        raise ValueError("expected min_change or min_factor, got both")
    if (low < 0).any() or (high < 0).any():
        raise ValueError(f"expected {measure!r} to be positive where it is judged by a factor")
    smallest = np.finfo(float).tiny
    logarithms = np.log(high.clip(lower=smallest)) - np.log(low.clip(lower=smallest))
    found = judge(logarithms, Range(math.log(min_factor), strict=True))
    factors = [_exponential(value) for value in (found.estimate, found.low, found.high)]
    return Outcome(found.verdict, *factors, n=found.n, group=found.group)


def _exponential(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
