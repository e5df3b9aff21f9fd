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
    settings = [(torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32")]
    before = [getattr(place, name) for place, name in settings]
    try:
        for place, name in settings:
            setattr(place, name, False)
        yield
    finally:
        for (place, name), value in zip(settings, before, strict=True):
            setattr(place, name, value)
