"""Train at several output scales, from rich to lazy, and follow loss, error and alignment."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from feature_alignment.data.labels import randomize_labels
from feature_alignment.data.loading import Examples
from feature_alignment.models.build import build
from feature_alignment.models.scaled_output import ScaledOutput
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.readings import Measurement, Reading
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import LogSpaced


def measure(run: Run) -> None:
    """Train at every output scale."""
    scales = run.settings["output_scales"]
    parts = {(scale,): partial(train_at, run, scale) for scale in scales}
    run.complete_parts(["output_scale"], parts)


def train_at(run: Run, scale: float, checkpointing: Checkpointing) -> list[Measurement]:
    """Train at one output scale and return the measurements, at logarithmically spaced steps.

    All trainings start at the same weights and see the same batches. The last
    ``difficult_examples`` training examples have random labels. Measures: ``loss`` of the scaled
    outputs and ``accuracy`` for the splits ``train``, ``easy``, ``difficult`` and ``test``, and
    ``alignment`` of the tangent kernel of the network itself, which the scale does not change, on
    the first ``measure.kernel_examples`` easy ones.

    References:
        Chizat et al. (2019) for the scale. Departs from: all settings are ours.
    """
    settings = run.settings
    task = run.task()
    hard = settings["difficult_examples"]
    count = len(task.train) - hard
    noise = run.generator("labels", 1)
    drawn = randomize_labels(task.train.labels[count:], 1.0, task.classes, noise)
    labels = torch.cat([task.train.labels[:count], drawn])
    everything = Examples(task.train.inputs, labels).to(run.device)
    splits = {
        "train": everything,
        "easy": everything.first(count),
        "difficult": Examples(everything.inputs[count:], everything.labels[count:]),
        "test": task.test.to(run.device),
    }
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    scaled = ScaledOutput(network.to(run.device), scale)
    options, loss = settings["measure"], LOSSES[settings["loss"]]
    probed = splits["easy"].first(options["kernel_examples"], "measure.kernel_examples")
    kernel = kernel_probe({"easy": probed}, task.classes, spectrum=False)

    def kernel_of_learned(model: nn.Module) -> Iterator[Reading]:
        return kernel(model.learned)

    recipe = Recipe.of(
        settings,
        scaled,
        len(everything),
        run,
        loss=lambda outputs, labels: loss(outputs, labels) / scale**2,
    )
    return train(
        scaled,
        everything,
        recipe,
        schedule=LogSpaced(ratio=options["ratio"]),
        probes=[accuracy_probe(loss, **splits), kernel_of_learned],
        checkpointing=checkpointing,
    )
