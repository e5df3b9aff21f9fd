import math

import pytest
import torch

from feature_alignment.measures.information import (
    KAPPA,
    backward_correlations,
    equilibrium_layer,
    forward_distances,
    leading_order_equilibrium,
    mean_field_equilibrium,
    pair_cosines,
)
from feature_alignment.models.mlp import mlp
from feature_alignment.tangents.capture import layer_passes

from reference import information as reference

DEPTHS = (10, 20, 30, 40, 50, 60, 80, 100, 200, 1000, 10000)
# Equilibrium layers by c^1, made beforehand with another program and rounded as they stand here
CROSSINGS = {
    0.1: (5.1, 8.5, 11.5, 14.2, 16.7, 19.0, 23.3, 27.3, 43.8, 125, 524),
    0.3: (4.6, 8.1, 11.0, 13.7, 16.2, 18.5, 22.8, 26.7, 43.2, 125, 524),
    0.5: (3.9, 7.3, 10.2, 12.9, 15.3, 17.6, 21.9, 25.8, 42.2, 124, 523),
}


@pytest.mark.parametrize("first", CROSSINGS)
def test_the_equilibrium_layers_of_the_table(first):
    distances = forward_distances(first, max(DEPTHS))
    for depth, expected in zip(DEPTHS, CROSSINGS[first], strict=True):
        found = equilibrium_layer(distances[:depth], backward_correlations(distances[:depth]))
        # Half a unit in the last digit, and what the other program lost at great depth
        assert found == pytest.approx(expected, abs=0.051 if depth < 1000 else 0.6)


def test_the_forward_distance_falls_as_kappa_over_the_square_of_the_layer():
    distances = forward_distances(0.1, 10000)
    layers = (10, 20, 50, 100, 1000, 10000)
    found = [distances[layer - 1].item() * layer**2 / KAPPA for layer in layers]
    assert found == pytest.approx([0.32, 0.49, 0.70, 0.82, 0.97, 0.997], abs=0.005)
    assert pytest.approx(44.41, abs=0.005) == KAPPA


@pytest.mark.parametrize("first", [-0.9, 0.0, 0.3, 0.99])
def test_the_recursion_is_the_formula(first):
    forward, backward = reference.correlations(first, 300)
    distances = forward_distances(first, 300)
    expected = torch.tensor([float(1 - c) for c in forward], dtype=torch.float64)
    # The formula itself loses digits where c is near 1
    torch.testing.assert_close(distances, expected, rtol=1e-10, atol=0)
    expected = torch.tensor([float(b) for b in backward], dtype=torch.float64)
    torch.testing.assert_close(backward_correlations(distances), expected, rtol=1e-10, atol=0)
    if first < 0.5:
        expected = reference.crossing([float(c) for c in forward], [float(b) for b in backward])
        assert mean_field_equilibrium(first, 300) == pytest.approx(expected, rel=1e-8)


def test_the_backward_correlation_is_the_derivative_of_the_last_forward_one():
    """By the chain rule: dc^L/dc^l = F′(c^l) ⋯ F′(c^{L−1}) = c̃^l."""
    first = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    distances = forward_distances(first, 12)
    (slope,) = torch.autograd.grad(-distances[-1].sum(), first)
    torch.testing.assert_close(slope, backward_correlations(distances.detach())[0])


def test_one_step_is_the_expectation_over_gaussian_weights():
    draw = torch.Generator().manual_seed(0)
    u, noise = torch.randn(2, 4_000_000, dtype=torch.float64, generator=draw)
    correlation = 0.35
    v = correlation * u + math.sqrt(1 - correlation**2) * noise
    distances = forward_distances(correlation, 2)
    # Four million draws: standard errors below 1e-3
    assert 2 * (u.relu() * v.relu()).mean().item() == pytest.approx(
        1 - distances[1].item(), abs=4e-3
    )
    both = ((u > 0) & (v > 0)).double().mean().item()
    assert 2 * both == pytest.approx(backward_correlations(distances)[0].item(), abs=4e-3)


def test_many_correlations_at_once_are_each_by_itself():
    first = torch.tensor([[-1.0, 0.0], [0.4, 1.0]])
    together = forward_distances(first, 5)
    assert together.shape == (5, 2, 2)
    assert torch.equal(together[:, 1, 0], forward_distances(first[1, 0], 5))
    assert torch.equal(together[:, 1, 1], torch.zeros(5, dtype=torch.float64))
    assert together[0, 0, 0] == 2
    assert torch.equal(backward_correlations(together)[-1], torch.ones(2, 2, dtype=torch.float64))


def test_the_asymptotic_law():
    assert leading_order_equilibrium(1) == pytest.approx(2.136, abs=5e-4)
    assert leading_order_equilibrium(32) == pytest.approx(8 * leading_order_equilibrium(1))
    ratios = [mean_field_equilibrium(0.3, n) / leading_order_equilibrium(n) for n in (100, 10000)]
    assert ratios[0] < ratios[1] < 1
    assert ratios[1] == pytest.approx(1, abs=0.03)


def test_cosines_of_pairs():
    rows = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    rows[2, 1] = 0
    found = pair_cosines(rows)
    assert found.shape == (3, 10)
    assert found.dtype == torch.float64
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    for c in range(3):
        for place, (i, j) in enumerate(pairs):
            a, b = rows[c, i].double(), rows[c, j].double()
            if c == 2 and 1 in (i, j):
                assert found[c, place].isnan()
            else:
                expected = (a @ b / (a.norm() * b.norm())).item()
                assert found[c, place].item() == pytest.approx(expected, rel=1e-12)


def test_the_equilibrium_is_interpolated_in_the_logarithms():
    distances = torch.tensor([1.0, math.exp(-1), math.exp(-3)])
    correlations = torch.tensor([math.exp(-2), math.exp(-2), 1.0])
    # gaps 2, 1, −3
    assert equilibrium_layer(distances, correlations) == pytest.approx(2.25)


def test_the_equilibrium_stays_inside_the_network():
    rising = torch.tensor([0.1, 0.5, 1.0])
    assert equilibrium_layer(torch.tensor([0.1, 0.05, 0.01]), rising) == 1
    assert equilibrium_layer(torch.tensor([2.0, 2.0, 2.0]), rising) == 3
    lost = torch.tensor([-0.01, 0.0, 1.0])  # what sampling can make of a small correlation
    assert 2 < equilibrium_layer(torch.tensor([0.9, 0.5, 0.2]), lost) < 3
    assert mean_field_equilibrium(1.0, 4) == 1


def test_ill_posed_questions_are_errors():
    for first, depth in ((1.1, 5), (float("nan"), 5), (0.5, 0)):
        with pytest.raises(ValueError, match="correlations in .* and a depth"):
            forward_distances(first, depth)
    with pytest.raises(ValueError, match="two vectors of one length"):
        equilibrium_layer(torch.ones(3), torch.ones(4))
    with pytest.raises(ValueError, match="not finite"):
        equilibrium_layer(torch.ones(2), torch.tensor([1.0, math.nan]))


def test_a_wide_network_agrees_with_the_recursion_within_sampling_error():
    """Means over twelve networks of width 1024 and depth 10, in units of their standard error."""
    draw = torch.Generator().manual_seed(3)
    inputs = 0.7 * torch.randn(1, 300, generator=draw) + torch.randn(24, 300, generator=draw)
    cosines = pair_cosines(inputs)
    distances = forward_distances(cosines, 10)
    expected = torch.stack([distances.mean(dim=1), backward_correlations(distances).mean(dim=1)])
    assert 0.2 < cosines.mean() < 0.45
    found = []
    for _ in range(12):
        network = mlp(
            300, 9, 1024, 10, bias=True, activation="relu", initialisation="he_normal",
            generator=draw,
        )  # fmt: skip
        passes, _ = layer_passes(network, inputs)
        forward = [1 - pair_cosines(layer.inputs).mean() for layer in passes]
        backward = [pair_cosines(layer.gradients).mean() for layer in passes]
        found.append(torch.stack([torch.stack(forward), torch.stack(backward)]))
    found = torch.stack(found)
    error = found.std(dim=0) / math.sqrt(len(found))
    off = (found.mean(dim=0) - expected).abs()
    # Twenty values: beyond 4 standard errors by chance in a fiftieth of such tests (t, 11 d.o.f.)
    assert (off <= 4 * error + 1e-6).all()
    assert (error[:, 2:-1] < 0.1 * expected[:, 2:-1]).all()
