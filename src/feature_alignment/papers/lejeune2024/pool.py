"""The images of figure 4's trainings, the network that all start at, and how errors are counted."""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor, nn

from feature_alignment.data.loading import Examples
from feature_alignment.models.build import build
from feature_alignment.run.context import Run
from feature_alignment.tangents.features import TangentFeatures, stored_values, tangent_features
from feature_alignment.tangents.linearized import BasePass, LinearizedModel, row_space

Stored = Tensor | BasePass | TangentFeatures

EVALUATION_BATCH = {False: 5000, True: 100}
"""Examples per forward pass, by whether layers are convolutional: images soon fill caches."""
FEATURE_BUDGET_GIB = 1
"""Most memory that stored tangent features may take."""


class Pool:
    """Images for training and for selecting an epoch, and the network that all models start at.

    ``selection`` holds by split what selects.
    """

    def __init__(
        self, train: Examples, selection: dict[str, Examples], classes: int, network: nn.Sequential
    ):
        self.train, self.selection = train, selection
        self.classes, self.network = classes, network
        self.convolutional = any(isinstance(module, nn.Conv2d) for module in network)
        self._base_passes: dict[tuple[int, bool], BasePasses] = {}

    @cached_property
    def features(self) -> dict[str, TangentFeatures] | None:
        """Tangent features of all images by split, ``None`` if they would not fit."""
        splits = {"train": self.train, **self.selection}
        count = sum(map(len, splits.values()))
        size = count * stored_values(self.network, self.train.inputs) * self.train.inputs.itemsize
        if size > FEATURE_BUDGET_GIB * 2**30:
            return None
        return {name: tangent_features(self.network, e.inputs) for name, e in splits.items()}

    def base_passes(self, count: int, *, in_row_space: bool) -> "BasePasses":
        """Return what the network makes of the first ``count`` training images and of the others.

        Computed once for all tangent models of as many images.

        Args:
            count: How many of the first training images training may draw from.
            in_row_space: Whether the first layer's inputs are in coordinates of their row space.
        """
        key = count, in_row_space
        if key not in self._base_passes:
            images = self.train.inputs[:count]
            basis = row_space(images) if in_row_space else None
            base = by_channel(LinearizedModel(self.network, basis), self)
            selection = {split: base.base_pass(e.inputs) for split, e in self.selection.items()}
            self._base_passes[key] = BasePasses(basis, base.base_pass(images), selection)
        return self._base_passes[key]


@dataclass(frozen=True)
class BasePasses:
    """What tangent models need of the network: of training images and of those that select.

    ``basis`` is that of the first layer's inputs, ``None`` for their own coordinates.
    """

    basis: Tensor | None
    train: BasePass
    selection: dict[str, BasePass]


def load_pool(run: Run) -> Pool:
    """Load the images, pixels between 0 and 1.

    With the setting ``subset`` ``fresh``, training draws from ``dataset.n_train`` images anew for
    every epoch, and the test images select. With ``one``, the first ``dataset.n_train`` of the
    run's random order are for training, of which n take the first n, and the next ``held_out``
    ones select; the test images select besides, as an oracle would.

    Raises:
        ValueError: If a size is larger than ``dataset.n_train``, one subset has no held-out images
            besides it, or ``kernel_examples`` asks for kernels of a CNN, or of more images than
            there are.
    """
    settings = run.settings
    available, held_out = settings["dataset"]["n_train"], settings["held_out"]
    largest = max(chain(settings["sizes"], *settings.get("further_sizes", {}).values()))
    if largest > available:
        raise ValueError(
            f"sizes go up to {largest}, but dataset.n_train is {available}; lower the sizes or "
            "raise dataset.n_train"
        )
    if settings["subset"] == "one" and not held_out:
        raise ValueError("one subset needs images that select: raise held_out above 0")
    wanted = settings.get("kernel_examples", 0)
    if wanted > settings["dataset"]["n_test"] or (
        wanted and settings["model"]["architecture"] == "cnn"
    ):
        raise ValueError(
            f"kernel_examples is {wanted}, of {settings['dataset']['n_test']} test images; adapted "
            "kernels are known for fully connected networks: set it to 0, or lower it"
        )
    task = run.task(n_train=available + held_out, standardized=False)
    test = task.test.to(run.device)
    everything = task.train.to(run.device)
    selection = {"test": test}
    if held_out:
        selection["held_out"] = Examples(
            everything.inputs[available:], everything.labels[available:]
        )
    train = everything.first(available)
    network = build(settings["model"], task.shape, task.classes, run.generator("init"))
    network = network.to(run.device)
    return Pool(train, selection, task.classes, network)


def by_channel(model: nn.Module, pool: Pool) -> nn.Module:
    """Return a model in the memory layout that is fast for the pool's images."""
    return model.to(memory_format=torch.channels_last) if pool.convolutional else model


@torch.no_grad()
def error(model: nn.Module, inputs: Stored, labels: Tensor) -> float:
    """Compute the share of examples whose largest output is not that of their label."""
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    size = EVALUATION_BATCH[convolutional]
    parts = zip(inputs.split(size), labels.split(size), strict=True)
    wrong = sum((model(part).argmax(dim=1) != expected).sum() for part, expected in parts)
    return int(wrong) / len(labels)
