import pytest
import torch
from test_complexity import SETTINGS
from tiny_runs import changed, complete, make_run, random_dataset, values

from feature_alignment.measures.overparametrization import neyshabur_capacity
from feature_alignment.models.mlp import mlp
from feature_alignment.papers.baratin2021.overparametrization import capacity_probe

INPUTS, WIDTH, CLASSES = 5, 7, 3


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def frobenius(matrix):
    """The second route: entry by entry."""
    return sum(entry**2 for row in matrix.tolist() for entry in row) ** 0.5


def test_terms_equal_those_written_out():
    u, v, start = draw(WIDTH, INPUTS), draw(CLASSES, WIDTH, seed=1), draw(WIDTH, INPUTS, seed=2)
    found = neyshabur_capacity(u, v, start)
    largest = torch.linalg.eigvalsh(start.T @ start)[-1].item() ** 0.5
    expected = (largest * frobenius(v), frobenius(u - start) * frobenius(v), WIDTH**0.5)
    assert found == pytest.approx(expected, rel=1e-10)


def test_untrained_hidden_weights_have_no_distance_and_their_spectral_norm():
    """The null: at U = U₀ only ‖U₀‖₂ ‖V‖_F and √h are left."""
    u, v = torch.diag(torch.tensor([3.0, -2.0, 1.0])), torch.ones(4, 3)
    assert neyshabur_capacity(u, v, u) == pytest.approx((3 * 12**0.5, 0, 3**0.5), rel=1e-12)


def test_a_unit_that_is_doubled_grows_the_width_alone_at_initialisation():
    """Each unit split into two that share its outgoing weight: ‖V‖_F falls by √2, ‖U₀‖₂ grows."""
    u, v = draw(WIDTH, INPUTS), draw(CLASSES, WIDTH, seed=1)
    once = neyshabur_capacity(u, v, u)
    twice = neyshabur_capacity(torch.cat([u, u]), torch.cat([v, v], dim=1) / 2, torch.cat([u, u]))
    assert twice.initial == pytest.approx(once.initial, rel=1e-12)
    assert twice.width == pytest.approx(2**0.5 * once.width, rel=1e-12)


def test_float32_weights_are_measured_in_float64():
    huge = torch.full((1, 1), 1e30)  # the squares overflow float32
    assert neyshabur_capacity(huge, huge, 0 * huge).distance == pytest.approx(1e60, rel=1e-6)


def test_shapes_that_do_not_fit_are_errors():
    u, v = draw(WIDTH, INPUTS), draw(CLASSES, WIDTH)
    with pytest.raises(ValueError, match=r"\(h, d\) and \(C, h\), got \[\(7, 5\), \(7, 3\)\]"):
        neyshabur_capacity(u, v.T, u)
    with pytest.raises(ValueError, match=r"initial weights of shape \(7, 5\), got \(7, 4\)"):
        neyshabur_capacity(u, v, u[:, :4])


def test_the_probe_reads_both_layers():
    options = {"bias": True, "activation": "relu", "initialisation": "he_normal"}
    generator = torch.Generator().manual_seed(4)
    network = mlp(INPUTS, 1, WIDTH, CLASSES, **options, generator=generator).double()
    probe, start = capacity_probe(network), network.linear1.weight.detach().clone()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1
    now = neyshabur_capacity(network.linear1.weight, network.linear2.weight, start)
    assert {reading.measure: reading.value for reading in probe(network)} == {
        "neyshabur_capacity": sum(now),
        "neyshabur_initial": now.initial,
        "neyshabur_distance": now.distance,
    }


def test_the_training_is_that_of_figure_6(tmp_path):
    """Both experiments give the same numbers where they measure the same."""
    dataset = random_dataset(tmp_path, "grey", (1, 3, 3), n_train=30, n_test=10, classes=CLASSES)
    found = {}
    for experiment in ("complexity", "overparametrization"):
        settings = changed(SETTINGS, draws="shared")
        run = make_run(experiment, settings, tmp_path / experiment, dataset)
        complete(run)
        found[experiment] = values(run)
    before, now = found.values()
    shared = set(before) & set(now)
    assert {place[1] for place in shared} == {
        *("loss", "accuracy", "path_complexity", "path_complexity_coarse"),
        *("path_length", "kernel_trace"),
    }
    assert {place: before[place] for place in shared} == {place: now[place] for place in shared}
    start = {place[1]: value for place, value in now.items() if place[0] == 0}
    assert start["neyshabur_distance"] == 0
