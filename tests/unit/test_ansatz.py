import pytest
import torch
from test_preactivations import INPUTS, network

from feature_alignment.measures.ansatz import (
    ansatz_correlations,
    average_gradient_outer_product,
    matrix_correlations,
    neural_feature_matrix,
)
from feature_alignment.tangents.preactivations import preactivation_covariances

from reference import ansatz as reference

DRAW = torch.Generator().manual_seed(3)
WEIGHT = torch.randn(5, 9, dtype=torch.float64, generator=DRAW)
FACTOR = torch.randn(5, 4, dtype=torch.float64, generator=DRAW)
COVARIANCE = FACTOR @ FACTOR.T


def test_agop_equals_gradients_with_respect_to_layer_inputs():
    net = network()
    found = preactivation_covariances(net, [INPUTS])
    for layer, value in found.items():
        agop = average_gradient_outer_product(net.get_submodule(layer).weight.detach(), value)
        expected = reference.agop(net, INPUTS, layer)
        assert (agop - expected).norm() < 1e-12 * expected.norm()


def test_traces_equal_the_explicit_matrices():
    nfm = neural_feature_matrix(WEIGHT)
    agop = average_gradient_outer_product(WEIGHT, COVARIANCE)
    found = ansatz_correlations(WEIGHT, COVARIANCE)
    # 1e-12: both routes cancel the mean of 81 entries of order one
    assert found.pearson == pytest.approx(reference.pearson(nfm, agop), abs=1e-12)
    assert found.cosine == pytest.approx(reference.cosine(nfm, agop), abs=1e-12)
    assert matrix_correlations(nfm, agop).pearson == pytest.approx(found.pearson, abs=1e-12)
    assert matrix_correlations(nfm, agop).cosine == pytest.approx(found.cosine, abs=1e-12)


def test_identity_covariance_gives_perfect_correlation():
    found = ansatz_correlations(WEIGHT, torch.eye(5, dtype=torch.float64))
    assert found.cosine == pytest.approx(1, abs=1e-12)
    assert found.pearson == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(scale):
    expected = ansatz_correlations(WEIGHT, COVARIANCE)
    found = ansatz_correlations(WEIGHT.float() * scale, COVARIANCE.float() / scale)
    assert found.pearson == pytest.approx(expected.pearson, abs=1e-5)  # inputs are float32


def test_an_unrelated_covariance_correlates_less_than_the_weight_s_own():
    own = ansatz_correlations(WEIGHT, WEIGHT @ WEIGHT.T).cosine
    assert ansatz_correlations(WEIGHT, COVARIANCE).cosine < own


def test_refuses_a_zero_weight_and_a_wrong_shape():
    with pytest.raises(ValueError, match="weight is zero"):
        ansatz_correlations(torch.zeros(5, 9), COVARIANCE)
    with pytest.raises(ValueError, match=r"\(5, 5\).*got \(4, 4\)"):
        ansatz_correlations(WEIGHT, COVARIANCE[:4, :4])
