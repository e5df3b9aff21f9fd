"""Train the network of the authors' notebook and draw its tangent kernel as maps of the square."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from feature_alignment.data.disk import disk_labels, grid_points, random_points
from feature_alignment.data.loading import Examples
from feature_alignment.data.yin_yang import yin_yang_labels
from feature_alignment.measures.alignment import kernel_alignment
from feature_alignment.measures.spectrum import eigensystem
from feature_alignment.models.build import build
from feature_alignment.run.context import Run
from feature_alignment.tangents.kernels import center_kernel, tangent_kernel
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement, Reading
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import AtSteps

LABELS = {"disk": lambda points: disk_labels(points, "disk"), "yin_yang": yin_yang_labels}
"""The classes of each task."""
SHOWN = ((0.3, 0.6), (-0.3, -0.6), (0.8, -0.8), (-0.8, 0.8))
"""Where the kernel is cut: at the middles of the cells that have these points."""


def measure(run: Run) -> None:
    """Perform one training.

    Kept as arrays: ``steps`` (T,); ``points`` (4, 2), x of the cuts; and by time, as images,
    ``eigenfunctions`` (T, side, side), the first of the centred kernel, ``outputs`` and
    ``gradient_norms``, (T, side, side), and ``cuts`` (T, 4, side, side), k(x, ·).
    """
    options = run.settings["measure"]
    maps = KernelMaps(options["grid"], run.settings["variant"], sorted(options["steps"]))
    # A run takes seconds: it starts anew when it was killed, since arrays are not checkpointed.
    run.complete(lambda _: descend(run, maps), maps.arrays)


def descend(run: Run, maps: "KernelMaps") -> list[Measurement]:
    """Train by full-batch gradient descent and return the measurements at the chosen steps.

    References:
        baratin2021, the notebook of the authors' code.
    """
    settings = run.settings
    points = random_points(settings["n_train"], run.generator("subset")).to(run.device)
    labels = LABELS[settings["variant"]](points)
    network = build(settings["model"], (2,), 1, run.generator("init")).to(run.device)
    everything, steps = torch.arange(len(points)), settings["measure"]["steps"]
    full_batch = {"loss": "binary_cross_entropy", "batch_size": len(points), "epochs": max(steps)}
    options = {"learning_rate": settings["learning_rate"], "fused": False}
    recipe = Recipe.of(full_batch, network, len(points), run, order=lambda _: everything, **options)

    @torch.no_grad()
    def fit(model: nn.Module) -> Iterator[Reading]:
        outputs = model(points)
        yield Reading("loss", recipe.loss(outputs, labels).item(), split="train")
        yield Reading("accuracy", _accuracy(outputs, labels), split="train")

    return train(
        network, Examples(points, labels), recipe, schedule=AtSteps(steps), probes=[fit, maps]
    )


class KernelMaps:
    """Probe that reads the tangent kernel k on a grid and keeps what can be shown as an image.

    Measures on the split ``grid``: ``accuracy``; ``alignment_centered`` of the centred kernel with
    y − mean y; ``class_correlation``, the mean over x of the correlation of k(x, ·) with y(x) y,
    which is high where k(x, ·) is larger in the class of x; ``class_correlation_other``, the same
    with the labels of the other task, a null; and ``boundary_ratio``, the mean of
    ‖∇_θ f(x)‖ = √k(x, x) over cells that have a neighbour of the other class over its mean over
    all others. The kernel is not centred where nothing else is said, as in the notebook.
    """

    def __init__(self, side: int, variant: str, steps: Sequence[int]):
        """Set up the grid.

        Args:
            side: Points along each axis.
            variant: A key of :data:`LABELS`.
            steps: The steps at which the probe will be called.
        """
        self.side = side
        self.steps = list(steps)
        self.points = grid_points(side)
        self.labels = LABELS[variant](self.points)
        [other] = set(LABELS) - {variant}
        self.other = LABELS[other](self.points)
        self.boundary = boundary(self.labels.reshape(side, side)).flatten()
        distances = torch.cdist(torch.tensor(SHOWN), self.points)
        self.cells = distances.argmin(dim=1)
        self.images: dict[str, list[np.ndarray]] = {
            name: [] for name in ("eigenfunctions", "outputs", "gradient_norms", "cuts")
        }

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> Iterator[Reading]:
        """Read the kernel of ``model``, which maps points to one output."""
        points = self.points.to(next(model.parameters()).device)
        outputs = model(points).cpu()
        # In float64: at the start most of this kernel is the mean that centring removes.
        kernel = tangent_kernel(copy.deepcopy(model).double(), points.double()).cpu()
        matrix, centred = kernel[:, 0, :, 0], center_kernel(kernel)
        norms = matrix.diagonal().clamp(min=0).sqrt()
        values = {
            "accuracy": _accuracy(outputs, self.labels),
            "alignment_centered": kernel_alignment(centred, self._centred(self.labels)[:, None]),
            "class_correlation": class_correlation(matrix, self.labels),
            "class_correlation_other": class_correlation(matrix, self.other),
            "boundary_ratio": (norms[self.boundary].mean() / norms[~self.boundary].mean()).item(),
        }
        for measure, value in values.items():
            yield Reading(measure, value, split="grid")
        first = eigensystem(centred)[1][:, 0] * np.sqrt(len(points))
        first = first * np.sign(first @ self.labels.double().numpy())
        images = (first, outputs[:, 0].numpy(), norms.numpy(), matrix[self.cells].numpy())
        for kept, image in zip(self.images.values(), images, strict=True):
            kept.append(image.reshape(*image.shape[:-1], self.side, self.side))

    @staticmethod
    def _centred(labels: Tensor) -> Tensor:
        return labels - labels.mean()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what is kept; see :func:`measure`."""
        kept = {name: np.stack(images).astype(np.float32) for name, images in self.images.items()}
        return {"steps": np.array(self.steps), "points": self.points[self.cells].numpy(), **kept}


def class_correlation(kernel: Tensor, labels: Tensor) -> float:
    """Return the mean over x of Pearson's correlation over x' of k(x, x') with y(x) y(x').

    Args:
        kernel: k, (n, n); no row of it is constant.
        labels: y, (n,) of ±1, of both.
    """
    y = labels.double() - labels.double().mean()
    rows = kernel.double() - kernel.double().mean(dim=1, keepdim=True)
    found = (rows @ y) / (rows.norm(dim=1) * y.norm())
    return (found * labels.double()).mean().item()


def boundary(labels: Tensor) -> Tensor:
    """Say which cells of a grid have a neighbour, left, right, above or below, of another label.

    Args:
        labels: (side, side).

    Returns:
        Truth values, (side, side).
    """
    found = torch.zeros_like(labels, dtype=torch.bool)
    for part, moved in ((found, labels), (found.T, labels.T)):
        differ = moved[1:] != moved[:-1]
        part[1:] |= differ
        part[:-1] |= differ
    return found


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return ((outputs[:, 0] > 0) == (labels > 0)).double().mean().item()
