"""What the experiments with speed limits share: how a network is trained, by name of a method."""

from collections.abc import Mapping, Sequence

from torch import nn

from feature_alignment.training.optimizers import SGD, Optimizer
from feature_alignment.training.speed_limited import SpeedLimited


def make_method(network: nn.Module, method: Mapping) -> Optimizer:
    """Return the optimiser that a method of the settings describes.

    Args:
        network: Of linear layers without biases.
        method: ``learning_rate``; and ``speeds``, one per linear layer, for Speed Limited
            Optimisation, or ``None`` for plain SGD.

    Raises:
        ValueError: As :class:`~feature_alignment.training.speed_limited.SpeedLimited` does.
    """
    rate, speeds = method["learning_rate"], method["speeds"]
    if speeds is None:
        return SGD(network.parameters(), lr=rate)
    return SpeedLimited(network.parameters(), speeds, rate)


def favouring(layer: int, layers: int, speed: float) -> Sequence[float]:
    """Return speeds of which one layer, counted from 1, has ``speed`` and the others 1."""
    return [speed if place == layer else 1.0 for place in range(1, layers + 1)]
