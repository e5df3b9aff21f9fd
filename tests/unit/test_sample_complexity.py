"""Curves of error against the number of examples, and the runs that measure them."""

import copy
import math
from itertools import combinations

import numpy as np
import pytest
import torch
from tiny_runs import (
    MLP,
    Killed,
    changed,
    complete,
    descend,
    kill_at,
    make_run,
    perform_run,
    random_dataset,
)
from torch.func import functional_call, jvp

from feature_alignment.measures.sample_complexity import (
    Ratio,
    early_stopping,
    examples_to_reach,
    geometric_interval,
    mean_ratio,
    ratio_at,
)
from feature_alignment.papers.lejeune2024 import pool as pools
from feature_alignment.papers.lejeune2024 import ridge, sample_complexity
from feature_alignment.papers.lejeune2024.pool import load_pool
from feature_alignment.papers.lejeune2024.sample_complexity import train_on
from feature_alignment.tables import read_table
from feature_alignment.tangents.features import TangentFeatures
from feature_alignment.tangents.kernels import tangent_kernel
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.readings import DivergenceError
from feature_alignment.training.recipe import shuffled

# torch's forward differentiation compiles its own rules in a way that it calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")

SETTINGS = {
    "draws": "tiny",
    "subset": "one",
    "dataset": {"name": "digits", "n_train": 20, "n_test": 30, "label_noise": 0.0},
    "held_out": 10,
    "sizes": [10, 20],
    "further_sizes": {},
    "models": ["full", "fixed", "adaptive"],
    "model": {**MLP, "width": 6, "initialisation": "lecun_normal"},
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "batch_size": 5,
    "epochs": 4,
    "stop": {"patience": 50, "least_epochs": 0, "every": 1},
    "kernel_examples": 6,
}
CNN = {"architecture": "cnn", "width": 2, "initialisation": "lecun_normal"}
OF_RIDGE = ("draws", "subset", "dataset", "held_out", "sizes", "model")
RIDGE = {name: SETTINGS[name] for name in OF_RIDGE} | {"ridges": [1e-3, 0.1]}
KINDS = ("full", "fixed", "adaptive")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return random_dataset(folder, "digits", (1, 16, 16), n_train=60, n_test=30, classes=3)


def make(folder, dataset, module="sample_complexity", seed=0, **changes):
    settings = {"sample_complexity": SETTINGS, "ridge": RIDGE}[module]
    settings = changed(settings, **changes)
    return make_run(module, settings, folder, dataset, paper="lejeune2024", seed=seed)


def nowhere(run):
    return Checkpointing(run.checkpoint, "x", math.inf)


def displacements(measurements):
    """Singular values by layer and rank."""
    return {(m.layer, m.at): m.value for m in measurements if m.measure == "singular_value"}


def errors(measurements, split):
    return {
        entry.epoch: entry.value
        for entry in measurements
        if entry.measure == "error" and entry.split == split
    }


def test_early_stopping_waits_for_its_patience():
    epochs, values = [1, 2, 3, 4, 5, 6], [0.5, 0.3, 0.4, 0.4, 0.4, 0.1]
    assert vars(early_stopping(epochs, values, patience=2)) == {"epoch": 2, "stopped": 5}
    assert vars(early_stopping(epochs, values, patience=3)) == {"epoch": 6, "stopped": 6}
    assert vars(early_stopping(epochs, values, patience=1)) == {"epoch": 2, "stopped": 4}
    late = early_stopping(epochs, values, patience=1, least_epochs=6)
    assert vars(late) == {"epoch": 6, "stopped": 6}
    assert vars(early_stopping([1, 2], [0.3, 0.3], patience=9)) == {"epoch": 1, "stopped": 2}
    with pytest.raises(ValueError, match="got 1 for 2 epochs"):
        early_stopping([1, 2], [0.3], patience=9)


def test_examples_are_interpolated_in_their_logarithm():
    curve = {100: 0.4, 1000: 0.2, 10000: 0.1}
    assert examples_to_reach(0.2, curve) == pytest.approx(1000)
    assert examples_to_reach(0.3, curve) == pytest.approx(10**2.5)
    assert examples_to_reach(0.15, curve) == pytest.approx(10**3.5)
    assert examples_to_reach(0.5, curve) == 0
    assert examples_to_reach(0.05, curve) == math.inf


def test_a_curve_that_rises_counts_by_its_lowest_value_so_far():
    curve = {10: 0.4, 100: 0.2, 1000: 0.3, 10000: 0.1}
    assert examples_to_reach(0.2, curve) == pytest.approx(100)
    assert examples_to_reach(0.15, curve) == pytest.approx(10**3.5)


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_a_shifted_power_law_has_the_ratio_of_its_shift(factor):
    sizes = [2**k * 100 for k in range(6)]
    second = {n: 0.9 - 0.1 * math.log(n / 100) for n in sizes}
    first = {n: 0.9 - 0.1 * math.log(n / factor / 100) for n in sizes}
    for found, expected in (
        (mean_ratio(first, second), factor),
        (mean_ratio(second, first), 1 / factor),
        (ratio_at(800, first, second), factor),
    ):
        assert found.side == "at"
        assert found.value == pytest.approx(expected)


def test_a_curve_that_rises_at_first_has_common_errors_too():
    found = mean_ratio({125: 0.4, 500: 0.45}, {125: 0.5, 500: 0.3})
    assert found.side == "at"
    assert found.value == pytest.approx(0.5)


def test_without_a_common_error_the_ratio_is_a_bound():
    worse, better = {100: 0.9, 400: 0.8}, {100: 0.5, 400: 0.3}
    assert mean_ratio(worse, better) == Ratio(4, "above")
    assert mean_ratio(better, worse) == Ratio(0.25, "below")
    assert ratio_at(400, worse, better) == Ratio(1, "above")
    assert ratio_at(400, better, worse) == Ratio(0.25, "below")


def test_bootstrap_intervals_cover_the_mean():
    ratios = np.exp(np.random.default_rng(0).normal(1.0, 0.5, 200))
    low, high = geometric_interval(ratios)
    expected = 1.96 * 0.5 / math.sqrt(200)
    mean = np.log(ratios).mean()
    assert [math.log(low) - mean, math.log(high) - mean] == pytest.approx(
        [-expected, expected], rel=0.2
    )
    assert geometric_interval([2.0]) == (2.0, 2.0)
    assert geometric_interval([2.0, 2.0]) == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_that_of_the_outputs_written_out(kind, tmp_path, dataset):
    run = make(tmp_path, dataset, dataset__n_train=20, weight_decay=1e-3)
    pool = load_pool(run)
    found = train_on(run, pool, kind, 10, nowhere(run))
    model = written_out(kind, pool.network)
    order = shuffled(10, run)
    images, labels = pool.train.inputs[:10], pool.train.labels[:10]
    batches = [
        (images[batch], labels[batch]) for epoch in range(4) for batch in order(epoch).split(5)
    ]
    descend(run, model, batches)
    if kind == "full":
        weights = dict(model.named_parameters())
        moved = {name: weights[name] - value for name, value in pool.network.named_parameters()}
    else:
        moved = model.delta()
    shown = displacements(found)
    expected = {
        (name.removesuffix(".weight"), rank): value
        for name, weight in moved.items()
        if name.endswith("weight")
        for rank, value in enumerate(torch.linalg.svdvals(weight.detach()).tolist(), start=1)
    }
    assert len(shown) >= 3
    for place, value in shown.items():
        # in float32; the smallest singular values are the differences of larger numbers
        assert value == pytest.approx(expected[place], rel=2e-3, abs=2e-5)
    for split, examples in pool.selection.items():
        wrong = (model(examples.inputs).argmax(dim=1) != examples.labels).double().mean().item()
        assert errors(found, split)[4.0] == pytest.approx(wrong)


def test_the_models_part_ways(tmp_path, dataset):
    run = make(tmp_path, dataset)
    pool = load_pool(run)
    values = []
    for kind in KINDS:
        found = train_on(run, pool, kind, 10, nowhere(run).part(kind))
        values.append(np.array([*displacements(found).values()]))
    for one, other in combinations(values, 2):
        assert np.abs(one - other).max() > 1e-3


def written_out(kind, network):
    """A model with the network's displacements as parameters, differentiated by torch.func."""
    if kind == "full":
        return copy.deepcopy(network)
    start = {name: value.detach().clone() for name, value in network.named_parameters()}

    class Expansion(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in start.items():
                shapes = [value.shape]
                if kind == "adaptive" and value.ndim == 2:
                    shapes += [(value.shape[1],) * 2, (value.shape[0],) * 2]
                for place, shape in enumerate(shapes):
                    zeros = torch.nn.Parameter(torch.zeros(shape))
                    self.register_parameter(f"{name}.{place}".replace(".", "_"), zeros)

        def delta(self):
            moved = {}
            for name, value in start.items():
                part = getattr(self, f"{name}.0".replace(".", "_"))
                if kind == "adaptive":
                    weight = name.replace("bias", "weight")
                    m1, m2 = (
                        getattr(self, f"{weight}.{place}".replace(".", "_")) for place in (1, 2)
                    )
                    m2 = torch.eye(len(m2)) + m2
                    if value.ndim == 2:
                        part = (part @ (torch.eye(len(m1)) + m1).T).T @ m2
                        part = part.T
                    else:
                        part = part @ m2
                moved[name] = part
            return moved

        def forward(self, inputs):
            outputs, tangent = jvp(
                lambda parameters: functional_call(network, parameters, (inputs,)),
                (start,),
                (self.delta(),),
            )
            return outputs.detach() + tangent

    return Expansion()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subset", ["one", "fresh"])
def test_images_seen_are_counted(kind, subset, tmp_path, dataset):
    run = make(tmp_path, dataset, subset=subset)
    found = train_on(run, load_pool(run), kind, 10, nowhere(run))
    counts = {m.epoch: m.value for m in found if m.measure == "distinct_images"}
    if subset == "one":
        assert counts == {0.0: 0, 1.0: 10, 2.0: 10, 3.0: 10, 4.0: 10}
    else:
        seen, expected = set(), {0.0: 0}
        for epoch in range(4):
            seen |= set(shuffled(20, run)(epoch)[:10].tolist())
            expected[epoch + 1.0] = len(seen)
        assert counts == expected
        assert counts[4.0] > 10


def test_subset_and_held_out_images_do_not_overlap(tmp_path, dataset):
    pool = load_pool(make(tmp_path, dataset))
    rows = [part.inputs.flatten(1) for part in (pool.train, pool.selection["held_out"])]
    assert [len(part) for part in rows] == [20, 10]
    assert len(torch.unique(torch.cat(rows), dim=0)) == 30
    assert pool.train.inputs.min() >= 0
    assert pool.train.inputs.max() <= 1


def test_runs_of_the_same_draws_share_images_and_weights(tmp_path, dataset):
    one = load_pool(make(tmp_path, dataset))
    run = make(tmp_path, dataset, dataset__n_train=30)
    run.spec["run"] = "other"
    other = load_pool(run)
    assert torch.equal(one.train.inputs, other.train.inputs[:20])
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True)
    )
    different = load_pool(make(tmp_path, dataset, draws="others"))
    assert not torch.equal(one.train.inputs, different.train.inputs)


@pytest.mark.parametrize("kind", ["fixed", "adaptive"])
def test_stored_features_change_nothing(kind, tmp_path, dataset, monkeypatch):
    options = {"optimizer": "adam", "learning_rate": 0.01, "kernel_examples": 0}
    run = make(tmp_path, dataset, model=CNN, **options)
    pool = load_pool(run)
    assert isinstance(pool.features["train"], TangentFeatures)
    stored = train_on(run, pool, kind, 20, nowhere(run))
    run.checkpoint.unlink()
    monkeypatch.setattr(pools, "FEATURE_BUDGET_GIB", 0)
    pool = load_pool(run)
    assert pool.features is None
    passed = train_on(run, pool, kind, 20, nowhere(run))
    assert len(displacements(stored)) > 10
    assert displacements(stored) == pytest.approx(displacements(passed), rel=1e-3, abs=1e-6)


@pytest.mark.usefixtures("restored_torch")
@pytest.mark.parametrize("model", [SETTINGS["model"], CNN])
def test_a_killed_run_resumes_to_the_same_bytes(model, tmp_path, dataset):
    options = {"model": model, "kernel_examples": 0 if model is CNN else 6}
    whole = perform_run(make(tmp_path / "whole", dataset, **options))
    assert perform_run(make(tmp_path / "again", dataset, **options)) == whole
    run = make(tmp_path / "killed", dataset, **options)
    for step in (3, 12, 20):
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, "cross_entropy", step)
            with pytest.raises(Killed):
                perform_run(run)
        assert list(run.checkpoint.parent.glob("*"))
    assert perform_run(run) == whole


def test_the_table_tells_models_and_sizes_apart(tmp_path, dataset):
    run = make(tmp_path, dataset)
    complete(run)
    table = read_table(run.out, ["model", "n_train"])
    final = table[
        (table["measure"] == "error") & (table["split"] == "test") & (table["epoch"] == 4)
    ]
    assert len(final) == 6
    assert set(zip(final["model"], final["n_train"], strict=True)) == {
        (kind, n) for kind in KINDS for n in (10, 20)
    }
    aligned = table[table["measure"] == "kernel_alignment"]
    assert len(aligned) == 6
    assert aligned["value"].between(0, 1).all()


def test_divergence_keeps_the_finished_parts(tmp_path, dataset):
    run = make(tmp_path, dataset, models=["fixed"], sizes=[5, 10])
    train_one = sample_complexity.train_on

    def diverging(run, pool, kind, n, checkpointing):
        if n == 10:
            raise DivergenceError("the loss became nan; lower the learning rate", [])
        return train_one(run, pool, kind, n, checkpointing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_complexity, "train_on", diverging)
        with pytest.raises(DivergenceError, match="model fixed, n_train 10: the loss"):
            complete(run)
    kept = read_table(run.checkpoint.with_suffix(".partial.csv"), ["model", "n_train"])
    assert set(kept["n_train"]) == {5}
    assert len(kept) > 10


def test_single_models_take_further_sizes(tmp_path, dataset):
    run = make(
        tmp_path, dataset, sizes=[5], further_sizes={"fixed": [10]}, models=["fixed", "full"]
    )
    complete(run)
    table = read_table(run.out, ["model", "n_train"])
    assert set(zip(table["model"], table["n_train"], strict=True)) == {
        ("fixed", 5),
        ("full", 5),
        ("fixed", 10),
    }


@pytest.mark.parametrize(
    "further, message",
    [
        (
            {"adaptive": [10]},
            "further_sizes has adaptive; expected some of the models, fixed, full",
        ),
        ({"full": [10, 20]}, "further_sizes of full has 20, which is in sizes"),
        ({"full": [40]}, "sizes go up to 40, but dataset.n_train is 20"),
    ],
)
def test_further_sizes_that_do_not_fit_are_an_error(further, message, tmp_path, dataset):
    run = make(tmp_path, dataset, sizes=[20], models=["fixed", "full"], further_sizes=further)
    with pytest.raises(ValueError, match=message):
        complete(run)


def test_a_rate_too_high_is_a_divergence(tmp_path, dataset):
    run = make(tmp_path, dataset, models=["fixed"], learning_rate=1e38, sizes=[10])
    with pytest.raises(DivergenceError, match="model fixed, n_train 10.*lower the learning rate"):
        complete(run)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sizes": [40]}, "sizes go up to 40, but dataset.n_train is 20"),
        ({"held_out": 0}, "raise held_out above 0"),
        ({"kernel_examples": 31}, "kernel_examples is 31, of 30 test images"),
        ({"model": CNN}, "kernel_examples is 6, of 30 test images"),
    ],
)
def test_what_cannot_be_measured_is_an_error_before_training(changes, message, tmp_path, dataset):
    with pytest.raises(ValueError, match=message):
        load_pool(make(tmp_path, dataset, **changes))


def test_adam_is_given_all_inputs(tmp_path, dataset):
    pool = load_pool(make(tmp_path, dataset))
    narrow, _, _ = sample_complexity.prepare("fixed", pool, 10, in_row_space=True)
    wide, _, _ = sample_complexity.prepare("fixed", pool, 10, in_row_space=False)
    assert narrow.displacements["linear1"].weight.shape == (6, 10)
    assert wide.displacements["linear1"].weight.shape == (6, 256)


@pytest.mark.parametrize("weight", [1e-2, 1.0])
def test_ridge_is_the_minimum_over_displacements(weight, tmp_path, dataset):
    run = make(tmp_path, dataset, "ridge", ridges=[weight])
    pool = load_pool(run)
    found = ridge.regress(run, pool, 10)
    network = copy.deepcopy(pool.network).double()
    inputs, labels = pool.train.inputs[:10].double(), pool.train.labels[:10]
    start = dict(network.named_parameters())

    def jacobian(images):
        rows = []
        for image in images:
            outputs = network(image[None])[0]
            for value in outputs:
                parts = torch.autograd.grad(value, list(start.values()), retain_graph=True)
                rows.append(torch.cat([part.flatten() for part in parts]))
        return torch.stack(rows)

    features = jacobian(inputs)
    residuals = (torch.eye(3, dtype=torch.float64)[labels] - network(inputs)).detach()
    penalty = weight * features.square().sum(dim=1).mean()
    size = features.shape[1]
    normal = features.T @ features + penalty * torch.eye(size, dtype=torch.float64)
    delta = torch.linalg.solve(normal, features.T @ residuals.flatten())
    kernel = tangent_kernel(network, inputs).reshape(30, 30)
    coefficients = ridge.dual_solution(kernel, residuals, weight)
    dual = ridge.feature_sum(network, inputs, coefficients)
    solved = torch.cat([part.flatten() for part in dual.values()])
    torch.testing.assert_close(solved, delta, atol=1e-9, rtol=1e-9)
    for split, examples in pool.selection.items():
        images = examples.inputs.double()
        outputs = network(images).detach() + (jacobian(images) @ delta).view(len(images), -1)
        wrong = (outputs.argmax(dim=1) != examples.labels).double().mean().item()
        assert errors(found, split)[0.0] == pytest.approx(wrong)


def test_ridge_is_of_the_residuals(tmp_path, dataset, monkeypatch):
    seen = []
    solve = ridge.dual_solution

    def watched(kernel, residuals, weight):
        seen.append(residuals)
        return solve(kernel, residuals, weight)

    monkeypatch.setattr(ridge, "dual_solution", watched)
    run = make(tmp_path, dataset, "ridge", ridges=[0.1])
    pool = load_pool(run)
    ridge.regress(run, pool, 10)
    outputs = copy.deepcopy(pool.network).double()(pool.train.inputs[:10].double())
    one_hot = torch.eye(3, dtype=torch.float64)[pool.train.labels[:10]]
    torch.testing.assert_close(seen[0], (one_hot - outputs).detach())


@pytest.mark.usefixtures("restored_torch")
def test_ridge_program_writes_errors_by_ridge(tmp_path, dataset):
    run = make(tmp_path, dataset, "ridge")
    perform_run(run)
    table = read_table(run.out, ["n_train"])
    found = table[table["measure"] == "error"]
    assert len(found) == 2 * 2 * 3
    assert set(found["n_train"]) == {10, 20}
    assert set(found["split"]) == {"train", "test", "held_out"}
    weights = table[table["measure"] == "ridge"].set_index(["n_train", "step"])["value"]
    assert weights.to_dict() == {(10, 0): 1e-3, (10, 1): 0.1, (20, 0): 1e-3, (20, 1): 0.1}
