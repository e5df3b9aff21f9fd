import pytest
import torch
from tiny_runs import (
    Killed,
    changed,
    descend,
    indices,
    kill_at,
    make_run,
    random_dataset,
    table_bytes,
    true_labels,
    values,
)

from feature_alignment.measures.alignment import centered_one_hot
from feature_alignment.models.mlp import mlp
from feature_alignment.papers.baratin2021 import difficulty
from feature_alignment.papers.baratin2021.difficulty import compare_difficulty, load_examples
from feature_alignment.tangents.kernels import center_kernel
from feature_alignment.training.loop import train

from reference import kernels as reference

CLASSES, EASY, HARD, TEST, PROBED = 3, 30, 12, 15, 8
SETTINGS = {
    "dataset": {"name": "plain", "n_train": EASY, "n_test": TEST, "label_noise": 0.0},
    "difficult": {"name": "plain", "n_train": HARD, "label_noise": 1.0},
    "model": {
        "hidden_layers": 2,
        "width": 10,
        "bias": True,
        "activation": "relu",
        "initialisation": "he_normal",
    },
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
    networks = []

    def keeping(*arguments, **options):
        networks.append(mlp(*arguments, **options))
        return networks[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(difficulty, "mlp", keeping)
        content = table_bytes(run, compare_difficulty)
    return run, networks[0], content


def initial_network(run):
    return mlp(36, **SETTINGS["model"], outputs=CLASSES, generator=run.generator("init"))


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
@pytest.mark.parametrize("part", [0, 1])
def test_alignments_are_those_of_the_kernel_written_out(finished, step, part):
    run, network, _ = finished
    network = (network if step else initial_network(run)).double().eval()
    examples = load_examples(run)[part]
    inputs, labels = examples.inputs[:PROBED].double(), examples.labels[:PROBED]
    y = centered_one_hot(labels, CLASSES).double()
    kernels = {
        name: center_kernel(kernel)
        for name, kernel in reference.layer_kernels(network, inputs).items()
    }
    found = values(run)
    split = ("easy", "difficult")[part]
    for layer, kernel in {**kernels, None: sum(kernels.values())}.items():
        expected = reference.alignment(kernel, y)
        # Float32 against float64
        assert found[step, "alignment", split, layer] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("step", [STEPS[0], STEPS[-1]])
def test_fits_are_those_of_all_examples(finished, step):
    run, network, _ = finished
    network = (network if step else initial_network(run)).double().eval()
    found = values(run)
    for split, examples in zip(("easy", "difficult", "test"), load_examples(run)[:3], strict=True):
        chances = network(examples.inputs.double()).softmax(dim=1)
        loss = -chances.gather(1, examples.labels[:, None]).log().mean().item()
        right = (chances.argmax(dim=1) == examples.labels).double().mean().item()
        assert found[step, "loss", split, None] == pytest.approx(loss, rel=1e-4)  # float32
        assert found[step, "accuracy", split, None] == right


def test_the_network_learns_easy_and_difficult_examples_together(monkeypatch, tmp_path, datasets):
    given = {}

    def looking(network, inputs, labels, **options):
        given.update(inputs=inputs, labels=labels, first=options["order"](0))
        return train(network, inputs, labels, **options)

    monkeypatch.setattr(difficulty, "train", looking)
    run = run_with(tmp_path, datasets)
    table_bytes(run, compare_difficulty)
    easy, hard, _, _ = load_examples(run)
    assert torch.equal(given["inputs"], torch.cat([easy.inputs, hard.inputs]))
    assert torch.equal(given["labels"], torch.cat([easy.labels, hard.labels]))
    assert sorted(given["first"].tolist()) == list(range(EASY + HARD))
    assert (given["first"][:10] >= EASY).any()


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
    start = initial_network(run).double()
    for found, expected, initial in zip(
        end.double().parameters(), network.parameters(), start.parameters(), strict=True
    ):
        # Float32 against float64, relative to how far training went
        assert (found - expected).norm() < 1e-4 * (expected - initial).norm()


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
    table_bytes(run, compare_difficulty)


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


def test_mistakes_are_explained(tmp_path, datasets):
    plain = {"plain": datasets["plain"]}
    with pytest.raises(ValueError, match="needs the dataset 'other', but --data gave: plain"):
        load_examples(run_with(tmp_path, plain, difficult__name="other"))
    with pytest.raises(ValueError, match="plain has 50 train examples.*asks for 51"):
        load_examples(run_with(tmp_path, plain, difficult__n_train=51 - EASY))
    with pytest.raises(ValueError, match=f"kernel_examples is {HARD + 1}, but .* only {HARD}"):
        compare_difficulty(run_with(tmp_path, plain, measure__kernel_examples=HARD + 1), None)


def test_the_seed_alone_decides_the_table(finished, tmp_path, datasets):
    _, _, content = finished
    torch.manual_seed(99)
    assert table_bytes(run_with(tmp_path, datasets), compare_difficulty) == content
    other = run_with(tmp_path, datasets, seed=1)
    assert table_bytes(other, compare_difficulty) != content


@pytest.mark.parametrize("step", [2, 8])
def test_a_killed_run_resumes_to_the_same_table(finished, tmp_path, datasets, step):
    _, _, content = finished
    run = run_with(tmp_path, datasets)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, "cross_entropy", step)
        with pytest.raises(Killed):
            table_bytes(run, compare_difficulty)
    assert run.checkpoint.exists()
    assert table_bytes(run, compare_difficulty) == content
