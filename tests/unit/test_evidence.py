"""A table and its provenance say the same, or nobody reads them."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from made_up import ledger_row, provenance, write_unvouched

from conftest import ROOT
from feature_alignment.audit.ledger import read_ledger
from feature_alignment.evidence import PROVENANCE, read_evidence
from feature_alignment.plots import draw
from feature_alignment.publish import captions
from feature_alignment.publish.costs import read_costs, read_jobs
from feature_alignment.run.spec import SCALES
from feature_alignment.storage import write_json
from feature_alignment.tables import meta_path, read_table, tidy, write_table

REFERENCE = ROOT / "reference"
TABLES = sorted(REFERENCE.glob("*/tables/*/*.csv"))


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.relative_to(REFERENCE).as_posix())
def test_every_published_table_is_what_its_provenance_says(path):
    whole = path.parts[-4] != "paper"  # of which two figures are published in parts
    figure = f"{path.parent.name}/{path.stem}" if whole else None
    table, meta = read_evidence(path, figure=figure)
    assert len(table)
    assert meta["spec"]["scale"] in SCALES


def test_the_scales_are_those_of_the_papers():
    assert PROVENANCE["properties"]["spec"]["properties"]["scale"]["enum"] == list(SCALES)


@pytest.fixture
def path(tmp_path):
    """A table of two runs with two seeds, and values without a run or a seed."""
    common = {"paper": "toy", "step": 1, "epoch": 0.5, "noise": math.inf}
    rows = [
        common | {"run": run, "seed": seed, "measure": "m", "value": seed + 0.5}
        for run in "ab"
        for seed in range(2)
    ]
    rows += [common | {"measure": "exact", "value": 1.0}]
    rows += [common | {"seed": seed, "measure": "b_minus_a", "value": 0.0} for seed in range(2)]
    table, path = tidy(rows, ["noise"]), tmp_path / "toy" / "fig1.csv"
    write_unvouched(path, table, provenance(table, "fig1", mnist="a copy"))
    return path


def test_a_table_and_its_provenance_are_returned(path):
    table, meta = read_evidence(path, ["noise"], "toy/fig1", "laptop")
    assert len(table) == 7
    assert meta["seeds"] == [2]


def drop(place):
    return lambda lines: [line for number, line in enumerate(lines) if number != place]


def replaced(old, new):
    return lambda lines: "\n".join(lines).replace(old, new).split("\n")


HEAD = "paper,run,seed,step,epoch,layer,split,at,noise,measure,value"
DAMAGED = [
    (replaced("0.5\ntoy,a,1", "nan\ntoy,a,1"), "got 1 that are not, .*seed 0.*m, value nan"),
    (replaced("1.5", "inf"), "got 2 that are not, the first .*run a, seed 1,.*value inf"),
    (replaced("1.5", ""), "got 2 that are not"),
    (replaced("1.5", "high"), "holds something that is not a number"),
    (replaced("1.5", "1" + "0" * 400), "got 2 that are not"),
    (replaced("toy,a,1,", "toy,a,1.5,"), "holds something that is not a number"),
    (replaced("toy,a,1,", "toy,a,-1,"), "expected a seed of at least 0, got -1"),
    (replaced("toy,a,1,1,", "toy,a,1,-5,"), "expected a step of at least 0, got -5"),
    (replaced("toy,a,1,1,0.5", "toy,a,1,1,inf"), "expected a finite epoch"),
    (replaced("toy,a,1,", f"toy,a,{2**70},"), "holds something that is not a number"),
    (replaced("inf,m,1.5", "inf,,1.5"), "line 3: expected the name of a measure, got none"),
    (replaced("toy", "7"), "expected names in the column 'paper', got numbers"),
    (replaced("measure,value", "value,value"), "has the column 'value.1'|lacks the column"),
    (replaced("noise", "No ise"), "has the column 'No ise'"),
    (lambda lines: [lines[0], *(f"x,{line}" for line in lines[1:])], "more cells in a row"),
    (lambda lines: lines[:1], "the table has no rows"),
    (lambda lines: [], "is not a table"),
    (drop(1), "numbers of seeds: the provenance says 2, the table or figure is of 1, 2"),
    (lambda lines: drop(1)(drop(1)(lines)), "runs, .*: the provenance says a, b, the .* is of b"),
    (lambda lines: drop(1)(drop(3)(lines)), "numbers of seeds: the provenance says 2, .* of 1"),
    (replaced("toy,b,", "toy,c,"), "runs, .*: the provenance says a, b, the .* of a, c"),
    (replaced("toy,b,1,", "toy,b,7,"), "seeds of b: the provenance says 0, 1, .* of 0, 7"),
    (replaced("toy,b,1,", "toy,b,,"), "expected a seed in every row of 'm' or in none"),
    (replaced("toy,b,1,", "toy,,1,"), "expected a run in every row of 'm' or in none"),
    (replaced("toy,,1,", "toy,,9,"), r"the table has seeds that no run has: \[9\]"),
    (replaced("toy,b,1,", "toy,b,0,"), "found several for paper toy, run b, seed 0"),
    (replaced("toy,b", "other,b"), r"expected one paper, got \['other', 'toy'\]"),
    (replaced("toy", "other"), "the paper: the provenance says toy, the table or figure is of oth"),
]


@pytest.mark.parametrize("damage, message", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_table_is_an_error_that_names_it(path, damage, message):
    lines = path.read_text().rstrip("\n").split("\n")
    assert lines[0] == HEAD
    changed = damage(lines)
    assert changed != lines
    path.write_text("".join(f"{line}\n" for line in changed))
    with pytest.raises(ValueError, match=message) as error:
        read_evidence(path, figure="toy/fig1")
    assert "fig1.csv" in str(error.value)


def test_bytes_are_no_table(path):
    path.write_bytes(b"paper,run\n\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"fig1\.csv is not a table"):
        read_evidence(path)


def lacking(name):
    return lambda meta: {key: value for key, value in meta.items() if key != name}


def having(**values):
    return lambda meta: meta | values


def of_first_run(**values):
    return lambda meta: meta | {"runs": [meta["runs"][0] | values, *meta["runs"][1:]]}


OTHERWISE = [
    (lambda meta: [], r"\[\] is not of type 'object'"),
    (lambda meta: None, "None is not of type 'object'"),
    *(
        (lacking(name), f"'{name}' is a required")
        for name in ("spec", "datasets", "git", "packages")
    ),
    (having(spec={}), "spec: 'scale' is a required property"),
    (having(spec=[]), r"spec: \[\] is not of type 'object'"),
    (having(spec={"scale": "lunch"}), r"spec\.scale: unknown value 'lunch'"),
    (having(seeds=[]), "numbers of seeds: the provenance says none, the table or figure is of 2"),
    (having(seeds=[2, 2]), "seeds: 2 is given twice"),
    (having(seeds=["two"]), r"seeds\.0: 'two' is not of type 'integer'"),
    (having(seeds=[5]), "numbers of seeds: the provenance says 5"),
    (having(runs=[]), r"runs: \[\] should be non-empty|runs: \[\] is too short"),
    (of_first_run(seed=None), r"runs\.0\.seed: None is not of type 'integer'"),
    (of_first_run(seed=4), "seeds of a: the provenance says 1, 4, the table or figure is of 0, 1"),
    (of_first_run(spec={"scale": "laptop"}), r"runs\.0\.spec: 'paper' is a required"),
    (lambda meta: meta | {"runs": meta["runs"][:3]}, "seeds of b: the provenance says 0, the"),
    (lambda meta: meta | {"runs": meta["runs"][:2]}, "runs, .*: the provenance says a, the"),
    (having(datasets={"mnist": {}}), "datasets.mnist: 'note' is a required property"),
    (having(datasets={}), "datasets: the provenance says none, the table or figure is of mnist"),
    (having(datasets={"svhn": {"note": ""}}), "datasets: the provenance says svhn, the"),
    (having(spec={"scale": "laptop", "figure": "fig2"}), "the figure: the provenance says fig2"),
    (having(spec={"scale": "paper", "figure": "fig1"}), "the scale: the provenance says lapt"),
    (having(wall_time_s=-1.0), "wall_time_s: -1.0 is less than the minimum of 0"),
    (having(packages={"numpy": "2"}), "packages: 'torch' is a required property"),
]


@pytest.mark.parametrize("change, message", OTHERWISE, ids=range(len(OTHERWISE)))
def test_provenance_that_says_something_else_is_an_error_that_names_it(path, change, message):
    meta = json.loads(meta_path(path).read_text())
    write_json(meta_path(path), change(meta))
    with pytest.raises(ValueError, match=message) as error:
        read_evidence(path, figure="toy/fig1", scale="laptop")
    assert "fig1.meta.json" in str(error.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_provenance_has_finite_numbers(path, number):
    text = meta_path(path).read_text()
    meta_path(path).write_text(text.replace('"wall_time_s": 1.0', f'"wall_time_s": {number}', 1))
    with pytest.raises(ValueError, match=r"wall_time_s: expected a finite number"):
        read_evidence(path)


def test_a_table_without_provenance_is_not_read(path):
    meta_path(path).unlink()
    with pytest.raises(FileNotFoundError, match=r"fig1\.meta\.json"):
        read_evidence(path)


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"figure": "toy/fig2"}, "the figure: the provenance says fig1, the .* is of fig2"),
        ({"figure": "other/fig1"}, "the paper: the provenance says other, toy, the .* is of toy"),
        ({"scale": "paper"}, "the scale: the provenance says laptop, the .* is of paper"),
        ({"conditions": ["depth"]}, "lacks the column 'depth'"),
    ],
)
def test_a_table_is_of_what_is_asked_for(path, asked, message):
    with pytest.raises(ValueError, match=message):
        read_evidence(path, **asked)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_program_writes_a_value_that_is_not_finite(tmp_path, value):
    rows = [{"paper": "toy", "run": "r", "seed": 0, "measure": "m", "value": value}]
    with pytest.raises(ValueError, match=r"t\.csv: expected finite values, got 1 .*run r, seed 0"):
        write_table(tmp_path / "t.csv", tidy(rows), {})
    assert not list(tmp_path.iterdir())


def test_only_who_counts_them_reads_values_that_are_not_finite(path):
    path.write_text(path.read_text().replace("1.5", "inf"))
    assert (read_table(path, finite=False)["value"] == math.inf).sum() == 2


ROW = ledger_row()
LEDGERS = [
    ({}, "top level: {} is not of type 'array'"),
    ([[]], r"0: \[\] is not of type 'object'"),
    *(([{k: v for k, v in ROW.items() if k != key}], f"0: '{key}' is a required") for key in ROW),
    ([ROW, ROW | {"verdict": "true"}], r"1\.verdict: unknown value 'true'"),
    ([ROW | {"estimate": "1.0"}], r"0\.estimate: '1.0' is not of type 'number', 'null'"),
    ([ROW | {"n": 1.5}], r"0\.n: 1.5 is not of type"),
    ([ROW | {"scale": "lap"}], r"0\.scale: unknown value 'lap' \(did you mean 'laptop'"),
    ([ROW | {"table": "fig1"}], r"0\.table: 'fig1' does not match"),
    ([ROW | {"estmate": 1.0}], r"0: unknown key 'estmate' \(did you mean 'estimate'"),
]


@pytest.mark.parametrize("content, message", LEDGERS, ids=range(len(LEDGERS)))
def test_a_ledger_lacks_nothing(tmp_path, content, message):
    write_json(tmp_path / "ledger.json", content)
    with pytest.raises(ValueError, match=message) as error:
        read_ledger(tmp_path / "ledger.json")
    assert "ledger.json, a ledger, is not valid" in str(error.value)


def test_the_published_ledgers_lack_nothing():
    for path in REFERENCE.glob("*/ledger.json"):
        assert read_ledger(path)


COSTLY = "paper\tfigure\tjobs\tcore_minutes\n"
COSTS = {
    "": "is not a table of costs",
    "paper\tfigure\tjobs\n": "expected rows with the columns paper, figure, jobs, core_min",
    COSTLY: "got 0 with",
    f"{COSTLY}a\tb\t1\tnan\n": "line 2: expected a number of at least 0",
    f"{COSTLY}a\tb\t1\t-2\n": "line 2: expected a number .* got '-2'",
    f"{COSTLY}a\tb\t1\tmuch\n": "in the column 'core_minutes', got 'much'",
    f"{COSTLY}\tb\t1\t2\n": "expected a name in the column 'paper'",
}


@pytest.mark.parametrize("text", COSTS, ids=range(len(COSTS)))
def test_costs_lack_nothing(tmp_path, text):
    (tmp_path / "costs.tsv").write_text(text)
    with pytest.raises(ValueError, match=COSTS[text]):
        read_costs(tmp_path / "costs.tsv")
    with pytest.raises(ValueError, match=r"costs\.tsv"):
        read_jobs(tmp_path / "costs.tsv")


def test_published_costs_lack_nothing():
    assert isinstance(read_costs(REFERENCE / "laptop" / "costs.tsv"), pd.DataFrame)
    assert isinstance(read_jobs(REFERENCE / "laptop" / "jobs.tsv"), pd.DataFrame)


def test_a_plot_reads_what_its_table_s_provenance_says(tmp_path):
    source = REFERENCE / "laptop/tables/lejeune2024/fig2_penalties.csv"
    for one in (source, meta_path(source)):
        shutil.copy(one, tmp_path / one.name.replace("fig2_penalties", "table"))
    path = tmp_path / "table.csv"
    draw.draw("lejeune2024/fig2_penalties", path)
    with pytest.raises(ValueError, match="lacks the column 'dataset'"):
        draw.draw("lejeune2024/c1_sample_ratios", path)
    path.write_text(path.read_text().replace("lejeune2024", "lou2022"))
    with pytest.raises(ValueError, match="was changed or cut short after it was written"):
        draw.draw("lejeune2024/fig2_penalties", path)


AXES = {"steps": ("step",), "images": ("step", "y", "x"), "names": ("name",)}
ARRAYS = {
    "steps": np.arange(2),
    "images": np.zeros((2, 3, 4), np.float16),
    "names": np.array(["a", "b"]),
    "more": np.zeros(7),
}
OTHER_ARRAYS = [
    ({"images": np.zeros((3, 3, 4))}, r"images: expected 2 along 'step', as in steps, got 3"),
    ({"images": np.zeros((2, 3))}, r"images: expected the axes \(step, y, x\), got the shape"),
    ({"images": np.zeros((2, 0, 4))}, "images: expected some along 'y', .* got 0"),
    ({"images": np.full((2, 3, 4), np.nan)}, "images: expected finite numbers, got 24 that"),
    ({"images": np.full((2, 3, 4), np.inf, np.float16)}, "got 24 that are not"),
    ({"images": np.zeros((2, 3, 4), complex)}, "expected numbers or names, got the type complex"),
    ({"steps": np.array([{}, {}])}, "is not a file of named arrays"),
    ({"steps": np.float64(1)}, r"steps: expected the axes \(step\), got the shape \(\)"),
    ({"names": np.array([b"a", b"b"])}, "expected numbers or names, got the type"),
]


def test_arrays_are_those_that_the_figure_declares(tmp_path):
    np.savez(tmp_path / "fig.npz", **ARRAYS)
    assert list(draw.read_arrays(tmp_path / "fig.npz", AXES)) == list(AXES)


@pytest.mark.parametrize("change, message", OTHER_ARRAYS, ids=range(len(OTHER_ARRAYS)))
def test_other_arrays_are_an_error_that_names_them(tmp_path, change, message):
    np.savez(tmp_path / "fig.npz", **(ARRAYS | change))
    with pytest.raises(ValueError, match=message) as error:
        draw.read_arrays(tmp_path / "fig.npz", AXES)
    assert "fig.npz" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"none", "unnamed", "cut"])
def test_damaged_arrays_are_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "fig.npz"
    if content == "unnamed":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(2))
    elif content == "cut":
        np.savez(path, **ARRAYS)
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"fig\.npz is not a file of named arrays"):
        draw.read_arrays(path, AXES)


@pytest.mark.parametrize(
    "name, message",
    [
        ("jiont/fig1", r"unknown paper 'jiont' \(did you mean 'joint'"),
        ("joint/both_instrument", r"unknown figure 'both_instrument' \(did you mean 'both_in"),
    ],
)
def test_a_caption_is_of_a_figure_that_there_is(tmp_path, name, message):
    write_json(tmp_path / "ledger.json", [])
    options = {"papers": ROOT / "papers", "schemas": ROOT / "workflow/schemas", "scale": "smoke"}
    options |= {"ledger": tmp_path / "ledger.json", "out": tmp_path, "tables": f"{name}.csv"}
    with pytest.raises(ValueError, match=message):
        captions.main([f"--{option}={value}" for option, value in options.items()])
