import pytest
import torch
from tiny_runs import (
    MLP,
    alignments,
    assert_trained_alike,
    changed,
    complete,
    completed,
    descend,
    fit,
    indices,
    initial_network,
    killed_and_resumed,
    make_run,
    random_dataset,
    true_labels,
    values,
)

from feature_alignment.papers.baratin2021 import difficulty
from feature_alignment.papers.baratin2021.difficulty import load_examples
from feature_alignment.training.loop import train

CLASSES, EASY, HARD, TEST, PROBED = 3, 30, 12, 15, 8
SETTINGS = {
    "dataset": {"name": "plain", "n_train": EASY, "n_test": TEST, "label_noise": 0.0},
    "difficult": {"name": "plain", "n_train": HARD, "label_noise": 1.0},
    "model": MLP,
    "loss": "cross_entropy",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.05,
    "batch_size": 10,
    "epochs": 3,
    "measure": {"kernel_examples": PROBED, "ratio": 1.5},
}
STEPS = [0, 5, 7, 11, 15]
LAYERS = ["linear1", "linear2", "linear3"]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Two datasets of one kind, one of larger images, and one of more classes."""
    folder = tmp_path_factory.mktemp("prepared")
    sizes = {"n_train": 50, "n_test": 20, "classes": CLASSES}
    kinds = {
        "plain": ((1, 6, 6), sizes),
        "other": ((1, 6, 6), sizes),
        "large": ((1, 7, 7), sizes),
        "varied": ((1, 6, 6), {**sizes, "classes": CLASSES + 1}),
    }
    return {
        name: random_dataset(folder, name, shape, **sizes) for name, (shape, sizes) in kinds.items()
    }


def run_with(folder, datasets, *, seed=0, **changes):
    return make_run(
        "difficulty", changed(SETTINGS, **changes), folder, *datasets.values(), seed=seed
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, datasets):
    """A run that has written its table, its network at the end, and the table's bytes."""
    run = run_with(tmp_path_factory.mktemp("finished"), datasets)
    return run, *completed(run)


def test_every_measure_is_read_at_every_step(finished):
    run, _, _ = finished
    fits = [
        (m, split, None) for m in ("loss", "accuracy") for split in ("easy", "difficult", "test")
    ]
    alignments = [
        ("alignment", split, layer) for split in ("easy", "difficult") for layer in [None, *LAYERS]
    ]
    expected = {(step, *place) for step in STEPS for place in fits + alignments}
    assert set(values(run)) == expected


@pytest.mark.parametrize("step", [STEPS[0], STEPS[-1]])
@pytest.mark.parametrize("part, split", [(0, "easy"), (1, "difficult")])
def test_alignments_are_those_of_the_kernel_written_out(finished, step, part, split):
    run, network, _ = finished
    network = network if step else initial_network(run)
    found, examples = values(run), load_examples(run)[part].first(PROBED)
    for layer, expected in alignments(network, examples, CLASSES).items():
        # Float32 against float64
        assert found[step, "alignment", split, layer] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("step", [STEPS[0], STEPS[-1]])
def test_fits_are_those_of_all_examples(finished, step):
    run, network, _ = finished
    found = values(run)
    for split, examples in zip(("easy", "difficult", "test"), load_examples(run)[:3], strict=True):
        loss, right = fit(network if step else initial_network(run), examples)
        assert found[step, "loss", split, None] == pytest.approx(loss, rel=1e-4)  # float32
        assert found[step, "accuracy", split, None] == right


def test_the_network_learns_easy_and_difficult_examples_together(monkeypatch, tmp_path, datasets):
    given = []

    def looking(network, examples, recipe, **options):
        given.extend([examples, recipe.order(0)])
        return train(network, examples, recipe, **options)

    monkeypatch.setattr(difficulty, "train", looking)
    run = run_with(tmp_path, datasets)
    complete(run)
    (easy, hard, _, _), (both, first) = load_examples(run), given
    assert torch.equal(both.inputs, torch.cat([easy.inputs, hard.inputs]))
    assert torch.equal(both.labels, torch.cat([easy.labels, hard.labels]))
    assert sorted(first.tolist()) == list(range(EASY + HARD))
    assert (first[:10] >= EASY).any()


def test_training_is_momentum_and_weight_decay_on_shuffled_batches(finished):
    run, end, _ = finished
    easy, hard, _, _ = load_examples(run)
    inputs, labels = torch.cat([easy.inputs, hard.inputs]), torch.cat([easy.labels, hard.labels])
    network = initial_network(run).double()
    orders = (
        torch.randperm(len(labels), generator=run.generator("order", epoch)) for epoch in range(3)
    )
    batches = ((inputs[i].double(), labels[i]) for order in orders for i in order.split(10))
    descend(run, network, batches)
    assert_trained_alike(end, network, initial_network(run), within=1e-4)


def test_difficult_examples_of_the_same_dataset_are_others_with_random_labels(tmp_path, datasets):
    plain = datasets["plain"]
    easy, hard, test, classes = load_examples(run_with(tmp_path, datasets))
    assert (len(easy), len(hard), len(test), classes) == (EASY, HARD, TEST, CLASSES)
    chosen = [set(indices(plain, "train", part.inputs)) for part in (easy, hard)]
    assert [len(part) for part in chosen] == [EASY, HARD]
    assert chosen[0].isdisjoint(chosen[1])
    assert torch.equal(easy.labels, true_labels(plain, "train", easy.inputs))
    assert torch.equal(test.labels, true_labels(plain, "test", test.inputs))
    # Twelve labels, each with chance 2/3 a false one: all or none by chance 1 in 100; seed fixed
    assert 0 < (hard.labels != true_labels(plain, "train", hard.inputs)).sum() < HARD


def test_random_labels_have_a_share_and_differ_between_seeds(tmp_path, datasets):
    half = load_examples(run_with(tmp_path, datasets, difficult__label_noise=0.5))[1]
    true = true_labels(datasets["plain"], "train", half.inputs)
    assert 0 < (half.labels != true).sum() <= HARD / 2
    whole, again, other = (
        load_examples(run_with(tmp_path, datasets, seed=seed))[1] for seed in (0, 0, 1)
    )
    assert torch.equal(whole.labels, again.labels)
    assert not torch.equal(whole.labels, other.labels)


def test_difficult_examples_of_another_dataset_keep_their_labels(tmp_path, datasets):
    run = run_with(tmp_path, datasets, difficult__name="other", difficult__label_noise=0.0)
    easy, hard, test, classes = load_examples(run)
    assert (len(easy), len(hard), len(test), classes) == (EASY, HARD, TEST, CLASSES)
    indices(datasets["plain"], "train", easy.inputs)
    indices(datasets["plain"], "test", test.inputs)
    assert len(set(indices(datasets["other"], "train", hard.inputs))) == HARD
    assert torch.equal(hard.labels, true_labels(datasets["other"], "train", hard.inputs))
    complete(run)


def test_another_dataset_needs_no_test_examples_and_gets_no_noise_of_the_easy_one(
    tmp_path, datasets
):
    few = random_dataset(tmp_path, "few", (1, 6, 6), n_train=20, n_test=3, classes=CLASSES)
    run = run_with(
        tmp_path,
        {"plain": datasets["plain"], "few": few},
        dataset__label_noise=1.0,
        difficult__name="few",
        difficult__label_noise=0.0,
    )
    _, hard, _, _ = load_examples(run)
    assert torch.equal(hard.labels, true_labels(few, "train", hard.inputs))


def test_datasets_of_another_kind_are_refused(tmp_path, datasets):
    with pytest.raises(ValueError, match=r"of one kind.*\(1, 6, 6\) and \(1, 7, 7\)"):
        load_examples(run_with(tmp_path, datasets, difficult__name="large"))
    with pytest.raises(ValueError, match="of one kind.*3 and 4 classes"):
        load_examples(run_with(tmp_path, datasets, difficult__name="varied"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"difficult__name": "other"}, "needs the dataset 'other', but --data gave: plain"),
        ({"difficult__n_train": 51 - EASY}, "plain has 50 train examples.*asks for 51"),
        ({"measure__kernel_examples": HARD + 1}, f"examples is {HARD + 1}, but .* only {HARD}"),
        ({"dataset__label_noise": 0.5}, "would fall on the difficult ones.*label_noise to 0"),
    ],
)
def test_mistakes_are_explained(tmp_path, datasets, changes, message):
    with pytest.raises(ValueError, match=message):
        complete(run_with(tmp_path, {"plain": datasets["plain"]}, **changes))


def test_the_seed_alone_decides_the_table(finished, tmp_path, datasets):
    _, _, content = finished
    torch.manual_seed(99)
    assert complete(run_with(tmp_path, datasets)) == content
    assert complete(run_with(tmp_path, datasets, seed=1)) != content


@pytest.mark.parametrize("step", [2, 8])
def test_a_killed_run_resumes_to_the_same_table(finished, tmp_path, datasets, step):
    _, _, content = finished
    assert killed_and_resumed(run_with(tmp_path, datasets), "cross_entropy", step) == content
