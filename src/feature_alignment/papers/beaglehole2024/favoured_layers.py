"""Train on images with one layer after the other favoured by speed limits (B7, images)."""

from collections.abc import Mapping, Sequence
from functools import partial

from feature_alignment import command
from feature_alignment.data.loading import Task
from feature_alignment.papers.beaglehole2024.ansatz import build_network
from feature_alignment.papers.beaglehole2024.limits import favouring, make_method
from feature_alignment.probes.accuracy import fit
from feature_alignment.probes.ansatz import ansatz
from feature_alignment.run.context import Run, parse_run
from feature_alignment.training.loop import Checkpointing, Measurement, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.schedules import EveryEpochs, constant


def main(argv: Sequence[str] | None = None) -> None:
    """Train by every method; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.papers.beaglehole2024.favoured_layers", __doc__, argv)
    task = run.task()
    parts = {
        (name,): partial(train_by, run, task, method)
        for name, method in methods(run.settings).items()
    }
    run.complete_parts(["method"], parts)


def methods(settings: Mapping) -> dict[str, Mapping]:
    """Return the methods by name: ``sgd``, ``equal`` and, for each hidden layer l, ``layer l``.

    Under ``equal`` all layers have the same speed; under ``layer l`` layer l has ``favour`` times
    the speed of the others.
    """
    hidden = settings["model"]["hidden_layers"]
    limited = settings["limited"]
    rate = limited["learning_rate"]
    favoured = {
        f"layer {layer}": {
            "learning_rate": rate,
            "speeds": favouring(layer, hidden + 1, limited["favour"]),
        }
        for layer in range(1, hidden + 1)
    }
    sgd = {"learning_rate": settings["sgd"]["learning_rate"], "speeds": None}
    equal = {"learning_rate": limited["equal_rate"], "speeds": [1.0] * (hidden + 1)}
    return {"sgd": sgd, "equal": equal, **favoured}


def train_by(
    run: Run, task: Task, method: Mapping, checkpointing: Checkpointing
) -> list[Measurement]:
    """Train by one method and return the measurements, taken after every ``measure.every`` epochs.

    All methods start at the same weights and see the same batches. Measures: ``loss`` and
    ``accuracy`` per split, and those of the ansatz per hidden layer.

    References:
        beaglehole2024, Speed Limited Optimisation on images (from memory: sizes and rates are
        ours).
    """
    settings = run.settings
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build_network(run, task).to(run.device)
    measure = settings["measure"]
    examples = train_set.first(measure["covariance_examples"], "measure.covariance_examples")
    loss = LOSSES[settings["loss"]]
    return train(
        network,
        train_set.inputs,
        train_set.labels,
        loss=loss,
        optimizer=make_method(network, method),
        learning_rate=constant(method["learning_rate"]),
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        order=run.shuffled(len(train_set)),
        schedule=EveryEpochs(measure["every"]),
        instruments=[
            fit(loss, train=train_set, test=test_set),
            ansatz(network, examples.inputs),
        ],
        checkpointing=checkpointing,
    )


if __name__ == "__main__":
    command.run(main)
