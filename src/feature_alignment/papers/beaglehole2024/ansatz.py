"""Train one network and measure the neural feature ansatz in its layers (B1, B2, B3)."""

from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe
from feature_alignment.probes.ansatz import ansatz_probe
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import EveryEpochs


def measure(run: Run) -> None:
    """Perform one training."""
    run.complete(lambda checkpointing: measure_ansatz(run, checkpointing))


def measure_ansatz(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network and return its measurements, taken after every epoch.

    Measures: ``loss`` and ``accuracy`` per split; per hidden layer ``weight_change``
    (‖W − W(0)‖ / ‖W‖, Frobenius) and ``uc_nfa_pearson``, ``uc_nfa_cosine``, ``c_nfa_pearson``,
    ``c_nfa_cosine``.

    References:
        beaglehole2024. Departs from: the covariance may be summed over a part of the training
        set (``measure.covariance_examples``), which is stated with each scale's settings.
    """
    settings = run.settings
    task = run.task()
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device)
    count = settings["measure"]["covariance_examples"]
    examples = train_set.first(count, "measure.covariance_examples")
    recipe = Recipe.of(settings, network, len(train_set), run)
    return train(
        network,
        train_set,
        recipe,
        schedule=EveryEpochs(),
        probes=[
            accuracy_probe(recipe.loss, train=train_set, test=test_set),
            ansatz_probe(network, examples.inputs),
        ],
        checkpointing=checkpointing,
    )
