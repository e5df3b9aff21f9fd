"""Tangent features of any network: by rules where they apply, else by automatic differentiation.

:func:`network_passes` asks each layer for its rule (:mod:`feature_alignment.tangents.layers`). What
has none, or is not used as its rule assumes, is differentiated as it stands
(:mod:`feature_alignment.tangents.fallback`). Which way was taken is part of the result, and both
are verified on examples of the measurement itself (:mod:`feature_alignment.tangents.verify`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from feature_alignment.tangents.capture import (
    account_of,
    counted_parameters,
    layers_with_rules,
    passes_of,
)
from feature_alignment.tangents.fallback import VECTORISED, written_gradients
from feature_alignment.tangents.layers import LayerPass
from feature_alignment.tangents.memory import expect_room
from feature_alignment.tangents.precision import exact_products
from feature_alignment.tangents.verify import (
    EXAMPLES,
    Account,
    LayerFault,
    check_finite,
    check_inputs,
    run,
    undisturbed,
    verify,
)

RULE = "rule"
TRIAL = 2 * EXAMPLES
"""Examples on which it is found out which layers are used as their rules assume."""


@dataclass(frozen=True)
class NetworkPasses:
    """All layers of a network with parameters that count, and how each was found.

    ``layers`` is in the order of the network's modules, ``outputs`` is f (n, C), and ``methods``
    says by name of the layer: ``rule``, or another method and why it was taken.
    """

    layers: list[LayerPass]
    outputs: Tensor
    methods: dict[str, str]


def network_passes(
    model: nn.Module,
    inputs: Tensor,
    *,
    trainable_only: bool = False,
    expect: Callable[[int, Tensor], None] | None = None,
) -> NetworkPasses:
    """Find what every layer's kernel needs, for a network of any layers.

    Args:
        model: Any module that maps the examples one by one, in evaluation mode.
        inputs: (n, …), passed to ``model``, which returns (n, C).
        trainable_only: Whether only parameters with ``requires_grad`` count.
        expect: Called with the number of layers and f, of some examples at least, before the bulk
            of the work.

    Raises:
        ValueError: If examples interact, random numbers are drawn, or inputs, outputs or gradients
            are not finite.
        MemoryError: If gradients that no rule shortens need more memory than there is.
    """
    dtype = check_inputs(model, inputs)
    counted = counted_parameters(model, trainable_only=trainable_only)
    layers, lacking = layers_with_rules(model, counted)
    lacking = {name: brief(why) for name, why in lacking.items()}
    if len(inputs) > TRIAL:
        few = inputs[:TRIAL]
        found, outputs = settle(
            layers, lacking, lambda: passes_of(model, few, dtype, layers, write=True)
        )
        _expect_room(found, outputs, len(inputs))
        del found

    def known(number: int, outputs: Tensor) -> None:
        if expect is not None:
            expect(number + len(lacking), outputs)

    passes, outputs = settle(
        layers, lacking, lambda: passes_of(model, inputs, dtype, layers, write=True, expect=known)
    )
    methods = {layer.name: RULE for layer in passes}
    rest = _rest(model, counted, passes)
    if rest:
        written, method = _differentiated(model, inputs, outputs, rest)
        passes += written
        for layer in rest:
            methods[layer.name] = f"{method}: {lacking.get(layer.name, 'used in several places')}"
        places = {name: place for place, (name, _) in enumerate(model.named_modules())}
        passes.sort(key=lambda layer: places[layer.name])
    return NetworkPasses(passes, outputs, {layer.name: methods[layer.name] for layer in passes})


def _expect_room(few: list[LayerPass], outputs: Tensor, examples: int) -> None:
    """Check that what is held of all examples at once has room, from what is held of a few."""
    held = sum(
        part.numel()
        for layer in few
        for part in (layer.inputs, layer.gradients, layer.written)
        if part is not None
    )
    shape = (examples, round(held / len(outputs)))
    what = f"what the layers see and pass back of {examples} examples"
    expect_room(shape, outputs, what, "the number of examples")


def settle(
    layers: dict[str, LayerPass], lacking: dict[str, str], attempt: Callable
) -> tuple[list[LayerPass], Tensor]:
    """Repeat an attempt, each time without the layer that is not used as its rule assumes.

    Args:
        layers: The layers that ``attempt`` takes, by name; faulty ones are taken out.
        lacking: Why others are left out, by name; faulty ones are put in.
        attempt: Returns passes and outputs.
    """
    while True:
        try:
            return attempt()
        except LayerFault as fault:
            if fault.layer not in layers:
                raise
            lacking[fault.layer] = brief(str(fault))
            del layers[fault.layer]


def brief(message: str) -> str:
    """Return what is wrong with a layer, without what to do about it."""
    return message.partition(";")[0].partition(". Either")[0]


def _rest(model: nn.Module, counted: set[int], passes: list[LayerPass]) -> list[LayerPass]:
    """Return the modules that own parameters that count and are not among the passes."""
    served = {id(getattr(layer.module, name)) for layer in passes for name in layer.counted}
    names = {id(value): name for name, value in model.named_parameters()}
    found = []
    for name, module in model.named_modules():
        own = [
            part
            for part, value in module.named_parameters(recurse=False)
            if id(value) in counted - served and names[id(value)].rpartition(".")[0] == name
        ]
        if own:
            found.append(LayerPass(name, module, None, None, tuple(own)))
    return found


def _differentiated(
    model: nn.Module, inputs: Tensor, outputs: Tensor, rest: list[LayerPass]
) -> tuple[list[LayerPass], str]:
    """Return the passes of these layers with their gradients written out, and by which method."""
    wanted = [name for layer in rest for name in layer.sizes]

    def passes(outputs: Tensor, vectorise: bool) -> tuple[list[LayerPass], str]:
        found, method = written_gradients(model, inputs, outputs, wanted, vectorise=vectorise)
        rows = [torch.cat([found.pop(name) for name in layer.sizes], dim=2) for layer in rest]
        written = [replace(layer, written=row) for layer, row in zip(rest, rows, strict=True)]
        return written, method

    def in_double(vectorise: bool) -> Account:
        outputs, _ = run(model, inputs, torch.float64, ())
        return account_of(passes(outputs, vectorise)[0], outputs)

    with undisturbed(model), exact_products():
        for vectorise in (True, False):
            written, method = passes(outputs, vectorise)
            for layer in written:
                check_finite(layer.written, f"the gradients in layer {layer.name!r}")
            try:
                verify(model, inputs, account_of(written, outputs), partial(in_double, vectorise))
                break
            except LayerFault:
                if method != VECTORISED:  # vectorised, some operations are wrong
                    raise
    return written, method
