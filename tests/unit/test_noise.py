"""Dropout and label noise: the runs, and where in depth alignment lies."""

import pytest
import torch
from made_up import collection, columns
from test_preactivations import INPUTS, network
from tiny_runs import MLP, changed, make_run, perform_run, random_dataset

from feature_alignment.papers.joint import tables
from feature_alignment.papers.joint.noise import with_dropout
from feature_alignment.plots.draw import find_figure
from feature_alignment.tables import read_table

SETTINGS = {
    "draws": "noise",
    "dataset": {"name": "digits", "n_train": 30, "n_test": 20, "label_noise": 0.0},
    "model": {**MLP, "hidden_layers": 2},
    "dropout": 0.0,
    "loss": "cross_entropy",
    "learning_rate": 0.05,
    "momentum": 0.5,
    "batch_size": 10,
    "epochs": 2,
    "stop_loss": 1e-3,
    "measure": {"kernel_examples": 9},
}


def test_dropout_drops_in_training_alone_and_keeps_the_mean():
    plain = network()
    dropped = with_dropout(plain, 0.5)
    assert [n for n, _ in dropped.named_parameters()] == [n for n, _ in plain.named_parameters()]
    torch.testing.assert_close(dropped.eval()(INPUTS), plain.eval()(INPUTS), rtol=0, atol=0)
    ones = torch.ones(1000, dtype=torch.float64)
    kept = dropped.train().get_submodule("dropout1")(ones)
    assert set(kept.tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.15)
    silent = with_dropout(plain, 0.0).train()
    torch.testing.assert_close(silent(INPUTS), plain(INPUTS), rtol=0, atol=0)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_cannot_be_dropped_is_refused(share):
    with pytest.raises(ValueError, match=f"from 0 to below 1, got {share}"):
        with_dropout(network(), share)


@pytest.mark.usefixtures("restored_torch")
def test_networks_start_alike_and_noise_changes_the_end(tmp_path):
    data = random_dataset(tmp_path, "digits", (1, 4, 4), n_train=30, n_test=20, classes=3)
    found = {}
    for name, own in {
        "plain": {},
        "dropout": {"dropout": 0.5},
        "labels": {"dataset": {**SETTINGS["dataset"], "label_noise": 0.9}},
    }.items():
        run = make_run("noise", changed(SETTINGS) | own, tmp_path / name, data, paper="joint")
        perform_run(run)
        table = read_table(run.out)
        assert set(table["epoch"]) == {0, 2}  # the loss is out of reach
        rows = table[(table["measure"] == "alignment") & (table["split"] == "test")]
        found[name] = rows.set_index(["epoch", "layer"])["value"]
    for name in ("dropout", "labels"):
        assert (found[name].loc[0] == found["plain"].loc[0]).all()
        assert (found[name].loc[2] != found["plain"].loc[2]).any()


def made_up(peaks):
    """Rows of networks of seven layers whose alignment peaks at a layer after training."""
    return [
        {
            "paper": "joint",
            "run": run,
            "seed": seed,
            "step": step,
            "epoch": float(step),
            "layer": f"linear{layer}",
            "split": "test",
            "measure": "alignment",
            "value": (1 + 0.1 * seed) / (1 + (layer - (peak if step else 4)) ** 2),
        }
        for run, peak in peaks.items()
        for seed in (0, 1)
        for step in (0, 5)
        for layer in range(1, 8)
    ]


def test_moves_are_from_the_network_without_noise():
    settings = {
        "without_noise": {"dropout": 0.0, "dataset": {"label_noise": 0.0}},
        "dropout20": {"dropout": 0.2, "dataset": {"label_noise": 0.0}},
        "label_noise50": {"dropout": 0.0, "dataset": {"label_noise": 0.5}},
    }
    peaks = {"without_noise": 4, "dropout20": 3, "label_noise50": 5}
    record = {"columns": columns("joint", "r4_noise_and_depth")}
    made = collection(made_up(peaks), settings, "joint", (), **record)
    table = tables.noise_and_depth(made)
    ends = table[table["epoch"] > 0].set_index(["noise", "strength", "seed"])
    moves = ends[ends["measure"] == "peak_move"]["value"]
    centres = ends[ends["measure"] == "alignment_centre"]["value"]
    for seed in (0, 1):
        assert moves["dropout", 0.2, seed] == -1
        assert moves["label noise", 0.5, seed] == 1
        assert moves["dropout", 0.0, seed] == moves["label noise", 0.0, seed] == 0
        assert centres["dropout", 0.0, seed] == pytest.approx(4, abs=1e-12)  # symmetric
        weights = [1 / (1 + (layer - 3) ** 2) for layer in range(1, 8)]
        centre = sum(w * k for k, w in enumerate(weights, start=1)) / sum(weights)
        assert centres["dropout", 0.2, seed] == pytest.approx(centre, rel=1e-10)
    start = table[(table["epoch"] == 0) & (table["measure"] == "peak_move")]
    assert (start["value"] == 0).all()


def test_the_figure_has_a_panel_for_each_noise_and_claim():
    settings = {
        "without_noise": {"dropout": 0.0, "dataset": {"label_noise": 0.0}},
        "dropout20": {"dropout": 0.2, "dataset": {"label_noise": 0.0}},
        "label_noise50": {"dropout": 0.0, "dataset": {"label_noise": 0.5}},
    }
    rows = made_up(dict(zip(settings, (4, 3, 5), strict=True)))
    fits = [
        {**row, "layer": None, "split": "train", "measure": "loss", "value": 0.09}
        for row in rows
        if row["layer"] == "linear1"
    ]
    record = {"columns": columns("joint", "r4_noise_and_depth")}
    made = collection([*rows, *fits], settings, "joint", (), **record)
    drawn = find_figure("joint/r4_noise_and_depth").figure(tables.noise_and_depth(made))
    assert len(drawn.axes) == 6
