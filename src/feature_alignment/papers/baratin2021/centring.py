"""Train as for figures 2 and 3, and follow the tangent kernel both centred and as it is."""

import torch

from feature_alignment.data.loading import Examples
from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.probes.uncentred import uncentred_probe
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import LogSpaced


def measure(run: Run) -> None:
    """Perform one training."""
    run.complete(lambda checkpointing: follow_both_kernels(run, checkpointing))


def follow_both_kernels(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements, at logarithmically spaced steps.

    With the same settings it is the training of
    :func:`feature_alignment.papers.baratin2021.memorisation.follow_kernel` with the same measures,
    and those of :func:`feature_alignment.probes.uncentred.uncentred_probe` besides. A module of its
    own leaves those finished runs as they are.

    References:
        baratin2021, figures 2 and 3, and the option of the authors' code not to centre.
    """
    settings = run.settings
    task = run.task()
    examples = {"train": task.train.to(run.device), "test": task.test.to(run.device)}
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device, memory_format=torch.channels_last)
    options = settings["measure"]
    fitted, probed = (
        {split: part.first(options[name], f"measure.{name}") for split, part in examples.items()}
        for name in ("fit_examples", "kernel_examples")
    )
    seen = examples["train"]
    images = Examples(seen.inputs.contiguous(memory_format=torch.channels_last), seen.labels)
    recipe = Recipe.of(settings, network, len(images), run, fused=False)
    return train(
        network,
        images,
        recipe,
        schedule=LogSpaced(ratio=options["ratio"]),
        probes=[
            accuracy_probe(recipe.loss, **fitted),
            kernel_probe(probed, task.classes, spectrum=True),
            uncentred_probe(probed, task.classes),
        ],
        checkpointing=checkpointing,
    )
