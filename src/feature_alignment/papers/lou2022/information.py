"""Forward and backward information of a network at initialisation, and where they balance."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from feature_alignment.measures import information
from feature_alignment.models.build import build
from feature_alignment.run.context import Run
from feature_alignment.tangents.capture import layer_passes
from feature_alignment.training.readings import Measurement, Reading, taken


def measure(run: Run) -> None:
    """Measure one initialisation."""
    run.complete(lambda _: measure_information(run))


def measure_information(run: Run) -> list[Measurement]:
    """Measure the run's network as it is initialised, on the first test images."""
    task = run.task()
    network = build(run.settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device).eval()
    examples = task.test.first(run.settings["measure"]["examples"], "measure.examples")
    return taken(initial_information(network, examples.inputs.to(run.device)))


def initial_information(network: nn.Module, inputs: Tensor) -> Iterator[Reading]:
    """Measure what a fully connected network does to the correlations of inputs.

    Measures, for every layer, as means over all pairs of distinct inputs (and over outputs):
    ``forward_distance`` 1 − c^l and ``backward_correlation`` c̃^l; with the suffix ``_mean_field``
    the same for the infinitely wide network, pair by pair. For the network: ``input_correlation``,
    the mean of c^1; ``equilibrium_layer`` of the measured means; and
    ``equilibrium_layer_mean_field`` of the recursion from the mean of c^1.

    Args:
        network: Built by :func:`feature_alignment.models.mlp.mlp`.
        inputs: (n, …).

    References:
        lou2022, the equilibrium hypothesis. Departs from: the paper's own definition is not
        public; see :mod:`feature_alignment.measures.information`.
    """
    with torch.no_grad():
        passes, _ = layer_passes(network, inputs)
    cosines = information.pair_cosines(inputs.flatten(1))
    expected = information.forward_distances(cosines, len(passes))
    curves = {
        "forward_distance": torch.stack(
            [1 - information.pair_cosines(layer.inputs.flatten(1)).nanmean() for layer in passes]
        ),
        "backward_correlation": torch.stack(
            [information.pair_cosines(layer.gradients).nanmean() for layer in passes]
        ),
        "forward_distance_mean_field": expected.mean(dim=1),
        "backward_correlation_mean_field": information.backward_correlations(expected).mean(dim=1),
    }
    for measure, values in curves.items():
        for layer, value in zip(passes, values.tolist(), strict=True):
            yield Reading(measure, value, layer.name)
    mean = cosines.mean().item()
    scalars = {
        "input_correlation": mean,
        "equilibrium_layer": information.equilibrium_layer(
            curves["forward_distance"], curves["backward_correlation"]
        ),
        "equilibrium_layer_mean_field": information.mean_field_equilibrium(mean, len(passes)),
    }
    for measure, value in scalars.items():
        yield Reading(measure, value)
