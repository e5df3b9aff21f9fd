"""Tolerances measured by runs that round differently."""

from pathlib import Path

import numpy as np
import pytest
from made_up import provenance

from feature_alignment.publish import rounding
from feature_alignment.publish.rounding import EVENT, LEAST, TIMES, WIDEST, Tolerances
from feature_alignment.storage import read_json, write_arrays, write_json
from feature_alignment.tables import meta_path, tidy, write_table

VALUES = {"loss": (1.0, 2.0, 4.0), "chaos": (1.0, 2.0, 4.0), "count": (3.0, 3.0, 3.0)}
DEVIATION = np.std(VALUES["loss"])


def write(folder: Path, off=(), name="toy/fig", values=VALUES) -> Path:
    """Write a table of ``values`` by measure, where one of each is off by what ``off`` says."""
    off = dict(off)
    rows = [
        {"paper": "toy", "run": "r", "seed": seed, "epoch": 0, "measure": measure}
        | {"value": value + off.get(measure, 0.0) * (seed == 1)}
        for measure, of in values.items()
        for seed, value in enumerate(of)
    ]
    table = tidy(rows)
    path = folder / f"{name}.csv"
    write_table(path, table, provenance(table, path.stem, "smoke"))
    return path


@pytest.fixture
def published(tmp_path):
    write(tmp_path / "published" / "tables")
    return tmp_path / "published"


def again(tmp_path, name, **off):
    write(tmp_path / name, off)
    return tmp_path / name


def measured(published, *folders):
    rounding.write(published, folders)
    return Tolerances.read(published)


def test_a_tolerance_is_a_multiple_of_the_largest_difference_found(published, tmp_path):
    folders = again(tmp_path, "one", loss=1e-2), again(tmp_path, "two", loss=-3e-2)
    tolerances = measured(published, *folders)
    assert tolerances.of("toy/fig", "loss") == pytest.approx(TIMES * 3e-2)
    assert tolerances.moved("toy/fig")
    assert tolerances.compared("toy/fig")


def test_what_moved_a_little_may_move_by_an_event(published, tmp_path):
    tolerances = measured(published, again(tmp_path, "one", loss=1e-8, chaos=1e-13))
    assert tolerances.of("toy/fig", "loss") == pytest.approx(EVENT * DEVIATION, rel=1e-3)
    assert tolerances.of("toy/fig", "chaos") == pytest.approx(LEAST * 4)


def test_what_did_not_move_may_be_off_by_rounding(published, tmp_path):
    tolerances = measured(published, again(tmp_path, "one"))
    assert tolerances.of("toy/fig", "loss") == pytest.approx(LEAST * 4)
    assert tolerances.of("toy/fig", "count") == pytest.approx(LEAST * 3)
    assert not tolerances.moved("toy/fig")


def test_a_tolerance_as_wide_as_the_values_are_spread_is_none(published, tmp_path):
    wide = WIDEST * DEVIATION / TIMES
    folders = again(tmp_path, "one", chaos=1.01 * wide, loss=0.99 * wide, count=1e-9)
    tolerances = measured(published, folders)
    assert tolerances.of("toy/fig", "chaos") is None
    assert tolerances.of("toy/fig", "loss") == pytest.approx(TIMES * 0.99 * wide, rel=1e-3)
    assert tolerances.of("toy/fig", "count") is None
    assert tolerances.compared("toy/fig")


def test_a_measure_that_is_not_known_has_none(published, tmp_path):
    tolerances = measured(published, again(tmp_path, "one"))
    assert tolerances.of("toy/fig", "other") is None
    assert tolerances.of("toy/other", "loss") is None


def test_arrays_have_tolerances_too(published, tmp_path):
    write_arrays(published / "tables/toy/fig.npz", {"kernel": np.eye(3), "names": np.array(["a"])})
    folder = again(tmp_path, "one")
    write_arrays(folder / "toy/fig.npz", {"kernel": np.eye(3) + 1e-7, "names": np.array(["a"])})
    tolerances = measured(published, folder)
    assert tolerances.of("toy/fig.npz", "kernel") == pytest.approx(
        EVENT * np.eye(3).std(), rel=1e-3
    )
    assert tolerances.of("toy/fig.npz", "names") == 0
    assert tolerances.tables() == {"toy/fig"}
    assert tolerances.moved("toy/fig")


def test_values_at_other_places_are_not_compared(published, tmp_path):
    write(tmp_path / "one", values=VALUES | {"chaos": (1.0, 2.0)})
    tolerances = measured(published, tmp_path / "one")
    assert tolerances.of("toy/fig", "chaos") is None
    assert tolerances.of("toy/fig", "loss") == pytest.approx(LEAST * 4)


def test_runs_of_other_code_are_refused(published, tmp_path):
    path = write(tmp_path / "one")
    meta = read_json(meta_path(path))
    meta["runs"][0]["code_hash"] = "1" * 16
    del meta["seal"]
    write_json(meta_path(path), meta)
    with pytest.raises(ValueError, match=r"one: expected the published tables, made again with "):
        rounding.measured(published / "tables", [tmp_path / "one"])
    with pytest.raises(ValueError, match="found none"):
        rounding.measured(published / "tables", [tmp_path / "nothing"])


def test_another_table_is_refused(tmp_path):
    (tmp_path / "rounding.csv").write_text("table,measure,off\n")
    with pytest.raises(ValueError, match="expected the columns table, measure, moved"):
        Tolerances.read(tmp_path)
