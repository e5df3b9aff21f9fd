"""Tidy tables: one measured value per row, as CSV with provenance beside it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from feature_alignment.storage import read_json, replacing, write_json

COLUMNS = ("paper", "run", "seed", "step", "epoch", "layer", "split", "at", "measure", "value")
NUMBERS = {"seed": "Int64", "step": "Int64", "epoch": "Float64", "at": "Float64", "value": float}

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]inf")


def tidy(rows: Iterable[Mapping], conditions: Sequence[str] = ()) -> pd.DataFrame:
    """Return rows as a table with the columns of :data:`COLUMNS`, conditions before ``measure``.

    Args:
        rows: Mappings from column to value; a column that does not apply may be absent.
        conditions: Names of the columns for what varies inside a figure.

    Raises:
        ValueError: If a row has a column that is neither standard nor a condition.
    """
    columns = [*COLUMNS[:-2], *conditions, *COLUMNS[-2:]]
    rows = list(rows)
    unknown = sorted(set().union(*rows) - set(columns))
    if unknown:
        raise ValueError(f"unknown column {unknown[0]!r}; expected: {', '.join(columns)}")
    table = pd.DataFrame(rows, columns=columns)
    return table.astype(NUMBERS)


def write_table(path: Path | str, table: pd.DataFrame, meta: Mapping) -> None:
    """Write ``table`` as CSV and ``meta`` as JSON beside it, each whole or not at all.

    Numbers are written with as many digits as it takes to read the same bits back.
    """
    with replacing(path) as temporary:
        guarded(table).to_csv(temporary, index=False, lineterminator="\n")
    write_json(meta_path(path), meta)


def read_table(path: Path | str, conditions: Sequence[str] = ()) -> pd.DataFrame:
    """Read a tidy table, whose column ``at`` may be absent.

    Args:
        path: A CSV file made by :func:`write_table`.
        conditions: Condition columns that must be there.

    Raises:
        ValueError: If a column is missing, or a value is no number.
        FileNotFoundError: If there is no such file.
    """
    try:
        table = pd.read_csv(path, dtype={"layer": "string", "split": "string", "measure": "string"})
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is not a table: {error}") from error
    missing = [name for name in (*COLUMNS, *conditions) if name not in (*table, "at")]
    if missing:
        raise ValueError(
            f"{path} lacks the column {missing[0]!r}; it has: {', '.join(table.columns)}"
        )
    try:
        numbers = {name: kind for name, kind in NUMBERS.items() if name in table}
        return unguarded(table.astype(numbers))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} holds something that is not a number: {error}") from error


def guarded(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table to write as CSV, in which no text is a formula that a spreadsheet would run.

    Text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a new line, after any apostrophes,
    gets an apostrophe in front, unless it is a number. :func:`unguarded` takes it away again.
    """
    return _text_mapped(table, lambda text: f"'{text}" if _runs(text) else text)


def unguarded(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table read from CSV without the apostrophes of :func:`guarded`."""
    return _text_mapped(table, lambda text: text[1:] if text[0] == "'" and _runs(text) else text)


def _runs(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


def _text_mapped(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    changed = {}
    for name in table.select_dtypes(exclude=["number", "bool"]):
        texts = [part for part in table[name].unique() if isinstance(part, str) and part]
        new = {part: change(part) for part in texts if change(part) != part}
        if new:
            changed[name] = table[name].replace(new)
    return table.assign(**changed) if changed else table


def meta_path(table: Path | str) -> Path:
    """Return the path of the provenance file beside a table."""
    return Path(table).with_suffix(".meta.json")


def read_meta(table: Path | str) -> dict:
    """Read the provenance beside a table."""
    return read_json(meta_path(table))
