"""Train a network on points in the square and follow the eigenfunctions of its tangent kernel."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from feature_alignment.data.disk import disk_labels, grid_points, random_points
from feature_alignment.data.loading import Examples
from feature_alignment.measures.alignment import kernel_alignment
from feature_alignment.measures.spectrum import effective_rank, eigenvalues
from feature_alignment.models.build import build
from feature_alignment.run.context import Run
from feature_alignment.tangents.kernels import center_kernel, tangent_kernel
from feature_alignment.training.loop import train
from feature_alignment.training.readings import Measurement, Reading
from feature_alignment.training.recipe import Recipe
from feature_alignment.training.schedules import AtSteps

RINGS = 10
"""Rings over which eigenfunctions are averaged; they have equal widths, up to radius 1."""
RANKS = (1, 2, 3, 6)
"""The eigenfunctions that are kept, by the order of their eigenvalues."""
LEADING = 5
"""How many eigenfunctions count as the first ones where the classes are looked for in them."""


def measure(run: Run) -> None:
    """Perform one training.

    Kept as arrays: ``steps`` (T,), ``ranks`` (R,), ``eigenfunctions`` (T, R, side, side) of the
    centred kernel and ``outputs`` (T, side, side).
    """
    options = run.settings["measure"]
    recorder = Eigenfunctions(options["grid"], run.settings["variant"], sorted(options["steps"]))
    # A run takes a minute: it starts anew when it was killed, since arrays are not checkpointed.
    run.complete(lambda _: descend(run, recorder), recorder.arrays)


def descend(run: Run, recorder: "Eigenfunctions") -> list[Measurement]:
    """Train by full-batch gradient descent and return the measurements at the chosen steps.

    References:
        baratin2021, figure 1 and appendix.
    """
    settings = run.settings
    points = random_points(settings["n_train"], run.generator("subset")).to(run.device)
    labels = disk_labels(points, settings["variant"])
    network = build(settings["model"], (2,), 1, run.generator("init")).to(run.device)
    steps, everything = settings["measure"]["steps"], torch.arange(len(points))
    full_batch = {"loss": "binary_cross_entropy", "batch_size": len(points), "epochs": max(steps)}
    recipe = Recipe.of(
        full_batch,
        network,
        len(points),
        run,
        learning_rate=settings["learning_rate"],
        fused=False,
        order=lambda _: everything,
    )

    @torch.no_grad()
    def fit(model: nn.Module) -> Iterator[Reading]:
        outputs = model(points)
        yield Reading("loss", recipe.loss(outputs, labels).item(), split="train")
        yield Reading("accuracy", _accuracy(outputs, labels), split="train")

    return train(
        network, Examples(points, labels), recipe, schedule=AtSteps(steps), probes=[fit, recorder]
    )


class Eigenfunctions:
    """Probe that reads the tangent kernel on a grid and keeps its eigenfunctions.

    Measures on the split ``grid``, each for the kernel K as it is (``uncentered``) and without
    the mean tangent feature (``centered``): ``alignment_…`` with y − mean y;
    ``eigenvalue_ratio_…`` = λ20/λ1; ``effective_rank_…``; ``label_energy_…``, the share of
    ‖y − mean y‖² that the first :data:`LEADING` eigenvectors capture. Further ``accuracy``,
    ``trace`` = Tr K / n, and ``angular_mean`` at the radius of each ring's middle: of the centred
    kernel's first eigenfunctions, the one most correlated with y, averaged over the ring and scaled
    to mean square 1, with the sign that makes it negative where y is positive.
    """

    def __init__(self, side: int, variant: str, steps: Sequence[int]):
        """Set up the grid.

        Args:
            side: Points along each axis.
            variant: See :func:`feature_alignment.data.disk.disk_labels`.
            steps: The steps at which the probe will be called.
        """
        self.side = side
        self.steps = list(steps)
        self.points = grid_points(side)
        self.labels = disk_labels(self.points, variant)
        self.functions: list[np.ndarray] = []
        self.outputs: list[np.ndarray] = []

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> Iterator[Reading]:
        """Read the kernel of ``model``, which maps points to one output."""
        points = self.points.to(next(model.parameters()).device)
        outputs = model(points).cpu()
        yield Reading("accuracy", _accuracy(outputs, self.labels), split="grid")
        # In float64: at the start most of this kernel is the mean that centring removes.
        kernel = tangent_kernel(copy.deepcopy(model).double(), points.double()).cpu()
        trace = torch.einsum("icic->", kernel).item() / len(points)
        yield Reading("trace", trace, split="grid")
        targets = self.labels - self.labels.mean()
        for kind, matrix in (("uncentered", kernel), ("centered", center_kernel(kernel))):
            spectrum = eigenvalues(matrix)
            leading = _leading(matrix, max(RANKS))
            energy = (leading[:, :LEADING].T @ targets.double().numpy()) ** 2
            yield from self._readings(kind, matrix, spectrum, energy.sum(), targets)
        yield from self._rings(leading[:, int(np.argmax(energy))], targets)
        image = leading[:, [rank - 1 for rank in RANKS]].T * np.sqrt(len(points))
        self.functions.append(image.reshape(len(RANKS), self.side, self.side))
        self.outputs.append(outputs.reshape(self.side, self.side).numpy())

    def _readings(
        self, kind: str, kernel: Tensor, spectrum: np.ndarray, energy: float, targets: Tensor
    ) -> Iterator[Reading]:
        share = energy / targets.double().square().sum().item()
        values = {
            "alignment": kernel_alignment(kernel, targets[:, None]),
            "eigenvalue_ratio": spectrum[19] / spectrum[0],
            "effective_rank": effective_rank(spectrum),
            "label_energy": share,
        }
        for measure, value in values.items():
            yield Reading(f"{measure}_{kind}", float(value), split="grid")

    def _rings(self, function: np.ndarray, targets: Tensor) -> Iterator[Reading]:
        ring = (self.points.norm(dim=1) * RINGS).long().numpy()
        scaled = function * np.sqrt(len(function)) * -np.sign(function @ targets.double().numpy())
        for k in range(RINGS):
            mean = float(scaled[ring == k].mean())
            yield Reading("angular_mean", mean, split="grid", at=(k + 0.5) / RINGS)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what is kept; see :func:`measure`."""
        return {
            "steps": np.array(self.steps),
            "ranks": np.array(RANKS),
            "eigenfunctions": np.stack(self.functions).astype(np.float32),
            "outputs": np.stack(self.outputs).astype(np.float32),
        }


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return ((outputs[:, 0] > 0) == (labels > 0)).double().mean().item()


def _leading(kernel: Tensor, count: int) -> np.ndarray:
    """Return the first ``count`` eigenvectors (n, count), each with its largest entry positive."""
    n = len(kernel)
    matrix = kernel.reshape(n, n).double().numpy()
    _, vectors = scipy.linalg.eigh(matrix, subset_by_index=(n - count, n - 1))
    vectors = vectors[:, ::-1]
    peaks = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return vectors * np.sign(peaks)
