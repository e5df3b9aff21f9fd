"""Six alignments: the matrices, chance, and the runs with and without weight decay."""

import pandas as pd
import pytest
import torch
from made_up import collection
from test_preactivations import INPUTS, network
from tiny_runs import MLP, changed, make_run, perform_run, random_dataset

from feature_alignment.data.loading import Examples
from feature_alignment.measures.orientation import orientation
from feature_alignment.measures.orthogonal import haar_orthogonal
from feature_alignment.papers.joint import tables
from feature_alignment.plots.draw import find_figure
from feature_alignment.probes.six_alignments import PAIRS, six_alignments_probe
from feature_alignment.tables import read_table
from feature_alignment.training.losses import cross_entropy

DRAW = torch.Generator().manual_seed(5)


def gram(n, d):
    rows = torch.randn(n, d, dtype=torch.float64, generator=DRAW)
    return rows.T @ rows


def test_proportional_matrices_are_1_and_those_in_other_directions_below_chance():
    a = gram(4, 6)
    assert orientation(a, 3 * a).above_chance == pytest.approx(1, abs=1e-12)
    first = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    found = orientation(first, torch.eye(4) - first)
    assert (found.cosine, found.chance) == pytest.approx((0, 0.5), abs=1e-12)


def test_chance_is_the_mean_over_rotations():
    a, b = gram(3, 5), gram(9, 5)
    turns = [haar_orthogonal(5, DRAW).double() for _ in range(3000)]
    cosines = torch.tensor([orientation(q @ a @ q.T, b).cosine for q in turns])
    error = cosines.std() / len(turns) ** 0.5
    assert orientation(a, b).chance == pytest.approx(cosines.mean().item(), abs=4 * error.item())


@pytest.mark.parametrize(
    "first, second, message",
    [
        (torch.eye(3), torch.eye(4), r"one size, got \(3, 3\) and \(4, 4\)"),
        (torch.ones(2, 3), torch.ones(2, 3), "two square matrices"),
        (torch.zeros(2, 2), torch.eye(2), "not zero, got norms 0"),
        (torch.full((2, 2), torch.nan), torch.eye(2), "expected finite"),
    ],
)
def test_what_has_no_answer_is_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        orientation(first, second)


def of_examples(net, layer, labels):
    """Return inputs, outputs, and their gradients, example by example, from hooks."""
    rows = {"h": [], "z": [], "gh": [], "gz": []}
    for x, label in zip(INPUTS, labels, strict=True):
        kept = {}

        def before(module, args, kept=kept):
            kept["h"] = args[0].detach().requires_grad_()
            return (kept["h"],)

        def after(module, args, output, kept=kept):
            kept["z"] = output
            output.retain_grad()

        module = net.get_submodule(layer)
        handles = [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
        cross_entropy(net(x[None]), label[None]).backward()
        for handle in handles:
            handle.remove()
        rows["h"].append(kept["h"].detach()[0])
        rows["z"].append(kept["z"].detach()[0])
        rows["gh"].append(kept["h"].grad[0])
        rows["gz"].append(kept["z"].grad[0])
    return {name: torch.stack(values).double() for name, values in rows.items()}


def test_the_alignments_are_those_of_single_examples():
    net = network()
    labels = torch.arange(len(INPUTS)) % net(INPUTS).shape[1]
    layers = ["linear1", "linear2", "linear3"]
    probe = six_alignments_probe(Examples(INPUTS, labels), cross_entropy, layers)
    found = {(r.layer, r.measure): r.value for r in probe(net)}
    assert len(found) == len(layers) * len(PAIRS) * 3
    for layer in layers:
        rows = of_examples(net, layer, labels)
        weight = net.get_submodule(layer).weight.detach().double()
        sides = {
            "input": (rows["h"], rows["gh"], weight.T @ weight),
            "output": (rows["z"], rows["gz"], weight @ weight.T),
        }
        for side, (values, gradients, third) in sides.items():
            of = {
                "representation": torch.einsum("ia,ib->ab", values, values),
                "gradient": torch.einsum("ia,ib->ab", gradients, gradients),
                "weight": third,
            }
            for pair in (pair for pair in PAIRS if pair.endswith(side)):
                a, b = (of[kind].flatten() for kind in pair.split("_")[:2])
                cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).item()
                assert found[layer, pair] == pytest.approx(cosine, abs=1e-10)


SETTINGS = {
    "dataset": {"name": "digits", "n_train": 30, "n_test": 20, "label_noise": 0.0},
    "model": {**MLP, "hidden_layers": 2, "bias": False},
    "loss": "centered_mse",
    "learning_rate": 0.05,
    "momentum": 0.5,
    "weight_decays": [0.0, 0.01],
    "batch_size": 10,
    "epochs": 2,
    "measure": {"covariance_examples": 12, "every": 1},
}


@pytest.mark.usefixtures("restored_torch")
def test_a_run_has_a_training_with_each_weight_decay_and_is_drawn(tmp_path):
    data = random_dataset(tmp_path, "digits", (1, 4, 4), n_train=30, n_test=20, classes=3)
    run = make_run("six_alignments", changed(SETTINGS), tmp_path, data, paper="joint")
    perform_run(run)
    measured = read_table(run.out, ("weight_decay",))
    first = measured[measured["step"] == 0].dropna(subset="layer")
    both = first.pivot(index=["measure", "layer"], columns="weight_decay", values="value")
    assert (both[0.0] == both[0.01]).all()
    two = pd.concat([measured, measured.assign(seed=1, value=measured["value"] * 0.99)])
    made = collection(
        two.to_dict("records"), {measured["run"][0]: SETTINGS}, "joint", ("weight_decay",)
    )
    table = tables.six_alignments(made)
    names = {f"{pair}_above_chance" for pair in PAIRS} | {"loss", "accuracy"}
    assert set(table["measure"]) == names
    assert len(find_figure("joint/r5_six_alignments").figure(table).axes) == 15
