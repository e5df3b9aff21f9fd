"""The features at convergence, the best power, and the runs with and without weight decay."""

import math
from itertools import product

import pandas as pd
import pytest
import torch
from made_up import collection, columns
from test_preactivations import INPUTS, network
from tiny_runs import MLP, changed, make_run, perform_run, random_dataset

from feature_alignment.data.loading import Examples
from feature_alignment.measures.ansatz import ansatz_correlations, power_correlations
from feature_alignment.measures.convergence import (
    distance_from_rest,
    fact_correlations,
    features_at_convergence,
)
from feature_alignment.papers.joint import tables
from feature_alignment.plots.draw import find_figure
from feature_alignment.probes.ansatz import GRID, LayerState, best_power
from feature_alignment.probes.convergence import convergence_probe
from feature_alignment.tables import read_table
from feature_alignment.training.losses import cross_entropy

DRAW = torch.Generator().manual_seed(3)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=DRAW)


WEIGHT, GRADIENT = draw(4, 6), draw(4, 6)


def of_example(net, layer, inputs, label):
    """Return (∇_h ℓ) hᵀ of one example, from the gradient with respect to the layer's input."""
    kept = {}

    def keep(module, args):
        kept["h"] = args[0].detach().requires_grad_()
        return (kept["h"],)

    handle = net.get_submodule(layer).register_forward_pre_hook(keep)
    loss = cross_entropy(net(inputs[None]), label[None])
    handle.remove()
    [gradient] = torch.autograd.grad(loss, kept["h"])
    return gradient[0][:, None] * kept["h"].detach()[0]


def test_the_features_are_the_sum_over_examples():
    net = network()
    labels = torch.arange(len(INPUTS)) % net(INPUTS).shape[1]
    examples = Examples(INPUTS, labels)
    layers = ["linear1", "linear2", "linear3"]
    probe = convergence_probe(examples, cross_entropy, layers, weight_decay=0.3, batch_size=3)
    found = {(r.layer, r.measure): r.value for r in probe(net)}
    for layer in layers:
        pairs = zip(INPUTS, labels, strict=True)
        summed = sum(of_example(net, layer, *pair) for pair in pairs)
        weight = net.get_submodule(layer).weight.detach()
        [gradient] = torch.autograd.grad(
            cross_entropy(net(INPUTS), labels), net.get_submodule(layer).weight
        )
        expected = -summed / len(INPUTS)
        torch.testing.assert_close(
            features_at_convergence(weight, gradient), expected, rtol=1e-10, atol=1e-14
        )
        pair = torch.stack([(weight.T @ weight).flatten(), expected.flatten()])
        assert found[layer, "fact_pearson"] == pytest.approx(
            torch.corrcoef(pair)[0, 1].item(), rel=1e-10
        )
        cosine = (pair[0] @ pair[1] / (pair[0].norm() * pair[1].norm())).item()
        assert found[layer, "fact_cosine"] == pytest.approx(cosine, rel=1e-10)
        rest = ((gradient + 0.3 * weight).norm() / (0.3 * weight.norm())).item()
        assert found[layer, "distance_from_rest"] == pytest.approx(rest, rel=1e-10)


def test_without_weight_decay_there_is_no_distance_from_rest():
    net = network()
    examples = Examples(INPUTS, torch.zeros(len(INPUTS), dtype=torch.int64))
    probe = convergence_probe(examples, cross_entropy, ["linear1"], weight_decay=0.0)
    assert {r.measure for r in probe(net)} == {"fact_pearson", "fact_cosine"}


def test_at_rest_the_theorem_is_exact_and_the_scale_of_the_gradient_is_nothing():
    found = fact_correlations(WEIGHT, -1e-9 * WEIGHT)
    assert (found.pearson, found.cosine) == pytest.approx((1, 1), abs=1e-12)
    assert distance_from_rest(WEIGHT, -0.1 * WEIGHT, 0.1) == pytest.approx(0, abs=1e-12)
    for scale in (1e-12, 1e12):
        scaled = fact_correlations(WEIGHT, scale * GRADIENT)
        assert scaled.pearson == pytest.approx(
            fact_correlations(WEIGHT, GRADIENT).pearson, rel=1e-10
        )


def test_the_null_is_about_zero():
    """A gradient that knows nothing of the weight has a correlation of 0 on average."""
    values = [fact_correlations(draw(20, 30), draw(20, 30)).cosine for _ in range(40)]
    assert abs(sum(values) / len(values)) < 0.04
    assert max(map(abs, values)) < 0.3


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fact_correlations(WEIGHT, GRADIENT[:, :3]), r"of one shape, got \(4, 6\) and"),
        (lambda: fact_correlations(WEIGHT, 0 * GRADIENT), "the second matrix are the same"),
        (lambda: distance_from_rest(WEIGHT, GRADIENT, 0.0), "weight decay above 0, got 0.0"),
    ],
)
def test_what_has_no_answer_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("layers", [2, 3, 5])
def test_in_a_balanced_linear_network_the_best_power_is_one_over_its_layers(layers):
    """With W₁ᵀ W₁ = V S² Vᵀ in every layer the AGOP is V S^{2L} Vᵀ."""
    vectors, _ = torch.linalg.qr(draw(6, 6))
    singular = torch.tensor([1.0, 0.9, 0.75, 0.6, 0.5, 0.4], dtype=torch.float64)
    later = singular ** (layers - 1)
    state = LayerState("linear1", singular[:, None] * vectors, vectors, torch.diag(later**2))
    found = {r.measure: r.value for r in best_power(state)}
    assert found["best_exponent"] == pytest.approx(1 / layers, abs=0.005 + 1e-9)
    assert found["best_uc_nfa_pearson"] > 0.999


def test_no_power_of_the_grid_is_better_than_the_best():
    factor = draw(4, 4)
    state = LayerState("linear1", WEIGHT, WEIGHT, factor @ factor.T)
    found = {r.measure: r.value for r in best_power(state)}
    others = power_correlations(WEIGHT, state.covariance, GRID)
    assert found["best_uc_nfa_pearson"] == max(value.pearson for value in others)
    one = ansatz_correlations(WEIGHT, state.covariance).pearson
    assert found["best_uc_nfa_pearson"] >= one - 1e-12


SETTINGS = {
    "dataset": {"name": "digits", "n_train": 30, "n_test": 20, "label_noise": 0.0},
    "model": {**MLP, "hidden_layers": 2, "bias": False},
    "loss": "centered_mse",
    "learning_rate": 0.1,
    "momentum": 0.5,
    "weight_decays": [0.0, 0.01],
    "batch_size": 10,
    "epochs": 2,
    "measure": {"covariance_examples": 12, "every": 1},
}


@pytest.mark.usefixtures("restored_torch")
def test_a_run_has_a_training_with_each_weight_decay(tmp_path):
    data = random_dataset(tmp_path, "digits", (1, 4, 4), n_train=30, n_test=20, classes=3)
    run = make_run("weight_decay", changed(SETTINGS), tmp_path, data, paper="joint")
    perform_run(run)
    table = read_table(run.out, ("weight_decay",))
    first = table[table["step"] == 0].dropna(subset="layer")
    both = first.pivot(index=["measure", "layer"], columns="weight_decay", values="value")
    both = both.drop("distance_from_rest")
    assert (both[0.0] == both[0.01]).all()  # the same weights
    last = table[(table["epoch"] == 2) & (table["measure"] == "fact_pearson")]
    values = last.pivot(index="layer", columns="weight_decay", values="value")
    assert (values[0.0] != values[0.01]).all()
    with_rest = table[table["measure"] == "distance_from_rest"]
    assert set(with_rest["weight_decay"]) == {0.01}
    two = pd.concat([table, table.assign(seed=1, value=table["value"] * 0.99)])
    drawn = find_figure("joint/r1_convergence").figure(two.reset_index(drop=True))
    assert len(drawn.axes) == 8


def made_up():
    """Yield rows of networks with one and two hidden layers whose best powers are made up."""
    for hidden, seed, epoch, decay in product((1, 2), (0, 1), (0, 2), (0.0, 0.01)):
        common = {"paper": "joint", "run": f"linear_{hidden}", "seed": seed, "split": "train"}
        common |= {"step": 10 * epoch, "epoch": float(epoch), "weight_decay": decay}
        yield {**common, "measure": "accuracy", "value": 0.9 + 0.01 * seed}
        for layer in range(1, hidden + 1):
            power = (1 + 0.1 * seed) / (hidden + 2 - layer)
            own = {"layer": f"linear{layer}", "measure": "best_exponent", "value": power}
            yield {**common, **own}


def test_powers_are_relative_to_the_layers_that_are_left():
    settings = {f"linear_{hidden}": {"model": {"hidden_layers": hidden}} for hidden in (1, 2)}
    record = {"columns": columns("joint", "r2_linear_exponents")}
    made = collection(made_up(), settings, "joint", ("weight_decay",), **record)
    table = tables.linear_exponents(made)
    for measure, of in (
        ("relative_exponent", lambda seed: 1 + 0.1 * seed),
        ("exponent_error", lambda seed: math.log(1 + 0.1 * seed)),
    ):
        rows = table[table["measure"] == measure]
        assert len(rows) == 2 * 2 * 2 * (1 + 2)
        for row in rows.itertuples():
            assert row.value == pytest.approx(of(row.seed), abs=1e-12)
    drawn = find_figure("joint/r2_linear_exponents").figure(table)
    assert len(drawn.axes) == 5
