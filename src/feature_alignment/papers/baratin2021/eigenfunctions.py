"""Train a network on points in the square and follow the eigenfunctions of its tangent kernel."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from feature_alignment import command
from feature_alignment.data.disk import disk_labels, grid_points, random_points
from feature_alignment.measures.alignment import kernel_alignment
from feature_alignment.measures.spectrum import effective_rank, eigenvalues
from feature_alignment.models.mlp import mlp
from feature_alignment.papers.baratin2021.rings import RINGS
from feature_alignment.run.context import Run, parse_run
from feature_alignment.storage import replacing
from feature_alignment.tangents.kernels import center_kernel, tangent_kernel
from feature_alignment.training.loop import Measurement, Reading, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.schedules import AtSteps, constant

RANKS = (1, 2, 3, 6)
"""The eigenfunctions that are kept as images, by the order of their eigenvalues."""
LEADING = 5
"""How many eigenfunctions count as the first ones where the classes are looked for in them."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one training; see ``--help`` for the arguments.

    Beside the table, with the ending ``.npz``, lie the images: ``steps`` (T,), ``ranks`` (R,),
    ``eigenfunctions`` (T, R, side, side) of the centred kernel and ``outputs`` (T, side, side).
    """
    run = parse_run("feature_alignment.papers.baratin2021.eigenfunctions", __doc__, argv)
    recorder = Eigenfunctions(
        side=run.settings["measure"]["grid"],
        variant=run.settings["variant"],
        steps=sorted(run.settings["measure"]["steps"]),
    )
    # A run takes a minute: it starts anew when it was killed, since images are not checkpointed.
    run.complete(lambda _: descend(run, recorder))
    recorder.save(run.out.with_suffix(".npz"))


def descend(run: Run, recorder: "Eigenfunctions") -> list[Measurement]:
    """Train by full-batch gradient descent and return the measurements at the chosen steps.

    References:
        baratin2021, figure 1 and appendix.
    """
    settings = run.settings
    points = random_points(settings["n_train"], run.generator("subset")).to(run.device)
    labels = disk_labels(points, settings["variant"])
    network = mlp(2, **settings["model"], outputs=1, generator=run.generator("init"))
    loss = LOSSES["binary_cross_entropy"]

    @torch.no_grad()
    def fit(model: nn.Module) -> Iterator[Reading]:
        outputs = model(points)
        yield Reading("loss", loss(outputs, labels).item(), split="train")
        yield Reading("accuracy", _accuracy(outputs, labels), split="train")

    everything = torch.arange(len(points))
    return train(
        network.to(run.device),
        points,
        labels,
        loss=loss,
        optimizer=torch.optim.SGD(network.parameters(), lr=settings["learning_rate"]),
        learning_rate=constant(settings["learning_rate"]),
        batch_size=len(points),
        epochs=max(settings["measure"]["steps"]),
        order=lambda _: everything,
        schedule=AtSteps(settings["measure"]["steps"]),
        instruments=[fit, recorder],
    )


class Eigenfunctions:
    """Instrument that reads the tangent kernel on a grid and keeps images of its eigenfunctions.

    Measures on the split ``grid``, each for the kernel K as it is (``uncentered``) and without
    the mean tangent feature (``centered``): ``alignment_…`` with y − mean y;
    ``eigenvalue_ratio_…`` = λ20/λ1; ``effective_rank_…``; ``label_energy_…``, the share of
    ‖y − mean y‖² that the first :data:`LEADING` eigenvectors capture. Further ``accuracy``,
    ``trace`` = Tr K / n, and ``angular_mean_k``: of the centred kernel's first eigenfunctions,
    the one most correlated with y, averaged over the k-th ring and scaled to mean square 1, with
    the sign that makes it negative where y is positive.
    """

    def __init__(self, side: int, variant: str, steps: Sequence[int]):
        """Set up the grid.

        Args:
            side: Points along each axis.
            variant: See :func:`feature_alignment.data.disk.disk_labels`.
            steps: The steps at which the instrument will be called.
        """
        self.side = side
        self.steps = list(steps)
        self.points = grid_points(side)
        self.labels = disk_labels(self.points, variant)
        self.images: list[np.ndarray] = []
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
        self.images.append(image.reshape(len(RANKS), self.side, self.side))
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
            yield Reading(f"angular_mean_{k}", mean, split="grid")

    def save(self, path: Path) -> None:
        """Write the images; see :func:`main`."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                steps=np.array(self.steps),
                ranks=np.array(RANKS),
                eigenfunctions=np.stack(self.images).astype(np.float32),
                outputs=np.stack(self.outputs).astype(np.float32),
            )


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


if __name__ == "__main__":
    command.run(main)
