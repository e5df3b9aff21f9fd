"""Train networks from weights of several scales and measure where the ansatz comes from (B5)."""

from functools import partial

import torch

from feature_alignment.data.loading import Task
from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.ansatz import (
    ansatz_probe,
    centred_share,
    hidden_layers,
    left_singular_vectors,
    null_covariance,
    powers,
)
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import EveryEpochs


def measure(run: Run) -> None:
    """Train from every scale."""
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
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device)
    layers = hidden_layers(network)
    with torch.no_grad():
        for name in layers:
            network.get_submodule(name).weight.mul_(gain)
    options = settings["measure"]
    examples = train_set.first(options["covariance_examples"], "measure.covariance_examples")
    null = null_covariance(partial(run.generator, "probe"), layers, options["null_draws"])
    rates = {"first_epoch": settings["first_epoch_rate"], "value": learning_rate}
    recipe = Recipe.of(settings, network, len(train_set), run, learning_rate=rates)
    return train(
        network,
        train_set,
        recipe,
        schedule=EveryEpochs(options["every"], first=1),
        probes=[
            accuracy_probe(recipe.loss, train=train_set, test=test_set),
            ansatz_probe(
                network,
                examples.inputs,
                questions=[centred_share, left_singular_vectors, null, powers],
            ),
        ],
        checkpointing=checkpointing,
    )
