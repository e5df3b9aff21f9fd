"""What criteria ask of the rows of a table. See :mod:`feature_alignment.audit.criteria`.

Loaded when a claim is judged.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy

from feature_alignment.audit.criterion import COLUMN, MEASURE, Gap, LackingError, Question, Range

REACH = {
    "plain": (-math.inf, math.inf),
    "log": (0.0, math.inf),
    "fisher": (-1.0, 1.0),
    "logit": (0.0, 1.0),
}
"""Where values can lie that are judged on a scale."""
_NEAREST = 1e-6
"""How near an end of its reach a value may be taken to be, where the scale would be infinite."""

BOUNDS = ("_above", "_below")
"""Endings of measures that bound another: where a seed has no value of a measure ``m``, a table
may hold ``m_above``, which ``m`` is at least, or ``m_below``, which it is at most. A claim about
``m`` is then open."""


def forth(value: float, scale: str) -> float:
    """Return a value on a scale, an infinite one as it is."""
    low, high = REACH[scale]
    if scale == "plain" or math.isinf(value):
        return value
    if scale == "log":
        return math.log(max(value, np.finfo(float).tiny))
    value = min(max(value, low + _NEAREST), high - _NEAREST)
    return math.atanh(value) if scale == "fisher" else math.log(value / (1 - value))


def back(value: float, scale: str) -> float:
    """Return the value that :func:`forth` takes to this one, an infinite one as it is."""
    if math.isinf(value):
        return value
    if scale == "log":
        return math.exp(value) if value < 700 else math.inf
    if scale == "fisher":
        return math.tanh(value)
    if scale == "logit":
        return 0.5 * (1 + math.tanh(value / 2))
    return value


@dataclass(frozen=True)
class Rows:
    """Rows of a tidy table, with what criteria ask of them."""

    table: pd.DataFrame

    def check(self, names: Iterable[tuple[str, Collection[str]]]) -> None:
        """Check that columns and measures are there, a measure at least by a bound on it.

        Args:
            names: Names, each with what it may name, as a criterion declares it.

        Raises:
            LackingError: If one is missing; the message has those there are.
        """
        columns, measures = list(self.table.columns), sorted(self.table["measure"].unique())
        bounded = {measure.removesuffix(ending) for measure in measures for ending in BOUNDS}
        known = {COLUMN: set(columns), MEASURE: {*measures, *bounded}}
        for name, roles in names:
            if any(name in known[role] for role in roles if role in known):
                continue
            if MEASURE in roles and COLUMN not in roles:
                known_ones = ", ".join(measures)
                raise LackingError(f"no rows with measure {name!r}; there are: {known_ones}")
            kinds = " or ".join(sorted(roles))
            raise LackingError(f"no {kinds} {name!r}; the table has: {', '.join(columns)}")

    def gap_in(self, measures: Iterable[str]) -> Gap | None:
        """Return what is missing: a seed of a run without one of the measures that others have."""
        of = self.table.dropna(subset=["seed"])
        for measure in measures:
            bounds = of[of["measure"].isin([f"{measure}{ending}" for ending in BOUNDS])]
            if not bounds.empty:
                named = _listed(bounds["seed"])
                return Gap(f"of {measure} there is but a bound in {named}", censored=True)
            has = of[of["measure"] == measure]
            for run, rows in of.groupby("run", dropna=False):
                own = has[has["run"].isna()] if pd.isna(run) else has[has["run"] == run]
                without = set(rows["seed"]) - set(own["seed"])
                if without and not own.empty:
                    told = "" if pd.isna(run) else f" of run {run}"
                    return Gap(f"{_listed(without)}{told} lacks {measure}", censored=False)
        return None

    @property
    def units(self) -> list[str]:
        """What tells apart repetitions: seeds and, where a table has them, replicates of a seed."""
        repeated = "replicate" in self.table and self.table["replicate"].notna().any()
        return ["seed", "replicate"] if repeated else ["seed"]

    def values(self, measure: str, columns: Sequence[str]) -> pd.Series:
        """Return the values of a measure, indexed by seed and the given columns.

        Raises:
            ValueError: If a value is not a number, or the columns do not tell the values apart.
        """
        chosen = self.table[self.table["measure"] == measure]
        if chosen["value"].isna().any():
            raise ValueError(f"a value of {measure!r} is missing or not a number")
        indexed = chosen.set_index([*self.units, *columns])["value"].sort_index()
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
            groups = values.index.to_frame(index=False).groupby([*self.units, *over], dropna=False)[
                x
            ]
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
        groups = values.sort_values(x).groupby([*self.units, *over], dropna=False)["value"]
        if values.empty or (groups.size() < 2).any():
            raise ValueError(f"expected values at two or more places of {x!r} from {start} on")
        return groups

    def extreme_by_others(
        self, measure: str, x: str, over: Sequence[str], start: float | None, which: str
    ) -> pd.Series:
        """Return the values at the place along ``x`` that is highest or lowest by the other seeds.

        Args:
            measure: Measure.
            x: Column.
            over: Columns that form groups.
            start: Where along ``x`` to start.
            which: ``max`` or ``min``.

        Raises:
            ValueError: If seeds have values at other places than each other, or there is one seed.
        """
        values = self.values(measure, (x, *over)).reset_index()
        if start is not None:
            values = values[values[x] >= start]
        place, own = [x, *over], ["seed", x, *over]
        seeds = values.groupby(list(over), dropna=False)["seed"] if over else values["seed"]
        if np.min(seeds.nunique()) < 2:
            raise ValueError("expected two seeds at least, for others to choose a place")
        sums = values.groupby(place, dropna=False)["value"].transform("sum")
        counts = values.groupby(place, dropna=False)["value"].transform("size")
        if (
            over
            and counts.groupby([values[name] for name in over], dropna=False).nunique().max() > 1
        ):
            raise ValueError(f"expected values of {measure!r} at the same {x!r} in every seed")
        if not over and counts.nunique() > 1:
            raise ValueError(f"expected values of {measure!r} at the same {x!r} in every seed")
        own_sums = values.groupby(own, dropna=False)["value"].transform("sum")
        own_counts = values.groupby(own, dropna=False)["value"].transform("size")
        others = (sums - own_sums) / (counts - own_counts)
        keys = [*self.units, *over]
        curves = others.groupby([values[key] for key in keys], dropna=False)
        chosen = curves.idxmax() if which == "max" else curves.idxmin()
        return values.loc[chosen].set_index(keys)["value"]

    def earlier(
        self, event: str, by: str, values: tuple[str, str], over: Sequence[str]
    ) -> pd.Series:
        """Return, per seed and group, 1 where an event comes earlier for the first of two values.

        Raises:
            ValueError: If the column has not both values.
        """
        known = self.table[by].dropna().unique()
        for value in values:
            if value not in known:
                raise ValueError(f"no {by} {value!r}; there are: {', '.join(map(str, known))}")
        keys = [*self.units, *over]
        every = self.table[self.units].dropna().drop_duplicates()
        if over:
            every = every.merge(self.table[list(over)].dropna().drop_duplicates(), how="cross")
        times = self.table[(self.table["measure"] == event) & self.table[by].isin(values)]
        found = every
        for place, value in enumerate(values):
            own = times.loc[times[by] == value, [*keys, "value"]]
            found = found.merge(own.rename(columns={"value": place}), on=keys, how="left")
        found = found.set_index(keys).fillna(math.inf)
        return (found[0] < found[1]).astype(float) - (found[0] > found[1]).astype(float)

    def ratio_across(
        self, measure: str, x: str, at: str, across: str, over: Sequence[str]
    ) -> pd.Series:
        """Return the logarithm of the highest value over the lowest at one end of ``x``."""
        values = self.placed(measure, x, at, (across, *over))
        groups = values.groupby(level=[*self.units, *over], dropna=False)
        return self.logarithm_of_ratio(groups.max(), groups.min())

    def highest_place(self, measure: str, x: str, over: Sequence[str]) -> pd.Series:
        """Return where along ``x`` a measure is highest, by seed and group."""
        values = self.values(measure, (x, *over)).reset_index()
        keys = [*self.units, *over]
        rows = values.loc[values.groupby(keys, dropna=False)["value"].idxmax()]
        return rows.set_index(keys)[x].astype(float)

    def margin_over_share(self, measure: str, curve: str, x: str, over: Sequence[str]) -> pd.Series:
        """Return how much nearer a measure is to a curve than to a share of ``x``.

        Raises:
            ValueError: If there is but one seed, or measure and curve do not pair up.
        """
        pairs = pd.DataFrame(
            {"y": self.values(measure, (x, *over)), "curve": self.values(curve, (x, *over))}
        )
        if pairs.isna().any(axis=None):
            raise ValueError(f"values of {measure!r} and {curve!r} do not pair up along {x!r}")
        pairs = pairs.reset_index()
        pairs["xy"], pairs["xx"] = pairs[x] * pairs["y"], pairs[x] ** 2

        def sums(keys: Sequence[str]) -> pd.DataFrame:
            if not keys:
                return pairs[["xy", "xx"]].sum()
            return pairs.groupby(list(keys), dropna=False)[["xy", "xx"]].transform("sum")

        others = sums(over) - sums(["seed", *over])
        if (others["xx"] <= 0).any():
            raise ValueError("expected two seeds at least, to fit a share to the others")
        share = others["xy"] / others["xx"]
        pairs["far"] = (pairs["y"] - share * pairs[x]) ** 2
        pairs["near"] = (pairs["y"] - pairs["curve"]) ** 2
        means = pairs.groupby([*self.units, *over], dropna=False)[["far", "near"]].mean()
        return np.sqrt(means["far"]) - np.sqrt(means["near"])

    @staticmethod
    def for_value(values: pd.Series, by: str, value: str) -> pd.Series:
        """Return the values for one value of a column.

        Raises:
            ValueError: If there are none.
        """
        chosen = values[values.index.get_level_values(by) == value]
        if chosen.empty:
            known = ", ".join(map(str, values.index.unique(by)))
            raise ValueError(f"no {by} {value!r}; there are: {known}")
        return chosen.droplevel(by)

    @staticmethod
    def logarithm_of_ratio(high: pd.Series, low: pd.Series) -> pd.Series:
        """Return log(high / low).

        Raises:
            ValueError: If a value is negative.
        """
        if (low < 0).any() or (high < 0).any():
            raise ValueError("expected values to be positive where they are judged by a factor")
        smallest = np.finfo(float).tiny
        return np.log(high.clip(lower=smallest)) - np.log(low.clip(lower=smallest))

    @staticmethod
    def scaled(values: pd.Series, claimed: Range, scale: str, words: str) -> Question:
        """Return the question whether values lie in a range, with both taken to a scale.

        Raises:
            ValueError: If a value lies outside what the scale is for.
        """
        low, high = REACH[scale]
        if (values < low).any() or (values > high).any():
            raise ValueError(f"expected values from {low:g} to {high:g} on the scale {scale!r}")
        ends = (forth(claimed.least, scale), forth(claimed.most, scale))
        shown = values.map(lambda value: forth(value, scale))
        return Question(shown, Range(*ends, strict=claimed.strict), scale, words)

    def rank_correlations(self, x: str, y: str, over: Sequence[str]) -> tuple[pd.Series, int]:
        """Return Spearman's rank correlation with a column or a measure, and over how many points.

        Raises:
            ValueError: If seeds have other numbers of values, or values do not pair up.
        """
        if x in self.table.columns:
            pairs = self.values(y, (x, *over)).rename("y").reset_index()
        else:
            keys = ("run", *over)
            pairs = pd.DataFrame({"x": self.values(x, keys), "y": self.values(y, keys)})
            pairs = pairs.reset_index()
        place = x if x in self.table.columns else "x"
        keys = [*self.units, *over]
        if pairs[[place, "y"]].isna().any(axis=None):
            raise ValueError(f"values of {x!r} and {y!r} do not pair up")
        ranks = pairs.groupby(keys, dropna=False)[[place, "y"]].rank()
        ranks = pd.concat([pairs[keys], ranks], axis=1)
        sizes = set(ranks.groupby(keys, dropna=False).size())
        if len(sizes) != 1 or min(sizes) < 2:
            raise ValueError(
                f"expected as many values of {y!r} in every seed, 2 at least; got {sorted(sizes)}"
            )
        points = sizes.pop()
        ranks[[place, "y"]] -= (points + 1) / 2
        products = {"xy": ranks[place] * ranks["y"], "xx": ranks[place] ** 2, "yy": ranks["y"] ** 2}
        sums = ranks[keys].assign(**products).groupby(keys, dropna=False)[list(products)].sum()
        spread = np.sqrt(sums["xx"] * sums["yy"])  # 0 where all values are alike
        return (sums["xy"] / spread.where(spread > 0, 1.0)).clip(-1, 1), points

    @staticmethod
    def where_crossing(gap: pd.Series) -> pd.Series:
        """Return where each seed's curve crosses zero from below.

        Args:
            gap: Indexed by seed and the place along the curve.

        Raises:
            ValueError: If a curve does not cross once from below.
        """
        units = [name for name in gap.index.names if name in ("seed", "replicate")]
        places = {
            unit: _crossing(curve.droplevel(units))
            for unit, curve in gap.groupby(level=units, dropna=False)
        }
        without = [unit for unit, place in places.items() if place is None]
        index = pd.MultiIndex.from_tuples(places, names=units)
        found = pd.Series(list(places.values()), index=index, dtype=float)
        return found.fillna(math.inf) if without else found


def _listed(seeds: Iterable[float]) -> str:
    told = ", ".join(f"{seed:g}" for seed in sorted(set(seeds)))
    return f"seed {told}"


def _crossing(gap: pd.Series) -> float | None:
    """Return where a curve changes from negative to positive, if its sign changes only there."""
    gap = gap[gap.abs() > 1e-12].sort_index()
    place, height = gap.index.to_numpy(dtype=float), gap.to_numpy()
    changes = np.flatnonzero(np.sign(height[1:]) != np.sign(height[:-1]))
    if len(changes) != 1 or height[0] > 0:
        return None
    i = changes[0]
    return float(np.interp(0, height[i : i + 2], place[i : i + 2]))
