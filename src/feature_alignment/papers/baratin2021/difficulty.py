"""Train on easy and difficult examples together and follow the kernel's alignment with each."""

import torch

from feature_alignment.data.labels import randomize_labels
from feature_alignment.data.loading import Examples
from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import LogSpaced


def measure(run: Run) -> None:
    """Perform one training."""
    run.complete(lambda checkpointing: compare_difficulty(run, checkpointing))


def compare_difficulty(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements, at logarithmically spaced steps.

    Measures, for the splits ``easy`` and ``difficult`` of the training set: ``loss`` and
    ``accuracy`` (for easy ``test`` examples too), and the alignments of
    :func:`feature_alignment.probes.kernel.kernel_probe` on the first ``measure.kernel_examples`` of
    each.

    References:
        baratin2021, figure 4 and the appendix on depth. Departs from: difficult examples of
        another dataset are standardised by that dataset's own mean and standard deviation.
    """
    settings = run.settings
    easy, difficult, test, classes = load_examples(run)
    splits = {"easy": easy.to(run.device), "difficult": difficult.to(run.device)}
    both = Examples(
        torch.cat([part.inputs for part in splits.values()]),
        torch.cat([part.labels for part in splits.values()]),
    )
    network = build(settings["model"], both.inputs.shape[1:], classes, run.generator("init"))
    network = network.to(run.device)
    options = settings["measure"]
    probed = {
        split: part.first(options["kernel_examples"], "measure.kernel_examples")
        for split, part in splits.items()
    }
    recipe = Recipe.of(settings, network, len(both), run, fused=False)
    return train(
        network,
        both,
        recipe,
        schedule=LogSpaced(ratio=options["ratio"]),
        probes=[
            accuracy_probe(recipe.loss, **splits, test=test.to(run.device)),
            kernel_probe(probed, classes, spectrum=False),
        ],
        checkpointing=checkpointing,
    )


def load_examples(run: Run) -> tuple[Examples, Examples, Examples, int]:
    """Load the easy and the difficult training examples, easy test ones, the number of classes.

    If both come from one dataset, they are different examples of it.

    Raises:
        ValueError: If the two datasets differ in the shape of their images or in their number of
            classes.
    """
    hard = run.settings["difficult"]
    easy_count, hard_count = run.settings["dataset"]["n_train"], hard["n_train"]
    if hard["name"] == run.settings["dataset"]["name"]:
        if run.settings["dataset"]["label_noise"]:
            raise ValueError(
                "label noise of the easy examples would fall on the difficult ones too where both "
                "come from one dataset; set dataset.label_noise to 0"
            )
        task = other = run.task(n_train=easy_count + hard_count)
        last = Examples(task.train.inputs[easy_count:], task.train.labels[easy_count:])
    else:
        task = run.task()
        other = run.task(name=hard["name"], n_train=hard_count, n_test=0, label_noise=0.0)
        last = other.train
    shapes = task.train.inputs.shape[1:], last.inputs.shape[1:]
    if shapes[0] != shapes[1] or task.classes != other.classes:
        raise ValueError(
            f"expected easy and difficult examples of one kind, got images of shape "
            f"{tuple(shapes[0])} and {tuple(shapes[1])}, {task.classes} and {other.classes} classes"
        )
    labels = randomize_labels(
        last.labels, hard["label_noise"], task.classes, run.generator("labels", 1)
    )
    difficult = Examples(last.inputs, labels)
    return task.train.first(easy_count, "dataset.n_train"), difficult, task.test, task.classes
