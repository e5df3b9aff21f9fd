"""Learn a chain of monomials by SGD and with speed limits on the layers (B7)."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from feature_alignment.data.loading import Examples
from feature_alignment.data.monomials import gaussian_chain
from feature_alignment.measures.ansatz import average_gradient_outer_product, neural_feature_matrix
from feature_alignment.models.build import build
from feature_alignment.papers.beaglehole2024.limits import make_method
from feature_alignment.probes.ansatz import LayerState, Question, ansatz_probe
from feature_alignment.run.context import Run
from feature_alignment.tangents.preactivations import preactivation_covariances
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.losses import mse
from feature_alignment.training.readings import Measurement, Probe, Reading
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import EveryEpochs

FIRST = "linear1"


def measure(run: Run) -> None:
    """Train by every method on every task, and keep the first layers' features."""
    shown = run.settings["tasks"][0]
    features: dict[str, tuple[Tensor, Tensor]] = {}

    def learn(task: Mapping, method: str, checkpointing: Checkpointing) -> list[Measurement]:
        network, inputs, measurements = train_by(run, task, method, checkpointing)
        if task == shown:
            features[method] = first_features(network, inputs)
        return measurements

    run.complete_parts(
        ["rank", "dimension", "method"],
        {
            (task["rank"], task["dimension"], method): partial(learn, task, method)
            for task in run.settings["tasks"]
            for method in run.settings["methods"]
        },
        lambda: feature_arrays(shown["rank"], features),
    )


def train_by(
    run: Run, task: Mapping, method: str, checkpointing: Checkpointing
) -> tuple[nn.Sequential, Tensor, list[Measurement]]:
    """Train on one task by one method; return the network, its training inputs, the measurements.

    All methods start at the same weights and see the same examples in the same order. Measures,
    before training and after every ``measure_every`` epochs: ``loss``, the squared error, and
    ``relative_loss``, that over the variance of the targets, per split; those of the ansatz; and of
    the first layer ``nfm_share`` and ``agop_share``, how much of the trace of NFM and AGOP lies on
    the relevant coordinates.

    References:
        beaglehole2024, Speed Limited Optimisation (from memory: sizes and rates are ours).
    """
    settings = run.settings
    rank, dimension = task["rank"], task["dimension"]
    examples = {
        split: Examples(
            *gaussian_chain(count, dimension, rank, run.generator("subset", rank, dimension, k))
        ).to(run.device)
        for k, (split, count) in enumerate(settings["examples"].items())
    }
    network = build(settings["model"], (dimension,), 1, run.generator("init", dimension))
    network = network.to(run.device)
    chosen = settings["methods"][method]
    recipe = Recipe.of(
        settings,
        network,
        len(examples["train"]),
        run,
        learning_rate=chosen["learning_rate"],
        loss=mse,
        optimizer=make_method(network, chosen),
    )
    inputs = examples["train"].inputs
    measurements = train(
        network,
        examples["train"],
        recipe,
        schedule=EveryEpochs(settings["measure_every"]),
        probes=[losses(examples), ansatz_probe(network, inputs, questions=[relevant_shares(rank)])],
        checkpointing=checkpointing,
    )
    return network, inputs, measurements


def losses(examples: Mapping[str, Examples]) -> Probe:
    """Return the probe that reads ``loss`` and ``relative_loss`` on each split."""

    def read(network: nn.Module) -> Iterator[Reading]:
        for split, own in examples.items():
            with torch.no_grad():
                value = mse(network(own.inputs), own.labels).item()
            yield Reading("loss", value, split=split)
            variance = own.labels.var(correction=0).item()
            yield Reading("relative_loss", value / variance, split=split)

    return read


def relevant_shares(rank: int) -> Question:
    """Return the question how much of the first layer's features lies on the relevant inputs.

    ``nfm_share`` and ``agop_share``, the shares of the traces of NFM and AGOP on the first ``rank``
    inputs.
    """

    def read(layer: LayerState) -> Iterator[Reading]:
        if layer.name == FIRST:
            features = {
                "nfm_share": neural_feature_matrix(layer.weight),
                "agop_share": average_gradient_outer_product(layer.weight, layer.covariance),
            }
            for name, matrix in features.items():
                diagonal = matrix.diagonal().double()
                yield Reading(name, (diagonal[:rank].sum() / diagonal.sum()).item(), FIRST, "train")

    return read


def first_features(network: nn.Sequential, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return NFM and AGOP of the first layer, (d, d) each."""
    weight = network.get_submodule(FIRST).weight.detach()
    covariance = preactivation_covariances(network, [inputs])[FIRST]
    return neural_feature_matrix(weight), average_gradient_outer_product(weight, covariance)


def feature_arrays(
    rank: int, features: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, np.ndarray]:
    """Return the first layers' features at the end of training, on the first task.

    ``rank`` (), r; ``methods`` (m,); and ``nfm`` and ``agop`` (m, d, d), float32.
    """
    pairs = [[matrix.cpu().float().numpy() for matrix in pair] for pair in features.values()]
    nfm, agop = map(np.stack, zip(*pairs, strict=True))
    return {"rank": np.array(rank), "methods": np.array(list(features)), "nfm": nfm, "agop": agop}
