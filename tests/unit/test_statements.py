import pytest
import yaml

from conftest import ROOT
from feature_alignment.audit.claims import read_claims
from feature_alignment.publish.statements import reached, read_statements, statement_table
from feature_alignment.run.spec import figure_titles

SCHEMA = ROOT / "workflow" / "schemas" / "claims.schema.yaml"


@pytest.fixture(scope="module")
def claims():
    return read_claims(sorted((ROOT / "papers").glob("*/claims.yaml")), SCHEMA)


@pytest.fixture(scope="module")
def statements():
    return read_statements(ROOT / "papers")


def unreached(claims, statements):
    """Return the claims of class paper that no statement of their own paper names."""
    of = {paper: [c["id"] for c in claims if c["paper"] == paper] for paper in statements}
    found = {
        name for paper, own in statements.items() for s in own for name in reached(s, of[paper])
    }
    return [c["id"] for c in claims if c["class"] == "paper" and c["id"] not in found]


def test_every_claim_of_a_paper_comes_from_something_it_says(claims, statements):
    assert unreached(claims, statements) == []


def test_a_claim_from_nowhere_would_be_seen(claims, statements):
    stray = {"id": "lou2022.e9.stray", "class": "paper", "paper": "lou2022"}
    assert unreached([*claims, stray], statements) == ["lou2022.e9.stray"]


def test_every_pattern_and_figure_that_a_statement_names_exists(claims, statements):
    titles = figure_titles((ROOT / "papers").glob("*/paper.yaml"))
    ids = [claim["id"] for claim in claims]
    for paper, own in statements.items():
        for statement in own:
            for pattern in statement.get("claims", ()):
                assert reached({"claims": [pattern]}, ids), (paper, pattern)
            for figure in statement.get("figures", ()):
                key, name = figure.split("/")
                assert name in titles[key]


def test_every_figure_of_a_paper_is_named(claims, statements):
    """But for figures that claims of ours alone rest on, such as controls."""
    tables = {claim["id"]: claim["evidence"]["table"] for claim in claims}
    for paper, figures in figure_titles((ROOT / "papers").glob("*/paper.yaml")).items():
        if paper in statements:
            shown = {f for s in statements[paper] for f in s.get("figures", ())}
            shown |= {tables[name] for s in statements[paper] for name in reached(s, tables)}
            ours = {claim["evidence"]["table"] for claim in claims if claim["class"] == "ours"}
            assert {f"{paper}/{figure}" for figure in figures} - ours <= shown


def test_every_paper_has_its_list_but_the_joint_page(statements):
    assert set(statements) == {path.parent.name for path in ROOT.glob("papers/*/paper.yaml")} - {
        "joint"
    }


def test_the_table_tells_figures_verdicts_and_reasons():
    statements = [
        {"place": "abstract", "certainty": "text", "says": "a | b", "claims": ["toy.fig1.*"]},
        {"place": "figure 2", "certainty": "memory", "says": "c", "reason": "not at hand"},
    ]
    row = {"id": "toy.fig1.rises", "table": "toy/fig1", "class": "paper", "verdict": "open"}
    other = row | {"id": "toy.fig10", "table": "toy/fig10"}
    _, _, first, second = statement_table(statements, [row, other]).splitlines()
    assert first == (r"| abstract | a \| b | text | `toy/fig1` | toy.fig1.\*<br>paper: 1 open |")
    assert second == "| figure 2 | c | memory |  | not at hand |"
    assert "1 supported" in statement_table(statements, [row | {"verdict": "supported"}])
    assert "not judged yet" in statement_table(statements, [other])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"claims": ["a b"]}, "does not match"),
        ({"certainty": "ours"}, "unknown value 'ours'"),
        ({"claims": None}, "None is not of type|required"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path, change, message):
    schemas = tmp_path / "workflow" / "schemas"
    schemas.mkdir(parents=True)
    (schemas / "statements.schema.yaml").write_text(
        (ROOT / "workflow" / "schemas" / "statements.schema.yaml").read_text()
    )
    folder = tmp_path / "papers" / "toy"
    folder.mkdir(parents=True)
    statement = {"place": "abstract", "certainty": "text", "says": "a", "claims": ["toy.a"]}
    path = folder / "statements.yaml"
    path.write_text(yaml.safe_dump([statement]))
    assert read_statements(tmp_path / "papers") == {"toy": [statement]}
    path.write_text(yaml.safe_dump([statement | change]))
    with pytest.raises(ValueError, match=message):
        read_statements(tmp_path / "papers")
