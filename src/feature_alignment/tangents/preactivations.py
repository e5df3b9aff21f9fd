"""Covariance of the gradients with respect to pre-activations."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def preactivation_covariances(
    network: nn.Sequential, batches: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Compute the pre-activation covariance of every hidden linear layer.

    With pre-activations h_l = W_l x_l + b_l of layer l,

        K_l = Σ_α Σ_c g gᵀ,   g = ∂f_c(x_α)/∂h_l,

    summed, not averaged, over the examples α and the outputs c of the raw network (no softmax).
    One forward pass and one backward pass for all outputs at once serve every layer; per-example
    gradients live only for one batch, and K_L of the last hidden layer needs none, since there
    g_c = w_c ∘ φ′(h_L) gives K_L = (Σ_α φ′ φ′ᵀ) ∘ (W_{L+1}ᵀ W_{L+1}).

    Args:
        network: A chain of :class:`torch.nn.Flatten`, :class:`torch.nn.Linear` and activations
            that act on each unit alone, such as :func:`feature_alignment.models.mlp.mlp` builds.
        batches: Inputs (batch, …), a few hundred examples each; their sizes set the memory used,
            not the result.

    Returns:
        For each linear layer but the last, by module name, K_l of shape (width, width).

    Raises:
        ValueError: If the network is not such a chain.

    References:
        beaglehole2024, PTK feature covariance (their 1/n is left out, as in the summed AGOP).
    """
    names, linears, activations = _chain(network)
    covariances = {
        name: linear.weight.new_zeros(linear.out_features, linear.out_features)
        for name, linear in zip(names[:-1], linears, strict=False)
    }
    for inputs in batches:
        slopes = _slopes(inputs.flatten(1), linears, activations)
        _add_gram(covariances[names[-2]], slopes[-1])
        gradients = linears[-1].weight * slopes[-1][:, None, :]  # (batch, outputs, width)
        for depth in range(len(slopes) - 2, -1, -1):
            gradients = gradients @ linears[depth + 1].weight
            gradients *= slopes[depth][:, None, :]
            _add_gram(covariances[names[depth]], gradients.flatten(0, 1))
    readout = linears[-1].weight
    covariances[names[-2]] *= readout.T @ readout
    for covariance in covariances.values():
        _mirror(covariance)
    return covariances


def _chain(
    network: nn.Sequential,
) -> tuple[list[str], list[nn.Linear], list[list[nn.Module]]]:
    """Split the chain into linear layers and, before each but the first, what acts on units."""
    pointwise = (nn.ReLU, nn.GELU, nn.Tanh, nn.Identity)
    names, linears, activations = [], [], []
    for name, module in network.named_children():
        if isinstance(module, nn.Linear):
            names.append(name)
            linears.append(module)
            activations.append([])
        elif isinstance(module, pointwise) and linears:
            activations[-1].append(module)
        elif not (isinstance(module, nn.Flatten) and not linears):
            raise ValueError(
                f"expected a chain of Flatten, Linear and pointwise activations, but {name!r} is "
                f"{type(module).__name__}"
            )
    if len(linears) < 2 or activations[-1]:
        raise ValueError("expected at least one hidden layer and a linear layer at the end")
    return names, linears, activations[:-1]


def _slopes(
    hidden: Tensor, linears: list[nn.Linear], activations: list[list[nn.Module]]
) -> list[Tensor]:
    """Return φ′(h_l), each of shape (batch, width), for every hidden layer."""
    slopes = []
    for linear, chain in zip(linears, activations, strict=False):
        with torch.enable_grad():
            before = linear(hidden).detach().requires_grad_()
            after = before
            for activation in chain:
                after = activation(after)
            (slope,) = torch.autograd.grad(after.sum(), before)
        slopes.append(slope)
        hidden = after.detach()
    return slopes


def _add_gram(total: Tensor, rows: Tensor) -> None:
    """Add rowsᵀ rows to the upper block triangle of ``total``, three quarters of the work."""
    half = (len(total) + 1) // 2
    total[:half, :half].addmm_(rows[:, :half].T, rows[:, :half])
    total[:, half:].addmm_(rows.T, rows[:, half:])


def _mirror(total: Tensor) -> None:
    half = (len(total) + 1) // 2
    total[half:, :half] = total[:half, half:].T
