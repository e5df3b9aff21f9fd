"""The neural feature ansatz in the layers of any model."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from feature_alignment.api.kernels import ByLayer
from feature_alignment.api.networks import Batch, Output, Prepared, evaluated, prepared
from feature_alignment.measures.ansatz import (
    Correlations,
    ansatz_correlations,
    average_gradient_outer_product,
)
from feature_alignment.tangents.capture import layers_with_rules, passes_of
from feature_alignment.tangents.layers import Patches
from feature_alignment.tangents.network import RULE, brief, settle
from feature_alignment.tangents.preactivations import covariances_of
from feature_alignment.tangents.verify import check_inputs

BATCH = 64
"""Examples per pass."""


@dataclass(frozen=True)
class LayerAnsatz:
    """How the neural feature matrix of a layer goes with its AGOP.

    ``uncentred`` is of W, ``centred`` of W − W(0), ``None`` where W(0) is not given or W has not
    moved; ``weight_change`` is ‖W − W(0)‖ / ‖W‖, 0 where W(0) is not given.
    """

    uncentred: Correlations
    centred: Correlations | None
    weight_change: float


class LayerAnsatzes(ByLayer):
    """:class:`LayerAnsatz` by name of the layer; ``methods`` says why others have none."""


class LayerMatrices(ByLayer):
    """AGOPs by name of the layer; ``methods`` says why others have none."""


def agop(model: nn.Module, x: Batch, *, output: Output | None = None) -> LayerMatrices:
    """Compute the average gradient outer product of what every layer sees, Wᵀ K W.

    K = Σ ∂f_c/∂h ∂f_c/∂hᵀ is summed over examples, outputs and positions, h being the layer's
    outputs. The weight of a convolution is (out, in · kernel positions), and the product that of
    the patches that it sees.

    Args:
        model: As in :func:`feature_alignment.api.kernels.layer_kernels`.
        x: As there.
        output: As there.

    Returns:
        (in, in) by name of each linear or convolutional layer without groups that is called once.
        The last layer, whose outputs are those of the model, is not among them.

    Raises:
        ValueError: If there is no such layer; or as there.

    References:
        Beaglehole et al. (2024); Radhakrishnan et al. (2024).
    """
    covariances, weights, methods = weighed(model, x, output)
    found = {
        name: average_gradient_outer_product(weights[name].to(covariance), covariance)
        for name, covariance in covariances.items()
    }
    return LayerMatrices(found, methods)


def nfa(
    model: nn.Module,
    x: Batch,
    *,
    initial: nn.Module | Mapping[str, Tensor] | None = None,
    output: Output | None = None,
) -> LayerAnsatzes:
    """Correlate the neural feature matrix Wᵀ W of every layer with its AGOP Wᵀ K W.

    Args:
        model: As in :func:`feature_alignment.api.kernels.layer_kernels`.
        x: As there.
        initial: The model before training, or its ``state_dict``, for the centred ansatz.
        output: As there.

    Returns:
        By name of each layer that :func:`agop` knows and that is not dead.

    Raises:
        ValueError: If the initial weights do not fit; or as in :func:`agop`.

    References:
        Beaglehole et al. (2024), uncentred and centred neural feature ansatz.
    """
    covariances, weights, methods = weighed(model, x, output)
    before = initial_weights(initial, weights)
    found = {}
    for name, covariance in covariances.items():
        weight = weights[name]
        moved = weight - before[name].to(weight) if before else torch.zeros_like(weight)
        norms = (torch.linalg.vector_norm(part.double()) for part in (moved, weight))
        change = torch.div(*norms).item()
        centred = ansatz_correlations(moved, covariance) if moved.any() else None
        found[name] = LayerAnsatz(ansatz_correlations(weight, covariance), centred, change)
    return LayerAnsatzes(found, methods)


def initial_weights(
    initial: nn.Module | Mapping[str, Tensor] | None, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return W(0), (out, in), of layers by name.

    Raises:
        ValueError: If one is missing or has another shape.
    """
    if initial is None:
        return {}
    state = initial.state_dict() if isinstance(initial, nn.Module) else initial
    found = {}
    for name, weight in weights.items():
        keys = [f"{name}.weight" if name else "weight", f"{name}.in_proj_weight"]
        key = next((key for key in keys if key in state), None)
        if key is None or state[key].flatten(1).shape != weight.shape:
            raise ValueError(
                f"expected initial weights {keys[0]!r} of shape {tuple(weight.shape)}, got "
                f"{'none' if key is None else tuple(state[key].shape)}; give the state_dict() of "
                "the same model before training"
            )
        found[name] = state[key].detach().flatten(1)
    return found


def weighed(
    model: nn.Module, x: Batch, output: Output | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, str]]:
    """Return K, (out, out), and W, (out, in), by layer, and how layers were found or why not."""
    with evaluated(model):
        return weighed_of(prepared(model, x, None, output))


def weighed_of(made: Prepared) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, str]]:
    """Do what :func:`weighed` does for a model in evaluation mode."""
    model = made.module
    dtype = check_inputs(model, made.inputs)
    layers, lacking = layers_with_rules(model, {id(value) for value in model.parameters()})
    lacking = {name: brief(why) for name, why in lacking.items()}
    for name, layer in list(layers.items()):
        if not isinstance(layer.rule, Patches):
            del layers[name]  # norms and the like have no such matrix
        elif layer.channel_groups != 1:
            lacking[name] = f"{name!r} is a convolution with groups"
            del layers[name]
    covariances: dict[str, Tensor] = {}
    for part in made.inputs.split(BATCH):
        passes, _ = settle(layers, lacking, lambda part=part: passes_of(model, part, dtype, layers))
        for name, found in covariances_of(passes).items():
            covariances[name] = covariances[name] + found if name in covariances else found
    n = len(made.inputs)
    for name in list(covariances):
        if name not in layers:
            del covariances[name]  # not known for every part
            continue
        covariance = covariances[name]
        last = torch.equal(covariance, n * torch.eye(len(covariance)).to(covariance))
        if last or not covariance.any():
            del covariances[name]
            lacking[name] = f"{name!r} is " + ("the last layer" if last else "dead")
    if not covariances:
        raise ValueError(
            "no linear or convolutional layer of the model has an AGOP: "
            + made.text("; ".join(lacking.values()))
        )
    weights = {
        made.name(name): layers[name].module.weight.detach().flatten(1) for name in covariances
    }
    found = {made.name(name): value for name, value in covariances.items()}
    methods = {name: RULE for name in found}
    methods |= {made.name(name): f"left out: {made.text(why)}" for name, why in lacking.items()}
    return found, weights, methods
