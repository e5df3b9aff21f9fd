"""Products in the precision of their factors, also where a GPU would round them to ten bits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_products() -> Iterator[None]:
    """Switch TensorFloat-32 off for matrix products and convolutions.

    PyTorch allows it for convolutions on a GPU unless told otherwise, with relative errors of 1e-3.
    On a processor nothing changes.
    """
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
