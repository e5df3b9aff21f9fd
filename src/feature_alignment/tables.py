"""Tidy tables: one measured value per row, as CSV with provenance beside it."""

import types
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_alignment.integrity import meta_path, read_sealed, sealed, verify
from feature_alignment.storage import replacing, sha256, write_json

COLUMNS = ("paper", "run", "seed", "step", "epoch", "layer", "split", "at", "measure", "value")
NUMBERS = {"seed": "Int64", "step": "Int64", "epoch": "Float64", "at": "Float64", "value": float}


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
    """Write ``table`` as CSV and ``meta`` as JSON beside it, each whole or not at all.

    Numbers are written with as many digits as it takes to read the same bits back.

    Args:
        path: The table.
        table: What it holds.
        meta: Its provenance, to which the table's checksum is added.
        checksums: SHA-256, by ending, of more files beside it that the provenance vouches for.
    """
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
        found = sha256(temporary)
    write_json(meta_path(path), sealed({**meta, "checksums": {**checksums, "csv": found}}))


def read_table(path: Path | str, conditions: Sequence[str] = ()) -> pd.DataFrame:
    """Read a tidy table, whose column ``at`` may be absent.

    Args:
        path: A CSV file made by :func:`write_table`.
        conditions: Condition columns that must be there.

    Raises:
        ValueError: If the file is not the one its provenance describes, a column is missing, or a
            value is no number.
        FileNotFoundError: If there is no such file.
    """
    verify(path)
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
        return table.astype({name: kind for name, kind in NUMBERS.items() if name in table})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} holds something that is not a number: {error}") from error


def read_arrays(path: Path | str) -> dict[str, NDArray]:
    """Read all arrays of an NPZ file.

    Raises:
        ValueError: If the file is not the one its provenance describes, is damaged, or holds
            arrays of objects or none by name.
        FileNotFoundError: If there is no such file.
    """
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
    """Read the provenance beside a table, without its checksums.

    Raises:
        ValueError: If it was changed since it was written.
    """
    meta = read_sealed(meta_path(table))
    return {k: v for k, v in meta.items() if k != "checksums"} if isinstance(meta, dict) else meta
