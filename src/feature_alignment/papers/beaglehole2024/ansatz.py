"""Train one network and measure the neural feature ansatz in its layers (B1, B2, B3)."""

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from feature_alignment import command
from feature_alignment.data.loading import Task
from feature_alignment.models.mlp import mlp
from feature_alignment.probes.accuracy import fit
from feature_alignment.probes.ansatz import ansatz
from feature_alignment.run.context import Run, parse_run
from feature_alignment.training.loop import Checkpointing, Measurement, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.schedules import EveryEpochs, first_epoch_then


def main(argv: Sequence[str] | None = None) -> None:
    """Run one training; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.papers.beaglehole2024.ansatz", __doc__, argv)
    run.complete(lambda checkpointing: measure_ansatz(run, checkpointing))


def measure_ansatz(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements, taken after every epoch.

    Measures: ``loss`` and ``accuracy`` per split; per hidden layer ``weight_change``
    (‖W − W(0)‖ / ‖W‖, Frobenius) and ``uc_nfa_pearson``, ``uc_nfa_cosine``, ``c_nfa_pearson``,
    ``c_nfa_cosine``.

    References:
        beaglehole2024. Departs from: the covariance may be summed over a part of the training
        set (``measure.covariance_examples``), which is stated with each scale's settings.
    """
    settings = run.settings
    task = run.task()
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build_network(run, task).to(run.device)
    loss = LOSSES[settings["loss"]]
    rate = settings["learning_rate"]
    count = settings["measure"]["covariance_examples"]
    if count > len(train_set):
        raise ValueError(
            f"measure.covariance_examples is {count}, but the run has only {len(train_set)} "
            "training examples; lower it"
        )
    instruments = [
        fit(loss, train=train_set, test=test_set),
        ansatz(network, train_set.inputs[:count]),
    ]
    return train(
        network,
        train_set.inputs,
        train_set.labels,
        loss=loss,
        optimizer=torch.optim.SGD(network.parameters(), lr=rate["value"]),
        learning_rate=first_epoch_then(rate["first_epoch"], rate["value"]),
        batch_size=settings["batch_size"],
        epochs=1 + settings["epochs"],
        order=run.shuffled(len(train_set)),
        schedule=EveryEpochs(),
        instruments=instruments,
        checkpointing=checkpointing,
    )


def build_network(run: Run, task: Task) -> nn.Sequential:
    """Build the run's network with the run's initial weights."""
    inputs = prod(task.train.inputs.shape[1:])
    model = run.settings["model"]
    return mlp(inputs, **model, outputs=task.classes, generator=run.generator("init"))


if __name__ == "__main__":
    command.run(main)
