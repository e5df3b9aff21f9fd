"""Every column and measure that a table, a claim or a probe has is in the glossary."""

import csv
import re
from fnmatch import fnmatchcase
from functools import cache

import pytest

from conftest import ROOT
from feature_alignment.audit.claims import CLASSES
from feature_alignment.audit.criterion import VERDICTS
from feature_alignment.run.spec import SCALES
from feature_alignment.tables import COLUMNS

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
TABLES = sorted((ROOT / "reference").glob("*/tables/*/*.csv"))
RUNS = {path.parent: path for path in (ROOT / "reference").glob("*/runs/*/*/*.csv")}.values()
"""One seed of each run."""


def terms(title):
    """Return the names in the first column of the tables under a heading, with those below it."""
    level = re.search(rf"^(#+) {title}$", GLOSSARY, re.M)
    _, _, section = GLOSSARY.partition(level[0])
    section = re.split(rf"^#{{1,{len(level[1])}}} ", section, maxsplit=1, flags=re.M)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    return [name for cell in cells for name in re.findall("`([^`]+)`", cell)]


@cache
def found_in_tables():
    columns, measured = set(), set()
    for path in [*TABLES, *RUNS]:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            names = next(rows)
            columns |= set(names)
            place = names.index("measure")
            measured |= {row[place] for row in rows}
    return columns, measured


def is_known(name, known):
    return any(fnmatchcase(name, pattern) for pattern in known)


def test_every_measure_of_a_published_table_is_in_the_glossary():
    _, measured = found_in_tables()
    assert len(measured) > 200
    assert sorted(name for name in measured if not is_known(name, terms("Measures"))) == []


def test_every_measure_of_a_claim_is_in_the_glossary():
    text = "\n".join(path.read_text() for path in (ROOT / "papers").glob("*/claims.yaml"))
    named = set(re.findall(r"\by: ([a-z][a-z0-9_]+)\b", text))
    assert len(named) > 80
    assert sorted(name for name in named if not is_known(name, terms("Measures"))) == []


def test_every_measure_that_an_instrument_reads_is_in_the_glossary():
    package = ROOT / "src" / "feature_alignment"
    files = [path for part in ("measures", "probes") for path in (package / part).glob("*.py")]
    named = {
        name for path in files for name in re.findall(r'Reading\(\s*"(\w+)"', path.read_text())
    }
    functions = {"effective_rank", "trace_ratio", "label_energy", "path_norm", "frobenius_product"}
    assert len(named) > 10
    assert sorted(n for n in named | functions if not is_known(n, terms("Measures"))) == []


def test_every_column_is_in_the_glossary():
    columns, _ = found_in_tables()
    assert {*COLUMNS} <= columns
    assert sorted(columns - set(terms("Columns"))) == []


def test_no_entry_is_given_twice_or_takes_everything():
    for title in ("Columns", "Measures"):
        names = terms(title)
        assert len(names) == len(set(names)), {n for n in names if names.count(n) > 1}
        assert all(len(name.replace("*", "")) > 3 or "*" not in name for name in names)


@pytest.mark.parametrize("word", [*CLASSES, *SCALES])
def test_classes_and_scales_are_terms(word):
    assert f"`{word}`" in GLOSSARY


def test_the_verdicts_are_those_of_the_ledger():
    [line] = re.findall(r"^\| verdict \| (.*) \|$", GLOSSARY, re.M)
    assert set(re.split(", | or ", line)) == set(VERDICTS)
