"""Tidy tables: one measured value per row, as CSV with provenance next to it."""

import re
import types
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from feature_alignment.integrity import meta_path, read_sealed, sealed, verify
from feature_alignment.storage import is_regular, replacing, sha256, write_json

COLUMNS = ("paper", "run", "seed", "step", "epoch", "layer", "split", "at", "measure", "value")
_NAME = re.compile("[a-z][a-z0-9_]*")
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


def write_table(
    path: Path | str,
    table: pd.DataFrame,
    meta: Mapping,
    checksums: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
    """Write ``table`` as CSV and ``meta`` as JSON next to it, each whole or not at all.

    Numbers are written with as many digits as it takes to read the same bits back.

    Args:
        path: The table.
        table: What it holds.
        meta: Its provenance, to which the table's checksum is added.
        checksums: SHA-256, by ending, of more files next to it that the provenance vouches for.

    Raises:
        ValueError: If a value is not a finite number.
    """
    _refuse_infinite(table, path)
    with replacing(path) as temporary:
        guarded(table).to_csv(temporary, index=False, lineterminator="\n")
        found = sha256(temporary)
    write_json(meta_path(path), sealed({**meta, "checksums": {**checksums, "csv": found}}))


def read_table(
    path: Path | str, conditions: Sequence[str] = (), *, finite: bool = True
) -> pd.DataFrame:
    """Read a tidy table, whose column ``at`` may be absent.

    A condition may be infinite, such as a number of examples that stands for an expectation; an
    empty cell is one that does not apply. Values, steps and epochs are finite.

    Args:
        path: A CSV file made by :func:`write_table`.
        conditions: Condition columns that must be there.
        finite: Whether every value must be a finite number. Only who counts those that are not may
            ask for them.

    Raises:
        ValueError: If the file is not the one its provenance describes; if a column is missing, has
            another name than a column can have, or stands there twice; if a row has no measure, or
            a cell holds something else than its column.
        FileNotFoundError: If there is no such file.
    """
    is_regular(Path(path))
    verify(path)
    try:
        table = pd.read_csv(path, dtype={"layer": "string", "split": "string", "measure": "string"})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table: {error}") from error
    strange = [name for name in table.columns if not _NAME.fullmatch(name)]
    if strange or not isinstance(table.index, pd.RangeIndex):  # pandas calls a second one value.1
        what = f"the column {strange[0]!r}" if strange else "more cells in a row than columns"
        raise ValueError(
            f"{path} has {what}; expected one header line, of names in lower-case letters, digits"
            " and _, each once"
        )
    missing = [name for name in (*COLUMNS, *conditions) if name not in (*table, "at")]
    if missing:
        raise ValueError(
            f"{path} lacks the column {missing[0]!r}; it has: {', '.join(table.columns)}"
        )
    truths = [name for name in NUMBERS if name in table and is_bool_dtype(table[name])]
    try:
        if truths:
            raise TypeError(f"the column {truths[0]!r} has True and False")
        numbers = {name: kind for name, kind in NUMBERS.items() if name in table}
        table = unguarded(table.astype(numbers))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} holds something that is not a number: {error}") from error
    _check_cells(table, path)
    if finite:
        _refuse_infinite(table, path)
    return table


def _check_cells(table: pd.DataFrame, path: Path | str) -> None:
    if table["measure"].isna().any():
        row = int(table["measure"].isna().to_numpy().argmax())
        raise ValueError(f"{path}, line {row + 2}: expected the name of a measure, got none")
    for name in ("paper", "run"):
        if is_numeric_dtype(table[name]) and table[name].notna().any():
            raise ValueError(f"{path}: expected names in the column {name!r}, got numbers")
    for name in ("seed", "step"):
        if (table[name] < 0).any():
            least = table[name].min()
            raise ValueError(f"{path}: expected a {name} of at least 0, got {least}")
    for name in ("epoch", "at"):
        if name in table and np.isinf(table[name].to_numpy(float, na_value=np.nan)).any():
            raise ValueError(f"{path}: expected a finite {name}, or none, got an infinite one")


def _refuse_infinite(table: pd.DataFrame, path: Path | str) -> None:
    wrong = table[~np.isfinite(table["value"])]
    if not wrong.empty:
        raise ValueError(
            f"{path}: expected finite values, got {len(wrong)} that are not, the first"
            f" {where(wrong)}; make again what measured it"
        )


def where(rows: pd.DataFrame) -> str:
    """Return what the first of some rows says, such as ``run a, seed 0, measure m, value nan``."""
    first = rows.iloc[0]
    return ", ".join(
        f"{name} {first[name]}" for name in rows.columns if name == "value" or pd.notna(first[name])
    )


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


def read_arrays(path: Path | str) -> dict[str, NDArray]:
    """Read all arrays of an NPZ file.

    Raises:
        ValueError: If the file is not the one its provenance describes, is damaged, or holds
            arrays of objects or none by name.
        FileNotFoundError: If there is no such file.
    """
    is_regular(Path(path))
    verify(path)
    try:
        with Path(path).open("rb") as stream:
            arrays = dict(np.load(stream, allow_pickle=False))
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a file of named arrays: {error}") from error
    if not arrays:
        raise ValueError(f"{path} holds no arrays")
    return arrays


def read_meta(table: Path | str) -> dict:
    """Read the provenance next to a table, without its checksums.

    Raises:
        ValueError: If it was changed since it was written.
    """
    meta = read_sealed(meta_path(table))
    return {k: v for k, v in meta.items() if k != "checksums"} if isinstance(meta, dict) else meta
