"""Learn a chain of monomials by SGD and with speed limits on the layers (B7)."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from feature_alignment import command
from feature_alignment.data.monomials import gaussian_chain
from feature_alignment.measures.ansatz import (
    average_gradient_outer_product,
    neural_feature_matrix,
)
from feature_alignment.models.mlp import mlp
from feature_alignment.papers.beaglehole2024.limits import make_method
from feature_alignment.probes.ansatz import LayerState, Question, ansatz
from feature_alignment.run.context import Run, parse_run
from feature_alignment.storage import replacing
from feature_alignment.tangents.preactivations import preactivation_covariances
from feature_alignment.training.loop import Checkpointing, Instrument, Measurement, Reading, train
from feature_alignment.training.losses import mse
from feature_alignment.training.schedules import EveryEpochs, constant

FIRST = "linear1"


def main(argv: Sequence[str] | None = None) -> None:
    """Train by every method on every task; see ``--help`` for the arguments.

    Beside the table, with the ending ``.npz``, lies what :func:`save_features` writes.
    """
    run = parse_run("feature_alignment.papers.beaglehole2024.speed_limits", __doc__, argv)
    complete(run)


def complete(run: Run) -> None:
    """Train by every method on every task, and write the table and the first layers' features."""
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
        beside=lambda: save_features(run.out.with_suffix(".npz"), shown["rank"], features),
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
        split: gaussian_chain(count, dimension, rank, run.generator("subset", rank, dimension, k))
        for k, (split, count) in enumerate(settings["examples"].items())
    }
    examples = {k: (x.to(run.device), y.to(run.device)) for k, (x, y) in examples.items()}
    network = mlp(
        dimension, **settings["model"], outputs=1, generator=run.generator("init", dimension)
    ).to(run.device)
    inputs, targets = examples["train"]
    rate = settings["methods"][method]["learning_rate"]
    measurements = train(
        network,
        inputs,
        targets,
        loss=mse,
        optimizer=make_method(network, settings["methods"][method]),
        learning_rate=constant(rate),
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        order=run.shuffled(len(targets)),
        schedule=EveryEpochs(settings["measure_every"]),
        instruments=[
            losses(examples),
            ansatz(network, inputs, questions=[relevant_shares(rank)]),
        ],
        checkpointing=checkpointing,
    )
    return network, inputs, measurements


def losses(examples: Mapping[str, tuple[Tensor, Tensor]]) -> Instrument:
    """Return the instrument that reads ``loss`` and ``relative_loss`` on each split."""

    def read(network: nn.Module) -> Iterator[Reading]:
        for split, (inputs, targets) in examples.items():
            with torch.no_grad():
                value = mse(network(inputs), targets).item()
            yield Reading("loss", value, split=split)
            variance = targets.var(correction=0).item()
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


def save_features(path: Path, rank: int, features: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Write the first layers' features at the end of training, on the first task.

    The file has ``rank`` (), r; ``methods`` (m,); and ``nfm`` and ``agop`` (m, d, d), float32.
    """
    pairs = [[matrix.cpu().float().numpy() for matrix in pair] for pair in features.values()]
    nfm, agop = map(np.stack, zip(*pairs, strict=True))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, rank=np.array(rank), methods=np.array(list(features)), nfm=nfm, agop=agop)


if __name__ == "__main__":
    command.run(main)
