"""Which rows of a table a claim rests on: a condition, which is read and never run.

A condition has the form of a Python expression, of which this is allowed::

    condition  = condition "and" condition | condition "or" condition | "not" condition
               | "(" condition ")" | comparison | test
    comparison = operand (("==" | "!=" | "<" | "<=" | ">" | ">=") operand)+
               | column ("in" | "not in") "[" literal, … "]"
    operand    = column | column ".max()" | column ".min()" | literal
    literal    = a number | a text in quotes | True | False
    test       = column (".isna()" | ".isnull()" | ".notna()" | ".notnull()")
               | column (".str.startswith(" | ".str.endswith(") a text ")"

It selects what :meth:`pandas.DataFrame.query` would. No name means anything but a column. Imported
while the workflow is parsed, so it must stay light (no numpy, no pandas).
"""

import ast
import operator
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    Mask = Callable[[pd.DataFrame], pd.Series]
    Operand = Callable[[pd.DataFrame], Any]

LONGEST = 1000
"""How many characters a condition may have: the parser of Python fails on what is nested deeply."""

_COMPARED = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COMBINED = {ast.And: operator.and_, ast.Or: operator.or_}
_MISSING = ("isna", "isnull", "notna", "notnull")
_AFFIXES = ("startswith", "endswith")
_ENDS = ("max", "min")
_TRUTH, _NUMBER, _TEXT = "True or False", "numbers", "text"
_KINDS = {bool: _TRUTH, int: _NUMBER, float: _NUMBER, str: _TEXT}


def select(table: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return the rows of a table where a condition holds; where it is unknown they are left out.

    Args:
        table: A tidy table.
        where: A condition, in the form that this module states.

    Raises:
        ValueError: If the condition has another form, names a column that is not there, or
            compares a column with what it does not hold.
    """
    mask = read_condition(where)
    try:
        return table.loc[mask(table)]
    except (ValueError, TypeError) as error:
        raise ValueError(f"cannot select rows where {where!r}: {error}") from error


def read_condition(where: str) -> "Mask":
    """Return the function from a table to a boolean column that a condition stands for.

    Raises:
        ValueError: If the condition has another form than this module states.
    """
    try:
        if len(where) > LONGEST:
            raise ValueError(f"expected {LONGEST} characters at most, got {len(where)}")
        return _condition(ast.parse(where.strip(), mode="eval").body)
    except SyntaxError as error:
        why = error.msg if where.strip() else "there is no condition"
    except (RecursionError, MemoryError):
        why = "it is nested too deeply"
    except ValueError as error:
        why = str(error)
    raise ValueError(f"cannot select rows where {where!r}: {why}")


def _condition(node: ast.expr) -> "Mask":
    match node:
        case ast.BoolOp(op=word, values=values):
            combine, parts = _COMBINED[type(word)], [_condition(value) for value in values]
            return lambda table: reduce(combine, (part(table) for part in parts))
        case ast.UnaryOp(op=ast.Not(), operand=value):
            part = _condition(value)
            return lambda table: ~part(table)
        case ast.Compare(left=left, ops=signs, comparators=others):
            pairs = zip(signs, pairwise([left, *others]), strict=True)
            parts = [_comparison(*sides, sign) for sign, sides in pairs]
            return lambda table: reduce(operator.and_, (part(table) for part in parts))
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=test), args=[], keywords=[]):
            if test in _MISSING:
                return lambda table: getattr(_column(table, name), test)()
        case ast.Call(
            func=ast.Attribute(value=ast.Attribute(value=ast.Name(id=name), attr="str"), attr=test),
            args=[ast.Constant(value=str(text))],
            keywords=[],
        ):
            if test in _AFFIXES:
                return lambda table: getattr(_text_column(table, name).str, test)(text)
    raise _refused(node, "a comparison such as noise == 0, or several with and, or, not")


def _comparison(left: ast.expr, right: ast.expr, sign: ast.cmpop) -> "Mask":
    if isinstance(sign, ast.In | ast.NotIn):
        return _membership(left, right, negated=isinstance(sign, ast.NotIn))
    if type(sign) not in _COMPARED:
        raise _refused(right, "one of ==, !=, <, <=, >, >=, in, not in before a value")
    if not any(isinstance(part, ast.Name) for part in ast.walk(ast.List([left, right]))):
        raise _refused(left, "a column on one side of a comparison")
    sides, compare = (_operand(left), _operand(right)), _COMPARED[type(sign)]

    def mask(table: "pd.DataFrame") -> "pd.Series":
        one, other = (side(table) for side in sides)
        _expect_alike(ast.unparse(left), one, ast.unparse(right), other)
        return compare(one, other)

    return mask


def _membership(left: ast.expr, right: ast.expr, negated: bool) -> "Mask":
    match left, right:
        case ast.Name(id=name), ast.List(elts=parts) | ast.Tuple(elts=parts):
            values = [_literal(part) for part in parts]
        case _:
            raise _refused(right, "column in [1, 2], a list of values")

    def mask(table: "pd.DataFrame") -> "pd.Series":
        column = _column(table, name)
        for value in values:
            _expect_alike(name, column, repr(value), value)
        found = column.isin(values)
        return ~found if negated else found

    return mask


def _operand(node: ast.expr) -> "Operand":
    match node:
        case ast.Name(id=name):
            return lambda table: _column(table, name)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=end), args=[], keywords=[]):
            if end in _ENDS:
                return lambda table: getattr(_column(table, name), end)()
    value = _literal(node)
    return lambda table: value


def _literal(node: ast.expr) -> bool | int | float | str:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            if not isinstance(value, bool):
                return -value
    raise _refused(node, "a column, a number or a text in quotes")


def _refused(node: ast.expr, expected: str) -> ValueError:
    return ValueError(f"expected {expected}; got {ast.unparse(node)}")


def _column(table: "pd.DataFrame", name: str) -> "pd.Series":
    if name not in table.columns:
        known = ", ".join(map(str, table.columns))
        raise ValueError(f"no column {name!r}; the table has: {known}")
    return table[name]


def _text_column(table: "pd.DataFrame", name: str) -> "pd.Series":
    column = _column(table, name)
    _expect_alike(name, column, "a text", "")
    return column.astype("string")


def _expect_alike(name: str, one: Any, other_name: str, other: Any) -> None:
    """Refuse to compare what holds numbers with what holds text."""
    kinds, others = _kinds(one), _kinds(other)
    if kinds and others and not kinds & others:
        told = (" and ".join(sorted(kinds)), " and ".join(sorted(others)))
        raise ValueError(f"cannot compare {name}, {told[0]}, with {other_name}, {told[1]}")


def _kinds(value: Any) -> set[str]:
    """Return what a column or a value is; nothing for a column that is empty."""
    if not hasattr(value, "dtype"):
        return {_KINDS[type(value)]} if type(value) in _KINDS else set()
    present = value.dropna() if hasattr(value, "dropna") else [value]
    if value.dtype.kind in "biuf":
        return {_TRUTH if value.dtype.kind == "b" else _NUMBER} if len(present) else set()
    return {_KINDS.get(type(part), _TEXT) for part in present}
