"""What the networks of B4 and B5 are asked beside the ansatz, and their runs."""

import json
import math

import numpy as np
import pytest
import torch
from test_preactivations import INPUTS, network
from tiny_runs import Killed, changed, kill_at, make_run, random_dataset

from feature_alignment.measures.ansatz import (
    ansatz_correlations,
    cross_correlations,
    power_correlations,
    unnormalised_alignment,
)
from feature_alignment.papers.beaglehole2024 import convolutions, initial_scale
from feature_alignment.papers.beaglehole2024.ansatz import build_network
from feature_alignment.probes.ansatz import (
    LayerState,
    ansatz,
    centred_share,
    null_covariance,
    powers,
)
from feature_alignment.tables import read_table
from feature_alignment.tangents.preactivations import graph_covariances
from feature_alignment.training.losses import centered_mse

from reference import ansatz as reference

DRAW = torch.Generator().manual_seed(5)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=DRAW)


WEIGHT, OTHER, FACTOR = draw(5, 9), draw(5, 9), draw(5, 4)
COVARIANCE = FACTOR @ FACTOR.T
STATE = LayerState("linear1", WEIGHT, OTHER, COVARIANCE)


def read(question, state=STATE):
    return {reading.measure: reading.value for reading in question(state)}


def generators(k):
    return torch.Generator().manual_seed(100 + k)


@pytest.mark.parametrize("weight", [WEIGHT, WEIGHT[:, :3], WEIGHT.float()])
def test_powers_equal_the_explicit_matrices(weight):
    wide = weight.double()
    agop = wide.T @ COVARIANCE @ wide
    values, vectors = np.linalg.eigh(agop.numpy())
    values = np.clip(values, 0, None)
    exponents = [0.25, 0.5, 1.0, 2.0]
    found = power_correlations(weight, COVARIANCE.to(weight.dtype), exponents)
    # Eigenvalues that are zero but for rounding, 1e-16, would have the quarter power 1e-4.
    values[values < 1e-12 * values.max()] = 0
    for exponent, pair in zip(exponents, found, strict=True):
        power = torch.tensor(vectors * values**exponent @ vectors.T)
        nfm = wide.T @ wide
        tolerance = 1e-10 if weight.dtype == torch.float64 else 1e-5
        assert pair.pearson == pytest.approx(reference.pearson(nfm, power), abs=tolerance)
        assert pair.cosine == pytest.approx(reference.cosine(nfm, power), abs=tolerance)
    own = ansatz_correlations(weight, COVARIANCE.to(weight.dtype))
    assert found[2].pearson == pytest.approx(own.pearson, abs=tolerance)


@pytest.mark.parametrize("exponent", [0, -1])
def test_a_power_must_be_positive(exponent):
    with pytest.raises(ValueError, match=f"exponents above 0, got {exponent}"):
        power_correlations(WEIGHT, COVARIANCE, [1, exponent])


def test_correlation_across_two_weights_equals_the_explicit_matrices():
    found = cross_correlations(WEIGHT, OTHER, COVARIANCE)
    pair = WEIGHT.T @ WEIGHT, OTHER.T @ COVARIANCE @ OTHER
    assert found.pearson == pytest.approx(reference.pearson(*pair), abs=1e-12)
    assert found.cosine == pytest.approx(reference.cosine(*pair), abs=1e-12)
    own = cross_correlations(WEIGHT, WEIGHT, COVARIANCE)
    assert own.pearson == pytest.approx(ansatz_correlations(WEIGHT, COVARIANCE).pearson, abs=1e-12)


def test_the_centred_share_is_that_of_the_traces():
    explicit = [torch.trace(w.T @ w @ w.T @ COVARIANCE @ w).item() for w in (OTHER, WEIGHT)]
    assert unnormalised_alignment(OTHER, COVARIANCE) == pytest.approx(explicit[0], rel=1e-12)
    assert read(centred_share) == {"centred_share": pytest.approx(explicit[0] / explicit[1])}


def test_powers_are_of_weights_and_of_their_change():
    found = read(powers)
    assert len(found) == 2 * 3 * 2
    for kind, weight in (("uc_nfa", WEIGHT), ("c_nfa", OTHER)):
        own = ansatz_correlations(weight, COVARIANCE)
        assert found[f"{kind}_power_one_pearson"] == pytest.approx(own.pearson, abs=1e-12)
        [half] = power_correlations(weight, COVARIANCE, [0.5])
        assert found[f"{kind}_power_half_cosine"] == pytest.approx(half.cosine, abs=1e-12)


def test_the_null_keeps_the_spectrum_and_nothing_else():
    flat = LayerState("linear1", WEIGHT, OTHER, 3 * torch.eye(5, dtype=torch.float64))
    found = read(null_covariance(generators, ["linear1"], 2), flat)
    assert found["null_c_nfa_pearson"] == pytest.approx(1, abs=1e-12)  # as Q I Qᵀ = I
    assert found["independent_pearson"] < 0.9


def test_the_null_is_the_mean_over_haar_rotations():
    # The expectation of W̄ᵀ Q K Qᵀ W̄ is W̄ᵀ W̄ tr(K) / width: its inner product with the NFM, too.
    state = LayerState("linear1", WEIGHT, OTHER, COVARIANCE)
    found = read(null_covariance(generators, ["linear1"], 300), state)
    cosines = []
    for k in range(300):
        gaussian = torch.randn(5, 5, dtype=torch.float64, generator=generators(1000 + k))
        rotation, triangle = torch.linalg.qr(gaussian)
        rotation = rotation * triangle.diagonal().sign()
        turned = rotation @ COVARIANCE @ rotation.T
        cosines.append(reference.cosine(OTHER.T @ OTHER, OTHER.T @ turned @ OTHER))
    error = np.std(cosines) / math.sqrt(len(cosines))
    assert found["null_c_nfa_cosine"] == pytest.approx(np.mean(cosines), abs=6 * error)


def test_independent_matrices_are_turned_against_each_other():
    # With inputs turned at random E[P] of the AGOP is its trace / inputs times the identity.
    found = read(null_covariance(generators, ["linear1"], 400))
    nfm, agop = OTHER.T @ OTHER, OTHER.T @ COVARIANCE @ OTHER
    expected = nfm.trace() * agop.trace() / 9 / nfm.norm() / agop.norm()
    assert found["independent_cosine"] == pytest.approx(expected.item(), abs=0.03)


def test_the_null_of_an_aligned_covariance_is_below_its_own_correlation():
    # K has the eigenvectors of W̄ W̄ᵀ, leading ones first: as aligned as can be.
    left, _, right = torch.linalg.svd(OTHER, full_matrices=False)
    moved = left * torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6]) @ right
    aligned = left * torch.tensor([1, 0.5, 0.1, 0.01, 0.001]).double() @ left.T
    state = LayerState("linear1", WEIGHT, moved.double(), aligned)
    found = read(null_covariance(generators, ["linear1"], 20), state)
    own = ansatz_correlations(moved.double(), aligned)
    assert found["null_c_nfa_cosine"] < own.cosine - 0.02
    assert found["independent_cosine"] < found["null_c_nfa_cosine"]


def test_a_change_at_the_rounding_of_single_precision_is_told(caplog):
    net = network()
    instrument = ansatz(net, INPUTS, layers=["linear1"])
    with torch.no_grad():
        net.linear1.weight.mul_(1 + 1e-7)
    list(instrument(net))
    assert "linear1 moved by little more than rounding" in caplog.text


def test_rotations_are_the_same_at_every_measurement_and_differ_over_layers():
    question = null_covariance(generators, ["linear1", "linear2"], 2)
    second = LayerState("linear2", WEIGHT, OTHER, COVARIANCE)
    assert read(question) == read(question)
    assert read(question) != read(question, second)


def test_questions_are_asked_of_every_layer_that_is_not_dead():
    net, asked = network(), []

    def question(state):
        asked.append(state)
        return []

    instrument = ansatz(net, INPUTS, layers=["linear2"], questions=[question])
    list(instrument(net))
    [state] = asked
    assert not state.moved.any()
    start = net.linear2.weight.detach().clone()
    with torch.no_grad():
        net.linear2.weight.mul_(1.5)
    readings = list(instrument(net))
    state = asked[1]
    assert state.name == "linear2"
    torch.testing.assert_close(state.moved, 0.5 * start)
    torch.testing.assert_close(state.weight, 1.5 * start)
    assert {reading.layer for reading in readings} == {"linear2"}
    with torch.no_grad():
        net.linear2.weight.copy_(-net.linear2.weight.abs())
    list(instrument(net))
    assert len(asked) == 2
    list(ansatz(net, INPUTS, layers=["linear1"], questions=[question])(net))
    assert len(asked) == 2  # behind linear2 no unit is active


def test_before_the_first_step_there_is_no_change_to_ask_about():
    still = LayerState("linear1", WEIGHT, torch.zeros_like(WEIGHT), COVARIANCE)
    assert read(null_covariance(generators, ["linear1"], 2), still) == {}
    assert read(centred_share, still) == {"centred_share": 0}
    assert {name[:6] for name in read(powers, still)} == {"uc_nfa"}


MODEL = {
    "hidden_layers": 2,
    "width": 8,
    "bias": False,
    "activation": "relu",
    "initialisation": "pytorch",
}
DATASET = {"name": "digits", "n_train": 30, "n_test": 20, "label_noise": 0.0}
SCALE = {
    "seeds": 1,
    "dataset": DATASET,
    "model": MODEL,
    "loss": "centered_mse",
    "first_epoch_rate": 1e-4,
    "starts": [{"gain": 0.5, "learning_rate": 0.2}, {"gain": 2.0, "learning_rate": 0.1}],
    "batch_size": 10,
    "epochs": 3,
    "measure": {"covariance_examples": 20, "every": 2, "null_draws": 2},
}
VGG = {
    "seeds": 1,
    "dataset": {**DATASET, "name": "photo_patches"},
    "model": {
        "architecture": "vgg11",
        "width": 2,
        "batch_norm": False,
        "initialisation": "he_normal",
        "hidden_layers": 1,
        "dropout": 0.5,
    },
    "loss": "centered_mse",
    "learning_rate": {"first_epoch": 1e-4, "value": 0.001},
    "momentum": 0.9,
    "batch_size": 10,
    "epochs": 2,
    "measure": {"covariance_examples": 12, "every": 1},
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    counts = {"n_train": 30, "n_test": 20, "classes": 3}
    return {
        "initial_scale": random_dataset(folder, "digits", (1, 4, 4), **counts),
        "convolutions": random_dataset(folder, "photo_patches", (3, 32, 32), **counts),
    }


def tiny(module, folder, datasets, seed=0, **changes):
    settings = {"initial_scale": SCALE, "convolutions": VGG}[module]
    return make_run(
        module, changed(settings, **changes), folder, datasets[module], seed=seed,
        paper="beaglehole2024",
    )  # fmt: skip


def complete(run):
    """Run the program of a run on its files and return the table's bytes."""
    folder = run.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    [dataset] = run.datasets.values()
    (folder / "spec.json").write_text(json.dumps(run.spec))
    (folder / "manifest.json").write_text(json.dumps(dataset.manifest))
    module = {"initial_scale": initial_scale, "convolutions": convolutions}[
        run.module.rpartition(".")[2]
    ]
    module.main(
        [f"--spec={folder / 'spec.json'}", f"--seed={run.seed}", f"--data={dataset.arrays}",
         f"--manifest={folder / 'manifest.json'}", f"--out={run.out}",
         f"--checkpoint={run.checkpoint}", "--checkpoint-interval=0"]
    )  # fmt: skip
    assert not list(run.checkpoint.parent.glob("*"))
    return run.out.read_bytes()


@pytest.mark.usefixtures("restored_torch")
@pytest.mark.parametrize("module, steps", [("initial_scale", (4, 14)), ("convolutions", (5,))])
def test_a_killed_run_goes_on_to_the_same_bytes(module, steps, tmp_path, datasets):
    expected = complete(tiny(module, tmp_path / "whole", datasets))
    for step in steps:
        run = tiny(module, tmp_path / str(step), datasets)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, "centered_mse", step)
            with pytest.raises(Killed):
                complete(run)
        torch.manual_seed(step)  # a new process has another state
        assert complete(run) == expected
    assert complete(tiny(module, tmp_path / "other", datasets, seed=1)) != expected


@pytest.mark.usefixtures("restored_torch")
def test_gains_share_the_weights_and_measure_after_the_first_epoch(tmp_path, datasets):
    run = tiny("initial_scale", tmp_path, datasets)
    complete(run)
    table = read_table(run.out, ["gain"])
    assert sorted(table["epoch"].unique()) == [1, 3, 4]
    first = table[(table["epoch"] == 1) & (table["measure"] == "uc_nfa_pearson")]
    by_gain = first.pivot(index="layer", columns="gain", values="value")
    # A gain common to all hidden layers cancels in the ansatz
    np.testing.assert_allclose(by_gain[0.5], by_gain[2.0], atol=1e-3)
    # After an epoch at 1e-4 losses are those of the initial networks, two layers times the gain.
    task = run.task()
    network = build_network(run, task)
    for gain in (0.5, 2.0):
        outputs = gain**2 * network(task.train.inputs)
        rows = table[(table["gain"] == gain) & (table["measure"] == "loss")]
        [found] = rows.loc[(rows["epoch"] == 1) & (rows["split"] == "train"), "value"]
        expected = centered_mse(outputs, task.train.labels).item()
        assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.usefixtures("restored_torch")
def test_a_gain_given_twice_is_an_error(tmp_path, datasets):
    starts = [SCALE["starts"][0]] * 2
    with pytest.raises(ValueError, match="every gain once"):
        complete(tiny("initial_scale", tmp_path, datasets, starts=starts))


@pytest.mark.usefixtures("restored_torch")
def test_convolutions_are_measured_as_matrices(tmp_path, datasets):
    run = tiny("convolutions", tmp_path, datasets)
    start = convolutions.build_network(run, run.task())
    complete(run)
    table = read_table(run.out)
    layers = table.loc[table["measure"] == "uc_nfa_pearson", "layer"].unique()
    assert set(layers) <= {f"conv{k}" for k in range(1, 9)}
    assert {"conv1", "conv8"} <= set(layers)
    # After an epoch at 1e-4 weights are those of the start, to a part in a thousand.
    inputs = run.task().train.inputs[:12]
    weight = start.conv1.weight.detach().flatten(1)
    covariance = graph_covariances(start.eval(), [inputs])["conv1"]
    expected = ansatz_correlations(weight, covariance).pearson
    rows = table[(table["epoch"] == 1) & (table["layer"] == "conv1")]
    [found] = rows.loc[rows["measure"] == "uc_nfa_pearson", "value"]
    assert found == pytest.approx(expected, abs=1e-3)
