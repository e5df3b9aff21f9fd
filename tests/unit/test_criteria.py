import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from feature_alignment.audit import criteria
from feature_alignment.audit.criterion import (
    CONTRADICTED,
    INCONCLUSIVE,
    SUPPORTED,
    Column,
    Correlation,
    Measure,
    Place,
)
from feature_alignment.tables import tidy

LAYERS = ("linear1", "linear2")


def table(curves, seeds=3, spread=0.01):
    """Rows of {measure: [value at epoch 0, 1, …]}, alike in two layers, seeds a little apart."""
    return tidy(
        {
            "seed": seed,
            "epoch": epoch,
            "layer": layer,
            "measure": measure,
            "value": value + spread * (seed - 1) * (1 + epoch),
        }
        for measure, values in curves.items()
        for epoch, value in enumerate(values)
        for layer in LAYERS
        for seed in range(seeds)
    )


RISING, FALLING, FLAT = [0.2, 0.5, 0.8], [0.8, 0.5, 0.2], [0.5, 0.5, 0.5]
HILL, VALLEY = [0.2, 0.8, 0.3], [0.8, 0.2, 0.7]
BY_LAYER = {"x": "epoch", "over": ["layer"]}

# criterion, options, a table that it must support, one that it must contradict
CASES = [
    ("increases", {"y": "m", **BY_LAYER}, {"m": RISING}, {"m": FALLING}),
    ("increases", {"y": "m", "min_change": 0.5, **BY_LAYER}, {"m": RISING}, {"m": [0.2, 0.3, 0.4]}),
    ("increases", {"y": "m", "start": 1, **BY_LAYER}, {"m": [9, 0.1, 0.9]}, {"m": [0, 0.9, 0.1]}),
    ("increases", {"y": "m", "min_factor": 3, **BY_LAYER}, {"m": RISING}, {"m": FLAT}),
    ("increases", {"y": "m", "to": "highest", **BY_LAYER}, {"m": HILL}, {"m": FALLING}),
    ("decreases", {"y": "m", "min_factor": 2, **BY_LAYER}, {"m": FALLING}, {"m": FLAT}),
    (
        "decreases",
        {"y": "m", "min_factor": 2, "to": "lowest", **BY_LAYER},
        {"m": VALLEY},
        {"m": RISING},
    ),
    ("peaks", {"y": "m", "min_change": 0.2, **BY_LAYER}, {"m": HILL}, {"m": RISING}),
    ("peaks", {"y": "m", "min_factor": 2, **BY_LAYER}, {"m": HILL}, {"m": FALLING}),
    ("peaks", {"y": "m", "start": 1, **BY_LAYER}, {"m": [9, *HILL]}, {"m": [0, *VALLEY]}),
    ("dips", {"y": "m", "min_change": 0.2, **BY_LAYER}, {"m": VALLEY}, {"m": FALLING}),
    ("dips", {"y": "m", "min_factor": 2, **BY_LAYER}, {"m": VALLEY}, {"m": HILL}),
    (
        "rank_correlates",
        {"y": "m", "bound": 0.9, **BY_LAYER},
        {"m": RISING},
        {"m": [0.2, 0.8, 0.5]},
    ),
    (
        "exceeds",
        {"greater": "a", "lesser": "b", "at": "last", **BY_LAYER},
        {"a": [0, 0, 1], "b": FLAT},
        {"a": [1, 1, 0], "b": FLAT},
    ),
    (
        "exceeds",
        {"greater": "a", "lesser": "b", "at": "first", **BY_LAYER},
        {"a": [1, 0, 0], "b": FLAT},
        {"a": [0, 1, 1], "b": FLAT},
    ),
    (
        "exceeds",
        {"greater": "a", "lesser": "b", "at": "all", "margin": 0.2, **BY_LAYER},
        {"a": [0.9, 0.9, 0.9], "b": FLAT},
        {"a": [0.9, 0.6, 0.9], "b": FLAT},
    ),
    ("at_least", {"y": "m", "bound": 0.4, **BY_LAYER}, {"m": FLAT}, {"m": RISING}),
    ("at_least", {"y": "m", "bound": 0.6, "at": 2, **BY_LAYER}, {"m": RISING}, {"m": FALLING}),
    ("at_most", {"y": "m", "bound": 0.6, **BY_LAYER}, {"m": FLAT}, {"m": RISING}),
    ("at_most", {"y": "m", "bound": 0.4, "at": 2, **BY_LAYER}, {"m": FALLING}, {"m": RISING}),
    (
        "equals",
        {"y": "m", "expected": 0.5, "tolerance": 0.1, "at": "all", **BY_LAYER},
        {"m": FLAT},
        {"m": FALLING},
    ),
]
EXACT_CASES = [
    (
        "equals",
        {"y": "m", "expected": 0.5, "tolerance": 1e-6, "x": "epoch", "at": 1},
        {"m": RISING},
        {"m": [0.5, 0.6, 0.5]},
    ),
    (
        "agree",
        {"first": "a", "second": "b", "tolerance": 1e-9, "x": "epoch"},
        {"a": RISING, "b": RISING},
        {"a": RISING, "b": [0.2, 0.5, 0.9]},
    ),
    (
        "crosses",
        {"first": "a", "second": "b", "x": "epoch", "between": [0.5, 1.5]},
        {"a": [0, 0.4, 1], "b": [0.3, 0.5, 0.6]},
        {"a": [0, 0, 1], "b": [0.1, 0.9, 0.9]},
    ),
]


@pytest.fixture
def registry(monkeypatch):
    """Forget the criteria that a test makes."""
    monkeypatch.setattr(criteria, "CRITERIA", dict(criteria.CRITERIA))


def exact(curves):
    return tidy(
        {"epoch": epoch, "measure": measure, "value": value}
        for measure, values in curves.items()
        for epoch, value in enumerate(values)
    )


def test_every_criterion_has_its_cases():
    assert {case[0] for case in CASES + EXACT_CASES} == set(criteria.CRITERIA)


@pytest.mark.parametrize("name, options, supporting, contradicting", CASES)
def test_supports_and_contradicts(name, options, supporting, contradicting):
    judge = criteria.CRITERIA[name]
    assert judge(table(supporting), **options).verdict == SUPPORTED
    assert judge(table(contradicting), **options).verdict == CONTRADICTED


@pytest.mark.parametrize("name, options, supporting, contradicting", EXACT_CASES)
def test_exact_values_need_no_seeds(name, options, supporting, contradicting):
    judge = criteria.CRITERIA[name]
    outcome = judge(exact(supporting), **options)
    assert outcome.verdict == SUPPORTED
    assert outcome.low == outcome.estimate == outcome.high
    assert judge(exact(contradicting), **options).verdict == CONTRADICTED


@pytest.mark.parametrize("name, options, supporting, contradicting", CASES)
def test_one_seed_or_wide_seeds_decide_nothing(name, options, supporting, contradicting):
    judge = criteria.CRITERIA[name]
    single = judge(table(supporting, seeds=1), **options)
    assert single.verdict == INCONCLUSIVE
    assert (single.high, single.n) == (math.inf, 1)
    assert single.low == (0 if "min_factor" in options else -math.inf)  # a factor is positive


def test_measures_of_several_runs_correlate_by_rank():
    def rows(order):
        return tidy(
            {"run": f"r{run}", "seed": seed, "measure": measure, "value": value + 0.1 * seed}
            for seed in range(3)
            for run, pair in enumerate(zip([1, 2, 4], order, strict=True))
            for measure, value in zip(("a", "b"), pair, strict=True)
        )

    agreeing = criteria.rank_correlates(rows([10, 30, 50]), x="a", y="b", bound=0.9)
    assert (agreeing.verdict, agreeing.estimate, agreeing.n) == (SUPPORTED, 1, 3)
    opposed = criteria.rank_correlates(rows([50, 30, 10]), x="a", y="b", bound=0.9)
    assert (opposed.verdict, opposed.estimate) == (CONTRADICTED, -1)


def test_a_curve_crosses_a_fixed_number():
    rows = exact({"a": [0, 0.4, 1]})
    outcome = criteria.crosses(rows, first="a", second=0.7, x="epoch", between=[1, 2])
    assert (outcome.verdict, outcome.estimate) == (SUPPORTED, pytest.approx(1.5))
    assert criteria.crosses(rows, first="a", second=2, x="epoch", between=[0, 9]).n == 1


def test_a_difference_and_a_factor_are_not_asked_for_together():
    with pytest.raises(ValueError, match="got both"):
        criteria.peaks(table({"m": HILL}), y="m", min_change=1, min_factor=2, **BY_LAYER)


def test_wide_seeds_are_inconclusive():
    values = {0: [0.1, 0.2], 1: [0.1, 0.9], 2: [0.9, 0.1]}
    rows = tidy(
        {"seed": seed, "epoch": epoch, "measure": "m", "value": value}
        for seed, pair in values.items()
        for epoch, value in enumerate(pair)
    )
    outcome = criteria.increases(rows, x="epoch", y="m")
    assert outcome.verdict == INCONCLUSIVE
    assert outcome.estimate == pytest.approx(0.1 / 3)


def test_a_contradicted_claim_shows_the_group_that_contradicts_it():
    # the wide group reaches further to the other side, the other one lies there wholly
    values = {"wide": [-4.0, 1.0, 6.0], "narrow": [0.1, 0.2, 0.3], "good": [2.0, 2.1, 2.2]}
    rows = tidy(
        {"seed": seed, "layer": layer, "epoch": 0, "measure": "m", "value": value}
        for layer, ones in values.items()
        for seed, value in enumerate(ones)
    )
    options = {"y": "m", "x": "epoch", "over": ["layer"]}
    outcome = criteria.at_least(rows, bound=1.0, **options)
    assert (outcome.verdict, outcome.group) == (CONTRADICTED, "layer narrow")
    assert outcome.estimate == pytest.approx(0.2)
    assert outcome.high < 1.0
    open_ = criteria.at_least(rows, bound=0.2, **options)
    assert (open_.verdict, open_.group) == (INCONCLUSIVE, "layer wide")
    alone = rows[rows["layer"] == "good"]
    assert criteria.at_least(alone, bound=1.0, **options).group == ""


def test_the_interval_is_students():
    # mean 2, standard deviation 1, n = 3: half width 4.302653 / √3
    rows = tidy({"seed": s, "epoch": 0, "measure": "m", "value": s + 1.0} for s in range(3))
    outcome = criteria.at_least(rows, y="m", bound=0, x="epoch")
    assert outcome.high - outcome.estimate == pytest.approx(4.302653 / math.sqrt(3), abs=1e-5)
    assert (outcome.estimate, outcome.n) == (pytest.approx(2.0), 3)


def test_the_worst_layer_counts():
    rows = table({"m": RISING})
    falls = rows["layer"] == "linear2"
    rows.loc[falls, "value"] = 1 - rows.loc[falls, "value"]
    assert criteria.increases(rows, y="m", **BY_LAYER).verdict == CONTRADICTED


def test_a_crossing_is_interpolated_and_must_be_the_only_one():
    outcome = criteria.crosses(
        exact({"a": [0, 0, 1], "b": [0.5, 0.25, 0.25]}), first="a", second="b", x="epoch",
        between=[1, 2],
    )  # fmt: skip
    assert outcome.estimate == pytest.approx(1.25)
    for never_or_twice in ([0, 0, 0], [0, 1, 0], [1, 1, 0]):
        outcome = criteria.crosses(
            exact({"a": never_or_twice, "b": FLAT}), first="a", second="b", x="epoch",
            between=[0, 2],
        )  # fmt: skip
        assert outcome.verdict == CONTRADICTED
        assert math.isnan(outcome.estimate)


@pytest.mark.usefixtures("registry")
def test_a_signature_becomes_a_schema():
    @criteria.criterion
    def wanders(
        rows,
        *,
        x: Column,
        y: Measure | float,
        over: Sequence[Column] = (),
        between: tuple[float, float],
        bound: Correlation,
        at: Place = "all",
        to: Literal["last", "lowest"] = "last",
        start: float | None = None,
    ):
        """Judge nothing."""

    assert wanders.schema == {
        "additionalProperties": False,
        "required": ["x", "y", "between", "bound"],
        "properties": {
            "criterion": True,
            "x": {"type": "string"},
            "y": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "over": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "between": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
            "bound": {"type": "number", "minimum": -1, "maximum": 1},
            "at": {"anyOf": [{"type": "number"}, {"enum": ["first", "last", "all"]}]},
            "to": {"enum": ["last", "lowest"]},
            "start": {"type": "number"},
        },
    }
    options = {"x": "epoch", "y": 1, "over": ["layer"], "at": "last", "to": "lowest"}
    assert wanders.names(options) == [("epoch", {"column"}), ("layer", {"column"})]
    assert wanders.names({"y": "loss"}) == [("loss", {"measure"})]


def test_a_criterion_has_its_own_name_and_options_that_a_claim_can_give():
    def increases(rows, *, y: Measure):
        """Judge nothing."""

    def wanders(rows, *, y: dict):
        """Judge nothing."""

    with pytest.raises(ValueError, match="'increases' is there already"):
        criteria.criterion(increases)
    with pytest.raises(ValueError, match="criterion wanders: expected options of types that a cl"):
        criteria.criterion(wanders)
    assert "wanders" not in criteria.CRITERIA


def test_where_some_seeds_have_a_bound_alone_no_criterion_decides():
    rows = table({"a": RISING, "b": FALLING})
    one = (rows["measure"] == "b") & (rows["seed"] == 2)
    rows.loc[one, "measure"] = "b_below"
    for name, options in {
        "exceeds": {"greater": "a", "lesser": "b", **BY_LAYER},
        "rank_correlates": {"x": "b", "y": "a", "bound": 0, "over": ["layer", "epoch"]},
    }.items():
        outcome = criteria.CRITERIA[name](rows, **options)
        assert (outcome.verdict, outcome.n) == (INCONCLUSIVE, 1)
    assert criteria.increases(rows, y="a", **BY_LAYER).verdict == SUPPORTED


def test_ill_posed_questions_are_errors():
    rows = table({"m": RISING})
    with pytest.raises(ValueError, match="no rows with measure 'n'; there are: m"):
        criteria.increases(rows, x="epoch", y="n", over=["layer"])
    with pytest.raises(ValueError, match="no column or measure 'depth'; the table has: paper"):
        criteria.rank_correlates(rows, x="depth", y="m", bound=0)
    with pytest.raises(ValueError, match="no column 'depth'"):
        criteria.increases(rows, x="epoch", y="m", over=["depth"])
    with pytest.raises(ValueError, match="several values of 'm'"):
        criteria.increases(rows, x="epoch", y="m")
    with pytest.raises(ValueError, match="no value of 'm' at epoch = 7"):
        criteria.at_least(rows, y="m", bound=0, at=7, **BY_LAYER)
    rows.loc[0, "value"] = math.nan
    with pytest.raises(ValueError, match="missing or not a number"):
        criteria.at_least(rows, y="m", bound=0, **BY_LAYER)
    with pytest.raises(ValueError, match="two or more places of 'epoch' from 2 on"):
        criteria.increases(table({"m": RISING}), y="m", start=2, **BY_LAYER)
    with pytest.raises(ValueError, match="expected 'm' to be positive"):
        criteria.decreases(table({"m": [-1, -2]}), y="m", **BY_LAYER)


def test_no_change_at_all_is_not_a_rise():
    flat = exact({"a": FLAT, "b": FLAT})
    assert criteria.increases(flat, x="epoch", y="a").verdict == CONTRADICTED
    outcome = criteria.exceeds(flat, greater="a", lesser="b", x="epoch")
    assert outcome.verdict == CONTRADICTED
    assert criteria.at_least(flat, y="a", bound=0.5, x="epoch").verdict == SUPPORTED


def test_a_factor_has_a_positive_interval_and_may_be_infinite():
    values = {0: 0.5, 1: 0.05, 2: 0.45}
    rows = tidy(
        {"seed": seed, "epoch": epoch, "measure": "m", "value": value}
        for seed, last in values.items()
        for epoch, value in enumerate([1.0, last])
    )
    outcome = criteria.decreases(rows, x="epoch", y="m", min_factor=2)
    assert 0 < outcome.low < outcome.estimate < outcome.high
    assert outcome.estimate == pytest.approx((2 * 20 / 0.45) ** (1 / 3))
    gone = criteria.decreases(exact({"m": [1.0, 0.0]}), x="epoch", y="m", min_factor=2)
    assert (gone.verdict, gone.estimate) == (SUPPORTED, math.inf)


def test_a_true_claim_about_many_groups_is_not_contradicted_by_their_number():
    draw = np.random.default_rng(0)
    contradicted = 0
    for _ in range(100):
        rows = tidy(
            {"seed": seed, "epoch": epoch, "layer": f"l{layer}", "measure": "m", "value": value}
            for layer in range(15)
            for seed in range(5)
            for epoch, value in enumerate([0, 0.02] + 0.02 * draw.standard_normal(2))
        )
        outcome = criteria.increases(rows, y="m", **BY_LAYER)
        contradicted += outcome.verdict == CONTRADICTED
    # every layer truly rises; the level of contradiction by chance is far below 5 %
    assert contradicted <= 5


def test_measures_that_do_not_pair_up_are_an_error():
    rows = table({"a": RISING, "b": FLAT})
    lost = (rows["measure"] == "b") & (rows["seed"] == 2) & (rows["epoch"] == 2)
    with pytest.raises(ValueError, match="do not pair up"):
        criteria.exceeds(rows[~lost], greater="a", lesser="b", **BY_LAYER)
