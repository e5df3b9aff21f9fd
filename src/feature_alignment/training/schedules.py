"""When to measure, and how large a step to take: functions of the step and the epoch alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from feature_alignment.training.stopping import LossBelow

LearningRate = Callable[[int], float]


def constant(value: float) -> LearningRate:
    """Return the learning rate that is ``value`` in every epoch."""
    return lambda epoch: value


def first_epoch_then(first: float, value: float) -> LearningRate:
    """Return the learning rate that is ``first`` in epoch 0 and ``value`` from epoch 1 on."""
    return lambda epoch: value if epoch else first


def cosine(value: float, period: int) -> LearningRate:
    """Return the cosine schedule value · (1 + cos(π · epoch / period)) / 2.

    After ``period`` epochs, where it is 0, it rises again: PyTorch's closed cycle.
    """
    return lambda epoch: value * (1 + math.cos(math.pi * epoch / period)) / 2


@dataclass(frozen=True)
class EveryEpochs:
    """Measure after ``first`` epochs and every ``count``-th one from there on.

    With ``first`` 0 the first measurement comes before training.
    """

    count: int = 1
    first: int = 0

    def due(self, step: int, completed_epochs: int | None) -> bool:
        """Say whether to measure after ``step`` steps.

        Args:
            step: Steps taken so far.
            completed_epochs: How many epochs just ended, ``None`` inside an epoch.
        """
        if completed_epochs is None or completed_epochs < self.first:
            return False
        return (completed_epochs - self.first) % self.count == 0


@dataclass(frozen=True)
class LogSpaced:
    """Measure before training and after ⌊first · ratioᵏ⌋ steps, k = 0, 1, ….

    References:
        Baratin et al. (2021), with ``first`` 5 and ``ratio`` 1.15.
    """

    first: int = 5
    ratio: float = 1.15

    def __post_init__(self) -> None:
        if self.first < 1 or self.ratio <= 1:
            raise ValueError(
                f"expected first ≥ 1 and ratio > 1, got first={self.first}, ratio={self.ratio}"
            )

    def due(self, step: int, completed_epochs: int | None) -> bool:
        """Say whether to measure after ``step`` steps; epochs do not matter."""
        return step in _log_steps(self.first, self.ratio, 2 ** max(step, 1).bit_length())


@cache
def _log_steps(first: int, ratio: float, limit: int) -> frozenset[int]:
    steps, value = {0}, float(first)
    while value < limit:
        steps.add(int(value))
        value *= ratio
    return frozenset(steps)


@dataclass(frozen=True)
class AtSteps:
    """Measure at the listed steps; 0 is before training."""

    steps: Sequence[int]

    def due(self, step: int, completed_epochs: int | None) -> bool:
        """Say whether to measure after ``step`` steps; epochs do not matter."""
        return step in self.steps


@dataclass(frozen=True)
class AtLosses:
    """Measure before training and where the training loss reaches a threshold of ``stop``.

    The training loop asks the stopping rule first, at the end of every epoch.
    """

    stop: LossBelow

    def due(self, step: int, completed_epochs: int | None) -> bool:
        """Say whether to measure after ``step`` steps; epochs do not matter."""
        return step == 0 or self.stop.just_reached


@dataclass(frozen=True)
class Either:
    """Measure whenever one of two schedules says so."""

    first: "Schedule"
    second: "Schedule"

    def due(self, step: int, completed_epochs: int | None) -> bool:
        """Say whether to measure after ``step`` steps, where ``completed_epochs`` just ended."""
        return self.first.due(step, completed_epochs) or self.second.due(step, completed_epochs)


Schedule = EveryEpochs | LogSpaced | AtSteps | AtLosses | Either
