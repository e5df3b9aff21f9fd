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
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    import pandas as pd

SUPPORTED, EQUIVALENT, CONTRADICTED = "supported", "equivalent", "contradicted"
AT_THRESHOLD, OPEN, UNFIT, NOT_RUN = "at threshold", "open", "unfit", "not run"
VERDICTS = (SUPPORTED, EQUIVALENT, CONTRADICTED, AT_THRESHOLD, OPEN, UNFIT, NOT_RUN)

COLUMN, MEASURE = "column", "measure"
Column = Annotated[str, COLUMN]
Measure = Annotated[str, MEASURE]
ColumnOrMeasure = Annotated[str, COLUMN, MEASURE]
Columns = Sequence[Column]
Event = Annotated[str, MEASURE, "event"]
"""A measure that a seed may lack: when something happened, which it need not."""
Place = float | Literal["first", "last", "all"]
"""A value of a column, the first or last of it, or all, each a group of its own."""
Positive = Annotated[float, ("exclusiveMinimum", 0)]
NotNegative = Annotated[float, ("minimum", 0)]
Scale = Literal["plain", "log", "fisher", "logit"]
"""On which values are averaged: as they are, or the logarithms of factors, Fisher's z of
correlations, the logits of shares. An interval goes back to the values' own scale, and so stays
where they can lie."""

_TYPES = {str: "string", float: "number", int: "integer", bool: "boolean"}


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

    @property
    def is_two_sided(self) -> bool:
        """Whether it is bounded on both sides, as a claim of no difference is."""
        return math.isfinite(self.least) and math.isfinite(self.most)

    def shares_its_edge(self, low: float, high: float, band: float) -> bool:
        """Say whether an interval lies wholly within ``band`` of a bound."""
        edges = [edge for edge in (self.least, self.most) if math.isfinite(edge)]
        return any(edge - band <= low and high <= edge + band for edge in edges)


@dataclass(frozen=True)
class Question:
    """What a criterion makes of rows: one number per seed and group, and where they should lie.

    Attributes:
        values: On the scale on which the claim is judged, indexed by ``seed`` and, where the rows
            have it, ``replicate``, and by the groups' columns.
        claimed: Where every group's mean is claimed to lie, on that scale.
        scale: That scale.
        asked: The question in words, such as ``loss, first over last, ≥ 2``.
        points: Of values that are rank correlations, how many points each is over. They are judged
            by the order of the points, which under no association is any with equal probability.
        share: The share of the groups that is claimed to lie there.
        band: Half the width, on that scale, of the band around a bound in which an interval is at
            the threshold; ``None`` for a tenth of the distance between the bound and no effect.
    """

    values: "pd.Series"
    claimed: Range
    scale: Scale = "plain"
    asked: str = ""
    points: int | None = None
    share: float = 1.0
    band: float | None = None


class LackingError(ValueError):
    """A table lacks a column or a measure that a claim names."""


@dataclass(frozen=True)
class Gap:
    """Why there is nothing to judge: a seed has no value, or but a bound (``censored``)."""

    why: str
    censored: bool


COMMON = {
    "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "band": {"type": "number", "minimum": 0},
}
"""JSON schema of the options that every criterion has."""


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

    def __init__(self, function: Callable[..., Question]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        _, *options = inspect.signature(function).parameters.values()
        self._types = {option.name: option.annotation for option in options}
        try:
            properties = {name: _schema_of(kind) for name, kind in self._types.items()}
        except ValueError as error:
            raise ValueError(f"criterion {self.name}: {error}") from error
        self.schema = {
            "properties": {"criterion": True, **properties, **COMMON},
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

    def __call__(self, table: "pd.DataFrame", **options: Any) -> "Question | Gap":
        """Ask the question of the rows of a tidy table.

        Where a seed of a run has no value of a measure that other seeds have, or but a bound on
        it, nothing is asked, whatever the criterion: a mean over the others would be one over a
        selection. A criterion whose option is an :data:`Event` deals with that itself.

        Raises:
            LackingError: If the rows lack a column or a measure.
            ValueError: If the question is ill-posed.
        """
        from feature_alignment.audit.judging import Rows  # heavy, and needed only here

        rows = Rows(table)
        names = self.names(options)
        rows.check(names)
        gap = rows.gap_in(name for name, roles in names if roles == {MEASURE})
        if gap is not None:
            return gap
        common = {name: options.pop(name) for name in COMMON if name in options}
        return replace(self._function(rows, **options), **common)


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
