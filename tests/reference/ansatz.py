"""The paper's formulas of the neural feature ansatz, written down one Jacobian at a time."""

import numpy as np
import torch
from torch import Tensor, nn


def layer_jacobians(network: nn.Sequential, x: Tensor, layer: str, of: str) -> Tensor:
    """Return ∂f/∂h_l (``of="output"``) or ∂f/∂x_l (``of="input"``) of one example, (C, width)."""
    names = [name for name, _ in network.named_children()]
    cut = names.index(layer) + (of == "output")
    before, after = network[:cut], network[cut:]
    hidden = before(x[None])[0].detach()
    return torch.func.jacrev(lambda h: after(h[None])[0])(hidden)


def covariance(network: nn.Sequential, inputs: Tensor, layer: str) -> Tensor:
    """K_l = Σ_α Σ_c ∂f_c/∂h_l (∂f_c/∂h_l)ᵀ."""
    jacobians = [layer_jacobians(network, x, layer, "output") for x in inputs]
    return sum(jacobian.T @ jacobian for jacobian in jacobians)


def agop(network: nn.Sequential, inputs: Tensor, layer: str) -> Tensor:
    """Σ_α Σ_c ∂f_c/∂x_l (∂f_c/∂x_l)ᵀ."""
    jacobians = [layer_jacobians(network, x, layer, "input") for x in inputs]
    return sum(jacobian.T @ jacobian for jacobian in jacobians)


def pearson(first: Tensor, second: Tensor) -> float:
    return float(np.corrcoef(first.flatten().numpy(), second.flatten().numpy())[0, 1])


def cosine(first: Tensor, second: Tensor) -> float:
    return float(torch.trace(first.T @ second) / (first.norm() * second.norm()))
