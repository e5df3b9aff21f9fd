"""Runs on tiny random datasets, what they leave behind, and what they should, written out."""

import copy
import importlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor, nn

from feature_alignment.data.loading import Examples
from feature_alignment.data.prepare import summary
from feature_alignment.measures.alignment import centered_one_hot
from feature_alignment.models.build import build
from feature_alignment.run import perform
from feature_alignment.run.context import Dataset, Run
from feature_alignment.storage import sha256, write_json
from feature_alignment.tables import read_table
from feature_alignment.tangents.kernels import center_kernel
from feature_alignment.training.losses import LOSSES, Loss

from reference import kernels as reference

MLP = {
    "architecture": "fully_connected",
    "hidden_layers": 2,
    "width": 10,
    "bias": True,
    "activation": "relu",
    "initialisation": "he_normal",
}
"""A model; like any settings, made to measure by :func:`changed`."""


class Killed(Exception):
    """Stands in for a killed process."""


def random_dataset(
    folder: Path, name: str, shape: tuple[int, ...], *, n_train: int, n_test: int, classes: int
) -> Dataset:
    """Write random images, brighter the higher their class, and their labels 0, 1, …, 0, 1, ….

    The manifest lies beside them.
    """
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
    dataset = Dataset(path, {**identity, **summary(arrays)})
    write_json(path.with_suffix(".json"), dataset.manifest)
    return dataset


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


def complete(run: Run) -> bytes:
    """Let the run's experiment complete it and return its table as written."""
    importlib.import_module(run.module).measure(run)
    assert not list(run.checkpoint.parent.glob("*"))
    return run.out.read_bytes()


def completed(run: Run) -> tuple[nn.Module, bytes]:
    """Complete the run; return the network that it built, as it is at the end, and the table."""
    networks = []

    def keeping(*arguments: object) -> nn.Module:
        networks.append(build(*arguments))
        return networks[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module(run.module), "build", keeping)
        content = complete(run)
    [network] = networks
    return network, content


def perform_run(run: Run) -> bytes:
    """Perform the run by the command line and return its table as written."""
    perform.main(arguments_of(run))
    assert not list(run.checkpoint.parent.glob("*"))
    return run.out.read_bytes()


def arguments_of(run: Run) -> list[str]:
    """Return the arguments that perform the run by the command line, whose spec is written."""
    spec = run.out.parent.parent / "spec.json"
    write_json(spec, run.spec)
    arrays = [dataset.arrays for dataset in run.datasets.values()]
    arguments = [f"--spec={spec}", f"--seed={run.seed}", f"--out={run.out}"]
    arguments += [f"--checkpoint={run.checkpoint}", "--checkpoint-interval=0"]
    arguments += ["--data", *map(str, arrays)]
    return [*arguments, "--manifest", *(str(path.with_suffix(".json")) for path in arrays)]


def killed_and_resumed(run: Run, loss: str, step: int) -> bytes:
    """Kill the run in the given step, which has the loss of this name, and resume it."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, loss, step)
        with pytest.raises(Killed):
            complete(run)
    assert not run.out.exists()
    assert any(run.checkpoint.parent.glob("*")) == (step > 1)
    torch.manual_seed(99)  # a new process has another state
    return complete(run)


def killing(loss: Loss, step: int) -> Loss:
    """Return a loss that kills the process when it is to be differentiated that often."""
    steps = []

    def kills(outputs: Tensor, labels: Tensor) -> Tensor:
        if outputs.requires_grad:
            steps.append(1)
            if len(steps) == step:
                raise Killed
        return loss(outputs, labels)

    return kills


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str, step: int) -> None:
    """Let the loss of this name kill the process when it is to be differentiated that often."""
    monkeypatch.setitem(LOSSES, name, killing(LOSSES[name], step))


def values(run: Run) -> dict[tuple, float]:
    """Read the run's table as values by step, measure, split and layer, ``None`` for none.

    Where a measure has a coordinate ``at`` it comes fifth.
    """
    table = read_table(run.out).astype(object)
    table = table.where(table.notna(), None)
    keys = ["step", "measure", "split", "layer"]
    found = {
        (*(row[key] for key in keys), *([] if row["at"] is None else [row["at"]])): row["value"]
        for _, row in table.iterrows()
    }
    assert len(found) == len(table)
    return found


def initial_network(run: Run) -> nn.Module:
    """Return the network that the run starts from."""
    task = run.task()
    return build(run.settings["model"], task.shape, task.classes, run.generator("init"))


def alignments(network: nn.Module, examples: Examples, classes: int) -> dict[str | None, float]:
    """Return the alignment of each layer's centred kernel, and of the sum, by Jacobians."""
    y = centered_one_hot(examples.labels, classes).double()
    kernels = reference.layer_kernels(network.double().eval(), examples.inputs.double())
    centred = {layer: center_kernel(kernel) for layer, kernel in kernels.items()}
    whole = {**centred, None: sum(centred.values())}
    return {layer: reference.alignment(kernel, y) for layer, kernel in whole.items()}


def fit(network: nn.Module, examples: Examples) -> tuple[float, float]:
    """Return cross-entropy and accuracy, written out."""
    chances = network.double().eval()(examples.inputs.double()).softmax(dim=1)
    loss = -chances.gather(1, examples.labels[:, None]).log().mean().item()
    return loss, (chances.argmax(dim=1) == examples.labels).double().mean().item()


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


def assert_trained_alike(
    found: nn.Module, expected: nn.Module, start: nn.Module, within: float
) -> None:
    """Compare what a run trained, in float32, with what was trained by hand in float64."""
    trios = zip(*(net.double().parameters() for net in (found, expected, start)), strict=True)
    for one, other, initial in trios:
        # Relative to how far training went
        assert (one - other).norm() < within * (other - initial).norm()


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
