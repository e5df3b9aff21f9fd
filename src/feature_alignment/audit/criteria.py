"""Criteria: a table and a question to a verdict, with an interval over seeds.

Every criterion reduces the rows to one number per seed, so that a claim about "every layer" is
judged by its worst layer within each seed, and then compares the 95 % confidence interval of the
mean over seeds (Student's t) with a threshold or a range. A claim is *supported* when the whole
interval is on the claimed side, *contradicted* when the whole interval is on the other, and
*inconclusive* otherwise; one seed alone decides nothing. Rows without a seed are exact: their
interval is the value itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
class Estimate:
    """The mean over seeds of one number per seed, and its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, per_seed: pd.Series) -> "Estimate":
        """Estimate from a series indexed by seed; a missing seed marks an exact value.

        Raises:
            ValueError: If a value is missing or not finite, or there is none.
        """
        values = per_seed.astype(float)
        if values.empty:
            raise ValueError("no rows are left to judge; check the claim's 'where' and measures")
        if not values.map(math.isfinite).all():
            raise ValueError(f"expected finite values per seed, got {values.to_dict()}")
        mean = float(values.mean())
        if values.index.isna().all():
            return cls(mean, mean, mean, 1)
        if len(values) == 1:
            return cls(mean, -math.inf, math.inf, 1)
        half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * float(stats.sem(values))
        return cls(mean, mean - half, mean + half, len(values))

    def inside(self, least: float, most: float = math.inf) -> Outcome:
        """Judge the claim that the number lies between ``least`` and ``most``."""
        if least <= self.low and self.high <= most:
            verdict = SUPPORTED
        elif self.high < least or most < self.low:
            verdict = CONTRADICTED
        else:
            verdict = INCONCLUSIVE
        return Outcome(verdict, self.mean, self.low, self.high, self.n)


def increases(
    rows: pd.DataFrame,
    *,
    x: str,
    y: str,
    over: Sequence[str] = (),
    start: float | None = None,
    min_change: float = 0.0,
) -> Outcome:
    """Judge that ``y`` ends at least ``min_change`` above where it starts, in every group.

    Args:
        rows: Table rows.
        x: Column that orders the values.
        y: Measure.
        over: Columns that form groups; the group with the least change counts.
        start: Where along ``x`` to start; the smallest when ``None``.
        min_change: Threshold of last minus first value.
    """
    values = _measure(rows, y, (x, *over))
    first, last = _ends(values, x, over, start)
    return Estimate.of(_worst(last - first)).inside(min_change)


def decreases(
    rows: pd.DataFrame,
    *,
    x: str,
    y: str,
    over: Sequence[str] = (),
    start: float | None = None,
    min_factor: float = 1.0,
) -> Outcome:
    """Judge that ``y``, which is positive, falls by at least ``min_factor`` in every group.

    Arguments as in :func:`increases`; the estimate is the first value divided by the last.
    """
    values = _measure(rows, y, (x, *over))
    first, last = _ends(values, x, over, start)
    return Estimate.of(_worst(first / last)).inside(min_factor)


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
    """Judge that one measure exceeds another by at least ``margin``, in every group.

    Args:
        rows: Table rows.
        greater: Measure claimed to be greater.
        lesser: Measure claimed to be smaller.
        x: Column along which the values lie.
        at: A value of ``x``, or ``first``, ``last`` or ``all``.
        over: Columns that form groups; the group, and place, with the least difference counts.
        margin: Threshold of the difference; slightly negative to admit rounding.
    """
    difference = _paired(rows, greater, x, at, over) - _paired(rows, lesser, x, at, over)
    return Estimate.of(_worst(difference)).inside(margin)


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
    return Estimate.of(_worst(_paired(rows, y, x, at, over))).inside(bound)


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
    values = _paired(rows, y, x, at, ())
    return Estimate.of(_worst(values)).inside(expected - tolerance, expected + tolerance)


def agree(rows: pd.DataFrame, *, first: str, second: str, tolerance: float, x: str) -> Outcome:
    """Judge the identity of two measures: nowhere do they differ by more than ``tolerance``."""
    distance = (_paired(rows, first, x, "all", ()) - _paired(rows, second, x, "all", ())).abs()
    return Estimate.of(-_worst(-distance)).inside(-math.inf, tolerance)


def crosses(
    rows: pd.DataFrame, *, first: str, second: str, x: str, between: Sequence[float]
) -> Outcome:
    """Judge that ``first`` crosses ``second`` once along ``x``, from below, inside a range.

    The estimate is the crossing, interpolated linearly.

    Raises:
        ValueError: If the difference does not change sign exactly once where it is not zero.
    """
    difference = _paired(rows, first, x, "all", ()) - _paired(rows, second, x, "all", ())

    def crossing(one: pd.Series) -> float:
        gap = one[one.abs() > 1e-12]
        place, gap = gap.index.get_level_values(x).astype(float), gap.to_numpy()
        changes = [i for i in range(1, len(gap)) if gap[i - 1] < 0 < gap[i]]
        reversals = sum(gap[i - 1] > 0 > gap[i] for i in range(1, len(gap)))
        if len(changes) != 1 or reversals:
            raise ValueError(f"{first} crosses {second} {len(changes) + reversals} times, not once")
        i = changes[0]
        share = -gap[i - 1] / (gap[i] - gap[i - 1])
        return float(place[i - 1] + share * (place[i] - place[i - 1]))

    return Estimate.of(_by_seed(difference).apply(crossing)).inside(*between)


CRITERIA: dict[str, Callable[..., Outcome]] = {
    function.__name__: function
    for function in (increases, decreases, exceeds, at_least, equals, agree, crosses)
}


def _measure(rows: pd.DataFrame, measure: str, columns: Sequence[str]) -> pd.Series:
    """Return the values of a measure, indexed by seed and the given columns."""
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise ValueError(f"no column {missing[0]!r}; the table has: {', '.join(rows.columns)}")
    values = rows[rows["measure"] == measure]
    if values.empty:
        known = ", ".join(sorted(rows["measure"].unique()))
        raise ValueError(f"no rows with measure {measure!r}; there are: {known}")
    if values["value"].isna().any():
        raise ValueError(f"a value of {measure!r} is missing or not a number")
    indexed = values.set_index(["seed", *columns])["value"].sort_index()
    if indexed.index.has_duplicates:
        twice = indexed.index[indexed.index.duplicated()][0]
        place = dict(zip(indexed.index.names, twice, strict=True))
        raise ValueError(
            f"several values of {measure!r} for {place}"
            "; name what tells them apart in 'over' or 'where'"
        )
    return indexed


def _paired(
    rows: pd.DataFrame, measure: str, x: str, at: str | float, over: Sequence[str]
) -> pd.Series:
    values = _measure(rows, measure, (x, *over))
    if at == "all":
        return values
    place = values.index.get_level_values(x)
    if at in ("first", "last"):
        groups = values.index.to_frame(index=False).groupby(["seed", *over], dropna=False)[x]
        return values[(place == groups.transform("min" if at == "first" else "max")).to_numpy()]
    chosen = values[[math.isclose(p, at, rel_tol=1e-9, abs_tol=1e-12) for p in place]]
    if chosen.empty:
        raise ValueError(f"no value of {measure!r} at {x} = {at}")
    return chosen


def _ends(
    values: pd.Series, x: str, over: Sequence[str], start: float | None
) -> tuple[pd.Series, pd.Series]:
    table = values.reset_index()
    if start is not None:
        table = table[table[x] >= start]
        if table.empty:
            raise ValueError(f"no values from {x} = {start} on")
    groups = table.sort_values(x).groupby(["seed", *over], dropna=False)["value"]
    return groups.first(), groups.last()


def _by_seed(values: pd.Series) -> "pd.core.groupby.SeriesGroupBy":
    return values.groupby(level="seed", dropna=False)


def _worst(values: pd.Series) -> pd.Series:
    if values.isna().any():
        raise ValueError(f"values do not pair up: {values[values.isna()]}")
    return _by_seed(values).min()
