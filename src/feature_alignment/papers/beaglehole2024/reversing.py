"""Turn the inputs' covariance against the labels, and predict how the alignment follows (B6)."""

import math
from functools import partial

import torch
from torch import Tensor

from feature_alignment.measures.ansatz import matrix_correlations
from feature_alignment.measures.early_alignment import (
    early_feature_matrices,
    expected_matrices,
    predicted_cosine,
    unrelated_correlations,
)
from feature_alignment.models.quadratic import quadratic_network
from feature_alignment.papers.beaglehole2024.early_alignment import power_law
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.readings import Measurement, Reading, taken

DTYPE = "float64"
CONDITIONS = ("dimension", "width", "balance")
WEIGHTS, READOUT = 0, 1
"""What the purpose ``init`` draws."""


def measure(run: Run) -> None:
    """Measure every network at every balance and write the table."""
    settings = run.settings
    parts = {
        (size["dimension"], size["width"], balance): partial(measure_network, run, size, balance)
        for size in settings["sizes"]
        for balance in settings["balances"]
    }
    run.complete_parts(CONDITIONS, parts)


def measure_network(
    run: Run, size: dict, balance: float, _: Checkpointing | None = None
) -> list[Measurement]:
    """Measure one quadratic network at its first step, with infinitely many Gaussian examples.

    The covariance of the inputs goes from one basis to another, in which the order of its
    eigenvalues is reversed, while what the labels say of the inputs, R = E[y x xᵀ], stays. Networks
    of one seed and size share their weights over balances. Nothing is trained.

    Returns:
        ``observed_cosine`` of centred NFM and AGOP, ``predicted_cosine`` from free probability,
        ``relative_error``, (predicted − observed) / observed, and ``unrelated_cosine``, with one
        of the matrices turned at random; see :mod:`feature_alignment.measures.early_alignment`.

    References:
        Beaglehole et al. (2024), data on which the alignment reverses, of which we know that a
        balance parameter moves the centred correlation as predicted. Departs from: the
        construction is ours.
    """
    settings = run.settings
    dimension, width = size["dimension"], size["width"]
    draw = run.generator("init", READOUT, dimension, width)
    readout = torch.randn(width, dtype=torch.float64, generator=draw)
    readout *= settings["output_scale"] / math.sqrt(width)
    draw = run.generator("init", WEIGHTS, dimension, width)
    network = quadratic_network(dimension, readout, draw).to(run.device)
    covariance = turned_covariance(power_law(dimension, settings["alpha"]), balance)
    residual = power_law(dimension, settings["label_alpha"])
    teacher = teacher_of(covariance, residual).to(run.device)
    weight, a = network.linear1.weight.detach(), network.linear2.weight[0]
    start = expected_matrices(weight, a, teacher, torch.diag(covariance).to(run.device))
    matrices = early_feature_matrices(start)
    observed, predicted = matrix_correlations(*matrices).cosine, predicted_cosine(start)
    unrelated = unrelated_correlations(*matrices, run.generator("probe", dimension)).cosine
    values = {
        "observed_cosine": observed,
        "predicted_cosine": predicted,
        "relative_error": (predicted - observed) / observed,
        "unrelated_cosine": unrelated,
    }
    return taken(Reading(name, value) for name, value in values.items())


def turned_covariance(eigenvalues: Tensor, balance: float) -> Tensor:
    """Return the diagonal of (1 − β) Λ + β Λ′, (d,), where Λ′ is Λ in the basis reversed.

    Args:
        eigenvalues: Of Λ, in falling order, (d,).
        balance: β, in [0, 1].

    Raises:
        ValueError: If the balance is outside [0, 1].
    """
    if not 0 <= balance <= 1:
        raise ValueError(f"expected a balance in [0, 1], got {balance}")
    return (1 - balance) * eigenvalues + balance * eigenvalues.flip(0)


def teacher_of(covariance: Tensor, residual: Tensor) -> Tensor:
    """Return the teacher A of labels y = xᵀ A x − E[xᵀ A x] with E[y x xᵀ] ∝ R.

    For Gaussian x of covariance Σ, Isserlis' theorem gives E[y x xᵀ] = 2 Σ A Σ, so that A is
    proportional to Σ⁻¹ R Σ⁻¹; it is scaled such that labels have the variance 2 tr((A Σ)²) = 1.

    Args:
        covariance: The diagonal of Σ, (d,).
        residual: The diagonal of R, (d,).

    Returns:
        A, (d, d), diagonal.
    """
    teacher = residual / covariance.square()
    return torch.diag(teacher / (2 * (teacher * covariance).square().sum()).sqrt())
