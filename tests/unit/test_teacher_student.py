"""The path-averaged tangent kernel, and the students of a teacher."""

import copy
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file
from tiny_runs import MLP, Killed, changed, complete, kill_at, make_run, perform_run
from torch import nn

from feature_alignment.data.prepare import summary
from feature_alignment.data.stand_ins import digits
from feature_alignment.models.build import build
from feature_alignment.models.mlp import mlp
from feature_alignment.papers.lejeune2024 import teacher_student
from feature_alignment.papers.lejeune2024.teacher_student import (
    Kernels,
    build_student,
    drawn,
    measure_kernels,
    prepare_lesson,
    train_last_layer,
)
from feature_alignment.run.context import Dataset
from feature_alignment.run.schema import read_settings, validate
from feature_alignment.storage import sha256, write_json
from feature_alignment.tables import read_table
from feature_alignment.tangents import path
from feature_alignment.tangents.kernels import tangent_kernel
from feature_alignment.tangents.path import path_average
from feature_alignment.training.losses import mse
from feature_alignment.training.schedules import cosine

from reference import path_kernel as reference

ROOT = Path(__file__).parents[2]
IMAGES, SHOWN, POINTS, BATCH = 90, 30, 6, 20
STEPS = 5 * 4  # five batches an epoch
SGD = {"learning_rate": 0.1, "momentum": 0.8, "batch_size": BATCH}
SETTINGS = {
    "seeds": 1,
    "draws": "tiny",  # the name of the run, so that it draws as one without the setting
    "dataset": {"name": "digits", "n_train": IMAGES},
    "classes": [2, 3],
    "normalised": "length",
    "teacher": {"model": {**MLP, "width": 16, "bias": False}, **SGD, "epochs": 100, "period": 10},
    "student": {"model": MLP, **SGD, "epochs": 4},
    "measure": {"kernel_examples": SHOWN, "path_points": POINTS, "regression": None},
}
REGRESSION = {"held_out": 11, "test": 13, "ridges": [0.1, 1.0, 10.0]}
TARGETS = ("smooth", "sign")
STATES = ("initial", "averaged", "final")


def ends(*, hidden_layers=2, bias=True, activation="relu", inputs=5, outputs=1):
    """Two states of a network in float64, far enough apart that units switch on and off."""
    options = {"bias": bias, "activation": activation, "initialisation": "pytorch"}
    return [
        mlp(inputs, hidden_layers, 7, outputs, **options,
            generator=torch.Generator().manual_seed(seed)).double()
        for seed in (0, 1)
    ]  # fmt: skip


def examples(n=9, inputs=5):
    return torch.randn(n, inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("block", [1, 3 * 9 * 8 * 8, path.BLOCK_BYTES])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden_layers", [0, 1, 2, 4])
def test_the_kernel_is_that_of_gradients_averaged_one_by_one(
    hidden_layers, bias, activation, block, monkeypatch
):
    monkeypatch.setattr(path, "BLOCK_BYTES", block)  # one unit at a time, three, all
    start, end = ends(hidden_layers=hidden_layers, bias=bias, activation=activation)
    found = path_average(start, end, examples(), points=5)
    rows = reference.features(start, end, examples(), 5)
    torch.testing.assert_close(found.kernel, rows @ rows.T, rtol=1e-10, atol=1e-10)
    expected = rows @ reference.displacement(start, end)
    torch.testing.assert_close(found.change, expected, rtol=1e-10, atol=1e-10)
    assert list(found.layers) == [f"linear{k}" for k in range(1, hidden_layers + 2)]
    for part, term in zip(by_layer(start, rows), found.layers.values(), strict=True):
        torch.testing.assert_close(term, part @ part.T, rtol=1e-10, atol=1e-10)


def by_layer(network, rows):
    """Columns of the features, which lie in the order of the parameters, layer by layer."""
    layers = [module for module in network if isinstance(module, nn.Linear)]
    return rows.split([sum(p.numel() for p in layer.parameters()) for layer in layers], dim=1)


def test_the_kernel_of_averaged_features_is_smaller_than_the_average_of_kernels():
    start, end = ends()
    found = path_average(start, end, examples(), points=2).kernel.diagonal()
    both = [tangent_kernel(net, examples()).reshape(9, 9).diagonal() for net in (start, end)]
    assert (found < (both[0] + both[1]) / 2).all()  # Jensen's inequality


def test_where_nothing_moves_the_kernel_is_the_tangent_kernel():
    start, end = ends()
    kernel = tangent_kernel(start, examples()).reshape(9, 9)
    still = path_average(start, copy.deepcopy(start), examples(), points=4)
    torch.testing.assert_close(still.kernel, kernel, rtol=1e-12, atol=1e-12)
    assert (still.change == 0).all()
    at_start = path_average(start, end, examples(), points=1)
    torch.testing.assert_close(at_start.kernel, kernel, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_path_identity_holds_the_better_the_more_points(activation):
    start, end = ends(activation=activation)
    with torch.no_grad():
        change = (end(examples()) - start(examples()))[:, 0]
    errors = [
        ((path_average(start, end, examples(), points=p).change - change).norm() / change.norm())
        for p in (10, 50, 250)
    ]
    # Equal weights count both ends twice as much as they should: the error falls like 1/points
    assert 0.01 < errors[0] < 0.5
    for before, after in ((errors[0], errors[1]), (errors[1], errors[2])):
        assert after < before / 4
    assert errors[2] < 0.01


@pytest.mark.parametrize("points", [2, 5])
def test_a_linear_network_has_its_known_kernel(points):
    """f = w·Ax: gradients are linear in t, so that their average is that at the middle."""
    start, end = ends(hidden_layers=1, bias=False, activation="identity")
    x = examples()
    a = (start.linear1.weight + end.linear1.weight).detach() / 2
    w = (start.linear2.weight + end.linear2.weight).detach()[0] / 2
    found = path_average(start, end, x, points=points)
    expected = (w @ w) * (x @ x.T) + (x @ a.T) @ (x @ a.T).T
    torch.testing.assert_close(found.kernel, expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(found.change, (end(x) - start(x))[:, 0], rtol=1e-12, atol=1e-12)


def test_the_networks_stay_as_they_are():
    networks = ends()
    before = [copy.deepcopy(net.state_dict()) for net in networks]
    path_average(*networks, examples(), points=3)
    for network, state in zip(networks, before, strict=True):
        assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_what_has_no_path_is_an_error():
    start, end = ends()
    with pytest.raises(ValueError, match="points=0"):
        path_average(start, end, examples(), points=0)
    with pytest.raises(ValueError, match=r"two states of one network.*linear3.weight \(1, 7\)"):
        path_average(start, ends(hidden_layers=3)[0], examples(), points=2)
    with pytest.raises(ValueError, match="one output, got 2"):
        path_average(*ends(outputs=2), examples(), points=2)
    normalised = nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 1)).double()
    with pytest.raises(ValueError, match="'0', a LayerNorm"):
        path_average(normalised, normalised, examples(), points=2)
    sequences = nn.Sequential(nn.Linear(3, 1), nn.Flatten(), nn.Linear(5, 1)).double()
    x = torch.ones(2, 5, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="'0', a Linear that does not map one vector"):
        path_average(sequences, sequences, x, points=2)


def test_the_squared_error_is_the_mean_over_the_batch():
    outputs, targets = torch.tensor([[1.0], [3.0]]), torch.tensor([0.5, -1.0])
    assert mse(outputs, targets).item() == pytest.approx((0.5**2 + 4**2) / 2)


def descend(
    network, trained, inputs, targets, orders, *, learning_rate, momentum, batch_size, period
):
    """Train a part of a network by torch's own optimiser and schedule, an order per epoch."""
    optimizer = torch.optim.SGD(trained.parameters(), lr=learning_rate, momentum=momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=period)
    for order in orders:
        for chosen in order.split(batch_size):
            optimizer.zero_grad()
            (network(inputs[chosen])[:, 0] - targets[chosen]).square().mean().backward()
            optimizer.step()
        schedule.step()


def orders(run, epochs):
    """Orders of the images of a run."""
    draws = (run.generator("order", epoch) for epoch in range(epochs))
    return [torch.randperm(IMAGES, generator=draw) for draw in draws]


def test_the_last_layer_is_trained_as_torch_does():
    draw = torch.Generator().manual_seed(3)
    features = torch.randn(25, 6, generator=draw, dtype=torch.float64)
    labels = torch.randn(25, generator=draw, dtype=torch.float64)
    layer = nn.Linear(6, 1, bias=False).double()
    visited = [torch.randperm(25, generator=draw) for _ in range(5)]
    start = layer.weight.detach()[0].clone()
    found = train_last_layer(
        features, labels, start,
        learning_rate=cosine(0.05, 4), momentum=0.7, batch_size=10, epochs=5,
        order=lambda epoch: visited[epoch],
    )  # fmt: skip
    options = {"learning_rate": 0.05, "momentum": 0.7, "period": 4, "batch_size": 10}
    descend(layer, layer, features, labels, visited, **options)
    torch.testing.assert_close(found, layer.weight.detach()[0], rtol=1e-12, atol=1e-12)
    assert not torch.equal(found, start)


@pytest.fixture(scope="module")
def small_digits(tmp_path_factory):
    """Handwritten digits of 7 × 7 pixels."""
    arrays = digits()
    for split in ("train", "test"):
        arrays[f"{split}_images"] = np.ascontiguousarray(arrays[f"{split}_images"][..., ::4, ::4])
    file = tmp_path_factory.mktemp("digits") / "digits.safetensors"
    save_file(arrays, file)
    identity = {"name": "digits", "origin": "bundled", "note": "", "files": []}
    manifest = {**identity, "sha256": sha256(file), **summary(arrays)}
    write_json(file.with_suffix(".json"), manifest)
    return Dataset(file, manifest)


def tiny(folder, *datasets, seed=0, **changes):
    settings = changed(SETTINGS, **changes)
    del settings["seeds"]
    return make_run("teacher_student", settings, folder, *datasets, paper="lejeune2024", seed=seed)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_digits):
    """A finished run and its students at the end, by target."""
    run = tiny(tmp_path_factory.mktemp("finished"), small_digits)
    students = []

    def keeping(*arguments):
        students.append(build_student(*arguments))
        return students[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_student, "build_student", keeping)
        complete(run)
    return run, dict(zip(TARGETS, students, strict=True))


@pytest.fixture(scope="module")
def lesson(finished):
    return prepare_lesson(finished[0])


def table(run):
    """Values at the end by target, measure and rank, and losses at the start by target."""
    rows = read_table(run.out, ["target"])
    assert set(rows["step"]) == {0, STEPS}
    assert set(rows["split"]) == {"train"}
    start = rows["step"] == 0
    assert set(rows.loc[start, "measure"]) == {"loss"}
    found = {}
    for _, row in rows[~start].iterrows():
        place = row["layer"] if pd.isna(row["at"]) else row["at"]
        found[row["target"], row["measure"], None if pd.isna(place) else place] = row["value"]
    initial = rows[start].set_index("target")["value"].to_dict()
    assert len(found) + len(initial) == len(rows)
    return found, initial


def files(run):
    return [run.out.with_suffix(ending).read_bytes() for ending in (".csv", ".npz")]


def test_the_settings_are_those_of_the_schema():
    schemas = read_settings(ROOT / "papers/lejeune2024/settings.yaml", ROOT / "workflow/schemas")
    schema = schemas["teacher_student"]
    validate(SETTINGS, schema, "settings")
    wrong = {
        "classes": [2],
        "dataset__n_test": 5,
        "teacher__model__bias": True,
        "student__period": 3,
        "measure__kernel_examples": 501,
        "measure__regression": {"held_out": 1, "test": 1},
        "normalised": "range",
        "extra": 1,
    }
    validate(changed(SETTINGS, measure__regression=REGRESSION), schema, "settings")
    for name, value in wrong.items():
        with pytest.raises(ValueError, match="settings"):
            validate(changed(SETTINGS, **{name: value}), schema, "settings")


def test_images_are_of_two_classes_centred_and_of_length_one(finished, lesson, small_digits):
    task = finished[0].task(n_train=1400, n_test=0, label_noise=0.0, standardized=False)
    chosen = [k for k, label in enumerate(task.train.labels.tolist()) if label in (2, 3)][:IMAGES]
    raw = task.train.inputs[chosen].flatten(1).double()
    expected = torch.stack([(x - x.mean()) / (x - x.mean()).square().sum().sqrt() for x in raw])
    torch.testing.assert_close(lesson.inputs.double(), expected, rtol=0, atol=1e-6)  # float32
    signs = [1.0 if task.train.labels[k] == 3 else -1.0 for k in chosen]
    assert lesson.labels.tolist() == signs
    assert set(signs) == {-1.0, 1.0}


def test_images_of_variance_one_are_longer(lesson, small_digits, tmp_path):
    scaled = prepare_lesson(tiny(tmp_path, small_digits, normalised="variance", teacher__epochs=1))
    torch.testing.assert_close(scaled.inputs, 7 * lesson.inputs, rtol=1e-5, atol=1e-6)  # √49
    ones = torch.ones(IMAGES)
    torch.testing.assert_close(scaled.inputs.var(1, correction=0), ones, rtol=1e-5, atol=0)


def test_classes_swapped_swap_the_labels(finished, lesson, small_digits, tmp_path):
    swapped = prepare_lesson(tiny(tmp_path, small_digits, classes=[3, 2]))
    assert torch.equal(swapped.inputs, lesson.inputs)
    assert torch.equal(swapped.labels, -lesson.labels)


def test_the_last_layer_of_the_teacher_alone_is_trained(finished, lesson):
    run = finished[0]
    teacher = build(run.settings["teacher"]["model"], (49,), 1, run.generator("probe")).double()
    inputs, labels = lesson.inputs.double(), lesson.labels.double()
    untrained = mse(teacher(inputs), labels).item()
    descend(teacher, teacher.linear3, inputs, labels, orders(run, 100), period=10, **SGD)
    outputs = teacher(inputs)[:, 0].detach()
    torch.testing.assert_close(lesson.outputs.double(), outputs, rtol=0, atol=1e-4)  # float32
    assert mse(outputs[:, None], labels).item() < untrained / 2


def test_students_start_alike_with_biases_drawn_as_torch_does(finished):
    run, _ = finished
    first, second = (build_student(run, 49) for _ in TARGETS)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    student = build_student(tiny(run.out.parent, student__model__width=400), 300)
    for layer, fan_in in ((student.linear1, 300), (student.linear2, 400)):
        bound = 1 / math.sqrt(fan_in)
        assert layer.bias.abs().max() <= bound
        # 400 uniform draws: the deviation is bound/√3 within a few hundredths
        assert layer.bias.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        deviation = math.sqrt(2 / fan_in)
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert 0 < student.linear3.bias.abs().item() <= 1 / 20


def targets_of(lesson, target):
    return {"smooth": lesson.outputs, "sign": lesson.outputs.sign()}[target]


@pytest.mark.parametrize("target", TARGETS)
def test_students_are_trained_on_their_target(finished, lesson, target):
    run, students = finished
    student = build_student(run, 49).double()
    inputs, targets = lesson.inputs.double(), targets_of(lesson, target).double()
    _, initial = table(run)
    assert initial[target] == pytest.approx(mse(student(inputs), targets).item(), rel=1e-5)
    descend(student, student, inputs, targets, orders(run, 4), period=4, **SGD)
    for one, other in zip(student.parameters(), students[target].parameters(), strict=True):
        torch.testing.assert_close(one, other.double(), rtol=0, atol=1e-5)  # float32
    found, _ = table(run)
    loss = mse(student(inputs), targets).item()
    assert found[target, "loss", None] == pytest.approx(loss, rel=1e-3)
    assert loss < initial[target]


def written_out(finished, lesson, target):
    """The kernels of a student and the change of its outputs, by naive loops in float64."""
    run, students = finished
    start, end = build_student(run, 49).double(), copy.deepcopy(students[target]).double()
    x = lesson.inputs[:SHOWN].double()
    averaged = reference.features(start, end, x, POINTS)
    rows = [
        torch.stack([reference.gradient(start, image) for image in x]),
        averaged,
        torch.stack([reference.gradient(end, image) for image in x]),
    ]
    with torch.no_grad():
        change = (end(x) - start(x))[:, 0]
    kernels = {state: row @ row.T for state, row in zip(STATES, rows, strict=True)}
    parts = [by_layer(start, part) for part in rows[:2]]
    terms = [[part @ part.T for part in state] for state in parts]
    return kernels, change, averaged @ reference.displacement(start, end), terms


@pytest.mark.parametrize("target", TARGETS)
def test_the_table_is_that_of_the_kernels_written_out(finished, lesson, target):
    kernels, change, path_change, terms = written_out(finished, lesson, target)
    found = {key[1:]: value for key, value in table(finished[0])[0].items() if key[0] == target}
    outer, y = torch.outer(change, change), lesson.outputs
    centring = torch.eye(SHOWN, dtype=torch.float64) - 1 / SHOWN
    expected = {
        "teacher_loss": (y - lesson.labels).square().mean().item(),
        "teacher_sign_agreement": ((y > 0) == (lesson.labels > 0)).double().mean().item(),
        "path_identity_error": ((path_change - change).norm() / change.norm()).item(),
        "loss": found["loss", None],
    }
    near, far = (np.abs(y[:SHOWN].numpy()) < 0.25), (np.abs(y[:SHOWN].numpy()) > 0.75)
    assert 0 < near.sum() < SHOWN
    for state, ending in (("averaged", ""), ("initial", "_initial")):
        diagonal = kernels[state].diagonal().numpy()
        medians = np.median(diagonal[near]), np.median(diagonal[far])
        expected[f"diagonal_near{ending}"], expected[f"diagonal_far{ending}"] = medians
        expected[f"peak_ratio{ending}"] = medians[0] / medians[1]
    for state, kernel in kernels.items():
        expected[f"cosine_{state}"] = reference.cosine(kernel, outer)
        centred = [centring @ matrix @ centring for matrix in (kernel, outer)]
        expected[f"centered_cosine_{state}"] = reference.cosine(*centred)
    for state in ("initial", "final"):
        pair = kernels[state], kernels["averaged"]
        expected[f"likeness_{state}"] = reference.cosine(*pair)
        centred = [centring @ matrix @ centring for matrix in pair]
        expected[f"centered_likeness_{state}"] = reference.cosine(*centred)
    nearness = (-y[:SHOWN].abs()).double()
    for state, ending in (("averaged", ""), ("initial", "_initial")):
        ranks = [v.argsort().argsort().double() for v in (kernels[state].diagonal(), nearness)]
        squares = (ranks[0] - ranks[1]).square().sum().item()  # no value comes twice
        expected[f"boundary_rank{ending}"] = 1 - 6 * squares / (SHOWN * (SHOWN**2 - 1))
    moved = kernels["averaged"] - kernels["initial"]
    layers = {}
    for place, (initial, averaged) in enumerate(zip(*terms, strict=True), start=1):
        share = torch.tensordot(averaged - initial, moved) / torch.tensordot(moved, moved)
        layers["term_share", f"linear{place}"] = share.item()
        for state, term in (("initial", initial), ("averaged", averaged)):
            cosine = reference.cosine(term, outer)
            layers[f"term_alignment_{state}", f"linear{place}"] = cosine
    shares = [value for (name, _), value in layers.items() if name == "term_share"]
    assert sum(shares) == pytest.approx(1)
    for key, value in layers.items():
        assert found[key] == pytest.approx(value, rel=1e-6, abs=1e-9), key
    for name, value in expected.items():
        # labels and outputs are float32
        assert found[name, None] == pytest.approx(value, rel=1e-6), name
    for state, kernel in kernels.items():
        spectrum = np.linalg.eigvalsh(kernel.numpy())[::-1] / np.trace(kernel.numpy())
        for rank in range(1, SHOWN + 1):
            value = found[f"eigenvalue_{state}", rank]
            assert value == pytest.approx(spectrum[rank - 1], rel=1e-6, abs=1e-12)
    assert len(found) == len(expected) + len(layers) + 3 * SHOWN


@pytest.mark.parametrize("target", TARGETS)
def test_regressions_are_those_of_features_written_out(small_digits, tmp_path, target, monkeypatch):
    """In the primal, on gradients of single examples, with the ridge that is left out least."""
    kept = []
    monkeypatch.setattr(
        teacher_student, "measure_kernels", lambda *a: kept.append(a) or kernels(*a)
    )
    kernels = measure_kernels
    changes = {"measure__kernel_examples": IMAGES, "measure__regression": REGRESSION}
    run = tiny(tmp_path, small_digits, **changes)
    complete(run)
    start, end, x, points = kept[TARGETS.index(target)]
    start, end, x = (copy.deepcopy(start).double(), copy.deepcopy(end).double(), x.double())
    lesson = prepare_lesson(tiny(tmp_path / "again", small_digits, **changes))
    y = torch.cat([lesson.outputs, *(y for _, y in lesson.further.values())])
    t = {"smooth": y, "sign": y.sign()}[target].double()
    train, held, test = (t[:IMAGES], t[IMAGES : IMAGES + 11], t[IMAGES + 11 :])
    assert len(test) == 13
    with torch.no_grad():
        before, after = start(x)[:, 0], end(x)[:, 0]
    rows = {
        "initial": torch.stack([reference.gradient(start, image) for image in x]),
        "averaged": reference.features(start, end, x, points),
        "final": torch.stack([reference.gradient(end, image) for image in x]),
    }
    expected = {"network_error": (after[-13:].sign() != test.sign()).double().mean().item()}
    expected["network_unexplained"] = ((after[-13:] - test) ** 2).sum().item() / (
        test @ test
    ).item()
    for state, features in rows.items():
        own, fits = features[:IMAGES], {}
        for ridge in REGRESSION["ridges"]:
            penalty = ridge * (own * own).sum() / IMAGES
            system = own.T @ own + penalty * torch.eye(own.shape[1], dtype=torch.float64)
            moved = torch.linalg.solve(system, own.T @ (train - before[:IMAGES]))
            fits[ridge] = before + features @ moved
        best = min(fits, key=lambda ridge: (fits[ridge][IMAGES:-13] - held).square().sum().item())
        fitted = fits[best][-13:]
        left = (fitted - test).square().sum() / test.square().sum()
        expected[f"regression_ridge_{state}"] = best
        expected[f"regression_unexplained_{state}"] = left.item()
        missed = (fitted.sign() != test.sign()).double().mean().item()
        expected[f"regression_error_{state}"] = missed
    found = {key[1]: value for key, value in table_of(run).items() if key[0] == target}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-10), name


def table_of(run):
    """Values by target and measure of what regressions say."""
    rows = read_table(run.out, ["target"])
    rows = rows[rows["measure"].str.startswith(("regression", "network"))]
    assert set(rows["split"]) == {"held_out", "test"}
    return rows.set_index(["target", "measure"])["value"].to_dict()


def test_images_that_select_and_test_are_trained_on_by_nobody(small_digits, tmp_path):
    changes = {"measure__kernel_examples": IMAGES, "measure__regression": REGRESSION}
    lesson = prepare_lesson(tiny(tmp_path, small_digits, **changes))
    plain = prepare_lesson(tiny(tmp_path, small_digits))
    assert torch.equal(lesson.outputs, plain.outputs)
    sizes = {split: len(images) for split, (images, _) in lesson.further.items()}
    assert sizes == {"held_out": 11, "test": 13}
    for images, outputs in lesson.further.values():
        assert len(outputs) == len(images)
        assert (torch.cdist(images, lesson.inputs) > 1e-4).all()


def test_regressions_see_what_the_student_does(small_digits, tmp_path):
    with pytest.raises(ValueError, match=f"to see the dataset.n_train = {IMAGES} images"):
        prepare_lesson(tiny(tmp_path, small_digits, measure__regression=REGRESSION))
    many = {**REGRESSION, "test": 10**6}
    changes = {"dataset__n_train": SHOWN, "measure__regression": many}
    with pytest.raises(ValueError, match="test images of the classes 2 and 3.*measure.regression"):
        prepare_lesson(tiny(tmp_path, small_digits, **changes))


def test_images_are_the_kernels_in_the_order_of_the_teacher(finished, lesson):
    with np.load(finished[0].out.with_suffix(".npz"), allow_pickle=False) as arrays:
        images = dict(arrays)
    y = lesson.outputs[:SHOWN]
    order = sorted(range(SHOWN), key=lambda k: y[k].item())
    assert images["targets"].tolist() == list(TARGETS)
    np.testing.assert_array_equal(images["y"], y[order].numpy())
    for place, target in enumerate(TARGETS):
        kernels, change, *_ = written_out(finished, lesson, target)
        np.testing.assert_allclose(images["change"][place], change[order], atol=1e-6)
        kernels = {state: kernel[order][:, order].numpy() for state, kernel in kernels.items()}
        for state in ("averaged", "final"):
            shown = images[f"kernel_{state}"]
            assert shown.dtype == np.float16
            np.testing.assert_allclose(shown[place], kernels[state], rtol=1e-3, atol=1e-3)
        diagonals = images["diagonal_initial"], images["diagonal_averaged"][place]
        for diagonal, state in zip(diagonals, ("initial", "averaged"), strict=True):
            assert diagonal.dtype == np.float32
            np.testing.assert_allclose(diagonal, kernels[state].diagonal(), rtol=1e-6)
    assert len(images) == 7


def test_images_of_many_examples_are_thinned(monkeypatch):
    monkeypatch.setattr(teacher_student, "DRAWN", 3)
    y = torch.tensor([0.0, 6, 1, 5, 2, 4, 3])
    pairs = y[:, None] + 10 * y
    kernels = Kernels(pairs, pairs + 100, pairs + 200, y + 7, path_change=y, before=y, terms={})
    images = drawn(y, {"smooth": kernels, "sign": kernels})
    assert images["y"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert images["diagonal_averaged"][1].tolist() == [100, 111, 122, 133, 144, 155, 166]
    assert images["change"][1].tolist() == [7, 10, 13]
    expected = [[100, 130, 160], [103, 133, 163], [106, 136, 166]]
    assert images["kernel_averaged"][1].tolist() == expected
    assert images["kernel_final"].shape == (2, 3, 3)


def test_the_seed_alone_decides_table_and_images(finished, small_digits, tmp_path):
    torch.manual_seed(99)
    again, other = (tiny(tmp_path / str(seed), small_digits, seed=seed) for seed in (0, 1))
    complete(again)
    complete(other)
    assert files(again) == files(finished[0])
    for one, differs in zip(files(finished[0]), files(other), strict=True):
        assert one != differs


@pytest.mark.parametrize("step", [7, STEPS, STEPS + 1, STEPS + 9])
def test_a_killed_run_goes_on_to_the_same_files(finished, small_digits, tmp_path, step):
    run = tiny(tmp_path, small_digits)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, "mse", step)
        with pytest.raises(Killed):
            complete(run)
    assert not run.out.exists()
    assert list(run.checkpoint.parent.glob("*"))
    steps = []

    def counting(outputs, targets):
        steps.append(outputs.requires_grad)
        return mse(outputs, targets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(teacher_student.LOSSES, "mse", counting)
        complete(run)
    assert sum(steps) == 2 * STEPS - (step - 1)  # nothing that was done is done again
    assert files(run) == files(finished[0])


def test_settings_that_ask_for_too_much_are_errors(small_digits, tmp_path):
    def error(**changes):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            complete(tiny(tmp_path, small_digits, **changes))
        return str(caught.value)

    count = int(np.isin(digits()["train_labels"], (2, 3)).sum())
    message = error(dataset__n_train=count + 1)
    assert f"digits has {count} training images of the classes 2 and 3" in message
    assert f"asks for {count + 1}; lower dataset.n_train" in message
    message = error(measure__kernel_examples=IMAGES + 1)
    assert f"kernel_examples is {IMAGES + 1}, but dataset.n_train is {IMAGES}" in message
    assert "raise measure.kernel_examples" in error(measure__kernel_examples=1)
    assert "needs the dataset 'mnist'" in error(dataset__name="mnist")


def test_a_constant_image_is_an_error(small_digits, tmp_path):
    arrays = {name: value.copy() for name, value in digits().items()}
    arrays["train_images"][arrays["train_labels"] == 3] = 200
    file = tmp_path / "digits.safetensors"
    save_file(arrays, file)
    manifest = {**small_digits.manifest, "sha256": sha256(file)}
    with pytest.raises(ValueError, match="an image of digits is constant"):
        prepare_lesson(tiny(tmp_path, Dataset(file, manifest)))


@pytest.mark.usefixtures("restored_torch")
def test_the_program_writes_table_and_images(finished, small_digits, tmp_path):
    run = tiny(tmp_path, small_digits)
    perform_run(run)
    assert files(run) == files(finished[0])
    written = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    assert written == {"spec.json", "0.csv", "0.meta.json", "0.npz"}
