"""Losses by name: a batch of network outputs and labels to one number."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the softmax cross-entropy in nats, averaged over the batch.

    Args:
        outputs: (batch, C).
        labels: (batch,) integers in 0…C−1.
    """
    return F.cross_entropy(outputs, labels)


def centered_mse(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the squared error to one-hot labels minus 1/C, averaged over outputs and batch.

    Args:
        outputs: (batch, C).
        labels: (batch,) integers in 0…C−1.

    References:
        Beaglehole et al. (2024), training of the networks.
    """
    classes = outputs.shape[1]
    targets = F.one_hot(labels, classes).to(outputs.dtype) - 1 / classes
    return F.mse_loss(outputs, targets)


def binary_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the logistic loss log(1 + exp(−y f)) in nats, averaged over the batch.

    Args:
        outputs: f, (batch, 1).
        labels: y, (batch,) of ±1.
    """
    return F.softplus(-labels * outputs[:, 0]).mean()


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error to real targets, averaged over the batch.

    Args:
        outputs: (batch, 1).
        targets: (batch,).
    """
    return F.mse_loss(outputs[:, 0], targets)


LOSSES: dict[str, Loss] = {
    function.__name__: function
    for function in (cross_entropy, centered_mse, binary_cross_entropy, mse)
}
