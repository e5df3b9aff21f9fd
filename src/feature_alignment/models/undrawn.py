"""Layers with memory for weights that nothing has been drawn into."""

from typing import TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


def undrawn(kind: type[Layer], *sizes: int, **options: object) -> Layer:
    """Build a layer on the CPU whose weights are whatever its memory holds.

    PyTorch draws weights as it builds a layer, here only to lose them, and from the global
    generator. Like :func:`torch.nn.utils.skip_init`, but without what that imports, which takes
    longer than many a training of ours.

    Args:
        kind: The layer's type, such as :class:`torch.nn.Linear`.
        *sizes: Its first arguments.
        **options: Its other arguments.
    """
    layer = kind(*sizes, **options, device="meta")
    for name, parameter in list(layer.named_parameters(recurse=False)):
        memory = torch.empty(parameter.shape, dtype=parameter.dtype)
        layer.register_parameter(name, nn.Parameter(memory))
    return layer
