"""The published tables that quickstart agrees with: all of them, small, and made by one commit."""

import pytest

from conftest import ROOT
from feature_alignment.publish.rounding import Tolerances
from feature_alignment.run.spec import figure_titles
from feature_alignment.storage import read_json
from feature_alignment.tables import read_meta

FOLDER = ROOT / "reference" / "smoke"
TABLES = sorted((FOLDER / "tables").glob("*/*.csv"))
FIGURES = {
    f"{paper}/{figure}"
    for paper, titles in figure_titles((ROOT / "papers").glob("*/paper.yaml")).items()
    for figure in titles
}
REMEDY = "make publish-smoke"


def test_every_figure_has_a_table_with_tolerances():
    assert {f"{path.parent.name}/{path.stem}" for path in TABLES} == FIGURES, REMEDY
    tolerances = Tolerances.read(FOLDER)
    assert tolerances.tables() == FIGURES
    compared = {name for name in FIGURES if tolerances.compared(name)}
    page = (FOLDER / "README.md").read_text()
    assert all(name in page for name in FIGURES - compared)


def test_they_are_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 3e6


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_their_provenance_says_what_quickstart_compares(path):
    meta = read_meta(path)
    for made in (meta, *meta["runs"]):
        assert made["git"]["dirty"] is False, REMEDY
    assert all(made["processor"] for made in meta["runs"])
    assert all({"torch", "numpy", "scipy"} <= set(made["packages"]) for made in meta["runs"])


def test_the_ledger_is_of_the_same_scale():
    assert {row["scale"] for row in read_json(FOLDER / "ledger.json")} == {"smoke"}
