"""The tables of lejeune2024, from made-up measurements whose answers are known."""

import math

import pytest
from made_up import collection, columns

from feature_alignment.papers.lejeune2024 import tables
from feature_alignment.plots.draw import find_figure

SEEDS = (0, 1)


def training(run, model, n, curves, *, seed=0, distinct=None):
    """Yield the measurements of one training: a list of errors per split, an epoch each."""
    common = {"paper": "lejeune2024", "run": run, "seed": seed, "model": model, "n_train": n}
    for split, errors in curves.items():
        for epoch, value in enumerate(errors):
            place = {"epoch": float(epoch), "step": 10 * epoch, "split": split}
            yield {**common, **place, "measure": "error", "value": value}
    for epoch in range(len(errors)):
        seen = n if distinct is None else distinct[epoch]
        place = {"epoch": float(epoch), "step": 10 * epoch, "split": "train"}
        yield {**common, **place, "measure": "distinct_images", "value": seen}
    end = {"epoch": float(epoch), "step": 10 * epoch, "split": "train"}
    yield {**common, **end, "measure": "error", "value": 0.125}


def ridge(run, n, errors, *, seed=0):
    """Yield the measurements of one ridge regression: (test, held-out) errors by ridge."""
    common = {"paper": "lejeune2024", "run": run, "seed": seed, "n_train": n, "epoch": 0.0}
    for step, pair in enumerate(errors):
        for split, value in zip(("test", "held_out"), pair, strict=True):
            yield {**common, "step": step, "split": split, "measure": "error", "value": value}


PUBLISHED = {
    "digits": {"sizes": [10, 100], "full": [0.3, 0.1], "fixed": [0.5, 0.3], "adaptive": [0.4, 0.2]}
}
"""What the paper's figure would show."""


def made(figure, rows, settings, conditions=("model", "n_train"), variants=None):
    """The table of a figure; runs as published, and ridge regressions, have the paper's values."""
    labels = {run: {"variant": "baseline"} for run in settings}
    for run, chosen in settings.items():
        if chosen.get("subset") == "fresh" or "ridges" in chosen:
            labels[run]["published"] = "digits"
        if variants and run in variants:
            labels[run]["variant"] = variants[run]
    record = {"labels": labels, "published": PUBLISHED, "columns": columns("lejeune2024", figure)}
    source = collection(rows, settings, "lejeune2024", conditions, **record)
    table = tables.TABLES[figure](source)
    assert {*find_figure(f"lejeune2024/{figure}").COLUMNS} <= {*table.columns}
    return table


def tangent_settings(subset, **changes):
    """The settings of a run of figure 4 that the tables look at."""
    settings = {
        "dataset": {"name": "digits"},
        "subset": subset,
        "stop": {"patience": 20, "least_epochs": 0},
        "epochs": 1000,
    }
    return settings | changes


def values(table, measure, *columns, **where):
    """The values of a measure by the given columns, of the rows that match."""
    rows = table[table["measure"] == measure]
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    keys = [tuple(row) if len(columns) > 1 else row[0] for row in rows[list(columns)].to_numpy()]
    found = dict(zip(keys, rows["value"], strict=True))
    assert len(found) == len(rows)
    return found


PATIENT = {"stop": {"patience": 2, "least_epochs": 0}}


def test_each_protocol_selects_its_epoch():
    test = [0.9, 0.5, 0.4, 0.3, 0.45, 0.2, 0.6, 0.1]
    held = [0.9, 0.6, 0.3, 0.5, 0.4, 0.5, 0.1, 0.1]
    rows = training("a", "fixed", 10, {"test": test, "held_out": held})
    table = made("fig4_sample_complexity", rows, {"a": tangent_settings("one", **PATIENT)})
    # held out: best at 2, over at 5; on test the paper's patience of 20 lasts to the end, 7
    assert values(table, "error", "protocol") == {"corrected": 0.4, "corrected-oracle": 0.1}
    assert values(table, "selected_epoch", "protocol") == {"corrected": 2, "corrected-oracle": 7}
    assert values(table, "stopped_epoch", "protocol") == {"corrected": 5, "corrected-oracle": 7}
    assert values(table, "last_error", "protocol") == {"corrected": 0.2, "corrected-oracle": 0.1}
    assert set(values(table, "train_error", "protocol").values()) == {0.125}
    assert values(table, "selection_cost", "model") == pytest.approx({"fixed": 0.3})
    assert values(table, "published_error", "protocol") == {}


def test_the_stream_is_judged_on_the_test_set_beside_the_papers_values():
    rows = training("a", "adaptive", 10, {"test": [0.9, 0.5, 0.4, 0.45]}, distinct=[0, 10, 19, 27])
    table = made("fig4_sample_complexity", rows, {"a": tangent_settings("fresh", **PATIENT)})
    assert values(table, "error", "protocol") == {"published": 0.4}
    assert values(table, "distinct_images", "protocol") == {"published": 19}
    assert values(table, "distinct_ratio", "protocol") == {"published": 1.9}
    assert values(table, "published_error", "protocol") == {"published": 0.4}


def flat(run, model, errors, **options):
    """Yield trainings whose error is that of the size, by size, from the first epoch on."""
    for n, error in errors.items():
        yield from training(
            run, model, n, {"test": [0.9, error], "held_out": [0.9, error]}, **options
        )


def test_differences_are_of_models_on_the_same_images():
    rows = []
    for seed in SEEDS:
        for model, error in (("full", 0.1), ("fixed", 0.3), ("adaptive", 0.4 + seed)):
            rows += flat("a", model, {10: error}, seed=seed)
    table = made("fig4_sample_complexity", rows, {"a": tangent_settings("one")})
    found = values(table, "adaptive_minus_fixed", "protocol", "seed")
    assert found == pytest.approx(
        {(p, s): 0.1 + s for p in ("corrected", "corrected-oracle") for s in SEEDS}
    )
    gaps = values(table, "fixed_minus_full", "protocol", "seed")
    assert list(gaps.values()) == pytest.approx([0.2] * 4)


def test_ratios_are_read_off_the_curve_of_the_fixed_features():
    rows = [
        *flat("a", "fixed", {100: 0.5, 10000: 0.1}),
        *flat("a", "adaptive", {100: 0.6, 1000: 0.4}),
    ]
    rows += flat("a", "fixed", {100: 0.5, 10000: 0.1}, seed=1)
    rows += flat("a", "adaptive", {100: 0.3, 1000: 0.05}, seed=1)
    table = made("c1_sample_ratios", rows, {"a": tangent_settings("one")})
    first = {"protocol": "corrected", "seed": 0}
    needed = 10**2.5  # of the fixed features, for an error of .4
    assert values(table, "sample_ratio", "n_train", **first) == pytest.approx({1000: needed / 1000})
    assert values(table, "sample_ratio_below", "n_train", **first) == pytest.approx({100: 1.0})
    second = {"protocol": "corrected", "seed": 1}
    assert values(table, "sample_ratio", "n_train", **second) == pytest.approx({100: 10})
    assert values(table, "sample_ratio_above", "n_train", **second) == pytest.approx({1000: 10})
    assert len(values(table, "mean_ratio", "protocol", "seed")) == 4
    low, high = (
        values(table, f"mean_ratio_{end}", "protocol")["corrected"] for end in ("low", "high")
    )
    means = values(table, "mean_ratio", "seed", protocol="corrected")
    assert low == pytest.approx(min(means.values()))
    assert high == pytest.approx(max(means.values()))


def test_the_papers_own_ratios_and_those_of_exact_ridge_are_beside():
    rows = [
        *flat("p", "fixed", {10: 0.5, 100: 0.3}),
        *flat("p", "adaptive", {10: 0.5, 100: 0.3}),
        *flat("a", "adaptive", {10: 0.5, 1000: 0.3}),
        *flat("a", "fixed", {10: 0.5, 1000: 0.3}),
        *ridge("r", 10, [(0.5, 0.1)]),
        *ridge("r", 100, [(0.3, 0.1)]),
    ]
    settings = {
        "p": tangent_settings("fresh"),
        "a": tangent_settings("one"),
        "r": tangent_settings("one", ridges=[1.0]),
    }
    table = made("c1_sample_ratios", rows, settings)
    # the paper's made-up values: fixed .5, .3, adaptive .4, .2 at 10 and 100
    own = table["seed"].isna()
    assert values(table[own], "published_sample_ratio", "n_train") == pytest.approx({10: 10**0.5})
    [logarithm] = values(table[own], "published_log10_mean_ratio", "protocol").values()
    assert logarithm == pytest.approx(0.5)
    [exact] = values(table, "exact_mean_ratio", "protocol").values()
    assert exact == pytest.approx(10**-0.5)


def test_epochs_are_the_first_at_which_an_error_is_reached():
    rows = [
        *training("a", "fixed", 10, {"test": [0.9, 0.62, 0.55, 0.35, 0.45]}),
        *training("a", "adaptive", 10, {"test": [0.5, 0.5, 0.39, 0.36, 0.3]}),
    ]
    table = made("c2_optimisation_speed", rows, {"a": tangent_settings("fresh")})
    fixed = values(table, "epochs_to_error", "test_error", model="fixed")
    assert [fixed.get(level) for level in (0.65, 0.6, 0.5, 0.4, 0.3)] == [1, 2, 3, 3, None]
    ratios = values(table, "epochs_ratio", "test_error")
    assert [ratios.get(level) for level in (0.6, 0.5, 0.4, 0.3)] == [2, 3, 1.5, None]


def test_variants_are_compared_with_the_baseline():
    rows = [
        *flat("a", "fixed", {10: 0.5, 100: 0.3}),
        *flat("a", "adaptive", {10: 0.6, 100: 0.35}),
        *flat("v", "adaptive", {100: 0.2}),
        *ridge("r", 10, [(0.48, 0.5), (0.45, 0.6)]),
        *ridge("r", 100, [(0.28, 0.5), (0.33, 0.4)]),
    ]
    settings = {
        "a": tangent_settings("one"),
        "v": tangent_settings("one"),
        "r": tangent_settings("one", ridges=[0.1, 1.0]),
    }
    table = made("c3_robustness", rows, settings, variants={"v": "other"})
    assert values(table, "error", "variant", "model", n_train=100) == {
        ("baseline", "fixed"): 0.3,
        ("baseline", "adaptive"): 0.35,
        ("other", "adaptive"): 0.2,
        ("baseline", "ridge"): 0.33,
    }
    assert not values(table, "error", "variant", n_train=10, model="fixed")
    assert values(table, "adaptive_minus_baseline", "variant") == pytest.approx(
        {"baseline": 0.05, "other": -0.1}
    )
    assert values(table, "ridge_minus_fixed", "n_train") == pytest.approx({10: -0.02, 100: 0.03})
    assert values(table, "oracle_error", "n_train") == {10: 0.45, 100: 0.28}
    assert values(table, "published_error", "n_train", model="ridge") == {10: 0.5, 100: 0.3}


def test_singular_values_get_a_rank():
    common = {"paper": "lejeune2024", "run": "a", "seed": 0, "model": "full", "n_train": 10}
    end = {**common, "epoch": 1.0, "step": 5, "layer": "linear1"}
    rows = [
        {**end, "measure": "singular_value", "at": rank, "value": value}
        for rank, value in ((1, 8.0), (4, 2.0))
    ]
    rows.append({**end, "measure": "error", "value": 1.0})
    table = made("n1_learned_displacements", rows, {"a": tangent_settings("one")})
    assert values(table, "singular_value", "rank") == {1: 8, 4: 2}
    assert len(table) == 2


def student(target, **measures):
    """Yield what a student's run measures at its end."""
    common = {"paper": "lejeune2024", "run": "s", "seed": 0, "target": target, "epoch": 2.0}
    yield {**common, "step": 0, "measure": "loss", "value": 9.0}
    for measure, value in measures.items():
        name, _, rank = measure.partition("__")
        row = {**common, "step": 4, "measure": name, "value": value}
        yield row | ({"at": float(rank)} if rank else {})


def test_the_targets_cosines_are_compared():
    rows = [
        *student("smooth", cosine_averaged=0.2, centered_cosine_averaged=0.7, loss=1.0),
        *student("sign", cosine_averaged=0.5, centered_cosine_averaged=0.9, loss=2.0),
    ]
    table = made("fig1_kernel_alignment", rows, {"s": {}}, ["target"])
    assert values(table, "loss", "target") == {"smooth": 1.0, "sign": 2.0}
    assert values(table, "sign_minus_smooth", "seed") == pytest.approx({0: 0.3})
    assert values(table, "centered_sign_minus_smooth", "seed") == pytest.approx({0: 0.2})


def test_spectra_of_students_and_networks_are_put_together():
    rows = [
        *student("smooth", eigenvalue_initial__1=0.5, eigenvalue_averaged__2=0.25, loss=1.0),
        *student("sign", eigenvalue_final__1=0.75, diagonal_near=1.0),
    ]
    for n in (10, 100):
        for model, aligned in (("full", 0.5), ("fixed", 0.2), ("adaptive", 0.3)):
            common = {"paper": "lejeune2024", "run": "a", "seed": 0, "model": model, "n_train": n}
            end = {**common, "epoch": 3.0, "step": n, "split": "test"}
            rows.append({**end, "measure": "kernel_alignment", "value": aligned + n / 1000})
            rows.append({**end, "measure": "eigenvalue_share", "at": 3, "value": aligned})
    settings = {"s": {}, "a": tangent_settings("one")}
    table = made("n2_kernel_spectra", rows, settings, ["target", "model", "n_train"])
    assert values(table, "eigenvalue_share", "target", "kernel", "rank") == {
        ("smooth", "initial", 1): 0.5,
        ("smooth", "averaged", 2): 0.25,
        ("sign", "final", 1): 0.75,
        ("classes", "final", 3): 0.5,
        ("classes", "initial", 3): 0.2,
        ("classes", "adaptive", 3): 0.3,
    }
    assert values(table, "alignment_gain", "kernel") == pytest.approx(
        {"final": 0.3, "adaptive": 0.1}
    )


def of_layers(target, run="s", **measures):
    """Yield what a student's run measures of its layers at its end."""
    common = {"paper": "lejeune2024", "run": run, "seed": 0, "target": target, "epoch": 2.0}
    for measure, values in measures.items():
        for place, value in enumerate(values, start=1):
            row = {**common, "step": 4, "measure": measure, "layer": f"linear{place}"}
            yield {**row, "value": value}


def test_terms_are_summarised_over_layers():
    rows = [
        *student("smooth", likeness_initial=0.5, boundary_rank=0.25, cosine_final=0.5),
        *of_layers("smooth", term_share=[0.1, 0.2, 0.7], term_alignment_averaged=[0.1, 0.4, 0.9]),
        *of_layers("smooth", term_alignment_initial=[0.1, 0.3, 0.2]),
        *of_layers("sign", term_share=[0.3, 0.5, 0.2], term_alignment_averaged=[0.8, 0.4, 0.6]),
        *of_layers("sign", term_alignment_initial=[0.1, 0.3, 0.2]),
    ]
    table = made("n3_terms", rows, {"s": {}}, ["target"])
    assert set(table["variant"]) == {"baseline"}
    assert "cosine_final" not in set(table["measure"])
    assert values(table, "last_term_lead", "target") == pytest.approx({"smooth": 0.5, "sign": -0.2})
    start = values(table, "last_term_lead_initial", "target")
    assert start == pytest.approx({"smooth": -0.1, "sign": -0.1})
    assert values(table, "earlier_share", "target") == pytest.approx({"smooth": 0.3, "sign": 0.8})
    assert values(table, "sign_minus_smooth_share", "run") == pytest.approx({"s": 0.5})
    assert values(table, "likeness_initial", "target") == {"smooth": 0.5}
    assert len(values(table, "term_share", "target", "layer")) == 6


def test_settings_of_the_text_stand_beside_those_of_the_code():
    rows = [
        {**row, "run": run}
        for run in ("s", "t")
        for target, cosine in (("smooth", 0.2), ("sign", 0.5 + 0.1 * (run == "t")))
        for row in student(target, cosine_averaged=cosine, centered_cosine_averaged=cosine,
                           diagonal_near=2.0, eigenvalue_final__1=0.5)
    ]  # fmt: skip
    chosen, variants = {"s": {}, "t": {}}, {"s": "code", "t": "text"}
    table = made("n4_text_settings", rows, chosen, ["target"], variants)
    found = values(table, "sign_minus_smooth", "variant")
    assert found == pytest.approx({"code": 0.3, "text": 0.4})
    assert len(values(table, "diagonal_near", "variant", "target")) == 4
    assert "eigenvalue_final" not in set(table["measure"])


def test_regressions_are_set_against_the_network_and_the_initial_kernel():
    measured = {
        f"regression_{measure}_{kernel}": number + place / 10
        for measure, number in (("error", 0.1), ("unexplained", 0.5), ("ridge", 1.0))
        for place, kernel in enumerate(("initial", "averaged", "final"))
    }
    rows = [*student("sign", network_error=0.15, network_unexplained=0.6, **measured)]
    table = made("c4_kernel_regression", rows, {"s": {}}, ["target"])
    errors = {"initial": 0.1, "averaged": 0.2, "final": 0.3, "network": 0.15}
    assert values(table, "error", "model") == pytest.approx(errors)
    found = values(table, "error_minus_network", "model")
    assert found == pytest.approx({"initial": -0.05, "averaged": 0.05, "final": 0.15})
    start = values(table, "initial_error_minus_network", "model")
    assert start == pytest.approx(dict.fromkeys(found, -0.05))
    gains = {"averaged": -0.1, "final": -0.2, "network": -0.1}
    assert values(table, "gain", "model") == pytest.approx(gains)
    assert values(table, "ridge", "model")["final"] == pytest.approx(1.2)


def test_diagonals_are_kept():
    rows = [*student("smooth", diagonal_near=3.0, peak_ratio=1.5, cosine_final=0.5)]
    table = made("fig3_kernel_diagonal", rows, {"s": {}}, ["target"])
    assert set(table["measure"]) == {"diagonal_near", "peak_ratio"}
    assert math.isclose(values(table, "peak_ratio", "target")["smooth"], 1.5)
