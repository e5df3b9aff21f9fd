"""Early alignment where the covariance of the inputs is turned against the labels."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import complete, make_run

from feature_alignment.models.quadratic import quadratic_network
from feature_alignment.papers.beaglehole2024.early_alignment import power_law
from feature_alignment.papers.beaglehole2024.reversing import (
    CONDITIONS,
    teacher_of,
    turned_covariance,
)
from feature_alignment.plots.draw import find_figure
from feature_alignment.tables import read_table

SETTINGS = {
    "sizes": [{"dimension": 6, "width": 24}, {"dimension": 8, "width": 16}],
    "alpha": 1.0,
    "label_alpha": 0.25,
    "balances": [0.0, 0.5, 1.0],
    "output_scale": 1e-6,
}


def test_the_covariance_goes_from_one_order_to_the_other():
    values = power_law(5, 1.0)
    assert torch.equal(turned_covariance(values, 0.0), values)
    assert torch.equal(turned_covariance(values, 1.0), values.flip(0))
    half = turned_covariance(values, 0.5)
    torch.testing.assert_close(half, half.flip(0))
    for balance in (0.0, 0.3, 1.0):
        assert turned_covariance(values, balance).mean().item() == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match=r"a balance in \[0, 1\], got 1.5"):
        turned_covariance(values, 1.5)


@pytest.mark.parametrize("balance", [0.0, 0.4, 1.0])
def test_labels_say_the_same_of_the_inputs_whatever_their_covariance(balance):
    """Fourth moments of Gaussian inputs, summed over all pairings, are the second route."""
    covariance, residual = turned_covariance(power_law(4, 1.0), balance), power_law(4, 0.25)
    teacher, sigma = teacher_of(covariance, residual), torch.diag(covariance)
    pairings = ("ij,kl->ijkl", "ik,jl->ijkl", "il,jk->ijkl")
    fourth = sum(torch.einsum(pairing, sigma, sigma) for pairing in pairings)
    found = torch.einsum("ij,ijkl->kl", teacher, fourth) - (teacher * sigma).sum() * sigma
    expected = torch.diag(residual) * (found[0, 0] / residual[0])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    mean = (teacher * sigma).sum()
    variance = torch.einsum("ij,kl,ijkl->", teacher, teacher, fourth) - mean**2
    assert variance.item() == pytest.approx(1, rel=1e-10)


def measured(folder, seed=0):
    run = make_run("reversing", SETTINGS, folder, seed=seed, paper="beaglehole2024")
    complete(run)
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("run"))


def test_the_table_holds_what_matrices_written_out_give(finished):
    table = read_table(finished.out, CONDITIONS)
    wide = table.pivot(index=list(CONDITIONS), columns="measure", values="value")
    assert len(wide) == 6
    for (dimension, width, balance), row in wide.iterrows():
        draw = finished.generator("init", 1, int(dimension), int(width))
        readout = torch.randn(int(width), dtype=torch.float64, generator=draw)
        draw = finished.generator("init", 0, int(dimension), int(width))
        weight = quadratic_network(int(dimension), readout, draw).linear1.weight.detach().numpy()
        gram = weight.T @ np.diag(readout.numpy() ** 2) @ weight
        sigma = np.diag(turned_covariance(power_law(int(dimension), 1.0), balance).numpy())
        residual = np.diag(power_law(int(dimension), 0.25).numpy())
        nfm = residual @ gram @ residual
        agop = residual @ gram @ sigma @ gram @ residual
        cosine = (nfm * agop).sum() / np.linalg.norm(nfm) / np.linalg.norm(agop)
        assert row["observed_cosine"] == pytest.approx(cosine, abs=1e-5)  # the outputs are tiny
        error = row["predicted_cosine"] / row["observed_cosine"] - 1
        assert row["relative_error"] == pytest.approx(error, abs=1e-12)
        assert row["unrelated_cosine"] != row["observed_cosine"]


def test_the_same_seed_gives_the_same_bytes(finished, tmp_path):
    assert measured(tmp_path).out.read_bytes() == finished.out.read_bytes()


def test_the_figure_is_drawn(finished):
    table = read_table(finished.out, CONDITIONS)
    two = pd.concat([table, table.assign(seed=1, value=table["value"] * 0.99)])
    drawn = find_figure("beaglehole2024/b6r_reversing").figure(two.reset_index(drop=True))
    assert len([axes for axes in drawn.axes if axes.axison]) == 3
