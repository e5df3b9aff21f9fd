"""Train networks from weights of several scales and measure where the ansatz comes from (B5)."""

from collections.abc import Sequence
from functools import partial

import torch

from feature_alignment import command
from feature_alignment.data.loading import Task
from feature_alignment.papers.beaglehole2024.ansatz import build_network
from feature_alignment.probes.accuracy import fit
from feature_alignment.probes.ansatz import (
    ansatz,
    centred_share,
    hidden_layers,
    null_covariance,
    powers,
)
from feature_alignment.run.context import Run, parse_run
from feature_alignment.training.loop import Checkpointing, Measurement, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.schedules import EveryEpochs, first_epoch_then


def main(argv: Sequence[str] | None = None) -> None:
    """Train from every scale; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.papers.beaglehole2024.initial_scale", __doc__, argv)
    task = run.task()
    starts = run.settings["starts"]
    parts = {(s["gain"],): partial(train_from, run, task, **s) for s in starts}
    if len(parts) < len(starts):
        raise ValueError("expected every gain once in the setting starts; remove the repeated ones")
    run.complete_parts(["gain"], parts)


def train_from(
    run: Run, task: Task, checkpointing: Checkpointing, *, gain: float, learning_rate: float
) -> list[Measurement]:
    """Train from the initial weights with those of the hidden layers times a gain.

    All gains start at the same weights but for the gain, and see the same batches. Measures, after
    the first epoch and every ``measure.every``-th one from there on: ``loss`` and ``accuracy``
    per split and those of :mod:`feature_alignment.probes.ansatz`.

    References:
        beaglehole2024, the scale of initialisation and the null of the PTK (from memory).
    """
    settings = run.settings
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build_network(run, task).to(run.device)
    layers = hidden_layers(network)
    with torch.no_grad():
        for name in layers:
            network.get_submodule(name).weight.mul_(gain)
    measure = settings["measure"]
    examples = train_set.first(measure["covariance_examples"], "measure.covariance_examples")
    null = null_covariance(partial(run.generator, "probe"), layers, measure["null_draws"])
    loss = LOSSES[settings["loss"]]
    return train(
        network,
        train_set.inputs,
        train_set.labels,
        loss=loss,
        optimizer=torch.optim.SGD(network.parameters(), lr=learning_rate),
        learning_rate=first_epoch_then(settings["first_epoch_rate"], learning_rate),
        batch_size=settings["batch_size"],
        epochs=1 + settings["epochs"],
        order=run.shuffled(len(train_set)),
        schedule=EveryEpochs(measure["every"], first=1),
        instruments=[
            fit(loss, train=train_set, test=test_set),
            ansatz(network, examples.inputs, questions=[centred_share, null, powers]),
        ],
        checkpointing=checkpointing,
    )


if __name__ == "__main__":
    command.run(main)
