"""Train a VGG network and measure the neural feature ansatz in its convolutions (B4)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from feature_alignment import command
from feature_alignment.data.loading import Task
from feature_alignment.models.vgg import vgg
from feature_alignment.probes.accuracy import fit
from feature_alignment.probes.ansatz import ansatz, powers
from feature_alignment.run.context import Run, parse_run
from feature_alignment.tangents.preactivations import graph_covariances
from feature_alignment.training.loop import Checkpointing, Measurement, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.optimizers import make_optimizer
from feature_alignment.training.schedules import EveryEpochs, first_epoch_then

COVARIANCE_BATCH = 50
"""Images per forward pass of a measurement: their gradients of all layers are in memory at once."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one training; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.papers.beaglehole2024.convolutions", __doc__, argv)
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
    network = build_network(run, task).to(run.device)
    convolutions = [name for name, m in network.named_children() if isinstance(m, nn.Conv2d)]
    rate, measure = settings["learning_rate"], settings["measure"]
    examples = train_set.first(measure["covariance_examples"], "measure.covariance_examples")
    loss = LOSSES[settings["loss"]]
    return train(
        network,
        train_set.inputs,
        train_set.labels,
        loss=loss,
        optimizer=make_optimizer(
            "sgd",
            network.parameters(),
            learning_rate=rate["value"],
            momentum=settings["momentum"],
            weight_decay=0.0,
        ),
        learning_rate=first_epoch_then(rate["first_epoch"], rate["value"]),
        batch_size=settings["batch_size"],
        epochs=1 + settings["epochs"],
        order=run.shuffled(len(train_set)),
        schedule=EveryEpochs(measure["every"], first=1),
        instruments=[
            fit(loss, train=train_set, test=test_set),
            ansatz(
                network,
                examples.inputs,
                layers=convolutions,
                covariances=graph_covariances,
                batch_size=COVARIANCE_BATCH,
                questions=[powers],
            ),
        ],
        augment=seeded_dropout(run),
        checkpointing=checkpointing,
    )


def build_network(run: Run, task: Task) -> nn.Sequential:
    """Build the run's network with the run's initial weights."""
    channels = task.train.inputs.shape[1]
    generator = run.generator("init")
    network = vgg(
        channels=channels, outputs=task.classes, generator=generator, **run.settings["model"]
    )
    return network.to(memory_format=torch.channels_last)


def seeded_dropout(run: Run) -> Callable[[Tensor, int], Tensor]:
    """Return what leaves a batch as it is and sets the seed that the step's dropout draws from.

    Dropout draws from PyTorch's global generator. With a seed of its own for every step a resumed
    run repeats the draws.
    """

    def before_step(inputs: Tensor, step: int) -> Tensor:
        torch.manual_seed(run.generator("augmentation", step).initial_seed())
        return inputs

    return before_step


if __name__ == "__main__":
    command.run(main)
