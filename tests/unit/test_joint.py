"""Both instruments on the same networks: the run and its table."""

from itertools import pairwise

import numpy as np
import pytest
from made_up import collection, columns, readings
from tiny_runs import (
    MLP,
    changed,
    complete,
    killed_and_resumed,
    make_run,
    perform_run,
    random_dataset,
)

from feature_alignment.papers.joint import tables
from feature_alignment.plots.draw import find_figure
from feature_alignment.tables import read_table

SETTINGS = {
    "dataset": {"name": "digits", "n_train": 30, "n_test": 20, "label_noise": 0.0},
    "model": {**MLP, "hidden_layers": 3, "bias": False},
    "loss": "centered_mse",
    "learning_rate": 0.1,
    "momentum": 0.5,
    "batch_size": 10,
    "epochs": 2,
    "measure": {"kernel_examples": 9, "covariance_examples": 12, "every": 1},
}
VGG = {
    "architecture": "vgg11",
    "width": 2,
    "initialisation": "he_normal",
    "hidden_layers": 1,
    "dropout": 0.5,
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    counts = {"n_train": 30, "n_test": 20, "classes": 3}
    return [
        random_dataset(folder, "digits", (1, 4, 4), **counts),
        random_dataset(folder, "photo_patches", (3, 32, 32), **counts),
    ]


def tiny(folder, datasets, kind="mlp", **changes):
    settings = changed(SETTINGS, **changes)
    if kind == "vgg":
        settings |= {"model": VGG, "learning_rate": 0.001}
        settings["dataset"] = {**settings["dataset"], "name": "photo_patches"}
    return make_run("both_instruments", settings, folder, *datasets, paper="joint")


@pytest.mark.usefixtures("restored_torch")
@pytest.mark.parametrize("kind", ["mlp", "vgg"])
def test_layers_have_both_and_a_killed_run_goes_on_to_the_same_bytes(kind, tmp_path, datasets):
    whole = tiny(tmp_path / "whole", datasets, kind)
    expected = perform_run(whole)
    table = read_table(whole.out)
    layers = {
        measure: set(table.loc[table["measure"] == measure, "layer"].dropna())
        for measure in ("alignment", "uc_nfa_pearson", "c_nfa_pearson")
    }
    names = [f"linear{k}" for k in (1, 2, 3)] if kind == "mlp" else ["conv1", "conv2", "conv8"]
    assert set(names) <= layers["uc_nfa_pearson"] <= layers["alignment"]
    assert layers["alignment"] - layers["uc_nfa_pearson"] >= {
        "linear4" if kind == "mlp" else "linear2"
    }
    assert set(table["epoch"]) == {0, 1, 2}
    run = tiny(tmp_path / "killed", datasets, kind)
    assert killed_and_resumed(run, "centered_mse", 4) == expected


@pytest.mark.parametrize("setting", ["kernel_examples", "covariance_examples"])
def test_more_examples_than_there_are_is_an_error(setting, tmp_path, datasets):
    run = tiny(tmp_path, datasets, **{f"measure__{setting}": 31})
    with pytest.raises(ValueError, match=f"measure.{setting} is 31, but there are only"):
        complete(run)


def ranks(values):
    order = sorted(values)
    assert all(low < high for low, high in pairwise(order))
    return np.array([order.index(value) for value in values], dtype=float)


def test_rank_correlations_are_over_the_layers_of_one_network():
    settings = {
        "mlp": {"model": {"architecture": "fully_connected"}},
        "vgg": {"model": {"architecture": "vgg11"}},
    }
    layers = [("linear1", "linear2", "linear3", "linear4"), ("conv1", "conv2", "conv3", "linear1")]
    rows = []
    for run, names in zip(settings, layers, strict=True):
        measured = names[:-1]  # the last layer has an alignment alone
        places = [(m, s, None) for m in ("loss", "accuracy") for s in ("train", "test")]
        places += [("alignment", s, layer) for s in ("train", "test") for layer in (None, *names)]
        places += [(m, "train", layer) for m in tables.ANSATZ for layer in measured]
        rows += readings([run], [0, 4, 8], places, "joint")
    named = columns("joint", "both_instruments")
    table = tables.both_instruments(collection(rows, settings, "joint", columns=named))
    assert {*find_figure("joint/both_instruments").COLUMNS} <= {*table.columns}
    for network, names in (
        ("fully_connected", ["linear1", "linear2", "linear3"]),
        ("vgg11", ["conv1", "conv2", "conv3"]),
    ):
        own = table[(table["network"] == network) & (table["seed"] == 1) & (table["step"] == 8)]
        assert set(own.loc[own["measure"] == "alignment", "layer"]) == set(names)
        train = own[own["split"] == "train"].set_index(["measure", "layer"])["value"]
        aligned = ranks([train["alignment", name] for name in names])
        for measure in ("uc_nfa", "c_nfa"):
            found = own.loc[own["measure"] == f"{measure}_rank_correlation", "value"]
            other = ranks([train[f"{measure}_pearson", name] for name in names])
            assert found.tolist() == pytest.approx([np.corrcoef(aligned, other)[0, 1]])
    counted = table[table["measure"] == "uc_nfa_rank_correlation"]
    assert len(counted) == 2 * 2 * 3
