import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import provenance, write_unvouched

from feature_alignment.publish import compare
from feature_alignment.tables import read_table, tidy, write_table

SPREAD = np.std([1.0, 2.0, 4.0], ddof=1)


def rows(**changes):
    """Values 1, 2 and 4 of three seeds at two epochs, one layer of which has no name."""
    return [
        {"paper": "toy", "run": "r", "seed": seed, "epoch": epoch, "step": 10 * epoch}
        | {"layer": layer, "split": "train", "noise": noise, "measure": "m", "value": value}
        | changes
        for seed, value in enumerate((1.0, 2.0, 4.0))
        for epoch in (0, 1)
        for layer, noise in (("linear1", 0.5), (None, None))
    ]


class Folders:
    """A run's tables and the published ones."""

    def __init__(self, path):
        self.fresh, self.published = path / "fresh", path / "published"
        self.csv, self.page = path / "comparison.csv", path / "comparison.md"

    def write(self, folder, name, rows, conditions=("noise",)):
        table = tidy(rows, conditions)
        meta = provenance(table, Path(name).name)
        path = folder / f"{name}.csv"
        write_unvouched(path, table.assign(value=0.0), meta)
        table.to_csv(path, index=False)  # with what no program of ours would write, too

    def both(self, name, fresh, published):
        self.write(self.fresh, name, fresh)
        self.write(self.published, name, published)

    def arguments(self, *names):
        fresh = [str(self.fresh / f"{name}.csv") for name in names]
        written = ["--csv", str(self.csv), "--page", str(self.page)]
        return ["--fresh", *fresh, "--published", str(self.published), *written]

    def compare(self, *names):
        """Run the program and return the rows it wrote by table and measure."""
        compare.main(self.arguments(*names))
        return self.written()

    def written(self):
        table = pd.read_csv(self.csv)
        assert tuple(table.columns) == compare.COLUMNS
        return table.set_index(["table", "measure"])


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


def test_the_same_tables_differ_nowhere(folders, capsys):
    folders.both("toy/fig", rows(), rows())
    row = folders.compare("toy/fig").loc[("toy/fig", "m")]
    assert row["same_bytes"]
    assert (row["values"], row["differing"], row["largest_difference"]) == (12, 0, 0)
    assert (row["largest_in_spreads"], row["median_in_spreads"]) == (0, 0)
    assert (row["only_fresh"], row["only_published"], row["without_spread"]) == (0, 0, 0)
    assert capsys.readouterr().out == "1 of 1 files are the same, byte by byte\n"
    assert "| toy/fig" not in folders.page.read_text()


@pytest.mark.parametrize("place", [0, 1])
def test_a_changed_value_is_told_in_units_of_the_spread_at_its_place(folders, capsys, place):
    changed, published = rows(), rows()
    changed[place]["value"] += 3 * SPREAD
    published += rows(measure="other")
    changed += rows(measure="other")
    folders.both("toy/fig", changed, published)
    found = folders.compare("toy/fig")
    row = found.loc[("toy/fig", "m")]
    assert not row["same_bytes"]
    assert (row["values"], row["differing"]) == (12, 1)
    assert row["largest_difference"] == pytest.approx(3 * SPREAD, rel=1e-12)
    assert row["largest_in_spreads"] == pytest.approx(3, rel=1e-12)
    assert row["median_in_spreads"] == 0
    assert found.loc[("toy/fig", "other"), "differing"] == 0
    assert "toy/fig: 1 of 24 values differ by up to 4.583; up to 3 spreads (m)" in (
        capsys.readouterr().out
    )
    assert "| toy/fig | `m` | 12 | 1 | 4.583 | 3 | 0 | 0 | 0 |" in folders.page.read_text()


def test_the_median_is_over_all_values_with_a_spread(folders):
    changed = [row | {"value": row["value"] + SPREAD * (i % 4)} for i, row in enumerate(rows())]
    folders.both("toy/fig", changed, rows())
    row = folders.compare("toy/fig").loc[("toy/fig", "m")]
    assert row["differing"] == 9
    assert row["median_in_spreads"] == pytest.approx(1.5, rel=1e-12)


def test_the_order_of_rows_and_columns_says_nothing(folders):
    folders.both("toy/fig", rows(), rows())
    path = folders.fresh / "toy/fig.csv"
    table = read_table(path)
    table[table.columns[::-1]][::-1].to_csv(path, index=False)
    row = folders.compare("toy/fig").loc[("toy/fig", "m")]
    assert (row["same_bytes"], row["values"], row["differing"]) == (False, 12, 0)


def test_a_table_changed_since_it_was_written_is_not_compared(folders):
    folders.both("toy/fig", rows(), rows())
    write_table(folders.fresh / "toy/fig.csv", read_table(folders.fresh / "toy/fig.csv"), {})
    with (folders.fresh / "toy/fig.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match=r"toy/fig\.csv was changed or cut short"):
        folders.compare("toy/fig")


def test_rows_that_only_one_has_are_counted(folders, capsys):
    folders.both("toy/fig", [*rows()[1:], *rows(seed=7)[:2]], rows())
    row = folders.compare("toy/fig").loc[("toy/fig", "m")]
    assert (row["values"], row["differing"]) == (11, 0)
    assert (row["only_fresh"], row["only_published"]) == (2, 1)
    assert "2 only in the run; 1 only in the published one" in capsys.readouterr().out


def test_a_measure_that_only_one_has_is_counted(folders):
    folders.both("toy/fig", rows() + rows(measure="new"), rows() + rows(measure="old"))
    found = folders.compare("toy/fig")
    assert found.loc[("toy/fig", "new"), "only_fresh"] == 12
    assert found.loc[("toy/fig", "old"), "only_published"] == 12
    assert np.isnan(found.loc[("toy/fig", "old"), "largest_difference"])


@pytest.mark.parametrize(
    "published",
    [
        rows()[:4],  # one seed
        [row | {"seed": None} for row in rows()[:4]],  # exact values
        rows(value=0.3),  # seeds that agree
    ],
)
def test_without_a_spread_there_is_no_unit(folders, published):
    changed = [dict(row) for row in published]
    changed[0]["value"] += 0.5
    folders.both("toy/fig", changed, published)
    row = folders.compare("toy/fig").loc[("toy/fig", "m")]
    assert (row["differing"], row["without_spread"]) == (1, 1)
    assert row["largest_difference"] == pytest.approx(0.5)
    assert np.isnan(row["largest_in_spreads"])


def test_a_spread_of_rounding_is_none(folders):
    nearly = [row | {"value": np.nextafter(0.1, row["seed"])} for row in rows()]
    changed = [dict(row) for row in nearly]
    changed[0]["value"] += 1e-10
    folders.both("toy/fig", changed, nearly)
    row = folders.compare("toy/fig").loc[("toy/fig", "m")]
    assert (row["differing"], row["without_spread"]) == (1, 1)


def test_a_condition_may_have_any_name(folders):
    for name in ("table", "place", "spread", "in", "difference"):
        folders.write(
            folders.published, "toy/fig", [r | {name: 1} for r in rows()], ["noise", name]
        )
        changed = [r | {name: 1} for r in rows()]
        changed[0]["value"] += SPREAD
        folders.write(folders.fresh, "toy/fig", changed, ["noise", name])
        row = folders.compare("toy/fig").loc[("toy/fig", "m")]
        assert (row["values"], row["differing"]) == (12, 1)
        assert row["largest_in_spreads"] == pytest.approx(1, rel=1e-12)


def test_values_that_are_no_numbers(folders, capsys):
    nan, infinite = {"value": np.nan}, {"value": np.inf}
    published = [row | nan for row in rows()[:2]] + [row | infinite for row in rows()[2:4]]
    fresh = [published[0], rows()[1], published[2], rows()[3]]
    folders.both("toy/fig", fresh + rows()[4:], published + rows()[4:])
    said = (
        "1 of 1 files hold values that are not numbers:\n  toy/fig: 4, the first paper toy, run r, "
        "seed 0, step 0, epoch 0.0, layer linear1, split train, noise 0.5, measure m, value nan "
        "in the fresh table"
    )
    with pytest.raises(ValueError, match=re.escape(said)):
        folders.compare("toy/fig")
    row = folders.written().loc[("toy/fig", "m")]
    assert (row["values"], row["differing"], row["not_numbers"]) == (12, 0, 4)
    assert (row["largest_difference"], row["largest_in_spreads"]) == (0, 0)
    printed = capsys.readouterr().out
    assert "toy/fig: 4 values are NOT NUMBERS; 0 of 12 values differ" in printed
    assert "inf" not in printed
    assert "| toy/fig | `m` | 12 | 0 | 0 | 0 | 0 | 0 | 0 | 4 |" in folders.page.read_text()


def test_values_that_are_no_numbers_are_told_where_the_bytes_are_the_same(folders, capsys):
    same = [row | {"value": np.inf} for row in rows()[:1]] + rows()[1:]
    folders.both("toy/fig", same, same)
    with pytest.raises(ValueError, match="toy/fig: 1, the first .*, value inf in the fresh table"):
        folders.compare("toy/fig")
    assert capsys.readouterr().out.startswith("0 of 1 files are the same, byte by byte\n")
    np.savez(folders.fresh / "toy/fig.npz", a=np.zeros(2), b=[["x"]])
    np.savez(folders.published / "toy/fig.npz", a=[0, -np.inf], b=[["y"]])
    with pytest.raises(
        ValueError, match=r"2 of 2 .*not numbers:(.|\n)*: 1, the first entry \[1\] of a"
    ):
        folders.compare("toy/fig")
    found = folders.written().loc["toy/fig.npz"]
    assert found["not_numbers"].tolist() == [1, 0]
    assert found["differing"].tolist() == [0, 1]
    assert "inf" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["fresh", "published"])
def test_a_table_that_is_not_what_its_provenance_says_is_not_compared(folders, kind):
    folders.both("toy/fig", rows(), rows())
    path = getattr(folders, kind) / "toy/fig.csv"
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:9]))  # without the last seed
    with pytest.raises(ValueError, match="numbers of seeds: the provenance says 3, the table"):
        folders.compare("toy/fig")


def test_conditions_read_as_another_type_still_match(folders):
    published = [row | {"noise": noise} for row in rows()[::2] for noise in (1, 2, None)]
    fresh = [row for row in published if row["noise"] is not None]  # whole numbers now
    folders.both("toy/fig", fresh, published)
    row = folders.compare("toy/fig").loc[("toy/fig", "m")]
    assert (row["values"], row["only_published"], row["only_fresh"]) == (12, 6, 0)
    words = [row | {"noise": "high"} for row in rows()]
    folders.both("toy/fig", words, rows())
    row = folders.compare("toy/fig").loc[("toy/fig", "m")]
    assert (row["values"], row["only_published"], row["only_fresh"]) == (0, 12, 12)


def broken(folders, kind):
    """Leave one table in a bad way and return what the error says."""
    path = folders.fresh / "toy/bad.csv"
    if kind == "no run":
        path.unlink()
        return "expected the file of the run at"
    if kind == "not published":
        (folders.published / "toy/bad.csv").unlink()
        return "expected the file published at"
    if kind == "no column":
        read_table(path).drop(columns="layer").to_csv(path, index=False)
        return "lacks the column 'layer'"
    if kind == "no condition":
        read_table(path).drop(columns="noise").to_csv(path, index=False)
        return "the fresh one lacks noise"
    if kind == "no number":
        path.write_text(path.read_text().replace("4.0", "four"))
        return "holds something that is not a number"
    if kind == "no table":
        path.write_bytes(b"\xff\xfe\x00")
        return "toy/bad"
    if kind == "empty":
        path.write_text("")
        return "is not a table"
    if kind == "no rows":
        path.write_text(path.read_text().splitlines()[0] + "\n")
        return "the fresh table has no rows"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    return "found several in the fresh table for seed 2, paper toy, run r, step 10"


BROKEN = (
    "no run",
    "not published",
    "no column",
    "no condition",
    "no number",
    "no table",
    "empty",
    "no rows",
    "twice",
)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_bad_table_fails_when_all_others_are_compared(folders, capsys, kind):
    changed = rows()
    changed[0]["value"] += SPREAD
    for name in ("toy/before", "toy/bad", "toy/after"):
        folders.both(name, changed, rows())
    said = broken(folders, kind)
    with pytest.raises(ValueError, match="1 of 3 files could not be compared:") as raised:
        folders.compare("toy/before", "toy/bad", "toy/after")
    assert said in str(raised.value)
    found = folders.written()
    assert found.loc[[("toy/before", "m"), ("toy/after", "m")], "differing"].tolist() == [1, 1]
    assert found["problem"].notna().tolist() == [False, True, False]
    printed = capsys.readouterr().out
    assert "not compared: toy/bad: " in printed
    assert printed.count("1 of 12 values differ") == 2


def test_arrays_are_compared_entry_by_entry(folders, capsys):
    folders.both("toy/fig", rows(), rows())
    arrays = {
        "same": np.arange(3),
        "changed": np.array([[1, 2], [3, np.nan]], dtype=np.float16),
        "names": np.array(["a", "b"]),
        "resized": np.zeros(4),
        "gone": np.zeros((2, 5)),
    }
    fresh = arrays | {
        "changed": np.array([[1, 2], [3.5, np.nan]], dtype=np.float16),
        "names": np.array(["a", "c"]),
        "resized": np.zeros(3),
        "new": np.zeros(6),
    }
    del fresh["gone"]
    np.savez(folders.published / "toy/fig.npz", **arrays)
    np.savez(folders.fresh / "toy/fig.npz", **fresh)
    with pytest.raises(ValueError, match=r"toy/fig.npz: 1, the first entry \[1, 1\] of changed"):
        folders.compare("toy/fig")
    found = folders.written().loc["toy/fig.npz"]
    counts = ["values", "differing", "only_fresh", "only_published"]
    assert {name: tuple(found.loc[name, counts]) for name in found.index} == {
        "same": (3, 0, 0, 0),
        "changed": (4, 1, 0, 0),
        "names": (2, 1, 0, 0),
        "resized": (0, 0, 3, 4),
        "gone": (0, 0, 0, 10),
        "new": (0, 0, 6, 0),
    }
    assert found.loc["changed", "largest_difference"] == 0.5
    assert found["largest_in_spreads"].isna().all()
    assert capsys.readouterr().out.startswith("1 of 2 files are the same, byte by byte")


@pytest.mark.parametrize(
    "content", [None, b"", b"PK\x03\x04 cut off", b"none", "objects", "unnamed"]
)
def test_arrays_that_are_missing_or_damaged_are_an_error(folders, content):
    folders.both("toy/fig", rows(), rows())
    np.savez(folders.published / "toy/fig.npz", a=np.zeros(2))
    path = folders.fresh / "toy/fig.npz"
    if content == "objects":
        np.savez(path, a=np.array([{}]))
    elif content == "unnamed":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(2))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="1 of 2 files could not be compared:\n  toy/fig.npz: "):
        folders.compare("toy/fig")
    assert folders.written().loc[("toy/fig", "m"), "values"] == 12


def status(folders, *names):
    """Run the program by itself; return its exit status and what it said."""
    program = [sys.executable, "-m", "feature_alignment.publish.compare"]
    done = subprocess.run([*program, *folders.arguments(*names)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_exit_status_tells_bad_tables_from_other_values(folders):
    changed = rows()
    changed[0]["value"] += SPREAD
    folders.both("toy/fig", changed, rows())
    found, out, error = status(folders, "toy/fig")
    assert (found, error) == (0, "")
    assert "1 of 12 values differ" in out
    found, out, error = status(folders, "toy/fig", "toy/missing")
    assert found == 1
    assert "1 of 12 values differ" in out
    assert error.startswith("error: 1 of 2 files could not be compared:")
    assert "Traceback" not in error
