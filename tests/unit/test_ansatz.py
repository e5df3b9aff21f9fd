from itertools import permutations

import numpy as np
import pytest
import torch
from test_preactivations import INPUTS, network

from feature_alignment.measures.ansatz import (
    ansatz_correlations,
    average_gradient_outer_product,
    cross_correlations,
    left_alignment,
    matrix_correlations,
    neural_feature_matrix,
    power_correlations,
    unnormalised_alignment,
)
from feature_alignment.measures.orthogonal import haar_orthogonal
from feature_alignment.tangents.preactivations import preactivation_covariances

from reference import ansatz as reference

DRAW = torch.Generator().manual_seed(3)
WEIGHT, OTHER = torch.randn(2, 5, 9, dtype=torch.float64, generator=DRAW)
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


def explicit_left_alignment(weight, covariance):
    """Singular vectors one pair at a time; chance and the best are over all orders of K's."""
    left, singular, _ = np.linalg.svd(weight.numpy())
    values, vectors = np.linalg.eigh(covariance.numpy())
    squares = singular**2
    overlaps = (left[:, : len(squares)].T @ vectors) ** 2
    orders = [values[list(order)] for order in permutations(range(len(values)))]
    chance = np.mean([squares @ overlaps @ values for values in orders])
    best = max(squares @ values[: len(squares)] for values in orders)
    return (squares @ overlaps @ values - chance) / (best - chance)


@pytest.mark.parametrize("weight", [WEIGHT, OTHER[:, :3], 1e-12 * WEIGHT])
def test_left_alignment_is_that_of_pairs_of_vectors(weight):
    expected = explicit_left_alignment(weight, COVARIANCE)
    assert left_alignment(weight, COVARIANCE) == pytest.approx(expected, abs=1e-10)


def test_left_alignment_is_1_with_the_same_vectors_and_0_over_random_ones():
    left, _, right = torch.linalg.svd(WEIGHT, full_matrices=False)
    falling = torch.tensor([5, 3, 2, 1, 0.1]).double()
    weight, covariance = left * falling @ right, left * falling.square() @ left.T
    assert left_alignment(weight, covariance) == pytest.approx(1, abs=1e-12)
    assert left_alignment(weight, left * falling.flip(0) @ left.T) < -0.1
    drawn = []
    for seed in range(400):
        turned = haar_orthogonal(5, torch.Generator().manual_seed(seed))
        drawn.append(left_alignment(weight, turned @ covariance @ turned.T))
    assert np.mean(drawn) == pytest.approx(0, abs=5 * np.std(drawn) / 20)


@pytest.mark.parametrize("changes", [{"covariance": torch.eye(5)}, {"weight": torch.eye(5)}])
def test_left_alignment_wants_vectors_that_can_be_told_apart(changes):
    with pytest.raises(ValueError, match="multiple of the identity"):
        left_alignment(**{"weight": WEIGHT, "covariance": COVARIANCE} | changes)


def test_correlation_across_two_weights_equals_the_explicit_matrices():
    found = cross_correlations(WEIGHT, OTHER, COVARIANCE)
    pair = WEIGHT.T @ WEIGHT, OTHER.T @ COVARIANCE @ OTHER
    assert found.pearson == pytest.approx(reference.pearson(*pair), abs=1e-12)
    assert found.cosine == pytest.approx(reference.cosine(*pair), abs=1e-12)
    own = cross_correlations(WEIGHT, WEIGHT, COVARIANCE)
    assert own.pearson == pytest.approx(ansatz_correlations(WEIGHT, COVARIANCE).pearson, abs=1e-12)


COMPLEX = WEIGHT.to(torch.complex128)
NAN = COVARIANCE * float("nan")


@pytest.mark.parametrize(
    "correlate",
    [
        lambda: ansatz_correlations(COMPLEX, COVARIANCE),
        lambda: ansatz_correlations(WEIGHT, NAN),
        lambda: unnormalised_alignment(WEIGHT, NAN),
        lambda: unnormalised_alignment(COMPLEX, COVARIANCE),
        lambda: cross_correlations(WEIGHT, COMPLEX, COVARIANCE),
        lambda: power_correlations(WEIGHT, NAN, [1]),
        lambda: matrix_correlations(NAN, COVARIANCE),
    ],
)
def test_what_is_not_finite_or_not_real_is_refused(correlate):
    with pytest.raises(ValueError, match="complex or not finite"):
        correlate()


def test_entries_that_are_all_the_same_have_no_correlation():
    for weight in (torch.ones_like(WEIGHT), WEIGHT[:, :1]):
        with pytest.raises(ValueError, match="all entries of the NFM are the same"):
            ansatz_correlations(weight, COVARIANCE)
    with pytest.raises(ValueError, match="all entries of the second matrix are the same"):
        matrix_correlations(COVARIANCE, torch.zeros_like(COVARIANCE))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected a weight"):
        unnormalised_alignment(WEIGHT, COVARIANCE[:2, :2])
    with pytest.raises(ValueError, match="expected a weight"):
        ansatz_correlations(WEIGHT[:, :, None, None], COVARIANCE)
    with pytest.raises(ValueError, match="two matrices of one shape"):
        matrix_correlations(COVARIANCE, COVARIANCE.flatten())
