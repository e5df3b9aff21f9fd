"""Compare the tables of a run with the published ones, value by value.

Values are matched by all columns but the value itself. A difference is also told in units of the
*spread*: the standard deviation over seeds (with n − 1 degrees of freedom) of the published values
at the same place, that is with the same columns but the seed. There is no such unit where the
published table has one seed or an exact value, or where its seeds agree to within rounding; a
value that differs there counts as ``without_spread``. Of few seeds a spread can come out small by
chance, so look at the median as well as at the largest difference.

Arrays next to a table (.npz) are compared entry by entry, without a spread. It is not an error that
values differ. It is one, raised when all others have been compared, that a value is not a number
but infinite, say, or that a table is missing, malformed or not what its provenance says.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from feature_alignment import command
from feature_alignment.audit.ledger import number
from feature_alignment.evidence import check_evidence
from feature_alignment.publish.markdown import code, words
from feature_alignment.storage import replacing, sha256, write_text
from feature_alignment.tables import guarded, read_arrays, read_table, where

ROUNDING = 1e-12
"""A spread below this share of the values is rounding: a sum of a few thousand terms in float64."""

FRESH, PUBLISHED = "fresh", "published"
COUNTS = ("values", "differing", "without_spread", "only_fresh", "only_published", "not_numbers")
COLUMNS = (
    "table",
    "measure",
    "same_bytes",
    "values",
    "differing",
    "largest_difference",
    "largest_in_spreads",
    "median_in_spreads",
    "without_spread",
    "only_fresh",
    "only_published",
    "not_numbers",
    "problem",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the comparison and print a summary of it; see ``--help`` for the arguments.

    Raises:
        ValueError: If a table is missing or malformed, or a value is not a number, once everything
            else has been written.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--fresh", type=Path, nargs="+", required=True, help="tables (CSV) of a run"
    )
    parser.add_argument(
        "--published", type=Path, required=True, help="folder of published <paper>/<figure>.csv"
    )
    parser.add_argument("--csv", type=Path, required=True, help="comparison to write")
    parser.add_argument("--page", type=Path, help="the same for readers (Markdown) to write")
    arguments = parser.parse_args(argv)
    table = compare(arguments.fresh, arguments.published)
    with replacing(arguments.csv) as temporary:
        guarded(table).to_csv(temporary, index=False, lineterminator="\n")
    lines = summary(table)
    if arguments.page is not None:
        write_text(arguments.page, page(table))
    print("\n".join(lines))
    files = table["table"].nunique()
    told = table.drop_duplicates(["table", "problem"])
    told = told[told["problem"].notna()]
    compared = told["values"].notna()
    sentences = [
        f"{len(part)} of {files} files {what}:\n  " + "\n  ".join(part["problem"])
        for part, what in (
            (told[~compared], "could not be compared"),
            (told[compared], "hold values that are not numbers"),
        )
        if len(part)
    ]
    if sentences:
        raise ValueError("\n".join(sentences))


def compare(fresh: Sequence[Path], published: Path) -> pd.DataFrame:
    """Compare tables, and the arrays next to them, with the published ones of the same name.

    Args:
        fresh: Tables of a run, ``…/<paper>/<figure>.csv``.
        published: Folder that holds ``<paper>/<figure>.csv``.

    Returns:
        One row per table and measure, and per file of arrays (``table`` ends in ``.npz``) and
        array, with the columns of :data:`COLUMNS`: whether the files have the same bytes, how many
        ``values`` both have and how many of them differ, the largest difference, the largest and
        the median one in units of the spread (over the values that have a spread), how many values
        differ where there is no spread, how many values only one of the two has, and how many are
        NaN or infinite in either, which are in none of the differences; ``problem`` names the first
        of these. A file that cannot be compared has one row that says so there.
    """
    rows = []
    for table in fresh:
        name = f"{table.parent.name}/{table.stem}"
        twin = published / table.parent.name / table.name
        rows += _compared(name, table, twin, _measures)
        arrays, twin_arrays = table.with_suffix(".npz"), twin.with_suffix(".npz")
        if arrays.exists() or twin_arrays.exists():  # few figures show images
            rows += _compared(f"{name}.npz", arrays, twin_arrays, _arrays)
    return pd.DataFrame(rows, columns=COLUMNS).astype(
        dict.fromkeys(COUNTS, "Int64") | {"same_bytes": "boolean", "problem": "string"}
    )


def _compared(
    name: str, fresh: Path, published: Path, differences: Callable[[Path, Path], pd.DataFrame]
) -> list[dict]:
    """Return the rows of one file, or one row with the reason why there are none."""
    try:
        for path, kind in ((fresh, "of the run"), (published, "published")):
            if not path.is_file():
                raise ValueError(f"expected the file {kind} at {path}, found none")
        found = differences(fresh, published)
    except (ValueError, OSError) as error:
        return [{"table": name, "problem": f"{name}: {error}"}]
    common = {"table": name, "same_bytes": sha256(fresh) == sha256(published)}
    groups = found.groupby("measure", sort=False, dropna=False)
    return [{**common, "measure": measure, **_summed(name, rows)} for measure, rows in groups]


def _measures(fresh: Path, published: Path) -> pd.DataFrame:
    tables = [read_table(path, finite=False) for path in (fresh, published)]
    found = differences(*tables)
    for path, table in zip((fresh, published), tables, strict=True):
        check_evidence(path, table, f"{path.parent.name}/{path.stem}")
    return found


def differences(fresh: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return how far apart the values of two tidy tables are, empty columns matching empty ones.

    Args:
        fresh: A tidy table, as :func:`feature_alignment.tables.read_table` returns it.
        published: Another with the same columns.

    Returns:
        One row per place and seed: ``measure``; ``in``: which table has the value, ``fresh``,
        ``published`` or ``both``; ``difference``: how far apart the two are, NaN where only one
        table has a value or one of the two is not a finite number; ``spread``: of the published
        values over seeds, NaN where there is none; ``wrong``: what and where the value is if it is
        not a finite number in either table, else nothing.

    Raises:
        ValueError: If a table has no rows, the columns are not the same, or they do not tell two
            values of a table apart.
    """
    for table, other, kind in ((fresh, published, FRESH), (published, fresh, PUBLISHED)):
        missing = [name for name in other.columns if name not in table.columns]
        if missing:
            raise ValueError(
                f"expected the same columns in both tables; the {kind} one lacks"
                f" {', '.join(missing)}; make both with the same version of the figure"
            )
        if table.empty:
            raise ValueError(f"expected values, the {kind} table has no rows; make it again")
    places = [name for name in published.columns if name not in ("seed", "value")]
    rows = pd.concat([fresh, published], ignore_index=True)
    is_fresh = np.arange(len(rows)) < len(fresh)
    place = rows.groupby(places, dropna=False, sort=False).ngroup()
    value = rows.groupby(["seed", *places], dropna=False, sort=False).ngroup()
    for kind, side in ((FRESH, is_fresh), (PUBLISHED, ~is_fresh)):
        twice = rows[side][value[side].duplicated()]
        if not twice.empty:
            first = twice.iloc[0]
            where = ", ".join(f"{k} {first[k]}" for k in ("seed", *places) if pd.notna(first[k]))
            raise ValueError(
                f"expected one value per place and seed, found several in the {kind} table for"
                f" {where}; add a column that tells them apart"
            )
    first = ~value.duplicated().to_numpy()  # values are numbered as they come
    ours = pd.Series(rows["value"][is_fresh].to_numpy(), value[is_fresh])
    theirs = pd.Series(rows["value"][~is_fresh].to_numpy(), value[~is_fresh])
    numbers = value[first].to_numpy()
    in_both = np.isin(numbers, ours.index) & np.isin(numbers, theirs.index)
    apart = _distance(ours.reindex(numbers).to_numpy(), theirs.reindex(numbers).to_numpy())
    return pd.DataFrame(
        {
            "measure": rows["measure"][first].to_numpy(),
            "in": np.select([in_both, is_fresh[first]], ["both", FRESH], PUBLISHED),
            "difference": np.where(in_both, apart, np.nan),
            "spread": place[first].map(_spreads(rows[~is_fresh], place[~is_fresh])).to_numpy(),
            "wrong": pd.Series(numbers).map(_not_numbers(rows, value, is_fresh)).to_numpy(),
        }
    )


def _not_numbers(rows: pd.DataFrame, value: pd.Series, is_fresh: np.ndarray) -> dict[int, str]:
    """Say, by the number of the value, what and where those are that are not finite."""
    wrong = rows[~np.isfinite(rows["value"])]
    kinds = np.where(is_fresh, FRESH, PUBLISHED)
    told = {row: f"{where(wrong.loc[[row]])} in the {kinds[row]} table" for row in wrong.index}
    return {value[row]: words for row, words in reversed(told.items())}  # the fresh one last


def _spreads(rows: pd.DataFrame, place: pd.Series) -> pd.Series:
    """Return the standard deviation over seeds at each place, NaN where it cannot be a unit."""
    values = rows["value"].where(np.isfinite(rows["value"]) & rows["seed"].notna())
    spread, largest = values.groupby(place).std(), values.abs().groupby(place).max()
    return spread.where(spread > ROUNDING * largest)


def _distance(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return how far apart numbers are; NaN where one of the two is not finite."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(ours - theirs)
    return np.where(np.isfinite(ours) & np.isfinite(theirs), apart, np.nan)


def _summed(name: str, rows: pd.DataFrame) -> dict:
    """Return the counts and differences of one measure."""
    wrong = rows["wrong"].dropna()
    both = rows[rows["in"] == "both"]
    differing = both["difference"] > 0
    measured = both[both["spread"].notna()]
    in_spreads = measured["difference"] / measured["spread"]
    return {
        "values": len(both),
        "differing": int(differing.sum()),
        "largest_difference": both["difference"].max(),
        "largest_in_spreads": in_spreads.max(),
        "median_in_spreads": in_spreads.median(),
        "without_spread": int((differing & both["spread"].isna()).sum()),
        "only_fresh": int((rows["in"] == FRESH).sum()),
        "only_published": int((rows["in"] == PUBLISHED).sum()),
        "not_numbers": len(wrong),
        "problem": f"{name}: {len(wrong)}, the first {wrong.iloc[0]}" if len(wrong) else None,
    }


def _arrays(fresh: Path, published: Path) -> pd.DataFrame:
    """Return the entries of the arrays in two files, as :func:`differences` does for tables."""
    ours, theirs = read_arrays(fresh), read_arrays(published)
    parts = [_entries(name, ours.get(name), theirs.get(name)) for name in ours | theirs]
    return pd.concat(parts, ignore_index=True)


def _entries(name: str, ours: np.ndarray | None, theirs: np.ndarray | None) -> pd.DataFrame:
    """Return the differences of one array; of another shape or kind, it is another array."""
    if ours is None or theirs is None or ours.shape != theirs.shape or _kind(ours) != _kind(theirs):
        sides = {FRESH: ours, PUBLISHED: theirs}
        where = [
            side for side, array in sides.items() if array is not None for _ in range(array.size)
        ]
        parts = [array for array in sides.values() if array is not None]
        wrong = [words for array in parts for words in _wrong(name, array, array)]
        return pd.DataFrame(
            {"measure": name, "in": where, "difference": np.nan, "spread": np.nan, "wrong": wrong}
        )
    if _kind(ours) == "numbers":
        apart = _distance(ours.astype(float).ravel(), theirs.astype(float).ravel())
    else:
        apart = (ours != theirs).astype(float).ravel()  # 1 where a name is another
    return pd.DataFrame(
        {"measure": name, "in": "both", "difference": apart, "spread": np.nan}
        | {"wrong": _wrong(name, ours, theirs)}
    )


def _wrong(name: str, ours: np.ndarray, theirs: np.ndarray) -> list[str | None]:
    """Say of every entry of an array that is not finite on either side where it is."""
    if _kind(ours) != "numbers":
        return [None] * ours.size
    finite = np.isfinite(ours) & np.isfinite(theirs)
    places = zip(np.ndindex(finite.shape), finite.ravel(), strict=True)
    return [None if fine else f"entry {list(place)} of {name}" for place, fine in places]


def _kind(array: np.ndarray) -> str:
    return "numbers" if array.dtype.kind in "biuf" else "text"


def summary(table: pd.DataFrame) -> list[str]:
    """Return the comparison in a few lines: one for all tables and one for each that differs."""
    lines = [
        _line(str(name), rows)
        for name, rows in table.groupby("table", sort=False)
        if not rows["same_bytes"].fillna(False).all() or rows["not_numbers"].fillna(0).any()
    ]
    same = table["table"].nunique() - len(lines)
    return [f"{same} of {table['table'].nunique()} files are the same, byte by byte", *lines]


def _line(name: str, rows: pd.DataFrame) -> str:
    """Say in a line what differs in a file."""
    if rows["values"].isna().any():
        return f"not compared: {rows['problem'].iloc[0]}"
    parts = [f"{rows['differing'].sum()} of {rows['values'].sum()} values differ"]
    if rows["differing"].sum():
        parts[0] += f" by up to {number(rows['largest_difference'].max())}"
    largest = rows["largest_in_spreads"].max()
    if largest > 0:
        measure = rows.loc[rows["largest_in_spreads"].idxmax(), "measure"]
        parts.append(f"up to {number(largest)} spreads ({measure})")
    parts += [
        f"{rows[column].sum()} {words}"
        for column, words in (
            ("without_spread", "of these without a spread to compare with"),
            ("only_fresh", "only in the run"),
            ("only_published", "only in the published one"),
        )
        if rows[column].sum()
    ]
    if rows["not_numbers"].sum():
        parts.insert(0, f"{rows['not_numbers'].sum()} values are NOT NUMBERS")
    return f"{name}: {'; '.join(parts)}"


def page(table: pd.DataFrame) -> str:
    """Return the comparison as Markdown: the summary, and every measure that differs."""
    counts = ["differing", "only_fresh", "only_published", "not_numbers"]
    different = table[(table[counts] > 0).any(axis=1)]
    lines = ["# The tables of a run next to the published ones", ""]
    lines += [f"- {words(line)}" for line in summary(table)]
    if not different.empty:
        lines += ["", *_markdown(different)]
    lines += ["", _EXPLANATION]
    return "\n".join(lines) + "\n"


def _markdown(table: pd.DataFrame) -> Iterator[str]:
    """Yield a Markdown table of the measures that differ."""
    head = ("table", "measure", "values", "differ", "by at most", "in spreads", "their median")
    ends = ("only in the run", "only published", "not numbers")
    yield f"| {' | '.join((*head, *ends))} |"
    yield "|---" * (len(head) + len(ends)) + "|"
    for row in table.itertuples():
        sizes = (row.largest_difference, row.largest_in_spreads, row.median_in_spreads)
        told = [number(None if pd.isna(size) else size) for size in sizes]
        cells = (words(row.table), code(str(row.measure)), row.values, row.differing, *told)
        cells += (row.only_fresh, row.only_published, row.not_numbers)
        yield f"| {' | '.join(map(str, cells))} |"


_EXPLANATION = """A spread is the standard deviation over seeds of the published values at the same
place. There is none where the published table has one seed, an exact value, or seeds that agree
to within rounding. The median is over all values with a spread, those that agree among them."""


if __name__ == "__main__":
    command.run(main)
