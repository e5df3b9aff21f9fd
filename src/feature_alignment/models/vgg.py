"""VGG networks for 32 × 32 images."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from feature_alignment.models.initialisation import initialise
from feature_alignment.models.undrawn import undrawn

STAGES = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Convolutions before each of the five poolings."""


def vgg(
    architecture: str,
    channels: int,
    outputs: int,
    *,
    width: int,
    batch_norm: bool,
    initialisation: str,
    generator: torch.Generator,
    hidden_layers: int = 0,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Build a VGG network in the form usual for CIFAR-10, by default with one linear layer as head.

    Stages of 3 × 3 convolutions with biases and ReLU have ``width`` · (1, 2, 4, 8, 8) channels;
    each ends with a 2 × 2 max-pooling, so that 32 × 32 pixels become one. Convolutions are the
    modules ``conv1``, ``conv2``, … in the order of depth, batch norms ``norm1``, …, and the head
    is ``linear1``. Hidden layers of the classifier come before the head: linear layers with
    64 · ``width`` units, ReLU and dropout; they take the names ``linear1``, …, and the head is
    then ``linear{hidden_layers + 1}``.

    Args:
        architecture: A key of :data:`STAGES`.
        channels: Channels of the input.
        outputs: C, the number of outputs.
        width: Channels of the first stage; 64 in the published networks.
        batch_norm: Whether a batch norm follows each convolution.
        initialisation: See :mod:`feature_alignment.models.initialisation`.
        generator: Source of the initial weights.
        hidden_layers: Hidden layers of the classifier; two in the published networks.
        dropout: Probability with which each hidden unit of the classifier is dropped in training;
            0.5 in the published networks.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        ValueError: If the architecture or the initialisation is unknown, ``hidden_layers`` is
            negative, or ``dropout`` is not in [0, 1) or has no hidden layer to act on.

    References:
        Simonyan & Zisserman (2015), configurations A, B, D and E; Baratin et al. (2021) for the
        head alone, Beaglehole et al. (2024) for two hidden layers.

    Departs from:
        Simonyan & Zisserman (2015): the classifier's first layer sees one position, not 7 × 7.
    """
    if architecture not in STAGES:
        known = ", ".join(STAGES)
        raise ValueError(f"unknown architecture {architecture!r}; expected one of {known}")
    if hidden_layers < 0:
        raise ValueError(f"expected hidden_layers of at least 0, got {hidden_layers}")
    if not 0 <= dropout < 1 or (dropout and not hidden_layers):
        raise ValueError(
            f"expected a dropout in [0, 1), and 0 without hidden layers of the classifier, got "
            f"{dropout} with {hidden_layers} hidden layers"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    depth = 0
    for stage, (count, growth) in enumerate(
        zip(STAGES[architecture], (1, 2, 4, 8, 8), strict=True), start=1
    ):
        for _ in range(count):
            depth += 1
            wider = growth * width
            layers[f"conv{depth}"] = undrawn(nn.Conv2d, channels, wider, 3, padding=1)
            if batch_norm:
                layers[f"norm{depth}"] = nn.BatchNorm2d(wider)
            layers[f"activation{depth}"] = nn.ReLU()
            channels = wider
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    for place in range(1, hidden_layers + 1):
        hidden = 64 * width
        layers[f"linear{place}"] = undrawn(nn.Linear, channels, hidden)
        layers[f"activation{depth + place}"] = nn.ReLU()
        if dropout:
            layers[f"dropout{place}"] = nn.Dropout(dropout)
        channels = hidden
    layers[f"linear{hidden_layers + 1}"] = undrawn(nn.Linear, channels, outputs)
    network = nn.Sequential(layers)
    initialise(network, initialisation, generator)
    return network


def build(shape: Sequence[int], *, architecture: str, **options: object) -> nn.Sequential:
    """Build :func:`vgg` for images of a shape."""
    return vgg(architecture, shape[0], **options)
