"""Networks by the settings of a run: one builder for all."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

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
        ValueError: If the architecture is unknown, its module or function is not found, or the
            module is neither ours nor in the working directory.
    """
    options = dict(model)
    architecture = options.pop("architecture")
    builder = builder_of(architecture)
    try:
        _check_place(builder.module)
        function = getattr(importlib.import_module(builder.module), builder.function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"no architecture {architecture!r}: {error}; expected a function (shape, *, outputs, "
            "generator, …) in a module beside the Snakefile"
        ) from error
    return function(shape, outputs=outputs, generator=generator, **builder.options, **options)


def _check_place(module: str) -> None:
    """Refuse to import what is neither of this package nor in the working directory.

    A spec can come from anywhere. It may name code that lies in the repository, which whoever runs
    it has at hand and of which a run depends by its hash, and no other, the standard library's say.

    Raises:
        ModuleNotFoundError: If there is no such module.
        ValueError: If it lies elsewhere.
    """
    name = module.partition(".")[0]
    if name == __name__.partition(".")[0]:
        return
    found = importlib.util.find_spec(name)
    if found is None:
        raise ModuleNotFoundError(f"No module named {name!r}")
    places = found.submodule_search_locations or ([found.origin] if found.has_location else [])
    if not places or any(Path(place).parent.resolve() != Path.cwd() for place in places):
        raise ValueError(
            f"expected the module {module!r} of an architecture in {Path.cwd()}, beside the "
            f"Snakefile; found {found.origin or 'it elsewhere'}; move it there, or give it a name "
            "that no other module has"
        )
