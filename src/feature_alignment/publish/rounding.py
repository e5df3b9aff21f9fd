"""How far rounding moves the values of published tables, and the tolerance that follows from it.

Another kind of processor adds the terms of a sum in another order, and so rounds it differently. A
training at a high learning rate then goes its own way. How far is measured and not guessed: the
same runs are made again with other vector instructions, and each measure of each table has in
``rounding.csv`` the largest difference of one of its values between these runs and the published
one. Its tolerance is :data:`TIMES` this difference.

Rounding acts by events: where it switches a unit of a network on or off, the training's values
move by up to some per cent, and another seed of the same training is left alone. So what moved at
all, in single precision, may move by :data:`EVENT` of the measure's standard deviation in the
published table. All else, exact numbers and those in double precision, may be off by :data:`LEAST`
of the largest value. Where a tolerance is wider than :data:`WIDEST` of the standard deviation,
agreement would say nothing, and the measure is not compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from feature_alignment.publish.compare import compare
from feature_alignment.storage import replacing
from feature_alignment.tables import guarded, read_arrays, read_meta, read_table, unguarded

TIMES = 10
"""A tolerance is so many times the difference that was found between kinds of rounding."""
EVENT = 0.02
"""What moved may move by this share of the standard deviation of the values."""
LEAST = 1e-6
"""What did not move, or as little as double precision does, may be off by this share of the largest
value."""
DOUBLE = 1e-10
"""What moved by less than this share of the largest value was computed in double precision."""
WIDEST = 0.5
"""A tolerance wider than this share of the standard deviation of the values says nothing."""
FILE = "rounding.csv"
"""Lies beside the folder of the published tables."""
COLUMNS = ("table", "measure", "moved", "largest", "deviation")


@dataclass(frozen=True)
class Tolerances:
    """By table and measure, as in the comparison of tables.

    Attributes:
        rows: Columns of :data:`COLUMNS` but the first two, which are the index.
    """

    rows: pd.DataFrame

    @classmethod
    def read(cls, published: Path) -> "Tolerances":
        """Read the file in a folder of published results.

        Raises:
            ValueError: If it is not a table with these columns.
            FileNotFoundError: If it is not there.
        """
        path = published / FILE
        table = unguarded(pd.read_csv(path, dtype={"table": str, "measure": str}))
        if tuple(table.columns) != COLUMNS:
            raise ValueError(
                f"{path}: expected the columns {', '.join(COLUMNS)}, got"
                f" {', '.join(table.columns)}; take it from the repository"
            )
        return cls(table.set_index(["table", "measure"]))

    def of(self, table: str, measure: str) -> float | None:
        """Return how far a measure may be off elsewhere; nothing if that would say nothing."""
        if (table, measure) not in self.rows.index:
            return None
        row = self.rows.loc[(table, measure)]
        least = LEAST * row["largest"]
        if row["moved"] <= DOUBLE * row["largest"]:
            return max(TIMES * row["moved"], least)
        tolerance = max(TIMES * row["moved"], EVENT * row["deviation"], least)
        return tolerance if tolerance <= WIDEST * row["deviation"] else None

    def tables(self) -> set[str]:
        """Return the names of all tables, without those of their arrays."""
        return {table.removesuffix(".npz") for table, _ in self.rows.index}

    def moved(self, table: str) -> bool:
        """Return whether other rounding changes some value of a table or its arrays."""
        return any(self.rows.loc[key, "moved"] for key in self._measures(table))

    def compared(self, table: str) -> bool:
        """Return whether some measure of a table or its arrays has a tolerance."""
        return any(self.of(*key) is not None for key in self._measures(table))

    def _measures(self, table: str) -> list[tuple[str, str]]:
        return [key for key in self.rows.index if key[0].removesuffix(".npz") == table]


def measured(published: Path, again: Sequence[Path]) -> pd.DataFrame:
    """Return how far runs that round differently are from the published one.

    Args:
        published: Folder of published tables, ``<paper>/<figure>.csv``.
        again: Folders of the tables of those runs.

    Returns:
        A row per table and measure with :data:`COLUMNS`: how far its values ``moved`` at most, the
        ``largest`` of them, and their standard ``deviation`` in the published table. What has
        values at other places, as where a curve is highest, moved infinitely far.

    Raises:
        ValueError: If one of the runs lacks a table, is of other code, or has a value that is not a
            number.
    """
    paths = sorted(published.glob("*/*.csv"))
    rows = [row for path in paths for row in _sizes(path)]
    sizes = pd.DataFrame(rows, columns=["table", "measure", "largest", "deviation"])
    sizes["moved"] = 0.0
    for folder in again:
        found = compare([_twin(path, folder) for path in paths], published)
        problems = found["problem"].dropna().tolist()
        problems += [str(path) for path in paths if _code(path) != _code(_twin(path, folder))]
        if problems:
            raise ValueError(
                f"{folder}: expected the published tables, made again with the same code, which"
                f" these are not: {problems[0]}"
            )
        elsewhere = found[["only_fresh", "only_published"]].any(axis=1)
        found.loc[elsewhere, "largest_difference"] = np.inf
        moved = found.set_index(["table", "measure"])["largest_difference"]
        at = pd.MultiIndex.from_frame(sizes[["table", "measure"]])
        sizes["moved"] = np.maximum(sizes["moved"], moved.reindex(at).to_numpy())
    return sizes[list(COLUMNS)]


def _twin(path: Path, folder: Path) -> Path:
    """Return where a table ``<paper>/<figure>.csv`` lies in another folder."""
    return folder / path.parent.name / path.name


def _code(path: Path) -> list[str] | None:
    """Return which code made the runs of a table, if it is there."""
    if not path.is_file():
        return None
    return [run["code_hash"] for run in read_meta(path).get("runs", ())]


def _sizes(path: Path) -> list[tuple[str, str, float, float]]:
    """Return the measures of a table, and arrays beside it, with how large and spread they are."""
    name = f"{path.parent.name}/{path.stem}"
    found = [
        (name, measure, values.abs().max(), values.std(ddof=0))
        for measure, values in read_table(path).groupby("measure", sort=False)["value"]
    ]
    arrays = path.with_suffix(".npz")
    for key, array in read_arrays(arrays).items() if arrays.is_file() else ():
        known = array.dtype.kind in "biuf" and array.size
        size = (np.abs(array).max(), array.astype(float).std()) if known else (0.0, 0.0)
        found.append((f"{name}.npz", key, *map(float, size)))
    return found


def write(published: Path, again: Sequence[Path]) -> None:
    """Write how far runs that round differently are from what is published in a folder.

    Args:
        published: Folder of published results, with ``tables``.
        again: Folders of the tables of those runs.
    """
    table = measured(published / "tables", again)
    with replacing(published / FILE) as temporary:
        guarded(table).to_csv(temporary, index=False, lineterminator="\n", float_format="%.4g")
