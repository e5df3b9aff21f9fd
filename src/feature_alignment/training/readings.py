"""What probes report, and when it was taken: the vocabulary of measurements."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Protocol

from torch import nn


@dataclass(frozen=True)
class Reading:
    """One measured value, as a probe reports it.

    ``at`` is the coordinate of a measure along an axis of its own, such as the rank of an
    eigenvalue, so that no measure's name carries a number.
    """

    measure: str
    value: float
    layer: str | None = None
    split: str | None = None
    at: float | None = None


@dataclass(frozen=True)
class Measurement:
    """A reading and when it was taken: after ``step`` steps, which is ``epoch`` epochs."""

    step: int | None
    epoch: float | None
    measure: str
    value: float
    layer: str | None = None
    split: str | None = None
    at: float | None = None

    @classmethod
    def of(cls, reading: Reading, step: int | None, epoch: float | None) -> "Measurement":
        """Return a reading taken after ``step`` steps."""
        return cls(step, epoch, **asdict(reading))


def taken(
    readings: Iterable[Reading], step: int | None = 0, epoch: float | None = 0.0
) -> list[Measurement]:
    """Return readings taken together, by default of a network as initialised."""
    return [Measurement.of(reading, step, epoch) for reading in readings]


Probe = Callable[[nn.Module], Iterable[Reading]]


class Observer(Protocol):
    """What looks at the model after every step; its state must survive a resumption."""

    def after_step(self, model: nn.Module) -> None:
        """Look at the model, in training mode, after one step."""

    def state(self) -> dict:
        """Return what a resumed run must know besides the model: tensors, or ready for JSON.

        Tensors must not share memory with the model.
        """

    def restore(self, model: nn.Module, state: dict) -> None:
        """Take up the state of :meth:`state`, tensors on the CPU; the model is as it was then."""


class DivergenceError(ArithmeticError):
    """Loss, weights or a measure stopped being finite; ``measurements`` holds what came before."""

    def __init__(self, message: str, measurements: list[Measurement]):
        super().__init__(message)
        self.measurements = measurements
