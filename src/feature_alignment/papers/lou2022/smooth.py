"""Train a network with a smooth activation on the edge of chaos and follow its layers."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from feature_alignment.measures import information
from feature_alignment.measures.smooth_information import (
    Edge,
    backward_correlations,
    edge_of_chaos,
    forward_distances,
    mean_field_equilibrium,
)
from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.run.context import Run
from feature_alignment.tangents.capture import layer_passes
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement, Probe, Reading, taken
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import AtLosses
from feature_alignment.training.stopping import LossBelow


def measure(run: Run) -> None:
    """Perform one training."""
    run.complete(lambda checkpointing: follow_layers(run, checkpointing))


def follow_layers(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements.

    They are those of :func:`feature_alignment.papers.lou2022.hierarchy.follow_layers`, taken at
    initialisation and where the smoothed training loss reaches each of ``stop.losses``, with the
    information at initialisation by :func:`initial_information`.
    """
    settings, task = run.settings, run.task()
    edge = edge_of_chaos(settings["model"]["activation"], settings["bias_variance"])
    network = build_on_edge(run, edge, task.shape, task.classes)
    options = settings["measure"]
    splits = {"train": task.train.to(run.device), "test": task.test.to(run.device)}
    probed = {
        split: examples.first(options["kernel_examples"], "measure.kernel_examples")
        for split, examples in splits.items()
    }
    fitted = splits["train"].first(options["fit_examples"], "measure.fit_examples")
    stop = LossBelow(settings["stop"]["losses"], settings["stop"]["epochs"])
    initial = taken(initial_information(network, probed["test"].inputs, edge))
    recipe = Recipe.of(settings, network, len(splits["train"]), run, stop=stop)
    return initial + train(
        network,
        splits["train"],
        recipe,
        schedule=AtLosses(stop),
        probes=[
            _progress(stop),
            accuracy_probe(recipe.loss, train=fitted, test=splits["test"]),
            kernel_probe(probed, task.classes, spectrum=False),
        ],
        checkpointing=checkpointing,
    )


def build_on_edge(run: Run, edge: Edge, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Build the run's network with weights and biases on the edge of chaos.

    Weights have the variance σ_w² / fan_in, but for those of the first layer, which have
    (q − σ_b²) / fan_in: for inputs of mean square 1 its outputs have the variance q. Biases have
    the variance σ_b².
    """
    draw = run.generator("init")
    network = build(run.settings["model"], shape, classes, draw)
    layers = [module for module in network if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            first = layer is layers[0]
            variance = edge.variance - edge.bias_variance if first else edge.weight_variance
            layer.weight.mul_(math.sqrt(variance / 2))  # he_normal has 2 / fan_in
            layer.bias.normal_(0, math.sqrt(edge.bias_variance), generator=draw)
    return network.to(run.device)


def initial_information(network: nn.Sequential, inputs: Tensor, edge: Edge) -> Iterator[Reading]:
    """Measure what a fully connected network on the edge does to the correlations of inputs.

    Measures as those of
    :func:`feature_alignment.papers.lou2022.information.initial_information`, with c^l the
    correlation of two inputs at the outputs of layer l over draws of its weights and biases, given
    what it sees. Without biases that is the cosine of what it sees. ``input_correlation`` is the
    mean of c^1.

    Args:
        network: Of :func:`build_on_edge`.
        inputs: (n, …).
        edge: Where it is initialised.
    """
    with torch.no_grad():
        passes, _ = layer_passes(network, inputs)
    variances = [edge.variance - edge.bias_variance, *[edge.weight_variance] * (len(passes) - 1)]
    correlations = [
        pair_correlations(layer.inputs.flatten(1), variance, edge.bias_variance).cpu()
        for layer, variance in zip(passes, variances, strict=True)
    ]
    expected = forward_distances(correlations[0], len(passes), edge)
    curves = {
        "forward_distance": torch.stack([1 - found.mean() for found in correlations]),
        "backward_correlation": torch.stack(
            [information.pair_cosines(layer.gradients).nanmean().cpu() for layer in passes]
        ),
        "forward_distance_mean_field": expected.mean(dim=1),
        "backward_correlation_mean_field": backward_correlations(expected, edge).mean(dim=1),
    }
    for name, values in curves.items():
        for layer, value in zip(passes, values.tolist(), strict=True):
            yield Reading(name, value, layer.name)
    mean = correlations[0].mean().item()
    measured = (curves["forward_distance"], curves["backward_correlation"])
    yield Reading("input_correlation", mean)
    yield Reading("equilibrium_layer", information.equilibrium_layer(*measured))
    law = mean_field_equilibrium(mean, len(passes), edge)
    yield Reading("equilibrium_layer_mean_field", law)


def pair_correlations(seen: Tensor, weight_variance: float, bias_variance: float) -> Tensor:
    """Compute the correlation of every pair of distinct inputs at a unit of a layer.

    It is that over draws of the unit's weights, of variance ``weight_variance`` / fan_in, and of
    its bias: cov(x, x′) = σ_b² + σ_w² ⟨h(x), h(x′)⟩ / fan_in, divided by both deviations.

    Args:
        seen: h, what the layer sees, (n, fan_in).
        weight_variance: σ_w².
        bias_variance: σ_b².

    Returns:
        (n (n − 1) / 2) in float64.
    """
    rows = seen.double()
    covariance = bias_variance + weight_variance * (rows @ rows.T) / rows.shape[1]
    deviations = covariance.diagonal().sqrt()
    first, second = torch.triu_indices(len(rows), len(rows), offset=1)
    return (covariance / deviations / deviations[:, None])[first, second]


def _progress(stop: LossBelow) -> Probe:
    def read(network: nn.Module) -> Iterator[Reading]:
        yield Reading("losses_reached", stop.reached)
        if stop.smoothed is not None:
            yield Reading("smoothed_loss", stop.smoothed)

    return read
