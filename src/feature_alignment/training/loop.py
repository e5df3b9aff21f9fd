"""The training loop of every paper: steps, measurements, stopping, checkpoints."""

import contextlib
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from feature_alignment.data.loading import Labelled
from feature_alignment.training import checkpoint
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.readings import DivergenceError, Measurement, Observer, Probe, taken
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import Schedule

log = logging.getLogger(__name__)


def train(
    model: nn.Module,
    examples: Labelled,
    recipe: Recipe,
    *,
    schedule: Schedule,
    probes: Sequence[Probe],
    observers: Sequence[Observer] = (),
    checkpointing: Checkpointing | None = None,
) -> list[Measurement]:
    """Train ``model`` in place and return what the probes read on the way.

    Epoch e visits the examples ``recipe.order(e)`` in batches, the last one smaller if need be, at
    the learning rate ``recipe.learning_rate(e)``. Probes see the model in evaluation mode; neither
    they nor a checkpoint change the course of the training. Measurements are taken when the
    schedule says so, and at the end. If a checkpoint with the same fingerprint is there, the run
    goes on from it, to the same result; the last one holds the finished training. The caller
    removes the checkpoint once the results are written.

    Args:
        model: The network.
        examples: Inputs (n, …) on the model's device, and labels (n,) or whatever the loss compares
            outputs with.
        recipe: How to train.
        schedule: When to measure.
        probes: What to measure.
        observers: Look at the model after every step.
        checkpointing: Where to save the state; ``None`` for nowhere.

    Returns:
        Measurements in the order they were taken.

    Raises:
        DivergenceError: If the loss, a weight or a measured value is infinite or not a number;
            says where, and holds the measurements taken before.
        OSError: If a checkpoint cannot be written.
    """
    session = _Session(model, recipe, probes, observers, checkpointing)
    session.resume()
    progress = session.progress
    steps_per_epoch = math.ceil(len(recipe.order(0)) / recipe.batch_size)
    model.train()
    if progress.step == 0 and not progress.measurements and schedule.due(0, 0):
        session.measure(0.0)
    with _progress_bar(recipe.epochs * steps_per_epoch, progress.step) as bar:
        while progress.epoch < recipe.epochs and not progress.stopped:
            batches = recipe.order(progress.epoch).split(recipe.batch_size)
            session.set_rate(recipe.learning_rate(progress.epoch))
            for chosen in batches[progress.batch :]:
                session.step(examples.inputs[chosen], examples.labels[chosen])
                ends_epoch = progress.batch == len(batches)
                if ends_epoch:
                    session.end_epoch()
                finished = progress.stopped or progress.epoch == recipe.epochs
                if finished or schedule.due(progress.step, progress.epoch if ends_epoch else None):
                    session.measure(progress.epoch + progress.batch / len(batches))
                bar.update()
                session.save(now=finished)
    return progress.measurements


@dataclass
class _Progress:
    """How far a run is; all that a resumed run must know besides model and optimizer."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    stopped: bool = False
    rate: float = 0.0
    last_loss: float | None = None
    stopping: dict | None = None
    measurements: list[Measurement] = field(default_factory=list)

    def for_json(self) -> dict:
        """Return all of it, ready for JSON."""
        # Not dataclasses.asdict, which copies each of thousands of measurements, field by field.
        return {**vars(self), "measurements": [vars(entry) for entry in self.measurements]}

    @classmethod
    def from_json(cls, saved: dict) -> "_Progress":
        measurements = [Measurement(**entry) for entry in saved.pop("measurements")]
        return cls(**saved, measurements=measurements)


@dataclass
class _Session:
    """A training under way: the model, how it is trained and looked at, and how far it is."""

    model: nn.Module
    recipe: Recipe
    probes: Sequence[Probe]
    observers: Sequence[Observer]
    checkpointing: Checkpointing | None
    progress: _Progress = field(default_factory=_Progress)
    saved_at: float = field(default_factory=time.monotonic)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one of this run."""
        if self.checkpointing is None:
            return
        path, fingerprint = self.checkpointing.path, self.checkpointing.fingerprint
        saved = checkpoint.load(path, self.model, self.recipe.optimizer, fingerprint)
        if saved is None:
            return
        position, observed = saved
        self.progress = _Progress.from_json(position)
        if self.recipe.stop is not None and self.progress.stopping is not None:
            self.recipe.stop.restore(self.progress.stopping)
        for observer, state in zip(self.observers, observed, strict=True):
            observer.restore(self.model, state)
        log.info("resuming from step %d (epoch %d)", self.progress.step, self.progress.epoch)

    def save(self, *, now: bool) -> None:
        """Save the state ``now``, or when the interval since the last time is over."""
        to, progress = self.checkpointing, self.progress
        if to is None or not (now or time.monotonic() - self.saved_at >= to.interval_s):
            return
        if self.recipe.stop is not None:
            progress.stopping = self.recipe.stop.state()
        observed = [observer.state() for observer in self.observers]
        checkpoint.save(
            to.path,
            self.model,
            self.recipe.optimizer,
            to.fingerprint,
            progress.for_json(),
            observed,
        )
        self.saved_at = time.monotonic()

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of all parameters."""
        self.progress.rate = rate
        for group in self.recipe.optimizer.param_groups:
            group["lr"] = rate

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """Take one step on a batch."""
        recipe, progress = self.recipe, self.progress
        if recipe.before_step is not None:
            inputs = recipe.before_step(inputs, progress.step)
        recipe.optimizer.zero_grad(set_to_none=True)
        loss = recipe.loss(self.model(inputs), labels)
        loss.backward()
        recipe.optimizer.step()
        value = loss.item()
        if not math.isfinite(value):
            raise self._divergence("the training loss", value)
        progress.last_loss = value
        progress.step += 1
        progress.batch += 1
        if recipe.stop is not None:
            recipe.stop.after_step(value)
        for observer in self.observers:
            observer.after_step(self.model)

    def end_epoch(self) -> None:
        """Count an epoch and ask whether to stop."""
        self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0
        self.progress.stopped = self.recipe.stop is not None and self.recipe.stop.after_epoch()

    def measure(self, epoch: float) -> None:
        """Let every probe read the model, after ``epoch`` epochs."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.model.parameters()):
            raise self._divergence("a weight", "not finite")
        self.model.eval()
        readings = []
        with _untouched_random_state():
            for probe in self.probes:
                for reading in probe(self.model):
                    if not math.isfinite(reading.value):
                        raise self._divergence(f"the measure {reading.measure!r}", reading.value)
                    readings.append(reading)
        self.progress.measurements.extend(taken(readings, self.progress.step, epoch))
        self.model.train()
        told = epoch, self.progress.step, self.progress.last_loss
        log.info("epoch %.4g, step %d: loss %s", *told)

    def _divergence(self, what: str, value: object) -> DivergenceError:
        at = self.progress
        return DivergenceError(
            f"{what} became {value} after step {at.step} ({at.epoch} epochs), with learning rate "
            f"{at.rate:g} (last loss: {at.last_loss}); lower the learning rate of this run",
            at.measurements,
        )


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
