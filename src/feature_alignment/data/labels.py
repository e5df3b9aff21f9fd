"""Label noise."""

import torch
from torch import Tensor


def randomize_labels(
    labels: Tensor, fraction: float, classes: int, generator: torch.Generator
) -> Tensor:
    """Replace a share of the labels by uniformly random ones.

    A replaced label is drawn from all classes, so that about 1 / classes of the replaced ones
    keep the true label. From generators of one state, a larger fraction replaces what a smaller
    one does, by the same labels, and others as well.

    Args:
        labels: (n,) integers in 0…classes−1.
        fraction: Share to replace, in [0, 1]; ⌊fraction · n + ½⌋ labels are replaced.
        classes: Number of classes.
        generator: Source of the choice and of the new labels.

    Returns:
        (n,) labels; the argument is left as it is.

    Raises:
        ValueError: If the fraction is outside [0, 1].

    References:
        Baratin et al. (2021), figures 2 and 3.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction of random labels must be in [0, 1], got {fraction}")
    count = int(fraction * len(labels) + 0.5)
    chosen = torch.randperm(len(labels), generator=generator)[:count]
    noisy = labels.clone()
    noisy[chosen] = torch.randint(classes, (count,), generator=generator)
    return noisy
