import pytest
from PIL import Image

from conftest import ROOT
from feature_alignment.audit import documents
from feature_alignment.spec import read_yaml
from feature_alignment.storage import read_json, sha256, write_json
from feature_alignment.tables import meta_path

PUBLISHED = "reference/laptop"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "papers").glob("*.md"))]


@pytest.fixture
def ledger():
    return read_json(ROOT / PUBLISHED / "ledger.json")


def filled(text, ledger):
    titles = read_yaml(ROOT / "config" / "figures.yaml")
    return documents.fill(text, ledger, titles, PUBLISHED)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_generated_parts_are_those_of_the_published_ledger(path, ledger):
    text = path.read_text()
    assert "<!-- generated: " in text
    assert filled(text, ledger) == text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_changed_verdict_or_number_would_be_seen(path, ledger):
    paper = path.stem if path.stem != "README" else ledger[0]["paper"]
    row = next(row for row in ledger if row["paper"] == paper and row["estimate"] is not None)
    row["verdict"] = "inconclusive"
    row["estimate"] = 123.0
    assert filled(path.read_text(), ledger) != path.read_text()


def test_the_published_tables_are_those_that_were_judged(ledger):
    for row in ledger:
        table = ROOT / PUBLISHED / "tables" / f"{row['table']}.csv"
        assert sha256(table) == row["table_sha256"]
        assert meta_path(table).is_file()


def test_a_rehearsal_is_not_published(tmp_path, ledger):
    write_json(tmp_path / "ledger.json", [row | {"scale": "smoke"} for row in ledger])
    nothing = ["--figures", "x", "--tables", "x", "--titles", "x", "--documents", "x"]
    paths = ["--ledger", str(tmp_path / "ledger.json"), "--published", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="smoke is only a rehearsal"):
        documents.main([*paths, *nothing])
    assert not (tmp_path / "out").exists()


def test_every_thumbnail_is_there():
    for paper, figures in read_yaml(ROOT / "config" / "figures.yaml").items():
        for figure in figures:
            with Image.open(ROOT / PUBLISHED / "thumbnails" / paper / f"{figure}.png") as image:
                assert image.width == documents.THUMBNAIL_WIDTH


def test_the_published_ledger_has_every_claim(ledger):
    claims = [claim for path in (ROOT / "claims").glob("*.yaml") for claim in read_yaml(path)]
    stated = {claim["id"]: claim["statement"] for claim in claims}
    assert {row["id"]: row["statement"] for row in ledger} == stated


def test_contradicted_claims_come_first(ledger):
    table = documents.claim_table(ledger)
    verdicts = [line.split("|")[1].split("(")[0].strip() for line in table.splitlines()[2:]]
    order = ["contradicted", "inconclusive", "supported", "not run"]
    assert verdicts == sorted(verdicts, key=order.index)
    assert len(verdicts) == len(ledger)


def test_an_unknown_part_is_an_error(ledger):
    text = "<!-- generated: figurs -->\n<!-- end: figurs -->\n"
    with pytest.raises(ValueError, match="unknown generated part 'figurs'"):
        filled(text, ledger)
