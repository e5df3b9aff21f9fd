"""Train a VGG network and measure the neural feature ansatz in its convolutions (B4)."""

import torch
from torch import nn

from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.ansatz import ansatz_probe, powers
from feature_alignment.run.context import Run
from feature_alignment.tangents.preactivations import graph_covariances
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe, seeded_dropout
from feature_alignment.training.schedules import EveryEpochs

COVARIANCE_BATCH = 50
"""Images per forward pass of a measurement: their gradients of all layers are in memory at once."""


def measure(run: Run) -> None:
    """Perform one training."""
    run.complete(lambda checkpointing: measure_convolutions(run, checkpointing))


def measure_convolutions(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements.

    Measures, after the first epoch and every ``measure.every``-th one from there on: ``loss`` and
    ``accuracy`` per split, and of each convolution those of the ansatz and of its powers. W is a
    convolution's (out, in · positions) matrix, and K sums over the positions of its outputs as over
    examples.

    References:
        beaglehole2024, VGG-11. Departs from: gradients are those of the network with its biases,
        which the authors' replayed network leaves out.
    """
    settings = run.settings
    task = run.task()
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device, memory_format=torch.channels_last)
    convolutions = [name for name, m in network.named_children() if isinstance(m, nn.Conv2d)]
    options = settings["measure"]
    examples = train_set.first(options["covariance_examples"], "measure.covariance_examples")
    before_step = seeded_dropout(run)
    recipe = Recipe.of(settings, network, len(train_set), run, before_step=before_step)
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
                layers=convolutions,
                covariances=graph_covariances,
                batch_size=COVARIANCE_BATCH,
                questions=[powers],
            ),
        ],
        checkpointing=checkpointing,
    )
