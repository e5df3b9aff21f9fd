"""Train a student on a teacher's outputs and compare what it learns with its tangent kernels."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from feature_alignment.data.loading import Examples
from feature_alignment.measures.alignment import cka, kernel_alignment
from feature_alignment.measures.spectrum import eigenvalues
from feature_alignment.models.build import build
from feature_alignment.papers.lejeune2024.ridge import dual_solution
from feature_alignment.run.context import Run
from feature_alignment.tangents.kernels import layer_kernels, tangent_kernel
from feature_alignment.tangents.path import path_average
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.readings import Measurement, Reading, taken
from feature_alignment.training.recipe import EpochOrder, Recipe, shuffled
from feature_alignment.training.schedules import AtSteps, LearningRate, cosine

TARGETS = {"smooth": lambda outputs: outputs, "sign": torch.sign}
"""What the student is trained on, from the teacher's outputs y."""
STATES = ("initial", "averaged", "final")
"""K_0, K̄ and K_T."""
NEAR, FAR = 0.25, 0.75
"""Images with |y| below the first are near the teacher's boundary, above the second far from it."""
DRAWN = 250
"""Of how many examples at most kernels are kept for images."""
LEADING = 50
"""How many eigenvalues of each kernel are kept."""


def measure(run: Run) -> None:
    """Train the teacher and both students, and keep the kernels that :func:`drawn` returns.

    The teacher takes a second: a resumed run trains it again.
    """
    lesson = prepare_lesson(run)
    kernels: dict[str, Kernels] = {}

    def student(target: str, checkpointing: Checkpointing) -> list[Measurement]:
        measurements, kernels[target] = teach(run, lesson, target, checkpointing)
        return measurements

    run.complete_parts(
        ["target"],
        {(target,): partial(student, target) for target in TARGETS},
        lambda: drawn(lesson.outputs, kernels),
    )


@dataclass(frozen=True)
class Lesson:
    """Images (n, pixels), their labels ±1 and the trained teacher's outputs y, (n,) each.

    ``further`` are images that nothing is trained on and the teacher's outputs for them, by name:
    ``held_out`` and ``test``, where regressions are asked for.
    """

    inputs: Tensor
    labels: Tensor
    outputs: Tensor
    further: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


def prepare_lesson(run: Run) -> Lesson:
    """Load the images of two classes and train the teacher on them.

    The first class has the label −1, the second 1. Each image x becomes (x − m) / ‖x − m‖ with m
    the mean of its own pixels, times √pixels where ``normalised`` says ``variance`` and not
    ``length``. The hidden layers of the teacher stay as they were drawn; its last layer is trained
    to the labels with a learning rate of period ``teacher.period`` epochs.

    Raises:
        ValueError: If there are fewer images of the two classes than asked for, an image is
            constant, none of the images that kernels are measured on is near or far from the
            decision boundary, or regressions are to see fewer images than the student.

    References:
        lejeune2024, figures 1 and 3. Departs from: the images are the first of the two classes in
        the run's random order, where the paper takes the first in the order of the file.
    """
    images = _two_classes(run)
    inputs, labels = images.pop("train")
    settings = run.settings["teacher"]
    teacher = build(settings["model"], inputs.shape[1:], 1, run.generator("probe")).to(run.device)
    with torch.no_grad():
        features = teacher[:-1](inputs)
    weights = train_last_layer(
        features,
        labels,
        teacher[-1].weight[0].detach(),
        learning_rate=cosine(settings["learning_rate"], settings["period"]),
        momentum=settings["momentum"],
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        order=shuffled(len(labels), run),
    )
    outputs = features @ weights
    shown = outputs[: run.settings["measure"]["kernel_examples"]].abs()
    if not ((shown < NEAR).any() and (shown > FAR).any()):
        raise ValueError(
            f"none of the {len(shown)} images that kernels are measured on has |y| < {NEAR}, or "
            f"none has |y| > {FAR}; raise measure.kernel_examples, or make the teacher smaller "
            "(for the first) or larger (for the second)"
        )
    with torch.no_grad():
        further = {
            split: (seen, teacher[:-1](seen) @ weights) for split, (seen, _) in images.items()
        }
    return Lesson(inputs, labels, outputs, further)


def _two_classes(run: Run) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the images of the two classes and their labels, by split."""
    name, count = run.settings["dataset"]["name"], run.settings["dataset"]["n_train"]
    options = run.settings["measure"]
    regression = options["regression"]
    held_out, test = (regression["held_out"], regression["test"]) if regression else (0, 0)
    given = run.datasets.get(name)  # run.task says if none was given
    everything = {key: given.manifest[key] if given else 0 for key in ("n_train", "n_test")}
    if not regression:
        everything["n_test"] = 0
    task = run.task(**everything, label_noise=0.0, standardized=False)
    if options["kernel_examples"] > count:
        raise ValueError(
            f"measure.kernel_examples is {options['kernel_examples']}, but dataset.n_train is "
            f"{count}; lower the first or raise the second"
        )
    if regression and options["kernel_examples"] < count:
        raise ValueError(
            f"measure.kernel_examples is {options['kernel_examples']}, but regressions are to see "
            f"the dataset.n_train = {count} images that the student does; set measure.regression "
            "to null or make both equal"
        )
    training = _of_classes(run, task.train, "train", count + held_out)
    found = {"train": [part[:count] for part in training]}
    if regression:
        found["held_out"] = [part[count:] for part in training]
        found["test"] = _of_classes(run, task.test, "test", test)
    return {
        split: (inputs.to(run.device), labels.to(run.device))
        for split, (inputs, labels) in found.items()
    }


def _of_classes(run: Run, examples: Examples, split: str, count: int) -> tuple[Tensor, Tensor]:
    """Return the first images of the two classes, normalised, and their labels ±1."""
    name, (first, second) = run.settings["dataset"]["name"], run.settings["classes"]
    chosen = torch.isin(examples.labels, torch.tensor([first, second])).nonzero()[:, 0]
    if count > len(chosen):
        kind, setting = (
            ("training", "dataset.n_train") if split == "train" else (split, "measure.regression")
        )
        raise ValueError(
            f"{name} has {len(chosen)} {kind} images of the classes {first} and {second}, but "
            f"the run asks for {count}; lower {setting}"
        )
    chosen = chosen[:count]
    pixels = examples.inputs[chosen].flatten(1)
    if (pixels == pixels[:, :1]).all(dim=1).any():
        raise ValueError(f"an image of {name} is constant: it cannot be scaled to length 1")
    pixels = pixels - pixels.mean(dim=1, keepdim=True)
    pixels = pixels / torch.linalg.vector_norm(pixels, dim=1, keepdim=True)
    if run.settings["normalised"] == "variance":
        pixels = pixels * math.sqrt(pixels.shape[1])
    return pixels, torch.where(examples.labels[chosen] == second, 1.0, -1.0)


@torch.no_grad()
def train_last_layer(
    features: Tensor,
    labels: Tensor,
    weights: Tensor,
    *,
    learning_rate: LearningRate,
    momentum: float,
    batch_size: int,
    epochs: int,
    order: EpochOrder,
) -> Tensor:
    """Fit a linear layer without bias by SGD on the mean squared error of each batch.

    v ← μ v + ∇, w ← w − η v, three operations per step: the training loop would spend most of its
    time between the operations of so small a model.

    Args:
        features: What the layer sees, (n, width).
        labels: (n,).
        weights: The weights at the start, (width,).
        learning_rate: η, from the epoch's index.
        momentum: μ.
        batch_size: Examples per step; the last batch of an epoch may be smaller.
        epochs: Number of epochs.
        order: From the epoch's index to the indices of its examples.

    Returns:
        The weights at the end, (width,).
    """
    weights, velocity = weights.clone(), torch.zeros_like(weights)
    for epoch in range(epochs):
        rate, chosen = learning_rate(epoch), order(epoch)
        batches = zip(
            features[chosen].split(batch_size), labels[chosen].split(batch_size), strict=True
        )
        for seen, target in batches:
            residual = torch.addmv(target, seen, weights, beta=-1)
            velocity.addmv_(seen.T, residual, beta=momentum, alpha=2 / len(seen))
            weights.sub_(velocity, alpha=rate)
    return weights


def build_student(run: Run, inputs: int) -> nn.Module:
    """Build the student, the same for both targets.

    Its weights are drawn as ``student.model.initialisation`` says, its biases uniformly on
    ±1/√fan_in, as PyTorch does by default.

    References:
        lejeune2024, whose script draws the weights of PyTorch's layers anew, but not the biases.
    """
    draw = run.generator("init")
    student = build(run.settings["student"]["model"], (inputs,), 1, draw)
    with torch.no_grad():
        for module in student.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                bound = 1 / math.sqrt(module.in_features)
                module.bias.uniform_(-bound, bound, generator=draw)
    return student.to(run.device)


def teach(
    run: Run, lesson: Lesson, target: str, checkpointing: Checkpointing
) -> tuple[list[Measurement], "Kernels"]:
    """Train the student on one target; return the measurements and the kernels.

    Measures: ``loss`` on all training images at initialisation and at the end; and at the end
    ``teacher_loss``, the teacher's mean squared error to the labels, ``teacher_sign_agreement``,
    the share of images of which the sign of y is the label, those of :func:`readings` and, with
    ``measure.regression``, those of :func:`regressions`.

    References:
        lejeune2024, figures 1 and 3.
    """
    settings = run.settings["student"]
    student = build_student(run, lesson.inputs.shape[1])
    start = copy.deepcopy(student)
    targets = TARGETS[target](lesson.outputs)
    loss = LOSSES["mse"]

    @torch.no_grad()
    def fit(network: nn.Module) -> Iterator[Reading]:
        yield Reading("loss", loss(network(lesson.inputs), targets).item(), split="train")

    rate = cosine(settings["learning_rate"], settings["epochs"])
    recipe = Recipe.of(settings, student, len(targets), run, learning_rate=rate, loss=loss)
    measurements = train(
        student,
        Examples(lesson.inputs, targets),
        recipe,
        schedule=AtSteps([0]),
        probes=[fit],
        checkpointing=checkpointing,
    )
    options = run.settings["measure"]
    count = options["kernel_examples"]
    seen = [lesson.inputs[:count], *(inputs for inputs, _ in lesson.further.values())]
    everything = measure_kernels(start, student, torch.cat(seen), options["path_points"])
    kernels = everything.first(count)
    right = (lesson.outputs.sign() == lesson.labels).double().mean().item()
    error = loss(lesson.outputs[:, None], lesson.labels).item()
    final = [
        Reading("teacher_loss", error, split="train"),
        Reading("teacher_sign_agreement", right, split="train"),
        *readings(kernels, lesson.outputs[:count].cpu()),
    ]
    if lesson.further:
        outputs = [lesson.outputs, *(outputs for _, outputs in lesson.further.values())]
        expected = TARGETS[target](torch.cat(outputs).double().cpu())
        splits = dict(zip(("train", *lesson.further), map(len, outputs), strict=True))
        final += regressions(everything, expected, splits, options["regression"]["ridges"])
    end = measurements[-1]
    return measurements + taken(final, end.step, end.epoch), kernels


@dataclass(frozen=True)
class Kernels:
    """Tangent kernels of a student and how far its outputs moved, in float64 on the CPU.

    ``initial``, ``averaged`` and ``final`` are K_0, K̄ (see
    :mod:`feature_alignment.tangents.path`) and K_T, (n, n); ``change`` is f_T − f_0,
    ``path_change`` what the path makes of it, ⟨ḡ, θ_T − θ_0⟩, and ``before`` f_0, (n,). ``terms``
    are those of K_0 and K̄ that each layer makes, by its name.
    """

    initial: Tensor
    averaged: Tensor
    final: Tensor
    change: Tensor
    path_change: Tensor
    before: Tensor
    terms: Mapping[str, tuple[Tensor, Tensor]]

    def first(self, count: int) -> "Kernels":
        """Return the kernels of the first examples."""
        return Kernels(
            *(getattr(self, name)[:count, :count] for name in STATES),
            *(getattr(self, name)[:count] for name in ("change", "path_change", "before")),
            {
                layer: tuple(term[:count, :count] for term in terms)
                for layer, terms in self.terms.items()
            },
        )


@torch.no_grad()
def measure_kernels(
    start: nn.Sequential, end: nn.Sequential, inputs: Tensor, points: int
) -> Kernels:
    """Compute the kernels between two states of a network on some examples.

    Args:
        start: At initialisation.
        end: After training.
        inputs: (n, pixels).
        points: Points on the path, for K̄.
    """
    n, inputs = len(inputs), inputs.double()
    start, end = (copy.deepcopy(network).double().eval() for network in (start, end))
    path = path_average(start, end, inputs, points=points)
    initial = {name: term.reshape(n, n) for name, term in layer_kernels(start, inputs).items()}
    before = start(inputs)[:, 0]
    found = (
        sum(initial.values()),
        path.kernel,
        tangent_kernel(end, inputs).reshape(n, n),
        end(inputs)[:, 0] - before,
        path.change,
        before,
    )
    terms = {name: (initial[name].cpu(), term.cpu()) for name, term in path.layers.items()}
    return Kernels(*(tensor.cpu() for tensor in found), terms)


def readings(kernels: Kernels, outputs: Tensor) -> Iterator[Reading]:
    """Yield what the table says of the kernels, of which each has a name in :class:`Kernels`.

    Measures: ``cosine_…``, the cosine of the angle between a kernel and
    K_y = (f_T − f_0)(f_T − f_0)ᵀ as matrices, and ``centered_cosine_…``, the same of the centred
    matrices (CKA). ``path_identity_error``, ‖⟨ḡ, θ_T − θ_0⟩ − (f_T − f_0)‖ / ‖f_T − f_0‖, which the
    number of points on the path leaves. ``diagonal_near`` and ``diagonal_far``, the medians of the
    diagonal of K̄ over images near and far from the teacher's decision boundary (|y| below
    :data:`NEAR`, above :data:`FAR`), ``peak_ratio``, the first divided by the second, and the same
    with ``…_initial`` for K_0. ``eigenvalue_…`` at each rank, from 1, the leading eigenvalues of a
    kernel divided by its trace.

    Of statements without a figure: ``likeness_initial`` and ``likeness_final``, the cosine of the
    angle between K_0 or K_T and K̄, and ``centered_likeness_…``, that of the centred matrices.
    ``boundary_rank`` and ``boundary_rank_initial``, Spearman's correlation over images of the
    diagonal of K̄ or K_0 with −|y|. By layer, with Δ_l = K̄_l − K_{0,l} the difference of its terms
    and Δ their sum: ``term_share``, ⟨Δ_l, Δ⟩ / ‖Δ‖², which add up to 1, and
    ``term_alignment_averaged`` and ``term_alignment_initial``, the cosine of the angle between
    K̄_l or K_{0,l} and K_y.

    Args:
        kernels: Of n examples.
        outputs: The teacher's outputs y, (n,).

    References:
        lejeune2024, figures 1 and 3. Departs from: the paper does not centre.
    """
    outer = torch.outer(kernels.change, kernels.change)
    near, far = outputs.abs() < NEAR, outputs.abs() > FAR
    for name in STATES:
        kernel = getattr(kernels, name)
        yield Reading(f"cosine_{name}", _alignment(kernel, kernels.change), split="train")
        yield Reading(f"centered_cosine_{name}", cka(kernel, outer), split="train")
        spectrum = eigenvalues(kernel)
        for rank, value in enumerate(spectrum[:LEADING] / spectrum.sum(), start=1):
            yield Reading(f"eigenvalue_{name}", float(value), split="train", at=rank)
    for ending, kernel in (("", kernels.averaged), ("_initial", kernels.initial)):
        diagonal = kernel.diagonal()
        medians = [diagonal[chosen].quantile(0.5).item() for chosen in (near, far)]
        yield Reading(f"diagonal_near{ending}", medians[0], split="train")
        yield Reading(f"diagonal_far{ending}", medians[1], split="train")
        yield Reading(f"peak_ratio{ending}", medians[0] / medians[1], split="train")
        ranks = pd.DataFrame({"diagonal": diagonal, "nearness": -outputs.abs().double()}).rank()
        yield Reading(f"boundary_rank{ending}", ranks.corr().iloc[0, 1], split="train")
    error = (kernels.path_change - kernels.change).norm() / kernels.change.norm()
    yield Reading("path_identity_error", error.item(), split="train")
    for name in ("initial", "final"):
        kernel = getattr(kernels, name)
        inner = (kernel * kernels.averaged).sum() / (kernel.norm() * kernels.averaged.norm())
        yield Reading(f"likeness_{name}", inner.item(), split="train")
        yield Reading(f"centered_likeness_{name}", cka(kernel, kernels.averaged), split="train")
    moved = kernels.averaged - kernels.initial
    for layer, (initial, averaged) in kernels.terms.items():
        share = ((averaged - initial) * moved).sum() / moved.square().sum()
        yield Reading("term_share", share.item(), layer, split="train")
        for name, term in (("initial", initial), ("averaged", averaged)):
            found = _alignment(term, kernels.change)
            yield Reading(f"term_alignment_{name}", found, layer, split="train")


def _alignment(kernel: Tensor, change: Tensor) -> float:
    return kernel_alignment(kernel[:, None, :, None], change[:, None])


def regressions(
    kernels: Kernels, targets: Tensor, splits: Mapping[str, int], ridges: Sequence[float]
) -> Iterator[Reading]:
    """Yield how kernel ridge regression with K_0, K̄ and K_T fits images that it has not seen.

    From f_0 on, as the student does: f = f_0 + K(·, X) (K(X, X) + λ)⁻¹ (t − f_0(X)), X being the
    training images and t the targets, with λ a multiple of the mean of the diagonal of K(X, X).

    Measures on the test images: ``regression_unexplained_…``, Σ (f − t)² / Σ t², and
    ``regression_error_…``, the share of images where f does not have the sign of t, with the λ of
    the least unexplained share on held-out images, whose multiple is ``regression_ridge_…``; and
    ``network_unexplained`` and ``network_error``, the same of the student, f = f_T.

    Args:
        kernels: Of the images of all splits, one split after the other.
        targets: t, (n,) in float64.
        splits: Numbers of images of ``train``, ``held_out`` and ``test``, in this order.
        ridges: The multiples.

    References:
        Long (2021) and Fort et al. (2020), who regress with the kernel after training.
    """
    train, held_out, test = torch.arange(len(targets)).split(list(splits.values()))

    def unexplained(fitted: Tensor, chosen: Tensor) -> float:
        expected = targets[chosen]
        return ((fitted - expected).square().sum() / expected.square().sum()).item()

    def missed(fitted: Tensor) -> float:
        return (fitted.sign() != targets[test].sign()).double().mean().item()

    residuals = targets[train] - kernels.before[train]
    for name in STATES:
        kernel = getattr(kernels, name)
        own = kernel[train][:, train]
        fits = []
        for ridge in ridges:
            weights = dual_solution(own, residuals, ridge)
            fits.append(kernels.before + kernel[:, train] @ weights)
        losses = [unexplained(fit[held_out], held_out) for fit in fits]
        best = losses.index(min(losses))
        fitted = fits[best][test]
        yield Reading(f"regression_ridge_{name}", ridges[best], split="held_out")
        yield Reading(f"regression_unexplained_{name}", unexplained(fitted, test), split="test")
        yield Reading(f"regression_error_{name}", missed(fitted), split="test")
    network = (kernels.before + kernels.change)[test]
    yield Reading("network_unexplained", unexplained(network, test), split="test")
    yield Reading("network_error", missed(network), split="test")


def drawn(outputs: Tensor, kernels: dict[str, Kernels]) -> dict[str, np.ndarray]:
    """Return what figures 1 and 3 show, examples in the order of the teacher's outputs y.

    ``y`` (n,) and ``targets`` (2,); ``diagonal_initial`` (n,), of the kernel that both
    targets start at, and ``diagonal_averaged`` (2, n), in float32. By target and of every k-th
    example, such that at most :data:`DRAWN` are left, ``kernel_averaged`` and ``kernel_final``
    (2, m, m), in float16, which is enough to look at, and ``change`` (2, m), f_T − f_0, of which
    K_y is the outer product.

    Args:
        outputs: y of all training images, of which the kernels are those of the first.
        kernels: By target.
    """
    states = list(kernels.values())
    shown = outputs[: len(states[0].change)].cpu()
    order = shown.argsort(stable=True)
    kept = order[:: math.ceil(len(order) / DRAWN)]
    averaged, final, changes = (
        torch.stack([getattr(state, name) for state in states])
        for name in ("averaged", "final", "change")
    )
    return {
        "y": shown[order].float().numpy(),
        "targets": np.array(list(kernels)),
        "diagonal_initial": states[0].initial.diagonal()[order].float().numpy(),
        "diagonal_averaged": averaged.diagonal(dim1=1, dim2=2)[:, order].float().numpy(),
        "change": changes[:, kept].float().numpy(),
        "kernel_averaged": averaged[:, kept][:, :, kept].half().numpy(),
        "kernel_final": final[:, kept][:, :, kept].half().numpy(),
    }
