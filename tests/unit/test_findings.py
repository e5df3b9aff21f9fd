"""Findings stand under the heading that the ledger gives them, with numbers of the tables."""

import copy
import re

import pytest
import yaml
from made_up import ledger_row

from conftest import ROOT
from feature_alignment.audit.ledger import read_ledger
from feature_alignment.publish import findings, quotes
from feature_alignment.run.spec import figure_titles

FOUND = findings.read_findings(ROOT / "papers")
PAIRS = [(paper, finding) for paper, own in FOUND.items() for finding in own]
REFERENCE = ROOT / "reference"


def name_of(part):
    return part["title"] if isinstance(part, dict) else part


@pytest.fixture(scope="module")
def ledger():
    return {row["id"]: row for row in read_ledger(REFERENCE / "laptop" / "ledger.json")}


@pytest.mark.parametrize("paper, finding", PAIRS, ids=name_of)
def test_what_is_said_to_stand_or_fall_does_so_in_the_ledger(paper, finding, ledger):
    rows = findings.rows_of(finding, ledger)
    assert findings.standing(rows) == finding["standing"], {r["id"]: r["verdict"] for r in rows}
    assert {row["paper"] for row in rows} == {paper}


@pytest.mark.parametrize("paper, finding", PAIRS, ids=name_of)
def test_every_number_comes_from_a_table(paper, finding):
    assert finding["figure"] in figure_titles((ROOT / "papers").glob("*/paper.yaml"))[paper]
    typed = re.sub(r"\{[^}]*\}", "", f"{finding['title']} {finding['says']}")
    assert quotes.check(typed, [], REFERENCE) == []


def test_every_paper_with_verdicts_has_one_line_in_the_readme(ledger):
    assert {paper for paper, finding in PAIRS if finding.get("first")} == set(FOUND)
    assert sum(finding.get("first", False) for _, finding in PAIRS) == len(FOUND)
    assert set(FOUND) == {row["paper"] for row in ledger.values()}


@pytest.mark.parametrize(
    "verdicts, expected",
    [
        (["supported", "equivalent"], "stands"),
        (["contradicted"], "falls"),
        (["open", "at threshold", "unfit", "not run"], "open"),
        (["supported", "open"], None),
        (["supported", "contradicted"], None),
    ],
)
def test_what_verdicts_amount_to(verdicts, expected):
    assert findings.standing([{"verdict": verdict} for verdict in verdicts]) == expected


FINDING = {
    "title": "It rises",
    "standing": "stands",
    "says": "It rises a lot.",
    "claims": ["toy.fig1.m"],
    "figure": "fig1",
    "shows": 'a "rise"',
    "first": True,
}


def told(verdict, finding=FINDING):
    rows = {"toy.fig1.m": ledger_row(verdict=verdict, estimate=1.5, n=3, seeds="100 to 102")}
    pages = {"toy": "Toys (A & B)"}
    own = {"toy": [finding]}
    line = findings.in_short(own, pages, rows, REFERENCE, "")
    return line, findings.chapters(own, pages, rows, REFERENCE, "reference/laptop", "../")


def test_a_finding_has_its_heading_picture_claims_and_table():
    line, page = told("supported")
    assert line == (
        "- *Stands:* **It rises.** It rises a lot. ([Toys (A \\& B)](papers/toy/README.md))\n"
    )
    assert page.startswith("## What stands\n\n### It rises\n\nIt rises a lot.\n\n[<img src=")
    assert "../reference/laptop/thumbnails/toy/fig1.png" in page
    assert "](../reference/laptop/pictures/toy/fig1.png)" in page
    assert 'alt="a &quot;rise&quot;"' in page
    link = "[`toy.fig1.m`](../papers/toy/README.md#claim-toy.fig1.m)"
    assert f"- It rises. {link}: **supported**: 1.5, 3 seeds\n" in page
    assert "(../reference/laptop/tables/toy/fig1.csv)" in page
    assert "(../reference/laptop/tables/toy/fig1.meta.json)" in page


@pytest.mark.parametrize(
    "verdict, heading", [("contradicted", "What falls"), ("open", "What is open")]
)
def test_words_written_for_another_verdict_are_not_shown(verdict, heading):
    line, page = told(verdict)
    assert "a lot" not in line + page
    assert page.startswith(f"## {heading}\n\n### It rises\n\nIt rises. (*{verdict}*)\n")
    assert f"It rises. (*{verdict}*)" in line


def test_a_changed_verdict_in_the_ledger_moves_a_finding(ledger):
    other = copy.deepcopy(ledger)
    [first] = [one for one in FOUND["joint"] if one.get("first")]
    for claim in first["claims"]:
        other[claim]["verdict"] = "supported"
    text = findings.in_short(FOUND, dict.fromkeys(FOUND, "page"), other, REFERENCE, "")
    assert f"- *Stands:* **{first['title']}.**" in text


def test_an_unknown_claim_is_an_error():
    with pytest.raises(ValueError, match=r"'It rises': unknown claim 'toy.fig1.m' .did you mean"):
        findings.rows_of(FINDING, {"toy.fig1.n": ledger_row()})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"standing": "holds"}, "unknown value 'holds'"),
        ({"clams": []}, "unknown key 'clams'"),
        ({"numbers": [{"claim": "toy.fig1.m", "feild": "n"}]}, "findings.yaml is not valid"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path, change, message):
    schemas = tmp_path / "workflow" / "schemas"
    schemas.mkdir(parents=True)
    for name in ("findings", "quotes"):
        path = ROOT / "workflow" / "schemas" / f"{name}.schema.yaml"
        (schemas / path.name).write_text(path.read_text())
    folder = tmp_path / "papers" / "toy"
    folder.mkdir(parents=True)
    path = folder / "findings.yaml"
    path.write_text(yaml.safe_dump([FINDING]))
    assert findings.read_findings(tmp_path / "papers") == {"toy": [FINDING]}
    path.write_text(yaml.safe_dump([FINDING | change]))
    with pytest.raises(ValueError, match=message):
        findings.read_findings(tmp_path / "papers")
