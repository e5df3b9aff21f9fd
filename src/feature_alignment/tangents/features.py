"""Tangent features of a network, stored: what a linearised network needs of each example.

    f(x; θ0) + Σ_l ⟨∂f/∂(W_l, d_l), (D_l, d_l)⟩

takes one small product per layer and example, where a forward pass along displacements
(:mod:`feature_alignment.tangents.linearized`) takes two layers each, and training as many again.
A layer's features are held in whichever form is smaller:

- *explicit*: the gradients of the outputs with respect to its parameters, (C, P) per example;
- *factored*: what the layer saw, h, and the gradients with respect to its outputs, g (C, …), with
  ⟨∂f_c/∂W, D⟩ = g_c · (h D).

Layers near the images have few parameters and many outputs, those behind them the reverse.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from feature_alignment.tangents.capture import layer_passes
from feature_alignment.tangents.layers import RULES, LayerPass, Patches
from feature_alignment.tangents.memory import expect_room
from feature_alignment.tangents.verify import check_inputs, full_precision

BATCH = 50
"""Examples per pass through the network."""


@dataclass(frozen=True)
class Explicit:
    """Gradients with respect to weight and bias of one layer, (n, C, P)."""

    gradients: Tensor

    def __getitem__(self, chosen: Tensor | slice) -> "Explicit":
        """Return the features of the chosen examples."""
        return Explicit(self.gradients[chosen])

    def along(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the derivatives of the outputs along a displacement, (n, C)."""
        parts = [weight.flatten()] if bias is None else [weight.flatten(), bias]
        return self.gradients @ torch.cat(parts)


@dataclass(frozen=True)
class Factored:
    """What one layer saw, (n, …), and gradients with respect to its outputs, (n, C, units)."""

    layer: nn.Module
    seen: Tensor
    gradients: Tensor

    def __getitem__(self, chosen: Tensor | slice) -> "Factored":
        """Return the features of the chosen examples."""
        return Factored(self.layer, self.seen[chosen], self.gradients[chosen])

    def along(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the derivatives of the outputs along a displacement, (n, C)."""
        moved = RULES[type(self.layer)].apply(self.layer, self.seen, weight, bias)
        return torch.bmm(self.gradients, moved.flatten(1)[:, :, None])[:, :, 0]


@dataclass(frozen=True)
class TangentFeatures:
    """Outputs f(x; θ0), (n, C), and features by layer of n examples; indexed by example."""

    outputs: Tensor
    layers: dict[str, Explicit | Factored]

    def __len__(self) -> int:
        return len(self.outputs)

    def values(self) -> int:
        """Return how many numbers are stored."""
        total = self.outputs.numel()
        for layer in self.layers.values():
            total += layer.gradients.numel()
            total += layer.seen.numel() if isinstance(layer, Factored) else 0
        return total

    def __getitem__(self, chosen: Tensor | slice) -> "TangentFeatures":
        """Return the features of the chosen examples."""
        layers = {name: features[chosen] for name, features in self.layers.items()}
        return TangentFeatures(self.outputs[chosen], layers)

    def split(self, size: int) -> Iterator["TangentFeatures"]:
        """Yield the examples in parts of ``size``, as views."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def tangent(self, displacements: nn.ModuleDict) -> Tensor:
        """Return J(x) δ, (n, C), for displacements with ``weight`` and ``bias`` by layer."""
        return sum(
            features.along(displacements[name].weight, displacements[name].bias)
            for name, features in self.layers.items()
        )


def tangent_features(network: nn.Module, inputs: Tensor) -> TangentFeatures:
    """Compute the tangent features of a network of linear and convolutional layers.

    One forward and C backward passes per batch. All parameters count, frozen or not; features of
    float16 and bfloat16 networks are in float32.

    Args:
        network: Its parameters belong to Linear and Conv2d modules without groups, in any graph.
        inputs: (n, …), passed to ``network``, which returns (n, C).

    Raises:
        ValueError: If the network has other layers; see also
            :func:`feature_alignment.tangents.capture.layer_passes`.
        MemoryError: If the features of all examples need more memory than there is.
    """
    check_inputs(network, inputs)  # before they are split
    parts = []
    for part in inputs.split(BATCH):
        parts.append(_features(*layer_passes(network, part)))
        if len(parts) == 1:
            first, what = parts[0], f"all stored features of {len(inputs)} examples"
            shape = (len(inputs), first.values() // len(first))
            expect_room(shape, first.outputs, what, "the number of examples")
    layers = {name: _joined([part.layers[name] for part in parts]) for name in parts[0].layers}
    return TangentFeatures(torch.cat([part.outputs for part in parts]), layers)


def stored_values(network: nn.Module, inputs: Tensor) -> int:
    """Return how many numbers :func:`tangent_features` stores per example."""
    return tangent_features(network, inputs[:1]).values()


@torch.no_grad()
def _features(passes: list[LayerPass], outputs: Tensor) -> TangentFeatures:
    with full_precision(outputs.device):
        return TangentFeatures(outputs, {layer.name: _layer_features(layer) for layer in passes})


def _layer_features(layer: LayerPass) -> Explicit | Factored:
    module = layer.module
    if not isinstance(layer.rule, Patches) or layer.channel_groups != 1:
        known = [kind.__name__ for kind, rule in RULES.items() if isinstance(rule, Patches)]
        raise ValueError(
            f"{layer.name!r} is {module}; stored features are known for {' and '.join(known)} "
            "without groups"
        )
    if "weight" not in layer.counted:
        raise ValueError(f"the weight of {layer.name!r} is not a parameter; make it one")
    if layer.gradients is None:
        raise ValueError(f"no output depends on {layer.name!r}")
    outputs = len(layer.gradients)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if outputs * parameters < layer.inputs[0].numel() + layer.gradients[:, 0].numel():
        return Explicit(torch.stack(list(layer.rule.per_example(layer)), dim=1))
    return Factored(module, layer.inputs, layer.gradients.transpose(0, 1).flatten(2).contiguous())


def _joined(parts: list[Explicit | Factored]) -> Explicit | Factored:
    gradients = torch.cat([part.gradients for part in parts])
    if isinstance(parts[0], Explicit):
        return Explicit(gradients)
    return Factored(parts[0].layer, torch.cat([part.seen for part in parts]), gradients)
