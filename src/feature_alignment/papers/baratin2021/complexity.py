"""Train one network with one hidden layer and measure the complexity of its path (figure 6)."""

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor, nn

from feature_alignment import command
from feature_alignment.data.loading import Task
from feature_alignment.measures import complexity
from feature_alignment.models.mlp import mlp
from feature_alignment.probes.accuracy import evaluate, fit
from feature_alignment.probes.path_complexity import PathComplexity, Trace
from feature_alignment.run.context import Run, parse_run
from feature_alignment.tangents.kernels import layer_traces
from feature_alignment.training.loop import Checkpointing, Instrument, Measurement, Reading, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.schedules import LogSpaced, constant
from feature_alignment.training.stopping import MeasuredLossBelow

SCHEDULE = LogSpaced(first=10, ratio=2)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one training; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.papers.baratin2021.complexity", __doc__, argv)
    run.complete(lambda checkpointing: measure_complexity(run, checkpointing))


def measure_complexity(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network until its loss is small and return its measurements.

    The training ends with the first epoch after which the loss of the whole training set is below
    ``stop.loss``. Measures: ``loss`` and ``accuracy`` per split;
    ``path_complexity``, ``path_complexity_coarse``, ``path_length`` and ``kernel_trace`` of
    :class:`feature_alignment.probes.path_complexity.PathComplexity`; and the measures of
    :mod:`feature_alignment.measures.complexity`, by the names of their functions.

    References:
        baratin2021, figure 6. Departs from: which loss the paper watches is not known to us. The
        public code of Neyshabur et al. (2018), with the same threshold, takes the mean over the
        last epoch's batches, each before its step; ours is a property of the weights alone.
    """
    settings = run.settings
    task = run.task()
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build_network(run, task).to(run.device)
    loss = LOSSES[settings["loss"]]
    measure = settings["measure"]
    count = measure["kernel_examples"]
    if count > len(train_set):
        raise ValueError(
            f"measure.kernel_examples is {count}, but the run has only {len(train_set)} training "
            "examples; lower it"
        )
    path = PathComplexity(
        network, kernel_trace(train_set.inputs[:count]), count, measure["refresh_steps"]
    )
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings["learning_rate"],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
    )

    def training_loss() -> float:
        return evaluate(network, train_set.inputs, train_set.labels, loss)["loss"]

    return train(
        network,
        train_set.inputs,
        train_set.labels,
        loss=loss,
        optimizer=optimizer,
        learning_rate=constant(settings["learning_rate"]),
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        order=run.shuffled(len(train_set)),
        schedule=SCHEDULE,
        instruments=[fit(loss, train=train_set, test=test_set), path, baselines(network)],
        stop=MeasuredLossBelow(settings["stop"]["loss"], training_loss),
        observers=[path],
        checkpointing=checkpointing,
    )


def build_network(run: Run, task: Task) -> nn.Sequential:
    """Build the run's network with the run's initial weights."""
    inputs = prod(task.train.inputs.shape[1:])
    model = run.settings["model"]
    return mlp(inputs, **model, outputs=task.classes, generator=run.generator("init"))


def kernel_trace(inputs: Tensor) -> Trace:
    """Return the function from a network to the trace of its tangent kernel on ``inputs``."""
    return lambda network: sum(layer_traces(network, inputs).values())


def baselines(network: nn.Sequential) -> Instrument:
    """Return the instrument that reads the capacity measures to compare with.

    Args:
        network: Its present weights are taken as the initial ones.
    """
    start = [weight.clone() for weight in _weights(network)]

    def read(network: nn.Sequential) -> Iterator[Reading]:
        now = _weights(network)
        biases = network.linear1.bias is not None
        values = {
            "parameter_count": complexity.parameter_count(*now, biases=biases),
            "frobenius_product": complexity.frobenius_product(*now),
            "spectral_complexity": complexity.spectral_complexity(*now, *start),
            "path_norm": complexity.path_norm(*now),
            "distance_from_initialisation": complexity.distance_from_initialisation(
                now[0], start[0]
            ),
        }
        for measure, value in values.items():
            yield Reading(measure, float(value))

    return read


def _weights(network: nn.Sequential) -> tuple[Tensor, Tensor]:
    return network.linear1.weight.detach(), network.linear2.weight.detach()


if __name__ == "__main__":
    command.run(main)
