"""Optimisers by name."""

from collections.abc import Iterable

import torch
from torch import Tensor

OPTIMIZERS = ("sgd", "adam")


def make_optimizer(
    name: str,
    parameters: Iterable[Tensor],
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    fused: bool = True,
) -> torch.optim.Optimizer:
    """Build an optimiser, by default with an update that is one fused operation per parameter.

    A step of a deep narrow network is many small operations, of which the usual form of an
    optimiser is a good part.

    Args:
        name: ``sgd``, v ← μ v + g, w ← w − η v; or ``adam``, whose averages of g and g² have the
            memories μ and 0.999. In both, g is the gradient plus the weight decay times w.
        parameters: What to train.
        learning_rate: η.
        momentum: μ.
        weight_decay: Coefficient of w in g.
        fused: Whether the update is fused; with momentum its last digits differ from the other's.

    Raises:
        ValueError: If the name is unknown.

    References:
        Kingma & Ba (2015) for Adam.
    """
    common = {"lr": learning_rate, "weight_decay": weight_decay, "fused": fused or None}
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=momentum, **common)
    if name == "adam":
        return torch.optim.Adam(parameters, betas=(momentum, 0.999), **common)
    raise ValueError(f"unknown optimiser {name!r}; expected one of {', '.join(OPTIMIZERS)}")
