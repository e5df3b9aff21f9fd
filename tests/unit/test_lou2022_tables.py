"""The tables of lou2022, from made-up measurements whose answers are known."""

import math

import numpy as np
import pytest
from made_up import collection, columns

from feature_alignment.measures.hierarchy import profile
from feature_alignment.measures.information import KAPPA, mean_field_equilibrium
from feature_alignment.papers.lou2022 import tables, theory
from feature_alignment.plots.draw import find_figure, of_seeds


def lou_collection(figure, rows, settings):
    return collection(rows, settings, "lou2022", columns=columns("lou2022", figure))


def settings(depth=3, **model):
    return {
        "dataset": {"name": "digits"},
        "model": {
            "architecture": "fully_connected",
            "hidden_layers": depth - 1,
            "width": 8,
            "activation": "tanh",
            **model,
        },
        "learning_rate": 0.1,
        "batch_size": 10,
        "optimizer": "sgd",
        "input_offset": 0.0,
        "rounding": 0,
        "bias_variance": 0.04,
        "stop": {"losses": [0.5, 0.2]},
    }


def rows_of(run, seed, step, curve, *, reached, names=None, split="test", accuracy=0.75):
    """Yield the measurements of one run at one step."""
    names = names or [f"linear{place}" for place in range(1, len(curve) + 1)]
    common = {"paper": "lou2022", "run": run, "seed": seed, "step": step, "epoch": step / 2}
    yield {**common, "measure": "losses_reached", "value": reached}
    yield {**common, "measure": "accuracy", "split": split, "value": accuracy}
    yield {**common, "measure": "loss", "split": split, "value": 0.3}
    yield {**common, "measure": "alignment", "split": split, "value": 0.2}
    for name, value in zip(names, curve, strict=True):
        where = {"layer": name, "split": split}
        yield {**common, **where, "measure": "alignment", "value": value}


def value(table, **where):
    """The one value of the rows that match."""
    for column, wanted in where.items():
        table = table[table[column].isna() if wanted is None else table[column] == wanted]
    assert len(table) == 1, table
    return table["value"].item()


def test_every_layer_stands_beside_the_error_of_its_network():
    rows = []
    for run, accuracy in (("a", 0.75), ("b", 0.5)):
        for split in ("test", "train"):
            rows += rows_of(run, 0, 0, [0.1, 0.2], reached=0, split=split)
            own = accuracy if split == "test" else 1.0
            curve = [0.3, 0.4]
            rows += rows_of(run, 0, 7, curve, reached=2, split=split, accuracy=own)
    table = tables.every_layer(
        lou_collection("e7_every_layer", rows, dict.fromkeys("ab", settings()))
    )
    assert set(table["step"]) == {7}
    for split in ("test", "train"):  # of the labels; accuracy is that on test examples
        for layer in (1, 2):
            place = {"run": "b", "split": split, "layer_index": layer}
            assert value(table, measure="alignment", **place) == [0.3, 0.4][layer - 1]
            assert value(table, measure="accuracy", **place) == 0.5
            assert value(table, measure="error", **place) == 0.5
    assert (table["measure"] == "reached").sum() == 4


def test_the_peak_is_taken_for_every_window():
    curve = [0.1, 0.1, 0.9, 0.1, 0.1, 0.5, 0.5, 0.5, 0.1]
    rows = [*rows_of("depth9", 0, 0, curve[::-1], reached=0)]
    rows += rows_of("depth9", 0, 7, curve, reached=2)
    common = {"paper": "lou2022", "run": "depth9", "seed": 0, "step": 0, "epoch": 0}
    rows.append({**common, "measure": "equilibrium_layer_mean_field", "value": 4.0})
    made = lou_collection("e8_smoothing", rows, {"depth9": settings(depth=9)})
    table = tables.smoothing(made)
    # By hand: over 3 layers 1.5 around 7, over 5 2.1 around 5
    found = {1: 3, 3: 7, 5: 5}
    for window, peak in found.items():
        assert value(table, measure="peak_layer", window=window) == peak
        assert value(table, measure="peak_shift", window=window) == peak - 7
        assert value(table, measure="initial_peak_layer", window=window) == 10 - peak
    exact = table[table["measure"] == "equilibrium_layer_mean_field"]
    assert exact["window"].tolist() == [1, 3, 5, 7]
    assert set(exact["value"]) == {4.0}


def test_stages_are_where_losses_are_first_reached():
    curve = [0.1, 0.2, 0.1]
    rows = [
        row
        for step, reached in ((0, 0), (4, 0), (6, 1), (8, 1), (10, 2))
        for row in rows_of("a", 0, step, curve, reached=reached)
    ]
    rows += [
        row
        for step, n in ((0, 0), (6, 1), (9, 1))
        for row in rows_of("b", 1, step, curve, reached=n)
    ]
    made = lou_collection("e1_hierarchy", rows, {"a": settings(), "b": settings()})
    table = tables.hierarchy(made)
    stages = table[table["measure"] == "peak_layer"].set_index(["run", "step"])["stage"].to_dict()
    assert stages == {
        ("a", 0): "initial",
        ("a", 6): "loss 0.5",
        ("a", 10): "loss 0.2",
        ("b", 0): "initial",
        ("b", 6): "loss 0.5",
        ("b", 9): "cut off",
    }
    assert value(table, run="a", measure="reached") == 1
    assert value(table, run="b", measure="reached") == 0
    assert set(table["dataset"]) == {"digits"}
    assert set(table["architecture"]) == {"fully_connected"}


def test_curves_are_summarised_over_weight_layers_alone():
    names = ["conv1", "norm1", "stage1.block1.conv1", "stage1.block1.shortcut",
             "stage1.block1.shortcut_norm", "linear1"]  # fmt: skip
    curve = [0.1, 9.0, 0.6, 0.5, 9.0, 0.2]
    rows = [*rows_of("a", 0, 0, curve, reached=0, names=names)]
    rows += rows_of("a", 0, 2, curve, reached=2, names=names, accuracy=0.9)
    made = lou_collection("e4_architectures", rows, {"a": settings(architecture="resnet18")})
    table = tables.architectures(made)
    last = table[table["step"] == 2]
    alignments = last[last["measure"] == "alignment"]
    assert alignments["layer_index"].tolist() == [1, 2, 3, 4]
    assert alignments["value"].tolist() == [0.1, 0.6, 0.5, 0.2]
    smooth = [0.35, 0.4, 1.3 / 3, 0.35]
    expected = {
        "peak_layer": 3,
        "peak_share": 0.75,
        "near_peak_low": 3,
        "near_peak_high": 3,
        "spread": smooth[2] - 0.35,
        "interior_rise": smooth[2] / 0.35,
        "maximum_alignment": 0.6,
        "mean_alignment": 0.35,
        "rise_above_last": 3,
        "error": 0.1,
    }
    for measure, wanted in expected.items():
        assert value(last, measure=measure) == pytest.approx(wanted), measure
    assert set(table["family"]) == {"resnet"}
    assert set(table["layers"]) == {4}


def test_a_dead_layer_leaves_the_others_in_place():
    full, names = [0.1, 0.2, 0.3, 0.2], ["linear1", "linear3", "linear4"]
    rows = [*rows_of("a", 0, 0, full, reached=0)]
    rows += rows_of("a", 0, 2, [0.1, 0.5, 0.1], reached=2, names=names)
    table = tables.hierarchy(lou_collection("e1_hierarchy", rows, {"a": settings()}))
    last = table[(table["step"] == 2) & (table["measure"] == "alignment")]
    assert last["layer_index"].tolist() == [1, 3, 4]
    # Smoothed over the layers that are there: 0.3, 0.233, 0.3
    assert value(table[table["step"] == 2], measure="peak_layer") == 1


def depth_rows(peaks, seed=0):
    """Networks of some depths, each with one layer far more aligned than the others."""
    for depth, peak in peaks.items():
        curve = [0.1 + 0.01 * seed] * depth
        curve[peak - 1] += 0.9 + 0.04 * seed
        run = f"depth{depth}"
        yield from rows_of(run, seed, 0, [0.1] * depth, reached=0)
        yield from rows_of(run, seed, 7, curve, reached=2)
        once = {
            "input_correlation": 0.3,
            "equilibrium_layer": 3.0,
            "equilibrium_layer_mean_field": mean_field_equilibrium(0.3, depth),
        }
        for measure, found in once.items():
            common = {"paper": "lou2022", "run": run, "seed": seed, "step": 0, "epoch": 0}
            yield {**common, "measure": measure, "value": found}


def test_peaks_are_set_against_every_law(monkeypatch):
    peaks = {10: 5, 20: 8, 40: 14}
    # An unsmoothed peak stands where it was put
    for module in (tables, theory):
        monkeypatch.setattr(module, "profile", lambda curve: profile(curve, window=1))
    made = lou_collection(
        "e3_peak_depth",
        [*depth_rows(peaks), *depth_rows({10: 6, 20: 8, 40: 12}, seed=1)],
        {f"depth{depth}": settings(depth=depth) for depth in peaks},
    )
    table = tables.peaks_over_depth(made)
    depths, found = np.array(list(peaks)), np.array(list(peaks.values()))
    exact = np.array([mean_field_equilibrium(0.3, depth) for depth in peaks])
    laws = {
        "mean_field": exact,
        "finite_width": 3.0,
        "leading_order": KAPPA**0.2 * depths**0.6,
        "half": depths / 2,
        "constant": 9.0,
    }
    where = {"seed": 0, "split": "test"}
    for law, expected in laws.items():
        distance = math.sqrt(np.mean((found - expected) ** 2))
        assert value(table, measure=f"distance_{law}", **where) == pytest.approx(distance), law
    allowed = np.maximum(2, 0.2 * exact)
    scaled = np.mean(np.abs(found - exact) / allowed)
    assert value(table, measure="scaled_distance", **where) == pytest.approx(scaled)
    x = np.log(depths) - np.log(depths).mean()
    assert value(table, measure="initial_distance_half", **where) == pytest.approx(
        math.sqrt(np.mean((1 - depths / 2) ** 2))  # flat curves peak at the first layer
    )
    for measure, y in (("exponent", found), ("exponent_mean_field", exact)):
        slope = (x * np.log(y)).sum() / (x * x).sum()
        assert value(table, measure=measure, **where) == pytest.approx(slope)
    # Means of the two seeds: 0.555 at layer 5, 0.575 at layer 6
    means = {"mean_curve_peak": 6, "mean_curve_near_low": 5, "mean_curve_near_high": 6}
    for measure, wanted in means.items():
        assert value(table, measure=measure, depth=10, split="test") == wanted
    curve = table[table["measure"] == "mean_field_curve"]
    assert curve["seed"].isna().all()
    assert curve["depth"].max() == 60
    at = curve[curve["depth"] == 60]["value"].item()
    assert at == pytest.approx(mean_field_equilibrium(0.3, 60))


def test_replicates_are_set_against_laws_one_by_one(monkeypatch):
    for module in (tables, theory):
        monkeypatch.setattr(module, "profile", lambda curve: profile(curve, window=1))
    chosen = {f"depth{depth}": settings(depth=depth) for depth in (10, 20)}
    again = {f"{run}_again": {**of_run, "rounding": 1} for run, of_run in chosen.items()}
    rows = [*depth_rows({10: 5, 20: 8})]
    rows += [row | {"run": f"{row['run']}_again"} for row in depth_rows({10: 6, 20: 6})]
    table = tables.peaks_over_depth(lou_collection("e3_peak_depth", rows, chosen | again))
    exponents = table[table["measure"] == "exponent"].set_index("replicate")["value"]
    assert exponents.to_dict() == pytest.approx({0: math.log(8 / 5) / math.log(2), 1: 0}, abs=1e-12)
    drawn = of_seeds(table)
    assert value(drawn, measure="peak_layer", depth=20) == 7
    assert value(drawn, measure="alignment", depth=20, layer_index=6) == pytest.approx(0.55)
    curve = drawn[drawn["measure"] == "mean_field_curve"]
    assert curve["depth"].is_unique
    assert len(curve) == len(table[table["measure"] == "mean_field_curve"])


@pytest.mark.parametrize("constant", [0.5, 1.0, 2.0])
def test_the_crossing_constant_is_found(monkeypatch, constant):
    def peak(depth):  # c of the recursion, written out, and where 1 − c = a c̃
        c, forward = 0.3, []
        for _ in range(depth):
            forward.append(c)
            c = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi
        kept = [math.prod(1 - math.acos(x) / math.pi for x in forward[place:-1])
                for place in range(depth)]  # fmt: skip
        gaps = [math.log((1 - x) / (constant * k)) for x, k in zip(forward, kept, strict=True)]
        place = next(i for i, gap in enumerate(gaps) if gap <= 0)
        return place + gaps[place - 1] / (gaps[place - 1] - gaps[place])

    depths = np.array([20.0, 40.0])
    found = theory._crossing_constant(np.array([peak(20), peak(40)]), depths, np.full(2, 0.3))
    assert found == pytest.approx(constant, rel=0.012)  # half a step of those that are tried


def test_the_untrained_network_is_told_apart():
    rows = rows_of("depth3", 0, 0, [0.1, 0.1, 0.4], reached=0)
    rows = [*rows, *rows_of("depth3", 0, 7, [0.9, 0.1, 0.1], reached=2)]
    table = tables.with_initial(
        tables.by_stage(lou_collection("e1_hierarchy", rows, {"depth3": settings()}))
    )
    first = table[table["measure"] == "initial_alignment"]
    assert first.set_index("layer_index")["value"].to_dict() == {1: 0.1, 2: 0.1, 3: 0.4}
    assert value(table, measure="initial_peak_layer") == 3
    assert value(table, measure="peak_layer") == 1
    assert value(table, measure="initial_interior_rise") == 1


def test_the_distance_to_the_equilibrium_is_that_of_the_same_run():
    chosen = {"depth10": settings(depth=10), "depth20": settings(depth=20) | {"input_offset": 2.0}}
    rows = [*depth_rows({10: 5, 20: 8}), *depth_rows({10: 6, 20: 9}, seed=1)]
    table = tables.input_correlation(lou_collection("c2_input_correlation", rows, chosen))
    distances = table[table["measure"] == "distance_to_equilibrium"]
    peaks = table[table["measure"] == "peak_layer"].set_index(["run", "seed"])["value"]
    assert len(distances) == 4
    for row in distances.itertuples():
        depth = int(row.run.removeprefix("depth"))
        expected = peaks[row.run, row.seed] - mean_field_equilibrium(0.3, depth)
        assert row.value == pytest.approx(expected)
    assert set(distances["input_offset"]) == {0.0, 2.0}


def test_the_evolution_has_the_spread_at_every_step():
    curves = {0: [0.1, 0.1, 0.1], 5: [0.1, 0.4, 0.1], 9: [0.1, 1.0, 0.4]}
    rows = [
        row
        for step, curve in curves.items()
        for row in rows_of("a", 0, step, curve, reached=2 if step == 9 else 0)
    ]
    table = tables.evolution(lou_collection("e6_evolution", rows, {"a": settings()}))
    spreads = table[table["measure"] == "spread"].set_index("step")["value"].to_dict()
    # Smoothed: 0.25 0.2 0.25; 0.55 0.5 0.7
    assert spreads == pytest.approx({0: 0, 5: 0.05, 9: 0.2})
    assert value(table, measure="final_spread") == pytest.approx(0.2)
    assert value(table, measure="reached") == 1


def test_information_is_set_against_the_recursion():
    common = {"paper": "lou2022", "run": "a", "seed": 0, "step": 0, "epoch": 0}
    measured = {"forward_distance": 0.5, "backward_correlation": 0.3}
    rows = [
        {
            **common,
            "layer": f"linear{place}",
            "measure": f"{measure}{end}",
            "value": number * factor,
        }
        for place in (1, 2)
        for measure, number in measured.items()
        for end, factor in (("", 1.0 + 0.1 * place), ("_mean_field", 1.0))
    ]
    made = lou_collection("e2_information", rows, {"a": settings(depth=2)})
    table = tables.information(made)
    for side in ("forward", "backward"):
        for place in (1, 2):
            found = value(table, measure=f"{side}_ratio", layer_index=place)
            assert found == pytest.approx(1 + 0.1 * place)
    exact = {"input_correlation": 0.3, "seed": None}
    assert value(table, measure="equilibrium_curve", depth=100, **exact) == pytest.approx(
        26.72, abs=0.01
    )
    ratio = value(table, measure="equilibrium_over_leading_order", depth=100, **exact)
    assert ratio == pytest.approx(26.72 / (2.1355 * 100**0.6), abs=1e-3)
    slope = value(table, measure="equilibrium_exponent", depth=10, **exact)
    assert slope == pytest.approx(math.log10(26.72 / 4.647), abs=1e-3)
    limit = value(table, measure="distance_over_limit", depth=10000, **exact)
    assert limit == pytest.approx(0.997, abs=0.002)


def test_trained_alignments_stand_beside_the_information_of_their_start():
    rows = [*depth_rows({6: 3})]
    common = {"paper": "lou2022", "run": "depth6", "seed": 0, "step": 0, "epoch": 0}
    for measure in ("forward_distance", "backward_correlation"):
        for end in ("", "_mean_field"):
            row = {**common, "layer": "linear1", "measure": f"{measure}{end}", "value": 0.5}
            rows.append(row)
    made = lou_collection("e2_information", rows, {"depth6": settings(depth=6)})
    table = tables.information(made)
    alignments = table[table["measure"] == "alignment"]
    assert set(alignments["step"]) == {7}
    assert alignments["layer_index"].notna().sum() == 6


@pytest.mark.parametrize("figure", tables.TABLES)
def test_every_table_has_the_columns_of_its_figure(figure):
    chosen = {f"depth{depth}": settings(depth=depth) for depth in (10, 20)}
    rows = [*depth_rows({10: 5, 20: 8})]
    common = {"paper": "lou2022", "seed": 0, "step": 0, "epoch": 0, "layer": "linear1"}
    for measure in ("forward_distance", "backward_correlation"):
        for end in ("", "_mean_field"):
            row = {**common, "measure": f"{measure}{end}", "value": 0.5}
            rows += [{**row, "run": run} for run in chosen]
    table = tables.TABLES[figure](lou_collection(figure, rows, chosen))
    assert table[[*find_figure(f"lou2022/{figure}").COLUMNS]].notna().any().all()
    assert np.isfinite(table["value"]).all()
