"""Random crops and flips of whole batches."""

import torch
from torch import Tensor
from torch.nn import functional as F


def crop_and_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Shift every image by a random amount and mirror half of them.

    Each image is padded with zeros on all sides and cut to its size at a random place, which is a
    shift by −padding…padding pixels along each axis; with probability ½ it is flipped from left to
    right. One gather serves the batch.

    Args:
        images: (n, channels, height, width), standardised, so that 0 is the mean.
        generator: Source of the shifts and flips, on the CPU.
        padding: Largest shift in pixels.

    Returns:
        Images of the same shape and memory format.
    """
    n, _, height, width = images.shape
    shifts = torch.randint(2 * padding + 1, (2, n, 1), generator=generator)
    flipped = torch.rand(n, 1, generator=generator) < 0.5
    rows = shifts[0] + torch.arange(height)
    columns = torch.arange(width)
    columns = shifts[1] + torch.where(flipped, columns.flip(0), columns)
    padded = F.pad(images, (padding,) * 4).permute(0, 2, 3, 1)
    rows, columns = rows.to(images.device), columns.to(images.device)
    which = torch.arange(n, device=images.device)[:, None, None]
    # Channels last: a pixel's channels lie together, so that each gather copies a run of memory.
    cut = padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    layouts = {True: torch.channels_last, False: torch.contiguous_format}
    return cut.contiguous(
        memory_format=layouts[images.is_contiguous(memory_format=torch.channels_last)]
    )
