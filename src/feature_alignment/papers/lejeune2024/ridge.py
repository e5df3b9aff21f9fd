"""Solve ridge regression on fixed tangent features exactly: no optimiser, no early stopping."""

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_alignment.papers.lejeune2024.pool import Pool, error, load_pool
from feature_alignment.run.context import Run
from feature_alignment.tangents.kernels import tangent_kernel
from feature_alignment.tangents.linearized import LinearizedModel
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.readings import Measurement

DTYPE = "float64"


def measure(run: Run) -> None:
    """Solve the regressions of one curve."""
    pool = load_pool(run)
    parts = {(n,): partial(regress, run, pool, n) for n in run.settings["sizes"]}
    run.complete_parts(["n_train"], parts)


def regress(run: Run, pool: Pool, n: int, _: Checkpointing | None = None) -> list[Measurement]:
    """Fit one-hot labels on the first n images with each ridge and return the errors.

    With the tangent features J of the network at initialisation and its outputs f0, the
    displacement δ minimises ‖Y − f0 − J δ‖² + λ ‖δ‖², where λ is ``ridge`` times the mean of the
    kernel's diagonal. It is found in the dual, δ = Jᵀ (K + λ)⁻¹ (Y − f0), with K = J Jᵀ over
    images and outputs, and put into the linearised model.

    A solution takes seconds: nothing is checkpointed.

    Returns:
        ``error`` on each split, with the place of λ in ``ridges`` as the step.
    """
    network = copy.deepcopy(pool.network).double()
    inputs = pool.train.inputs[:n].double()
    labels = pool.train.labels[:n]
    with torch.no_grad():
        residuals = F.one_hot(labels, pool.classes) - network(inputs)
    kernel = tangent_kernel(network, inputs).reshape(residuals.numel(), -1)
    model = LinearizedModel(network)
    splits = {"train": (inputs, labels)}
    splits |= {name: (e.inputs, e.labels) for name, e in pool.selection.items()}
    model = model.float()
    passes = {name: (model.base_pass(x.float()), y) for name, (x, y) in splits.items()}
    measurements = []
    for step, ridge in enumerate(run.settings["ridges"]):
        coefficients = dual_solution(kernel, residuals, ridge)
        set_displacements(model, feature_sum(network, inputs, coefficients))
        for split, (base, expected) in passes.items():
            value = error(model, base, expected)
            measurements.append(Measurement(step, 0.0, "error", value, split=split))
        measurements.append(Measurement(step, 0.0, "ridge", ridge))
    return measurements


def dual_solution(kernel: Tensor, residuals: Tensor, ridge: float) -> Tensor:
    """Return α = (K + λ I)⁻¹ r, in the shape of r, with λ = ``ridge`` · mean of K's diagonal."""
    shifted = kernel.clone()
    shifted.diagonal().add_(ridge * kernel.diagonal().mean())
    factor = torch.linalg.cholesky(shifted)
    return torch.cholesky_solve(residuals.reshape(-1, 1), factor).reshape(residuals.shape)


def feature_sum(network: nn.Module, inputs: Tensor, coefficients: Tensor) -> dict[str, Tensor]:
    """Return Jᵀ α = Σ α_ic ∂f_c(x_i)/∂θ by one backward pass, by parameter."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad((network(inputs) * coefficients).sum(), parameters)
    return dict(zip(names, gradients, strict=True))


@torch.no_grad()
def set_displacements(model: LinearizedModel, delta: dict[str, Tensor]) -> None:
    """Set δ of a linearised model."""
    for name, parameter in model.displacements.named_parameters():
        parameter.copy_(delta[name])
