from pathlib import Path

import numpy as np
import pytest
from tiny_runs import changed, complete, make_run

from feature_alignment.papers.baratin2021 import supernat as experiment
from feature_alignment.tables import read_meta, read_table
from feature_alignment.training import supernat

from reference import supernat as reference

RATE = 0.4
SETTINGS = {
    "n_train": 50,
    "dimension": 50,
    "n_validation": 500,
    "noise_variance": 0.1,
    "learning_rate": 0.5,
    "steps": 5000,
}
SEEDS = range(10)


def problem(n=6, p=9, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((n, p)) / np.sqrt(p), random.standard_normal(n)


def tiny(folder="unused", seed=0, **changes):
    return make_run("supernat", changed(SETTINGS, **changes), Path(folder), seed=seed)


@pytest.mark.parametrize("method", supernat.METHODS)
@pytest.mark.parametrize("n, p", [(6, 9), (9, 4)])
def test_the_recursion_equals_explicit_matrices(method, n, p):
    features, targets = problem(n, p)
    path = supernat.train(features, targets, supernat.METHODS[method], RATE, range(9))
    weights, complexity = reference.train(features, targets, method, RATE, 8)
    assert not np.allclose(weights[8], weights[7], rtol=1e-4)
    # 1e-9: inverting Q and the spread of the changed features cost the reference digits
    np.testing.assert_allclose(path.weights, weights, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(path.complexity, complexity, rtol=1e-9)


@pytest.mark.parametrize("method", supernat.METHODS)
def test_a_residual_that_no_feature_can_reduce_does_not_set_the_scale(method):
    """Of an example given twice with different targets, only the mean target can be fitted."""
    features, targets = problem(5, 9)
    features, targets = np.vstack([features, features[:1]]), np.append(targets, targets[0] + 10)
    path = supernat.train(features, targets, supernat.METHODS[method], RATE, range(6))
    weights, complexity = reference.train(features, targets, method, RATE, 5)
    np.testing.assert_allclose(path.weights, weights, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(path.complexity, complexity, rtol=1e-9)


def test_gradient_descent_has_its_closed_form():
    features, targets = problem()
    steps = [0, 1, 7, 400]
    path = supernat.train(features, targets, supernat.gradient_descent, RATE, steps)
    kernel = features @ features.T
    for t, weights in zip(steps, path.weights, strict=True):
        left = np.linalg.matrix_power(np.eye(6) - RATE / 6 * kernel, t) @ targets
        np.testing.assert_allclose(features @ weights, targets - left, rtol=0, atol=1e-12)


def test_rescaling_is_the_spectrum_of_changed_features_and_leaves_the_function_alone():
    features, targets = problem()
    w = np.random.default_rng(1).standard_normal(9)
    q = reference.rescaling_matrix(features, features @ w, targets)
    np.testing.assert_allclose((features @ q) @ np.linalg.solve(q, w), features @ w, rtol=1e-12)
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    ours = supernat.supernat(s**2, u.T @ (features @ w - targets))
    explicit = np.linalg.svd(features @ q, compute_uv=False) ** 2
    np.testing.assert_allclose(np.sort(ours)[::-1], explicit, rtol=1e-12)


def test_the_metric_minimises_the_one_step_bound():
    features, targets = problem(5, 5)
    u, s, vt = np.linalg.svd(features)
    sizes = np.abs(u.T @ targets)
    step = features.T @ targets
    best = reference.one_step_bound(vt.T @ np.diag(1 / sizes) @ vt, features, step)
    assert best == pytest.approx(np.sum(s**2 * sizes), rel=1e-12)  # where Cauchy–Schwarz is tight
    random = np.random.default_rng(2)
    for spread in (1e-3, 0.1, 1.0):
        for _ in range(50):
            nu = np.exp(spread * random.standard_normal(5)) / sizes
            assert reference.one_step_bound(vt.T @ np.diag(nu) @ vt, features, step) > best


def test_the_path_is_as_long_as_the_one_step_bounds_in_given_features():
    """At the first step the change of features starts from Φ itself, so both can be computed."""
    features, targets = problem(5, 5)
    q = reference.rescaling_matrix(features, np.zeros(5), targets)
    path = supernat.train(features, targets, supernat.supernat, RATE, [0, 1])
    metric = np.linalg.inv(q @ q.T)
    bound = reference.one_step_bound(metric, features, path.weights[1])
    assert path.complexity[1] == pytest.approx(bound / np.sqrt(5), rel=1e-10)


def test_only_the_largest_residual_keeps_its_eigenvalue():
    spectrum, gradient = np.array([4.0, 2.0, 1.0]), np.array([0.5, -1.0, 0.0])
    ours = supernat.supernat(spectrum, gradient)
    np.testing.assert_allclose(ours, [2, 2, supernat.FLOOR], rtol=1e-15)
    kept = supernat.supernat_constant_top(np.array([4.0, 1.0]), gradient[:2])
    np.testing.assert_allclose(kept, [4, 2], rtol=1e-15)


def test_targets_that_are_fitted_from_the_start_stay_fitted():
    features, _ = problem()
    for rescaling in supernat.METHODS.values():
        path = supernat.train(features, np.zeros(6), rescaling, RATE, range(50))
        assert not path.weights.any()
        assert not path.complexity.any()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"targets": np.zeros(5)}, r"got \(6, 9\) and \(5,\)"),
        ({"features": np.full((6, 9), np.nan)}, "finite features, not all zero"),
        ({"features": np.zeros((6, 9))}, "finite features, not all zero"),
        ({"targets": np.full(6, np.inf)}, "finite targets"),
        ({"learning_rate": 1e3}, "between 0 and 2n/λ_max = .*, got 1000.0; larger ones diverge"),
        ({"learning_rate": 0.0}, "got 0.0"),
        ({"steps": [0, 2, 2]}, "increasing whole numbers of steps from 0 on"),
        ({"steps": [-1, 2]}, "increasing whole numbers"),
        ({"steps": [0.5]}, "increasing whole numbers"),
        ({"steps": []}, "increasing whole numbers"),
    ],
)
def test_refuses_bad_input(change, message):
    features, targets = problem()
    arguments = {"features": features, "targets": targets, "learning_rate": RATE, "steps": [0, 1]}
    with pytest.raises(ValueError, match=message):
        supernat.train(**{**arguments, **change}, rescaling=supernat.supernat)


def test_errors_are_means_of_squares():
    features, targets = problem()
    weights = np.random.default_rng(3).standard_normal((2, 9))
    ours = supernat.mean_squared_error(weights, features, targets)
    naive = [sum((f @ w - y) ** 2 for f, y in zip(features, targets, strict=True)) for w in weights]
    np.testing.assert_allclose(ours, np.array(naive) / 6, rtol=1e-13)


def test_examples_have_the_variances_of_the_task():
    examples = experiment.draw(tiny(dimension=4, n_validation=20_000, noise_variance=0.3))
    features, targets = examples["validation"]
    assert examples["train"][0].shape == (50, 5)
    # 0.05: five standard deviations of a variance estimated from 20 000 draws
    assert np.var(targets - features[:, 0]) == pytest.approx(0.3, rel=0.05)
    np.testing.assert_allclose(features.var(axis=0), [1] + [1 / 4] * 4, rtol=0.05)
    assert not np.array_equal(experiment.draw(tiny(seed=1))["train"][0], examples["train"][0])


@pytest.fixture(scope="module")
def last_values():
    """Mean over ten seeds at n = 50, by dimension, split and measure, at the last of 5000 steps."""
    found = {}
    for dimension in (10, 50):
        for seed in SEEDS:
            for entry in experiment.curves(tiny(seed=seed, dimension=dimension)):
                if entry.step == SETTINGS["steps"]:
                    key = dimension, entry.split, entry.measure
                    found[key] = found.get(key, 0) + entry.value / len(SEEDS)
    return found


# Final validation errors found before, with other draws. Tolerances are three to four standard
# errors of a mean over ten seeds; the control is left to its order of magnitude.
@pytest.mark.parametrize(
    "dimension, method, expected, tolerance",
    [
        (10, "gd", 0.125, 0.015),
        (10, "supernat", 0.106, 0.010),
        (50, "gd", 0.588, 0.25),
        (50, "supernat", 0.106, 0.010),
    ],
)
def test_final_errors_are_those_found_before(last_values, dimension, method, expected, tolerance):
    final = last_values[dimension, "validation", f"mse_{method}"]
    assert final == pytest.approx(expected, abs=tolerance)


def test_descent_fits_noise_and_supernat_stops_before_it(last_values):
    worsening = {
        m: last_values[50, "validation", f"final_over_minimum_{m}"] for m in ("gd", "supernat")
    }
    assert worsening["gd"] > 3
    assert 1 <= worsening["supernat"] < 1.05
    assert last_values[50, "train", "mse_gd"] < 0.02
    assert last_values[50, "train", "mse_supernat"] == pytest.approx(0.1, abs=0.02)
    assert last_values[50, "validation", "mse_supernat_constant_top"] > 1
    assert last_values[50, "train", "path_complexity_supernat"] < 1.3


def test_a_run_trains_by_every_method_on_the_same_examples(tmp_path):
    small = {"steps": 10, "n_validation": 20, "dimension": 3}
    runs = [tiny(tmp_path / name, seed, **small) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    first, again, other = map(complete, runs)
    assert first == again != other
    table, meta = read_table(runs[0].out), read_meta(runs[0].out)
    assert sorted(set(table["step"])) == [0, 1, 2, 3, 5, 7, 10]
    assert set(table["measure"]) == {
        f"{kind}_{method}"
        for kind in ("mse", "path_complexity", "final_over_minimum")
        for method in supernat.METHODS
    }
    starts = table[table["step"] == 0].set_index(["measure", "split"])["value"]
    assert starts["mse_gd", "train"] == starts["mse_supernat", "train"]
    worsening = table[table["measure"] == "final_over_minimum_gd"]
    errors = table[(table["measure"] == "mse_gd") & (table["split"] == "validation")]["value"]
    assert worsening["step"].tolist() == [10]
    assert worsening["value"].item() == errors.iloc[-1] / errors.min()
    assert meta["spec"]["settings"] == changed(SETTINGS, **small)
