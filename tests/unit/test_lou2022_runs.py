"""The training runs and the initialisations of lou2022, on tiny random datasets."""

from itertools import pairwise

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
    initial_network,
    killed_and_resumed,
    make_run,
    perform_run,
    random_dataset,
    values,
)

from feature_alignment.papers.lou2022 import hierarchy, smooth
from feature_alignment.papers.lou2022.hierarchy import follow_layers
from feature_alignment.tables import read_table
from feature_alignment.training.loop import train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.recipe import shuffled

from reference import kernels as reference

CLASSES, PROBED = 4, 8
SETTINGS = {
    "dataset": {"name": "greys", "n_train": 30, "n_test": 20, "label_noise": 0.0},
    "input_offset": 0.0,
    "rounding": 0,
    "model": {**MLP, "hidden_layers": 3},
    "loss": "cross_entropy",
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.8,
    "weight_decay": 0.02,
    "batch_size": 10,
    "epochs": 60,
    "stop": {"losses": [1.0, 0.6], "epochs": 2},
    "augmentation": False,
    "measure": {"kernel_examples": PROBED, "fit_examples": 16, "ratio": None},
}
LAYERS = [f"linear{place}" for place in range(1, 5)]
ONCE = ["input_correlation", "equilibrium_layer", "equilibrium_layer_mean_field"]
BY_LAYER = ["forward_distance", "backward_correlation"]
INFORMATION = {
    *((measure, None) for measure in ONCE),
    *((f"{m}{end}", layer) for m in BY_LAYER for end in ("", "_mean_field") for layer in LAYERS),
}
CONVOLUTIONAL = changed(
    SETTINGS,
    dataset__name="colours",
    model={"architecture": "resnet18", "width": 4, "initialisation": "he_normal"},
    epochs=2,
    augmentation=True,
)


@pytest.fixture(scope="module")
def greys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("greys")
    return random_dataset(folder, "greys", (1, 6, 6), n_train=40, n_test=20, classes=CLASSES)


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    return random_dataset(folder, "colours", (3, 32, 32), n_train=40, n_test=20, classes=CLASSES)


def tiny(settings, folder, dataset):
    return make_run("hierarchy", settings, folder, dataset, paper="lou2022")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, greys):
    """A run that has written its table, its network at the end, and the bytes."""
    run = tiny(SETTINGS, tmp_path_factory.mktemp("finished"), greys)
    return run, *completed(run)


def test_what_is_measured_and_when(finished):
    run, _, _ = finished
    found = values(run)
    steps = sorted({step for step, *_ in found})
    assert len(steps) == 3
    assert steps[0] == 0
    assert all(step % 3 == 0 for step in steps)  # three batches an epoch
    reached = [found[step, "losses_reached", None, None] for step in steps]
    assert reached == [0, 1, 2]
    fits = {(m, split, None) for m in ("loss", "accuracy") for split in ("train", "test")}
    alignments = {("alignment", s, at) for s in ("train", "test") for at in (None, *LAYERS)}
    for step in steps:
        expected = fits | alignments | {("losses_reached", None, None)}
        if step:
            expected |= {("smoothed_loss", None, None)}
        else:
            expected |= {(measure, None, layer) for measure, layer in INFORMATION}
        assert {key[1:] for key in found if key[0] == step} == expected
    for step, threshold in zip(steps[1:], (1.0, 0.6), strict=True):
        assert found[step, "smoothed_loss", None, None] < threshold
    assert set(read_table(run.out)["paper"]) == {"lou2022"}


def test_a_loss_is_reached_when_the_running_average_is_below_it_twice(finished, monkeypatch):
    run, _, _ = finished
    steps = sorted({step for step, *_ in values(run)})
    losses = []

    def keeping(outputs, labels):
        loss = torch.nn.functional.cross_entropy(outputs, labels)
        if outputs.requires_grad:
            losses.append(loss.item())
        return loss

    monkeypatch.setitem(LOSSES, "cross_entropy", keeping)
    follow_layers(run, None)
    smoothed, ends = losses[0], []
    for step, loss in enumerate(losses, start=1):
        smoothed = 0.9 * smoothed + 0.1 * loss
        if step % 3 == 0:
            ends.append((step, smoothed))
    for threshold, expected in zip((1.0, 0.6), steps[1:], strict=True):
        twice = [b[0] for a, b in pairwise(ends) if a[1] < threshold and b[1] < threshold]
        assert twice[0] == expected
    assert len(losses) == steps[-1]


@pytest.mark.parametrize("which", ["first", "last"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_alignments_are_those_of_kernels_written_out(finished, which, split):
    run, network, _ = finished
    if which == "first":
        network = initial_network(run)
    examples = getattr(run.task(), split).first(PROBED)
    found = values(run)
    step = max(step for step, *_ in found) if which == "last" else 0
    for layer, expected in alignments(network, examples, CLASSES).items():
        # Float32 against float64
        assert found[step, "alignment", split, layer] == pytest.approx(expected, rel=2e-4)


def test_the_network_is_trained_as_written_out(finished):
    run, trained, _ = finished
    examples, network = run.task().train, initial_network(run).double()
    steps = max(step for step, *_ in values(run))
    order = shuffled(30, run)
    batches = [part for epoch in range(steps // 3) for part in order(epoch).split(10)]
    inputs = examples.inputs.double()
    descend(run, network, ((inputs[part], examples.labels[part]) for part in batches))
    assert_trained_alike(trained, network, initial_network(run), within=1e-4)
    for one, other in zip(trained.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_killed_run_resumes_to_the_same_bytes(finished, tmp_path, greys):
    run = tiny(SETTINGS, tmp_path, greys)
    assert killed_and_resumed(run, "cross_entropy", 14) == finished[2]


def test_information_at_initialisation(tmp_path, greys):
    settings = {key: SETTINGS[key] for key in ("dataset", "model")}
    settings["measure"] = {"examples": 6}
    run = make_run("information", settings, tmp_path, greys, paper="lou2022")
    complete(run)
    found = {(measure, layer): value for (_, measure, _, layer), value in values(run).items()}
    assert set(found) == INFORMATION
    network = initial_network(run).eval()
    inputs = run.task().test.inputs[:6]
    pairs = [(i, j) for i in range(6) for j in range(i + 1, 6)]
    seen, hidden = [], inputs.flatten(1)
    for module in network:
        if isinstance(module, torch.nn.Linear):
            hidden = hidden.detach().requires_grad_()
            seen.append(hidden)
        hidden = module(hidden)
    cosine = torch.nn.functional.cosine_similarity
    for layer, rows in zip(LAYERS, seen, strict=True):
        expected = 1 - torch.stack([cosine(rows[i], rows[j], dim=0) for i, j in pairs]).mean()
        assert found["forward_distance", layer] == pytest.approx(expected.item(), rel=1e-4)
    # The gradient with respect to what layer l puts out is that of its bias, example by example.
    gradients = reference.jacobians(network, inputs)
    for layer in LAYERS:
        biases = gradients[layer][..., -getattr(network, layer).out_features :]
        cosines = [cosine(biases[i], biases[j], dim=-1).mean() for i, j in pairs]
        expected = torch.stack(cosines).mean().item()
        assert found["backward_correlation", layer] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert found["backward_correlation", LAYERS[-1]] == pytest.approx(1)
    assert 1 <= found["equilibrium_layer", None] <= 4


def test_an_offset_raises_the_correlation_of_inputs_and_keeps_their_size(tmp_path, greys):
    correlations = []
    for offset in (0.0, 2.0):
        settings = changed(SETTINGS, input_offset=offset, epochs=1)
        run = tiny(settings, tmp_path / str(offset), greys)
        complete(run)
        correlations.append(values(run)[0, "input_correlation", None, None])
        part = hierarchy._examples(run.task().train, offset, run.device, torch.contiguous_format)
        assert part.inputs.square().mean().item() == pytest.approx(1, abs=0.1)
    assert correlations[1] > correlations[0] + 0.3


@pytest.mark.usefixtures("restored_torch")
def test_a_replicate_starts_one_unit_in_the_last_place_away(finished, tmp_path, greys):
    run, _, _ = finished
    measured = values(run)
    for number in (1, 2):
        again = tiny(changed(SETTINGS, rounding=number, epochs=2), tmp_path / str(number), greys)
        perform_run(again)
        first = {key: value for key, value in values(again).items() if key[0] == 0}
        assert first == pytest.approx({key: measured[key] for key in first}, rel=1e-3)
        assert first != {key: measured[key] for key in first}


def test_a_convolutional_run_measures_the_same_but_no_information(tmp_path, colours):
    run = tiny(CONVOLUTIONAL, tmp_path, colours)
    content = perform_run(run)
    found = values(run)
    assert not {measure for _, measure, *_ in found} & {measure for measure, _ in INFORMATION}
    layers = [
        layer for step, m, split, layer in found if (step, m, split) == (0, "alignment", "test")
    ]
    assert len(layers) == 42  # 20 convolutions, 20 norms, the head, the whole
    assert {step for step, *_ in found} == {0, 6}
    again = tiny(CONVOLUTIONAL, tmp_path / "again", colours)
    assert perform_run(again) == content


def test_augmented_images_are_seen_by_the_training_alone(tmp_path, colours, monkeypatch):
    seen = []

    def spying(model, examples, recipe, **options):
        batch, augment = examples.inputs[:5], recipe.before_step
        seen.append((batch, augment(batch, 3), augment(batch, 3), augment(batch, 4)))
        return train(model, examples, recipe, **options)

    monkeypatch.setattr(hierarchy, "train", spying)
    run = tiny(changed(CONVOLUTIONAL, epochs=1), tmp_path, colours)
    complete(run)
    plain, once, again, later = seen[0]
    assert torch.equal(once, again)
    assert not torch.equal(once, later)
    assert not torch.equal(once, plain)


def test_log_spaced_measurements_come_besides(tmp_path, greys):
    run = tiny(changed(SETTINGS, measure__ratio=2.0), tmp_path, greys)
    complete(run)
    found = values(run)
    steps = sorted({step for step, *_ in found})
    assert {0, 5, 10, 20} <= set(steps)
    reached = [found[step, "losses_reached", None, None] for step in steps]
    assert reached == sorted(reached)
    assert reached[-1] == 2


def test_adam_trains_too(tmp_path, greys):
    run = tiny(changed(SETTINGS, optimizer="adam", learning_rate=0.01), tmp_path, greys)
    complete(run)
    assert max(v for (_, m, *_), v in values(run).items() if m == "losses_reached") == 2


def test_too_many_examples_name_the_setting(tmp_path, greys):
    run = tiny(changed(SETTINGS, measure__kernel_examples=25), tmp_path, greys)
    with pytest.raises(ValueError, match="measure.kernel_examples is 25, but there are only 20"):
        follow_layers(run, None)


SMOOTH = {
    **{key: SETTINGS[key] for key in SETTINGS if key not in ("augmentation", "input_offset")},
    "draws": "depth",
    "model": {**MLP, "hidden_layers": 3, "activation": "tanh", "initialisation": "he_normal"},
    "bias_variance": 0.04,
    "measure": {"kernel_examples": PROBED, "fit_examples": 16},
}
del SMOOTH["rounding"]


def test_a_smooth_network_is_trained_and_measured_alike(tmp_path, greys):
    run = make_run("smooth", SMOOTH, tmp_path, greys, paper="lou2022")
    content = perform_run(run)
    found = values(run)
    last = max(step for step, *_ in found)
    assert found[last, "losses_reached", None, None] == 2
    once = {(measure, layer) for step, measure, split, layer in found if split is None and not step}
    assert once == INFORMATION | {("losses_reached", None)}
    aligned = {layer for step, m, s, layer in found if (step, m, s) == (last, "alignment", "test")}
    assert aligned == {None, *LAYERS}
    again = make_run("smooth", SMOOTH, tmp_path / "again", greys, paper="lou2022")
    assert perform_run(again) == content


def test_a_wide_smooth_network_starts_on_the_edge(tmp_path, greys):
    wide = changed(SMOOTH, model__width=2048)
    run = make_run("smooth", wide, tmp_path, greys, paper="lou2022")
    edge = smooth.edge_of_chaos("tanh", 0.04)
    inputs = torch.randn(12, 36, generator=torch.Generator().manual_seed(0))
    inputs = inputs / inputs.square().mean(dim=1, keepdim=True).sqrt()
    network = smooth.build_on_edge(run, edge, (1, 6, 6), CLASSES)
    seen = inputs
    with torch.no_grad():
        for module in network:
            seen = module(seen)
            if isinstance(module, torch.nn.Linear) and module.out_features > CLASSES:
                assert seen.var(correction=0).item() == pytest.approx(edge.variance, rel=0.1)
    readings = list(smooth.initial_information(network, inputs, edge))
    found = {(reading.measure, reading.layer): reading.value for reading in readings}
    for name in ("forward_distance", "backward_correlation"):
        for layer in LAYERS:
            expected = found[f"{name}_mean_field", layer]
            assert found[name, layer] == pytest.approx(expected, abs=0.06), (name, layer)


def test_correlations_of_pairs_are_those_over_weights_and_biases():
    draw = torch.Generator().manual_seed(0)
    seen = torch.randn(3, 5, dtype=torch.float64, generator=draw)
    found = smooth.pair_correlations(seen, 1.7, 0.3)
    weights = torch.randn(5, 400_000, dtype=torch.float64, generator=draw) * (1.7 / 5) ** 0.5
    outputs = seen @ weights + 0.3**0.5 * torch.randn(400_000, dtype=torch.float64, generator=draw)
    sampled = torch.corrcoef(outputs)
    expected = [sampled[0, 1].item(), sampled[0, 2].item(), sampled[1, 2].item()]
    assert found.tolist() == pytest.approx(expected, abs=0.008)  # five standard errors
