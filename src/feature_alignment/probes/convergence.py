"""The features at convergence theorem in the layers of a network, read during training."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from feature_alignment.data.loading import Examples
from feature_alignment.measures.convergence import distance_from_rest, fact_correlations
from feature_alignment.training.losses import Loss
from feature_alignment.training.readings import Probe, Reading

GRADIENT_BATCH = 500
"""Examples per backward pass."""


def convergence_probe(
    examples: Examples,
    loss: Loss,
    layers: Sequence[str],
    *,
    weight_decay: float,
    batch_size: int = GRADIENT_BATCH,
) -> Probe:
    """Return the probe that compares the features of some layers with those at convergence.

    Measures per layer: ``fact_pearson`` and ``fact_cosine``, see
    :func:`feature_alignment.measures.convergence.fact_correlations`, and, with weight decay,
    ``distance_from_rest``. The gradient is that of the mean loss over all examples.

    Args:
        examples: All that the network is trained on.
        loss: Averages over a batch.
        layers: Which linear layers, by module name.
        weight_decay: λ of the training, 0 for none.
        batch_size: Examples per backward pass.
    """

    def read(network: nn.Module) -> Iterator[Reading]:
        weights = [network.get_submodule(name).weight for name in layers]
        totals = [torch.zeros_like(weight) for weight in weights]
        with torch.enable_grad():
            for start in range(0, len(examples), batch_size):
                inputs = examples.inputs[start : start + batch_size]
                mean = loss(network(inputs), examples.labels[start : start + batch_size])
                share = len(inputs) / len(examples)
                found = torch.autograd.grad(mean * share, weights)
                totals = [total + own for total, own in zip(totals, found, strict=True)]
        for name, weight, gradient in zip(layers, weights, totals, strict=True):
            own = weight.detach()
            correlations = fact_correlations(own, gradient)
            yield Reading("fact_pearson", correlations.pearson, name, "train")
            yield Reading("fact_cosine", correlations.cosine, name, "train")
            if weight_decay > 0:
                value = distance_from_rest(own, gradient, weight_decay)
                yield Reading("distance_from_rest", value, name, "train")

    return read
