"""How a network is trained, from the settings of a run: all of a training but what is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from feature_alignment.data.augmentation import crop_and_flip
from feature_alignment.training.losses import LOSSES, Loss
from feature_alignment.training.optimizers import make_optimizer
from feature_alignment.training.schedules import LearningRate, constant, first_epoch_then
from feature_alignment.training.stopping import Stopping

EpochOrder = Callable[[int], Tensor]
BeforeStep = Callable[[Tensor, int], Tensor]


class Draws(Protocol):
    """Where the random choices of a run come from."""

    def generator(self, purpose: str, *indices: int) -> torch.Generator:
        """Return the generator of one random choice."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        loss: Averages over a batch.
        optimizer: Over the network's parameters; its learning rate is set by the loop.
        learning_rate: From the epoch's index, 0 for the first.
        batch_size: Examples per step.
        epochs: Number of epochs, unless ``stop`` ends the training earlier.
        order: From the epoch's index to the indices of its examples. It must depend on nothing
            else, so that a resumed run sees the same examples.
        stop: Ends the training early; ``None`` for never.
        before_step: Changes the inputs of a batch, given the number of steps taken before; like
            ``order`` it must depend on nothing else.
    """

    loss: Loss
    optimizer: torch.optim.Optimizer
    learning_rate: LearningRate
    batch_size: int
    epochs: int
    order: EpochOrder
    stop: Stopping | None = None
    before_step: BeforeStep | None = None

    @classmethod
    def of(
        cls,
        settings: Mapping,
        network: nn.Module,
        examples: int,
        draws: Draws,
        *,
        learning_rate: float | Mapping | LearningRate | None = None,
        fused: bool = True,
        **given: object,
    ) -> "Recipe":
        """Make the recipe that a run's settings describe.

        Read are ``loss``, ``optimizer`` (SGD if there is none), ``learning_rate``, ``momentum`` and
        ``weight_decay`` (0 if there is none), ``batch_size``, ``epochs`` and ``augmentation``.
        A learning rate of two parts, ``first_epoch`` and ``value``, has an epoch more.

        Args:
            settings: By name.
            network: Its trainable parameters are optimised.
            examples: How many there are; every epoch visits all in a new random order.
            draws: Source of orders and augmentation.
            learning_rate: In place of the setting.
            fused: Whether the optimiser's update is one operation per parameter; the other form
                rounds otherwise.
            **given: Fields of the recipe that do not come from the settings.
        """
        rate = settings["learning_rate"] if learning_rate is None else learning_rate
        makes: dict[str, Callable[[], object]] = {
            "loss": lambda: LOSSES[settings["loss"]],
            "optimizer": lambda: make_optimizer(
                settings.get("optimizer", "sgd"),
                [parameter for parameter in network.parameters() if parameter.requires_grad],
                learning_rate=0.0,
                momentum=settings.get("momentum", 0.0),
                weight_decay=settings.get("weight_decay", 0.0),
                fused=fused,
            ),
            "batch_size": lambda: settings["batch_size"],
            "epochs": lambda: settings["epochs"] + isinstance(rate, Mapping),
            "order": lambda: shuffled(examples, draws),
            "before_step": lambda: (
                crops_and_flips(draws) if settings.get("augmentation", False) else None
            ),
        }
        made = {name: make() for name, make in makes.items() if name not in given}
        return cls(**made, learning_rate=_schedule(rate), **given)


def _schedule(rate: float | Mapping | LearningRate) -> LearningRate:
    if isinstance(rate, Mapping):
        return first_epoch_then(rate["first_epoch"], rate["value"])
    return rate if callable(rate) else constant(rate)


def shuffled(count: int, draws: Draws) -> EpochOrder:
    """Return the epoch order that visits ``count`` examples in a new random order each time."""
    return lambda epoch: torch.randperm(count, generator=draws.generator("order", epoch))


def crops_and_flips(draws: Draws) -> BeforeStep:
    """Return what crops and flips a batch at random, anew at every step."""
    return lambda images, step: crop_and_flip(images, draws.generator("augmentation", step))


def seeded_dropout(draws: Draws) -> BeforeStep:
    """Return what leaves a batch as it is and sets the seed that the step's dropout draws from.

    Dropout draws from PyTorch's global generator. With a seed of its own for every step a resumed
    run repeats the draws.
    """

    def before_step(inputs: Tensor, step: int) -> Tensor:
        torch.manual_seed(draws.generator("augmentation", step).initial_seed())
        return inputs

    return before_step
