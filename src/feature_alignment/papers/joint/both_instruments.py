"""Train one network and read label alignment and the neural feature ansatz of the same layers."""

import torch
from torch import nn

from feature_alignment.models.architectures import FULLY_CONNECTED
from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.ansatz import ansatz_probe, hidden_layers
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.run.context import Run
from feature_alignment.tangents.preactivations import graph_covariances
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe, seeded_dropout
from feature_alignment.training.schedules import EveryEpochs

COVARIANCE_BATCH = 50
"""Images per forward pass of the ansatz."""


def measure(run: Run) -> None:
    """Perform one training."""
    run.complete(lambda checkpointing: measure_both(run, checkpointing))


def measure_both(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements.

    Measures, before training and after every ``measure.every`` epochs: ``loss`` and ``accuracy``
    per split; ``alignment`` of the whole network's tangent kernel and of every layer's with the
    labels, on the first ``measure.kernel_examples`` examples of either split; and, of the hidden
    linear layers of a fully connected network or the convolutions of another, UC-NFA and C-NFA.

    References:
        Baratin et al. (2021) and Lou et al. (2022) for the alignment, Beaglehole et al. (2024) for
        the ansatz.
    """
    settings = run.settings
    task = run.task()
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    convolutional = settings["model"]["architecture"] != FULLY_CONNECTED
    layout = torch.channels_last if convolutional else torch.contiguous_format
    network = network.to(run.device, memory_format=layout)
    options = settings["measure"]
    examples = train_set.first(options["covariance_examples"], "measure.covariance_examples")
    probed = {
        split: part.first(options["kernel_examples"], "measure.kernel_examples")
        for split, part in (("train", train_set), ("test", test_set))
    }
    before_step = seeded_dropout(run)
    recipe = Recipe.of(settings, network, len(train_set), run, before_step=before_step)
    return train(
        network,
        train_set,
        recipe,
        schedule=EveryEpochs(options["every"]),
        probes=[
            accuracy_probe(recipe.loss, train=train_set, test=test_set),
            kernel_probe(probed, task.classes, spectrum=False),
            ansatz_probe(
                network,
                examples.inputs,
                layers=measured_layers(network),
                covariances=graph_covariances,
                batch_size=COVARIANCE_BATCH,
            ),
        ],
        checkpointing=checkpointing,
    )


def measured_layers(network: nn.Module) -> list[str]:
    """Return the names of the convolutions, or of the hidden layers where there are none."""
    convolutions = [name for name, m in network.named_children() if isinstance(m, nn.Conv2d)]
    return convolutions or hidden_layers(network)
