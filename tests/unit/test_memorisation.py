from dataclasses import replace

import pytest
import torch
from tiny_runs import (
    alignments,
    assert_trained_alike,
    changed,
    complete,
    completed,
    descend,
    fit,
    initial_network,
    killed_and_resumed,
    make_run,
    random_dataset,
    true_labels,
    values,
)

from feature_alignment.data.augmentation import crop_and_flip
from feature_alignment.papers.baratin2021 import memorisation
from feature_alignment.probes.kernel import TRACE_RATIOS, kernel_probe
from feature_alignment.tables import read_table
from feature_alignment.training import recipe
from feature_alignment.training.loop import train
from feature_alignment.training.readings import DivergenceError

from reference import kernels as reference

CLASSES, FIT, PROBED = 4, 16, 6
SETTINGS = {
    "dataset": {"name": "colours", "n_train": 24, "n_test": 20, "label_noise": 0.0},
    "model": {"architecture": "vgg11", "width": 3, "initialisation": "he_normal"},
    "loss": "cross_entropy",
    "learning_rate": 0.02,
    "momentum": 0.9,
    "weight_decay": 0.05,
    "batch_size": 10,
    "epochs": 3,
    "augmentation": True,
    "measure": {"kernel_examples": PROBED, "fit_examples": FIT, "ratio": 1.5},
}
LAYERS = [*(f"conv{depth}" for depth in range(1, 9)), "linear1"]
STEPS = [0, 5, 7, 9]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    sizes = {"n_train": 30, "n_test": 20, "classes": CLASSES}
    return random_dataset(folder, "colours", (3, 32, 32), **sizes)


def tiny(folder, *datasets, seed=0, **changes):
    return make_run("memorisation", changed(SETTINGS, **changes), folder, *datasets, seed=seed)


def noisy(folder, dataset, seed=0):
    return tiny(folder, dataset, seed=seed, dataset__label_noise=0.5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataset):
    """A run with label noise that has written its table, its network at the end, and the bytes."""
    run = noisy(tmp_path_factory.mktemp("finished"), dataset)
    return run, *completed(run)


def test_runs_of_the_same_draws_differ_in_their_random_labels_alone(tmp_path, dataset):
    runs = {}
    for name, draws, level in (("a", "shared", 0.25), ("b", "shared", 0.5), ("c", "others", 0.5)):
        run = tiny(tmp_path, dataset, draws=draws, dataset__label_noise=level)
        runs[name] = replace(run, spec=run.spec | {"run": name})
    tasks = {name: run.task() for name, run in runs.items()}
    true = runs["a"].task(label_noise=0.0).train.labels
    less, more = (tasks[name].train.labels for name in "ab")
    assert torch.equal(tasks["a"].train.inputs, tasks["b"].train.inputs)
    assert not torch.equal(tasks["a"].train.inputs, tasks["c"].train.inputs)
    assert torch.equal(more[less != true], less[less != true])
    assert (less != true).sum() < (more != true).sum()
    first = {name: initial_network(run).conv1.weight for name, run in runs.items()}
    assert torch.equal(first["a"], first["b"])
    assert not torch.equal(first["a"], first["c"])


def splits(run, count):
    task = run.task()
    return {"train": task.train.first(count), "test": task.test.first(count)}


def test_every_measure_is_read_at_every_step(finished):
    run, _, _ = finished
    spectrum = ["eigenvalue_largest", "eigenvalue_mean", "eigenvalue_median", "effective_rank"]
    places = [(m, None) for m in ("loss", "accuracy", "alignment", *spectrum)]
    places += [("alignment", layer) for layer in LAYERS]
    counts = [k for k in TRACE_RATIOS if k < PROBED * CLASSES]
    places += [(m, None, k) for m in ("trace_ratio", "label_energy") for k in counts]
    assert {("trace_ratio", None, 1), ("trace_ratio", None, 20)} <= set(places)
    assert ("trace_ratio", None, 40) not in places
    assert set(values(run)) == {
        (step, measure, split, *place)
        for step in STEPS
        for split in ("train", "test")
        for measure, *place in places
    }
    table = read_table(run.out)
    assert set(table["paper"]) == {"baratin2021"}
    assert set(table["run"]) == {"tiny"}
    epochs = dict(zip(table["step"], table["epoch"], strict=True))
    assert epochs == pytest.approx({0: 0, 5: 1 + 2 / 3, 7: 2 + 1 / 3, 9: 3})


@pytest.mark.parametrize("step", [STEPS[0], STEPS[-1]])
@pytest.mark.parametrize("split", ["train", "test"])
def test_kernel_measures_are_those_of_the_kernel_written_out(finished, step, split):
    run, network, _ = finished
    network = network if step else initial_network(run)
    found, examples = values(run), splits(run, PROBED)[split]
    # Float32 against float64, through nine layers
    tolerance = {"rel": 2e-4}
    for layer, expected in alignments(network, examples, CLASSES).items():
        assert found[step, "alignment", split, layer] == pytest.approx(expected, **tolerance)
    rows = torch.cat(list(reference.jacobians(network, examples.inputs.double()).values()), dim=2)
    centred = (rows - rows.mean(dim=0)).flatten(0, 1)
    spectrum = torch.linalg.eigvalsh(centred @ centred.T).flip(0)
    shares = spectrum.clamp(min=0) / spectrum.sum()
    shares = shares[shares > 0]
    expected = {
        ("eigenvalue_largest",): spectrum[0],
        ("eigenvalue_mean",): spectrum.mean(),
        ("eigenvalue_median",): spectrum.quantile(0.5),
        ("effective_rank",): torch.exp(-(shares * shares.log()).sum()),
        ("trace_ratio", 2): (spectrum[0] + spectrum[1]) / spectrum.sum(),
        ("trace_ratio", 20): spectrum[:20].sum() / spectrum.sum(),
    }
    y = torch.nn.functional.one_hot(examples.labels, CLASSES).double()
    y = (y - y.mean(dim=0)).flatten()
    _, vectors = torch.linalg.eigh(centred @ centred.T)
    for count in (1, 5, 20):
        energy = (vectors[:, -count:].T @ y).square().sum() / y.square().sum()
        expected["label_energy", count] = energy
    for (measure, *at), value in expected.items():
        assert found[step, measure, split, None, *at] == pytest.approx(value.item(), **tolerance)


@pytest.mark.parametrize("step", [STEPS[0], STEPS[-1]])
def test_loss_and_accuracy_are_those_of_the_first_examples(finished, step):
    run, network, _ = finished
    found = values(run)
    for split, examples in splits(run, FIT).items():
        loss, right = fit(network if step else initial_network(run), examples)
        assert found[step, "loss", split, None] == pytest.approx(loss, rel=1e-4)  # float32
        assert found[step, "accuracy", split, None] == right


def test_training_is_momentum_and_weight_decay_on_shuffled_augmented_batches(finished):
    run, end, _ = finished
    network, train_set = initial_network(run).double(), run.task().train

    def batches():
        step = 0
        for epoch in range(3):
            order = torch.randperm(24, generator=run.generator("order", epoch))
            for chosen in order.split(10):
                draw = run.generator("augmentation", step)
                images = crop_and_flip(train_set.inputs[chosen], draw)
                yield images.double(), train_set.labels[chosen]
                step += 1

    descend(run, network, batches())
    assert_trained_alike(end, network, initial_network(run), within=1e-3)


def test_the_network_is_trained_on_noisy_labels_and_tested_on_true_ones(
    monkeypatch, tmp_path, dataset
):
    run, given = tiny(tmp_path, dataset, dataset__label_noise=1.0), []

    def looking(network, examples, *arguments, **options):
        given.append(examples)
        return train(network, examples, *arguments, **options)

    monkeypatch.setattr(memorisation, "train", looking)
    complete(run)
    true = true_labels(dataset, "train", given[0].inputs)
    assert len(true) == 24
    # All 24 labels are replaced, each with chance 3/4 by a false one: 18 ± 2.1; four deviations
    assert 9 < (given[0].labels != true).sum() < 24
    task = run.task()
    assert torch.equal(task.train.labels, given[0].labels)
    assert torch.equal(task.test.labels, true_labels(dataset, "test", task.test.inputs))


def test_every_batch_is_augmented_by_a_draw_of_its_own_if_at_all(monkeypatch, tmp_path, dataset):
    states, shapes = [], []

    def looking(images, generator):
        states.append(generator.initial_seed())
        shapes.append(tuple(images.shape))
        return crop_and_flip(images, generator)

    monkeypatch.setattr(recipe, "crop_and_flip", looking)
    runs = [tiny(tmp_path / str(on), dataset, augmentation=on) for on in (True, False)]
    for run in runs:
        complete(run)
    assert shapes == [(10, 3, 32, 32), (10, 3, 32, 32), (4, 3, 32, 32)] * 3
    assert len(set(states)) == 9
    first, second = map(values, runs)
    place = ("loss", "test", None)
    assert first[0, *place] == second[0, *place]
    assert first[9, *place] != second[9, *place]


def test_the_seed_alone_decides_the_table(finished, tmp_path, dataset):
    _, _, content = finished
    torch.manual_seed(99)
    assert complete(noisy(tmp_path, dataset)) == content
    assert complete(noisy(tmp_path, dataset, seed=1)) != content


@pytest.mark.parametrize("step", [2, 6])
def test_a_killed_run_resumes_to_the_same_table(finished, tmp_path, dataset, step):
    _, _, content = finished
    assert killed_and_resumed(noisy(tmp_path, dataset), "cross_entropy", step) == content


@pytest.mark.parametrize("architecture", ["vgg11_bn", "resnet18"])
def test_networks_with_batch_norm_are_followed_too(tmp_path, dataset, architecture):
    run = tiny(tmp_path, dataset, model__architecture=architecture, epochs=1)
    complete(run)
    found = values(run)
    layers = {layer for _, measure, _, layer, *_ in found if measure == "alignment"}
    assert any("norm" in (layer or "") for layer in layers)
    assert {step for step, *_ in found} == {0, 3}


def test_a_diverging_run_leaves_what_it_measured(tmp_path, dataset):
    run = tiny(tmp_path, dataset, learning_rate=1e12)
    with pytest.raises(DivergenceError, match=r"baratin2021/tiny, seed 0: .*partial\.csv"):
        complete(run)
    assert not run.out.exists()
    kept = read_table(run.checkpoint.with_suffix(".partial.csv"))
    assert set(kept["step"]) == {0}


@pytest.mark.parametrize(
    "given, changes, message",
    [
        (False, {}, "needs the dataset 'colours', but --data gave: none"),
        (True, {"dataset__name": "shapes"}, "needs the dataset 'shapes', but --data gave: colours"),
        (True, {"measure__kernel_examples": 25}, "measure.kernel_examples is 25, but .* only 24"),
        (True, {"measure__fit_examples": 25}, "measure.fit_examples is 25, but .* only 24"),
        (True, {"dataset__n_train": 31}, "colours has 30 train examples.*lower dataset.n_train"),
    ],
)
def test_mistakes_are_explained(tmp_path, dataset, given, changes, message):
    with pytest.raises(ValueError, match=message):
        complete(tiny(tmp_path, *[dataset][:given], **changes))


def test_layers_that_no_gradient_reaches_are_left_out_and_named(caplog, finished):
    run, _, _ = finished
    network = initial_network(run).eval()
    with torch.no_grad():
        network.linear1.weight.zero_()
    examples = splits(run, PROBED)["test"]
    readings = list(kernel_probe({"test": examples}, CLASSES, spectrum=False)(network))
    assert [reading.layer for reading in readings] == [None, "linear1"]
    assert readings[0].value == pytest.approx(readings[1].value, rel=1e-6)  # float32
    for layer in LAYERS[:-1]:
        assert f"{layer} is dead" in caplog.text
