"""Instruments on networks that people use, against torch.func.jacrev, and the page that says so."""

import math

import pytest

import networks
from conftest import ROOT
from networks import CASES, worst_errors

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # of the oracle
    pytest.mark.filterwarnings("ignore:enable_nested_tensor"),
]
PAGE = ROOT / "docs" / "networks.md"


def told(line):
    """The counts and the errors of a line of the table."""
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    return list(map(int, cells[1:5])), [float(cell) if cell else math.nan for cell in cells[5:]]


@pytest.mark.parametrize("case", CASES)
def test_instruments_equal_jacobians_and_the_page(case):
    errors, methods = worst_errors(case)
    assert all(math.isnan(error) or error < 1e-10 for error in errors.values())
    [line] = [line for line in networks.block(PAGE.read_text()) if line.startswith(f"| {case} |")]
    counts, published = told(line)
    ways = [method.partition(":")[0] for method in methods.values()]
    kinds = ("rule", "vmap", "one")
    assert counts == [len(ways), *(sum(way.startswith(k) for way in ways) for k in kinds)]
    for error, known in zip(errors.values(), published, strict=True):
        assert math.isnan(error) == math.isnan(known)
        # Rounding is another on another machine, by a digit or two
        assert math.isnan(error) or known / 100 <= max(error, 1e-16) <= max(known, 1e-16) * 100


def test_the_page_has_every_case_and_no_other():
    rows = networks.block(PAGE.read_text())[2:]
    assert [row.split("|")[1].strip() for row in rows] == list(CASES)
