import json
import math

import pytest
import torch
from torch import nn

from feature_alignment.probes.accuracy import evaluate
from feature_alignment.randomness import generator
from feature_alignment.training import schedules
from feature_alignment.training.loop import Checkpointing, DivergenceError, Reading, train
from feature_alignment.training.losses import binary_cross_entropy, centered_mse, cross_entropy
from feature_alignment.training.optimizers import OPTIMIZERS as OPTIMIZERS_BY_NAME
from feature_alignment.training.optimizers import make_optimizer
from feature_alignment.training.stopping import LossBelow, Patience

N, FEATURES, CLASSES = 23, 5, 3


class Killed(Exception):
    """Stands in for a killed process."""


@pytest.fixture
def examples():
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(N, FEATURES, generator=draw)
    return inputs, torch.randint(CLASSES, (N,), generator=draw)


def order(epoch):
    return torch.randperm(N, generator=generator("test/run", 0, "order", epoch))


def network():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES))


def weights(model):
    return [Reading(name, value.sum().item()) for name, value in model.named_parameters()]


def run(examples, model=None, **changed):
    model = model or network()
    options = {
        "loss": cross_entropy,
        "optimizer": torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9),
        "learning_rate": schedules.constant(0.1),
        "batch_size": 10,
        "epochs": 4,
        "order": order,
        "schedule": schedules.EveryEpochs(),
        "instruments": [weights],
    }
    make_optimizer = changed.pop("make_optimizer", None)
    if make_optimizer:
        options["optimizer"] = make_optimizer(model.parameters())
    measurements = train(model, *examples, **(options | changed))
    return model, measurements


def test_one_step_is_gradient_descent(examples):
    inputs, labels = examples
    start = network().eval()
    expected = {name: p.detach().clone() for name, p in start.named_parameters()}
    loss = centered_mse(start(inputs), labels)
    loss.backward()
    for name, p in start.named_parameters():
        expected[name] -= 0.25 * p.grad

    model = network()
    model[2].p = 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=99.0)
    train(
        model,
        inputs,
        labels,
        loss=centered_mse,
        optimizer=optimizer,
        learning_rate=schedules.constant(0.25),
        batch_size=N,
        epochs=1,
        order=lambda epoch: torch.arange(N),
        schedule=schedules.EveryEpochs(),
        instruments=[],
    )
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-6, atol=1e-7)


def test_every_example_is_visited_once_an_epoch_in_batches(examples):
    seen = []

    def spy(outputs, labels):
        seen.append(labels)
        return cross_entropy(outputs, labels)

    run(examples, loss=spy, epochs=2)
    assert [len(batch) for batch in seen] == [10, 10, 3] * 2
    for epoch in (0, 1):
        visited = torch.cat(seen[3 * epoch : 3 * epoch + 3])
        assert torch.equal(visited, examples[1][order(epoch)])
    assert not torch.equal(order(0), order(1))


def test_learning_rate_follows_the_epoch(examples):
    _, slow = run(examples, learning_rate=schedules.first_epoch_then(0.0, 0.1))
    at = {entry.epoch: entry.value for entry in slow if entry.measure == "0.weight"}
    assert at[0] == at[1] != at[2]


def test_measurements_know_their_step_and_epoch(examples):
    _, found = run(examples)
    places = sorted({(entry.step, entry.epoch) for entry in found})
    assert places == [(0, 0.0), (3, 1.0), (6, 2.0), (9, 3.0), (12, 4.0)]


def test_log_spaced_measurements_and_the_last(examples):
    _, found = run(examples, schedule=schedules.LogSpaced(2, 2.0), epochs=4)
    assert sorted({entry.step for entry in found}) == [0, 2, 4, 8, 12]
    assert {entry.epoch for entry in found if entry.step == 4} == {1 + 1 / 3}


def test_measurements_at_listed_steps_and_the_last(examples):
    _, found = run(examples, schedule=schedules.AtSteps([7, 0, 2, 50]))
    assert list(dict.fromkeys(entry.step for entry in found)) == [0, 2, 7, 12]
    _, found = run(examples, schedule=schedules.AtSteps([3, 12]))
    assert list(dict.fromkeys(entry.step for entry in found)) == [3, 12]


def test_measuring_does_not_change_the_training(examples):
    def noisy(model):
        torch.rand(7)
        assert not model.training
        return []

    quiet, _ = run(examples, instruments=[])
    measured, _ = run(examples, instruments=[noisy, weights])
    for one, other in zip(quiet.parameters(), measured.parameters(), strict=True):
        assert torch.equal(one, other)
    assert measured.training


OPTIMIZERS = {
    "fused": lambda parameters: make_optimizer(
        "sgd", parameters, learning_rate=1.0, momentum=0.9, weight_decay=1e-3
    ),
    "fused adam": lambda parameters: make_optimizer(
        "adam", parameters, learning_rate=1.0, momentum=0.9, weight_decay=1e-3
    ),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    "momentum": lambda parameters: torch.optim.SGD(
        parameters, lr=1.0, momentum=0.9, weight_decay=1e-3
    ),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1.0),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("kill_at", [1, 4, 6, 11])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, examples, kind, kill_at):
    steps = []

    def killing(outputs, labels):
        steps.append(1)
        if len(steps) == kill_at + 1:
            raise Killed
        return cross_entropy(outputs, labels)

    saving = Checkpointing(tmp_path / "state", "same", interval_s=0)
    make = {"make_optimizer": OPTIMIZERS[kind], "checkpointing": saving}
    stop = {"thresholds": [0.9], "epochs": 3}
    with pytest.raises(Killed):
        run(examples, loss=killing, stop=LossBelow(**stop), **make)
    resumed, resumed_found = run(examples, stop=LossBelow(**stop), **make)

    whole, found = run(examples, make_optimizer=OPTIMIZERS[kind], stop=LossBelow(**stop))
    assert resumed_found == found
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_resumed_run_in_another_memory_layout_equals_an_uninterrupted_one(
    tmp_path, examples, name
):
    _, labels = examples
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(N, 3, 4, 4, generator=draw)

    def trained(loss=cross_entropy, checkpointing=None):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(20, CLASSES))
        model = model.to(memory_format=torch.channels_last)
        optimizer = make_optimizer(
            name, model.parameters(), learning_rate=0.1, momentum=0.9, weight_decay=0.0
        )
        options = {"optimizer": optimizer, "loss": loss, "checkpointing": checkpointing}
        run((images, labels), instruments=[], **options, model=model)
        return model

    steps = []

    def killing(outputs, labels):
        steps.append(1)
        if len(steps) == 5:
            raise Killed
        return cross_entropy(outputs, labels)

    saving = Checkpointing(tmp_path / "state", "same", interval_s=0)
    with pytest.raises(Killed):
        trained(killing, saving)
    for one, other in zip(
        trained(checkpointing=saving).parameters(), trained().parameters(), strict=True
    ):
        assert torch.equal(one, other)


def shifted(inputs, step):
    """Move a batch by what depends on the step alone."""
    return inputs + torch.randn(FEATURES, generator=generator("test/run", 0, "augmentation", step))


def test_augmentation_is_given_every_batch_and_its_step_and_changes_the_inputs_alone(examples):
    inputs, labels = examples
    kept = inputs.clone()
    seen, learned, steps = [], [], []

    def spoiling(batch, step):
        steps.append(step)
        seen.append(batch.clone())
        return batch.zero_()

    def spy(outputs, targets):
        learned.append(targets)
        return cross_entropy(outputs, targets)

    run(examples, augment=spoiling, loss=spy, epochs=2)
    visited = torch.cat([order(0), order(1)])
    assert steps == list(range(6))
    assert torch.equal(torch.cat(seen), kept[visited])
    assert torch.equal(torch.cat(learned), labels[visited])
    assert torch.equal(inputs, kept)


def test_the_network_learns_from_what_augmentation_returns(examples):
    inputs, labels = examples
    augmented, found = run(examples, augment=lambda batch, step: 2 * batch)
    doubled, expected = run((2 * inputs, labels))
    assert found == expected
    for one, other in zip(augmented.parameters(), doubled.parameters(), strict=True):
        assert torch.equal(one, other)


class Path:
    """Observer and instrument whose state is plain numbers and tensors."""

    def __init__(self):
        self.steps = 0
        self.length = 0.0
        self.mean = self.last = None

    def after_step(self, model):
        assert model.training
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        if self.last is not None:
            self.length += (weights - self.last).norm().item()
        self.mean = weights if self.mean is None else 0.9 * self.mean + 0.1 * weights
        self.last = weights
        self.steps += 1

    def __call__(self, model):
        yield Reading("steps", self.steps)
        yield Reading("length", self.length)

    def state(self):
        return {"steps": self.steps, "length": self.length, "mean": self.mean}

    def restore(self, model, state):
        self.steps, self.length, self.mean = state["steps"], state["length"], state["mean"]
        self.last = torch.cat([p.detach().flatten() for p in model.parameters()])


def test_observers_see_the_model_after_every_step(examples):
    path, finals = Path(), []

    class Last:
        def after_step(self, model):
            finals.append(torch.cat([p.detach().flatten() for p in model.parameters()]))

    model, found = run(examples, observers=[path, Last()], instruments=[path])
    assert path.steps == len(finals) == 12
    assert len({tuple(weights.tolist()) for weights in finals}) == 12
    end = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert torch.equal(finals[-1], end)
    steps = {entry.step: entry.value for entry in found if entry.measure == "steps"}
    assert steps == {0: 0, 3: 3, 6: 6, 9: 9, 12: 12}


def test_observing_does_not_change_the_training(examples):
    alone, _ = run(examples)
    observed, _ = run(examples, observers=[Path()])
    for one, other in zip(alone.parameters(), observed.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kill_at", [1, 3, 8])
def test_observers_and_augmentation_resume_where_they_were(tmp_path, examples, kill_at):
    steps = []

    def killing(outputs, labels):
        steps.append(1)
        if len(steps) == kill_at + 1:
            raise Killed
        return cross_entropy(outputs, labels)

    def options(path):
        idle = Path()  # a second one, so that states are not mixed up
        idle.after_step = lambda model: None
        return {"augment": shifted, "observers": [idle, path], "instruments": [path, weights]}

    saving = Checkpointing(tmp_path / "state", "same", interval_s=0)
    with pytest.raises(Killed):
        run(examples, loss=killing, checkpointing=saving, **options(Path()))
    resumed, whole = Path(), Path()
    _, found = run(examples, checkpointing=saving, **options(resumed))
    _, expected = run(examples, **options(whole))
    assert found == expected
    assert (resumed.steps, resumed.length) == (whole.steps, whole.length)
    assert torch.equal(resumed.mean, whole.mean)
    assert whole.steps == 12


def test_a_finished_run_resumes_to_its_end(tmp_path, examples):
    saving = Checkpointing(tmp_path / "state", "same", interval_s=0)
    always = {"thresholds": [math.inf]}
    _, first = run(examples, stop=LossBelow(**always), checkpointing=saving)
    _, again = run(examples, stop=LossBelow(**always), checkpointing=saving)
    assert again == first
    assert max(entry.epoch for entry in first) == 1


def test_a_checkpoint_of_another_spec_is_ignored(tmp_path, examples):
    run(examples, checkpointing=Checkpointing(tmp_path / "state", "old", interval_s=0))
    other = Checkpointing(tmp_path / "state", "new", interval_s=0)
    _, found = run(examples, checkpointing=other, epochs=2)
    assert found == run(examples, epochs=2)[1]


def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(tmp_path, examples):
    saving = Checkpointing(tmp_path / "state", "same", interval_s=0)
    run(examples, checkpointing=saving)
    saving.path.write_bytes(saving.path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged .*delete it"):
        run(examples, checkpointing=saving)


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
        run(examples, instruments=[weights, broken])


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

    schedule = schedules.AtLosses(stop)
    run(
        examples, stop=stop, schedule=schedule, instruments=[reached], epochs=60,
        make_optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.05),
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


@pytest.mark.parametrize("name", OPTIMIZERS_BY_NAME)
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
    labels = examples[1]
    targets = torch.eye(CLASSES, dtype=torch.float64)[labels] - 1 / CLASSES
    expected = ((outputs - targets) ** 2).sum() / (N * CLASSES)
    assert centered_mse(outputs, labels).item() == pytest.approx(expected.item())
    chosen = outputs.softmax(dim=1)[torch.arange(N), labels]
    assert cross_entropy(outputs, labels).item() == pytest.approx(-chosen.log().mean().item())


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
    whole = evaluate(model, *examples, cross_entropy, batch_size=N)
    batched = evaluate(model, *examples, cross_entropy, batch_size=4)
    assert batched["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    assert batched["accuracy"] == whole["accuracy"]
    assert whole["accuracy"] == (model(examples[0]).argmax(1) == examples[1]).double().mean()


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
    taken = []

    def measure():
        taken.append(1)
        return {"a": 0.5}

    stop = Patience(measure, patience=2, least_epochs=8, every=2)
    ends = [epoch for epoch in range(1, 12) if stop.after_epoch() or len(taken) > 4]
    assert ends[0] == 8
    assert len(taken[:4]) == 4


@pytest.mark.parametrize("kill_at", [3, 9, 14])
def test_patience_survives_a_resumption(tmp_path, examples, kill_at):
    values = [0.5, 0.6, 0.3, 0.4, 0.35, 0.4, 0.5, 0.5]
    steps = []

    def make(saving=None, loss=cross_entropy):
        stop = Patience(lambda: {"a": values[stop.epoch]}, patience=2)

        def report(_):
            return [Reading("error", value, split=name) for name, value in stop.errors().items()]

        options = {"stop": stop, "epochs": 7, "instruments": [report]}
        return run(examples, loss=loss, checkpointing=saving, **options)

    def killing(outputs, labels):
        steps.append(1)
        if len(steps) == kill_at:
            raise Killed
        return cross_entropy(outputs, labels)

    model, found = make()
    assert [m.value for m in found] == values[:6]
    saving = Checkpointing(tmp_path / "state", "same", interval_s=0)
    with pytest.raises(Killed):
        make(saving, killing)
    resumed, again = make(saving)
    assert again == found
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True)
    )
