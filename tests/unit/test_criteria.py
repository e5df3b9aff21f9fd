import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from feature_alignment.audit import criteria
from feature_alignment.audit.criterion import (
    CONTRADICTED,
    EQUIVALENT,
    OPEN,
    SUPPORTED,
    Column,
    Gap,
    Measure,
    Place,
    Positive,
)
from feature_alignment.audit.verdicts import decide
from feature_alignment.tables import tidy

LAYERS = ("linear1", "linear2")


TRUE = (SUPPORTED, EQUIVALENT)


def judged(name, rows, **options):
    return decide(criteria.CRITERIA[name](rows, **options))


def table(curves, seeds=20, spread=0.001):
    """Rows of {measure: [value at epoch 0, 1, …]}, alike in two layers, seeds a little apart."""
    return tidy(
        {
            "seed": seed,
            "epoch": epoch,
            "layer": layer,
            "measure": measure,
            "value": value + spread * (seed - (seeds - 1) / 2) * (1 + epoch),
        }
        for measure, values in curves.items()
        for epoch, value in enumerate(values)
        for layer in LAYERS
        for seed in range(seeds)
    )


RISING, FALLING, FLAT = [0.2, 0.5, 0.8], [0.8, 0.5, 0.2], [0.5, 0.5, 0.5]
LONG = [0.1, 0.3, 0.5, 0.7, 0.9]
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
    ("rank_correlates", {"y": "m", **BY_LAYER}, {"m": LONG}, {"m": LONG[::-1]}),
    ("rank_correlates", {"y": "m", "sign": "negative", **BY_LAYER}, {"m": LONG[::-1]}, {"m": LONG}),
    (
        "peaks",
        {"y": "m", "min_factor": 2, "chosen_by": "others", **BY_LAYER},
        {"m": HILL},
        {"m": FALLING},
    ),
    (
        "dips",
        {"y": "m", "min_factor": 2, "chosen_by": "others", **BY_LAYER},
        {"m": VALLEY},
        {"m": HILL},
    ),
    (
        "coincide",
        {"x": "epoch", "first": "a", "second": "b", "within_factor": 1.5, "over": ["layer"]},
        {"a": [0, 1, 2, 9, 3], "b": [0, 1, 2, 8, 3]},
        {"a": [0, 9, 2, 1, 3], "b": [0, 1, 2, 8, 3]},
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


def runs(values):
    """Rows of {measure: [value in run 0, 1, …]}, seeds a little apart."""
    return tidy(
        {"run": f"r{run}", "seed": seed, "measure": measure, "value": value + 0.01 * seed}
        for measure, ones in values.items()
        for run, value in enumerate(ones)
        for seed in range(5)
    )


def by(column, of, measure="m", seeds=12):
    """Rows of {value of a column: function of seed, None for no row}."""
    return tidy(
        (
            {"seed": seed, column: name, "measure": measure, "value": value(seed)}
            for name, value in of.items()
            for seed in range(seeds)
            if value(seed) is not None
        ),
        [column],
    )


def depths(peak):
    """Rows of a peak along depth in each seed, and of a curve that grows as depth^0.6."""
    return tidy(
        (
            {"seed": seed, "depth": depth, "measure": measure, "value": value + noise}
            for seed in range(5)
            for depth in (10, 20, 30, 40)
            for measure, value, noise in (
                ("peak", peak(depth), 0.02 * math.sin(7 * seed + depth)),
                ("curve", depth**0.6, 0.0),
            )
        ),
        ["depth"],
    )


SHAPED_CASES = [
    (
        "ranks_better",
        {"y": "loss", "better": "a", "worse": "b"},
        runs({"loss": LONG, "a": LONG, "b": [0.5, 0.1, 0.3, 0.9, 0.7]}),
        runs({"loss": LONG, "b": LONG, "a": [0.5, 0.1, 0.3, 0.9, 0.7]}),
        12,
    ),
    (
        "widens",
        {"x": "epoch", "y": "m", "across": "layer"},
        tidy(
            {"seed": seed, "epoch": epoch, "layer": layer, "measure": "m", "value": value}
            for seed in range(5)
            for epoch in (0, 1)
            for layer, value in enumerate([1, 2 + epoch + 0.01 * seed])
        ),
        tidy(
            {"seed": seed, "epoch": epoch, "layer": layer, "measure": "m", "value": value}
            for seed in range(5)
            for epoch in (0, 1)
            for layer, value in enumerate([1, 3 - epoch + 0.01 * seed])
        ),
        5,
    ),
    (
        "comes_earlier",
        {"event": "m", "by": "model", "first": "a", "then": "b"},
        by("model", {"a": lambda _: 1.0, "b": lambda seed: 2.0 if seed % 2 else None}),
        by("model", {"b": lambda _: 1.0, "a": lambda seed: 2.0 if seed % 2 else None}),
        12,
    ),
    (
        "higher_for",
        {"y": "m", "by": "model", "greater": "a", "lesser": "b", "min_factor": 2},
        by("model", {"a": lambda seed: 3 + 0.01 * seed, "b": lambda _: 1.0}),
        by("model", {"a": lambda seed: 1.5 + 0.01 * seed, "b": lambda _: 1.0}),
        12,
    ),
    (
        "nearer_than_share",
        {"y": "peak", "curve": "curve", "x": "depth"},
        depths(lambda depth: depth**0.6),
        depths(lambda depth: 0.3 * depth),
        5,
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
    assert {case[0] for case in CASES + EXACT_CASES + SHAPED_CASES} == set(criteria.CRITERIA)


@pytest.mark.parametrize("name, options, supporting, contradicting", CASES)
def test_supports_and_contradicts(name, options, supporting, contradicting):
    assert judged(name, table(supporting), **options).verdict in TRUE
    assert judged(name, table(contradicting), **options).verdict == CONTRADICTED


@pytest.mark.parametrize("name, options, supporting, contradicting, seeds", SHAPED_CASES)
def test_supports_and_contradicts_rows_of_a_shape(name, options, supporting, contradicting, seeds):
    if name == "ranks_better":  # differences of correlations are alike in all seeds: a sign test
        assert judged(name, supporting, **options).needed == seeds
        assert judged(name, contradicting, **options).needed == seeds
        return
    found = judged(name, supporting, **options)
    assert (found.verdict, len(found.seeds)) == (SUPPORTED, seeds)
    assert judged(name, contradicting, **options).verdict == CONTRADICTED


@pytest.mark.parametrize("name, options, supporting, contradicting", EXACT_CASES)
def test_exact_values_need_no_seeds(name, options, supporting, contradicting):
    outcome = judged(name, exact(supporting), **options)
    assert outcome.verdict == SUPPORTED
    assert outcome.low == outcome.estimate == outcome.high
    assert judged(name, exact(contradicting), **options).verdict == CONTRADICTED


@pytest.mark.parametrize("name, options, supporting, contradicting", CASES)
def test_two_seeds_decide_nothing(name, options, supporting, contradicting):
    if options.get("chosen_by") == "others":
        with pytest.raises(ValueError, match="expected two seeds at least, for others to choose"):
            judged(name, table(supporting, seeds=1), **options)
    outcome = judged(name, table(supporting, seeds=2), **options)
    assert (outcome.verdict, outcome.needed, len(outcome.seeds)) == (OPEN, 3, 2)
    assert math.isnan(outcome.low)
    assert outcome.p is None


def test_measures_of_several_runs_correlate_by_rank():
    agreeing = judged("rank_correlates", runs({"a": LONG, "b": [1, 3, 5, 7, 9]}), x="a", y="b")
    assert (agreeing.verdict, agreeing.estimate) == (SUPPORTED, 1)
    opposed = judged("rank_correlates", runs({"a": LONG, "b": LONG[::-1]}), x="a", y="b")
    assert (opposed.verdict, opposed.estimate) == (CONTRADICTED, -1)


def test_a_place_chosen_by_others_is_not_above_the_ends_by_chance():
    draw = np.random.default_rng(1)
    noise = tidy(
        {"seed": seed, "epoch": epoch, "measure": "m", "value": 1 + 0.1 * draw.standard_normal()}
        for seed in range(50)
        for epoch in range(40)
    )
    options = {"x": "epoch", "y": "m", "min_factor": 1}
    assert judged("peaks", noise, **options).verdict == SUPPORTED
    found = judged("peaks", noise, chosen_by="others", **options)
    assert found.verdict != SUPPORTED
    assert found.estimate < 1


def test_an_event_that_never_comes_counts_as_later():
    late = {"a": lambda seed: 5.0 + seed, "b": lambda seed: None if seed else 4.0}
    values = criteria.comes_earlier(
        by("model", late, seeds=3), event="m", by="model", first="a", then="b"
    ).values
    assert values.tolist() == [-1, 1, 1]
    with pytest.raises(ValueError, match="no model 'c'; there are: a, b"):
        criteria.comes_earlier(by("model", late), event="m", by="model", first="a", then="c")


def test_a_curve_crosses_a_fixed_number():
    rows = exact({"a": [0, 0.4, 1]})
    outcome = judged("crosses", rows, first="a", second=0.7, x="epoch", between=[1, 2])
    assert (outcome.verdict, outcome.estimate) == (SUPPORTED, pytest.approx(1.5))
    never = judged("crosses", rows, first="a", second=2, x="epoch", between=[0, 9])
    assert (never.verdict, never.estimate) == (CONTRADICTED, math.inf)


def test_a_difference_and_a_factor_are_not_asked_for_together():
    with pytest.raises(ValueError, match="got both"):
        criteria.peaks(table({"m": HILL}), y="m", min_change=1, min_factor=2, **BY_LAYER)


def test_a_crossing_is_interpolated_and_must_be_the_only_one():
    options = {"first": "a", "second": "b", "x": "epoch"}
    rows = exact({"a": [0, 0, 1], "b": [0.5, 0.25, 0.25]})
    assert judged("crosses", rows, between=[1, 2], **options).estimate == pytest.approx(1.25)
    for never_or_twice in ([0, 0, 0], [0, 1, 0], [1, 1, 0]):
        rows = exact({"a": never_or_twice, "b": FLAT})
        outcome = judged("crosses", rows, between=[0, 2], **options)
        assert outcome.verdict == CONTRADICTED
        assert math.isinf(outcome.estimate)


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
        bound: Positive,
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
            "bound": {"type": "number", "exclusiveMinimum": 0},
            "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "band": {"type": "number", "minimum": 0},
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


def test_where_some_seeds_have_a_bound_alone_or_nothing_there_is_a_gap():
    rows = table({"a": RISING, "b": FALLING})
    one = (rows["measure"] == "b") & (rows["seed"] == 2)
    lacking = rows[~one]
    rows.loc[one, "measure"] = "b_below"
    options = {"greater": "a", "lesser": "b", **BY_LAYER}
    found = criteria.exceeds(rows, **options)
    assert found == Gap("of b there is but a bound in seed 2", censored=True)
    assert criteria.exceeds(lacking, **options) == Gap("seed 2 lacks b", censored=False)
    assert judged("increases", rows, y="a", **BY_LAYER).verdict == SUPPORTED


def test_seeds_of_one_run_that_another_has_not_are_no_gap():
    rows = tidy(
        {"run": run, "seed": seed, "layer": run, "epoch": 0, "measure": "m", "value": 1 + seed / 99}
        for run, seeds in (("short", 3), ("long", 5))
        for seed in range(seeds)
    )
    options = {"x": "epoch", "y": "m", "over": ["layer"]}
    assert judged("at_least", rows, bound=0, **options).verdict == SUPPORTED
    lost = (rows["run"] == "long") & (rows["seed"] == 4)
    other = rows[lost].assign(measure="n")
    gap = criteria.at_least(
        tidy([*rows[~lost].to_dict("records"), *other.to_dict("records")]), bound=0, **options
    )
    assert gap == Gap("seed 4 of run long lacks m", censored=False)


def test_replicates_of_a_seed_count_as_one():
    values = {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 2.0, (1, 1): 2.2, (2, 0): 2.5, (2, 1): 1.7}
    rows = tidy(
        (
            {"seed": seed, "replicate": replicate, "epoch": 0, "measure": "m", "value": value}
            for (seed, replicate), value in values.items()
        ),
        ["replicate"],
    )
    outcome = judged("at_least", rows, y="m", bound=0, x="epoch")
    assert outcome.seeds == [0, 1, 2]
    assert outcome.values == pytest.approx([2.0, 2.1, 2.1])


def test_ill_posed_questions_are_errors():
    rows = table({"m": RISING})
    with pytest.raises(ValueError, match="no rows with measure 'n'; there are: m"):
        criteria.increases(rows, x="epoch", y="n", over=["layer"])
    with pytest.raises(ValueError, match="no column or measure 'depth'; the table has: paper"):
        criteria.rank_correlates(rows, x="depth", y="m")
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
    with pytest.raises(ValueError, match="expected values to be positive"):
        criteria.decreases(table({"m": [-1, -2]}), y="m", min_factor=1, **BY_LAYER)
    with pytest.raises(ValueError, match="expected values from -1 to 1 on the scale 'fisher'"):
        criteria.at_least(table({"m": [3, 3]}), y="m", bound=0, scale="fisher", **BY_LAYER)


def test_no_change_at_all_is_not_a_rise():
    flat = exact({"a": FLAT, "b": FLAT})
    assert judged("increases", flat, x="epoch", y="a").verdict == CONTRADICTED
    outcome = judged("exceeds", flat, greater="a", lesser="b", x="epoch")
    assert outcome.verdict == CONTRADICTED
    assert judged("at_least", flat, y="a", bound=0.5, x="epoch").verdict == SUPPORTED


def test_a_factor_has_a_positive_interval_and_may_be_infinite():
    values = {0: 0.5, 1: 0.05, 2: 0.45}
    rows = tidy(
        {"seed": seed, "epoch": epoch, "measure": "m", "value": value}
        for seed, last in values.items()
        for epoch, value in enumerate([1.0, last])
    )
    outcome = judged("decreases", rows, x="epoch", y="m", min_factor=2)
    assert 0 < outcome.low < outcome.estimate < outcome.high
    assert outcome.estimate == pytest.approx((2 * 20 / 0.45) ** (1 / 3))
    gone = judged("decreases", exact({"m": [1.0, 0.0]}), x="epoch", y="m", min_factor=2)
    assert (gone.verdict, gone.estimate) == (SUPPORTED, math.inf)


def test_measures_that_do_not_pair_up_are_an_error():
    rows = table({"a": RISING, "b": FLAT})
    lost = (rows["measure"] == "b") & (rows["seed"] == 2) & (rows["epoch"] == 2)
    with pytest.raises(ValueError, match="do not pair up"):
        judged("exceeds", rows[~lost], greater="a", lesser="b", **BY_LAYER)
