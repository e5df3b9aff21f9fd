"""Speed Limited Optimisation, its tasks, and its experiments."""

import numpy as np
import pytest
import torch
from tiny_runs import MLP, Killed, changed, complete, kill_at, make_run, perform_run, random_dataset
from torch import nn

from feature_alignment.data.monomials import chain_monomials, gaussian_chain
from feature_alignment.models.mlp import mlp
from feature_alignment.papers.beaglehole2024 import favoured_layers, speed_limits
from feature_alignment.papers.beaglehole2024.limits import favouring, make_method
from feature_alignment.tables import read_table
from feature_alignment.training import losses
from feature_alignment.training.speed_limited import SpeedLimited

MODEL = {**MLP, "bias": False}
CHAIN = {
    "tasks": [{"rank": 3, "dimension": 5}, {"rank": 4, "dimension": 5}],
    "examples": {"train": 40, "test": 30},
    "model": MODEL,
    "batch_size": 10,
    "epochs": 3,
    "measure_every": 1,
    "methods": {
        "sgd": {"learning_rate": 0.05, "speeds": None},
        "favoured": {"learning_rate": 0.01, "speeds": [10.0, 1.0, 1.0]},
        "equal": {"learning_rate": 0.01, "speeds": [1.0, 1.0, 1.0]},
    },
}
IMAGES = {
    "dataset": {"name": "digits", "n_train": 30, "n_test": 20, "label_noise": 0.0},
    "model": MODEL,
    "loss": "centered_mse",
    "sgd": {"learning_rate": 0.1},
    "limited": {"learning_rate": 0.001, "equal_rate": 0.01, "favour": 50.0},
    "batch_size": 10,
    "epochs": 2,
    "measure": {"covariance_examples": 12, "every": 1},
}


@pytest.fixture(scope="module")
def greys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return random_dataset(folder, "digits", (1, 4, 4), n_train=30, n_test=20, classes=3)


def chain_run(folder, seed=0, **changes):
    settings = changed(CHAIN, **changes)
    return make_run("speed_limits", settings, folder, seed=seed, paper="beaglehole2024")


def image_run(folder, greys, **changes):
    settings = changed(IMAGES, **changes)
    return make_run("favoured_layers", settings, folder, greys, paper="beaglehole2024")


def written(run):
    endings = (".csv", ".npz")
    return [run.out.with_suffix(e).read_bytes() for e in endings if run.out.with_suffix(e).exists()]


def test_a_step_has_the_length_of_its_speed_and_the_direction_of_the_gradient():
    weights = [nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(2, 3))]
    start = [w.detach().clone() for w in weights]
    for weight, scale in zip(weights, (1e-4, 1e4), strict=True):
        weight.grad = scale * torch.randn(weight.shape)
    SpeedLimited(weights, [2.0, 0.5], learning_rate=0.1).step()
    for weight, before, speed in zip(weights, start, (2.0, 0.5), strict=True):
        moved = weight.detach() - before
        assert moved.norm().item() == pytest.approx(0.1 * speed, rel=1e-4)
        cosine = (moved * weight.grad).sum() / moved.norm() / weight.grad.norm()
        assert cosine.item() == pytest.approx(-1, abs=1e-5)


def test_without_a_gradient_nothing_moves():
    still, flat = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    flat.grad = torch.zeros(2)
    SpeedLimited([still, flat], [1.0, 1.0], learning_rate=0.1).step()
    assert still.tolist() == flat.tolist() == [1, 1]


def test_a_step_may_evaluate_the_loss():
    weight = nn.Parameter(torch.tensor([3.0]))

    def closure():
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert SpeedLimited([weight], [1.0], 0.5).step(closure).item() == 9
    assert weight.item() == pytest.approx(2.5)


def test_speeds_that_do_not_fit_are_refused():
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    with pytest.raises(ValueError, match="a speed for each of 2 parameters, got 1"):
        SpeedLimited(weights, [1.0], 0.1)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        SpeedLimited(weights, [1.0, -1.0], 0.1)


def test_methods_by_settings():
    network = mlp(4, 2, 5, 1, **{k: MODEL[k] for k in ("bias", "activation", "initialisation")},
                  generator=torch.Generator().manual_seed(0))  # fmt: skip
    assert isinstance(make_method(network, CHAIN["methods"]["sgd"]), torch.optim.SGD)
    limited = make_method(network, CHAIN["methods"]["favoured"])
    assert [group["speed"] for group in limited.param_groups] == [10, 1, 1]
    assert favouring(2, 4, 50.0) == [1, 50, 1, 1]
    assert favoured_layers.methods(IMAGES)["layer 2"]["speeds"] == [1, 50, 1]
    assert list(favoured_layers.methods(IMAGES)) == ["sgd", "equal", "layer 1", "layer 2"]


def test_chain_is_the_sum_of_neighbours_products():
    x = torch.tensor([[1.0, 2, 3, 4, 9], [0, 1, -1, 2, 9]])
    assert chain_monomials(x, 3).tolist() == [2 + 6 + 3, -1]
    assert chain_monomials(x, 4).tolist() == [2 + 6 + 12 + 4, -3]
    draws, targets = gaussian_chain(200_000, 4, 3, torch.Generator().manual_seed(0))
    assert draws.shape == (200_000, 4)
    assert targets.mean().item() == pytest.approx(0, abs=0.02)  # five standard errors
    assert targets.var().item() == pytest.approx(3, abs=0.08)


@pytest.mark.parametrize("rank", [2, 6])
def test_a_chain_that_does_not_fit_is_refused(rank):
    with pytest.raises(ValueError, match=f"rank from 3 to 5 coordinates, got {rank}"):
        chain_monomials(torch.ones(2, 5), rank)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = chain_run(tmp_path_factory.mktemp("finished"))
    complete(run)
    return run


def test_every_method_starts_at_the_same_network(finished):
    table = read_table(finished.out, ["rank", "dimension", "method"])
    start = table[table["step"] == 0]
    for _, own in start.groupby(["rank", "measure", "layer", "split"], dropna=False):
        assert len(own) == 3
        assert own["value"].nunique() == 1
    ends = table[(table["step"] == 12) & (table["measure"] == "loss")]
    assert ends["value"].nunique() == len(ends) == 12


def test_losses_and_shares_are_those_of_the_network_written_out(tmp_path):
    run = chain_run(tmp_path, epochs=1)
    task = run.settings["tasks"][1]
    network, inputs, measurements = speed_limits.train_by(
        run, task, "favoured", run.checkpointing()
    )
    final = {(m.measure, m.layer, m.split): m.value for m in measurements if m.step == 4}
    targets = sum(inputs[:, k] * inputs[:, (k + 1) % 4] for k in range(4))
    outputs = network(inputs)[:, 0].detach()
    loss = ((outputs - targets) ** 2).mean().item()
    assert final["loss", None, "train"] == pytest.approx(loss, rel=1e-5)
    relative = loss / targets.var(correction=0).item()
    assert final["relative_loss", None, "train"] == pytest.approx(relative, rel=1e-5)
    weight = network.linear1.weight.detach()
    share = weight[:, :4].square().sum() / weight.square().sum()
    assert final["nfm_share", "linear1", "train"] == pytest.approx(share.item(), rel=1e-5)
    x = inputs.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(network(x).sum(), x)
    squares = gradients.square().sum(dim=0)
    assert final["agop_share", "linear1", "train"] == pytest.approx(
        (squares[:4].sum() / squares.sum()).item(), rel=1e-5
    )


def test_images_are_the_features_at_the_end(finished):
    with np.load(finished.out.with_suffix(".npz"), allow_pickle=False) as images:
        assert images["rank"] == 3
        assert images["methods"].tolist() == list(CHAIN["methods"])
        assert images["nfm"].shape == images["agop"].shape == (3, 5, 5)
        nfm = images["nfm"]
    table = read_table(finished.out, ["rank", "dimension", "method"])
    last = table[(table["step"] == 12) & (table["rank"] == 3) & (table["measure"] == "nfm_share")]
    for matrix, method in zip(nfm, CHAIN["methods"], strict=True):
        [value] = last.loc[last["method"] == method, "value"]
        assert np.trace(matrix[:3, :3]) / np.trace(matrix) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("step", [3, 12, 13, 30])
def test_a_killed_run_goes_on_to_the_same_files(finished, tmp_path, monkeypatch, step):
    run = chain_run(tmp_path)
    with monkeypatch.context() as patch:
        kill_at(patch, "mse", step)
        patch.setattr(speed_limits, "mse", losses.LOSSES["mse"])
        with pytest.raises(Killed):
            complete(run)
    complete(run)
    assert written(run) == written(finished)


def test_another_seed_gives_other_values(finished, tmp_path):
    other = chain_run(tmp_path, seed=1)
    complete(other)
    for one, differs in zip(written(finished), written(other), strict=True):
        assert one != differs


@pytest.mark.usefixtures("restored_torch")
def test_images_are_learned_by_every_method_from_the_same_start(tmp_path, greys):
    run = image_run(tmp_path, greys)
    perform_run(run)
    table = read_table(run.out, ["method"])
    assert list(table["method"].unique()) == ["sgd", "equal", "layer 1", "layer 2"]
    start = table[(table["step"] == 0) & (table["measure"] == "uc_nfa_pearson")]
    assert all(v["value"].nunique() == 1 and len(v) == 4 for _, v in start.groupby("layer"))
    moved = table[(table["step"] == 6) & (table["measure"] == "weight_change")]
    by_method = moved.pivot(index="method", columns="layer", values="value")
    assert by_method.loc["layer 1", "linear1"] > 5 * by_method.loc["layer 1", "linear2"]
    assert by_method.loc["layer 2", "linear2"] > 5 * by_method.loc["layer 2", "linear1"]


def test_more_covariance_examples_than_there_are_is_an_error(tmp_path, greys):
    with pytest.raises(ValueError, match="measure.covariance_examples is 31, but there are only"):
        complete(image_run(tmp_path, greys, measure__covariance_examples=31))
