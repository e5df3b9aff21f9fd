"""Six alignments of representations, weights and gradients of a layer, read during training."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from feature_alignment.data.loading import Examples
from feature_alignment.measures.orientation import orientation
from feature_alignment.training.losses import Loss
from feature_alignment.training.readings import Probe, Reading

KINDS = ("representation", "gradient", "weight")
SIDES = ("input", "output")
PAIRS = tuple(f"{a}_{b}_{side}" for side in SIDES for a, b in combinations(KINDS, 2))


def six_alignments_probe(examples: Examples, loss: Loss, layers: Sequence[str]) -> Probe:
    """Return the probe that compares three matrices on either side of some linear layers.

    A layer has the weight W, (out, in), the inputs h and the outputs z = W h + b. With sums over
    examples i, on the side of its inputs the matrices are

        Σ h_i h_iᵀ (representation),  Σ (∂ℓ_i/∂h_i)(∂ℓ_i/∂h_i)ᵀ (gradient),  Wᵀ W (weight),

    and on that of its outputs those of z, and W Wᵀ. Measures per layer, for each of
    :data:`PAIRS`: ``<pair>``, the cosine of both; ``<pair>_chance``, its mean were one turned at
    random; and ``<pair>_above_chance``; see :mod:`feature_alignment.measures.orientation`. A pair
    with a matrix that is zero, as where no gradient arrives, is left out.

    Args:
        examples: Whose sums are taken, in one batch.
        loss: Averages over a batch.
        layers: Which linear layers, by name, of a network that is an ``nn.Sequential``.

    References:
        Ziyin et al. (2024), arXiv 2410.03006, whose hypothesis is that the three become
        proportional on both sides. Departs from: matrices are not centred, as far as we know
        theirs are neither, and comparing them by cosine and with chance is ours.
    """

    def read(network: nn.Sequential) -> Iterator[Reading]:
        for name, (before, after) in passed(network, examples, loss, layers).items():
            weight = network.get_submodule(name).weight.detach().double()
            for side, (values, gradients), gram in (
                ("input", before, weight.T @ weight),
                ("output", after, weight @ weight.T),
            ):
                matrices = dict(zip(KINDS, (_gram(values), _gram(gradients), gram), strict=True))
                for (a, first), (b, second) in combinations(matrices.items(), 2):
                    if first.any() and second.any():
                        found = orientation(first, second)
                        pair = f"{a}_{b}_{side}"
                        yield Reading(pair, found.cosine, name, "train")
                        yield Reading(f"{pair}_chance", found.chance, name, "train")
                        yield Reading(f"{pair}_above_chance", found.above_chance, name, "train")

    return read


def passed(
    network: nn.Sequential, examples: Examples, loss: Loss, layers: Sequence[str]
) -> dict[str, tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    """Return what goes into layers and comes out, each with the gradient of its example's loss.

    Returns:
        By name, for inputs and for outputs, values and gradients (n, width), up to one factor.
    """
    kept: dict[str, tuple[Tensor, Tensor]] = {}
    with torch.enable_grad():
        values = examples.inputs.detach().requires_grad_()
        for name, module in network.named_children():
            before, values = values, module(values)
            if name in layers:
                kept[name] = before, values
        ends = [value for pair in kept.values() for value in pair]
        gradients = iter(torch.autograd.grad(loss(values, examples.labels), ends))
    return {
        name: tuple((value.detach(), next(gradients)) for value in pair)
        for name, pair in kept.items()
    }


def _gram(rows: Tensor) -> Tensor:
    scaled = rows.double()
    largest = scaled.abs().max()  # squares of small gradients would be lost
    scaled = scaled / largest if largest > 0 else scaled
    return scaled.T @ scaled
