"""When to stop training before the last epoch."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class LossBelow:
    """Stop once the smoothed training loss has been below a threshold at epoch ends in a row.

    The smoothed loss is a running average, s ← memory · s + (1 − memory) · loss at every step,
    started at the first loss.

    References:
        lou2022, with memory 0.9 and two epochs in a row.
    """

    threshold: float
    epochs: int = 1
    memory: float = 0.9
    smoothed: float | None = None
    in_a_row: int = 0

    def after_step(self, loss: float) -> None:
        """Take in the loss of one step."""
        previous = loss if self.smoothed is None else self.smoothed
        self.smoothed = self.memory * previous + (1 - self.memory) * loss

    def after_epoch(self) -> bool:
        """Return whether to stop, at the end of an epoch."""
        below = self.smoothed is not None and self.smoothed < self.threshold
        self.in_a_row = self.in_a_row + 1 if below else 0
        return self.in_a_row >= self.epochs

    def state(self) -> dict:
        """Return what a resumed run must know, ready for JSON."""
        return {"smoothed": self.smoothed, "in_a_row": self.in_a_row}

    def restore(self, state: dict) -> None:
        """Take up the state of :meth:`state`."""
        self.smoothed, self.in_a_row = state["smoothed"], state["in_a_row"]


@dataclass(frozen=True)
class MeasuredLossBelow:
    """Stop at the end of the first epoch at which a measured loss is below a threshold.

    The loss of the whole training set, unlike a running average, does not depend on the way to
    the weights, so that every run that stops has reached the same loss.

    References:
        baratin2021, figure 6.
    """

    threshold: float
    measure: Callable[[], float]

    def after_step(self, loss: float) -> None:
        """Disregard the loss of one step."""

    def after_epoch(self) -> bool:
        """Return whether to stop, at the end of an epoch."""
        return self.measure() < self.threshold

    def state(self) -> dict:
        """Return an empty state: nothing is remembered."""
        return {}

    def restore(self, state: dict) -> None:
        """Take up the state of :meth:`state`."""


Stopping = LossBelow | MeasuredLossBelow
