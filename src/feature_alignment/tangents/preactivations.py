"""Covariance of the gradients with respect to pre-activations.

:func:`preactivation_covariances` is for chains of linear layers, :func:`graph_covariances` for any
network of linear and convolutional layers; where both apply they agree.
"""

import copy
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from feature_alignment.tangents.capture import layer_passes
from feature_alignment.tangents.chain import chain_of, has_hooks, verify_walk, walk
from feature_alignment.tangents.layers import LayerPass, Patches
from feature_alignment.tangents.verify import (
    Account,
    check_finite,
    check_inputs,
    undisturbed,
    working_dtype,
)

POINTWISE = (nn.ReLU, nn.GELU, nn.Tanh, nn.Identity)


@torch.inference_mode(mode=False)
@torch.no_grad()
def preactivation_covariances(
    network: nn.Sequential, batches: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Compute the pre-activation covariance of every hidden linear layer.

    With pre-activations h_l = W_l x_l + b_l of layer l,

        K_l = Σ_α Σ_c g gᵀ,   g = ∂f_c(x_α)/∂h_l,

    summed, not averaged, over the examples α and the outputs c of the raw network (no softmax).
    One forward pass and one backward pass for all outputs at once serve every layer; per-example
    gradients live only for one batch, and K_L of the last hidden layer needs none, since there
    g_c = w_c ∘ φ′(h_L) gives K_L = (Σ_α φ′ φ′ᵀ) ∘ (W_{L+1}ᵀ W_{L+1}). Whether a layer is frozen
    (``requires_grad=False``) makes no difference.

    Args:
        network: A chain of :class:`torch.nn.Flatten`, :class:`torch.nn.Linear` and activations
            that act on each unit alone, such as :func:`feature_alignment.models.mlp.mlp` builds;
            one activation may be called at several places.
        batches: Inputs (batch, …), a few hundred examples each; their sizes set the memory used,
            not the result.

    Returns:
        For each linear layer but the last, by module name, K_l of shape (width, width), in the
        network's precision, but float32 for half; autocast has no say.

    Raises:
        ValueError: If the network is not such a chain; if hooks make its outputs or gradients
            differ from those of the chain; if there is no batch, or one without examples; if an
            input or a pre-activation is not finite.

    References:
        Beaglehole et al. (2024), PTK feature covariance (their 1/n is left out, as in the
        summed AGOP).
    """
    dtype = working_dtype(network)
    chain = _chain(network).to(dtype)
    *names, _ = chain.linears
    covariances = {
        name: chain.linears[name].weight.new_zeros(2 * [chain.linears[name].out_features])
        for name in names
    }

    def in_double(inputs: Tensor) -> Account:
        double = chain.to(torch.float64)
        return double.account(double.walk(inputs.double()))

    hooked, verified = has_hooks(network), False
    for inputs in batches:
        check_inputs(network, inputs)
        with undisturbed(network):
            found = chain.walk(inputs.to(dtype))
            if hooked or not verified:  # without hooks one batch speaks for all
                verify_walk(network, inputs, chain.account(found), partial(in_double, inputs))
                verified = True
            _add_gram(covariances[names[-1]], found.slopes[-1])
            for name, gradients in chain.hidden_gradients(found.slopes):
                if name != names[-1]:
                    _add_gram(covariances[name], gradients.flatten(0, 1))
    if not verified:
        raise ValueError("expected at least one batch of inputs")
    with undisturbed(network):
        covariances[names[-1]] *= chain.readout.T @ chain.readout
    for covariance in covariances.values():
        _mirror(covariance)
    return covariances


def graph_covariances(
    model: nn.Module, batches: Iterable[Tensor], layers: Collection[str] | None = None
) -> dict[str, Tensor]:
    """Compute the pre-activation covariance of every linear and convolutional layer.

    With h_l(s) the output of layer l, bias included, at spatial position s,

        K_l = Σ_α Σ_c Σ_s g gᵀ,   g = ∂f_c(x_α)/∂h_l(s),

    summed, not averaged, over the examples α, the outputs c of the raw network (no softmax) and
    the positions. A linear layer has one position per example, or as many as its output has rows.
    With the weight as a matrix W_l (out, in · kernel positions), W_lᵀ K_l W_l sums
    ∂f_c/∂p ∂f_c/∂pᵀ over every patch p that the layer sees. One forward pass and one backward
    pass per output serve every layer.

    Args:
        model: Any module that :func:`feature_alignment.tangents.capture.layer_passes` admits, in
            evaluation mode; normalisation layers have no covariance.
        batches: Inputs (batch, …), ten to a hundred images each. Memory is set by the largest
            batch, not by their number, and the result by neither: the gradients of one batch are
            held for all outputs and layers at once, C numbers per example, unit and position.
        layers: Of which layers, by module name; ``None`` for all.

    Returns:
        For each linear and convolutional layer that the outputs depend on, by module name in the
        order of calls, K_l of shape (out, out) in the model's precision, but float32 for half. The
        last layer is among them: where its outputs are those of the network, its K is the number
        of examples times the identity.

    Raises:
        ValueError: If one of the layers is a convolution with groups, whose outputs see different
            inputs, so that W_lᵀ K_l W_l is not defined; if there is no batch or no layer to
            return, or one of ``layers`` has no covariance; if ``layer_passes`` does not admit the
            model.

    References:
        Beaglehole et al. (2024), PTK feature covariance, for convolutions as in the authors' code.

    Departs from:
        Beaglehole et al. (2024): their 1/n is left out, as in the summed AGOP; their code ignores
        the biases of a convolutional network when it takes the gradients, here the network is the
        true one.
    """
    covariances: dict[str, Tensor] = {}
    for inputs in batches:
        with undisturbed(model):
            # Not bound to a name, which would keep the gradients of one batch during the next.
            for layer in layer_passes(model, inputs)[0]:
                if layer.gradients is None or not isinstance(layer.rule, Patches):
                    continue
                if layers is not None and layer.name not in layers:
                    continue
                width = len(layer.module.weight)
                if layer.name not in covariances:
                    dtype = torch.promote_types(layer.gradients.dtype, torch.float32)
                    covariances[layer.name] = layer.gradients.new_zeros(width, width, dtype=dtype)
                for rows in _rows(layer):
                    _add_gram(covariances[layer.name], rows.to(covariances[layer.name].dtype))
    if not covariances:
        raise ValueError(
            "expected at least one batch of inputs, and outputs that depend on a linear or "
            "convolutional layer"
        )
    if missing := sorted(set(layers or ()) - covariances.keys()):
        raise ValueError(
            f"{', '.join(missing)}: not linear or convolutional layers that outputs depend on; "
            f"those are {', '.join(covariances)}"
        )
    for covariance in covariances.values():
        _mirror(covariance)
    return covariances


@torch.no_grad()
def covariances_of(passes: Iterable[LayerPass]) -> dict[str, Tensor]:
    """Return K_l, (out, out), of every layer that has one, by name.

    Args:
        passes: Of any layers. Those without weights that multiply, those that no output depends
            on, and convolutions with groups have none.
    """
    found: dict[str, Tensor] = {}
    for layer in passes:
        if layer.gradients is None or not isinstance(layer.rule, Patches):
            continue
        if layer.channel_groups != 1 or "weight" not in layer.counted:
            continue
        width = len(layer.module.weight)
        found[layer.name] = layer.gradients.new_zeros(width, width)
        for rows in layer.rule.unit_gradients(layer):
            _add_gram(found[layer.name], rows)
        _mirror(found[layer.name])
    return found


def _rows(layer: LayerPass) -> Iterator[Tensor]:
    """Return the gradients at every output, example and position as rows (…, out), in parts."""
    if layer.channel_groups != 1:
        raise ValueError(
            f"convolution {layer.name!r} has {layer.channel_groups} groups, whose outputs see "
            "different inputs: one covariance for all of them fits no weight matrix; use groups=1, "
            "or leave the layer out with layers=[…]"
        )
    return layer.rule.unit_gradients(layer)


@dataclass(frozen=True)
class _Walk:
    """What each linear layer saw, (n, in), φ′(h_l) of each hidden one, (n, width), and f."""

    seen: list[Tensor]
    slopes: list[Tensor]
    outputs: Tensor


@dataclass(frozen=True)
class _Chain:
    """Modules before the linear layers, linear layers by name, and what follows each but the last.

    Names are in the order of calls.
    """

    before: list[nn.Module]
    linears: dict[str, nn.Linear]
    activations: list[list[nn.Module]]

    @property
    def readout(self) -> Tensor:
        """The weight of the last layer, (C, width)."""
        return list(self.linears.values())[-1].weight

    def to(self, dtype: torch.dtype) -> "_Chain":
        """Return the chain in this precision: itself if it is, else a copy."""
        if all(
            part.dtype == dtype for layer in self.linears.values() for part in layer.parameters()
        ):
            return self
        linears = {name: copy.deepcopy(part).to(dtype) for name, part in self.linears.items()}
        return _Chain(self.before, linears, self.activations)

    def walk(self, inputs: Tensor) -> _Walk:
        """Run inputs (n, …) through the chain, module by module."""
        hidden = inputs
        for module in self.before:
            hidden = walk(module, hidden)
        first, linear = next(iter(self.linears.items()))
        if hidden.shape != (len(inputs), linear.in_features):
            raise ValueError(
                f"expected layer {first!r} to see ({len(inputs)}, {linear.in_features}), got "
                f"{tuple(hidden.shape)}; give inputs of that size, or put nn.Flatten() first"
            )
        seen, slopes = [], []
        for (name, linear), activations in zip(self.linears.items(), self.activations, strict=True):
            seen.append(hidden)
            before = walk(linear, hidden).detach()
            check_finite(before, f"the outputs of layer {name!r}")
            if len(seen) == len(self.linears):
                break
            with torch.enable_grad():
                after = before.requires_grad_()
                for activation in activations:
                    after = walk(activation, after)
                (slope,) = torch.autograd.grad(after.sum(), before)
            slopes.append(slope)
            hidden = after.detach()
        return _Walk(seen, slopes, before)

    def hidden_gradients(self, slopes: list[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Yield ∂f_c/∂h_l by layer, (n, C, width), the last hidden layer first."""
        names, linears = zip(*self.linears.items(), strict=True)
        gradients = linears[-1].weight * slopes[-1][:, None, :]
        yield names[-2], gradients
        for depth in range(len(slopes) - 2, -1, -1):
            gradients = gradients @ linears[depth + 1].weight
            gradients *= slopes[depth][:, None, :]
            yield names[depth], gradients

    def account(self, found: _Walk) -> Account:
        """Return outputs, and gradients in the weights of the hidden layers, for verification."""

        def gradients(place: int, weights: Tensor) -> dict[str, Tensor]:
            slopes = [part[place : place + 1] for part in found.slopes]
            seen = dict(zip(self.linears, found.seen, strict=True))
            return {
                f"{name}.weight": torch.outer(weights @ rows[0], seen[name][place])
                for name, rows in self.hidden_gradients(slopes)
            }

        return Account(found.outputs, gradients)


def _chain(network: nn.Sequential) -> _Chain:
    """Split the chain into linear layers and what acts on units before and after them."""
    before: list[nn.Module] = []
    linears: dict[str, nn.Linear] = {}
    activations: list[list[nn.Module]] = []
    known = (nn.Flatten, nn.Linear, *POINTWISE)
    instead = "graph_covariances follows any forward"
    for name, module in chain_of(network, known, what="chain covariances", otherwise=instead):
        if isinstance(module, nn.Linear):
            linears[name] = module
            activations.append([])
        elif not linears:
            before.append(module)
        elif isinstance(module, nn.Flatten):
            raise ValueError(f"expected Flatten {name!r} before all linear layers; move it there")
        else:
            activations[-1].append(module)
    if len(linears) < 2 or activations[-1]:
        raise ValueError("expected at least one hidden layer and a linear layer at the end")
    return _Chain(before, linears, activations)


def _add_gram(total: Tensor, rows: Tensor) -> None:
    """Add rowsᵀ rows to the upper block triangle of ``total``, three quarters of the work."""
    half = (len(total) + 1) // 2
    total[:half, :half].addmm_(rows[:, :half].T, rows[:, :half])
    total[:, half:].addmm_(rows.T, rows[:, half:])


def _mirror(total: Tensor) -> None:
    half = (len(total) + 1) // 2
    total[half:, :half] = total[:half, half:].T
