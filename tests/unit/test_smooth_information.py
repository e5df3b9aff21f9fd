"""The recursions of smooth activations on the edge of chaos."""

import math

import numpy as np
import pytest
import torch

from feature_alignment.measures.smooth_information import (
    backward_correlations,
    edge_of_chaos,
    forward_distances,
    leading_order_equilibrium,
    mean_field_equilibrium,
)


@pytest.fixture(scope="module")
def edge():
    return edge_of_chaos("tanh", 0.04)


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(100)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def expectation(function, correlation):
    """E[function(z) function(z′)] for normal z, z′ of a correlation, on a grid of both."""
    z = NODES[:, None]
    other = correlation * z + math.sqrt(1 - correlation**2) * NODES[None]
    return float((WEIGHTS[:, None] * WEIGHTS * function(z) * function(other)).sum())


def slope(x):
    return 1 - np.tanh(x) ** 2


def test_the_edge_is_where_both_conditions_hold(edge):
    deviation = math.sqrt(edge.variance)
    squares = WEIGHTS @ np.tanh(deviation * NODES) ** 2
    assert edge.bias_variance == pytest.approx(0.04, rel=1e-10)
    length = edge.bias_variance + edge.weight_variance * squares
    assert length == pytest.approx(edge.variance, rel=1e-10)
    stretch = edge.weight_variance * (WEIGHTS @ slope(deviation * NODES) ** 2)
    assert stretch == pytest.approx(1, rel=1e-10)


@pytest.mark.parametrize("first", [-0.5, 0.0, 0.3, 0.6, 0.99])
def test_the_recursions_are_expectations_over_two_normal_variables(edge, first):
    deviation, correlation, products = math.sqrt(edge.variance), first, []
    for distance in forward_distances(first, 6, edge).tolist():
        assert distance == pytest.approx(1 - correlation, rel=1e-10)
        products.append(
            edge.weight_variance * expectation(lambda z: slope(deviation * z), correlation)
        )
        mean = expectation(lambda z: np.tanh(deviation * z), correlation)
        correlation = (edge.bias_variance + edge.weight_variance * mean) / edge.variance
    found = backward_correlations(forward_distances(first, 6, edge), edge)
    expected = [math.prod(products[place:5]) for place in range(6)]
    assert found.tolist() == pytest.approx(expected, rel=1e-10)


def test_the_backward_correlation_is_the_derivative_of_the_last_forward_one(edge):
    first = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
    distances = forward_distances(first, 9, edge)
    (derivative,) = torch.autograd.grad(-distances[-1].sum(), first)
    found = backward_correlations(distances.detach(), edge)[0]
    torch.testing.assert_close(derivative, found, rtol=1e-10, atol=0)


def test_the_asymptotic_laws(edge):
    deviation = math.sqrt(edge.variance)
    curvature = WEIGHTS @ (-2 * np.tanh(deviation * NODES) * slope(deviation * NODES)) ** 2
    beta = 2 / (edge.weight_variance * edge.variance * curvature)  # f″(1) = σ_w² q E[φ″²]
    assert edge.beta == pytest.approx(beta, rel=1e-10)
    distances = forward_distances(0.3, 4000, edge)
    assert distances[-1].item() * 4000 == pytest.approx(beta, rel=0.02)
    ratios = [
        mean_field_equilibrium(0.3, n, edge) / leading_order_equilibrium(n, edge)
        for n in (40, 400, 4000)
    ]
    assert abs(ratios[2] - 1) < abs(ratios[1] - 1) < abs(ratios[0] - 1)
    growth = leading_order_equilibrium(80, edge) / leading_order_equilibrium(10, edge)
    assert growth == pytest.approx(4)


def test_what_is_not_on_the_edge_is_an_error(edge):
    with pytest.raises(ValueError, match="unknown smooth activation 'relu'.*tanh"):
        edge_of_chaos("relu", 0.04)
    for variance in (0.0, 10.0):
        with pytest.raises(ValueError, match="expected a bias variance from 0 to"):
            edge_of_chaos("tanh", variance)
    with pytest.raises(ValueError, match="correlations in"):
        forward_distances(1.5, 3, edge)
