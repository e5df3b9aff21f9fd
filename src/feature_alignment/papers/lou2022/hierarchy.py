"""Train a network to a given loss and follow the alignment of its layers with the labels."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from feature_alignment import command
from feature_alignment.data.loading import Examples
from feature_alignment.papers.lou2022.information import initial_information
from feature_alignment.papers.lou2022.networks import FULLY_CONNECTED, build_network
from feature_alignment.probes.accuracy import fit
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.run.context import Run, parse_run
from feature_alignment.training.augmenting import crops_and_flips
from feature_alignment.training.loop import (
    Checkpointing,
    Instrument,
    Measurement,
    Reading,
    train,
)
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.optimizers import make_optimizer
from feature_alignment.training.schedules import AtLosses, Either, LogSpaced, constant
from feature_alignment.training.stopping import LossBelow


def main(argv: Sequence[str] | None = None) -> None:
    """Run one training; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.papers.lou2022.hierarchy", __doc__, argv)
    run.complete(lambda checkpointing: follow_layers(run, checkpointing))


def follow_layers(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements.

    They are taken at initialisation, where the smoothed training loss reaches each of
    ``stop.losses`` (at two epoch ends in a row), the last of which ends the training, and, with
    ``measure.ratio``, at logarithmically spaced steps. Measures: ``losses_reached``, how many;
    ``smoothed_loss`` after the first step; ``loss`` and ``accuracy`` on the first
    ``measure.fit_examples`` training examples and all test examples; those of
    :func:`feature_alignment.probes.kernel.kernel_probe` on the first
    ``measure.kernel_examples`` of each; and, of fully connected networks at initialisation, those
    of :func:`feature_alignment.papers.lou2022.information.initial_information`.

    With the setting ``input_offset`` a, inputs x are replaced by (x + a) / √(1 + a²).

    References:
        lou2022, alignment hierarchy. Departs from: inputs of the kernel are not augmented.
    """
    settings = run.settings
    task = run.task()
    network = build_network(run, task)
    channels_last = settings["model"]["architecture"] != FULLY_CONNECTED
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network.to(run.device, memory_format=layout)
    splits = {
        split: _examples(part, settings["input_offset"], run.device, layout)
        for split, part in (("train", task.train), ("test", task.test))
    }
    measure = settings["measure"]
    probes = {
        split: examples.first(measure["kernel_examples"], "measure.kernel_examples")
        for split, examples in splits.items()
    }
    fitted = splits["train"].first(measure["fit_examples"], "measure.fit_examples")
    loss = LOSSES[settings["loss"]]
    stop = LossBelow(settings["stop"]["losses"], settings["stop"]["epochs"])
    schedule = AtLosses(stop)
    if measure["ratio"] is not None:
        schedule = Either(schedule, LogSpaced(ratio=measure["ratio"]))
    initial = []
    if not channels_last:
        initial = list(initial_information(network, probes["test"].inputs))
    found = train(
        network,
        splits["train"].inputs,
        splits["train"].labels,
        loss=loss,
        optimizer=make_optimizer(
            settings["optimizer"],
            network.parameters(),
            learning_rate=settings["learning_rate"],
            momentum=settings["momentum"],
            weight_decay=settings["weight_decay"],
        ),
        learning_rate=constant(settings["learning_rate"]),
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        order=run.shuffled(len(splits["train"])),
        schedule=schedule,
        instruments=[
            _progress(stop),
            fit(loss, train=fitted, test=splits["test"]),
            kernel_probe(probes, task.classes, spectrum=False),
        ],
        stop=stop,
        augment=crops_and_flips(run) if settings["augmentation"] else None,
        checkpointing=checkpointing,
    )
    return initial + found


def _examples(
    part: Examples, offset: float, device: torch.device, layout: torch.memory_format
) -> Examples:
    """Return examples with inputs (x + a) / √(1 + a²), which correlate the more the larger a is.

    The mean square of standardised inputs stays 1.
    """
    inputs = (part.inputs + offset) / math.sqrt(1 + offset**2)
    return Examples(inputs.to(device, memory_format=layout), part.labels.to(device))


def _progress(stop: LossBelow) -> Instrument:
    def read(network: nn.Module) -> Iterator[Reading]:
        yield Reading("losses_reached", stop.reached)
        if stop.smoothed is not None:
            yield Reading("smoothed_loss", stop.smoothed)

    return read


if __name__ == "__main__":
    command.run(main)
