import json
import math
from functools import partial

import pytest
import torch
from tiny_runs import Killed, killing
from torch import nn

from feature_alignment.data.augmentation import crop_and_flip
from feature_alignment.data.loading import Examples
from feature_alignment.probes.accuracy import accuracy_probe, evaluate
from feature_alignment.randomness import generator
from feature_alignment.run.settings import Settings
from feature_alignment.training import schedules
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.losses import binary_cross_entropy, centered_mse, cross_entropy, mse
from feature_alignment.training.optimizers import OPTIMIZERS, make_optimizer
from feature_alignment.training.readings import DivergenceError, Measurement, Reading, taken
from feature_alignment.training.recipe import Recipe, seeded_dropout
from feature_alignment.training.stopping import LossBelow, Patience

N, FEATURES, CLASSES = 23, 5, 3


@pytest.fixture
def examples():
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(N, FEATURES, generator=draw)
    return Examples(inputs, torch.randint(CLASSES, (N,), generator=draw))


class Draws:
    def generator(self, purpose, *indices):
        return generator("test/run", 0, purpose, *indices)


def order(epoch):
    return torch.randperm(N, generator=Draws().generator("order", epoch))


def network():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES))


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def weights(model):
    return [Reading(name, value.sum().item()) for name, value in model.named_parameters()]


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1.0, momentum=0.9)


def run(examples, model=None, optimizer=sgd, **changed):
    """Train by a recipe with some changes; return the model and the measurements."""
    model = model or network()
    options = {"schedule": schedules.EveryEpochs(), "probes": [weights]}
    for name in ("schedule", "probes", "observers", "checkpointing"):
        if name in changed:
            options[name] = changed.pop(name)
    recipe = {
        "loss": cross_entropy,
        "optimizer": optimizer(model.parameters()),
        "learning_rate": schedules.constant(0.1),
        "batch_size": 10,
        "epochs": 4,
        "order": order,
    }
    return model, train(model, examples, Recipe(**recipe | changed), **options)


def assert_resumes(folder, step, trained):
    """Kill a training in a step, resume it, and compare it with an uninterrupted one.

    Returns what the two trainings returned: models and measurements.
    """
    saving = Checkpointing(folder / "state", "same", interval_s=0)
    with pytest.raises(Killed):
        trained(loss=killing(cross_entropy, step), checkpointing=saving)
    resumed, found = trained(checkpointing=saving)
    whole, expected = trained()
    assert found == expected
    assert torch.equal(flat(resumed), flat(whole))
    return expected


def test_one_step_is_gradient_descent(examples):
    start = network().eval()
    centered_mse(start(examples.inputs), examples.labels).backward()
    expected = flat(start) - 0.25 * torch.cat([p.grad.flatten() for p in start.parameters()])
    model = network()
    model[2].p = 0.0
    run(
        examples, model, lambda parameters: torch.optim.SGD(parameters, lr=99.0),
        loss=centered_mse, learning_rate=schedules.constant(0.25), batch_size=N, epochs=1,
        order=lambda epoch: torch.arange(N), probes=[],
    )  # fmt: skip
    torch.testing.assert_close(flat(model), expected, rtol=1e-6, atol=1e-7)


def test_every_example_is_visited_once_an_epoch_in_batches(examples):
    seen = []

    def spy(outputs, labels):
        seen.append(labels)
        return cross_entropy(outputs, labels)

    run(examples, loss=spy, epochs=2)
    assert [len(batch) for batch in seen] == [10, 10, 3] * 2
    for epoch in (0, 1):
        visited = torch.cat(seen[3 * epoch : 3 * epoch + 3])
        assert torch.equal(visited, examples.labels[order(epoch)])
    assert not torch.equal(order(0), order(1))


def test_learning_rate_follows_the_epoch(examples):
    _, slow = run(examples, learning_rate=schedules.first_epoch_then(0.0, 0.1))
    at = {entry.epoch: entry.value for entry in slow if entry.measure == "0.weight"}
    assert at[0] == at[1] != at[2]


@pytest.mark.parametrize(
    "schedule, steps",
    [
        (schedules.EveryEpochs(), [0, 3, 6, 9, 12]),
        (schedules.LogSpaced(2, 2.0), [0, 2, 4, 8, 12]),
        (schedules.AtSteps([7, 0, 2, 50]), [0, 2, 7, 12]),
        (schedules.AtSteps([3, 12]), [3, 12]),
    ],
)
def test_measurements_are_taken_when_due_and_at_the_end(examples, schedule, steps):
    _, found = run(examples, schedule=schedule)
    assert list(dict.fromkeys(entry.step for entry in found)) == steps
    # An epoch has three batches
    assert {entry.step: entry.epoch for entry in found} == {step: step / 3 for step in steps}


def test_a_measurement_is_a_reading_with_its_step_and_epoch(examples):
    readings = [Reading("m", 1.0, "conv1", "test", at=40), Reading("n", 2.0)]
    _, found = run(examples, probes=[lambda model: readings], epochs=1)
    assert found == taken(readings) + taken(readings, 3, 1.0)
    assert found[0] == Measurement(0, 0.0, "m", 1.0, "conv1", "test", at=40)
    assert found[3] == Measurement(3, 1.0, "n", 2.0)
    assert (found[3].layer, found[3].split, found[3].at) == (None, None, None)


def test_measuring_does_not_change_the_training(examples):
    def noisy(model):
        torch.rand(7)
        assert not model.training
        return []

    quiet, _ = run(examples, probes=[])
    measured, _ = run(examples, probes=[noisy, weights])
    assert torch.equal(flat(quiet), flat(measured))
    assert measured.training


def fused(name, learning_rate=1.0):
    return partial(
        make_optimizer, name, learning_rate=learning_rate, momentum=0.9, weight_decay=1e-3
    )


RESUMED = {
    "fused": fused("sgd"),
    "fused adam": fused("adam"),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    "momentum": lambda parameters: torch.optim.SGD(
        parameters, lr=1.0, momentum=0.9, weight_decay=1e-3
    ),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1.0),
}


@pytest.mark.parametrize("kind", RESUMED)
@pytest.mark.parametrize("step", [2, 5, 7, 12])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, examples, kind, step):
    def trained(**options):
        stop = LossBelow([0.9], epochs=3)
        return run(examples, optimizer=RESUMED[kind], stop=stop, **options)

    assert_resumes(tmp_path, step, trained)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_in_another_memory_layout_equals_an_uninterrupted_one(
    tmp_path, examples, name
):
    draw = torch.Generator().manual_seed(1)
    images = Examples(torch.randn(N, 3, 4, 4, generator=draw), examples.labels)

    def trained(**options):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(20, CLASSES))
        model = model.to(memory_format=torch.channels_last)
        return run(images, model, fused(name, 0.1), probes=[], **options)

    assert_resumes(tmp_path, 5, trained)


@pytest.mark.parametrize("name, torchs", [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
@pytest.mark.parametrize("whole", [True, False])
def test_an_optimizer_takes_the_steps_of_torch_s_own_to_the_last_bit(examples, name, torchs, whole):
    def ours(parameters):
        options = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "fused": whole}
        return make_optimizer(name, parameters, **options)

    def theirs(parameters):
        memory = {"momentum": 0.9} if name == "sgd" else {"betas": (0.9, 0.999)}
        return torchs(parameters, lr=0.1, weight_decay=1e-3, fused=whole or None, **memory)

    trained, expected = (flat(run(examples, optimizer=one)[0]) for one in (ours, theirs))
    assert torch.equal(trained, expected)
    assert not torch.equal(trained, flat(network()))


def test_what_comes_before_a_step_sees_every_batch_and_changes_the_inputs_alone(examples):
    kept = examples.inputs.clone()
    seen, learned, steps = [], [], []

    def spoiling(batch, step):
        steps.append(step)
        seen.append(batch.clone())
        return batch.zero_()

    def spy(outputs, targets):
        learned.append(targets)
        return cross_entropy(outputs, targets)

    run(examples, before_step=spoiling, loss=spy, epochs=2)
    visited = torch.cat([order(0), order(1)])
    assert steps == list(range(6))
    assert torch.equal(torch.cat(seen), kept[visited])
    assert torch.equal(torch.cat(learned), examples.labels[visited])
    assert torch.equal(examples.inputs, kept)


def test_the_network_learns_from_what_comes_before_a_step(examples):
    changed, found = run(examples, before_step=lambda batch, step: 2 * batch)
    doubled, expected = run(Examples(2 * examples.inputs, examples.labels))
    assert found == expected
    assert torch.equal(flat(changed), flat(doubled))


class Path:
    """Observer and probe whose state is plain numbers and tensors."""

    def __init__(self):
        self.steps = 0
        self.length = 0.0
        self.mean = self.last = None

    def after_step(self, model):
        assert model.training
        weights = flat(model)
        if self.last is not None:
            self.length += (weights - self.last).norm().item()
        self.mean = weights if self.mean is None else 0.9 * self.mean + 0.1 * weights
        self.last = weights
        self.steps += 1

    def __call__(self, model):
        yield Reading("steps", self.steps)
        yield Reading("length", self.length)
        yield from weights(model)

    def state(self):
        return {"steps": self.steps, "length": self.length, "mean": self.mean}

    def restore(self, model, state):
        self.steps, self.length, self.mean = state["steps"], state["length"], state["mean"]
        self.last = flat(model)


def test_observers_see_the_model_after_every_step_and_do_not_change_it(examples):
    path, finals = Path(), []

    class Last:
        def after_step(self, model):
            finals.append(flat(model))

    model, found = run(examples, observers=[path, Last()], probes=[path])
    assert path.steps == len(finals) == 12
    assert len({tuple(weights.tolist()) for weights in finals}) == 12
    assert torch.equal(finals[-1], flat(model))
    steps = {entry.step: entry.value for entry in found if entry.measure == "steps"}
    assert steps == {0: 0, 3: 3, 6: 6, 9: 9, 12: 12}
    assert torch.equal(flat(model), flat(run(examples)[0]))


@pytest.mark.parametrize("step", [2, 4, 9])
def test_observers_and_what_comes_before_a_step_resume_where_they_were(tmp_path, examples, step):
    paths = []

    def shifted(inputs, step):
        return inputs + torch.randn(FEATURES, generator=Draws().generator("augmentation", step))

    def trained(**options):
        idle = Path()  # a second one, so that states are not mixed up
        idle.after_step = lambda model: None
        paths.append(Path())
        observers, probes = [idle, paths[-1]], [paths[-1]]
        return run(examples, before_step=shifted, observers=observers, probes=probes, **options)

    assert_resumes(tmp_path, step, trained)
    _, resumed, whole = paths
    assert torch.equal(resumed.mean, whole.mean)
    assert resumed.steps == whole.steps == 12


def test_a_finished_run_resumes_to_its_end(tmp_path, examples):
    saving = Checkpointing(tmp_path / "state", "same", interval_s=0)
    first, again = (
        run(examples, stop=LossBelow([math.inf]), checkpointing=saving)[1] for _ in range(2)
    )
    assert again == first
    assert max(entry.epoch for entry in first) == 1


def test_a_checkpoint_of_another_spec_is_ignored(tmp_path, examples):
    run(examples, checkpointing=Checkpointing(tmp_path / "state", "old", interval_s=0))
    other = Checkpointing(tmp_path / "state", "new", interval_s=0)
    _, found = run(examples, checkpointing=other, epochs=2)
    assert found == run(examples, epochs=2)[1]


def test_parts_of_a_run_save_their_states_apart(tmp_path):
    whole = Checkpointing(tmp_path / "0.safetensors", "same", interval_s=7)
    assert whole.part("a") == Checkpointing(tmp_path / "0.a.safetensors", "same/a", 7)
    assert len({whole.part(name).fingerprint for name in ("a", 1, 2)}) == 3


def test_divergence_stops_and_keeps_what_was_measured(examples):
    with pytest.raises(
        DivergenceError, match=r"loss became (inf|nan) after step \d+.*rate 1e\+20"
    ) as error:
        run(examples, learning_rate=schedules.first_epoch_then(0.1, 1e20))
    assert {entry.epoch for entry in error.value.measurements} == {0.0, 1.0}


def test_weights_that_overflow_in_the_last_step_are_a_divergence_too(examples):
    def steep(outputs, labels):
        return 1e30 * cross_entropy(outputs, labels)

    with pytest.raises(DivergenceError, match="a weight became not finite after step 1"):
        run(examples, loss=steep, learning_rate=schedules.constant(1e30), epochs=1, batch_size=N)


def test_a_measure_that_is_not_a_number_is_a_divergence(examples):
    def broken(model):
        yield Reading("odd", math.nan)

    with pytest.raises(DivergenceError, match="the measure 'odd' became nan after step 0"):
        run(examples, probes=[weights, broken])


PLAIN = {"loss": "mse", "learning_rate": 0.3, "batch_size": 4, "epochs": 2}
FULL = PLAIN | {"optimizer": "adam", "momentum": 0.8, "weight_decay": 0.1, "augmentation": True}


def test_a_recipe_comes_from_settings():
    recipe = Recipe.of(FULL, network(), N, Draws())
    assert (recipe.loss, recipe.batch_size, recipe.epochs, recipe.stop) == (mse, 4, 2, None)
    [group] = recipe.optimizer.param_groups
    assert isinstance(recipe.optimizer, torch.optim.Adam)
    assert (group["betas"][0], group["weight_decay"], group["fused"]) == (0.8, 0.1, True)
    assert [recipe.learning_rate(epoch) for epoch in (0, 1)] == [0.3, 0.3]
    assert torch.equal(recipe.order(1), order(1))
    images = torch.rand(5, 3, 8, 8)
    cut = crop_and_flip(images, Draws().generator("augmentation", 7))
    assert torch.equal(recipe.before_step(images, 7), cut)
    assert not torch.equal(recipe.before_step(images, 8), cut)


def test_a_plain_recipe_is_gradient_descent_of_what_can_be_trained():
    model = network()
    model[0].weight.requires_grad_(False)
    recipe = Recipe.of(PLAIN, model, N, Draws(), fused=False)
    [group] = recipe.optimizer.param_groups
    assert isinstance(recipe.optimizer, torch.optim.SGD)
    assert (group["momentum"], group["weight_decay"], group["fused"]) == (0, 0, None)
    assert [id(p) for p in group["params"]] == [id(p) for p in list(model.parameters())[1:]]
    assert recipe.before_step is None


def test_a_first_epoch_at_another_rate_is_an_epoch_more():
    rate = {"first_epoch": 0.1, "value": 0.5}
    for recipe in (
        Recipe.of(PLAIN | {"learning_rate": rate}, network(), N, Draws()),
        Recipe.of(PLAIN, network(), N, Draws(), learning_rate=rate),
    ):
        assert [recipe.learning_rate(epoch) for epoch in range(3)] == [0.1, 0.5, 0.5]
        assert recipe.epochs == 3
    cosine = schedules.cosine(1.0, 2)
    assert Recipe.of(PLAIN, network(), N, Draws(), learning_rate=cosine).learning_rate is cosine


def test_a_recipe_reads_no_setting_of_what_it_is_given():
    settings, stop = Settings(FULL), LossBelow([1.0])
    given = {"order": order, "batch_size": N, "before_step": None, "stop": stop}
    recipe = Recipe.of(settings, network(), N, Draws(), **given)
    assert {name: getattr(recipe, name) for name in given} == given
    assert settings.unread() == ["batch_size", "augmentation"]


def test_dropout_repeats_its_draws_at_every_step(examples):
    before, model = seeded_dropout(Draws()), network()

    def dropped(step):
        assert before(examples.inputs, step) is examples.inputs
        return model(examples.inputs)

    assert torch.equal(dropped(3), dropped(3))
    assert not torch.equal(dropped(3), dropped(4))


def test_stops_after_low_loss_at_epoch_ends_in_a_row():
    stop = LossBelow([1.0], epochs=2, memory=0.5)
    stop.after_step(4.0)
    assert stop.smoothed == 4.0
    assert not stop.after_epoch()
    for loss in (0.0, 0.0, 0.0):
        stop.after_step(loss)
    assert stop.smoothed == 0.5
    assert not stop.after_epoch()
    stop.after_step(10.0)
    assert not stop.after_epoch()
    for loss in (0.0,) * 5:
        stop.after_step(loss)
    assert not stop.after_epoch()
    assert stop.after_epoch()


def test_thresholds_are_reached_one_after_the_other():
    stop = LossBelow([1.0, 0.5, 0.1], epochs=2, memory=0.0)
    losses = [0.9, 0.8, 0.7, 2.0, 0.4, 0.05, 0.05]
    seen = []
    for loss in losses:
        stop.after_step(loss)
        assert not stop.just_reached
        stopped = stop.after_epoch()
        seen.append((stop.reached, stop.just_reached, stopped))
    # 0.4 and 0.05 are two below 0.5; 0.05 twice are two below 0.1
    assert seen == [
        (0, False, False),
        (1, True, False),
        (1, False, False),
        (1, False, False),
        (1, False, False),
        (2, True, False),
        (3, True, True),
    ]
    fresh = LossBelow([1.0, 0.5, 0.1], epochs=2, memory=0.0)
    fresh.restore(json.loads(json.dumps(stop.state())))
    assert fresh == stop
    assert fresh.state() == stop.state()


@pytest.mark.parametrize("thresholds", [[], [0.1, 0.5], [0.1, 0.1]])
def test_thresholds_must_fall(thresholds):
    with pytest.raises(ValueError, match="thresholds of the loss in falling order"):
        LossBelow(thresholds)


def test_measurements_come_where_a_loss_is_reached(examples):
    stop = LossBelow([0.9, 0.5], epochs=1, memory=0.0)
    seen = []

    def reached(model):
        seen.append(stop.reached)
        return []

    adam = partial(torch.optim.Adam, lr=0.05)
    run(
        examples, stop=stop, schedule=schedules.AtLosses(stop), probes=[reached], epochs=60,
        optimizer=adam,
    )  # fmt: skip
    assert seen == [0, 1, 2]
    both = schedules.Either(schedules.AtSteps([3]), schedules.EveryEpochs(2))
    assert [step for step in range(6) if both.due(step, None)] == [3]
    assert both.due(5, 2)
    assert not both.due(5, 1)


def test_measurements_may_start_after_some_epochs():
    every = schedules.EveryEpochs(3, first=2)
    assert [epoch for epoch in range(12) if every.due(0, epoch)] == [2, 5, 8, 11]
    assert not every.due(0, None)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_have_their_formulas(name):
    rate, momentum, decay, draw = 0.01, 0.8, 0.1, torch.Generator().manual_seed(0)
    start = torch.randn(4, 3, dtype=torch.float64, generator=draw)
    weight = start.clone().requires_grad_()
    optimizer = make_optimizer(
        name, [weight], learning_rate=rate, momentum=momentum, weight_decay=decay
    )
    expected, first, second = start.clone(), torch.zeros(4, 3), torch.zeros(4, 3)
    for step in range(1, 6):
        gradient = torch.randn(4, 3, dtype=torch.float64, generator=draw)
        weight.grad = gradient.clone()
        optimizer.step()
        gradient = gradient + decay * expected
        if name == "sgd":
            first = momentum * first + gradient
            expected = expected - rate * first
        else:
            first = momentum * first + (1 - momentum) * gradient
            second = 0.999 * second + 0.001 * gradient**2
            mean, square = first / (1 - momentum**step), second / (1 - 0.999**step)
            expected = expected - rate * mean / (square.sqrt() + 1e-8)
        torch.testing.assert_close(weight.detach(), expected)
    with pytest.raises(ValueError, match="unknown optimiser 'sdg'; expected one of sgd, adam"):
        make_optimizer("sdg", [weight], learning_rate=1, momentum=0, weight_decay=0)


def test_schedules_have_their_formulas():
    rate = schedules.cosine(2.0, period=10)
    assert rate(0) == 2.0
    assert rate(5) == pytest.approx(1.0)
    assert rate(10) == pytest.approx(0.0, abs=1e-15)
    assert rate(20) == pytest.approx(2.0)
    steps = [step for step in range(40) if schedules.LogSpaced().due(step, None)]
    assert steps == sorted({0, *(int(5 * 1.15**k) for k in range(15))} & set(range(40)))
    listed = schedules.AtSteps([0, 4])
    assert [step for step in range(9) if listed.due(step, None)] == [0, 4]
    assert not listed.due(3, 4)
    with pytest.raises(ValueError, match="ratio > 1"):
        schedules.LogSpaced(5, 1.0)


def test_losses_have_their_formulas(examples):
    outputs = torch.randn(N, CLASSES, dtype=torch.float64)
    labels = examples.labels
    targets = torch.eye(CLASSES, dtype=torch.float64)[labels] - 1 / CLASSES
    expected = ((outputs - targets) ** 2).sum() / (N * CLASSES)
    assert centered_mse(outputs, labels).item() == pytest.approx(expected.item())
    chosen = outputs.softmax(dim=1)[torch.arange(N), labels]
    assert cross_entropy(outputs, labels).item() == pytest.approx(-chosen.log().mean().item())
    error = ((outputs[:, 0] - targets[:, 1]) ** 2).mean().item()
    assert mse(outputs[:, :1], targets[:, 1]).item() == pytest.approx(error)


def test_binary_cross_entropy_is_that_of_torch_for_labels_0_and_1():
    outputs = 3 * torch.randn(N, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    outputs[:2, 0] = torch.tensor([800.0, -800.0])
    labels = torch.where(torch.arange(N) % 3 == 0, 1.0, -1.0).double()
    outputs.requires_grad_()
    expected = nn.BCEWithLogitsLoss()(outputs[:, 0], (labels + 1) / 2)
    found = binary_cross_entropy(outputs, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(value, outputs)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)
    assert binary_cross_entropy(torch.zeros(4, 1), torch.ones(4)).item() == pytest.approx(
        math.log(2)
    )


def test_evaluation_weighs_a_smaller_last_batch_rightly(examples):
    model = network().eval()
    both = examples.inputs, examples.labels
    whole, batched = (evaluate(model, *both, cross_entropy, batch_size=size) for size in (N, 4))
    assert batched["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    assert batched["accuracy"] == whole["accuracy"]
    right = model(examples.inputs).argmax(1) == examples.labels
    assert whole["accuracy"] == right.double().mean()
    probe = accuracy_probe(cross_entropy, train=examples, test=examples.first(1))
    readings = [(reading.measure, reading.split, reading.value) for reading in probe(model)]
    assert readings[:2] == [(name, "train", value) for name, value in whole.items()]
    assert [reading[:2] for reading in readings[2:]] == [("loss", "test"), ("accuracy", "test")]


def test_patience_is_over_when_every_error_has_stopped_falling():
    first = iter([0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])
    second = iter([0.5, 0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.05])
    stop = Patience(lambda: {"a": next(first), "b": next(second)}, patience=2)
    found = []
    for _ in range(8):
        stop.after_step(1.0)
        found.append(stop.after_epoch())
        if found[-1]:
            break
    # a: best at 2, over at 5; b: best at 1, over at 4, and stays over when it falls later
    assert found == [False, False, False, False, True]
    assert stop.errors() == {"a": 0.4, "b": 0.2}


def test_patience_measures_every_few_epochs_and_waits_for_its_least_epochs():
    measured = []

    def measure():
        measured.append(1)
        return {"a": 0.5}

    stop = Patience(measure, patience=2, least_epochs=8, every=2)
    ends = [epoch for epoch in range(1, 12) if stop.after_epoch() or len(measured) > 4]
    assert ends[0] == 8
    assert len(measured[:4]) == 4


@pytest.mark.parametrize("step", [3, 9, 14])
def test_patience_survives_a_resumption(tmp_path, examples, step):
    values = [0.5, 0.6, 0.3, 0.4, 0.35, 0.4, 0.5, 0.5]

    def trained(**options):
        stop = Patience(lambda: {"a": values[stop.epoch]}, patience=2)

        def report(_):
            return [Reading("error", value, split=name) for name, value in stop.errors().items()]

        return run(examples, stop=stop, epochs=7, probes=[report], **options)

    assert [m.value for m in assert_resumes(tmp_path, step, trained)] == values[:6]
