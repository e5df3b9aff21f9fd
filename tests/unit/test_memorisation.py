import pytest
import torch
from feature_alignment.experiments import augmenting
from tiny_runs import (
    Killed,
    changed,
    descend,
    kill_at,
    make_run,
    random_dataset,
    table_bytes,
    true_labels,
    values,
)

from feature_alignment.data import augmentation
from feature_alignment.measures.alignment import centered_one_hot
from feature_alignment.models.convolutional import convolutional_network
from feature_alignment.papers.baratin2021 import memorisation
from feature_alignment.papers.baratin2021.memorisation import follow_kernel
from feature_alignment.probes.kernel import TRACE_RATIOS, kernel_probe
from feature_alignment.tables import read_table
from feature_alignment.tangents.kernels import center_kernel
from feature_alignment.training.loop import DivergenceError, train

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


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataset):
    """A run with label noise that has written its table, its network at the end, and the bytes."""
    folder = tmp_path_factory.mktemp("finished")
    run = make_run("memorisation", changed(SETTINGS, dataset__label_noise=0.5), folder, dataset)
    networks = []

    def keeping(*arguments, **options):
        networks.append(convolutional_network(*arguments, **options))
        return networks[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memorisation, "convolutional_network", keeping)
        content = table_bytes(run, follow_kernel)
    return run, networks[0], content


def initial_network(run):
    options = {**SETTINGS["model"], "channels": 3, "outputs": CLASSES}
    return convolutional_network(**options, generator=run.generator("init"))


def splits(run, count):
    task = run.task()
    return {"train": task.train.first(count), "test": task.test.first(count)}


def test_every_measure_is_read_at_every_step(finished):
    run, _, _ = finished
    found = values(run)
    spectrum = ["eigenvalue_largest", "eigenvalue_mean", "eigenvalue_median", "effective_rank"]
    ratios = [f"trace_ratio_{count}" for count in TRACE_RATIOS if count < PROBED * CLASSES]
    whole = ["loss", "accuracy", "alignment", *spectrum, *ratios]
    assert {"trace_ratio_1", "trace_ratio_20"} <= set(ratios)
    assert "trace_ratio_40" not in ratios
    expected = {
        (step, measure, split, layer)
        for step in STEPS
        for split in ("train", "test")
        for measure, layer in [*((m, None) for m in whole), *(("alignment", at) for at in LAYERS)]
    }
    assert set(found) == expected
    table = read_table(run.out)
    assert set(table["paper"]) == {"baratin2021"}
    assert set(table["run"]) == {"tiny"}
    epochs = dict(zip(table["step"], table["epoch"], strict=True))
    assert epochs == pytest.approx({0: 0, 5: 1 + 2 / 3, 7: 2 + 1 / 3, 9: 3})


@pytest.mark.parametrize("step", [STEPS[0], STEPS[-1]])
@pytest.mark.parametrize("split", ["train", "test"])
def test_kernel_measures_are_those_of_the_kernel_written_out(finished, step, split):
    run, network, _ = finished
    network = (network if step else initial_network(run)).double().eval()
    examples = splits(run, PROBED)[split]
    y = centered_one_hot(examples.labels, CLASSES).double()
    kernels = {
        name: center_kernel(kernel)
        for name, kernel in reference.layer_kernels(network, examples.inputs.double()).items()
    }
    found = values(run)
    # Float32 against float64, through nine layers
    tolerance = {"rel": 2e-4}
    for layer, kernel in {**kernels, None: sum(kernels.values())}.items():
        expected = reference.alignment(kernel, y)
        assert found[step, "alignment", split, layer] == pytest.approx(expected, **tolerance)
    spectrum = torch.linalg.eigvalsh(sum(kernels.values()).reshape(PROBED * CLASSES, -1)).flip(0)
    shares = spectrum.clamp(min=0) / spectrum.sum()
    shares = shares[shares > 0]
    expected = {
        "eigenvalue_largest": spectrum[0],
        "eigenvalue_mean": spectrum.mean(),
        "eigenvalue_median": spectrum.quantile(0.5),
        "effective_rank": torch.exp(-(shares * shares.log()).sum()),
        "trace_ratio_2": (spectrum[0] + spectrum[1]) / spectrum.sum(),
        "trace_ratio_20": spectrum[:20].sum() / spectrum.sum(),
    }
    for measure, value in expected.items():
        assert found[step, measure, split, None] == pytest.approx(value.item(), **tolerance)


@pytest.mark.parametrize("step", [STEPS[0], STEPS[-1]])
def test_loss_and_accuracy_are_those_of_the_first_examples(finished, step):
    run, network, _ = finished
    network = (network if step else initial_network(run)).double().eval()
    for split, examples in splits(run, FIT).items():
        chances = network(examples.inputs.double()).softmax(dim=1)
        loss = -chances[torch.arange(FIT), examples.labels].log().mean().item()
        right = (chances.argmax(dim=1) == examples.labels).double().mean().item()
        found = values(run)
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
                images = augmentation.crop_and_flip(train_set.inputs[chosen], draw)
                yield images.double(), train_set.labels[chosen]
                step += 1

    descend(run, network, batches())
    start = initial_network(run).double()
    for found, expected, initial in zip(
        end.double().parameters(), network.parameters(), start.parameters(), strict=True
    ):
        # Float32 against float64, relative to how far training went
        assert (found - expected).norm() < 1e-3 * (expected - initial).norm()


def test_the_network_is_trained_on_noisy_labels_and_tested_on_true_ones(
    monkeypatch, tmp_path, dataset
):
    run = make_run("memorisation", changed(SETTINGS, dataset__label_noise=1.0), tmp_path, dataset)
    given = {}

    def looking(network, inputs, labels, **options):
        given.update(inputs=inputs, labels=labels)
        return train(network, inputs, labels, **options)

    monkeypatch.setattr(memorisation, "train", looking)
    table_bytes(run, follow_kernel)
    true = true_labels(dataset, "train", given["inputs"])
    assert len(true) == 24
    # All 24 labels are replaced, each with chance 3/4 by a false one: 18 ± 2.1; four deviations
    assert 9 < (given["labels"] != true).sum() < 24
    task = run.task()
    assert torch.equal(task.train.labels, given["labels"])
    assert torch.equal(task.test.labels, true_labels(dataset, "test", task.test.inputs))


def test_every_batch_is_augmented_by_a_draw_of_its_own(monkeypatch, tmp_path, dataset):
    states, shapes = [], []

    def looking(images, generator):
        states.append(generator.initial_seed())
        shapes.append(tuple(images.shape))
        return augmentation.crop_and_flip(images, generator)

    monkeypatch.setattr(augmenting, "crop_and_flip", looking)
    table_bytes(make_run("memorisation", SETTINGS, tmp_path, dataset), follow_kernel)
    assert shapes == [(10, 3, 32, 32), (10, 3, 32, 32), (4, 3, 32, 32)] * 3
    assert len(set(states)) == 9


def test_augmentation_matters_and_can_be_left_out(tmp_path, dataset, monkeypatch):
    clean = make_run("memorisation", SETTINGS, tmp_path / "with", dataset)
    plain = changed(SETTINGS, augmentation=False)
    without = make_run("memorisation", plain, tmp_path / "without", dataset)
    table_bytes(clean, follow_kernel)
    monkeypatch.delattr(augmenting, "crop_and_flip")
    table_bytes(without, follow_kernel)
    first, second = values(clean), values(without)
    place = ("loss", "test", None)
    assert first[0, *place] == second[0, *place]
    assert first[9, *place] != second[9, *place]


def test_the_seed_alone_decides_the_table(finished, tmp_path, dataset):
    run, _, content = finished
    torch.manual_seed(99)
    settings = run.settings
    assert table_bytes(make_run("memorisation", settings, tmp_path, dataset), follow_kernel) == (
        content
    )
    other = make_run("memorisation", settings, tmp_path, dataset, seed=1)
    assert table_bytes(other, follow_kernel) != content


@pytest.mark.parametrize("step", [2, 6])
def test_a_killed_run_resumes_to_the_same_table(finished, tmp_path, dataset, step):
    first, _, content = finished
    run = make_run("memorisation", first.settings, tmp_path, dataset)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, "cross_entropy", step)
        with pytest.raises(Killed):
            table_bytes(run, follow_kernel)
    assert run.checkpoint.exists()
    assert not run.out.exists()
    assert table_bytes(run, follow_kernel) == content


@pytest.mark.parametrize("architecture", ["vgg11_bn", "resnet18"])
def test_networks_with_batch_norm_are_followed_too(tmp_path, dataset, architecture):
    settings = changed(SETTINGS, model__architecture=architecture, epochs=1)
    run = make_run("memorisation", settings, tmp_path, dataset)
    table_bytes(run, follow_kernel)
    found = values(run)
    layers = {layer for step, measure, split, layer in found if measure == "alignment"}
    assert any("norm" in (layer or "") for layer in layers)
    assert {step for step, *_ in found} == {0, 3}


def test_a_diverging_run_leaves_what_it_measured(tmp_path, dataset):
    settings = changed(SETTINGS, learning_rate=1e12)
    run = make_run("memorisation", settings, tmp_path, dataset)
    with pytest.raises(DivergenceError, match=r"baratin2021/tiny, seed 0: .*partial\.csv"):
        run.complete(lambda checkpointing: follow_kernel(run, checkpointing))
    assert not run.out.exists()
    kept = read_table(run.checkpoint.with_suffix(".partial.csv"))
    assert set(kept["step"]) == {0}


def test_mistakes_are_explained(tmp_path, dataset):
    def follow(*datasets, **changes):
        run = make_run("memorisation", changed(SETTINGS, **changes), tmp_path, *datasets)
        return follow_kernel(run, None)

    with pytest.raises(ValueError, match="needs the dataset 'colours', but --data gave: none"):
        follow()
    with pytest.raises(ValueError, match="needs the dataset 'shapes', but --data gave: colours"):
        follow(dataset, dataset__name="shapes")
    with pytest.raises(ValueError, match="measure.kernel_examples is 25, but there are only 24"):
        follow(dataset, measure__kernel_examples=25)
    with pytest.raises(ValueError, match="colours has 30 train examples.*lower dataset.n_train"):
        follow(dataset, dataset__n_train=31)


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
