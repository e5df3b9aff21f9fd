"""Train one network with one hidden layer and measure the complexity of its path (figure 6)."""

from collections.abc import Iterator

from torch import Tensor, nn

from feature_alignment.measures import complexity
from feature_alignment.models.build import build
from feature_alignment.probes.accuracy import accuracy_probe, evaluate
from feature_alignment.probes.path_complexity import PathComplexity, Trace
from feature_alignment.run.context import Run
from feature_alignment.tangents.kernels import layer_traces
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.readings import Measurement, Probe, Reading
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import LogSpaced
from feature_alignment.training.stopping import MeasuredLossBelow

SCHEDULE = LogSpaced(first=10, ratio=2)


def measure(run: Run) -> None:
    """Perform one training."""
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
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device)
    loss = LOSSES[settings["loss"]]
    options = settings["measure"]
    probed = train_set.first(options["kernel_examples"], "measure.kernel_examples")
    path = PathComplexity(
        network, kernel_trace(probed.inputs), len(probed), options["refresh_steps"]
    )

    def training_loss() -> float:
        return evaluate(network, train_set.inputs, train_set.labels, loss)["loss"]

    stop = MeasuredLossBelow(settings["stop"]["loss"], training_loss)
    return train(
        network,
        train_set,
        Recipe.of(settings, network, len(train_set), run, fused=False, stop=stop),
        schedule=SCHEDULE,
        probes=[accuracy_probe(loss, train=train_set, test=test_set), path, baselines(network)],
        observers=[path],
        checkpointing=checkpointing,
    )


def kernel_trace(inputs: Tensor) -> Trace:
    """Return the function from a network to the trace of its tangent kernel on ``inputs``."""
    return lambda network: sum(layer_traces(network, inputs).values())


def baselines(network: nn.Sequential) -> Probe:
    """Return the probe that reads the capacity measures to compare with.

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
