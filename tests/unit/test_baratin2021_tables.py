from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from made_up import collection, readings

from feature_alignment.papers.baratin2021 import tables
from feature_alignment.plots.draw import find_figure
from feature_alignment.tables import COLUMNS

NOISE = {"clean": {"dataset": {"label_noise": 0.0}}, "noisy": {"dataset": {"label_noise": 0.5}}}
KINDS = {
    "random": {"difficult": {"name": "mnist", "label_noise": 1.0}},
    "other": {"difficult": {"name": "kmnist", "label_noise": 0.0}},
}
RADII = [(k + 0.5) / 10 for k in range(10)]
LAYERS = ("conv1", "norm1", "conv2", "linear1")


def collected(rows, settings, **columns):
    """Return measurements with a column per setting."""
    return collection(rows, settings, columns=columns)


def of_noise(rows):
    """Return measurements of the runs of :data:`NOISE`."""
    return collected(rows, NOISE, label_noise="dataset.label_noise")


def disk():
    """Measurements of eigenfunctions on the disk."""
    measures = ("alignment", "eigenvalue_ratio", "effective_rank", "label_energy")
    places = [("loss", "train"), ("accuracy", "train"), ("trace", "grid")]
    places += [(f"{m}_{kind}", "grid") for m in measures for kind in ("centered", "uncentered")]
    places += [("angular_mean", "grid", None, radius) for radius in RADII]
    return collected(readings(["disk"], [0, 10, 100], places), {"disk": {}})


def noise(levels=(0.0, 0.5)):
    """Measurements of convolutional networks, a run per share of random labels."""
    measures = ["loss", "accuracy", "alignment", "effective_rank"]
    measures += [f"eigenvalue_{which}" for which in ("largest", "mean", "median")]
    counts = (1, 10, 40, 80, 160, 320)
    places = []
    for split in ("train", "test"):
        places += [(measure, split) for measure in measures]
        of_counts = product(("trace_ratio", "label_energy"), counts)
        places += [(measure, split, None, count) for measure, count in of_counts]
        places += [("alignment", split, layer) for layer in LAYERS]
    settings = {f"noise{level:.0%}": {"dataset": {"label_noise": level}} for level in levels}
    rows = readings(settings, [0, 5, 10, 30], places)
    return collected(rows, settings, label_noise="dataset.label_noise")


def easy_difficult(settings, **columns):
    """Measurements of networks that see easy and difficult examples."""
    splits = ("easy", "difficult", "test")
    places = [(measure, split) for split in splits for measure in ("loss", "accuracy")]
    places += [
        ("alignment", split, layer)
        for split in splits[:2]
        for layer in (None, "linear1", "linear2")
    ]
    return collected(readings(settings, [0, 5, 7, 10, 30], places), settings, **columns)


def complexity():
    """Measurements of networks trained to a small loss, by width and by share of random labels."""
    runs = {
        "w8": (8, 0.0, 0.1),
        "w16": (16, 0.0, 0.1),
        "noisy": (16, 0.5, 0.1),
        "fast": (8, 0.0, 1),
    }
    settings = {
        run: {
            "model": {"width": width},
            "dataset": {"label_noise": level},
            "learning_rate": rate,
            "stop": {"loss": 0.5},
        }
        for run, (width, level, rate) in runs.items()
    }
    norms = ("frobenius_product", "path_norm", "spectral_complexity")
    places = [("loss", "train"), ("loss", "test"), ("path_complexity", "train")]
    places += [(norm,) for norm in norms]
    columns = {"width": "model.width", "label_noise": "dataset.label_noise"}
    rows = readings(settings, [0, 10, 18], places)
    return collected(rows, settings, **columns, learning_rate="learning_rate")


def capacity():
    """Measurements of such networks that have the measure of Neyshabur et al."""
    given = complexity()
    measured = given.measurements
    names = {"frobenius_product": "neyshabur_capacity"}
    accuracy = measured[measured["measure"] == "loss"].assign(measure="accuracy")
    table = pd.concat([measured.replace({"measure": names}), accuracy], ignore_index=True)
    return replace(given, measurements=table)


def rates():
    """Measurements of convolutional networks, a run per learning rate."""
    settings = {f"rate{rate}": {"learning_rate": rate} for rate in (0.001, 0.01)}
    places = [
        (measure, split, layer)
        for split in ("train", "test")
        for measure, layer in (("accuracy", None), ("alignment", None), ("alignment", "conv1"))
    ]
    rows = readings(settings, [0, 5, 10, 30], places)
    return collected(rows, settings, learning_rate="learning_rate")


def both_kernels():
    """Measurements of the kernel centred and not centred."""
    given = noise()
    measured = given.measurements
    names = ["alignment", "effective_rank", "eigenvalue_largest", "eigenvalue_mean"]
    names += ["eigenvalue_median"]
    more = measured[measured["measure"].isin(names)]
    more = more.assign(measure=more["measure"] + "_uncentered")
    ratio = measured[(measured["measure"] == "trace_ratio") & (measured["at"] == 40)]
    ratio = ratio.assign(measure="trace_ratio_40_uncentered", at=pd.NA)
    return replace(given, measurements=pd.concat([measured, more, ratio], ignore_index=True))


def maps():
    """Measurements of the tangent kernel on the square."""
    measures = ("accuracy", "alignment_centered", "class_correlation", "class_correlation_other")
    places = [("loss", "train"), ("accuracy", "train"), ("boundary_ratio", "grid")]
    places += [(measure, "grid") for measure in measures]
    return collected(readings(["maps"], [0, 10, 100], places), {"maps": {}})


DEPTHS = {f"depth{n}": {"model": {"hidden_layers": n}} for n in (3, 15)}
COLLECTIONS = {
    "fig1_eigenfunctions": disk,
    "fig2_spectrum": noise,
    "fig3_alignment": noise,
    "fig4_difficulty": lambda: easy_difficult(KINDS),
    "fig6_complexity": complexity,
    "f6n_neyshabur": capacity,
    "f3u_uncentred": both_kernels,
    "a4r_rates": rates,
    "a5_kernel_maps": maps,
    "a6_yin_yang": maps,
    "a1_half_disk": disk,
    "a2_depth": lambda: easy_difficult(DEPTHS, depth="model.hidden_layers"),
    "a3_resnet": lambda: noise([0.0]),
    "a4_learning_rate": lambda: noise([0.0]),
}


def row(run, seed, step, measure, value, split=None, layer=None, at=None):
    time = {"paper": "baratin2021", "run": run, "seed": seed, "step": step, "epoch": step / 10}
    place = {"split": split, "layer": layer, "at": at}
    return {**time, **place, "measure": measure, "value": value}


def by_place(table, measure, *columns):
    """Return the values of a measure by columns, each of which must tell them apart."""
    rows = table[table["measure"] == measure].astype(object)
    rows = rows.where(rows.notna(), None)
    found = {tuple(entry[name] for name in columns): entry["value"] for _, entry in rows.iterrows()}
    assert len(found) == len(rows)
    return found


def test_every_figure_that_is_collected_is_covered():
    assert set(COLLECTIONS) == set(tables.TABLES)


def test_rings_get_their_radius():
    rows = [
        row("disk", seed, step, "angular_mean", k + 100 * seed + step, "grid", at=radius)
        for seed in (0, 1)
        for step in (0, 20)
        for k, radius in enumerate(RADII)
    ]
    rows.append(row("disk", 0, 0, "alignment_centered", 0.3, "grid"))
    found = tables.eigenfunctions(collected(rows, {"disk": {}}))
    assert by_place(found, "angular_mean", "seed", "step", "radius") == {
        (seed, step, radius): k + 100 * seed + step
        for seed in (0, 1)
        for step in (0, 20)
        for k, radius in enumerate(RADII)
    }
    assert by_place(found, "alignment_centered", "radius") == {(None,): 0.3}
    assert list(found.columns) == [*COLUMNS[:-2], "radius", "measure", "value"]
    assert found["at"].isna().all()


def test_stretch_is_the_largest_eigenvalue_over_the_median():
    values = {
        ("clean", 0, 0, "train"): (6.0, 2.0),
        ("clean", 0, 0, "test"): (5.0, 2.0),
        ("clean", 0, 9, "train"): (80.0, 4.0),
        ("clean", 1, 0, "train"): (9.0, 1.0),
        ("noisy", 0, 0, "train"): (7.0, 0.5),
    }
    rows = []
    for (run, seed, step, split), (largest, median) in values.items():
        rows.append(row(run, seed, step, "eigenvalue_median", median, split))
        rows.append(row(run, seed, step, "eigenvalue_largest", largest, split))
        rows.append(row(run, seed, step, "alignment", 0.5, split))
        rows.append(row(run, seed, step, "alignment", 0.5, split, "conv1"))
        rows.append(row(run, seed, step, "loss", 0.5, split))
        rows.append(row(run, seed, step, "accuracy", 0.5, split))
        rows.append(row(run, seed, step, "trace_ratio", 0.5, split, at=40))
        rows.append(row(run, seed, step, "label_energy", 0.5, split, at=40))
    found = tables.spectrum(of_noise(rows))
    stretch = by_place(found, "stretch", "run", "seed", "step", "split")
    assert stretch == {
        ("clean", 0, 0, "train"): 3,
        ("clean", 0, 0, "test"): 2.5,
        ("clean", 0, 9, "train"): 20,
        ("clean", 1, 0, "train"): 9,
        ("noisy", 0, 0, "train"): 14,
    }
    assert found["layer"].isna().all()
    assert set(found["measure"]) == {
        "eigenvalue_largest",
        "eigenvalue_median",
        "accuracy",
        "stretch",
        "trace_ratio_40",
        "label_energy_40",
    }
    assert found["at"].isna().all()
    levels = found.groupby("run")["label_noise"].unique()
    assert {run: list(values) for run, values in levels.items()} == {"clean": [0], "noisy": [0.5]}
    epochs = by_place(found, "stretch", "run", "seed", "step", "split", "epoch")
    assert ("clean", 0, 9, "train", 0.9) in epochs


ALIGNMENTS = {
    # Run, seed, split: the whole kernel and its layers at steps 0, 10 and 20
    ("clean", 0, "train"): {None: (0.1, 0.4, 0.2), "b": (0.1, 0.2, 0.3), "a": (0.3, 0.2, 0.1)},
    ("clean", 0, "test"): {None: (0.3, 0.2, 0.1), "b": (0.9, 0.9, 0.2), "a": (0.1, 0.1, 0.8)},
    ("clean", 1, "train"): {None: (0.1, 0.2, 0.6), "b": (0.5, 0.5, 0.5), "a": (0.5, 0.5, 0.5)},
    ("noisy", 0, "train"): {None: (0.1, 0.1, 0.1), "b": (0.1, 0.1, 0.4), "a": (0.1, 0.1, 0.1)},
}


def alignment_rows():
    for (run, seed, split), curves in ALIGNMENTS.items():
        for place, step in enumerate((0, 10, 20)):
            yield row(run, seed, step, "accuracy", 0.5, split)
            yield row(run, seed, step, "loss", 0.5, split)
            yield row(run, seed, step, "effective_rank", 0.5, split)
            for layer, curve in curves.items():
                yield row(run, seed, step, "alignment", curve[place], split, layer)


@pytest.fixture(scope="module")
def aligned():
    return tables.alignment(of_noise(alignment_rows()))


def test_the_maximum_alignment_is_that_of_the_whole_kernel_along_the_run(aligned):
    assert by_place(aligned, "maximum_alignment", "run", "seed", "split", "step", "layer") == {
        ("clean", 0, "train", 10, None): 0.4,
        ("clean", 0, "test", 0, None): 0.3,
        ("clean", 1, "train", 20, None): 0.6,
        ("noisy", 0, "train", 0, None): 0.1,
    }


def test_the_final_layer_alignment_is_that_of_each_layer_at_the_end(aligned):
    columns = ("run", "seed", "split", "layer", "step", "depth")
    assert by_place(aligned, "final_layer_alignment", *columns) == {
        ("clean", 0, "train", "b", 20, 1): 0.3,
        ("clean", 0, "train", "a", 20, 2): 0.1,
        ("clean", 0, "test", "b", 20, 1): 0.2,
        ("clean", 0, "test", "a", 20, 2): 0.8,
        ("clean", 1, "train", "b", 20, 1): 0.5,
        ("clean", 1, "train", "a", 20, 2): 0.5,
        ("noisy", 0, "train", "b", 20, 1): 0.4,
        ("noisy", 0, "train", "a", 20, 2): 0.1,
    }


def test_the_layer_spread_is_the_most_over_the_least_aligned_at_the_end(aligned):
    columns = ("run", "seed", "split", "step", "layer", "depth")
    found = by_place(aligned, "layer_spread", *columns)
    expected = {("clean", 0, "train"): 3, ("clean", 0, "test"): 4, ("clean", 1, "train"): 1}
    expected["noisy", 0, "train"] = 4
    assert found == {
        (*place, 20, None, None): pytest.approx(spread) for place, spread in expected.items()
    }


def test_accuracies_and_alignments_are_kept_with_depth_and_noise(aligned):
    assert set(aligned["measure"]) == {
        "accuracy",
        "alignment",
        "maximum_alignment",
        "final_layer_alignment",
        "layer_spread",
    }
    kept = by_place(aligned, "alignment", "run", "seed", "split", "layer", "step", "depth")
    assert len(kept) == 4 * 3 * 3
    assert kept["clean", 0, "test", "a", 20, 2] == 0.8
    assert kept["clean", 0, "train", None, 10, None] == 0.4
    assert set(aligned.loc[aligned["run"] == "noisy", "label_noise"]) == {0.5}
    assert list(aligned.columns) == [*COLUMNS[:-2], "label_noise", "depth", "measure", "value"]


def test_depth_is_the_order_of_the_layers_even_where_one_is_dead_at_first():
    rows = [
        row(run, seed, step, "alignment", 0.5, split, layer)
        for run in NOISE
        for seed in (0, 1)
        for step in (0, 10)
        for split in ("train", "test")
        for layer in LAYERS
        if (seed, step, layer) not in ((0, 0, LAYERS[0]), (0, 0, LAYERS[2]))
    ]
    rows += [row(run, seed, 0, "alignment", 0.5, "train") for run in NOISE for seed in (0, 1)]
    found = tables.alignment(of_noise(rows))
    layers = found[found["layer"].notna()]
    depths = layers.groupby("layer")["depth"].unique()
    assert {layer: list(places) for layer, places in depths.items()} == {
        layer: [place] for place, layer in enumerate(LAYERS, start=1)
    }


def test_each_run_has_its_own_order_of_layers():
    rows = [
        row(run, 0, 0, "alignment", 0.5, "train", layer)
        for run, layers in (("clean", ("a", "b")), ("noisy", ("c", "b", "a")))
        for layer in (None, *layers)
    ]
    found = tables.alignment(of_noise(rows))
    depths = by_place(found, "final_layer_alignment", "run", "layer", "depth")
    assert set(depths) == {
        ("clean", "a", 1),
        ("clean", "b", 2),
        ("noisy", "c", 1),
        ("noisy", "b", 2),
        ("noisy", "a", 3),
    }


def test_the_learning_rate_has_spectra_and_alignments_and_nothing_twice():
    given = noise()
    found = tables.learning_rate(given)
    spectra, alignments = tables.spectrum(given), tables.alignment(given)
    assert set(found["measure"]) == set(spectra["measure"]) | set(alignments["measure"])
    keys = ["run", "seed", "step", "split", "layer", "measure"]  # no coordinate is left
    assert not found.duplicated(keys).any()
    accuracies = (alignments["measure"] == "accuracy").sum()
    assert len(found) == len(spectra) + len(alignments) - accuracies
    assert list(found.columns) == list(alignments.columns)


def test_the_onset_is_half_of_the_rise_within_the_steps_that_all_runs_have():
    curves = {"slow": (1, 2, 4, 8, 9), "fast": (1, 6, 7, 8)}  # fast ends at step 10
    rows = [
        row(run, seed, step, "alignment", value, split, layer)
        for run, values in curves.items()
        for seed in (0, 1)
        for split, layer in (("train", None), ("test", None), ("train", "conv1"))
        for step, value in zip((0, 5, 7, 10, 20), values, strict=False)
    ]
    settings = {"slow": {"learning_rate": 0.001}, "fast": {"learning_rate": 0.01}}
    found = tables.rates(collected(rows, settings, learning_rate="learning_rate"))
    # Up to step 10: half of the rise from 1 to 8 is 4.5
    assert by_place(found, "onset_step", "learning_rate", "seed", "split") == {
        (rate, seed, "train"): step for rate, step in ((0.001, 10), (0.01, 5)) for seed in (0, 1)
    }
    assert found["layer"].isna().all()


def test_gaps_are_test_minus_training():
    places = {"loss": {"train": 0.25, "test": 1.0}, "accuracy": {"train": 1.0, "test": 0.75}}
    runs = {"clean": 0.0, "noisy": 0.5}
    settings = {
        run: {
            "model": {"width": 8},
            "dataset": {"label_noise": level},
            "learning_rate": 0.1,
            "stop": {"loss": 0.5},
        }
        for run, level in runs.items()
    }
    rows = [
        row(run, 0, step, measure, value + (run == "noisy") * (split == "test"), split)
        for run in runs
        for step in (0, 10)
        for measure, values in places.items()
        for split, value in values.items()
    ]
    rows += [row(run, 0, step, "neyshabur_capacity", step + 1) for run in runs for step in (0, 10)]
    columns = {"width": "model.width", "label_noise": "dataset.label_noise"}
    given = collected(rows, settings, **columns, learning_rate="learning_rate")
    found = tables.capacity(given)
    noise = found[found["sweep"] == "label_noise"]
    assert by_place(noise, "loss_gap", "run", "step") == {("clean", 10): 0.75, ("noisy", 10): 1.75}
    assert by_place(noise, "error_gap", "run") == {("clean",): 0.25, ("noisy",): -0.75}
    assert by_place(noise, "neyshabur_capacity", "run") == {("clean",): 11, ("noisy",): 11}
    assert by_place(noise, "initial_neyshabur_capacity", "run") == {("clean",): 1, ("noisy",): 1}
    assert by_place(noise, "reached", "run") == {("clean",): 1, ("noisy",): 1}


def test_both_kernels_are_kept_with_depth_and_one_trace_ratio():
    found = tables.uncentred(both_kernels())
    names = set(found["measure"])
    assert {"trace_ratio_40", "trace_ratio_40_uncentered", "alignment_uncentered"} <= names
    assert not {"loss", "trace_ratio", "label_energy"} & names
    layers = found[found["layer"].notna()]
    assert set(layers["measure"]) == {"alignment", "alignment_uncentered"}
    assert set(layers["depth"]) == {1, 2, 3, 4}
    assert found["at"].isna().all()


def test_the_margin_is_the_own_classes_minus_the_others():
    rows = [
        row("maps", seed, step, measure, value + seed + 2 * step * (measure[-1] == "n"), "grid")
        for seed in (0, 1)
        for step in (0, 3)
        for measure, value in (("class_correlation", 0.5), ("class_correlation_other", 0.25))
    ]
    found = tables.kernel_maps(collected(rows, {"maps": {}}))
    assert by_place(found, "class_margin", "seed", "step", "split") == {
        (seed, step, "grid"): 0.25 + 2 * step for seed in (0, 1) for step in (0, 3)
    }


CURVES = {
    # Easy and difficult alignments, and the accuracy on the easy, at steps 0, 5, 7, 10, 20
    ("random", 0): ((2, 3, 5, 9, 10), (2, 1, 1, 3, 4), (0.1, 0.5, 0.9, 0.8, 1.0)),
    ("random", 1): ((1, 2, 4, 8, 6), (1, 1, 2, 1, 3), (0.1, 0.5, 0.89, 0.95, 1.0)),
    ("other", 0): ((1, 8, 6, 4, 2), (4, 2, 2, 2, 2), (0.1, 0.2, 0.3, 0.4, 0.89)),
}
CURVE_STEPS = (0, 5, 7, 10, 20)
# Worked out by hand from CURVES
DERIVED = {
    "maximum_ratio": {("random", 0): 5, ("random", 1): 8, ("other", 0): 4},
    # Half of the rise: from 2 to 10, 6 at step 10; from 1 to 8, 4.5 at steps 10 and 5
    "onset_step": {("random", 0): 10, ("random", 1): 10, ("other", 0): 5},
    # A quarter and three quarters of it: steps 7 (5 ≥ 4) and 10; 7 (4 ≥ 2.75) and 10; 5 and 5
    "rise_factor": {("random", 0): 10 / 7, ("random", 1): 10 / 7, ("other", 0): 1},
    # Fitted at step 7, 10, and never, when the end counts
    "growth_before": {("random", 0): 1 / 2, ("random", 1): 1, ("other", 0): 1 / 2},
    "growth_after": {("random", 0): 4, ("random", 1): 3, ("other", 0): 1},
}


def curve_rows(curves=CURVES, steps=CURVE_STEPS):
    for (run, seed), (easy, difficult, accuracy) in curves.items():
        for place, step in enumerate(steps):
            yield row(run, seed, step, "accuracy", accuracy[place], "easy")
            yield row(run, seed, step, "accuracy", 0.95, "difficult")
            yield row(run, seed, step, "accuracy", 0.95, "test")
            yield row(run, seed, step, "loss", 0.5, "easy")
            yield row(run, seed, step, "alignment", easy[place] / 100, "easy")
            yield row(run, seed, step, "alignment", 0.7, "easy", "linear1")
            yield row(run, seed, step, "alignment", difficult[place] / 100, "difficult")
            yield row(run, seed, step, "alignment", 0.1, "difficult", "linear1")


@pytest.fixture(scope="module")
def difficulty():
    return tables.difficulty(collected(curve_rows(), KINDS))


@pytest.mark.parametrize("measure", DERIVED)
def test_what_is_derived_once_a_run(difficulty, measure):
    found = by_place(difficulty, measure, "run", "seed", "step", "split", "layer")
    assert found == {
        (*series, 20, None, None): pytest.approx(value)
        for series, value in DERIVED[measure].items()
    }


def test_the_ratio_is_easy_over_difficult_at_every_step(difficulty):
    found = by_place(difficulty, "alignment_ratio", "run", "seed", "step", "split", "layer")
    expected = {
        (*series, step, None, None): pytest.approx(easy[place] / difficult[place])
        for series, (easy, difficult, _) in CURVES.items()
        for place, step in enumerate(CURVE_STEPS)
    }
    assert found == expected


def test_the_maximum_ratio_is_told_apart_by_kind(difficulty):
    columns = ("run", "seed", "difficult")
    random = by_place(difficulty, "maximum_ratio_random_labels", *columns)
    other = by_place(difficulty, "maximum_ratio_other_dataset", *columns)
    assert random == {
        ("random", 0, "random_labels"): pytest.approx(5),
        ("random", 1, "random_labels"): pytest.approx(8),
    }
    assert other == {("other", 0, "kmnist"): pytest.approx(4)}


def test_accuracies_and_whole_alignments_are_kept(difficulty):
    assert difficulty["layer"].isna().all()
    kept = by_place(difficulty, "alignment", "run", "seed", "step", "split")
    assert len(kept) == 3 * 5 * 2
    assert kept["random", 0, 10, "easy"] == 0.09
    assert len(by_place(difficulty, "accuracy", "run", "seed", "step", "split")) == 3 * 5 * 3
    derived = {"maximum_ratio_random_labels", "maximum_ratio_other_dataset", *DERIVED}
    assert set(difficulty["measure"]) == {"accuracy", "alignment", "alignment_ratio", *derived}
    assert list(difficulty.columns) == [*COLUMNS[:-2], "difficult", "measure", "value"]


def test_depth_is_that_of_the_run_and_has_no_kind_of_difficulty():
    depths = {"random": 3, "other": 15}
    settings = {run: {"model": {"hidden_layers": count}} for run, count in depths.items()}
    given = collected(curve_rows(), settings, depth="model.hidden_layers")
    found = tables.easy_against_difficult(given)
    for run, count in depths.items():
        assert set(found.loc[found["run"] == run, "depth"]) == {count}
    assert not [name for name in found["measure"].unique() if name.startswith("maximum_ratio_")]
    for measure, values in DERIVED.items():
        found_here = by_place(found, measure, "run", "seed")
        assert found_here == {series: pytest.approx(value) for series, value in values.items()}


def test_of_a_curve_that_starts_high_only_the_rise_counts():
    curves = {("random", 0): ((9, 9, 10, 9, 9), (1, 1, 1, 1, 1), (1, 1, 1, 1, 1))}
    found = tables.difficulty(collected(curve_rows(curves), KINDS))
    assert by_place(found, "onset_step", "run") == {("random",): 7}
    assert by_place(found, "rise_factor", "run") == {("random",): 1}


def test_a_curve_that_never_rises_is_there_at_once():
    curves = {("random", 0): ((9, 5, 5, 5, 5), (1, 1, 1, 1, 1), (1, 1, 1, 1, 1))}
    found = tables.difficulty(collected(curve_rows(curves), KINDS))
    assert by_place(found, "onset_step", "run") == {("random",): 0}
    # A factor of steps: 0 has no logarithm, which the audit takes
    assert by_place(found, "rise_factor", "run") == {("random",): 1}


def comparable(figure, given, columns):
    """Return a figure's table with its rows in one order."""
    made = tables.TABLES[figure](given)
    columns = [name for name in [*COLUMNS, *columns] if name in made]
    return made[columns].astype(object).fillna("none").sort_values(columns, ignore_index=True)


@pytest.mark.parametrize("figure", tables.TABLES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_rows_does_not_matter(figure, seed):
    given = COLLECTIONS[figure]()
    table = given.measurements.sample(frac=1, random_state=seed).reset_index(drop=True)
    # The depth of a layer is known by the order of rows alone
    columns = ["label_noise", "difficult", "radius", "sweep"]
    first, second = (
        comparable(figure, one, columns) for one in (given, replace(given, measurements=table))
    )
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("figure", ["fig3_alignment", "a3_resnet", "a4_learning_rate"])
def test_the_order_of_the_runs_files_does_not_matter(figure):
    given = COLLECTIONS[figure]()
    blocks = [part for _, part in given.measurements.groupby(["run", "seed"], sort=False)]
    turned = replace(given, measurements=pd.concat(blocks[::-1], ignore_index=True))
    first, second = (comparable(figure, one, ["label_noise", "depth"]) for one in (given, turned))
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("figure", tables.TABLES)
def test_nothing_that_is_collected_is_missing_or_infinite(figure):
    table = tables.TABLES[figure](COLLECTIONS[figure]())
    assert {*find_figure(f"baratin2021/{figure}").COLUMNS} <= {*table.columns}
    assert np.isfinite(table["value"].to_numpy(dtype=float)).all()
    assert table[["run", "seed", "step", "measure"]].notna().all(axis=None)


def test_norms_of_untrained_networks_stand_beside_those_of_trained_ones():
    source = complexity()
    found = tables.complexity(source)
    raw = source.measurements
    for norm in ("frobenius_product", "path_norm"):
        initial = by_place(found[found["sweep"] == "width"], f"initial_{norm}", "run", "seed")
        first = by_place(raw[raw["step"] == 0], norm, "run", "seed")
        assert initial == {place: first[place] for place in product(("w8", "w16"), (0, 1))}
        final = by_place(found[found["sweep"] == "width"], norm, "run", "seed")
        assert all(final[place] != initial[place] for place in initial)
    assert "initial_spectral_complexity" not in set(found["measure"])
