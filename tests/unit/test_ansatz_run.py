import pytest
import torch
from test_preactivations import INPUTS, network

from feature_alignment.data.loading import Examples
from feature_alignment.measures.ansatz import ansatz_correlations
from feature_alignment.probes.accuracy import fit
from feature_alignment.probes.ansatz import ansatz
from feature_alignment.tangents.preactivations import preactivation_covariances
from feature_alignment.training.losses import cross_entropy

MEASURES = ["uc_nfa_pearson", "uc_nfa_cosine", "c_nfa_pearson", "c_nfa_cosine"]


def readings(instrument, net):
    return {(r.layer, r.measure): r.value for r in instrument(net)}


def move(net, scale=0.1):
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
            parameter += scale * noise


def test_centred_correlations_use_the_change_since_the_start():
    net = network()
    start = net.linear2.weight.detach().clone()
    instrument = ansatz(net, INPUTS)
    move(net)
    found = readings(instrument, net)
    weight = net.linear2.weight.detach()
    covariance = preactivation_covariances(net, [INPUTS])["linear2"]
    expected = ansatz_correlations(weight - start, covariance)
    assert found["linear2", "c_nfa_pearson"] == pytest.approx(expected.pearson, rel=1e-12)
    change = torch.linalg.norm(weight - start) / torch.linalg.norm(weight)
    assert found["linear2", "weight_change"] == pytest.approx(change.item(), rel=1e-12)
    assert {layer for layer, _ in found} == {"linear1", "linear2", "linear3"}


def test_before_the_first_step_nothing_is_centred():
    net = network()
    measures = {measure for _, measure in readings(ansatz(net, INPUTS), net)}
    assert measures == {"weight_change", *MEASURES[:2]}


def test_a_dead_layer_has_no_correlations_and_stops_nothing(caplog):
    net = network()
    instrument = ansatz(net, INPUTS)
    move(net)
    with torch.no_grad():
        net.linear2.weight.copy_(-net.linear2.weight.abs())  # no unit of layer 2 is ever active
    found = readings(instrument, net)
    assert {measure for layer, measure in found if layer == "linear2"} == {"weight_change"}
    assert {measure for layer, measure in found if layer == "linear3"} == {"weight_change"}
    assert "linear2 is dead" in caplog.text


def test_fit_reads_every_split():
    net = network().float().eval()
    inputs, labels = INPUTS.float(), torch.arange(len(INPUTS)) % 3
    splits = {"train": Examples(inputs[:6], labels[:6]), "test": Examples(inputs[6:], labels[6:])}
    found = {(r.split, r.measure): r.value for r in fit(cross_entropy, **splits)(net)}
    expected = cross_entropy(net(inputs[6:]), labels[6:]).item()
    assert found["test", "loss"] == pytest.approx(expected, rel=1e-6)
    assert set(found) == {(s, m) for s in ("train", "test") for m in ("loss", "accuracy")}
