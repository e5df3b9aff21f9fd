import csv
import json

import pytest
import yaml
from made_up import provenance

from conftest import ROOT
from feature_alignment.audit import criteria, ledger
from feature_alignment.audit.criterion import Column, Measure, Question, Range
from feature_alignment.storage import write_json
from feature_alignment.tables import meta_path, read_table, tidy, write_table

SCHEMA = ROOT / "workflow" / "schemas" / "claims.schema.yaml"

CLAIM = {
    "id": "toy.fig1.rises",
    "class": "paper",
    "statement": "m < 1 & rises.",
    "source": {"place": "figure 1", "certainty": "memory"},
    "untrained": "contrast",
    "kind": "trend",
    "evidence": {"table": "toy/fig1", "where": "noise == 0"},
    "test": {"criterion": "increases", "x": "epoch", "y": "m"},
    "needs": "laptop",
}


SEEDS = 3


def of(seed):
    return {"paper": "toy", "run": "r", "seed": seed, "noise": 0}


@pytest.fixture
def audit(tmp_path):
    """Run the audit on changed claims and return the ledger's rows."""
    rows = [
        {"epoch": epoch, "measure": "m", "value": epoch * (1 + 0.01 * seed)} | of(seed)
        for seed in range(SEEDS)
        for epoch in range(3)
    ]
    write_table(tmp_path / "toy" / "fig1.csv", tidy(rows, ["noise"]), {})

    def run(*changes, scale="laptop", table="toy/fig1.csv", options=()):
        path = tmp_path / table
        if path.exists():
            write_json(meta_path(path), provenance(read_table(path), path.stem, scale))
        claims = tmp_path / "toy" / "claims.yaml"
        claims.write_text(yaml.safe_dump([CLAIM | change for change in changes or [{}]]))
        ledger.main(
            ["--claims", str(claims), "--schema", str(SCHEMA), "--scale", scale]
            + ["--tables", str(tmp_path / table)]
            + [f"--{kind}={tmp_path / 'ledger'}.{kind}" for kind in ("json", "csv")]
            + list(options)
        )
        return json.loads((tmp_path / "ledger.json").read_text())

    run.path = tmp_path / "ledger.json"
    return run


def test_a_row_holds_the_verdict_and_its_evidence(audit, tmp_path, capsys):
    [row] = audit()
    assert {key: row[key] for key in ("id", "verdict", "n", "scale", "table")} == {
        "id": "toy.fig1.rises",
        "verdict": "supported",
        "n": 3,
        "scale": "laptop",
        "table": "toy/fig1",
    }
    assert row["estimate"] == pytest.approx(2.02)
    assert 0 < row["low"] < 2 < row["high"]
    assert (row["least"], row["most"]) == (0, None)
    assert row["values"] == pytest.approx([2.0, 2.02, 2.04])
    assert (row["seeds"], row["phase"], row["needed"]) == ("0 to 2", "exploration", None)
    assert row["q"] == row["p"] < 0.05
    assert row["asks"] == "m at the last epoch minus at the first epoch > 0; where noise == 0"
    assert len(row["table_sha256"]) == 64
    assert capsys.readouterr().out == "1 claim at scale laptop:\n  paper: 1 supported\n"


def test_the_claims_on_one_table_are_judged_alone_and_printed(audit, capsys):
    other = {"id": "toy.fig2.rises", "evidence": {"table": "toy/fig2"}}
    one_seed = {"id": "toy.fig1.one", "evidence": {"table": "toy/fig1", "where": "seed == 0"}}
    later = {"id": "toy.fig1.later", "needs": "paper", "class": "ours"}
    rows = audit({}, other, one_seed, later, options=["--only", "toy/fig1"])
    assert [row["id"] for row in rows] == ["toy.fig1.rises", "toy.fig1.one", "toy.fig1.later"]
    assert capsys.readouterr().out.splitlines() == [
        "toy.fig1.rises: supported, 2.02 (1.948 to 2.092), n = 3",
        "toy.fig1.one: open, 2, n = 1; the first look is at 3 seeds",
        "toy.fig1.later: not run; needs scale paper",
        "3 claims at scale laptop:",
        "  paper: 1 supported, 1 open",
        "  ours: 1 not run",
    ]
    with pytest.raises(ValueError, match="no claim rests on the table 'toy/fig3'; there are cl"):
        audit({}, options=["--only", "toy/fig3"])


def test_below_the_needed_scale_nothing_is_judged(audit):
    [row] = audit(scale="smoke")
    assert (row["verdict"], row["estimate"], row["low"], row["n"]) == ("not run", None, None, None)
    [row] = audit({"needs": "paper"})
    assert row["verdict"] == "not run"


def test_a_contradicted_claim_is_no_error(audit):
    test = {"criterion": "decreases", "x": "epoch", "y": "m"}
    where = {"table": "toy/fig1", "where": "epoch > 0"}
    [row] = audit({"test": test, "evidence": where})
    assert row["verdict"] == "contradicted"


def test_one_seed_is_open_and_has_no_interval(audit):
    [row] = audit({"evidence": {"table": "toy/fig1", "where": "seed == 0"}})
    assert (row["verdict"], row["low"], row["high"], row["n"]) == ("open", None, None, 1)
    assert row["needed"] == 3


CHECK = {
    "id": "toy.fig1.learns",
    "class": "check",
    "test": {"criterion": "at_least", "y": "m", "x": "epoch", "at": "last", "bound": 2.01},
}


def test_a_failed_check_makes_the_claims_on_its_runs_unfit(audit, monkeypatch):
    row, check = audit({}, CHECK)
    assert (check["verdict"], check["group"]) == ("contradicted", "seed 0")
    assert (row["verdict"], row["estimate"]) == ("unfit", None)
    assert row["reason"] == "run r fails toy.fig1.learns"
    row, check = audit({}, CHECK | {"test": CHECK["test"] | {"bound": 2}})
    assert (row["verdict"], check["verdict"]) == ("supported", "supported")
    row, _ = audit({"id": "toy.fig1.two", "class": "identity"}, CHECK)
    assert row["verdict"] == "supported"


def test_a_claim_is_judged_on_the_untrained_network_too(audit):
    test = {"criterion": "at_least", "y": "m", "x": "epoch", "at": "last", "bound": 1.5}
    untrained = {"test": {"at": "first"}}
    [row] = audit({"test": test, "untrained": untrained})
    assert (row["verdict"], row["untrained"]) == ("supported", "at first")
    assert row["beaten"] == {"untrained": {"holds": False, "beaten": True}}
    [row] = audit({"test": test, "untrained": untrained, "control": {"test": {"at": "last"}}})
    assert (row["verdict"], row["reason"]) == ("open", "it holds in the control too")
    [row] = audit({"test": test, "untrained": "not measured"})
    assert (row["verdict"], row["reason"]) == ("open", "the untrained network was not measured")
    [row] = audit({"test": test | {"bound": 9}, "untrained": "not measured"})
    assert row["verdict"] == "contradicted"


def test_seeds_from_100_on_confirm(audit, tmp_path):
    rows = [
        {"epoch": epoch, "measure": "m", "value": epoch * (1 + 0.01 * seed)} | of(100 + seed)
        for seed in range(4)
        for epoch in range(2)
    ]
    write_table(tmp_path / "toy" / "later.csv", tidy(rows, ["noise"]), {})
    evidence = {"table": "toy/later", "where": "noise == 0"}
    [row] = audit({"evidence": evidence}, table="toy/later.csv")
    assert (row["seeds"], row["phase"], row["verdict"]) == (
        "100 to 102",
        "confirmation",
        "supported",
    )
    assert row["reason"] == "3 of 4 seeds; the next look is at 5"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"evidence": {"table": "toy/fig2"}}, "the table toy/fig2 is missing"),
        ({"evidence": {"table": "toy/fig1", "where": "depth == 3"}}, "cannot select rows"),
        ({"evidence": {"table": "toy/fig1", "where": "noise == 1"}}, "no rows with measure"),
        ({"test": CLAIM["test"] | {"x": "stp"}}, "no column 'stp'; the table has: paper"),
        ({"test": CLAIM["test"] | {"y": "mm"}}, "no rows with measure 'mm'"),
        ({"test": CLAIM["test"] | {"criterion": "rises"}}, "unknown value 'rises'.*: increases, "),
        (
            {"test": CLAIM["test"] | {"min_chnge": 1}},
            r"unknown key 'min_chnge' \(did you mean 'min_change'\?\)",
        ),
        ({"test": CLAIM["test"] | {"over": "layer"}}, "over: 'layer' is not of type 'array'"),
        ({"test": CLAIM["test"] | {"start": "lst"}}, "start: 'lst' is not of type 'number'"),
        ({"needs": "laptp"}, r"unknown value 'laptp' \(did you mean 'laptop'\?\)"),
        ({"verdict": "supported"}, "unknown key 'verdict'"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_an_error_that_names_it(audit, change, message):
    with pytest.raises(ValueError, match=message):
        audit(change)


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_a_missing_column_is_an_error_at_every_scale(audit, scale):
    with pytest.raises(ValueError, match=r"toy\.fig1\.rises.*no column 'stp'"):
        audit({"test": CLAIM["test"] | {"x": "stp"}}, scale=scale)


def test_what_a_published_table_lacks_is_not_run(audit, capsys):
    newer = {"id": "toy.fig1.newer", "test": CLAIM["test"] | {"y": "mm"}}
    compared = {"id": "toy.fig1.compared", "untrained": {"test": {"y": "mm"}}}
    check = newer | {"id": "toy.fig1.check", "class": "check"}
    rows = audit({}, newer, compared, check, options=["--published", "--only", "toy/fig1"])
    told = [(row["verdict"], row["reason"]) for row in rows]
    assert told == [
        ("supported", None),
        ("not run", "not in the published table"),
        ("open", "the untrained network was not measured"),
        ("not run", "not in the published table"),
    ]
    line = "toy.fig1.newer: not run; not in the published table"
    assert line in capsys.readouterr().out.splitlines()
    with pytest.raises(ValueError, match=r"toy\.fig1\.compared.*no rows with measure 'mm'"):
        audit({}, compared)
    with pytest.raises(ValueError, match="the table toy/fig2 is missing"):
        audit({"evidence": {"table": "toy/fig2"}}, options=["--published"])


def test_claims_on_runs_that_have_not_finished_are_not_run(audit):
    later = {"id": "toy.fig2.rises", "evidence": {"table": "toy/fig2"}}
    waiting, judged = audit(later, {}, options=["--partial"])
    assert (waiting["id"], waiting["verdict"]) == ("toy.fig2.rises", "not run")
    assert (waiting["table"], waiting["table_sha256"]) == ("toy/fig2", "")
    assert ledger.remark(waiting) == "some run of its table has not finished"
    assert judged["verdict"] == "supported"
    assert len(ledger.read_ledger(audit.path)) == 2


def test_an_id_given_twice_is_an_error(audit):
    with pytest.raises(ValueError, match=r"'toy\.fig1\.rises' is given twice"):
        audit({}, {})


def test_a_function_under_the_decorator_is_all_that_a_criterion_needs(audit, monkeypatch):
    registry = dict(criteria.CRITERIA)
    monkeypatch.setattr(criteria, "CRITERIA", registry)
    monkeypatch.setattr(ledger, "CRITERIA", registry)

    @criteria.criterion
    def stays_within(rows, *, measure: Measure, limits: tuple[float, float], along: Column):
        """Judge that a measure stays within limits."""
        return Question(rows.placed(measure, along), Range(*limits), asked=measure)

    test = {"criterion": "stays_within", "measure": "m", "limits": [-1, 3], "along": "epoch"}
    evidence = {"table": "toy/fig1", "where": "epoch > 0"}
    [row] = audit({"test": test, "evidence": evidence})
    assert (row["verdict"], row["criterion"]) == ("equivalent", "stays_within")
    [row] = audit({"test": test | {"limits": [5, 6]}, "evidence": evidence})
    assert row["verdict"] == "contradicted"
    for option, value, message in [
        ("criterion", "stays_witin", r"unknown value 'stays_witin' \(did you mean 'stays_within'"),
        (
            "limit",
            [1, 2],
            r"unknown key 'limit' \(did you mean 'limits'\?\); allowed: along, band, crit",
        ),
        ("limits", [1], r"test\.limits: \[1\] is too short"),
        ("measure", "n", "no rows with measure 'n'; there are: m"),
        ("along", "depth", "no column 'depth'; the table has: paper"),
    ]:
        with pytest.raises(ValueError, match=message):
            audit({"test": test | {option: value}})


def test_a_misspelt_measure_is_an_error_below_the_needed_scale_too(audit):
    with pytest.raises(ValueError, match="no rows with measure 'mm'"):
        audit({"test": CLAIM["test"] | {"y": "mm"}}, scale="smoke")


def test_curves_that_never_cross_have_no_estimate(audit):
    test = {"criterion": "crosses", "first": "m", "second": "m", "x": "epoch", "between": [0, 1]}
    [row] = audit({"test": test})
    assert (row["verdict"], row["estimate"], row["low"]) == ("open", None, None)


def test_where_some_seeds_have_a_bound_alone_the_verdict_is_open(audit, tmp_path):
    rows = [
        {"epoch": 1, "measure": measure, "value": 5.0} | of(seed)
        for seed, measure in enumerate(["m"] * 12 + ["m_above", "other"])
    ]
    write_table(tmp_path / "toy" / "bounds.csv", tidy(rows, ["noise"]), {})
    evidence = {"table": "toy/bounds"}
    test = {"criterion": "at_least", "y": "m", "bound": 1, "x": "epoch"}
    options = {"table": "toy/bounds.csv"}
    [row] = audit({"evidence": evidence, "test": test}, **options)
    assert (row["verdict"], row["estimate"], row["low"]) == ("open", None, None)
    assert row["reason"] == "of m there is but a bound in seed 12"
    [row] = audit({"evidence": evidence | {"where": "seed < 12"}, "test": test}, **options)
    assert row["verdict"] == "supported"
    evidence_less = evidence | {"where": "seed != 12"}
    [row] = audit({"evidence": evidence_less, "test": test}, **options)
    assert (row["verdict"], row["reason"]) == ("unfit", "seed 13 of run r lacks m")
    [row] = audit({"evidence": evidence, "test": test}, scale="smoke", **options)
    assert row["verdict"] == "not run"
    with pytest.raises(ValueError, match="no rows with measure 'm_over'"):
        audit({"evidence": evidence, "test": test | {"y": "m_over"}}, **options)


def test_no_cell_of_the_csv_is_a_formula_and_the_json_is_as_said(audit, tmp_path):
    said = '=HYPERLINK("http://example.org")'
    [row] = audit({"statement": said, "note": "@SUM(A1)"})
    assert (row["statement"], row["note"]) == (said, "@SUM(A1)")
    [cells] = csv.DictReader((tmp_path / "ledger.csv").read_text().splitlines())
    assert (cells["statement"], cells["note"]) == (f"'{said}", "'@SUM(A1)")
    assert cells["id"] == "toy.fig1.rises"
