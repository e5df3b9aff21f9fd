"""Train on images with one layer after the other favoured by speed limits (B7, images)."""

from collections.abc import Mapping
from functools import partial

from feature_alignment.data.loading import Task
from feature_alignment.models.build import build
from feature_alignment.papers.beaglehole2024.limits import favouring, make_method
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.ansatz import ansatz_probe
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import EveryEpochs


def measure(run: Run) -> None:
    """Train by every method."""
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
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device)
    options = settings["measure"]
    examples = train_set.first(options["covariance_examples"], "measure.covariance_examples")
    given = {"learning_rate": method["learning_rate"], "optimizer": make_method(network, method)}
    recipe = Recipe.of(settings, network, len(train_set), run, **given)
    return train(
        network,
        train_set,
        recipe,
        schedule=EveryEpochs(options["every"]),
        probes=[
            accuracy_probe(recipe.loss, train=train_set, test=test_set),
            ansatz_probe(network, examples.inputs),
        ],
        checkpointing=checkpointing,
    )
