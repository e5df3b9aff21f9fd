"""Training runs on tiny random datasets, and what they leave behind."""

import copy
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor, nn

from feature_alignment.data.prepare import summary
from feature_alignment.run import perform
from feature_alignment.run.context import Dataset, Run
from feature_alignment.storage import sha256
from feature_alignment.tables import read_table
from feature_alignment.training.losses import LOSSES


class Killed(Exception):
    """Stands in for a killed process."""


def random_dataset(
    folder: Path, name: str, shape: tuple[int, ...], *, n_train: int, n_test: int, classes: int
) -> Dataset:
    """Write random images, brighter the higher their class, and their labels 0, 1, …, 0, 1, …."""
    draw = np.random.default_rng(list(name.encode()))
    arrays = {}
    for split, count in (("train", n_train), ("test", n_test)):
        labels = np.arange(count) % classes
        noise = draw.integers(0, 128, (count, *shape))
        shade = (labels * 127 // max(1, classes - 1)).reshape(-1, *(1 for _ in shape))
        arrays[f"{split}_images"] = (noise + shade).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    path = folder / f"{name}.safetensors"
    save_file(arrays, path)
    identity = {"name": name, "origin": "random", "note": "", "files": [], "sha256": sha256(path)}
    return Dataset(path, {**identity, **summary(arrays)})


def changed(settings: dict, **changes: object) -> dict:
    """Return a copy of the settings with some replaced; ``part__key`` reaches into a part."""
    settings = copy.deepcopy(settings)
    for name, value in changes.items():
        *parts, key = name.split("__")
        place = settings
        for part in parts:
            place = place[part]
        place[key] = value
    return settings


def make_run(
    experiment: str,
    settings: dict,
    folder: Path,
    *datasets: Dataset,
    seed: int = 0,
    paper: str = "baratin2021",
) -> Run:
    """Return a run that checkpoints after every step."""
    return Run(
        module=f"feature_alignment.papers.{paper}.{experiment}",
        spec={
            "paper": paper,
            "run": "tiny",
            "scale": "smoke",
            "experiment": experiment,
            "settings": settings,
        },
        seed=seed,
        datasets={dataset.manifest["name"]: dataset for dataset in datasets},
        out=folder / "runs" / f"{seed}.csv",
        checkpoint=folder / "checkpoints" / f"{seed}.safetensors",
        checkpoint_interval_s=0.0,
        device=torch.device("cpu"),
        threads=1,
    )


def table_bytes(run: Run, train: Callable) -> bytes:
    """Complete the run and return its table as written."""
    run.complete(lambda checkpointing: train(run, checkpointing))
    assert not list(run.checkpoint.parent.glob("*"))
    return run.out.read_bytes()


def perform_run(run: Run) -> bytes:
    """Perform the run by the command line, files and all, and return its table as written."""
    folder = run.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    spec = folder / "spec.json"
    spec.write_text(json.dumps(run.spec))
    arguments = [f"--spec={spec}", f"--seed={run.seed}", f"--out={run.out}"]
    arguments += [f"--checkpoint={run.checkpoint}", "--checkpoint-interval=0"]
    arguments += ["--data", *(str(dataset.arrays) for dataset in run.datasets.values())]
    arguments.append("--manifest")
    for name, dataset in run.datasets.items():
        manifest = folder / f"{name}.json"
        manifest.write_text(json.dumps(dataset.manifest))
        arguments.append(str(manifest))
    perform.main(arguments)
    assert not list(run.checkpoint.parent.glob("*"))
    return run.out.read_bytes()


def values(run: Run) -> dict[tuple, float]:
    """Read the run's table as values by step, measure, split and layer, ``None`` for none."""
    table = read_table(run.out).astype(object)
    table = table.where(table.notna(), None)
    keys = ["step", "measure", "split", "layer"]
    found = {tuple(row[key] for key in keys): row["value"] for _, row in table.iterrows()}
    assert len(found) == len(table)
    return found


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str, step: int) -> None:
    """Let the loss of this name kill the process when it is to be differentiated that often."""
    loss, steps = LOSSES[name], []

    def killing(outputs, labels):
        if outputs.requires_grad:
            steps.append(1)
            if len(steps) == step:
                raise Killed
        return loss(outputs, labels)

    monkeypatch.setitem(LOSSES, name, killing)


def descend(run: Run, network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Train with momentum and weight decay written out: v ← μ v + ∇ + λ w, w ← w − η v."""
    names = ("learning_rate", "momentum", "weight_decay")
    rate, momentum, decay = (run.settings[name] for name in names)
    velocities = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for inputs, labels in batches:
        network.zero_grad()
        chances = network(inputs).log_softmax(dim=1)
        (-chances.gather(1, labels[:, None]).mean()).backward()
        with torch.no_grad():
            for parameter, velocity in zip(network.parameters(), velocities, strict=True):
                velocity.mul_(momentum).add_(parameter.grad + decay * parameter)
                parameter -= rate * velocity


def indices(dataset: Dataset, split: str, inputs: Tensor) -> list[int]:
    """Say which images of the prepared dataset these standardised inputs are."""
    mean, std = (torch.tensor(dataset.manifest[key]).view(-1, 1, 1) for key in ("mean", "std"))
    pixels = (255 * (inputs * std + mean)).round().to(torch.uint8)
    prepared = load_file(dataset.arrays)[f"{split}_images"]
    places = {image.numpy().tobytes(): index for index, image in enumerate(prepared)}
    return [places[image.numpy().tobytes()] for image in pixels]


def true_labels(dataset: Dataset, split: str, inputs: Tensor) -> Tensor:
    """Return the prepared labels of the images that these standardised inputs are."""
    return load_file(dataset.arrays)[f"{split}_labels"][indices(dataset, split, inputs)]
