"""Prepared arrays to the tensors of one run: subset, standardised inputs, label noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor

from feature_alignment.data.labels import randomize_labels
from feature_alignment.randomness import generator
from feature_alignment.storage import sha256


class Labelled(Protocol):
    """Inputs, indexed by example, and their labels (n,)."""

    inputs: Any
    labels: Tensor


@dataclass(frozen=True)
class Examples:
    """Inputs (n, channels, height, width) as float32 and their labels (n,)."""

    inputs: Tensor
    labels: Tensor

    def to(self, device: str | torch.device) -> "Examples":
        """Return the same examples on ``device``."""
        return Examples(self.inputs.to(device), self.labels.to(device))

    def first(self, count: int, setting: str = "the count") -> "Examples":
        """Return the first ``count`` examples, which are as random as the set itself.

        Args:
            count: How many.
            setting: The setting that says how many, for the error.

        Raises:
            ValueError: If there are fewer.
        """
        if count > len(self):
            raise ValueError(f"{setting} is {count}, but there are only {len(self)}; lower it")
        return Examples(self.inputs[:count], self.labels[:count])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Task:
    """Training and test examples of one run, and the number of classes."""

    train: Examples
    test: Examples
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, (channels, height, width)."""
        return tuple(self.train.inputs.shape[1:])


def load_task(
    path: Path | str,
    manifest: Mapping,
    *,
    n_train: int,
    n_test: int,
    label_noise: float,
    run: str,
    seed: int,
    standardized: bool = True,
) -> Task:
    """Load a random subset of a prepared dataset, standardised per channel.

    x ← (x / 255 − μ_c) / σ_c with mean and standard deviation over all training pixels of the
    channel; not ``standardized``, x ← x / 255. The subset and the label noise (training labels
    only) depend on run and seed.

    Args:
        path: Array file made by :mod:`feature_alignment.data.prepare`.
        manifest: Its manifest.
        n_train: Number of training examples.
        n_test: Number of test examples.
        label_noise: Share of training labels replaced by uniformly random ones.
        run: The run's name, ``paper/run``.
        seed: The replicate.
        standardized: Whether inputs are standardised.

    Raises:
        ValueError: If the array file is not the one the manifest describes, or the dataset has
            fewer examples than asked for.
    """
    if (found := sha256(path)) != manifest["sha256"]:
        raise ValueError(
            f"{path} is not the file of its manifest: expected sha256 {manifest['sha256']}, found "
            f"{found}; delete both and run snakemake again, whose rule prepare_dataset makes them "
            "anew"
        )
    arrays = load_file(path)
    mean = torch.tensor(manifest["mean"]).view(-1, 1, 1)
    std = torch.tensor(manifest["std"]).view(-1, 1, 1)
    if not standardized:
        mean, std = torch.zeros_like(mean), torch.ones_like(std)
    splits = []
    for number, (split, count) in enumerate((("train", n_train), ("test", n_test))):
        labels = arrays[f"{split}_labels"]
        if count > len(labels):
            raise ValueError(
                f"{manifest['name']} has {len(labels)} {split} examples, but the run asks for "
                f"{count}; lower dataset.n_{split}"
            )
        draw = generator(run, seed, "subset", number)
        chosen = torch.randperm(len(labels), generator=draw)[:count]
        # In place: each copy of a large set takes longer than the arithmetic.
        inputs = arrays[f"{split}_images"][chosen].float().div_(255).sub_(mean).div_(std)
        splits.append(Examples(inputs, labels[chosen]))
    train, test = splits
    if label_noise:
        noise = generator(run, seed, "labels")
        noisy = randomize_labels(train.labels, label_noise, manifest["classes"], noise)
        train = Examples(train.inputs, noisy)
    return Task(train, test, manifest["classes"])
