"""Train with dropout or label noise to one loss and follow which layers align with the labels."""

from collections import OrderedDict

from torch import nn

from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe, evaluate
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement
from feature_alignment.training.recipe import Recipe, seeded_dropout
from feature_alignment.training.schedules import AtSteps
from feature_alignment.training.stopping import MeasuredLossBelow


def measure(run: Run) -> None:
    """Perform one training."""
    run.complete(lambda checkpointing: follow_layers(run, checkpointing))


def follow_layers(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network to a loss and return what is measured before and at the end.

    The training ends with the first epoch at which the loss on all training examples, with their
    noisy labels and without dropout, is below ``stop_loss``. Measures: ``loss`` and ``accuracy``
    per split; and ``alignment`` of the whole network's tangent kernel and of every layer's, on the
    first ``measure.kernel_examples`` examples of either split.

    References:
        Shi et al. (2024) for noise, Lou et al. (2022) for the most aligned layer. Departs from
        both: all settings are ours.
    """
    settings = run.settings
    task = run.task()
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = with_dropout(network, settings["dropout"]).to(run.device)
    probed = {
        split: part.first(settings["measure"]["kernel_examples"], "measure.kernel_examples")
        for split, part in (("train", train_set), ("test", test_set))
    }

    def training_loss() -> float:
        network.eval()
        found = evaluate(network, train_set.inputs, train_set.labels, recipe.loss)["loss"]
        network.train()
        return found

    stop = MeasuredLossBelow(settings["stop_loss"], training_loss)
    recipe = Recipe.of(
        settings, network, len(train_set), run, stop=stop, before_step=seeded_dropout(run)
    )
    return train(
        network,
        train_set,
        recipe,
        schedule=AtSteps([0]),
        probes=[
            accuracy_probe(recipe.loss, train=train_set, test=test_set),
            kernel_probe(probed, task.classes, spectrum=False),
        ],
        checkpointing=checkpointing,
    )


def with_dropout(network: nn.Sequential, share: float) -> nn.Sequential:
    """Return a fully connected network that drops a share of the units of every hidden layer.

    The layers are those of ``network``, not copies. Behind ``activationK`` comes ``dropoutK``,
    which multiplies what it keeps by 1 / (1 − share), and in evaluation mode does nothing.

    Args:
        network: Of :func:`feature_alignment.models.mlp.mlp`.
        share: From 0, with which nothing is dropped, to below 1.

    Raises:
        ValueError: If the share is not in this range.
    """
    if not 0 <= share < 1:
        raise ValueError(
            f"expected a share of units to drop from 0 to below 1, got {share}; change dropout"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in network.named_children():
        layers[name] = layer
        if name.startswith("activation"):
            layers[name.replace("activation", "dropout")] = nn.Dropout(share)
    return nn.Sequential(layers)
