"""Train a network and its tangent features on few images and follow their test error."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, product

import torch
from torch import Tensor, nn

from feature_alignment import command
from feature_alignment.data.loading import Examples
from feature_alignment.measures.alignment import centered_one_hot, kernel_alignment
from feature_alignment.measures.spectrum import eigenvalues
from feature_alignment.papers.lejeune2024.networks import build_network
from feature_alignment.run.context import Run, parse_run
from feature_alignment.tangents.adaptive import AdaptiveModel, adaptive_kernel
from feature_alignment.tangents.features import (
    TangentFeatures,
    stored_values,
    tangent_features,
)
from feature_alignment.tangents.kernels import center_kernel, tangent_kernel
from feature_alignment.tangents.linearized import (
    BasePass,
    LinearizedModel,
    TangentModel,
    row_space,
)
from feature_alignment.training.loop import Checkpointing, Measurement, Reading, train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.optimizers import make_optimizer
from feature_alignment.training.schedules import EveryEpochs, constant
from feature_alignment.training.stopping import Patience

Stored = Tensor | BasePass | TangentFeatures

TANGENTS = {"fixed": LinearizedModel, "adaptive": AdaptiveModel}
RANKS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Which singular values are kept, counted from the largest."""
KERNEL_RANKS = (1, 2, 3, 5, 7, 10, 14, 20, 28, 40)
"""Which eigenvalues of kernels are kept."""
EVALUATION_BATCH = {False: 5000, True: 100}
"""Examples per forward pass, by whether layers are convolutional: images soon fill caches."""
FEATURE_BUDGET_GIB = 1
"""Most memory that stored tangent features may take."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one curve; see ``--help`` for the arguments."""
    run = parse_run("feature_alignment.papers.lejeune2024.sample_complexity", __doc__, argv)
    pool = load_pool(run)
    parts = {part: partial(train_on, run, pool, *part) for part in trainings(run.settings)}
    run.complete_parts(("model", "n_train"), parts)


def trainings(settings: Mapping) -> list[tuple[str, int]]:
    """Return what to train, a model on a number of images: all pairs, then the ``further_sizes``.

    Raises:
        ValueError: If a model that is not trained has further sizes, or a size comes twice.
    """
    further = settings["further_sizes"]
    if unknown := sorted(further.keys() - set(settings["models"])):
        raise ValueError(
            f"further_sizes has {', '.join(unknown)}; expected some of the models, "
            f"{', '.join(settings['models'])}"
        )
    pairs = list(product(settings["models"], settings["sizes"]))
    pairs += [(model, size) for model, sizes in further.items() for size in sizes]
    if twice := [pair for pair, count in Counter(pairs).items() if count > 1]:
        model, size = twice[0]
        raise ValueError(f"further_sizes of {model} has {size}, which is in sizes; remove it there")
    return pairs


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
            base = _by_channel(LinearizedModel(self.network, basis), self)
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
            beside it, or ``kernel_examples`` asks for kernels of a CNN, or of more images than
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
        wanted and settings["network"]["architecture"] == "cnn"
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
    network = build_network(run, train.inputs, task.classes).to(run.device)
    return Pool(train, selection, task.classes, network)


def train_on(
    run: Run, pool: Pool, kind: str, n: int, checkpointing: Checkpointing
) -> list[Measurement]:
    """Train on n images, or on n drawn anew for every epoch, and return the measurements.

    All kinds start at the same network and visit the same images in the same order. ``full``
    trains the network; ``fixed`` and ``adaptive`` train its tangent features.

    Measures: ``error``, the share misclassified, on each split that selects (``test``,
    ``held_out``), after every ``stop.every`` epochs until patience is over with all; at that end on
    ``train``, the images of the last epoch. ``distinct_images``, how many different images the
    training has seen, at the same times. ``singular_value_k``, for each layer at the end, the k-th
    singular value of the displacement of its weights, k in :data:`RANKS`; and what
    :func:`kernel_readings` reads.

    Batches have gcd(n, ``batch_size``) images, so that all are of one size.

    References:
        lejeune2024, figure 4. Departs from: the papers' scripts only have ``subset`` ``fresh``
        with selection on the test set; see ``docs/papers/lejeune2024.md``.
    """
    settings = run.settings
    order = epoch_order(run, len(pool.train), n)
    drawn_from = len(pool.train) if settings["subset"] == "fresh" else n
    labels = pool.train.labels[:drawn_from]
    in_row_space = settings["optimizer"] == "sgd"
    model, inputs, selecting = prepare(kind, pool, drawn_from, in_row_space=in_row_space)
    selection = {
        split: (selecting[split], examples.labels) for split, examples in pool.selection.items()
    }
    stop = Patience(
        lambda: {split: error(model, *examples) for split, examples in selection.items()},
        **settings["stop"],
    )

    def errors(_: nn.Module) -> Iterator[Reading]:
        for split, value in stop.errors().items():
            yield Reading("error", value, split=split)

    measurements = train(
        model,
        inputs,
        labels,
        loss=LOSSES["cross_entropy"],
        optimizer=make_optimizer(
            settings["optimizer"],
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            learning_rate=settings["learning_rate"],
            momentum=settings["momentum"],
            weight_decay=settings["weight_decay"],
        ),
        learning_rate=constant(settings["learning_rate"]),
        batch_size=math.gcd(n, settings["batch_size"]),
        epochs=settings["epochs"],
        order=order,
        schedule=EveryEpochs(settings["stop"]["every"]),
        instruments=[errors],
        stop=stop,
        checkpointing=checkpointing,
    )
    chosen = order(int(measurements[-1].epoch) - 1)
    final = [
        Reading("error", error(model, inputs[chosen], labels[chosen]), split="train"),
        *singular_values(displacement(model, pool.network)),
        *kernel_readings(run, model, pool),
    ]
    return [
        *measurements,
        *(Measurement(measurements[-1].step, measurements[-1].epoch, **vars(r)) for r in final),
        *distinct_images(measurements, order),
    ]


def epoch_order(run: Run, pool: int, n: int) -> Callable[[int], Tensor]:
    """Return the order in which each epoch visits its images, as indices into the pool.

    With ``subset`` ``one`` these are the first n in a random order, with ``fresh`` n others.
    """
    available = pool if run.settings["subset"] == "fresh" else n
    shuffled = run.shuffled(available)
    return lambda epoch: shuffled(epoch)[:n]


def prepare(
    kind: str, pool: Pool, count: int, *, in_row_space: bool
) -> tuple[nn.Module, Stored, dict[str, Stored]]:
    """Return the model to train, its training inputs and those that select, by split.

    The tangent features of a fully connected network are trained in the row space of the training
    images; those of a convolutional one are stored if they fit.

    Args:
        kind: ``full`` for the network itself, or a key of :data:`TANGENTS`.
        pool: Images and network.
        count: How many of the first training images training may draw from.
        in_row_space: Whether that changes nothing, as with SGD; Adam looks at coordinates.
    """
    images = pool.train.inputs[:count]
    if kind == "full":
        model = copy.deepcopy(pool.network)
        prepared = {split: examples.inputs for split, examples in pool.selection.items()}
        return _by_channel(model, pool), images, prepared
    if pool.convolutional and pool.features is not None:
        model = _by_channel(TANGENTS[kind](pool.network), pool)
        return model, pool.features["train"][:count], pool.features
    passes = pool.base_passes(count, in_row_space=in_row_space and not pool.convolutional)
    model = _by_channel(TANGENTS[kind](pool.network, passes.basis), pool)
    return model, passes.train, passes.selection


def _by_channel(model: nn.Module, pool: Pool) -> nn.Module:
    return model.to(memory_format=torch.channels_last) if pool.convolutional else model


@torch.no_grad()
def error(model: nn.Module, inputs: Stored, labels: Tensor) -> float:
    """Compute the share of examples whose largest output is not that of their label."""
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    size = EVALUATION_BATCH[convolutional]
    parts = zip(inputs.split(size), labels.split(size), strict=True)
    wrong = sum((model(part).argmax(dim=1) != expected).sum() for part, expected in parts)
    return int(wrong) / len(labels)


def displacement(model: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """Return how far the weights of each layer are from the network's, by layer."""
    if isinstance(model, TangentModel):
        moved = model.delta()
    else:
        start = network.state_dict()
        moved = {name: value - start[name] for name, value in model.state_dict().items()}
    suffix = ".weight"
    return {name.removesuffix(suffix): w for name, w in moved.items() if name.endswith(suffix)}


def singular_values(weights: dict[str, Tensor]) -> Iterator[Reading]:
    """Yield singular values of each layer's matrix, inputs and kernel positions taken together."""
    for layer, weight in weights.items():
        values = torch.linalg.svdvals(weight.flatten(1).double())
        for rank in RANKS:
            if rank <= len(values):
                yield Reading(f"singular_value_{rank}", values[rank - 1].item(), layer=layer)


def kernel_readings(run: Run, model: nn.Module, pool: Pool) -> Iterator[Reading]:
    """Yield what the tangent kernel of a trained model has to do with the labels.

    The kernel is that of the network as it is, of the fixed features, which is the network's at
    initialisation, or of the adapted features. On the first ``kernel_examples`` test images (0 for
    no kernel): ``kernel_alignment``, centred, with the labels; and ``eigenvalue_share_k``, the k-th
    eigenvalue divided by the trace, not centred, k in :data:`KERNEL_RANKS`.
    """
    count = run.settings["kernel_examples"]
    if not count:
        return
    images = pool.selection["test"].first(count, "kernel_examples")
    if isinstance(model, AdaptiveModel):
        kernel = adaptive_kernel(model, images.inputs)
    else:
        network = model.base if isinstance(model, TangentModel) else model
        kernel = tangent_kernel(network, images.inputs)
    targets = centered_one_hot(images.labels, pool.classes)
    alignment = kernel_alignment(center_kernel(kernel), targets)
    yield Reading("kernel_alignment", alignment, split="test")
    spectrum = eigenvalues(kernel)
    for rank in KERNEL_RANKS:
        if rank <= len(spectrum):
            share = float(spectrum[rank - 1] / spectrum.sum())
            yield Reading(f"eigenvalue_share_{rank}", share, split="test")


def distinct_images(
    measurements: Sequence[Measurement], order: Callable[[int], Tensor]
) -> Iterator[Measurement]:
    """Yield how many different images the training had seen at the time of each measurement."""
    times = sorted({(entry.epoch, entry.step) for entry in measurements})
    seen: set[int] = set()
    done = 0
    for epoch, step in times:
        for past in range(done, int(epoch)):
            seen.update(order(past).tolist())
        done = int(epoch)
        yield Measurement(step, epoch, "distinct_images", float(len(seen)), split="train")


if __name__ == "__main__":
    command.run(main)
