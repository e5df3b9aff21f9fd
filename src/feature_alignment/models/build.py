"""Networks by the settings of a run: one builder for all."""

import importlib
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from feature_alignment.models.architectures import builder_of


def build(
    model: Mapping, shape: Sequence[int], outputs: int, generator: torch.Generator
) -> nn.Module:
    """Build a network with its initial weights, on the CPU, in training mode.

    Args:
        model: ``architecture``, see :mod:`feature_alignment.models.architectures`, and the options
            of its builder. Wherever there is one, ``hidden_layers`` counts hidden linear layers: a
            fully connected network has one linear layer more, and so has a VGG's classifier.
        shape: Of one example, (channels, height, width) or (inputs,).
        outputs: C, the number of outputs.
        generator: Source of the initial weights.

    Raises:
        ValueError: If the architecture is unknown, or its module or function is not found.
    """
    options = dict(model)
    architecture = options.pop("architecture")
    builder = builder_of(architecture)
    try:
        function = getattr(importlib.import_module(builder.module), builder.function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"no architecture {architecture!r}: {error}; expected a function (shape, *, outputs, "
            "generator, …) in a module that Python finds, such as one beside the Snakefile"
        ) from error
    return function(shape, outputs=outputs, generator=generator, **builder.options, **options)
