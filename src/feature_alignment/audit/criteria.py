"""Criteria: a table and a question to one number per seed and group, and where it should lie.

A claim about "every layer" is a claim about several groups of rows. In each group a criterion
reduces every seed to one number, on a scale on which these may be averaged: factors by their
logarithms, correlations by Fisher's z. What becomes of the numbers is decided in
:mod:`feature_alignment.audit.verdicts`.

A curve that is flat but for noise has a highest value above its ends. Where that matters, and no
untrained curve or control has as much noise, ``chosen_by: others`` takes each seed's value at the
place where the mean of the other seeds is highest.

A criterion is a function under ``@criterion``. Its name is what a claim's ``test`` calls it, its
keywords are the options that the claim may give, their types say what fits and which of them name
columns or measures (:mod:`feature_alignment.audit.criterion`). Every criterion also has the options
``share``, of the groups that must lie on the claimed side (1 where it is left out), and ``band``,
around the bound, inside which an interval is at the threshold.

Imported while the workflow is parsed, so it must stay light (no numpy, no pandas): what is computed
is computed by the rows, in :mod:`feature_alignment.audit.judging`.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from feature_alignment.audit.criterion import (
    Column,
    ColumnOrMeasure,
    Columns,
    Criterion,
    Event,
    Measure,
    NotNegative,
    Place,
    Positive,
    Question,
    Range,
    Scale,
)

if TYPE_CHECKING:
    import pandas as pd
    from pandas.api.typing import SeriesGroupBy

    from feature_alignment.audit.judging import Rows

CRITERIA: dict[str, Criterion] = {}
"""Every criterion by its name."""


def criterion(function: Callable[..., Question]) -> Criterion:
    """Make a function a criterion that claims can name.

    Raises:
        ValueError: If there is one of that name, or an option has a type that no claim can give.
    """
    declared = Criterion(function)
    if declared.name in CRITERIA:
        raise ValueError(f"a criterion {declared.name!r} is there already; choose another name")
    CRITERIA[declared.name] = declared
    return declared


def schema_of_tests() -> dict:
    """Return the JSON schema of the ``test`` of a claim: a criterion and its options."""
    cases = [
        {
            "if": {"properties": {"criterion": {"const": name}}, "required": ["criterion"]},
            "then": declared.schema,
        }
        for name, declared in CRITERIA.items()
    ]
    return {
        "type": "object",
        "properties": {"criterion": {"enum": list(CRITERIA)}},
        "required": ["criterion"],
        "allOf": cases,
    }


@criterion
def increases(
    rows: "Rows",
    *,
    x: Column,
    y: Measure,
    over: Columns = (),
    start: float | None = None,
    min_change: float | None = None,
    min_factor: Positive | None = None,
    to: Literal["last", "highest"] = "last",
) -> Question:
    """Judge that ``y`` ends above where it starts, in every group.

    Args:
        rows: Rows of a table.
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
    curves = rows.curves(y, x, over, start)
    last = curves.max() if to == "highest" else curves.last()
    words = f"{y} {_of(x, to)} {{}} {_of(x, 'first', start)}"
    return _rise(rows, words, curves.first(), last, min_change, min_factor)


@criterion
def decreases(
    rows: "Rows",
    *,
    x: Column,
    y: Measure,
    over: Columns = (),
    start: float | None = None,
    min_change: float | None = None,
    min_factor: Positive | None = None,
    to: Literal["last", "lowest"] = "last",
) -> Question:
    """Judge that ``y`` ends below where it starts, in every group.

    Arguments as in :func:`increases`, with ``to`` the ``last`` or the ``lowest`` value. The
    estimate is the first value minus it or, where a factor is asked for, divided by it.
    """
    curves = rows.curves(y, x, over, start)
    last = curves.min() if to == "lowest" else curves.last()
    words = f"{y} {_of(x, 'first', start)} {{}} {_of(x, to)}"
    return _rise(rows, words, last, curves.first(), min_change, min_factor)


@criterion
def peaks(
    rows: "Rows",
    *,
    x: Column,
    y: Measure,
    over: Columns = (),
    start: float | None = None,
    min_change: float | None = None,
    min_factor: Positive | None = None,
    chosen_by: Literal["own", "others"] = "own",
) -> Question:
    """Judge that ``y`` rises and falls: somewhere it lies above both ends, in every group.

    The estimate is the highest value minus the higher end, or divided by it where a factor is
    asked for. Arguments as in :func:`increases`, and ``chosen_by``, whether a seed's own values
    or those of the ``others`` choose the place.
    """
    curves = rows.curves(y, x, over, start)
    higher_end = curves.first().combine(curves.last(), max)
    highest = _extreme(rows, curves, y, x, over, start, "max", chosen_by)
    words = f"{y} {_of(x, 'highest', None, chosen_by)} {{}} its higher end{_from(x, start)}"
    return _rise(rows, words, higher_end, highest, min_change, min_factor)


@criterion
def dips(
    rows: "Rows",
    *,
    x: Column,
    y: Measure,
    over: Columns = (),
    start: float | None = None,
    min_change: float | None = None,
    min_factor: Positive | None = None,
    chosen_by: Literal["own", "others"] = "own",
) -> Question:
    """Judge that ``y`` falls and rises: somewhere it lies below both ends, in every group.

    The estimate is the lower end minus the lowest value, or divided by it where a factor is asked
    for. Arguments as in :func:`peaks`.
    """
    curves = rows.curves(y, x, over, start)
    lower_end = curves.first().combine(curves.last(), min)
    lowest = _extreme(rows, curves, y, x, over, start, "min", chosen_by)
    words = f"{y} at its lower end{_from(x, start)} {{}} {_of(x, 'lowest', None, chosen_by)}"
    return _rise(rows, words, lowest, lower_end, min_change, min_factor)


@criterion
def rank_correlates(
    rows: "Rows",
    *,
    x: ColumnOrMeasure,
    y: Measure,
    sign: Literal["positive", "negative"] = "positive",
    over: Columns = (),
) -> Question:
    """Judge that ``y`` goes with ``x`` by rank more than chance would have it.

    Spearman's correlation over a few points can take few values, so that no bound on it but 0 can
    be told; the hypothesis is that every order of the points is as likely.

    Args:
        rows: Rows of a table.
        x: A column, or another measure, which is paired with ``y`` within each run.
        y: Measure.
        sign: The sign that is claimed of it.
        over: Columns that form groups.
    """
    found, points = rows.rank_correlations(x, y, over)
    claimed = Range(0.0, strict=True) if sign == "positive" else Range(most=0.0)
    words = f"rank correlation of {y} with {x} {'>' if sign == 'positive' else '<'} 0"
    return Question(found, claimed, asked=words, points=points)


@criterion
def comes_earlier(
    rows: "Rows", *, event: Event, by: Column, first: str, then: str, over: Columns = ()
) -> Question:
    """Judge that an event comes earlier for one value of a column than for another.

    Every seed has a rank alone: 1 if it is earlier, or comes where the other never does, −1 if it
    is later, 0 if both are alike or neither comes. So what was cut off before it came counts.

    Args:
        rows: Rows of a table.
        event: Measure of when it comes; no row where it does not.
        by: Column.
        first: Its value for which the event is claimed to come earlier.
        then: Its other value.
        over: Columns that form groups.
    """
    words = f"{event} earlier for {first} than for {then}"
    ranks = rows.earlier(event, by, (first, then), over)
    return Question(ranks, Range(0.0, strict=True), asked=words, points=2)


@criterion
def ranks_better(
    rows: "Rows", *, y: Measure, better: Measure, worse: Measure, over: Columns = ()
) -> Question:
    """Judge that one measure goes with ``y`` by rank better than another does.

    Args:
        rows: Rows of a table.
        y: Measure, paired with the others within each run.
        better: Measure whose rank correlation with ``y`` is claimed to be higher.
        worse: The other one.
        over: Columns that form groups.
    """
    difference = rows.rank_correlations(better, y, over)[0]
    difference = difference - rows.rank_correlations(worse, y, over)[0]
    words = f"rank correlation with {y}, of {better} minus of {worse} > 0"
    return Question(difference, Range(0.0, strict=True), asked=words)


@criterion
def widens(
    rows: "Rows",
    *,
    x: Column,
    y: Measure,
    across: Column,
    over: Columns = (),
    min_factor: Positive = 1.0,
) -> Question:
    """Judge that the highest ``y`` over the lowest grows along ``x``, by more than a factor.

    Args:
        rows: Rows of a table.
        x: Column that orders the values.
        y: Measure, which is positive.
        across: Column over whose values the highest and the lowest are taken.
        over: Columns that form groups.
        min_factor: Threshold of the last ratio divided by the first.
    """
    first, last = (rows.ratio_across(y, x, place, across, over) for place in ("first", "last"))
    words = f"highest over lowest {y} across {across}, at the last {x} over at the first"
    claimed = Range(math.log(min_factor), strict=True)
    return Question(last - first, claimed, "log", f"{words} > {min_factor:g}")


@criterion
def coincide(
    rows: "Rows",
    *,
    x: Column,
    first: Measure,
    second: Measure,
    within_factor: Positive,
    over: Columns = (),
) -> Question:
    """Judge that two measures are highest at the same ``x``, on average to within a factor.

    Args:
        rows: Rows of a table.
        x: Column that orders the values, which is positive.
        first: Measure.
        second: Measure.
        within_factor: How far the mean ratio of the places may be from 1, as a factor.
        over: Columns that form groups.
    """
    places = (rows.highest_place(measure, x, over) for measure in (first, second))
    limit = abs(math.log(within_factor))
    words = f"{x} where {first} is highest over that where {second} is, within a factor"
    ratio = rows.logarithm_of_ratio(*places)
    return Question(ratio, Range(-limit, limit), "log", f"{words} {within_factor:g}")


@criterion
def nearer_than_share(
    rows: "Rows", *, y: Measure, curve: Measure, x: Column, over: Columns = ()
) -> Question:
    """Judge that ``y`` along ``x`` is nearer to a curve than to a fixed share of ``x``.

    Distances are root mean squares over ``x``. The share is Σxy / Σx² of the other seeds, so that
    it has no advantage from being fitted.

    Args:
        rows: Rows of a table.
        y: Measure.
        curve: Measure of what is predicted without a fit.
        x: Column.
        over: Columns that form groups.
    """
    words = f"distance of {y} from a share of {x} minus from {curve} > 0"
    margin = rows.margin_over_share(y, curve, x, over)
    return Question(margin, Range(0.0, strict=True), asked=words)


@criterion
def higher_for(
    rows: "Rows",
    *,
    y: Measure,
    by: Column,
    greater: str,
    lesser: str,
    over: Columns = (),
    margin: float | None = None,
    min_factor: Positive | None = None,
) -> Question:
    """Judge that ``y`` is higher for one value of a column than for another.

    Args:
        rows: Rows of a table.
        y: Measure, with one value for each value of the column in every seed and group.
        by: Column.
        greater: Its value for which ``y`` is claimed to be higher.
        lesser: The other value.
        over: Columns that form groups.
        margin: Threshold of the difference, 0 if no threshold is given.
        min_factor: Threshold of the ratio instead.
    """
    values = rows.values(y, (by, *over))
    high, low = (rows.for_value(values, by, value) for value in (greater, lesser))
    return _rise(rows, f"{y} for {greater} {{}} for {lesser}", low, high, margin, min_factor)


@criterion
def exceeds(
    rows: "Rows",
    *,
    greater: Measure,
    lesser: Measure,
    x: Column,
    at: Place = "all",
    over: Columns = (),
    margin: float = 0.0,
) -> Question:
    """Judge that one measure exceeds another by more than ``margin``, in every group.

    Args:
        rows: Rows of a table.
        greater: Measure claimed to be greater.
        lesser: Measure claimed to be smaller, compared within each seed.
        x: Column along which the values lie.
        at: A value of ``x``, or ``first`` or ``last``; with ``all``, every value is a group.
        over: Columns that form groups.
        margin: Threshold of the difference; slightly negative to admit equality.
    """
    difference = rows.placed(greater, x, at, over) - rows.placed(lesser, x, at, over)
    words = f"{greater} minus {lesser}{_at(x, at)} > {margin:g}"
    return Question(difference, Range(margin, strict=True), asked=words)


@criterion
def at_least(
    rows: "Rows",
    *,
    y: Measure,
    bound: float,
    x: Column,
    at: Place = "all",
    over: Columns = (),
    scale: Scale = "plain",
) -> Question:
    """Judge that ``y`` is at least ``bound`` in every group.

    Arguments as in :func:`exceeds`. Means are taken on ``scale``.
    """
    values = rows.placed(y, x, at, over)
    words = f"{y}{_at(x, at)} ≥ {bound:g}"
    return rows.scaled(values, Range(bound), scale, words)


@criterion
def at_most(
    rows: "Rows",
    *,
    y: Measure,
    bound: float,
    x: Column,
    at: Place = "all",
    over: Columns = (),
    scale: Scale = "plain",
) -> Question:
    """Judge that ``y`` is at most ``bound`` in every group; arguments as in :func:`at_least`."""
    values = rows.placed(y, x, at, over)
    words = f"{y}{_at(x, at)} ≤ {bound:g}"
    return rows.scaled(values, Range(most=bound), scale, words)


@criterion
def equals(
    rows: "Rows",
    *,
    y: Measure,
    expected: float,
    tolerance: NotNegative,
    x: Column,
    at: Place,
    over: Columns = (),
    scale: Scale = "plain",
) -> Question:
    """Judge that ``y`` is near ``expected``; arguments as in :func:`at_least`."""
    claimed = Range(expected - tolerance, expected + tolerance)
    words = f"{claimed.least:g} ≤ {y}{_at(x, at)} ≤ {claimed.most:g}"
    return rows.scaled(rows.placed(y, x, at, over), claimed, scale, words)


@criterion
def agree(
    rows: "Rows",
    *,
    first: Measure,
    second: Measure,
    tolerance: NotNegative,
    x: Column,
    at: Place = "all",
    over: Columns = (),
) -> Question:
    """Judge that two measures agree on average: their mean difference is within ``tolerance``.

    Two one-sided tests of the mean difference. The mean distance, which is never smaller, would be
    large wherever seeds scatter.
    """
    difference = rows.placed(first, x, at, over) - rows.placed(second, x, at, over)
    words = f"|{first} minus {second}|{_at(x, at)} ≤ {tolerance:g}"
    return Question(difference, Range(-tolerance, tolerance), asked=words)


@criterion
def crosses(
    rows: "Rows",
    *,
    first: Measure,
    second: Measure | float,
    x: Column,
    between: tuple[float, float],
) -> Question:
    """Judge that ``first`` crosses ``second`` once along ``x``, from below, inside a range.

    ``second`` is a measure or a fixed number. The estimate is the crossing, interpolated linearly.
    A curve that does not cross, or crosses more than once, lies outside every range.
    """
    level = rows.placed(second, x) if isinstance(second, str) else second
    found = rows.where_crossing(rows.placed(first, x) - level)
    words = f"{first} crosses {second} once, at {between[0]:g} ≤ {x} ≤ {between[1]:g}"
    return Question(found, Range(*between), asked=words)


def _rise(
    rows: "Rows",
    words: str,
    low: "pd.Series",
    high: "pd.Series",
    min_change: float | None,
    min_factor: float | None,
) -> Question:
    """Ask whether ``high`` exceeds ``low`` by more than a difference, or more than a factor.

    Raises:
        ValueError: If both are given, or a value is negative where it is judged by a factor.
    """
    if min_factor is None:
        claimed = Range(min_change or 0.0, strict=True)
        return Question(high - low, claimed, asked=f"{words.format('minus')} > {claimed.least:g}")
    if min_change is not None:
        raise ValueError("expected min_change or min_factor, got both")
    claimed = Range(math.log(min_factor), strict=True)
    words = f"{words.format('over')} > {min_factor:g}"
    return Question(rows.logarithm_of_ratio(high, low), claimed, "log", words)


def _extreme(
    rows: "Rows",
    curves: "SeriesGroupBy",
    y: str,
    x: str,
    over: "Columns",
    start: float | None,
    which: Literal["max", "min"],
    chosen_by: Literal["own", "others"],
) -> "pd.Series":
    if chosen_by == "own":
        return curves.max() if which == "max" else curves.min()
    return rows.extreme_by_others(y, x, over, start, which)


def _of(x: str, place: str, start: float | None = None, chosen_by: str = "own") -> str:
    if place in ("highest", "lowest"):
        by = "" if chosen_by == "own" else " by the other seeds"
        return f"at its {place} along {x}{by}"
    return f"at the {place} {x}" if start is None else f"at {x} {start:g}"


def _from(x: str, start: float | None) -> str:
    return "" if start is None else f" from {x} {start:g} on"


def _at(x: str, at: float | str) -> str:
    if at == "all":
        return f" at every {x}"
    return f" at the {at} {x}" if isinstance(at, str) else f" at {x} {at:g}"
