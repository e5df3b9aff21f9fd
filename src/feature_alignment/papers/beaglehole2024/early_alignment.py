"""Predict how weights and gradients of a quadratic network align at the first step (B6)."""

import itertools
import math
from functools import partial

import torch
from torch import Tensor, nn

from feature_alignment.measures.ansatz import Correlations, ansatz_correlations, matrix_correlations
from feature_alignment.measures.early_alignment import (
    early_feature_matrices,
    expected_matrices,
    initial_matrices,
    predicted_cosine,
    unrelated_correlations,
)
from feature_alignment.models.quadratic import quadratic_network
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.losses import mse
from feature_alignment.training.optimizers import SGD
from feature_alignment.training.readings import Measurement, Reading, taken

DTYPE = "float64"
CONDITIONS = ("dimension", "width", "examples", "alpha", "epsilon", "readout")
INPUTS, ROTATION = 0, 1
"""What the purpose ``probe`` draws."""
WEIGHTS, READOUT = 0, 1
"""What the purpose ``init`` draws."""


def measure(run: Run) -> None:
    """Measure every network of the grid and write the table.

    In the table's column ``examples``, ``inf`` is what the settings call ``null``: averages over
    examples are expectations.
    """
    settings = run.settings
    grid = itertools.product(
        settings["sizes"], settings["alphas"], settings["epsilons"], settings["readouts"]
    )
    parts = {}
    for size, alpha, epsilon, readout in grid:
        examples = math.inf if size["examples"] is None else size["examples"]
        values = (size["dimension"], size["width"], examples, alpha, epsilon, readout)
        parts[values] = partial(measure_network, run, *values)
    run.complete_parts(CONDITIONS, parts)


def measure_network(
    run: Run,
    dimension: int,
    width: int,
    examples: float,
    alpha: float,
    epsilon: float,
    readout: str,
    _: Checkpointing | None = None,
) -> list[Measurement]:
    """Measure one network at initialisation, on Gaussian inputs with labels of a teacher.

    Networks of one seed and size share the weights and, up to their covariance, the inputs and
    the teacher, so that their differences are not luck. Nothing is trained beyond one step:
    nothing is checkpointed.

    Returns:
        ``observed_cosine`` and ``observed_pearson`` of the first derivatives of centred NFM and
        AGOP that are not zero, F̈ and G̈ (see
        :mod:`feature_alignment.measures.early_alignment`); ``predicted_cosine`` from free
        probability, with ``relative_error``, (predicted − observed) / observed;
        ``unrelated_cosine`` and ``unrelated_pearson`` of F̈ in a random basis and G̈. With finitely
        many examples, up to the dimension ``check``: ``trained_cosine`` of centred NFM and AGOP
        after one step of gradient descent, and ``trained_error``, |trained − observed|.

    References:
        beaglehole2024, early-time prediction in a quadratic network. Departs from: the settings
        are ours, as are the readout's distributions, the labels and the output's scale.
    """
    settings = run.settings
    network = build_network(run, dimension, width, readout).to(run.device)
    weight, a = network.linear1.weight.detach(), network.linear2.weight[0]
    eigenvalues = power_law(dimension, alpha)
    teacher = quadratic_teacher(eigenvalues, epsilon, run.generator("labels", dimension))
    eigenvalues, teacher = eigenvalues.to(run.device), teacher.to(run.device)
    trained = None
    if math.isinf(examples):
        start = expected_matrices(weight, a, teacher, torch.diag(eigenvalues))
    else:
        draw = run.generator("probe", INPUTS, dimension, examples)
        inputs = torch.randn(examples, dimension, dtype=torch.float64, generator=draw)
        inputs = inputs.to(run.device) * eigenvalues.sqrt()
        labels = teacher_labels(teacher, eigenvalues, inputs)
        start = initial_matrices(weight, a, inputs, labels)
        if dimension <= settings["check"]:
            trained = correlations_after_step(network, inputs, labels, settings["step"]).cosine
    matrices = early_feature_matrices(start)
    observed = matrix_correlations(*matrices)
    predicted = predicted_cosine(start)
    unrelated = unrelated_correlations(*matrices, run.generator("probe", ROTATION, dimension))
    values = {
        "observed_cosine": observed.cosine,
        "observed_pearson": observed.pearson,
        "predicted_cosine": predicted,
        "relative_error": (predicted - observed.cosine) / observed.cosine,
        "unrelated_cosine": unrelated.cosine,
        "unrelated_pearson": unrelated.pearson,
    }
    if trained is not None:
        values["trained_cosine"] = trained
        values["trained_error"] = abs(trained - observed.cosine)
    return taken(Reading(name, value) for name, value in values.items())


def build_network(run: Run, dimension: int, width: int, readout: str) -> nn.Sequential:
    """Build the run's network of one size, with the readout times ``output_scale`` / √width."""
    settings = run.settings
    a = draw_readout(
        readout,
        width,
        settings["degrees_of_freedom"],
        run.generator("init", READOUT, dimension, width),
    )
    a *= settings["output_scale"] / math.sqrt(width)
    return quadratic_network(dimension, a, run.generator("init", WEIGHTS, dimension, width))


def draw_readout(
    distribution: str, width: int, degrees_of_freedom: int, generator: torch.Generator
) -> Tensor:
    """Draw the readout a, (width,), with independent entries of mean 0 and variance 1.

    ``normal`` readouts are Gaussian. ``student_t`` divides the same Gaussian numbers by
    √(χ²_ν / (ν − 2)), ν being the degrees of freedom: moments of order ν and above are infinite,
    those of a² in M of order ν / 2 and above.

    Args:
        distribution: ``normal`` or ``student_t``.
        width: Number of entries.
        degrees_of_freedom: ν, for ``student_t`` only; at least 3, for the variance to be finite.
        generator: Source of the numbers.

    Raises:
        ValueError: If the distribution is unknown or ν is less than 3.
    """
    if distribution not in ("normal", "student_t"):
        raise ValueError(
            f"unknown distribution {distribution!r} of the readout; expected normal or student_t"
        )
    if degrees_of_freedom < 3:
        raise ValueError(
            f"expected at least 3 degrees of freedom, for a variance to exist, got "
            f"{degrees_of_freedom}"
        )
    normal = torch.randn(width, dtype=torch.float64, generator=generator)
    if distribution == "normal":
        return normal
    others = torch.randn(width, degrees_of_freedom, dtype=torch.float64, generator=generator)
    return normal / (others.square().sum(dim=1) / (degrees_of_freedom - 2)).sqrt()


def power_law(dimension: int, alpha: float) -> Tensor:
    """Return the eigenvalues λ_j ∝ j^−α of the inputs' covariance, (d,), with mean 1."""
    eigenvalues = torch.arange(1, dimension + 1, dtype=torch.float64) ** -alpha
    return eigenvalues / eigenvalues.mean()


def quadratic_teacher(eigenvalues: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Draw the teacher A_ε of labels y = xᵀ A_ε x − E[xᵀ A_ε x].

    For Gaussian x of covariance Σ, Isserlis' theorem gives E[R] = E[y x xᵀ] = 2 Σ A Σ. With B a
    random symmetric Gaussian matrix, independent of Σ, and Frobenius norms,

        A_ε ∝ (1 − ε) Σ⁻¹ / ‖Σ‖ + ε Σ⁻¹ B Σ⁻¹ / ‖B‖,
        E[R] ∝ 2 (1 − ε) Σ / ‖Σ‖ + 2 ε B / ‖B‖,

    of which both parts have the norm 2: at ε = 0 the labels' R is in expectation proportional to
    Σ, at ε = 1 independent of Σ and indefinite. A_ε is scaled such that labels have the variance
    2 tr((A Σ)²) = 1.

    The mean over n examples fluctuates around its expectation, of norm near
    √(E[y²] tr(Σ)² / n) = d / √n, and most of it where Σ is large. The labels' R is mostly such
    noise, whatever ε, unless n is much greater than d² tr((A Σ)²) before scaling: than d² if
    α = 0, and for ε > 0 the more the greater α is.

    Args:
        eigenvalues: Those of Σ, which is diagonal, (d,).
        epsilon: ε, in [0, 1].
        generator: Source of B.

    Returns:
        A_ε, (d, d), symmetric.

    Raises:
        ValueError: If ε is outside [0, 1].
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"expected epsilon in [0, 1], got {epsilon}")
    size = len(eigenvalues)
    gaussian = torch.randn(size, size, dtype=torch.float64, generator=generator)
    independent = gaussian + gaussian.T
    aligned_part = torch.diag(1 / eigenvalues) / eigenvalues.norm()
    independent_part = independent / torch.outer(eigenvalues, eigenvalues) / independent.norm()
    teacher = (1 - epsilon) * aligned_part + epsilon * independent_part
    variance = 2 * (teacher.square() * torch.outer(eigenvalues, eigenvalues)).sum()
    return teacher / variance.sqrt()


def teacher_labels(teacher: Tensor, eigenvalues: Tensor, inputs: Tensor) -> Tensor:
    """Return y = xᵀ A x − tr(A Σ), (n,), of mean 0 over the distribution of the inputs."""
    return ((inputs @ teacher) * inputs).sum(dim=1) - teacher.diagonal() @ eigenvalues


def correlations_after_step(
    network: nn.Sequential, inputs: Tensor, labels: Tensor, step: float
) -> Correlations:
    """Take one step of gradient descent and correlate centred NFM and AGOP.

    Args:
        network: A quadratic network, changed in place.
        inputs: (n, d).
        labels: (n,).
        step: Learning rate, on the squared error averaged over all examples.
    """
    weight = network.linear1.weight
    initial = weight.detach().clone()
    optimizer = SGD([weight], lr=step)
    optimizer.zero_grad()
    mse(network(inputs), labels).backward()
    optimizer.step()
    hidden = network.linear1(inputs).detach().requires_grad_()
    outputs = network.linear2(network.activation1(hidden))
    (gradients,) = torch.autograd.grad(outputs.sum(), hidden)
    return ansatz_correlations(weight.detach() - initial, gradients.T @ gradients)
