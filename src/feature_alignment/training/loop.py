"""The training loop of every paper: steps, measurements, stopping, checkpoints."""

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from feature_alignment.training import checkpoint
from feature_alignment.training.losses import Loss
from feature_alignment.training.schedules import LearningRate, Schedule
from feature_alignment.training.stopping import Stopping

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """One measured value, as an instrument reports it."""

    measure: str
    value: float
    layer: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Measurement:
    """A reading and when it was taken: after ``step`` steps, which is ``epoch`` epochs."""

    step: int
    epoch: float
    measure: str
    value: float
    layer: str | None = None
    split: str | None = None


Instrument = Callable[[nn.Module], Iterable[Reading]]
EpochOrder = Callable[[int], Tensor]
Augmentation = Callable[[Tensor, int], Tensor]


class Observer(Protocol):
    """What looks at the model after every step; its state must survive a resumption."""

    def after_step(self, model: nn.Module) -> None:
        """Look at the model, in training mode, after one step."""

    def state(self) -> dict:
        """Return what a resumed run must know beside the model: tensors, or ready for JSON.

        Tensors must not share memory with the model.
        """

    def restore(self, model: nn.Module, state: dict) -> None:
        """Take up the state of :meth:`state`, tensors on the CPU; the model is as it was then."""


class DivergenceError(ArithmeticError):
    """Loss, weights or a measure stopped being finite; ``measurements`` holds what came before."""

    def __init__(self, message: str, measurements: list[Measurement]):
        super().__init__(message)
        self.measurements = measurements


@dataclass(frozen=True)
class Checkpointing:
    """Where to save the state of a run, whose state it is, and how often.

    ``fingerprint`` identifies spec, code and data: a checkpoint with another one is ignored.
    """

    path: Path
    fingerprint: str
    interval_s: float

    def part(self, name: object) -> "Checkpointing":
        """Return where one of several trainings of a run saves its state."""
        path = self.path.with_suffix(f".{name}{self.path.suffix}")
        return Checkpointing(path, f"{self.fingerprint}/{name}", self.interval_s)


@dataclass
class _Progress:
    """How far a run is; all that a resumed run must know beside model and optimizer."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    stopped: bool = False
    rate: float = 0.0
    last_loss: float | None = None
    stopping: dict | None = None
    measurements: list[Measurement] = field(default_factory=list)

    def as_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict) -> "_Progress":
        measurements = [Measurement(**entry) for entry in saved.pop("measurements")]
        return cls(**saved, measurements=measurements)


def train(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    learning_rate: LearningRate,
    batch_size: int,
    epochs: int,
    order: EpochOrder,
    schedule: Schedule,
    instruments: Sequence[Instrument],
    stop: Stopping | None = None,
    augment: Augmentation | None = None,
    observers: Sequence[Observer] = (),
    checkpointing: Checkpointing | None = None,
) -> list[Measurement]:
    """Train ``model`` in place and return what the instruments read on the way.

    Epoch e visits the examples ``order(e)`` in batches of ``batch_size``, the last one smaller if
    need be, at the learning rate ``learning_rate(e)``. Instruments see the model in evaluation
    mode; neither they nor a checkpoint change the course of the training. Measurements are taken
    when the schedule says so, and at the end. If a checkpoint with the same fingerprint is there,
    the run goes on from it, to the same result; the last one holds the finished training. The
    caller removes the checkpoint once the results are written.

    Args:
        model: The network.
        inputs: (n, …), on the model's device.
        labels: (n,), or whatever ``loss`` compares the outputs with.
        loss: Averages over a batch.
        optimizer: Over the model's parameters; its learning rate is set by the loop.
        learning_rate: From the epoch's index, 0 for the first.
        batch_size: Examples per step.
        epochs: Number of epochs, unless ``stop`` ends the training earlier.
        order: From the epoch's index to the indices of its examples. It must depend on nothing
            else, so that a resumed run sees the same examples.
        schedule: When to measure.
        instruments: What to measure.
        stop: Ends the training early; ``None`` for never.
        augment: Changes the inputs of a batch, given the number of steps taken before; like
            ``order`` it must depend on nothing else.
        observers: Look at the model after every step.
        checkpointing: Where to save the state; ``None`` for nowhere.

    Returns:
        Measurements in the order they were taken.

    Raises:
        DivergenceError: If the loss, a weight or a measured value is infinite or not a number;
            says where, and holds the measurements taken before.
        ValueError: If the checkpoint is damaged.
    """
    progress = _resume(model, optimizer, stop, observers, checkpointing) or _Progress()
    saver = _Saver(model, optimizer, stop, observers, checkpointing)
    steps_per_epoch = math.ceil(len(order(0)) / batch_size)
    model.train()
    if progress.step == 0 and not progress.measurements and schedule.due(0, 0):
        _measure(model, instruments, progress, 0.0)
    with _progress_bar(epochs * steps_per_epoch, progress.step) as bar:
        while progress.epoch < epochs and not progress.stopped:
            batches = order(progress.epoch).split(batch_size)
            progress.rate = learning_rate(progress.epoch)
            for group in optimizer.param_groups:
                group["lr"] = progress.rate
            for chosen in batches[progress.batch :]:
                batch = inputs[chosen]
                if augment is not None:
                    batch = augment(batch, progress.step)
                value = _step(model, optimizer, loss, batch, labels[chosen])
                if not math.isfinite(value):
                    raise _divergence(progress, "the training loss", value)
                progress.last_loss = value
                progress.step += 1
                progress.batch += 1
                if stop is not None:
                    stop.after_step(value)
                for observer in observers:
                    observer.after_step(model)
                ends_epoch = progress.batch == len(batches)
                if ends_epoch:
                    progress.epoch, progress.batch = progress.epoch + 1, 0
                    progress.stopped = stop is not None and stop.after_epoch()
                finished = progress.stopped or progress.epoch == epochs
                if finished or schedule.due(progress.step, progress.epoch if ends_epoch else None):
                    share = progress.epoch + progress.batch / len(batches)
                    _measure(model, instruments, progress, share)
                bar.update()
                if finished:
                    saver.save(progress)
                else:
                    saver.save_if_due(progress)
    return progress.measurements


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, x: Tensor, y: Tensor
) -> float:
    optimizer.zero_grad(set_to_none=True)
    value = loss(model(x), y)
    value.backward()
    optimizer.step()
    return value.item()


def _measure(
    model: nn.Module, instruments: Sequence[Instrument], progress: _Progress, epoch: float
) -> None:
    if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
        raise _divergence(progress, "a weight", "not finite")
    model.eval()
    taken = []
    with _untouched_random_state():
        for instrument in instruments:
            for reading in instrument(model):
                if not math.isfinite(reading.value):
                    raise _divergence(progress, f"the measure {reading.measure!r}", reading.value)
                taken.append(Measurement(progress.step, epoch, **asdict(reading)))
    progress.measurements.extend(taken)
    model.train()
    log.info("epoch %.4g, step %d: loss %s", epoch, progress.step, progress.last_loss)


@contextlib.contextmanager
def _untouched_random_state() -> Iterator[None]:
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield


@contextlib.contextmanager
def _progress_bar(total: int, done: int) -> Iterator[tqdm]:
    """Show a bar on a terminal, with log lines above it, and nothing elsewhere."""
    shown = sys.stderr.isatty()
    with (
        logging_redirect_tqdm() if shown else contextlib.nullcontext(),
        tqdm(total=total, initial=done, unit="step", disable=not shown) as bar,
    ):
        yield bar


def _divergence(progress: _Progress, what: str, value: object) -> DivergenceError:
    return DivergenceError(
        f"{what} became {value} after step {progress.step} ({progress.epoch} epochs), with "
        f"learning rate {progress.rate:g} (last loss: {progress.last_loss}); lower the learning "
        "rate of this run",
        progress.measurements,
    )


def _resume(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    stop: Stopping | None,
    observers: Sequence[Observer],
    checkpointing: Checkpointing | None,
) -> _Progress | None:
    if checkpointing is None:
        return None
    saved = checkpoint.load(checkpointing.path, model, optimizer, checkpointing.fingerprint)
    if saved is None:
        return None
    position, observed = saved
    progress = _Progress.from_json(position)
    if stop is not None and progress.stopping is not None:
        stop.restore(progress.stopping)
    for observer, state in zip(observers, observed, strict=True):
        observer.restore(model, state)
    log.info("resuming from step %d (epoch %d)", progress.step, progress.epoch)
    return progress


class _Saver:
    """Saves the state of a run when the interval is over."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        stop: Stopping | None,
        observers: Sequence[Observer],
        checkpointing: Checkpointing | None,
    ):
        self._parts = model, optimizer
        self._stop = stop
        self._observers = observers
        self._checkpointing = checkpointing
        self._saved_at = time.monotonic()

    def save_if_due(self, progress: _Progress) -> None:
        to = self._checkpointing
        if to is not None and time.monotonic() - self._saved_at >= to.interval_s:
            self.save(progress)

    def save(self, progress: _Progress) -> None:
        to = self._checkpointing
        if to is None:
            return
        if self._stop is not None:
            progress.stopping = self._stop.state()
        observed = [observer.state() for observer in self._observers]
        checkpoint.save(to.path, *self._parts, to.fingerprint, progress.as_json(), observed)
        self._saved_at = time.monotonic()
