"""What a criterion is: a function whose signature declares the options of a claim's ``test``.

The types of its options say which values a claim may give, and which of them name columns or
measures of the claim's table. The schema of claims and the ledger read them here, so that a new
criterion is one function in :mod:`feature_alignment.audit.criteria`.

Imported while the workflow is parsed, so it must stay light (no numpy, no pandas).
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    import pandas as pd

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"

COLUMN, MEASURE = "column", "measure"
Column = Annotated[str, COLUMN]
Measure = Annotated[str, MEASURE]
ColumnOrMeasure = Annotated[str, COLUMN, MEASURE]
Columns = Sequence[Column]
Place = float | Literal["first", "last", "all"]
"""A value of a column, the first or last of it, or all, each a group of its own."""
Positive = Annotated[float, ("exclusiveMinimum", 0)]
NotNegative = Annotated[float, ("minimum", 0)]
Correlation = Annotated[float, ("minimum", -1), ("maximum", 1)]

_TYPES = {str: "string", float: "number", int: "integer", bool: "boolean"}


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


class Criterion:
    """A function of rows and options, with what its signature declares.

    Args:
        function: Takes :class:`~feature_alignment.audit.judging.Rows` and options by keyword, whose
            types are those above, ``str``, ``float``, ``int`` or ``bool``, or are made of them by
            ``Literal``, ``Sequence``, ``tuple`` and ``|``. An option with a default may be left
            out of a claim.

    Attributes:
        schema: JSON schema of the ``test`` of a claim that names this criterion.

    Raises:
        ValueError: If an option has another type.
    """

    def __init__(self, function: Callable[..., Outcome]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        _, *options = inspect.signature(function).parameters.values()
        self._types = {option.name: option.annotation for option in options}
        try:
            properties = {name: _schema_of(kind) for name, kind in self._types.items()}
        except ValueError as error:
            raise ValueError(f"criterion {self.name}: {error}") from error
        self.schema = {
            "properties": {"criterion": True, **properties},
            "required": [option.name for option in options if option.default is option.empty],
            "additionalProperties": False,
        }

    @property
    def name(self) -> str:
        """The name that claims call it by."""
        return self._function.__name__

    def names(self, options: Mapping[str, Any]) -> list[tuple[str, set[str]]]:
        """Return every name that options give, with what it may name, a column or a measure."""
        return [
            (name, roles)
            for option, value in options.items()
            if (roles := _roles_of(self._types.get(option)))
            for name in (value if isinstance(value, list | tuple) else [value])
            if isinstance(name, str)
        ]

    def __call__(self, table: "pd.DataFrame", **options: Any) -> Outcome:
        """Judge rows of a tidy table.

        Where a seed has but a bound on a measure, the verdict is open, whatever the criterion: a
        mean over the seeds that have a value would be one over a selection.

        Raises:
            ValueError: If the rows lack a column or measure, or cannot be judged.
        """
        from feature_alignment.audit.judging import Rows  # heavy, and needed only here

        rows = Rows(table)
        names = self.names(options)
        rows.check(names)
        bounds = rows.bounds_on(name for name, roles in names if MEASURE in roles)
        if not bounds.empty:
            seeds = bounds["seed"].nunique()
            return Outcome(INCONCLUSIVE, math.nan, math.nan, math.nan, seeds)
        return self._function(rows, **options)


def _schema_of(kind: Any) -> dict:
    """Return the JSON schema of an option's type."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is None and kind in _TYPES:
        return {"type": _TYPES[kind]}
    if origin is Annotated:
        return _schema_of(parts[0]) | dict(part for part in parts[1:] if isinstance(part, tuple))
    if origin is Literal:
        return {"enum": list(parts)}
    if origin is Sequence:
        return {"type": "array", "items": _schema_of(parts[0]), "uniqueItems": True}
    if origin is tuple and len(set(parts)) == 1:
        count = {"minItems": len(parts), "maxItems": len(parts)}
        return {"type": "array", "items": _schema_of(parts[0]), **count}
    if origin in (Union, UnionType):
        forms = [_schema_of(part) for part in parts if part is not NoneType]
        return forms[0] if len(forms) == 1 else {"anyOf": forms}
    raise ValueError(f"expected options of types that a claim can give, got {kind!r}")


def _roles_of(kind: Any) -> set[str]:
    """Return what an option of a type names: columns, measures, either, or neither."""
    if get_origin(kind) is Annotated:
        return {part for part in get_args(kind)[1:] if isinstance(part, str)}
    return set().union(*map(_roles_of, get_args(kind)))
