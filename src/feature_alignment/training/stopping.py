"""When to stop training before the last epoch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass
class LossBelow:
    """Stop once the smoothed training loss has reached the last of several thresholds.

    The smoothed loss is a running average, s ← memory · s + (1 − memory) · loss at every step,
    started at the first loss. A threshold is reached when s has been below it at ``epochs`` epoch
    ends in a row; ``reached`` counts those reached so far and ``just_reached`` says whether the
    last step reached one, for what is to be measured there.

    Args:
        thresholds: In falling order.
        epochs: Epoch ends in a row.
        memory: Of the running average.

    Raises:
        ValueError: If there is no threshold or they do not fall.

    References:
        Lou et al. (2022), with memory 0.9 and two epochs in a row.
    """

    thresholds: Sequence[float]
    epochs: int = 1
    memory: float = 0.9
    smoothed: float | None = None
    reached: int = 0
    just_reached: bool = False

    def __post_init__(self) -> None:
        thresholds = list(self.thresholds)
        if not thresholds or any(low >= high for high, low in pairwise(thresholds)):
            raise ValueError(f"expected thresholds of the loss in falling order, got {thresholds}")
        self.in_a_row = [0] * len(thresholds)

    def after_step(self, loss: float) -> None:
        """Take in the loss of one step."""
        previous = loss if self.smoothed is None else self.smoothed
        self.smoothed = self.memory * previous + (1 - self.memory) * loss
        self.just_reached = False

    def after_epoch(self) -> bool:
        """Return whether to stop, at the end of an epoch."""
        for place, threshold in enumerate(self.thresholds):
            below = self.smoothed is not None and self.smoothed < threshold
            self.in_a_row[place] = self.in_a_row[place] + 1 if below else 0
        count = sum(length >= self.epochs for length in self.in_a_row)
        self.just_reached = count > self.reached
        self.reached = max(self.reached, count)
        return self.reached == len(self.thresholds)

    def state(self) -> dict:
        """Return what a resumed run must know, ready for JSON."""
        return {
            "smoothed": self.smoothed,
            "reached": self.reached,
            "just_reached": self.just_reached,
            "in_a_row": list(self.in_a_row),
        }

    def restore(self, state: dict) -> None:
        """Take up the state of :meth:`state`."""
        self.smoothed, self.reached = state["smoothed"], state["reached"]
        self.just_reached, self.in_a_row = state["just_reached"], list(state["in_a_row"])


@dataclass(frozen=True)
class MeasuredLossBelow:
    """Stop at the end of the first epoch at which a measured loss is below a threshold.

    The loss of the whole training set, unlike a running average, does not depend on the way to
    the weights, so that every run that stops has reached the same loss.

    References:
        Baratin et al. (2021), figure 6.
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


class Patience:
    """Stop once none of several errors has fallen for a number of epochs.

    Each error is that of one way to select an epoch, say on held-out examples or on the test
    set. At epoch e, with the lowest value of an error so far reached at epoch b, that error's
    patience is over when e − b > ``patience`` and e ≥ ``least_epochs``, and stays over. The
    training stops when that has happened to all, so that one training serves all selections.

    References:
        LeJeune & Alemohammad (2024), figure 4: patience 20, one error, measured after every epoch.
    """

    def __init__(
        self,
        measure: Callable[[], dict[str, float]],
        *,
        patience: int,
        least_epochs: int = 0,
        every: int = 1,
    ):
        """Set up the rule.

        Args:
            measure: Returns the errors by name.
            patience: In epochs.
            least_epochs: Before which no patience is over.
            every: Epochs from one measurement to the next.
        """
        self._measure = measure
        self.patience, self.least_epochs, self.every = patience, least_epochs, every
        self.epoch = 0
        self.latest: dict[str, float] = {}
        self._measured_at = -1
        self._best: dict[str, tuple[int, float]] = {}
        self._over: dict[str, int] = {}

    def errors(self) -> dict[str, float]:
        """Return the errors after the epochs so far, measured once."""
        if self._measured_at != self.epoch:
            self.latest, self._measured_at = self._measure(), self.epoch
        return self.latest

    def after_step(self, loss: float) -> None:
        """Disregard the loss of one step."""

    def after_epoch(self) -> bool:
        """Return whether to stop, at the end of an epoch."""
        self.epoch += 1
        if self.epoch % self.every:
            return False
        for name, error in self.errors().items():
            best_epoch, best = self._best.get(name, (self.epoch, error))
            if error < best or name not in self._best:
                best_epoch, best = self.epoch, error
            self._best[name] = best_epoch, best
            if self.epoch - best_epoch > self.patience and self.epoch >= self.least_epochs:
                self._over.setdefault(name, self.epoch)
        return len(self._over) == len(self._best)

    def state(self) -> dict:
        """Return what a resumed run must know, ready for JSON."""
        return {
            "epoch": self.epoch,
            "latest": self.latest,
            "measured_at": self._measured_at,
            "best": {name: list(place) for name, place in self._best.items()},
            "over": dict(self._over),
        }

    def restore(self, state: dict) -> None:
        """Take up the state of :meth:`state`."""
        self.epoch, self.latest = state["epoch"], state["latest"]
        self._measured_at, self._over = state["measured_at"], dict(state["over"])
        self._best = {name: tuple(place) for name, place in state["best"].items()}


Stopping = LossBelow | MeasuredLossBelow | Patience
