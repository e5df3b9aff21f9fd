"""Train with and without weight decay and compare features with what rivals of the ansatz say."""

from functools import partial

from feature_alignment.data.loading import Task
from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.ansatz import ansatz_probe, best_power, hidden_layers
from feature_alignment.probes.convergence import convergence_probe
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.optimizers import make_optimizer
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import EveryEpochs, cosine


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

    All trainings start at the same weights and see the same batches; the learning rate falls to
    zero along a cosine, so that they come to rest. Measures, before training and after every
    ``measure.every`` epochs: ``loss`` and ``accuracy`` per split; and per hidden layer the ansatz,
    with the best power of the AGOP, and the features at convergence.

    References:
        Boix-Adserà et al. (2025) for the features at convergence, Tansley et al. (2025) for the
        power in linear networks. Departs from both: all settings are ours.
    """
    settings = run.settings
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device)
    options = settings["measure"]
    examples = train_set.first(options["covariance_examples"], "measure.covariance_examples")
    optimizer = make_optimizer(
        "sgd",
        list(network.parameters()),
        learning_rate=0.0,
        momentum=settings["momentum"],
        weight_decay=weight_decay,
    )
    recipe = Recipe.of(
        settings,
        network,
        len(train_set),
        run,
        learning_rate=cosine(settings["learning_rate"], settings["epochs"]),
        optimizer=optimizer,
    )
    return train(
        network,
        train_set,
        recipe,
        schedule=EveryEpochs(options["every"]),
        probes=[
            accuracy_probe(recipe.loss, train=train_set, test=test_set),
            ansatz_probe(network, examples.inputs, questions=[best_power]),
            convergence_probe(
                train_set, recipe.loss, hidden_layers(network), weight_decay=weight_decay
            ),
        ],
        checkpointing=checkpointing,
    )
