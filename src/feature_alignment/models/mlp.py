"""Fully connected networks."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import nn

from feature_alignment.models.initialisation import initialise
from feature_alignment.models.undrawn import undrawn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "identity": nn.Identity}


def mlp(
    inputs: int,
    hidden_layers: int,
    width: int,
    outputs: int,
    *,
    bias: bool = True,
    activation: str = "relu",
    initialisation: str,
    generator: torch.Generator,
) -> nn.Sequential:
    """Build a fully connected network with hidden layers of one width.

    f(x) = W_{L+1} φ(W_L … φ(W_1 x)), with x flattened. Every layer has weights of its own. The
    linear layers are the modules ``linear1`` … ``linear{L+1}``, in the order of depth.

    Args:
        inputs: Number of inputs per example after flattening.
        hidden_layers: L, the number of hidden layers.
        width: Units per hidden layer.
        outputs: C, the number of outputs.
        bias: Whether linear layers have a bias.
        activation: φ, a key of :data:`ACTIVATIONS`.
        initialisation: See :mod:`feature_alignment.models.initialisation`.
        generator: Source of the initial weights.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        ValueError: If the activation or the initialisation is unknown.
    """
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"unknown activation {activation!r}; expected one of {known}")
    sizes = [inputs, *[width] * hidden_layers, outputs]
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for depth, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        layers[f"linear{depth}"] = undrawn(nn.Linear, fan_in, fan_out, bias=bias)
        if depth <= hidden_layers:
            layers[f"activation{depth}"] = ACTIVATIONS[activation]()
    network = nn.Sequential(layers)
    initialise(network, initialisation, generator)
    return network


def build(shape: Sequence[int], **options: object) -> nn.Sequential:
    """Build :func:`mlp` for examples of a shape."""
    return mlp(prod(shape), **options)
