import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from feature_alignment.data.labels import randomize_labels
from feature_alignment.data.loading import load_task
from feature_alignment.data.prepare import summary
from feature_alignment.storage import sha256

N_TRAIN, N_TEST, CLASSES = 200, 50, 10


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Write a dataset whose image number i has a pixel of that value, and the label i mod 10."""
    path = tmp_path_factory.mktemp("prepared") / "toy.safetensors"
    arrays, draw = {}, np.random.default_rng(0)
    for split, count in (("train", N_TRAIN), ("test", N_TEST)):
        images = draw.integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
        images[:, 0, 0, 0] = np.arange(count)
        arrays[f"{split}_images"] = images
        arrays[f"{split}_labels"] = np.arange(count) % CLASSES
    save_file(arrays, path)
    return path, {"name": "toy", "sha256": sha256(path), **summary(arrays)}, arrays


def load(prepared, *, n_train=N_TRAIN, n_test=N_TEST, label_noise=0.0, run="paper/run", seed=0):
    path, manifest, _ = prepared
    return load_task(
        path, manifest, n_train=n_train, n_test=n_test, label_noise=label_noise, run=run, seed=seed
    )


def test_an_array_file_that_is_not_that_of_the_manifest_is_refused(prepared, tmp_path):
    path, manifest, arrays = prepared
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    changed = tmp_path / "toy.safetensors"
    changed.write_bytes(content)
    with pytest.raises(ValueError, match=r"toy\.safetensors is not the file of its manifest"):
        load((changed, manifest, arrays))


def numbers(examples, manifest):
    """Return which images these are."""
    pixels = examples.inputs[:, 0, 0, 0] * manifest["std"][0] + manifest["mean"][0]
    return (255 * pixels).round().long()


def same(one, other):
    return torch.equal(one.inputs, other.inputs) and torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("n_train, n_test", [(N_TRAIN, N_TEST), (30, 20)])
def test_a_subset_takes_each_example_once_and_with_its_label(prepared, n_train, n_test):
    task = load(prepared, n_train=n_train, n_test=n_test)
    assert task.classes == CLASSES
    for examples, count in ((task.train, n_train), (task.test, n_test)):
        chosen = numbers(examples, prepared[1])
        assert len(examples) == count == len(chosen.unique())
        assert torch.equal(examples.labels, chosen % CLASSES)
        assert not torch.equal(chosen, chosen.sort().values)


def test_the_same_run_and_seed_give_the_same_task(prepared):
    torch.manual_seed(1)
    first = load(prepared, n_train=30, label_noise=0.5)
    torch.manual_seed(2)
    second = load(prepared, n_train=30, label_noise=0.5)
    assert same(first.train, second.train)
    assert same(first.test, second.test)


@pytest.mark.parametrize("other", [{"seed": 1}, {"run": "paper/other"}])
def test_another_run_or_seed_gives_another_subset(prepared, other):
    first, second = (
        load(prepared, n_train=30, n_test=20),
        load(prepared, n_train=30, n_test=20, **other),
    )
    for part in ("train", "test"):
        first_chosen = numbers(getattr(first, part), prepared[1])
        second_chosen = numbers(getattr(second, part), prepared[1])
        assert set(first_chosen.tolist()) != set(second_chosen.tolist())


def test_training_inputs_are_standardised_per_channel(prepared):
    inputs = load(prepared).train.inputs
    assert inputs.dtype == torch.float32
    # 1e-5: float32 rounding of 3200 values of order one
    torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    deviation = inputs.std((0, 2, 3), correction=0)
    torch.testing.assert_close(deviation, torch.ones(3), rtol=0, atol=1e-5)


def test_test_inputs_are_standardised_by_the_training_set(prepared):
    _, manifest, arrays = prepared
    train = arrays["train_images"] / 255
    mean, std = (f(train, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    task = load(prepared)
    expected = (arrays["test_images"][numbers(task.test, manifest)] / 255 - mean) / std
    np.testing.assert_allclose(task.test.inputs, expected, rtol=0, atol=1e-5)  # float32


@pytest.mark.parametrize("split, count", [("train", N_TRAIN), ("test", N_TEST)])
def test_asking_for_too_many_examples_names_the_setting(prepared, split, count):
    message = f"toy has {count} {split} examples.*{count + 1}; lower dataset.n_{split}"
    with pytest.raises(ValueError, match=message):
        load(prepared, **{f"n_{split}": count + 1})


def test_label_noise_changes_training_labels_alone(prepared):
    clean, noisy = load(prepared), load(prepared, label_noise=0.5)
    assert same(clean.test, noisy.test)
    assert torch.equal(clean.train.inputs, noisy.train.inputs)
    changed = (clean.train.labels != noisy.train.labels).sum().item()
    # 100 labels are replaced, of which a tenth keep their value: 90 ± 3; five deviations
    assert 75 <= changed <= 100


@pytest.mark.parametrize("other", [{"seed": 1}, {"run": "paper/other"}])
def test_label_noise_depends_on_run_and_seed(prepared, other):
    # With every label replaced, the labels show the noise alone and not the subset
    first, second = load(prepared, label_noise=1.0), load(prepared, label_noise=1.0, **other)
    assert not torch.equal(first.train.labels, second.train.labels)


@pytest.mark.parametrize(
    "fraction, count", [(0, 0), (0.24, 2), (0.25, 3), (0.5, 5), (0.94, 9), (1, 10)]
)
def test_the_stated_share_of_labels_is_replaced(fraction, count):
    labels = torch.full((10,), -1)
    noisy = randomize_labels(labels, fraction, 7, torch.Generator().manual_seed(0))
    assert (noisy != -1).sum() == count
    assert (labels == -1).all()


def test_more_label_noise_keeps_what_less_replaces():
    labels = torch.full((1000,), -1)
    less, more = (
        randomize_labels(labels, fraction, 10, torch.Generator().manual_seed(3))
        for fraction in (0.2, 0.5)
    )
    replaced = less != -1
    assert replaced.sum() == 200
    assert torch.equal(more[replaced], less[replaced])
    assert (more != -1).sum() == 500


def test_replaced_labels_are_uniform_over_all_classes():
    labels = torch.zeros(10_000, dtype=torch.int64)
    noisy = randomize_labels(labels, 1.0, CLASSES, torch.Generator().manual_seed(0))
    counts = noisy.bincount()
    assert len(counts) == CLASSES
    # Binomial: 1000 ± 30; five deviations. The true class 0 is no exception
    assert (counts - 1000).abs().max() < 150


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(prepared, fraction):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got"):
        load(prepared, label_noise=fraction)
