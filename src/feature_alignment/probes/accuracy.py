"""Loss and accuracy of a network over a set of examples."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from feature_alignment.data.loading import Labelled
from feature_alignment.training.losses import Loss
from feature_alignment.training.readings import Probe, Reading


@torch.no_grad()
def evaluate(
    model: nn.Module, inputs: Tensor, labels: Tensor, loss: Loss, batch_size: int = 1000
) -> dict[str, float]:
    """Return the mean ``loss`` and the ``accuracy`` (share correct) over all examples.

    Args:
        model: In the mode that the caller wants.
        inputs: (n, …).
        labels: (n,).
        loss: Averages over a batch.
        batch_size: Examples per forward pass.
    """
    total, correct = 0.0, 0
    for x, y in zip(inputs.split(batch_size), labels.split(batch_size), strict=True):
        outputs = model(x)
        total += loss(outputs, y).item() * len(y)
        correct += int((outputs.argmax(dim=1) == y).sum())
    return {"loss": total / len(labels), "accuracy": correct / len(labels)}


def accuracy_probe(loss: Loss, **splits: Labelled) -> Probe:
    """Return the probe that reads ``loss`` and ``accuracy`` on each named split."""

    def read(network: nn.Module) -> Iterator[Reading]:
        for split, examples in splits.items():
            for measure, value in evaluate(network, examples.inputs, examples.labels, loss).items():
                yield Reading(measure, value, split=split)

    return read
