"""Train the networks of figure 6 again and read the measure of Neyshabur et al. from them."""

from collections.abc import Iterator

from torch import nn

from feature_alignment.measures.overparametrization import neyshabur_capacity
from feature_alignment.models.build import build
from feature_alignment.papers.baratin2021.complexity import SCHEDULE, kernel_trace
from feature_alignment.probes.accuracy import accuracy_probe, evaluate
from feature_alignment.probes.path_complexity import PathComplexity
from feature_alignment.run.context import Run
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.readings import Measurement, Probe, Reading
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.stopping import MeasuredLossBelow


def measure(run: Run) -> None:
    """Perform one training."""
    run.complete(lambda checkpointing: measure_capacity(run, checkpointing))


def measure_capacity(run: Run, checkpointing: Checkpointing) -> list[Measurement]:
    """Train the run's network until its loss is small and return its measurements.

    With the same settings it is the training of
    :func:`feature_alignment.papers.baratin2021.complexity.measure_complexity`, and ``loss``,
    ``accuracy`` and the measures of the path are the same; those of :func:`capacity_probe` take the
    place of the other capacity measures. A module of its own leaves finished runs as they are.

    References:
        baratin2021, figure 6, which compares with this measure as far as we remember.
    """
    settings = run.settings
    task = run.task()
    train_set, test_set = task.train.to(run.device), task.test.to(run.device)
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device)
    loss = LOSSES[settings["loss"]]
    options = settings["measure"]
    probed = train_set.first(options["kernel_examples"], "measure.kernel_examples")
    trace = kernel_trace(probed.inputs)
    path = PathComplexity(network, trace, len(probed), options["refresh_steps"])

    def training_loss() -> float:
        return evaluate(network, train_set.inputs, train_set.labels, loss)["loss"]

    stop = MeasuredLossBelow(settings["stop"]["loss"], training_loss)
    return train(
        network,
        train_set,
        Recipe.of(settings, network, len(train_set), run, fused=False, stop=stop),
        schedule=SCHEDULE,
        probes=[
            accuracy_probe(loss, train=train_set, test=test_set),
            path,
            capacity_probe(network),
        ],
        observers=[path],
        checkpointing=checkpointing,
    )


def capacity_probe(network: nn.Sequential) -> Probe:
    """Return the probe that reads the measure of Neyshabur et al. and its terms.

    Measures: ``neyshabur_capacity``, the sum of ``neyshabur_initial``, ``neyshabur_distance`` and
    √h; see :func:`feature_alignment.measures.overparametrization.neyshabur_capacity`.

    Args:
        network: Its present weights are taken as the initial ones.
    """
    start = network.linear1.weight.detach().clone()

    def read(network: nn.Sequential) -> Iterator[Reading]:
        now, output = network.linear1.weight.detach(), network.linear2.weight.detach()
        capacity = neyshabur_capacity(now, output, start)
        yield Reading("neyshabur_capacity", sum(capacity))
        yield Reading("neyshabur_initial", capacity.initial)
        yield Reading("neyshabur_distance", capacity.distance)

    return read
