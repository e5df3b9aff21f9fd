"""The probe of the ansatz, and what it is asked further about a layer."""

import math

import numpy as np
import pytest
import torch
from test_preactivations import INPUTS, network

from feature_alignment.data.loading import Examples
from feature_alignment.measures.ansatz import (
    ansatz_correlations,
    left_alignment,
    power_correlations,
    unnormalised_alignment,
)
from feature_alignment.measures.orthogonal import haar_frame, haar_orthogonal
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.ansatz import (
    LayerState,
    ansatz_probe,
    centred_share,
    left_singular_vectors,
    null_covariance,
    powers,
)
from feature_alignment.tangents.preactivations import preactivation_covariances
from feature_alignment.training.losses import cross_entropy

from reference import ansatz as reference

DRAW = torch.Generator().manual_seed(5)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=DRAW)


WEIGHT, OTHER, FACTOR = draw(5, 9), draw(5, 9), draw(5, 4)
COVARIANCE = FACTOR @ FACTOR.T
STATE = LayerState("linear1", WEIGHT, OTHER, COVARIANCE)


def read(question, state=STATE):
    """Readings by measure, and by their place where a measure has one."""
    return {r.measure if r.at is None else (r.measure, r.at): r.value for r in question(state)}


def generators(k):
    return torch.Generator().manual_seed(100 + k)


def readings(probe, net):
    return {(r.layer, r.measure): r.value for r in probe(net)}


def move(net, scale=0.1):
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
            parameter += scale * noise


def test_centred_correlations_use_the_change_since_the_start():
    net = network()
    start = net.linear2.weight.detach().clone()
    probe = ansatz_probe(net, INPUTS)
    move(net)
    found = readings(probe, net)
    weight = net.linear2.weight.detach()
    covariance = preactivation_covariances(net, [INPUTS])["linear2"]
    expected = ansatz_correlations(weight - start, covariance)
    assert found["linear2", "c_nfa_pearson"] == pytest.approx(expected.pearson, rel=1e-12)
    change = torch.linalg.norm(weight - start) / torch.linalg.norm(weight)
    assert found["linear2", "weight_change"] == pytest.approx(change.item(), rel=1e-12)
    assert {layer for layer, _ in found} == {"linear1", "linear2", "linear3"}


def test_before_the_first_step_nothing_is_centred():
    net = network()
    measures = {measure for _, measure in readings(ansatz_probe(net, INPUTS), net)}
    assert measures == {"weight_change", "uc_nfa_pearson", "uc_nfa_cosine"}


def test_a_dead_layer_has_no_correlations_and_stops_nothing(caplog):
    net = network()
    probe = ansatz_probe(net, INPUTS)
    move(net)
    with torch.no_grad():
        net.linear2.weight.copy_(-net.linear2.weight.abs())  # no unit of layer 2 is ever active
    found = readings(probe, net)
    for dead in ("linear2", "linear3"):  # behind linear2 nothing is left
        assert {measure for layer, measure in found if layer == dead} == {"weight_change"}
    assert "linear2 is dead" in caplog.text


def test_accuracy_is_read_on_every_split():
    net = network().float().eval()
    inputs, labels = INPUTS.float(), torch.arange(len(INPUTS)) % 3
    splits = {"train": Examples(inputs[:6], labels[:6]), "test": Examples(inputs[6:], labels[6:])}
    found = {(r.split, r.measure): r.value for r in accuracy_probe(cross_entropy, **splits)(net)}
    expected = cross_entropy(net(inputs[6:]), labels[6:]).item()
    assert found["test", "loss"] == pytest.approx(expected, rel=1e-6)
    assert set(found) == {(s, m) for s in ("train", "test") for m in ("loss", "accuracy")}


def test_the_centred_share_is_that_of_the_traces():
    explicit = [torch.trace(w.T @ w @ w.T @ COVARIANCE @ w).item() for w in (OTHER, WEIGHT)]
    assert unnormalised_alignment(OTHER, COVARIANCE) == pytest.approx(explicit[0], rel=1e-12)
    assert read(centred_share) == {"centred_share": pytest.approx(explicit[0] / explicit[1])}


def test_powers_are_of_weights_and_of_their_change():
    found = read(powers)
    assert len(found) == 2 * 3 * 2
    for kind, weight in (("uc_nfa", WEIGHT), ("c_nfa", OTHER)):
        own = ansatz_correlations(weight, COVARIANCE)
        assert found[f"{kind}_power_pearson", 1.0] == pytest.approx(own.pearson, abs=1e-12)
        [half] = power_correlations(weight, COVARIANCE, [0.5])
        assert found[f"{kind}_power_cosine", 0.5] == pytest.approx(half.cosine, abs=1e-12)


def test_the_null_keeps_the_spectrum_and_nothing_else():
    flat = LayerState("linear1", WEIGHT, OTHER, 3 * torch.eye(5, dtype=torch.float64))
    found = read(null_covariance(generators, ["linear1"], 2), flat)
    assert found["null_c_nfa_pearson"] == pytest.approx(1, abs=1e-12)  # as Q I Qᵀ = I
    assert found["independent_pearson"] < 0.9


def test_the_null_is_the_mean_over_haar_rotations():
    # The expectation of W̄ᵀ Q K Qᵀ W̄ is W̄ᵀ W̄ tr(K) / width: its inner product with the NFM, too.
    found = read(null_covariance(generators, ["linear1"], 300))
    cosines = []
    for k in range(300):
        gaussian = torch.randn(5, 5, dtype=torch.float64, generator=generators(1000 + k))
        rotation, triangle = torch.linalg.qr(gaussian)
        rotation = rotation * triangle.diagonal().sign()
        turned = rotation @ COVARIANCE @ rotation.T
        cosines.append(reference.cosine(OTHER.T @ OTHER, OTHER.T @ turned @ OTHER))
    error = np.std(cosines) / math.sqrt(len(cosines))
    assert found["null_c_nfa_cosine"] == pytest.approx(np.mean(cosines), abs=6 * error)


def test_the_nulls_of_the_uncentred_ansatz_are_those_of_explicit_matrices():
    # The same draws, each null as an entry-wise correlation of in × in matrices
    found = read(null_covariance(generators, ["linear1"], 3))
    values, vectors = np.linalg.eigh(COVARIANCE.numpy())
    nfm, weight = WEIGHT.T @ WEIGHT, WEIGHT.numpy()
    expected = {"null_uc_nfa": [], "permuted_uc_nfa": []}
    for draw in range(3):
        source = generators(draw)
        rotation = haar_orthogonal(5, source).numpy()
        haar_frame(9, 5, source)
        order = torch.randperm(5, generator=source).numpy()
        dealt = sum(values[order[k]] * np.outer(vectors[:, k], vectors[:, k]) for k in range(5))
        turned = rotation @ COVARIANCE.numpy() @ rotation.T
        for name, covariance in (("null_uc_nfa", turned), ("permuted_uc_nfa", dealt)):
            agop = torch.from_numpy(weight.T @ covariance @ weight)
            expected[name].append((reference.pearson(nfm, agop), reference.cosine(nfm, agop)))
    for name, pairs in expected.items():
        for kind, drawn in zip(("pearson", "cosine"), zip(*pairs, strict=True), strict=True):
            assert found[f"{name}_{kind}"] == pytest.approx(np.mean(drawn), abs=1e-10)


def test_eigenvalues_dealt_anew_matter_to_aligned_vectors_alone():
    flat = LayerState("linear1", WEIGHT, OTHER, 3 * torch.eye(5, dtype=torch.float64))
    found = read(null_covariance(generators, ["linear1"], 2), flat)
    assert found["permuted_uc_nfa_pearson"] == pytest.approx(1, abs=1e-12)
    left, _, right = torch.linalg.svd(WEIGHT, full_matrices=False)
    spectrum = torch.tensor([1, 0.5, 0.1, 0.01, 0.001]).double()
    aligned = LayerState("linear1", left * spectrum @ right, OTHER, left * spectrum @ left.T)
    own = ansatz_correlations(aligned.weight, aligned.covariance)
    found = read(null_covariance(generators, ["linear1"], 20), aligned)
    assert found["permuted_uc_nfa_cosine"] < own.cosine - 0.1


def test_left_singular_vectors_are_of_weights_and_of_their_change():
    found = read(left_singular_vectors)
    assert found == {
        "uc_left_alignment": left_alignment(WEIGHT, COVARIANCE),
        "c_left_alignment": left_alignment(OTHER, COVARIANCE),
    }
    assert len(set(found.values())) == 2


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
    probe = ansatz_probe(net, INPUTS, layers=["linear1"])
    with torch.no_grad():
        net.linear1.weight.mul_(1 + 1e-7)
    list(probe(net))
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

    probe = ansatz_probe(net, INPUTS, layers=["linear2"], questions=[question])
    list(probe(net))
    [state] = asked
    assert not state.moved.any()
    start = net.linear2.weight.detach().clone()
    with torch.no_grad():
        net.linear2.weight.mul_(1.5)
    found = list(probe(net))
    state = asked[1]
    assert state.name == "linear2"
    torch.testing.assert_close(state.moved, 0.5 * start)
    torch.testing.assert_close(state.weight, 1.5 * start)
    assert {reading.layer for reading in found} == {"linear2"}
    with torch.no_grad():
        net.linear2.weight.copy_(-net.linear2.weight.abs())
    list(probe(net))
    assert len(asked) == 2
    list(ansatz_probe(net, INPUTS, layers=["linear1"], questions=[question])(net))
    assert len(asked) == 2  # behind linear2 no unit is active


def test_before_the_first_step_there_is_no_change_to_ask_about():
    still = LayerState("linear1", WEIGHT, torch.zeros_like(WEIGHT), COVARIANCE)
    nulls = read(null_covariance(generators, ["linear1"], 2), still)
    kinds = ("null_uc_nfa", "permuted_uc_nfa")
    assert set(nulls) == {f"{kind}_{form}" for kind in kinds for form in ("pearson", "cosine")}
    moving = read(null_covariance(generators, ["linear1"], 2))
    assert nulls == {measure: moving[measure] for measure in nulls}
    assert set(read(left_singular_vectors, still)) == {"uc_left_alignment"}
    assert read(centred_share, still) == {"centred_share": 0}
    assert {measure[:6] for measure, _ in read(powers, still)} == {"uc_nfa"}
