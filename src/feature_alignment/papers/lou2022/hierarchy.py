"""Train a network to a given loss and follow the alignment of its layers with the labels."""

import math
from collections.abc import Iterator

import torch
from torch import nn

from feature_alignment.data.loading import Examples
from feature_alignment.models.architectures import FULLY_CONNECTED
from feature_alignment.models.build import build
from feature_alignment.models.initialisation import nudge
from feature_alignment.papers.lou2022.information import initial_information
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement, Probe, Reading, taken
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import AtLosses, Either, LogSpaced
from feature_alignment.training.stopping import LossBelow


def measure(run: Run) -> None:
    """Perform one training."""
    run.complete(lambda checkpointing: follow_layers(run, checkpointing))


def follow_layers(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements.

    They are taken at initialisation, where the smoothed training loss reaches each of
    ``stop.losses`` (at two epoch ends in a row), the last of which ends the training, and, with
    ``measure.ratio``, at logarithmically spaced steps. Measures: ``losses_reached``, how many;
    ``smoothed_loss`` after the first step; ``loss`` and ``accuracy`` on the first
    ``measure.fit_examples`` training examples and all test examples; those of
    :func:`feature_alignment.probes.kernel.kernel_probe` on the first ``measure.kernel_examples`` of
    each; and, of fully connected networks at initialisation, those of
    :func:`feature_alignment.papers.lou2022.information.initial_information`.

    With the setting ``input_offset`` a, inputs x are replaced by (x + a) / √(1 + a²). With
    ``rounding`` 1, 2, … the same training starts from weights that differ in their last digit,
    otherwise for every number.

    References:
        lou2022, alignment hierarchy. Departs from: inputs of the kernel are not augmented.
    """
    settings = run.settings
    task = run.task()
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    if settings["rounding"]:
        nudge(network, run.generator("rounding", settings["rounding"]))
    channels_last = settings["model"]["architecture"] != FULLY_CONNECTED
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(run.device, memory_format=layout)
    splits = {
        split: _examples(part, settings["input_offset"], run.device, layout)
        for split, part in (("train", task.train), ("test", task.test))
    }
    options = settings["measure"]
    probed = {
        split: examples.first(options["kernel_examples"], "measure.kernel_examples")
        for split, examples in splits.items()
    }
    fitted = splits["train"].first(options["fit_examples"], "measure.fit_examples")
    stop = LossBelow(settings["stop"]["losses"], settings["stop"]["epochs"])
    schedule = AtLosses(stop)
    if options["ratio"] is not None:
        schedule = Either(schedule, LogSpaced(ratio=options["ratio"]))
    initial = []
    if not channels_last:
        initial = taken(initial_information(network, probed["test"].inputs))
    recipe = Recipe.of(settings, network, len(splits["train"]), run, stop=stop)
    return initial + train(
        network,
        splits["train"],
        recipe,
        schedule=schedule,
        probes=[
            _progress(stop),
            accuracy_probe(recipe.loss, train=fitted, test=splits["test"]),
            kernel_probe(probed, task.classes, spectrum=False),
        ],
        checkpointing=checkpointing,
    )


def _examples(
    part: Examples, offset: float, device: torch.device, layout: torch.memory_format
) -> Examples:
    """Return examples with inputs (x + a) / √(1 + a²), which correlate the more the larger a is.

    The mean square of standardised inputs stays 1.
    """
    inputs = (part.inputs + offset) / math.sqrt(1 + offset**2)
    return Examples(inputs.to(device, memory_format=layout), part.labels.to(device))


def _progress(stop: LossBelow) -> Probe:
    def read(network: nn.Module) -> Iterator[Reading]:
        yield Reading("losses_reached", stop.reached)
        if stop.smoothed is not None:
            yield Reading("smoothed_loss", stop.smoothed)

    return read
