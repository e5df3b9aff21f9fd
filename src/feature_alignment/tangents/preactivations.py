"""Covariance of the gradients with respect to pre-activations.

:func:`preactivation_covariances` is for chains of linear layers, :func:`graph_covariances` for any
network of linear and convolutional layers; where both apply they agree.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from feature_alignment.tangents.capture import layer_passes
from feature_alignment.tangents.layers import LayerPass, Patches


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
        Beaglehole et al. (2024), PTK feature covariance (their 1/n is left out, as in the
        summed AGOP).
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


def graph_covariances(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Compute the pre-activation covariance of every linear and convolutional layer.

    With h_l(s) the output of layer l, bias included, at spatial position s,

        K_l = Σ_α Σ_c Σ_s g gᵀ,   g = ∂f_c(x_α)/∂h_l(s),

    summed, not averaged, over the examples α, the outputs c of the raw network (no softmax) and
    the positions. A linear layer has one position per example, or as many as its output has rows.
    With the weight as a matrix W_l (out, in · kernel positions), W_lᵀ K_l W_l sums
    ∂f_c/∂p ∂f_c/∂pᵀ over every patch p that the layer sees. One forward pass and one backward
    pass per output serve every layer.

    Args:
        model: Any module that :func:`feature_alignment.tangents.capture.layer_passes` admits, in
            evaluation mode; normalisation layers have no covariance.
        batches: Inputs (batch, …), ten to a hundred images each. Memory is set by the largest
            batch, not by their number, and the result by neither: the gradients of one batch are
            held for all outputs and layers at once, C numbers per example, unit and position.

    Returns:
        For each linear and convolutional layer that the outputs depend on, by module name in the
        order of calls, K_l of shape (out, out) in the model's precision. The last layer is among
        them: where its outputs are those of the network, its K is the number of examples times
        the identity.

    Raises:
        ValueError: If a convolution has groups, whose outputs see different inputs, so that
            W_lᵀ K_l W_l is not defined; if there is no batch or no layer to return; if
            ``layer_passes`` does not admit the model.

    References:
        Beaglehole et al. (2024), PTK feature covariance, for convolutions as in the authors' code.

    Departs from:
        Beaglehole et al. (2024): their 1/n is left out, as in the summed AGOP; their code ignores
        the biases of a convolutional network when it takes the gradients, here the network is the
        true one.
    """
    covariances: dict[str, Tensor] = {}
    for inputs in batches:
        # Not bound to a name, which would keep the gradients of one batch during the next.
        for layer in layer_passes(model, inputs)[0]:
            if layer.gradients is None or not isinstance(layer.rule, Patches):
                continue
            width = len(layer.module.weight)
            if layer.name not in covariances:
                covariances[layer.name] = layer.gradients.new_zeros(width, width)
            for rows in _rows(layer):
                _add_gram(covariances[layer.name], rows)
    if not covariances:
        raise ValueError(
            "expected at least one batch of inputs, and outputs that depend on a linear or "
            "convolutional layer"
        )
    for covariance in covariances.values():
        _mirror(covariance)
    return covariances


def _rows(layer: LayerPass) -> Iterator[Tensor]:
    """Return the gradients at every output, example and position as rows (…, out), in parts."""
    if layer.channel_groups != 1:
        raise ValueError(
            f"convolution {layer.name!r} has {layer.channel_groups} groups, whose outputs see "
            "different inputs: one covariance for all of them fits no weight matrix; use groups=1"
        )
    return layer.rule.unit_gradients(layer)


def _chain(network: nn.Sequential) -> tuple[list[str], list[nn.Linear], list[list[nn.Module]]]:
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
