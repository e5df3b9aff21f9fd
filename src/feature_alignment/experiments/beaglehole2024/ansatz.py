"""Train one network and measure the neural feature ansatz in its layers (B1, B2, B3)."""

import logging
from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor, nn

from feature_alignment import command
from feature_alignment.data.loading import Task
from feature_alignment.experiments.run import Run, parse_run
from feature_alignment.measures.ansatz import ansatz_correlations
from feature_alignment.models.mlp import mlp
from feature_alignment.tangents.preactivations import preactivation_covariances
from feature_alignment.training.evaluate import fit
from feature_alignment.training.loop import Checkpointing, Instrument, Measurement, Reading, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.schedules import EveryEpochs, first_epoch_then

COVARIANCE_BATCH = 256

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one training; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.experiments.beaglehole2024.ansatz", __doc__, argv)
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
    network = build_network(run, task).to(run.device)
    loss = LOSSES[settings["loss"]]
    rate = settings["learning_rate"]
    count = settings["measure"]["covariance_examples"]
    if count > len(train_set):
        raise ValueError(
            f"measure.covariance_examples is {count}, but the run has only {len(train_set)} "
            "training examples; lower it"
        )
    instruments = [
        fit(loss, train=train_set, test=test_set),
        ansatz(network, train_set.inputs[:count]),
    ]
    return train(
        network,
        train_set.inputs,
        train_set.labels,
        loss=loss,
        optimizer=torch.optim.SGD(network.parameters(), lr=rate["value"]),
        learning_rate=first_epoch_then(rate["first_epoch"], rate["value"]),
        batch_size=settings["batch_size"],
        epochs=1 + settings["epochs"],
        order=run.shuffled(len(train_set)),
        schedule=EveryEpochs(),
        instruments=instruments,
        checkpointing=checkpointing,
    )


def build_network(run: Run, task: Task) -> nn.Sequential:
    """Build the run's network with the run's initial weights."""
    inputs = prod(task.train.inputs.shape[1:])
    model = run.settings["model"]
    return mlp(inputs, **model, outputs=task.classes, generator=run.generator("init"))


def ansatz(network: nn.Sequential, inputs: Tensor) -> Instrument:
    """Return the instrument that correlates weights and gradients of the hidden layers.

    Args:
        network: Its present weights are taken as W(0).
        inputs: Examples that the pre-activation covariance is summed over.
    """
    initial = {name: weight.clone() for name, weight in _hidden_weights(network)}

    def read(network: nn.Sequential) -> Iterator[Reading]:
        covariances = preactivation_covariances(network, inputs.split(COVARIANCE_BATCH))
        for name, weight in _hidden_weights(network):
            moved = weight - initial[name]
            yield Reading("weight_change", _norm(moved) / _norm(weight), name, "train")
            if not covariances[name].any():  # no example reaches the layer: every unit is dead
                log.warning(
                    "%s is dead: no gradient reaches it, its correlations are left out", name
                )
                continue
            yield from _correlations("uc_nfa", name, weight, covariances[name])
            if moved.any():  # before the first step there is nothing to correlate
                yield from _correlations("c_nfa", name, moved, covariances[name])

    return read


def _norm(matrix: Tensor) -> float:
    # torch.norm of a large float32 tensor on the CPU is off by 1e-5 and more.
    return torch.linalg.vector_norm(matrix, dtype=torch.float64).item()


def _correlations(measure: str, layer: str, weight: Tensor, covariance: Tensor) -> list[Reading]:
    found = ansatz_correlations(weight, covariance)
    return [
        Reading(f"{measure}_pearson", found.pearson, layer, "train"),
        Reading(f"{measure}_cosine", found.cosine, layer, "train"),
    ]


def _hidden_weights(network: nn.Sequential) -> list[tuple[str, Tensor]]:
    children = network.named_children()
    linears = [(name, child) for name, child in children if isinstance(child, nn.Linear)]
    return [(name, linear.weight.detach()) for name, linear in linears[:-1]]


if __name__ == "__main__":
    command.run(main)
