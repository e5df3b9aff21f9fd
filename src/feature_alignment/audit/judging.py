"""What criteria ask of the rows of a table, and how one number per seed becomes a verdict.

See :mod:`feature_alignment.audit.criteria` for the rule. Loaded when a claim is judged.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy
from scipy import stats

from feature_alignment.audit.criterion import (
    COLUMN,
    CONTRADICTED,
    INCONCLUSIVE,
    MEASURE,
    SUPPORTED,
    Outcome,
    Range,
)

CONFIDENCE = 0.95
BOUNDS = ("_above", "_below")
"""Endings of measures that bound another: where a seed has no value of a measure ``m``, a table
may hold ``m_above``, which ``m`` is at least, or ``m_below``, which it is at most. A claim about
``m`` is then open."""


@dataclass(frozen=True)
class Rows:
    """Rows of a tidy table, with what criteria ask of them."""

    table: pd.DataFrame

    def check(self, names: Iterable[tuple[str, Collection[str]]]) -> None:
        """Check that columns and measures are there, a measure at least by a bound on it.

        Args:
            names: Names, each with what it may name, as a criterion declares it.

        Raises:
            ValueError: If one is missing; the message has those there are.
        """
        columns, measures = list(self.table.columns), sorted(self.table["measure"].unique())
        bounded = {measure.removesuffix(ending) for measure in measures for ending in BOUNDS}
        known = {COLUMN: set(columns), MEASURE: {*measures, *bounded}}
        for name, roles in names:
            if any(name in known[role] for role in roles):
                continue
            if roles == {MEASURE}:
                raise ValueError(f"no rows with measure {name!r}; there are: {', '.join(measures)}")
            kinds = " or ".join(sorted(roles))
            raise ValueError(f"no {kinds} {name!r}; the table has: {', '.join(columns)}")

    def bounds_on(self, measures: Iterable[str]) -> pd.DataFrame:
        """Return the rows that hold a bound on one of the measures, where it has no value."""
        bounds = [f"{measure}{ending}" for measure in measures for ending in BOUNDS]
        return self.table[self.table["measure"].isin(bounds)]

    def values(self, measure: str, columns: Sequence[str]) -> pd.Series:
        """Return the values of a measure, indexed by seed and the given columns.

        Raises:
            ValueError: If a value is not a number, or the columns do not tell the values apart.
        """
        chosen = self.table[self.table["measure"] == measure]
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

    def placed(
        self, measure: str, x: str, at: float | str = "all", over: Sequence[str] = ()
    ) -> pd.Series:
        """Return the values at one place along ``x``, or at all of them, each a group of its own.

        Raises:
            ValueError: If there is no value at that place.
        """
        values = self.values(measure, (x, *over))
        if at == "all":
            return values
        place = values.index.get_level_values(x)
        if at in ("first", "last"):
            groups = values.index.to_frame(index=False).groupby(["seed", *over], dropna=False)[x]
            chosen = values[
                (place == groups.transform("min" if at == "first" else "max")).to_numpy()
            ]
        else:
            chosen = values[[math.isclose(p, at, rel_tol=1e-9, abs_tol=1e-12) for p in place]]
        if chosen.empty:
            raise ValueError(f"no value of {measure!r} at {x} = {at}")
        return chosen.droplevel(x)

    def curves(
        self, measure: str, x: str, over: Sequence[str], start: float | None
    ) -> SeriesGroupBy:
        """Return the values along ``x`` from ``start`` on, grouped by seed and group.

        Raises:
            ValueError: If a curve has fewer than two values.
        """
        values = self.values(measure, (x, *over)).reset_index()
        if start is not None:
            values = values[values[x] >= start]
        groups = values.sort_values(x).groupby(["seed", *over], dropna=False)["value"]
        if values.empty or (groups.size() < 2).any():
            raise ValueError(f"expected values at two or more places of {x!r} from {start} on")
        return groups

    def rank_correlations(self, x: str, y: str, over: Sequence[str]) -> pd.Series:
        """Return Spearman's rank correlation of a measure with a column or another measure."""
        if x in self.table.columns:
            pairs = self.values(y, (x, *over)).rename("y").reset_index()
        else:
            keys = ("run", *over)
            pairs = pd.DataFrame({"x": self.values(x, keys), "y": self.values(y, keys)})
            pairs = pairs.reset_index()
        place = x if x in self.table.columns else "x"
        ranks = {
            key: stats.spearmanr(part[place], part["y"]).statistic
            for key, part in pairs.groupby(["seed", *over], dropna=False)
        }
        index = pd.MultiIndex.from_tuples(ranks, names=["seed", *over])
        return pd.Series(list(ranks.values()), index=index, dtype=float)

    @staticmethod
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

    @classmethod
    def judge_rise(
        cls,
        measure: str,
        low: pd.Series,
        high: pd.Series,
        min_change: float | None,
        min_factor: float | None,
    ) -> Outcome:
        """Judge that ``high`` exceeds ``low`` by more than a difference, or more than a factor.

        Raises:
            ValueError: If both are given, or a value is negative where it is judged by a factor.
        """
        if min_factor is None:
            return cls.judge(high - low, Range(min_change or 0.0, strict=True))
        if min_change is not None:
            raise ValueError("expected min_change or min_factor, got both")
        if (low < 0).any() or (high < 0).any():
            raise ValueError(f"expected {measure!r} to be positive where it is judged by a factor")
        smallest = np.finfo(float).tiny
        logarithms = np.log(high.clip(lower=smallest)) - np.log(low.clip(lower=smallest))
        found = cls.judge(logarithms, Range(math.log(min_factor), strict=True))
        factors = [_exponential(value) for value in (found.estimate, found.low, found.high)]
        return Outcome(found.verdict, *factors, n=found.n, group=found.group)

    @classmethod
    def judge_crossing(cls, gap: pd.Series, claimed: Range) -> Outcome:
        """Judge where a curve crosses zero from below; one that does not, only once, contradicts.

        Args:
            gap: Indexed by seed and the place along the curve.
            claimed: The range of places.
        """
        places = {
            seed: _crossing(curve.droplevel("seed"))
            for seed, curve in gap.groupby(level="seed", dropna=False)
        }
        if None in places.values():
            return Outcome(CONTRADICTED, math.nan, math.nan, math.nan, len(places))
        return cls.judge(pd.Series(places).rename_axis("seed"), claimed)


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


def _crossing(gap: pd.Series) -> float | None:
    """Return where a curve changes from negative to positive, if its sign changes only there."""
    gap = gap[gap.abs() > 1e-12].sort_index()
    place, height = gap.index.to_numpy(dtype=float), gap.to_numpy()
    changes = np.flatnonzero(np.sign(height[1:]) != np.sign(height[:-1]))
    if len(changes) != 1 or height[0] > 0:
        return None
    i = changes[0]
    return float(np.interp(0, height[i : i + 2], place[i : i + 2]))


def _exponential(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
