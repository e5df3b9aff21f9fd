"""Train one network and read label alignment and the neural feature ansatz of the same layers."""

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from feature_alignment import command
from feature_alignment.data.loading import Task
from feature_alignment.models.mlp import mlp
from feature_alignment.models.vgg import vgg
from feature_alignment.papers.beaglehole2024.convolutions import seeded_dropout
from feature_alignment.probes.accuracy import fit
from feature_alignment.probes.ansatz import ansatz, hidden_layers
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.run.context import Run, parse_run
from feature_alignment.tangents.preactivations import graph_covariances
from feature_alignment.training.loop import Checkpointing, Measurement, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.optimizers import make_optimizer
from feature_alignment.training.schedules import EveryEpochs, constant

COVARIANCE_BATCH = 50
"""Images per forward pass of the ansatz."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one training; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.papers.joint.both_instruments", __doc__, argv)
    run.complete(lambda checkpointing: measure_both(run, checkpointing))


def measure_both(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements.

    Measures, before training and after every ``measure.every`` epochs: ``loss`` and ``accuracy``
    per split; ``alignment`` of the whole network's tangent kernel and of every layer's with the
    labels, on the first ``measure.kernel_examples`` examples of either split; and, of the hidden
    linear layers of a fully connected network or the convolutions of another, UC-NFA and C-NFA.

    References:
        baratin2021 and lou2022 for the alignment, beaglehole2024 for the ansatz.
    """
    settings = run.settings
    task = run.task()
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build_network(run, task).to(run.device)
    measure = settings["measure"]
    examples = train_set.first(measure["covariance_examples"], "measure.covariance_examples")
    probes = {
        split: part.first(measure["kernel_examples"], "measure.kernel_examples")
        for split, part in (("train", train_set), ("test", test_set))
    }
    loss = LOSSES[settings["loss"]]
    return train(
        network,
        train_set.inputs,
        train_set.labels,
        loss=loss,
        optimizer=make_optimizer(
            "sgd",
            network.parameters(),
            learning_rate=settings["learning_rate"],
            momentum=settings["momentum"],
            weight_decay=0.0,
        ),
        learning_rate=constant(settings["learning_rate"]),
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        order=run.shuffled(len(train_set)),
        schedule=EveryEpochs(measure["every"]),
        instruments=[
            fit(loss, train=train_set, test=test_set),
            kernel_probe(probes, task.classes, spectrum=False),
            ansatz(
                network,
                examples.inputs,
                layers=measured_layers(network),
                covariances=graph_covariances,
                batch_size=COVARIANCE_BATCH,
            ),
        ],
        augment=seeded_dropout(run),
        checkpointing=checkpointing,
    )


def build_network(run: Run, task: Task) -> nn.Sequential:
    """Build the run's network, fully connected or a VGG, with the run's initial weights."""
    model = dict(run.settings["model"])
    architecture = model.pop("architecture")
    shape = task.train.inputs.shape[1:]
    options = {**model, "outputs": task.classes, "generator": run.generator("init")}
    if architecture == "fully_connected":
        return mlp(prod(shape), **options)
    network = vgg(architecture, shape[0], **options)
    return network.to(memory_format=torch.channels_last)


def measured_layers(network: nn.Module) -> list[str]:
    """Return the names of the convolutions, or of the hidden layers where there are none."""
    convolutions = [name for name, m in network.named_children() if isinstance(m, nn.Conv2d)]
    return convolutions or hidden_layers(network)


if __name__ == "__main__":
    command.run(main)
