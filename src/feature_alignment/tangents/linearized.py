"""Networks linearised in their parameters: fixed tangent features, without Jacobians.

For a network f of linear and convolutional layers, ReLUs and average pooling, the model

    f(x; θ0) + J(x) δ,    J(x) = ∂f(x; θ)/∂θ at θ0,

is linear in δ. Of the network at θ0, the *base*, a forward pass needs only its activations, which
say what each layer saw, h_l, and which units were active, m_l. With the layer's weights W_l at θ0
and displacements D_l and d_l of weights and biases, the derivative along δ passes on as

    t_l = m_l ⊙ (h_{l−1} D_l + d_l + t_{l−1} W_l),    t_0 = 0,

and J δ is the last t. The base's part is computed once for all examples.

References:
    LeJeune & Alemohammad (2024), figure 4: the linearised network.
"""

import copy
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from feature_alignment.models.undrawn import undrawn
from feature_alignment.tangents.chain import chain_of, has_hooks, verify_walk, walk
from feature_alignment.tangents.dense import dense_tangent, where_active
from feature_alignment.tangents.features import TangentFeatures
from feature_alignment.tangents.layers import RULES
from feature_alignment.tangents.verify import (
    Account,
    check_finite,
    check_inputs,
    check_outputs,
    undisturbed,
)

BATCH = 1000
"""Examples per forward pass of the base."""


@dataclass(frozen=True)
class BasePass:
    """What a base network made of n examples; indexed like a tensor of examples.

    ``outputs`` (n, C) is f(x; θ0); ``inputs`` is what the first layer saw and ``activations`` what
    each ReLU after it returned, both (n, …), images with channels last.
    """

    outputs: Tensor
    inputs: Tensor
    activations: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.outputs)

    def __getitem__(self, chosen: Tensor | slice) -> "BasePass":
        """Return the chosen examples."""
        activations = tuple(part[chosen] for part in self.activations)
        return BasePass(self.outputs[chosen], self.inputs[chosen], activations)

    def split(self, size: int) -> Iterator["BasePass"]:
        """Yield the examples in parts of ``size``, as views."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


class TangentModel(nn.Module):
    """Base outputs plus derivatives along displacements of the base's weights.

    One *displacement* for each layer of the base says how the layer's weights and bias move: a
    module that maps what the layer saw to h D + d. The base stays as it is. At the start
    displacements are zero, and the model equals its base. All layers are displaced, those that the
    network has frozen (``requires_grad=False``) too: freeze their displacements instead.
    """

    kinds: ClassVar[dict[type[nn.Module], Callable[[nn.Module], nn.Module]]]
    """What makes the zero displacement of a layer, by the layer's type."""

    def __init__(self, network: nn.Sequential, basis: Tensor | None = None):
        """Freeze a copy of ``network`` and set all displacements to zero.

        Args:
            network: Of layers of these ``kinds`` and ReLU, AvgPool2d and Flatten modules, with a
                ReLU between two layers; modules without parameters may be called repeatedly.
            basis: Q, (inputs, r) with orthonormal columns, in whose coordinates the first layer,
                which must be linear, is displaced: D_1 = Q D, r rows instead of one per input.
                With the row space of the training inputs, gradient descent takes the same way
                (see :func:`row_space`); optimisers that look at coordinates, as Adam does, do
                not. ``None`` for all inputs.

        Raises:
            ValueError: If the network is not a sequence of such modules (see
                :func:`feature_alignment.tangents.chain.chain_of`), or the basis does not fit.
        """
        super().__init__()
        _layers(network, self.kinds)  # a network that is not a chain may not even be copied
        self.base = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self.register_buffer("basis", basis)
        layers = _layers(self.base, self.kinds)
        self.displacements = nn.ModuleDict(
            {name: self.kinds[type(layer)](layer) for name, layer in layers.items()}
        )
        if basis is not None:
            name, first = next(iter(layers.items()))
            if not isinstance(first, nn.Linear) or basis.shape[0] != first.in_features:
                raise ValueError(
                    f"expected a basis of the inputs of a linear first layer, got one of shape "
                    f"{tuple(basis.shape)} for {first}"
                )
            shape = {"in_features": basis.shape[1], "out_features": first.out_features}
            narrow = undrawn(nn.Linear, **shape, bias=first.bias is not None)
            self.displacements[name] = self.kinds[nn.Linear](narrow.to(first.weight))
        kinds = [type(module) for _, module in self._moving()]
        self.dense = kinds == [nn.Linear, *[nn.ReLU, nn.Linear] * (len(kinds) // 2)]

    def _moving(self) -> list[tuple[str, nn.Module]]:
        """Return the modules of the base that displacements reach, in the order of their calls."""
        chain = list(self.base._modules.items())
        first = [name for name, _ in chain].index(next(iter(self.displacements)))
        return chain[first:]

    def check_inputs(self, inputs: Tensor) -> None:
        """Check that inputs (n, …) suit the model.

        Raises:
            ValueError: See :func:`feature_alignment.tangents.verify.check_inputs`; or if the
                precision is not single or double, the same everywhere.
        """
        dtype = check_inputs(self.base, inputs)
        if {inputs.dtype, *(parameter.dtype for parameter in self.parameters())} != {dtype}:
            raise ValueError(
                "a tangent model has one precision, single or double; call .float() or .double() "
                "on model and inputs"
            )

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def base_pass(self, inputs: Tensor) -> BasePass:
        """Run the base on inputs (n, …), as the network takes them.

        Raises:
            ValueError: If there is no example, an input or a layer's output is not finite, a layer
                sees or the network returns something of another shape, the precision is not single
                or double, or hooks make outputs or gradients differ from those of the sequence.
        """
        self.check_inputs(inputs)
        hooked = has_hooks(self.base)
        passes = []
        for part in inputs.split(BATCH):
            with undisturbed(self.base):
                found = self._base_pass(part, self.basis)
                if hooked or not passes:  # without hooks one batch speaks for all
                    account = self._account(part, found.outputs)
                    verify_walk(self.base, part, account, partial(self._in_double, part))
            passes.append(found)
        return BasePass(
            torch.cat([part.outputs for part in passes]),
            torch.cat([part.inputs for part in passes]),
            tuple(map(torch.cat, zip(*(part.activations for part in passes), strict=True))),
        )

    def _base_pass(self, inputs: Tensor, basis: Tensor | None) -> BasePass:
        first, activations = None, []
        values = inputs
        for name, module in self.base._modules.items():
            if name in self.displacements:
                _check_seen(name, module, values, len(inputs))
                if first is None:
                    first = values if basis is None else values @ basis
            values = walk(module, values)
            if name in self.displacements:
                check_finite(values, f"the outputs of layer {name!r}")
            if isinstance(module, nn.ReLU) and first is not None:
                activations.append(_channels_last(values))
        check_outputs(values, len(inputs), values.dtype)
        return BasePass(values, _channels_last(first), tuple(activations))

    def _account(self, inputs: Tensor, outputs: Tensor) -> Account:
        """Return outputs, and gradients as those of free displacements, for verification."""

        def gradients(place: int, weights: Tensor) -> dict[str, Tensor]:
            found = self._base_pass(inputs[place : place + 1], None)
            free = nn.ModuleDict()
            for name in self.displacements:
                layer = self.base.get_submodule(name)
                free[name] = LinearizedModel.kinds[type(layer)](layer)
            with torch.enable_grad():
                tangent = self._tangent(found, free)[0]
            names, parameters = zip(*free.named_parameters(), strict=True)
            return dict(zip(names, torch.autograd.grad(tangent, parameters, weights), strict=True))

        return Account(outputs, gradients)

    def _in_double(self, inputs: Tensor) -> Account:
        model = copy.deepcopy(self).double()
        return model._account(inputs.double(), model._base_pass(inputs.double(), None).outputs)

    def forward(self, examples: BasePass | TangentFeatures) -> Tensor:
        """Return f(x; θ0) + J(x) δ, (n, C), from what is stored of these examples."""
        with torch.autocast(examples.outputs.device.type, enabled=False):
            if isinstance(examples, TangentFeatures):
                return examples.outputs + examples.tangent(self.displacements)
            return examples.outputs + self._tangent(examples, self.displacements)

    def _tangent(self, base: BasePass, displacements: nn.ModuleDict) -> Tensor:
        if self.dense:
            weights = [part.weight for _, part in self._moving() if isinstance(part, nn.Linear)]
            seen = [base.inputs, *base.activations]
            return dense_tangent(list(displacements.values()), weights, seen)
        seen, tangent = _channels_first(base.inputs), None
        activations = map(_channels_first, base.activations)
        for name, module in self._moving():
            if name in displacements:
                moved = displacements[name](seen)
                rule = RULES[type(module)]
                tangent = moved if tangent is None else rule.add(moved, module, tangent)
            elif isinstance(module, nn.ReLU):
                seen = next(activations)
                tangent = where_active(tangent, seen)
            else:
                seen, tangent = walk(module, seen), walk(module, tangent)
        return tangent

    @torch.no_grad()
    def delta(self) -> dict[str, Tensor]:
        """Return δ as displacements of the network's parameters, by their names and shapes."""
        moved = {}
        first = next(iter(self.displacements))
        for name, displacement in self.displacements.items():
            weight, bias = displacement_of(displacement)
            if self.basis is not None and name == first:
                weight = weight @ self.basis.T
            moved[f"{name}.weight"] = weight
            if bias is not None:
                moved[f"{name}.bias"] = bias
        return moved


class FreeLinear(nn.Module):
    """h ↦ h D + d, with D stored as the weight of a linear layer, (out, in), and d (out,)."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros_like(layer.weight))
        self.bias = None if layer.bias is None else nn.Parameter(torch.zeros_like(layer.bias))

    def moved(self, seen: Tensor, *, keep: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return h D + d, and nothing to keep."""
        del keep
        return nn.functional.linear(seen, self.weight, self.bias), ()

    def gradients(self, seen: Tensor, kept: tuple[Tensor, ...], outer: Tensor) -> list[Tensor]:
        """Return the gradients of weight and bias from that of h D + d."""
        del kept
        weight = outer.T @ seen
        return [weight] if self.bias is None else [weight, outer.sum(dim=0)]

    def forward(self, seen: Tensor) -> Tensor:
        """Return h D + d."""
        return self.moved(seen)[0]


def free_convolution(layer: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution of the same shape, with weights and bias zero."""
    copied = copy.deepcopy(layer).requires_grad_()
    for parameter in copied.parameters():
        nn.init.zeros_(parameter)
    return copied


class LinearizedModel(TangentModel):
    """The network linearised in its parameters: D_l and d_l are free (*fixed features*)."""

    kinds: ClassVar = {nn.Linear: FreeLinear, nn.Conv2d: free_convolution}


def displacement_of(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Return D and d of a displacement, in the shapes of the layer's weight and bias."""
    return module.weight, module.bias


def row_space(inputs: Tensor) -> Tensor:
    """Compute an orthonormal basis (inputs, r) of the span of the examples' inputs.

    Displacements of a first linear layer that start at zero and follow gradients, with momentum
    or weight decay, stay in this span: ∂/∂D = hᵀ g. Components of other examples outside the
    span meet zeros. For adaptive features the same holds of M1 − I and W, which start at zero,
    by induction over the steps. In the coordinates of an orthonormal basis gradient descent takes
    the same way, so that leaving out the rest changes nothing but rounding.

    Args:
        inputs: (n, …), flattened.

    Returns:
        Eigenvectors of the second moments whose eigenvalues are above rounding, in float64 and
        relative to the largest, 1e-12 (1e-6 of the largest singular value: what is left out is
        below the resolution of float32); as many as the examples have independent inputs.
    """
    rows = inputs.flatten(1).double()
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    return vectors[:, values > 1e-12 * values[-1]].to(inputs.dtype).contiguous()


def _layers(network: nn.Sequential, kinds: Collection[type[nn.Module]]) -> dict[str, nn.Module]:
    """Return the layers of a chain by name, after checking that it is one."""
    known = (*kinds, nn.ReLU, nn.AvgPool2d, nn.Flatten)
    instead = "write the network as one nn.Sequential of these"
    chain = chain_of(network, known, what="tangent models", otherwise=instead)
    layers = {name: part for name, part in chain if type(part) in kinds}
    if not layers:
        raise ValueError("the network has no layer with parameters")
    seen_again = True
    for name, module in chain:
        if name in layers and not seen_again:
            raise ValueError(f"expected a ReLU between {name!r} and the layer before it")
        seen_again = isinstance(module, nn.ReLU) or (seen_again and name not in layers)
    return layers


def _check_seen(name: str, layer: nn.Module, values: Tensor, count: int) -> None:
    """Check that a layer sees rows (n, in), or images (n, channels, height, width)."""
    if isinstance(layer, nn.Linear):
        fits, expected = values.shape == (count, layer.in_features), f"({layer.in_features},)"
    else:
        fits = values.ndim == 4 and values.shape[:2] == (count, layer.in_channels)
        expected = f"({layer.in_channels}, height, width)"
    if not fits:
        raise ValueError(
            f"expected layer {name!r} to see {expected} for each of {count} examples, got "
            f"{tuple(values.shape)}; give inputs of that size, or put nn.Flatten() before the layer"
        )


def _channels_last(values: Tensor) -> Tensor:
    """Return images (n, c, h, w) as a contiguous (n, h, w, c), anything else as it is."""
    return values.permute(0, 2, 3, 1).contiguous() if values.ndim == 4 else values


def _channels_first(values: Tensor) -> Tensor:
    """Undo :func:`_channels_last` as a view, which convolutions read as channels_last."""
    return values.permute(0, 3, 1, 2) if values.ndim == 4 else values
