import numpy as np
import pytest
from tiny_runs import complete, make_run

from feature_alignment.measures import penalties
from feature_alignment.papers.lejeune2024 import tables
from feature_alignment.papers.lejeune2024.penalties import curves
from feature_alignment.plots.draw import find_figure
from feature_alignment.run.collecting import collect

from reference import penalties as reference

V = np.concatenate([np.linspace(0, 5, 41), [penalties.SHARED_FROM, 0.966, 0.967, 40.0]])

# v: (w1, w2, w3) and the effective penalties with their minimisers, to six decimals
EXACT_W3 = {1: 0, 1.5: 0.231235, 2: 0.581412, 5: 2.417345}
EXACT = {
    "effective_w1": {0.5: 0.211391, 1: 0.669500, 2: 1.868617, 5: 6.246534},
    "effective_w2": {0.5: 0.250000, 1: 0.889882, 2: 2.000000, 5: 4.526047},
    "effective_w3": {0.5: 0.211391, 1: 0.668996, 2: 1.539379, 5: 3.367429},
}
EXACT_ARGMIN = {
    "effective_w1": {1: 1.38028, 2: 1.74840, 5: 2.53487},
    "effective_w2": {1: 1.25992, 2: 2, 5: 3.68403},
    "effective_w3": {1: 1.39997, 2: 2.29228, 5: 4.42695},
}


def test_w3_has_its_exact_values():
    found = penalties.w3(list(EXACT_W3))
    np.testing.assert_allclose(found, list(EXACT_W3.values()), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", EXACT)
def test_effective_penalties_have_their_exact_values(name):
    found, _ = getattr(penalties, name)(list(EXACT[name]))
    np.testing.assert_allclose(found, list(EXACT[name].values()), atol=1e-6, rtol=0)
    _, argmin = getattr(penalties, name)(list(EXACT_ARGMIN[name]))
    np.testing.assert_allclose(argmin, list(EXACT_ARGMIN[name].values()), atol=1e-5, rtol=0)


def test_w3_equals_brute_force():
    v = V[V >= 1]
    np.testing.assert_allclose(penalties.w3(v), [reference.w3(x) for x in v], atol=1e-11)


@pytest.mark.parametrize(
    "ours, penalty",
    [(penalties.effective_w1, reference.w1), (penalties.effective_w2, reference.w2)],
)
def test_effective_penalties_equal_brute_force(ours, penalty):
    expected = [float(reference.effective(penalty, v)) for v in V]
    np.testing.assert_allclose(ours(V)[0], expected, rtol=1e-10, atol=1e-11)


def test_effective_w3_equals_the_minimum_over_both_factors():
    expected = [reference.effective_w3(v) for v in V]
    # 1e-8: the reference descends along numerical gradients
    np.testing.assert_allclose(penalties.effective_w3(V)[0], expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "ours, penalty",
    [
        (penalties.effective_w1, penalties.w1),
        (penalties.effective_w2, penalties.w2),
        (penalties.effective_w3, penalties.w3),
    ],
)
def test_minimisers_attain_the_minimum(ours, penalty):
    value, argmin = ours(V)
    np.testing.assert_allclose(value, penalty(argmin) + (V / argmin) ** 2, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf])
def test_refuses_arguments_out_of_range(bad):
    with pytest.raises(ValueError, match="finite arguments of at least 0"):
        penalties.effective_w1([1.0, bad])


def test_curves_cover_every_measure_of_the_figure():
    points = list(curves(np.array([0.5, 1.0, 2.0])))
    measures = {point.measure for point in points}
    assert measures == {"ridge"} | {
        f"{prefix}{name}" for prefix in ("", "effective_", "argmin_") for name in ("w1", "w2", "w3")
    }
    assert {point.at for point in points if point.measure == "w1"} == {1.0, 2.0}
    assert {point.at for point in points if point.measure == "ridge"} == {0.5, 1.0, 2.0}


def test_the_table_of_the_figure_has_the_curves_by_their_argument(tmp_path):
    run = make_run("penalties", {"largest_argument": 2, "points": 5}, tmp_path, paper="lejeune2024")
    complete(run)
    table = tables.penalties(collect({"tiny": run.spec}, {}, [run.out]))
    assert {*find_figure("lejeune2024/fig2_penalties").COLUMNS} <= {*table.columns}
    squares = table[table["measure"] == "ridge"].set_index("v")["value"]
    assert squares.to_dict() == {v: v**2 for v in (0, 0.5, 1, 1.5, 2)}
    # Nothing is random and nothing is trained
    assert table[["seed", "step", "epoch"]].isna().all(axis=None)
