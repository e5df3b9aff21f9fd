"""From rich to lazy: the scaled network, its runs, and what is derived from them."""

import math

import pandas as pd
import pytest
import torch
from made_up import collection
from tiny_runs import MLP, changed, make_run, perform_run, random_dataset

from feature_alignment.models.mlp import mlp
from feature_alignment.models.scaled_output import ScaledOutput
from feature_alignment.papers.joint import tables
from feature_alignment.plots.draw import find_figure
from feature_alignment.tables import read_table
from feature_alignment.training.losses import centered_mse

SETTINGS = {
    "dataset": {"name": "digits", "n_train": 40, "n_test": 20, "label_noise": 0.0},
    "difficult_examples": 10,
    "model": {**MLP, "hidden_layers": 2, "bias": False},
    "loss": "centered_mse",
    "output_scales": [1, 100],
    "learning_rate": 0.05,
    "momentum": 0.0,
    "batch_size": 10,
    "epochs": 8,
    "measure": {"kernel_examples": 12, "ratio": 1.5},
}


def built(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return mlp(6, 2, 16, 3, bias=False, initialisation="he_normal", generator=draw).double()


X = torch.randn(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.arange(9) % 3


def test_outputs_are_zero_before_training_and_then_scaled_changes():
    scaled = ScaledOutput(built(), 7.0)
    assert torch.equal(scaled(X), torch.zeros(9, 3, dtype=torch.float64))
    with torch.no_grad():
        scaled.learned.linear1.weight.add_(0.01)
    other = built()
    with torch.no_grad():
        other.linear1.weight.add_(0.01)
    torch.testing.assert_close(scaled(X), 7 * (other(X) - built()(X)), rtol=1e-12, atol=1e-12)
    assert {id(p) for p in scaled.parameters() if p.requires_grad} == {
        id(p) for p in scaled.learned.parameters()
    }


@pytest.mark.parametrize("scale", [0, -1.0])
def test_a_scale_is_above_zero(scale):
    with pytest.raises(ValueError, match="output scale above 0"):
        ScaledOutput(built(), scale)


def test_a_large_scale_is_the_linearised_network():
    """At α → ∞ gradient descent follows f₀ + ∇f₀ · Δθ: the second route is linear algebra."""
    alpha, rate, steps = 1e6, 0.01, 20
    scaled = ScaledOutput(built(), alpha)
    for _ in range(steps):
        loss = centered_mse(scaled(X), Y) / alpha**2
        learned = list(scaled.learned.parameters())
        with torch.no_grad():
            for parameter, gradient in zip(
                learned, torch.autograd.grad(loss, learned), strict=True
            ):
                parameter -= rate * gradient
    network = built()
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    jacobian = torch.func.jacrev(lambda p: torch.func.functional_call(network, p, (X,)).flatten())
    rows = torch.cat([part.flatten(1) for part in jacobian(parameters).values()], dim=1)
    kernel = rows @ rows.T
    targets = (torch.nn.functional.one_hot(Y, 3).double() - 1 / 3).flatten()
    outputs = torch.zeros_like(targets)
    for _ in range(steps):
        outputs = outputs - rate * kernel @ (2 / targets.numel() * (outputs - targets))
    torch.testing.assert_close(scaled(X).detach().flatten(), outputs, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("restored_torch")
def test_a_run_has_a_training_at_each_scale_and_is_drawn(tmp_path):
    data = random_dataset(tmp_path, "digits", (1, 4, 4), n_train=60, n_test=20, classes=3)
    run = make_run("output_scale", changed(SETTINGS), tmp_path, data, paper="joint")
    perform_run(run)
    measured = read_table(run.out, ("output_scale",))
    first = measured[measured["step"] == 0]
    one, other = (
        first[first["output_scale"] == scale].drop(columns="output_scale").reset_index(drop=True)
        for scale in (1, 100)
    )
    pd.testing.assert_frame_equal(one, other)
    kernels = measured[(measured["measure"] == "alignment") & measured["layer"].isna()]
    change = {
        scale: rows["value"].iloc[-1] / rows["value"].iloc[0] - 1
        for scale, rows in kernels.groupby("output_scale")
    }
    assert abs(change[100]) < 0.01 * abs(change[1])
    two = pd.concat([measured, measured.assign(seed=1)])
    run_of = {measured["run"][0]: SETTINGS}
    table = tables.output_scale(
        collection(two.to_dict("records"), run_of, "joint", ("output_scale",))
    )
    assert len(find_figure("joint/r3_output_scale").figure(table).axes) == 10


def made_up():
    """Yield courses at two scales; the larger one needs twice as long and aligns half as much."""
    losses = {0: 1.0, 10: 0.8, 20: 0.4, 40: 0.1, 80: 0.05}
    aligned = {0: 0.1, 10: 0.4, 20: 0.5, 40: 0.5, 80: 0.5}
    for scale in (1, 2):
        for step in losses:
            common = {"paper": "joint", "run": "r", "seed": 0, "step": step * scale}
            common |= {"epoch": float(step), "output_scale": scale}
            rises = 0.1 + (aligned[step] - 0.1) / scale
            for measure, split, value in (
                ("loss", "train", losses[step] + 0.05 * (scale - 1)),
                ("accuracy", "easy", 1 - losses[step] / 2),
                ("accuracy", "difficult", 1 - losses[step]),
                ("accuracy", "test", 0.9 - 0.1 * scale),
                ("alignment", "easy", rises),
            ):
                yield {**common, "measure": measure, "split": split, "value": value}


def test_scales_are_compared_at_the_loss_that_all_reach():
    table = tables.output_scale(collection(made_up(), {"r": SETTINGS}, "joint", ("output_scale",)))
    found = table.pivot_table(index="output_scale", columns="measure", values="value")
    matched = table[table["measure"].str.startswith("matched")].set_index(
        ["output_scale", "measure"]
    )["value"]
    # The larger scale ends at a loss of 0.1, which the other one reaches at step 40.
    assert matched[1, "matched_alignment"] == pytest.approx(0.5)
    assert matched[2, "matched_alignment"] == pytest.approx(0.3)
    assert matched[1, "matched_test_error"] == pytest.approx(0.2)
    assert matched[2, "matched_test_error"] == pytest.approx(0.3)
    assert matched[1, "matched_accuracy_gap"] == pytest.approx(0.05)
    assert matched[2, "matched_accuracy_gap"] == pytest.approx(0.025)
    assert found["onset_lead"].tolist() == pytest.approx([math.log2(20 / 10)] * 2)
    [rank] = table.loc[table["measure"] == "error_rank_correlation", "value"]
    assert rank == pytest.approx(-1)
