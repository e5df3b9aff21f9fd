"""Criteria: a table and a question to a verdict, with an interval over seeds.

A claim about "every layer" is a claim about several groups of rows. In each group a criterion
reduces every seed to one number and takes the mean over seeds with its 95 % confidence interval
(Student's t). The claim is *supported* when the interval of every group lies on the claimed side;
*contradicted* when that of some group lies wholly on the other side, at a level corrected for the
number of groups (Bonferroni), so that many groups do not contradict by chance; *inconclusive*
otherwise. One seed alone decides nothing. The estimate and interval reported are those of the
group nearest to the other side, of a contradicted claim among the groups that contradict it. Rows
without a seed are exact: their interval is the value.

A criterion is a function under ``@criterion``. Its name is what a claim's ``test`` calls it, its
keywords are the options that the claim may give, their types say what fits and which of them name
columns or measures (:mod:`feature_alignment.audit.criterion`).

Imported while the workflow is parsed, so it must stay light (no numpy, no pandas): what is computed
is computed by the rows, in :mod:`feature_alignment.audit.judging`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from feature_alignment.audit.criterion import (
    Column,
    ColumnOrMeasure,
    Columns,
    Correlation,
    Criterion,
    Measure,
    NotNegative,
    Outcome,
    Place,
    Positive,
    Range,
)

if TYPE_CHECKING:
    from feature_alignment.audit.judging import Rows

CRITERIA: dict[str, Criterion] = {}
"""Every criterion by its name."""


def criterion(function: Callable[..., Outcome]) -> Criterion:
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
) -> Outcome:
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
    return rows.judge_rise(y, curves.first(), last, min_change, min_factor)


@criterion
def decreases(
    rows: "Rows",
    *,
    x: Column,
    y: Measure,
    over: Columns = (),
    start: float | None = None,
    min_factor: Positive = 1.0,
    to: Literal["last", "lowest"] = "last",
) -> Outcome:
    """Judge that ``y`` falls by more than ``min_factor`` in every group.

    Arguments as in :func:`increases`, with ``to`` the ``last`` or the ``lowest`` value. The
    estimate is the first value divided by it, its mean and interval taken of the logarithms.

    Raises:
        ValueError: If a value is negative.
    """
    curves = rows.curves(y, x, over, start)
    last = curves.min() if to == "lowest" else curves.last()
    return rows.judge_rise(y, last, curves.first(), None, min_factor)


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
) -> Outcome:
    """Judge that ``y`` rises and falls: somewhere it lies above both ends, in every group.

    The estimate is the highest value minus the higher end, or divided by it where a factor is
    asked for. Arguments as in :func:`increases`.
    """
    curves = rows.curves(y, x, over, start)
    higher_end = curves.first().combine(curves.last(), max)
    return rows.judge_rise(y, higher_end, curves.max(), min_change, min_factor)


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
) -> Outcome:
    """Judge that ``y`` falls and rises: somewhere it lies below both ends, in every group.

    The estimate is the lower end minus the lowest value, or divided by it where a factor is asked
    for. Arguments as in :func:`increases`.
    """
    curves = rows.curves(y, x, over, start)
    lower_end = curves.first().combine(curves.last(), min)
    return rows.judge_rise(y, curves.min(), lower_end, min_change, min_factor)


@criterion
def rank_correlates(
    rows: "Rows", *, x: ColumnOrMeasure, y: Measure, bound: Correlation, over: Columns = ()
) -> Outcome:
    """Judge that Spearman's rank correlation of ``y`` with ``x`` is at least ``bound``.

    Args:
        rows: Rows of a table.
        x: A column, or another measure, which is paired with ``y`` within each run.
        y: Measure.
        bound: Least correlation of the values along ``x``, in every seed.
        over: Columns that form groups.
    """
    return rows.judge(rows.rank_correlations(x, y, over), Range(bound))


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
) -> Outcome:
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
    return rows.judge(difference, Range(margin, strict=True))


@criterion
def at_least(
    rows: "Rows", *, y: Measure, bound: float, x: Column, at: Place = "all", over: Columns = ()
) -> Outcome:
    """Judge that ``y`` is at least ``bound`` in every group; arguments as in :func:`exceeds`."""
    return rows.judge(rows.placed(y, x, at, over), Range(bound))


@criterion
def at_most(
    rows: "Rows", *, y: Measure, bound: float, x: Column, at: Place = "all", over: Columns = ()
) -> Outcome:
    """Judge that ``y`` is at most ``bound`` in every group; arguments as in :func:`exceeds`."""
    return rows.judge(rows.placed(y, x, at, over), Range(most=bound))


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
) -> Outcome:
    """Judge that ``y`` is within ``tolerance`` of ``expected``; arguments as in :func:`exceeds`."""
    claimed = Range(expected - tolerance, expected + tolerance)
    return rows.judge(rows.placed(y, x, at, over), claimed)


@criterion
def agree(
    rows: "Rows", *, first: Measure, second: Measure, tolerance: NotNegative, x: Column
) -> Outcome:
    """Judge the identity of two measures: nowhere do they differ by more than ``tolerance``."""
    distance = (rows.placed(first, x) - rows.placed(second, x)).abs()
    return rows.judge(distance, Range(most=tolerance))


@criterion
def crosses(
    rows: "Rows",
    *,
    first: Measure,
    second: Measure | float,
    x: Column,
    between: tuple[float, float],
) -> Outcome:
    """Judge that ``first`` crosses ``second`` once along ``x``, from below, inside a range.

    ``second`` is a measure or a fixed number. The estimate is the crossing, interpolated linearly.
    Curves that do not cross, or cross more than once, contradict the claim, and there is no
    estimate.
    """
    level = rows.placed(second, x) if isinstance(second, str) else second
    return rows.judge_crossing(rows.placed(first, x) - level, Range(*between))
