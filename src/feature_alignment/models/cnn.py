"""A plain convolutional network: convolutions with average pooling, then linear layers."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from feature_alignment.models.initialisation import initialise
from feature_alignment.models.undrawn import undrawn

STAGES = 4
HIDDEN = 128


def cnn(
    channels: int,
    size: int,
    outputs: int,
    *,
    width: int,
    initialisation: str,
    generator: torch.Generator,
) -> nn.Sequential:
    """Build the CNN of the tangent feature experiments.

    Four convolutions 3 × 3 with padding 1 and ``width`` · (1, 2, 4, 8) channels, each followed by
    a ReLU and average pooling over 2 × 2; two linear layers of 128 units with ReLUs; the linear
    output layer. Modules are named ``conv1`` … ``conv4``, ``linear5`` … ``linear7``.

    Args:
        channels: Channels of the images.
        size: Height and width of the images, at least 16.
        outputs: C, the number of outputs.
        width: Channels of the first convolution; 16 in the paper.
        initialisation: See :mod:`feature_alignment.models.initialisation`.
        generator: Source of the initial weights.

    Raises:
        ValueError: If the images are too small, or the initialisation is unknown.

    References:
        LeJeune & Alemohammad (2024), the CNN for CIFAR-10.
    """
    if size < 2**STAGES:
        raise ValueError(f"expected images of at least {2**STAGES} pixels a side, got {size}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    widths = [channels, *(width * 2**stage for stage in range(STAGES))]
    for stage, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
        layers[f"conv{stage}"] = undrawn(nn.Conv2d, fan_in, fan_out, 3, padding=1)
        layers[f"activation{stage}"] = nn.ReLU()
        layers[f"pool{stage}"] = nn.AvgPool2d(2)
        size //= 2
    layers["flatten"] = nn.Flatten()
    sizes = [widths[-1] * size**2, HIDDEN, HIDDEN, outputs]
    for depth, (fan_in, fan_out) in enumerate(pairwise(sizes), start=STAGES + 1):
        layers[f"linear{depth}"] = undrawn(nn.Linear, fan_in, fan_out)
        if depth < STAGES + len(sizes) - 1:
            layers[f"activation{depth}"] = nn.ReLU()
    network = nn.Sequential(layers)
    initialise(network, initialisation, generator)
    return network


def build(shape: Sequence[int], **options: object) -> nn.Sequential:
    """Build :func:`cnn` for square images of a shape."""
    return cnn(shape[0], shape[1], **options)
