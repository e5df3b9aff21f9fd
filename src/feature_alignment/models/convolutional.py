"""Convolutional networks by their usual names."""

import torch
from torch import nn

from feature_alignment.models.resnet import BLOCKS, resnet
from feature_alignment.models.vgg import STAGES, vgg

ARCHITECTURES = (*STAGES, *(f"{name}_bn" for name in STAGES), *BLOCKS)


def convolutional_network(
    architecture: str,
    channels: int,
    outputs: int,
    *,
    width: int,
    initialisation: str,
    generator: torch.Generator,
) -> nn.Sequential:
    """Build a VGG (``vgg19``, with batch norm ``vgg19_bn``) or a residual network (``resnet18``).

    Args:
        architecture: One of :data:`ARCHITECTURES`.
        channels: Channels of the input.
        outputs: C, the number of outputs.
        width: Channels of the first stage; 64 in the published networks.
        initialisation: See :mod:`feature_alignment.models.initialisation`.
        generator: Source of the initial weights.

    Raises:
        ValueError: If the architecture or the initialisation is unknown.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"unknown architecture {architecture!r}; expected one of {known}")
    options = {"width": width, "initialisation": initialisation, "generator": generator}
    if architecture in BLOCKS:
        return resnet(architecture, channels, outputs, **options)
    stages = architecture.removesuffix("_bn")
    batch_norm = architecture != stages
    return vgg(stages, channels, outputs, batch_norm=batch_norm, **options)
