"""Train a convolutional network, on partly random labels, and follow its tangent kernel."""

from collections.abc import Sequence

import torch

from feature_alignment import command
from feature_alignment.models.convolutional import convolutional_network
from feature_alignment.probes.accuracy import fit
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.run.context import Run, parse_run
from feature_alignment.training.augmenting import crops_and_flips
from feature_alignment.training.loop import Checkpointing, Measurement, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.schedules import LogSpaced, constant


def main(argv: Sequence[str] | None = None) -> None:
    """Run one training; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.papers.baratin2021.memorisation", __doc__, argv)
    run.complete(lambda checkpointing: follow_kernel(run, checkpointing))


def follow_kernel(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements, at logarithmically spaced steps.

    Measures: ``loss`` and ``accuracy`` on the first ``measure.fit_examples`` examples of each
    split, and those of :func:`feature_alignment.probes.kernel.kernel_probe` on
    the first ``measure.kernel_examples``. Training labels are those that the network is trained
    on; test labels are all true.

    References:
        baratin2021, figures 2 and 3.
    """
    settings = run.settings
    task = run.task()
    examples = {"train": task.train.to(run.device), "test": task.test.to(run.device)}
    channels = task.train.inputs.shape[1]
    network = convolutional_network(
        **settings["model"],
        channels=channels,
        outputs=task.classes,
        generator=run.generator("init"),
    ).to(run.device, memory_format=torch.channels_last)
    loss = LOSSES[settings["loss"]]
    measure = settings["measure"]
    fitted, probes = (
        {split: part.first(measure[name], f"measure.{name}") for split, part in examples.items()}
        for name in ("fit_examples", "kernel_examples")
    )
    train_set = examples["train"]
    return train(
        network,
        train_set.inputs.contiguous(memory_format=torch.channels_last),
        train_set.labels,
        loss=loss,
        optimizer=torch.optim.SGD(
            network.parameters(),
            lr=settings["learning_rate"],
            momentum=settings["momentum"],
            weight_decay=settings["weight_decay"],
        ),
        learning_rate=constant(settings["learning_rate"]),
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        order=run.shuffled(len(train_set)),
        schedule=LogSpaced(ratio=measure["ratio"]),
        instruments=[
            fit(loss, **fitted),
            kernel_probe(probes, task.classes, spectrum=True),
        ],
        augment=crops_and_flips(run) if settings["augmentation"] else None,
        checkpointing=checkpointing,
    )


if __name__ == "__main__":
    command.run(main)
