"""Train with and without weight decay and compare representations, weights and gradients."""

from functools import partial

from feature_alignment.data.loading import Task
from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.ansatz import hidden_layers
from feature_alignment.probes.six_alignments import six_alignments_probe
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import EveryEpochs


def measure(run: Run) -> None:
    """Train with every weight decay."""
    task = run.task()
    decays = run.settings["weight_decays"]
    parts = {(decay,): partial(train_with, run, task, decay) for decay in decays}
    run.complete_parts(["weight_decay"], parts)


def train_with(
    run: Run, task: Task, weight_decay: float, checkpointing: Checkpointing
) -> list[Measurement]:
    """Train with one weight decay and return the measurements.

    All trainings start at the same weights and see the same batches. The learning rate is constant:
    the hypothesis asks for a balance of weight decay with the noise of gradients. Measures, before
    training and after every ``measure.every`` epochs: ``loss`` and ``accuracy`` per split, and the
    six alignments of every hidden layer.

    References:
        Ziyin et al. (2024). Departs from: all settings are ours.
    """
    settings = run.settings
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device)
    options = settings["measure"]
    examples = train_set.first(options["covariance_examples"], "measure.covariance_examples")
    recipe = Recipe.of({**settings, "weight_decay": weight_decay}, network, len(train_set), run)
    return train(
        network,
        train_set,
        recipe,
        schedule=EveryEpochs(options["every"]),
        probes=[
            accuracy_probe(recipe.loss, train=train_set, test=test_set),
            six_alignments_probe(examples, recipe.loss, hidden_layers(network)),
        ],
        checkpointing=checkpointing,
    )
