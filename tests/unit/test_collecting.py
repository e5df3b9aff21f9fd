"""From the measurements of a figure's runs to its table."""

import json

import pandas as pd
import pytest
from made_up import SEEDS, collection, readings

from feature_alignment.papers.baratin2021.tables import TABLES
from feature_alignment.run.collecting import collect, is_last, layer_places, main, with_place
from feature_alignment.storage import sha256, write_json
from feature_alignment.tables import COLUMNS, read_meta, read_table, write_table

SETTINGS = {
    "small": {"model": {"width": 8}, "difficult": {"name": "mnist", "label_noise": 1.0}},
    "wide": {"model": {"width": 16}, "difficult": {"name": "kmnist", "label_noise": 0.0}},
}
PLACES = [
    (measure, split) for measure in ("accuracy", "alignment") for split in ("easy", "difficult")
]
WIDTH = {"columns": {"width": "model.width"}}


def table_of(figure, folder, places=PLACES, record=WIDTH, **changes):
    """Write specs and measurements of two runs and collect them by the program."""
    specs, sources = [], []
    for run, settings in SETTINGS.items():
        given = collection(readings([run], [0, 5, 10], places), {run: settings})
        spec = {**given.specs[run], **changes.get(run, {})}
        specs.append(folder / f"{run}.json")
        write_json(specs[-1], spec)
        for seed in SEEDS:
            rows = given.measurements[given.measurements["seed"] == seed]
            sources.append(folder / f"{run}{seed}.csv")
            write_table(sources[-1], rows, {"datasets": {run: {"note": ""}}, "seed": seed})
    out = folder / "table.csv"
    arguments = ["--figure", figure, "--record", json.dumps(record), "--out", str(out)]
    main([*arguments, "--specs", *map(str, specs), "--measurements", *map(str, sources)])
    return out, dict(zip(SETTINGS, specs, strict=True)), sources


def test_a_table_says_what_its_record_notes(tmp_path):
    notes = ["incomplete: 5 seeds planned"]
    out, _, _ = table_of("fig4_difficulty", tmp_path, record={**WIDTH, "notes": notes})
    assert read_meta(out)["notes"] == notes
    assert "notes" not in read_meta(table_of("fig4_difficulty", tmp_path)[0])


def test_runs_on_two_copies_of_a_dataset_do_not_mix(tmp_path):
    _, specs, sources = table_of("fig4_difficulty", tmp_path)
    for source, checksum in zip(sources, "aabb", strict=True):
        datasets = {"mnist": {"note": "", "sha256": checksum}}
        write_table(source, read_table(source), {"datasets": datasets, "seed": 0})
    arguments = ["--figure", "fig4_difficulty", "--record", "{}", "--out", str(tmp_path / "t.csv")]
    arguments += ["--specs", *map(str, specs.values()), "--measurements", *map(str, sources)]
    with pytest.raises(ValueError, match="another copy of mnist .* expected sha256 a, got b"):
        main(arguments)


def same(first, second):
    pd.testing.assert_frame_equal(*(t.astype(object).fillna("none") for t in (first, second)))


def test_the_program_writes_the_table_of_a_figure_and_its_provenance(tmp_path):
    out, specs, sources = table_of("fig4_difficulty", tmp_path)
    specs = {run: json.loads(path.read_text()) for run, path in specs.items()}
    expected = TABLES["fig4_difficulty"](collect(specs, WIDTH, sources))
    same(read_table(out, ["difficult", "width"]), expected.drop(columns="at"))
    meta = read_meta(out)
    assert meta["seeds"] == [2]
    assert set(meta["datasets"]) == set(SETTINGS)
    assert [run["sha256"] for run in meta["runs"]] == list(map(sha256, sources))
    assert [run["seed"] for run in meta["runs"]] == [0, 1, 0, 1]
    assert meta["spec"] == {"figure": "fig4_difficulty", "scale": "smoke"}
    first = out.read_bytes()
    table_of("fig4_difficulty", tmp_path)
    assert out.read_bytes() == first


def test_a_figure_without_a_table_of_its_own_has_all_measurements_and_its_settings(tmp_path):
    out, _, sources = table_of("fig5_supernat", tmp_path)
    found = read_table(out, ["width"])
    assert found.groupby("run")["width"].unique().map(list).to_dict() == {
        "small": [8],
        "wide": [16],
    }
    assert (
        list(found.columns)
        == [
            *(name for name in COLUMNS[:-2] if name != "at"),  # which no measure has
            "width",
            *COLUMNS[-2:],
        ]
    )
    measured = pd.concat(map(read_table, sources), ignore_index=True)
    same(found.drop(columns="width"), measured.drop(columns="at"))


def test_a_paper_may_have_no_tables_of_its_own(tmp_path):
    nobody = {"paper": "nobody1999"}
    out, _, sources = table_of("fig4_difficulty", tmp_path, small=nobody, wide=nobody)
    assert len(read_table(out, ["width"])) == sum(len(read_table(path)) for path in sources)
    assert read_meta(out)["module"] == "feature_alignment.run.collecting"


def test_coordinates_are_kept_unless_they_become_a_column(tmp_path):
    places = [*PLACES, ("trace_ratio", "easy", None, 40)]
    out, _, _ = table_of("fig5_supernat", tmp_path, places)
    table = read_table(out)
    assert table.loc[table["measure"] == "trace_ratio", "at"].unique().tolist() == [40]
    assert table.loc[table["measure"] != "trace_ratio", "at"].isna().all()
    renamed = with_place(table, "count")
    same(renamed[["count"]], table[["at"]].rename(columns={"at": "count"}))
    assert renamed["at"].isna().all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"scale": "laptop"}, "expected specs of one scale, got laptop, smoke"),
        ({"paper": "lou2022"}, "expected specs of one paper, got baratin2021, lou2022"),
        ({"run": "other"}, "no spec given for the run 'wide'"),
    ],
)
def test_specs_belong_together_and_to_the_measurements(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        table_of("fig5_supernat", tmp_path, wide=change)


def test_settings_have_paths_and_may_be_absent():
    given = collection(readings(SETTINGS, [0], PLACES), SETTINGS, **WIDTH)
    assert given.setting("small", "difficult.name") == "mnist"
    assert given.setting("small", "model") == {"width": 8}
    assert given.setting("small", "difficult.share") is None
    assert given.setting("small", "model.width.of") is None
    wide = given.of_runs(["wide"]).with_condition("long", len)
    assert set(wide.measurements["run"]) == set(wide.specs) == {"wide"}
    assert set(wide.measurements["long"]) == {4}


def test_the_last_step_is_that_of_each_run_and_seed():
    table = pd.DataFrame({"run": list("aaab"), "seed": [0, 0, 1, 0], "step": [3, 5, 4, 1]})
    assert is_last(table).tolist() == [False, True, True, True]


def test_places_of_layers_are_told_where_most_are_reported():
    layers = [None, "b", "a", "c", "b", "a"]
    table = pd.DataFrame({"run": "r", "seed": 0, "step": [0, 0, 5, 5, 5, 5], "split": "train"})
    places = layer_places(table.assign(layer=pd.array(layers, "string")))
    assert places.tolist()[1:] == [3, 1, 2, 3, 1]
    assert pd.isna(places[0])


@pytest.mark.parametrize("record", [["--record=5"], ["--record={"], []])
def test_a_record_that_is_none_is_refused(record, capsys):
    with pytest.raises(SystemExit):
        main([*record, "--figure=f", "--specs=s", "--measurements=m", "--out=o"])
    assert "--record" in capsys.readouterr().err
