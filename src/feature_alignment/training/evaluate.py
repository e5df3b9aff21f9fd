"""Loss and accuracy of a network over a set of examples."""

import torch
from torch import Tensor, nn

from feature_alignment.training.losses import Loss


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
