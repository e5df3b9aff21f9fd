"""The trainings of beaglehole2024's networks: B1 to B3, B4 and B5."""

import numpy as np
import pytest
from tiny_runs import (
    MLP,
    changed,
    complete,
    initial_network,
    killed_and_resumed,
    make_run,
    perform_run,
    random_dataset,
)

from feature_alignment.measures.ansatz import ansatz_correlations
from feature_alignment.tables import read_table
from feature_alignment.tangents.preactivations import graph_covariances
from feature_alignment.training.losses import centered_mse

PLAIN = {
    "dataset": {"name": "digits", "n_train": 30, "n_test": 20, "label_noise": 0.0},
    "model": {**MLP, "bias": False, "initialisation": "pytorch"},
    "loss": "centered_mse",
    "learning_rate": {"first_epoch": 1e-4, "value": 0.2},
    "batch_size": 10,
    "epochs": 2,
    "measure": {"covariance_examples": 20},
}
SCALE = {
    **{key: PLAIN[key] for key in ("dataset", "model", "loss", "batch_size")},
    "first_epoch_rate": 1e-4,
    "starts": [{"gain": 0.5, "learning_rate": 0.2}, {"gain": 2.0, "learning_rate": 0.1}],
    "epochs": 3,
    "measure": {"covariance_examples": 20, "every": 2, "null_draws": 2},
}
VGG = {
    **changed(PLAIN, dataset__name="photo_patches", learning_rate__value=0.001),
    "model": {
        "architecture": "vgg11",
        "width": 2,
        "initialisation": "he_normal",
        "hidden_layers": 1,
        "dropout": 0.5,
    },
    "momentum": 0.9,
    "measure": {"covariance_examples": 12, "every": 1},
}
SETTINGS = {"ansatz": PLAIN, "initial_scale": SCALE, "convolutions": VGG}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    counts = {"n_train": 30, "n_test": 20, "classes": 3}
    greys = random_dataset(folder, "digits", (1, 4, 4), **counts)
    colours = random_dataset(folder, "photo_patches", (3, 32, 32), **counts)
    return {"ansatz": greys, "initial_scale": greys, "convolutions": colours}


def tiny(module, folder, datasets, seed=0, **changes):
    settings = changed(SETTINGS[module], **changes)
    return make_run(module, settings, folder, datasets[module], seed=seed, paper="beaglehole2024")


@pytest.mark.usefixtures("restored_torch")
@pytest.mark.parametrize(
    "module, steps", [("ansatz", (4,)), ("initial_scale", (4, 14)), ("convolutions", (5,))]
)
def test_a_killed_run_goes_on_to_the_same_bytes(module, steps, tmp_path, datasets):
    expected = perform_run(tiny(module, tmp_path / "whole", datasets))
    for step in steps:
        run = tiny(module, tmp_path / str(step), datasets)
        assert killed_and_resumed(run, "centered_mse", step) == expected
    assert complete(tiny(module, tmp_path / "other", datasets, seed=1)) != expected


def test_the_ansatz_is_measured_after_every_epoch(tmp_path, datasets):
    run = tiny("ansatz", tmp_path, datasets)
    complete(run)
    table = read_table(run.out)
    assert sorted(table["epoch"].unique()) == [0, 1, 2, 3]
    correlations = [f"{kind}_nfa_{form}" for kind in ("uc", "c") for form in ("pearson", "cosine")]
    last = table[(table["epoch"] == 3) & table["layer"].notna()]
    assert set(zip(last["layer"], last["measure"], strict=True)) == {
        (layer, measure)
        for layer in ("linear1", "linear2")
        for measure in ("weight_change", *correlations)
    }
    # The first epoch's rate is tiny, the others' is not
    change = table[table["measure"] == "weight_change"].groupby("epoch")["value"].max()
    assert 0 < change[1] < 1e-3 < 0.01 < change[2]


def test_gains_share_the_weights_and_measure_after_the_first_epoch(tmp_path, datasets):
    run = tiny("initial_scale", tmp_path, datasets)
    complete(run)
    table = read_table(run.out, ["gain"])
    assert sorted(table["epoch"].unique()) == [1, 3, 4]
    first = table[(table["epoch"] == 1) & (table["measure"] == "uc_nfa_pearson")]
    by_gain = first.pivot(index="layer", columns="gain", values="value")
    # A gain common to all hidden layers cancels in the ansatz
    np.testing.assert_allclose(by_gain[0.5], by_gain[2.0], atol=1e-3)
    # After an epoch at 1e-4 losses are those of the initial networks, two layers times the gain.
    network, task = initial_network(run), run.task()
    for gain in (0.5, 2.0):
        outputs = gain**2 * network(task.train.inputs)
        rows = table[(table["gain"] == gain) & (table["measure"] == "loss")]
        [found] = rows.loc[(rows["epoch"] == 1) & (rows["split"] == "train"), "value"]
        expected = centered_mse(outputs, task.train.labels).item()
        assert found == pytest.approx(expected, rel=1e-3)


def test_a_gain_given_twice_is_an_error(tmp_path, datasets):
    starts = [SCALE["starts"][0]] * 2
    with pytest.raises(ValueError, match="every gain once"):
        complete(tiny("initial_scale", tmp_path, datasets, starts=starts))


def test_convolutions_are_measured_as_matrices(tmp_path, datasets):
    run = tiny("convolutions", tmp_path, datasets)
    start = initial_network(run)
    complete(run)
    table = read_table(run.out)
    layers = table.loc[table["measure"] == "uc_nfa_pearson", "layer"].unique()
    assert set(layers) <= {f"conv{k}" for k in range(1, 9)}
    assert {"conv1", "conv8"} <= set(layers)
    # After an epoch at 1e-4 weights are those of the start, to a part in a thousand.
    inputs = run.task().train.inputs[:12]
    weight = start.conv1.weight.detach().flatten(1)
    covariance = graph_covariances(start.eval(), [inputs])["conv1"]
    expected = ansatz_correlations(weight, covariance).pearson
    rows = table[(table["epoch"] == 1) & (table["layer"] == "conv1")]
    [found] = rows.loc[rows["measure"] == "uc_nfa_pearson", "value"]
    assert found == pytest.approx(expected, abs=1e-3)
