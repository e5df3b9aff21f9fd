"""The tables of beaglehole2024: trainings compared at the same loss, and differences."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from made_up import SEEDS, collection, columns

from feature_alignment.papers.beaglehole2024.matched import differences, matched, values_at_loss
from feature_alignment.papers.beaglehole2024.tables import (
    CORRELATIONS,
    LEFT,
    NULLS,
    TABLES,
    emergence,
    stages,
)
from feature_alignment.plots.draw import find_figure
from feature_alignment.probes.ansatz import EXPONENTS
from feature_alignment.tables import tidy

NETWORKS = {
    "mlp": {"dataset": {"name": "digits"}, "model": {"architecture": "fully_connected"}},
    "vgg": {"dataset": {"name": "photo_patches"}, "model": {"architecture": "vgg11"}},
}
LINEAR = ("linear1", "linear2")
PLAIN = ("mlp", [{}], LINEAR)
METHODS = ("sgd", "favoured", "equal")
KINDS = {
    "b4_convolutions": ("vgg", [{}], ("conv1", "conv2", "conv3", "conv4", "conv5")),
    "b5_initial_scale": ("mlp", [{"gain": 0.5}, {"gain": 2.0}], LINEAR),
    "b7_speed_limits": (
        "mlp",
        [{"rank": r, "dimension": 8, "method": m} for r in (3, 4) for m in METHODS],
        LINEAR,
    ),
    "b7r_ratios": (
        "mlp",
        [{"rank": 3, "dimension": 8, "method": m} for m in ("sgd", "ratio_25", "ratio_400")],
        LINEAR,
    ),
    "b7c_favoured_layers": (
        "mlp",
        [{"method": method} for method in ("sgd", "equal", "layer 1", "layer 2")],
        LINEAR,
    ),
}
"""The trainings behind a figure: network, conditions, layers; all others are behind ``PLAIN``."""


def ansatz_collection(figure):
    """Measurements of the runs behind a figure."""
    if figure == "b6_early_alignment":
        return early_alignment()
    two = ("b5_initial_scale", "b4_convolutions")
    names = two if figure == "c1_exponents" else (figure,)
    parts = [KINDS.get(name, PLAIN) for name in names]
    rows, varied = [], []
    for run, conditions, layers in parts:
        varied += conditions[0]
        for condition in conditions:
            drawn = ansatz_rows(run, layers, len(rows))
            rows += [{**row, **condition} for row in drawn]
    settings = {run: NETWORKS[run] for run, _, _ in parts}
    named = columns("beaglehole2024", figure)
    return collection(rows, settings, "beaglehole2024", varied, columns=named)


def ansatz_rows(run, layers, draws):
    """Yield measurements of one training for every seed; losses fall."""
    draw = np.random.default_rng(draws)
    once = (
        *CORRELATIONS,
        *NULLS,
        *LEFT,
        "weight_change",
        "centred_share",
        "nfm_share",
        "agop_share",
    )
    powers = product(("uc_nfa", "c_nfa"), EXPONENTS, ("pearson", "cosine"))
    of_layers = [{"measure": measure} for measure in once]
    of_layers += [{"measure": f"{k}_power_{form}", "at": at} for k, at, form in powers]
    for seed in SEEDS:
        for epoch in range(5):
            common = {"paper": "beaglehole2024", "run": run, "seed": seed}
            common |= {"step": epoch, "epoch": epoch}
            for split in ("train", "test"):
                for measure in ("loss", "relative_loss", "accuracy"):
                    value = (0.5 + 0.01 * seed) / (1 + epoch) + draw.uniform(0, 0.01)
                    yield {**common, "split": split, "measure": measure, "value": value}
            for layer in layers:
                place = {"split": "train", "layer": layer}
                for measure in of_layers:
                    value = 0.4 + 0.1 * epoch + draw.uniform(0, 0.05)
                    yield {**common, **place, **measure, "value": value}


def early_alignment():
    """Measurements of quadratic networks at their first step."""
    draw = np.random.default_rng(0)
    conditions = ("dimension", "width", "examples", "alpha", "epsilon", "readout")
    sizes = [(16, 4, 64), (16, 16, 64), (32, 8, 128)]
    grid = product(sizes, [0.0, 1.0], [0.0, 0.5, 1.0], ["normal", "student_t"])
    grid = [(*size, *rest) for size, *rest in grid]
    measures = ["observed_cosine", "predicted_cosine", "relative_error", "unrelated_cosine"]
    common = {"paper": "beaglehole2024", "run": "early", "step": 0, "epoch": 0.0}
    rows = [
        {**common, "seed": seed, **dict(zip(conditions, place, strict=True)), "measure": measure}
        for seed, place, measure in product(SEEDS, grid, measures)
    ]
    rows = [{**row, "value": draw.uniform(0.1, 0.9)} for row in rows]
    return collection(rows, {"early": {}}, "beaglehole2024", conditions)


def made(figure):
    return TABLES[figure](ansatz_collection(figure))


@pytest.mark.parametrize("figure", TABLES)
def test_every_table_has_the_columns_of_its_figure(figure):
    found = made(figure)
    assert found[[*find_figure(f"beaglehole2024/{figure}").COLUMNS]].notna().any().all()
    assert np.isfinite(found["value"]).all()


def test_collected_epochs_start_after_the_first_and_stages_are_marked():
    table = emergence(ansatz_collection("b1_nfa_emergence"))
    assert sorted(table["epoch"].unique()) == [0, 1, 2, 3]
    ends = stages(table)
    assert ends.groupby("stage")["epoch"].unique().to_dict() == {"initial": [0], "final": [3]}
    assert len(ends) == 2 * 2 * 2 * len(CORRELATIONS)


def training(losses, values, method="a", seed=0):
    rows = []
    for epoch, (loss, value) in enumerate(zip(losses, values, strict=True)):
        common = {"paper": "p", "run": "r", "seed": seed, "step": epoch, "epoch": epoch}
        common["method"] = method
        rows.append({**common, "measure": "loss", "split": "train", "value": loss})
        rows.append({**common, "measure": "loss", "split": "test", "value": 10 * loss})
        if value is not None:
            rows.append(
                {**common, "measure": "v", "split": "train", "layer": "linear1", "value": value}
            )
    return rows


def table(*trainings):
    return tidy([row for rows in trainings for row in rows], ["method"])


def test_values_are_interpolated_in_the_logarithm_of_the_loss():
    rows = table(training([1, 0.1, 0.01], [0, 1, 3]))
    assert values_at_loss(rows, 0.1, "loss")["v", "linear1", "train"] == pytest.approx(1)
    found = values_at_loss(rows, 10**-1.5, "loss")
    assert found["v", "linear1", "train"] == pytest.approx(2)
    assert found["loss", None, "train"] == pytest.approx(10**-1.5)
    assert found["loss", None, "test"] == pytest.approx(10**-0.5)
    assert values_at_loss(rows, 1, "loss")["v", "linear1", "train"] == 0


def test_a_loss_that_rises_in_between_is_skipped():
    rows = table(training([1, 0.1, 0.5, 0.01], [0, 1, 7, 3]))
    assert values_at_loss(rows, 0.1, "loss")["v", "linear1", "train"] == pytest.approx(1)
    found = values_at_loss(rows, 10**-1.5, "loss")
    assert found["v", "linear1", "train"] == pytest.approx(2)  # half way from 1 to 3
    assert found["loss", None, "train"] == pytest.approx(10**-1.5)


def test_what_was_not_measured_before_the_level_is_left_out():
    rows = table(training([1, 0.1], [None, 1]))
    assert ("v", "linear1", "train") not in values_at_loss(rows, 0.3, "loss")
    assert values_at_loss(rows, 0.1, "loss")["loss", None, "train"] == pytest.approx(0.1)


@pytest.mark.parametrize("level", [2, 0.05])
def test_a_level_that_is_never_reached_is_an_error(level):
    with pytest.raises(ValueError, match="expected a level of loss between 0.1 and 1, got"):
        values_at_loss(table(training([1, 0.1], [0, 1])), level, "loss")


def test_methods_are_matched_where_the_slowest_gets_to():
    rows = table(
        training([1, 0.1, 0.01], [0, 1, 3], "fast"),
        training([1, 0.5, 0.1], [5, 6, 7], "slow"),
        training([1, 0.001], [0, 3], "fast", seed=1),
        training([1, 0.01], [0, 2], "slow", seed=1),
    )
    found = matched(rows, [], "loss").set_index(["seed", "method", "measure", "split"])["value"]
    assert found[0, "fast", "matched_loss", "train"] == pytest.approx(0.1)
    assert found[0, "slow", "matched_loss", "train"] == pytest.approx(0.1)
    assert found[0, "fast", "matched_v", "train"] == pytest.approx(1)
    assert found[0, "slow", "matched_v", "train"] == pytest.approx(7)
    assert found[1, "fast", "matched_v", "train"] == pytest.approx(2)
    gaps = list(differences(matched(rows, [], "loss"), {"matched_v": "gap"}, "slow", "fast", "_x"))
    assert [(g["seed"], g["measure"], g["layer"]) for g in gaps] == [
        (0, "gap_x", "linear1"),
        (1, "gap_x", "linear1"),
    ]
    assert [g["value"] for g in gaps] == pytest.approx([6, 0])


def values(found: pd.DataFrame, measure: str, *keys: str) -> pd.Series:
    chosen = found[found["measure"] == measure]
    indexed = chosen.set_index(list(keys))["value"]
    assert not indexed.index.has_duplicates
    return indexed


def test_gains_of_speed_limits_are_over_methods_of_the_same_task():
    found = made("b7_speed_limits")
    keys = ("seed", "rank", "layer")
    own = found[found["method"] == "favoured"]
    for other, suffix in (("sgd", ""), ("equal", "_over_equal")):
        theirs = found[found["method"] == other]
        measure = "matched_uc_nfa_pearson"
        expected = values(own, measure, *keys) - values(theirs, measure, *keys)
        gains = values(found, f"uc_nfa_gain{suffix}", *keys)
        assert len(gains) == 2 * 2 * 2
        np.testing.assert_allclose(gains, expected[gains.index], atol=1e-12)
        assert gains.abs().min() > 1e-6
    assert len(values(found, "nfm_share_gain", *keys)) == 8
    losses = values(found, "matched_relative_loss", "seed", "rank", "method", "split")
    train = losses.xs("train", level="split").groupby(["seed", "rank"])
    np.testing.assert_allclose(train.max(), train.min(), rtol=1e-12)


def test_gains_on_images_are_those_of_the_favoured_layer():
    found = made("b7c_favoured_layers")
    levels = values(found, "matched_uc_nfa_pearson", "seed", "method", "layer")
    gains = values(found, "uc_nfa_gain", "seed", "layer")
    over = values(found, "uc_nfa_gain_over_equal", "seed", "layer")
    rises = values(found, "uc_nfa_rise", "seed", "layer")
    starts = values(found[found["epoch"] == 0], "uc_nfa_pearson", "seed", "method", "layer")
    assert len(gains) == len(over) == len(rises) == 2 * 2
    for seed, layer in gains.index:
        own = levels[seed, layer.replace("linear", "layer "), layer]
        assert gains[seed, layer] == pytest.approx(own - levels[seed, "sgd", layer])
        assert over[seed, layer] == pytest.approx(own - levels[seed, "equal", layer])
        assert rises[seed, layer] == pytest.approx(own - starts[seed, "layer " + layer[-1], layer])
        assert len({own, levels[seed, "sgd", layer], levels[seed, "equal", layer]}) == 3


def test_the_null_is_set_beside_independent_matrices():
    found = made("b5_initial_scale")
    keys = ("seed", "gain", "layer", "stage")
    gap = values(found, "null_minus_independent", *keys)
    null = values(found, "null_c_nfa_pearson", *keys)
    independent = values(found, "independent_pearson", *keys)
    assert len(gap) == 2 * 2 * 2 * 2
    np.testing.assert_allclose(gap, (null - independent)[gap.index], atol=1e-12)
    assert set(found["stage"]) == {"initial", "final"}


def test_errors_of_the_prediction_are_averaged_over_the_networks_of_a_seed():
    found = made("b6_early_alignment")
    means = values(found, "mean_relative_error", "seed", "alpha")
    assert sorted(means.index) == [(0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0)]
    own = found[(found["measure"] == "relative_error") & (found["seed"] == 1)]
    expected = own.loc[own["alpha"] == 1.0, "value"]
    assert len(expected) == 3 * 3 * 2
    assert means[1, 1.0] == pytest.approx(expected.mean())


def test_sizes_of_errors_are_of_networks_that_every_dimension_has():
    source = early_alignment()
    raw = source.measurements
    raw.loc[raw["measure"] == "relative_error", "value"] -= 0.5  # of both signs
    found = TABLES["b6_early_alignment"](source)
    sizes = values(found, "mean_error_size", "seed", "dimension")
    assert sorted(sizes.index) == [(0, 16), (0, 32), (1, 16), (1, 32)]
    errors = raw[(raw["measure"] == "relative_error") & (raw["seed"] == 1)]
    own = errors.loc[(errors["dimension"] == 16) & (errors["width"] == 4), "value"]
    assert len(own) == 2 * 3 * 2
    assert own.min() < 0 < own.max()
    assert sizes[1, 16] == pytest.approx(own.abs().mean())


def test_exponents_are_of_the_end_of_training():
    source = ansatz_collection("c1_exponents")
    found = TABLES["c1_exponents"](source)
    initial = found["measure"] == "half_minus_one_initial"
    assert set(found.loc[initial, "epoch"]) == {0}
    assert set(found.loc[~initial, "epoch"]) == {3}
    assert set(found["network"]) == {"fully_connected", "vgg11"}
    keys = ("seed", "network", "gain", "layer", "exponent")
    uncentred = values(found, "uc_nfa_pearson", *keys)
    assert sorted(uncentred.index.unique("exponent")) == [0.25, 0.5, 1]
    raw = source.measurements
    own = (raw["layer"] == "conv3") & (raw["seed"] == 1) & (raw["epoch"] == 4)
    expected = values(raw[own], "uc_nfa_power_pearson", "at")
    conv = found[(found["layer"] == "conv3") & (found["seed"] == 1)]
    assert values(conv, "uc_nfa_pearson", "exponent").to_dict() == expected.to_dict()
    [gap] = conv.loc[conv["measure"] == "half_minus_one", "value"]
    assert gap == pytest.approx(expected[0.5] - expected[1])
    first = (raw["layer"] == "conv3") & (raw["seed"] == 1) & (raw["epoch"] == 1)
    expected = values(raw[first], "uc_nfa_power_pearson", "at")
    [gap] = conv.loc[conv["measure"] == "half_minus_one_initial", "value"]
    assert gap == pytest.approx(expected[0.5] - expected[1])
    assert conv.loc[conv["measure"] == "uc_nfa_pearson", "epoch"].eq(3).all()


def test_gains_of_ratios_are_over_sgd_at_the_loss_that_both_reach():
    source = ansatz_collection("b7r_ratios")
    found = TABLES["b7r_ratios"](source)
    gains = found[(found["layer"] == "linear1") & (found["measure"] == "uc_nfa_gain")]
    assert sorted(gains["ratio"]) == sorted([25, 400] * len(gains["seed"].unique()))
    kept = source.measurements["measure"].isin(["relative_loss", "uc_nfa_pearson"])
    for row in gains.itertuples():
        ends = {}
        trainings = source.measurements[kept & (source.measurements["seed"] == row.seed)]
        trainings = {m: trainings[trainings["method"] == m] for m in ("sgd", row.method)}
        level = max(
            own.loc[(own["measure"] == "relative_loss") & (own["split"] == "train"), "value"].min()
            for own in trainings.values()
        )
        for method, own in trainings.items():
            values = values_at_loss(own, level, "relative_loss")
            ends[method] = values["uc_nfa_pearson", "linear1", "train"]
        assert row.value == pytest.approx(ends[row.method] - ends["sgd"], rel=1e-12)
        assert row.method == f"ratio_{row.ratio}"
    assert found.loc[found["method"] == "sgd", "ratio"].isna().all()
    assert len(find_figure("beaglehole2024/b7r_ratios").figure(found).axes) == 4
