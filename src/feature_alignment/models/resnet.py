"""Residual networks for 32 × 32 images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_alignment.models.initialisation import initialise
from feature_alignment.models.undrawn import undrawn

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
"""Residual blocks in each of the four stages; those of ``resnet50`` are bottlenecks."""


class ResidualBlock(nn.Module):
    """x ↦ ReLU(branch(x) + shortcut(x)), each convolution followed by a batch norm.

    The branch is a chain of convolutions ``conv1``, ``conv2``, … with norms ``norm1``, …; the
    shortcut is the identity or, where the shape changes, a 1 × 1 convolution ``shortcut`` of every
    ``stride``-th position with ``shortcut_norm``.
    """

    def __init__(self, channels: int, shapes: list[tuple[int, int, int]]):
        """Build the block.

        Args:
            channels: Channels of the input.
            shapes: Channels, kernel size and stride of each convolution of the branch.
        """
        super().__init__()
        self.length = len(shapes)
        stride, incoming = 1, channels
        for number, (outgoing, kernel, step) in enumerate(shapes, start=1):
            convolution = _convolution(incoming, outgoing, kernel, step)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"norm{number}", nn.BatchNorm2d(outgoing))
            stride, incoming = stride * step, outgoing
        self.stride = stride
        self.reshapes = stride != 1 or incoming != channels
        if self.reshapes:
            self.shortcut = _convolution(channels, incoming, 1, 1)
            self.shortcut_norm = nn.BatchNorm2d(incoming)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (batch, channels, height, width)."""
        branch = x
        for number in range(1, self.length + 1):
            branch = getattr(self, f"conv{number}")(branch)
            branch = getattr(self, f"norm{number}")(branch)
            if number < self.length:
                branch = F.relu(branch)
        if not self.reshapes:
            return F.relu(branch + x)
        # A strided 1 × 1 convolution, strided by hand: for few channels oneDNN's own writes past
        # its memory in the backward pass (uxlfoundation/oneDNN, issue 6035).
        strided = x[:, :, :: self.stride, :: self.stride]
        return F.relu(branch + self.shortcut_norm(self.shortcut(strided)))


def resnet(
    architecture: str,
    channels: int,
    outputs: int,
    *,
    width: int,
    initialisation: str,
    generator: torch.Generator,
) -> nn.Sequential:
    """Build a residual network in the form usual for CIFAR-10.

    A 3 × 3 convolution ``conv1`` with batch norm ``norm1`` (no pooling), four stages ``stage1`` …
    ``stage4`` of blocks with ``width`` · (1, 2, 4, 8) channels, the last three of which start with
    stride 2, the mean over positions, and a linear head ``linear1``. Convolutions have no biases.
    Blocks have two 3 × 3 convolutions; those of ``resnet50`` a 1 × 1, a 3 × 3 and a 1 × 1 to four
    times the channels.

    Args:
        architecture: A key of :data:`BLOCKS`.
        channels: Channels of the input.
        outputs: C, the number of outputs.
        width: Channels of the first stage; 64 in the published networks.
        initialisation: See :mod:`feature_alignment.models.initialisation`.
        generator: Source of the initial weights.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        ValueError: If the architecture or the initialisation is unknown.

    References:
        He et al. (2016).
    """
    if architecture not in BLOCKS:
        known = ", ".join(BLOCKS)
        raise ValueError(f"unknown architecture {architecture!r}; expected one of {known}")
    network = nn.Sequential()
    network.add_module("conv1", _convolution(channels, width, 3, 1))
    network.add_module("norm1", nn.BatchNorm2d(width))
    network.add_module("activation1", nn.ReLU())
    channels = width
    for stage, count in enumerate(BLOCKS[architecture]):
        inner = width * 2**stage
        blocks = nn.Sequential()
        for number in range(count):
            stride = 2 if stage > 0 and number == 0 else 1
            if architecture == "resnet50":
                shapes = [(inner, 1, 1), (inner, 3, stride), (4 * inner, 1, 1)]
            else:
                shapes = [(inner, 3, stride), (inner, 3, 1)]
            blocks.add_module(f"block{number + 1}", ResidualBlock(channels, shapes))
            channels = shapes[-1][0]
        network.add_module(f"stage{stage + 1}", blocks)
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("linear1", undrawn(nn.Linear, channels, outputs))
    initialise(network, initialisation, generator)
    return network


def build(shape: Sequence[int], *, architecture: str, **options: object) -> nn.Sequential:
    """Build :func:`resnet` for images of a shape."""
    return resnet(architecture, shape[0], **options)


def _convolution(incoming: int, outgoing: int, kernel: int, stride: int) -> nn.Conv2d:
    options = {"stride": stride, "padding": kernel // 2, "bias": False}
    return undrawn(nn.Conv2d, incoming, outgoing, kernel, **options)
