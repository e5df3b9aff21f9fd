import importlib.util

import pytest

from conftest import ROOT
from feature_alignment.audit.criteria import CRITERIA
from feature_alignment.audit.looks import ERROR

EXPERIMENTS = 400
SLACK = 3 * (ERROR * (1 - ERROR) / EXPERIMENTS) ** 0.5
"""Three standard errors of a share of 5 % among so many experiments."""


@pytest.fixture(scope="module")
def coverage():
    path = ROOT / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_of_verdicts", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_criterion_has_a_null(coverage):
    assert {name for name, _ in coverage.NULLS.values()} == set(CRITERIA)


FAST = ("increases", "peaks, placed by others", "rank_correlates", "comes_earlier", "at_least")


@pytest.mark.parametrize("row", [*FAST, "at_least, Fisher's z", "equals", "agree", "widens"])
def test_what_is_not_true_is_seldom_supported_however_often_looked(coverage, row):
    name, null = coverage.NULLS[row]
    rates, _ = coverage.false_support(name, null, EXPERIMENTS, seed=0)
    assert rates == sorted(rates)
    assert len(rates) == 6
    assert rates[-1] <= ERROR + SLACK


def test_without_spending_looks_add_up(coverage):
    name, null = coverage.NULLS["at_least"]
    rates, naive = coverage.false_support(name, null, EXPERIMENTS, seed=0)
    assert naive > ERROR + SLACK
    assert rates[-1] < naive


def test_a_share_of_groups_that_go_together_is_seldom_supported_wrongly(coverage):
    assert coverage.conjunction(2000, seed=0)[-1] <= ERROR
