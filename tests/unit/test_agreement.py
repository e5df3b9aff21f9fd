"""Whether a run agrees with the published tables, on the same kind of processor and on another."""

import shutil

import pandas as pd
import pytest
from test_rounding import DEVIATION, VALUES, again, write

from feature_alignment.publish import agreement, rounding
from feature_alignment.publish.rounding import EVENT
from feature_alignment.storage import read_json, sha256, write_json
from feature_alignment.tables import meta_path


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    write(folder / "tables")
    write(folder / "tables", name="toy/other", values={"wild": (1.0, 2.0)})
    moved = again(tmp_path, "moved", loss=1e-4)
    write(moved, {"wild": 1.0}, name="toy/other", values={"wild": (1.0, 2.0)})
    rounding.write(folder, [moved])
    return folder


@pytest.fixture
def fresh(published, tmp_path):
    shutil.copytree(published / "tables", tmp_path / "fresh")
    return tmp_path / "fresh"


def elsewhere(table):
    """Let a table have been made by another processor."""
    meta = read_json(meta_path(table))
    for made in meta["runs"]:
        made["processor"] = "Another avx512f"
    del meta["seal"]
    write_json(meta_path(table), meta)


def change(table, measure, by):
    """Change a value of a table, as another run would have made it."""
    values = pd.read_csv(table)
    values.loc[values["measure"] == measure, "value"] += by
    values.to_csv(table, index=False)
    meta = read_json(meta_path(table))
    meta["checksums"]["csv"] = sha256(table)
    meta.pop("seal", None)
    write_json(meta_path(table), meta)


def ended(fresh, published, capsys):
    """Return the last line of the program, whether it failed, and what came before."""
    error = None
    try:
        agreement.main(["--fresh", str(fresh), "--published", str(published)])
    except ValueError as raised:
        error = str(raised)
    lines = capsys.readouterr().out.splitlines()
    return (error, lines) if error else (lines[-1], lines[:-1])


def test_the_same_bytes_agree_wherever_they_were_made(fresh, published, capsys):
    elsewhere(fresh / "toy/fig.csv")
    last, before = ended(fresh, published, capsys)
    assert last == "2 of 2 tables agree with the published ones, byte by byte."
    assert before == []


@pytest.mark.parametrize("off", [1e-9, 0.5])
def test_on_the_same_kind_of_processor_nothing_may_differ(fresh, published, capsys, off):
    change(fresh / "toy/fig.csv", "loss", off)
    error, lines = ended(fresh, published, capsys)
    assert error.startswith("1 of 2 tables agree with the published ones. Was the code or")
    assert lines[0] == "toy/fig does not agree:"
    assert lines[1].startswith("  paper toy, run r, seed ")
    assert ", measure loss, value " in lines[1]
    assert f", off by {off:.4g}" in lines[1]


def test_on_another_each_measure_has_its_tolerance(fresh, published, capsys):
    for name in ("fig", "other"):
        elsewhere(fresh / f"toy/{name}.csv")
    change(fresh / "toy/fig.csv", "loss", 0.9 * EVENT * DEVIATION)
    change(fresh / "toy/other.csv", "wild", 1e-9)
    last, before = ended(fresh, published, capsys)
    assert last == (
        "1 of 1 tables agree with the published ones: 0 byte by byte, 1 within tolerances"
        " (9 of their 9 values); 1 not compared."
    )
    assert "processor Another avx512f for not recorded" in before[0]
    assert "1 tables cannot be compared between kinds of processor" in before[1]
    assert before[1].endswith(": toy/other.")


def test_a_difference_above_the_tolerance_is_told(fresh, published, capsys):
    elsewhere(fresh / "toy/fig.csv")
    change(fresh / "toy/fig.csv", "loss", 1.1 * EVENT * DEVIATION)
    error, lines = ended(fresh, published, capsys)
    assert "1 of 2 tables agree" in error
    assert "off by 0.02744; it may be off by 0.02494" in lines[-1]


def test_another_value_or_seed_is_told_on_any_processor(fresh, published, capsys):
    write(fresh, values=VALUES | {"loss": (1.0, 2.0)})
    elsewhere(fresh / "toy/fig.csv")
    error, lines = ended(fresh, published, capsys)
    assert "1 of 2 tables agree" in error
    assert lines[-1] == "  measure loss: of its values 1 only in the published table"


def test_a_table_that_is_missing_or_changed_does_not_agree(fresh, published, capsys):
    (fresh / "toy/fig.csv").unlink()
    with (fresh / "toy/other.csv").open("a") as file:
        file.write("\n")
    error, lines = ended(fresh, published, capsys)
    assert error.startswith("0 of 2 tables agree")
    assert "expected the file of the run at" in lines[1]
    assert "toy/other does not agree:" in lines


def test_without_published_tables_there_is_nothing_to_agree_with(fresh, published, capsys):
    shutil.rmtree(published / "tables")
    assert "found none" in ended(fresh, published, capsys)[0]


def test_other_versions_are_another_kind(published):
    meta = read_json(meta_path(published / "tables/toy/fig.csv"))
    other = read_json(meta_path(published / "tables/toy/fig.csv"))
    assert agreement.kind(meta) == agreement.kind(other)
    other["runs"][0]["packages"] = {"numpy": "2", "torch": "2.1"}
    assert "2.1" in agreement.kind(other)["torch"]
    assert agreement.kind(meta) != agreement.kind(other)
