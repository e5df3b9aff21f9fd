import math
from itertools import pairwise

import pandas as pd
import pytest
import torch
from tiny_runs import (
    MLP,
    changed,
    complete,
    initial_network,
    killed_and_resumed,
    make_run,
    random_dataset,
    values,
)
from torch import nn

from feature_alignment.data.loading import Examples
from feature_alignment.measures import complexity
from feature_alignment.models.mlp import mlp
from feature_alignment.papers.baratin2021.complexity import baselines, kernel_trace
from feature_alignment.papers.baratin2021.tables import TABLES, by_sweep
from feature_alignment.probes.path_complexity import PathComplexity
from feature_alignment.run.collecting import collect
from feature_alignment.training.loop import train
from feature_alignment.training.losses import cross_entropy
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import AtSteps, constant
from feature_alignment.training.stopping import MeasuredLossBelow

from reference import complexity as reference

INPUTS, WIDTH, CLASSES, EXAMPLES = 5, 7, 3, 12
LOGGED = {5, 6, 7, 8, 10, 11, 13, 15}  # ⌊5 · 1.15ᵏ⌋
SETTINGS = {
    "dataset": {"name": "grey", "n_train": 24, "n_test": 10, "label_noise": 0.0},
    "model": changed(MLP, hidden_layers=1, width=6),
    "loss": "cross_entropy",
    "learning_rate": 0.02,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "batch_size": 10,
    "epochs": 6,
    "stop": {"loss": 0.01},
    "measure": {"kernel_examples": 8, "refresh_steps": 4},
}


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights():
    """U, V, U₀, V₀."""
    return [
        draw(WIDTH, INPUTS),
        draw(CLASSES, WIDTH, seed=1),
        draw(WIDTH, INPUTS, seed=2),
        draw(CLASSES, WIDTH, seed=3),
    ]


def network(width=WIDTH, **changes):
    options = {"bias": True, "activation": "relu", "initialisation": "he_normal"} | changes
    generator = torch.Generator().manual_seed(4)
    return mlp(INPUTS, 1, width, CLASSES, **options, generator=generator).double()


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("biases", [True, False])
def test_parameters_are_those_of_the_network(biases):
    u, v, *_ = weights()
    expected = sum(p.numel() for p in network(bias=biases).parameters())
    assert complexity.parameter_count(u, v, biases=biases) == expected


def test_norms_equal_sums_over_entries_and_paths():
    u, v, u0, v0 = weights()
    assert complexity.frobenius_product(u, v) == pytest.approx(
        reference.frobenius_product(u, v), rel=1e-12
    )
    assert complexity.path_norm(u, v) == pytest.approx(reference.path_norm(u, v), rel=1e-12)
    assert complexity.distance_from_initialisation(u, u0) == pytest.approx(
        reference.distance(u, u0), rel=1e-12
    )
    assert complexity.spectral_complexity(u, v, u0, v0) == pytest.approx(
        reference.spectral_complexity((u, v), (u0, v0)), rel=1e-12
    )


def test_path_norm_alone_sees_no_rescaling_of_units():
    u, v, u0, v0 = weights()
    scales = draw(WIDTH, seed=5).exp()
    scaled = scales[:, None] * u, v / scales
    assert complexity.path_norm(*scaled) == pytest.approx(complexity.path_norm(u, v), rel=1e-12)
    others = complexity.frobenius_product, lambda a, b: complexity.spectral_complexity(a, b, u0, v0)
    for measure in others:
        assert measure(*scaled) != pytest.approx(measure(u, v), rel=1e-2)


def test_measures_of_distance_are_zero_at_initialisation():
    u, v, *_ = weights()
    assert complexity.spectral_complexity(u, v, u, v) == 0
    assert complexity.distance_from_initialisation(u, u) == 0
    moved = torch.zeros_like(v)
    moved[1] = 3.0  # one unit of the output alone: ‖Δᵀ‖₂,₁ is the length of its row
    expected = torch.linalg.svdvals(u)[0].item() * 3 * math.sqrt(WIDTH)
    assert complexity.spectral_complexity(u, v + moved, u, v) == pytest.approx(expected, rel=1e-12)


def test_float32_weights_are_measured_in_float64():
    u, v = torch.full((1, 1), 1e30), torch.full((1, 1), 1e30)  # the squares overflow float32
    assert complexity.frobenius_product(u, v) == pytest.approx(1e60, rel=1e-6)
    assert complexity.path_norm(u, v) == pytest.approx(1e60, rel=1e-6)
    assert complexity.spectral_complexity(u, v, 0 * u, 0 * v) == pytest.approx(
        2**1.5 * 1e60, rel=1e-6
    )


def test_shapes_that_do_not_fit_are_errors():
    u, v, u0, v0 = weights()
    with pytest.raises(ValueError, match=r"\(h, d\) and \(C, h\), got \(7, 5\) and \(7, 3\)"):
        complexity.path_norm(u, v.T)
    with pytest.raises(ValueError, match=r"initial weights of shape \(3, 7\), got \(2, 7\)"):
        complexity.spectral_complexity(u, v, u0, v0[:2])
    with pytest.raises(ValueError, match=r"initial weights of shape \(7, 5\), got \(7, 4\)"):
        complexity.distance_from_initialisation(u, u0[:, :4])


def test_baselines_are_read_from_the_two_layers():
    model = network()
    probe = baselines(model)
    start = [model.linear1.weight.detach().clone(), model.linear2.weight.detach().clone()]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
    now = [model.linear1.weight.detach(), model.linear2.weight.detach()]
    assert {reading.measure: reading.value for reading in probe(model)} == {
        "parameter_count": complexity.parameter_count(*now, biases=True),
        "frobenius_product": complexity.frobenius_product(*now),
        "spectral_complexity": complexity.spectral_complexity(*now, *start),
        "path_norm": complexity.path_norm(*now),
        "distance_from_initialisation": complexity.distance_from_initialisation(now[0], start[0]),
    }


def follow(model, trace, refresh, steps=17, schedule=(), momentum=0.9, rate=0.05):
    """Train on random examples, all at once; return observer, measurements and the path."""
    inputs = draw(EXAMPLES, INPUTS, seed=6)
    labels = torch.arange(EXAMPLES) % CLASSES
    observer = PathComplexity(model, lambda net: trace(net, inputs[:8]), 8, refresh)
    path, traces = [flat(model)], [reference.kernel_trace(model, inputs[:8])]

    class Recorder:
        def after_step(self, model):
            path.append(flat(model))
            traces.append(reference.kernel_trace(model, inputs[:8]))

    recipe = Recipe(
        loss=cross_entropy,
        optimizer=torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum),
        learning_rate=constant(rate),
        batch_size=EXAMPLES,
        epochs=steps,
        order=lambda epoch: torch.arange(EXAMPLES),
    )
    found = train(
        model,
        Examples(inputs, labels),
        recipe,
        schedule=AtSteps(schedule),
        probes=[observer],
        observers=[observer, Recorder()],
    )
    return {(entry.step, entry.measure): entry.value for entry in found}, path, traces


def our_trace(model, inputs):
    return kernel_trace(inputs)(model)


@pytest.mark.parametrize("refresh", [1, 4, 10])
def test_path_sums_equal_those_over_the_whole_path(refresh):
    at = [0, 1, 2, 9, 13]  # readings between and at logged steps do not disturb the sums
    found, path, traces = follow(network(), our_trace, refresh, schedule=at)
    for step in (*at, 17):
        expected = reference.path_sums(path[: step + 1], traces, 8, refresh, LOGGED)
        names = "path_complexity", "path_complexity_coarse", "path_length"
        assert [found[step, name] for name in names] == pytest.approx(expected, rel=1e-10)
        assert found[step, "kernel_trace"] == pytest.approx(traces[step] / 8, rel=1e-10)
    assert found[17, "path_complexity_coarse"] > 0
    assert found[0, "path_complexity"] == found[1, "path_complexity_coarse"] == 0
    if refresh > 1:  # else the question which trace counts would not be asked
        assert found[17, "path_complexity"] != pytest.approx(
            reference.path_sums(path, traces, 8, 1, LOGGED)[0], rel=1e-4
        )


def test_of_a_linear_model_the_kernel_is_constant():
    """Tr K = C Σ‖x‖² whatever the weights, so that C is the length of the path times √(Tr K/n)."""
    model = nn.Linear(INPUTS, CLASSES, bias=False).double()
    found, path, _ = follow(model, our_trace, 3)
    trace = CLASSES * draw(EXAMPLES, INPUTS, seed=6)[:8].square().sum().item()
    length = sum((b - a).norm().item() for a, b in pairwise(path))
    assert found[17, "path_complexity"] == pytest.approx(length * math.sqrt(trace / 8), rel=1e-12)
    assert found[17, "kernel_trace"] == pytest.approx(trace / 8, rel=1e-12)
    after_first = (length - (path[1] - path[0]).norm().item()) * math.sqrt(trace / 8)
    assert found[17, "path_complexity_coarse"] < after_first


def test_on_a_straight_path_the_coarse_sum_lacks_the_first_step_alone():
    model = nn.Linear(1, 1, bias=False).double()
    observer = PathComplexity(model, lambda net: 9.0, 1, 10)
    for _ in range(40):
        with torch.no_grad():
            model.weight += 0.5
        observer.after_step(model)
    found = {reading.measure: reading.value for reading in observer(model)}
    assert found["path_length"] == pytest.approx(20.0, rel=1e-12)
    assert found["path_complexity"] == pytest.approx(3 * 20.0, rel=1e-12)
    assert found["path_complexity_coarse"] == pytest.approx(3 * 19.5, rel=1e-12)


@pytest.mark.parametrize("examples, refresh", [(0, 10), (10, 0)])
def test_refuses_no_examples_and_no_refreshing(examples, refresh):
    with pytest.raises(ValueError, match=f"got examples={examples}, refresh={refresh}"):
        PathComplexity(nn.Linear(1, 1), lambda net: 1.0, examples, refresh)


def test_stops_at_the_first_epoch_that_ends_below_the_measured_loss():
    losses = iter([0.5, 0.2, 0.1, 0.05])
    stop = MeasuredLossBelow(0.1, lambda: next(losses))
    stop.after_step(0.0)
    assert [stop.after_epoch() for _ in range(4)] == [False, False, False, True]
    assert stop.state() == {}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    return random_dataset(folder, "grey", (1, 3, 3), n_train=30, n_test=10, classes=CLASSES)


def tiny(folder, dataset, **changes):
    return make_run("complexity", changed(SETTINGS, **changes), folder, dataset)


def test_a_run_measures_at_few_steps_and_at_the_end(tmp_path, dataset):
    run = tiny(tmp_path, dataset)
    complete(run)
    found = values(run)
    assert sorted({step for step, *_ in found}) == [0, 10, 18]
    start = {key[1:3]: value for key, value in found.items() if key[0] == 0}
    for measure in ("path_complexity", "path_length", "spectral_complexity"):
        assert start[measure, "train" if measure.startswith("path") else None] == 0
    probed = run.task().train.inputs[:8]
    expected = reference.kernel_trace(initial_network(run), probed) / 8
    assert start["kernel_trace", "train"] == pytest.approx(expected, rel=1e-4)  # float32


def training_losses(run):
    complete(run)
    return {key[0]: value for key, value in values(run).items() if key[1:3] == ("loss", "train")}


def test_a_run_ends_once_its_whole_training_set_is_fitted(tmp_path, dataset):
    losses = training_losses(tiny(tmp_path / "long", dataset, stop__loss=0.5, epochs=200))
    last = max(losses)
    assert last < 600
    assert losses[last] < 0.5
    shorter = {"stop__loss": 0.5, "epochs": last // 3 - 1}
    assert training_losses(tiny(tmp_path / "short", dataset, **shorter))[last - 3] >= 0.5


@pytest.mark.parametrize("step", [1, 2, 6, 11, 17])
def test_a_resumed_run_gives_the_same_bytes(tmp_path, dataset, step):
    expected = complete(tiny(tmp_path / "whole", dataset))
    run = tiny(tmp_path / "killed", dataset)
    assert killed_and_resumed(run, "cross_entropy", step) == expected


def test_too_many_kernel_examples_are_an_error(tmp_path, dataset):
    with pytest.raises(ValueError, match="kernel_examples is 25, but there are only 24"):
        complete(tiny(tmp_path, dataset, measure__kernel_examples=25))


CONDITIONS = ["run", "width", "label_noise", "learning_rate"]
RUNS = [
    ("w16", 16, 0.0, 0.01),
    ("w32", 32, 0.0, 0.01),
    ("noise50", 32, 0.5, 0.01),
    ("fast", 32, 0.0, 0.1),
]


def conditions(runs):
    table = pd.DataFrame(runs, columns=CONDITIONS)
    return table.assign(measure="loss", value=1.0)


def test_a_run_without_label_noise_may_belong_to_both_sweeps():
    table = by_sweep(conditions(RUNS))
    assert table.groupby("sweep")["run"].agg(list).to_dict() == {
        "width": ["w16", "w32"],
        "label_noise": ["w32", "noise50"],
        "control": ["fast"],
    }
    assert list(table.columns) == [*CONDITIONS, "sweep", "measure", "value"]


@pytest.mark.parametrize("runs", [RUNS[:2], [*RUNS, ("odd", 16, 0.5, 0.01)]])
def test_runs_with_label_noise_must_share_width_and_rate(runs):
    with pytest.raises(ValueError, match="share one width and one learning rate"):
        by_sweep(conditions(runs))


def test_the_table_has_the_end_of_every_run_and_whether_it_reached_its_loss(tmp_path, dataset):
    variants = {"clean": {"stop__loss": 0.5, "epochs": 200}, "noisy": {"dataset__label_noise": 1.0}}
    runs = {name: tiny(tmp_path / name, dataset, **changes) for name, changes in variants.items()}
    for name, run in runs.items():
        run.spec["run"] = name
        complete(run)
    columns = {"width": "model.width", "label_noise": "dataset.label_noise"}
    columns["learning_rate"] = "learning_rate"
    specs, sources = {name: run.spec for name, run in runs.items()}, [r.out for r in runs.values()]
    table = TABLES["fig6_complexity"](collect(specs, {"columns": columns}, sources))
    initial = table["measure"].str.startswith("initial_")
    assert (table[initial]["step"] == 0).all()
    assert set(table[initial]["measure"]) == {"initial_frobenius_product", "initial_path_norm"}
    assert (table[~initial].groupby("run")["step"].nunique() == 1).all()
    reached = table[table["measure"] == "reached"].set_index(["sweep", "run"])["value"].to_dict()
    assert reached == {
        ("width", "clean"): 1.0,
        ("label_noise", "clean"): 1.0,
        ("label_noise", "noisy"): 0.0,
    }
