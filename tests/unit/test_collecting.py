"""From the measurements of runs to the table of a figure, by the command line."""

import json

import pytest

from feature_alignment.run.collecting import main
from feature_alignment.tables import read_meta, read_table, tidy, write_table

PLACE = {"step": 0, "epoch": 0.0}


def prepare(folder, run, rows, paper="baratin2021", scale="smoke", conditions=(), **settings):
    """Write a run's spec and measurements, with the provenance that a run leaves."""
    spec = {"paper": paper, "run": run, "scale": scale, "settings": settings}
    (folder / f"{run}.json").write_text(json.dumps(spec))
    common = {"paper": paper, "run": run, "seed": 0}
    made = {"datasets": {"digits": {"sha256": "abc"}}, "seed": 0}
    table = tidy([{**common, **row} for row in rows], conditions)
    write_table(folder / f"{run}.csv", table, made)


def collected(folder, runs, figure="fig3_alignment", record=None, specs=None):
    """Let the command line collect a figure of some runs."""
    out = folder / "table.csv"
    main(
        [f"--figure={figure}", f"--record={json.dumps(record or {})}", f"--out={out}",
         "--specs", *(str(folder / f"{run}.json") for run in specs or runs),
         "--measurements", *(str(folder / f"{run}.csv") for run in runs)]
    )  # fmt: skip
    return read_table(out)


def test_a_figure_without_a_function_has_all_measurements_with_the_columns_of_its_record(tmp_path):
    for run, width in (("a", 8), ("b", 16)):
        rows = [{**PLACE, "measure": "loss", "gain": 2.0, "value": width / 8}]
        prepare(tmp_path, run, rows, conditions=["gain"], model={"width": width})
    columns = {"columns": {"width": "model.width", "depth": "model.hidden_layers"}}
    table = collected(tmp_path, ["a", "b"], figure="anything", record=columns)
    assert table["width"].tolist() == [8, 16]
    assert table["value"].tolist() == [1, 2]
    assert table["depth"].isna().all()  # a setting that the runs do not have
    assert list(table.columns[-5:]) == ["gain", "width", "depth", "measure", "value"]
    assert "at" not in table  # nowhere told
    made = read_meta(tmp_path / "table.csv")
    assert made["datasets"] == {"digits": {"sha256": "abc"}}
    assert made["seeds"] == [1]
    assert [sorted(run) for run in made["runs"]] == [["seed", "sha256"]] * 2


def test_a_figure_has_the_table_that_its_paper_makes(tmp_path):
    rows = [{"measure": "w1", "at": v, "value": 2 * v} for v in (1.0, 2.0)]
    prepare(tmp_path, "curves", rows, paper="lejeune2024")
    table = collected(tmp_path, ["curves"], figure="fig2_penalties")
    assert table["v"].tolist() == [1, 2]
    assert "at" not in table  # it has become v


@pytest.mark.parametrize(
    "other, specs, message",
    [
        ({}, ["a"], "no spec given for the run 'b'"),
        ({"paper": "lou2022"}, None, "specs of one paper, got baratin2021, lou2022"),
        ({"scale": "laptop"}, None, "specs of one scale, got laptop, smoke"),
    ],
)
def test_what_does_not_belong_together_is_an_error(other, specs, message, tmp_path):
    rows = [{**PLACE, "measure": "loss", "value": 1.0}]
    prepare(tmp_path, "a", rows)
    prepare(tmp_path, "b", rows, **other)
    with pytest.raises(ValueError, match=message):
        collected(tmp_path, ["a", "b"], specs=specs)
    assert not (tmp_path / "table.csv").exists()
