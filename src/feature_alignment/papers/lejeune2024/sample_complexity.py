"""Train a network and its tangent features on few images and follow their test error."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from feature_alignment.data.loading import Examples
from feature_alignment.measures.alignment import centered_one_hot, kernel_alignment
from feature_alignment.measures.spectrum import eigenvalues
from feature_alignment.papers.lejeune2024.pool import Pool, Stored, by_channel, error, load_pool
from feature_alignment.run.context import Run
from feature_alignment.tangents.adaptive import AdaptiveModel, adaptive_kernel
from feature_alignment.tangents.kernels import center_kernel, tangent_kernel
from feature_alignment.tangents.linearized import LinearizedModel, TangentModel
from feature_alignment.training.checkpoint import Checkpointing
from feature_alignment.training.loop import train
from feature_alignment.training.losses import LOSSES
from feature_alignment.training.readings import Measurement, Reading, taken
from feature_alignment.training.recipe import Recipe, shuffled
from feature_alignment.training.schedules import EveryEpochs
from feature_alignment.training.stopping import Patience

TANGENTS = {"fixed": LinearizedModel, "adaptive": AdaptiveModel}
RANKS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Which singular values are kept, counted from the largest."""
KERNEL_RANKS = (1, 2, 3, 5, 7, 10, 14, 20, 28, 40)
"""Which eigenvalues of kernels are kept."""


def measure(run: Run) -> None:
    """Perform the trainings of one curve."""
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


def train_on(
    run: Run, pool: Pool, kind: str, n: int, checkpointing: Checkpointing
) -> list[Measurement]:
    """Train on n images, or on n drawn anew for every epoch, and return the measurements.

    All kinds start at the same network and visit the same images in the same order. ``full``
    trains the network; ``fixed`` and ``adaptive`` train its tangent features.

    Measures: ``error``, the share misclassified, on each split that selects (``test``,
    ``held_out``), after every ``stop.every`` epochs until patience is over with all; at that end on
    ``train``, the images of the last epoch. ``distinct_images``, how many different images the
    training has seen, at the same times. ``singular_value`` at k, for each layer at the end, the
    k-th singular value of the displacement of its weights, k in :data:`RANKS`; and what
    :func:`kernel_readings` reads.

    Batches have gcd(n, ``batch_size``) images, so that all are of one size.

    References:
        lejeune2024, figure 4. Departs from: the papers' scripts only have ``subset`` ``fresh``
        with selection on the test set; see ``papers/lejeune2024/README.md``.
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

    recipe = Recipe.of(
        settings,
        model,
        drawn_from,
        run,
        loss=LOSSES["cross_entropy"],
        batch_size=math.gcd(n, settings["batch_size"]),
        order=order,
        stop=stop,
    )
    measurements = train(
        model,
        Examples(inputs, labels),
        recipe,
        schedule=EveryEpochs(settings["stop"]["every"]),
        probes=[errors],
        checkpointing=checkpointing,
    )
    end = measurements[-1]
    chosen = order(int(end.epoch) - 1)
    final = [
        Reading("error", error(model, inputs[chosen], labels[chosen]), split="train"),
        *singular_values(displacement(model, pool.network)),
        *kernel_readings(run, model, pool),
    ]
    return [
        *measurements,
        *taken(final, end.step, end.epoch),
        *distinct_images(measurements, order),
    ]


def epoch_order(run: Run, pool: int, n: int) -> Callable[[int], Tensor]:
    """Return the order in which each epoch visits its images, as indices into the pool.

    With ``subset`` ``one`` these are the first n in a random order, with ``fresh`` n others.
    """
    available = pool if run.settings["subset"] == "fresh" else n
    visited = shuffled(available, run)
    return lambda epoch: visited(epoch)[:n]


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
        return by_channel(model, pool), images, prepared
    if pool.convolutional and pool.features is not None:
        model = by_channel(TANGENTS[kind](pool.network), pool)
        return model, pool.features["train"][:count], pool.features
    passes = pool.base_passes(count, in_row_space=in_row_space and not pool.convolutional)
    model = by_channel(TANGENTS[kind](pool.network, passes.basis), pool)
    return model, passes.train, passes.selection


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
                value = values[rank - 1].item()
                yield Reading("singular_value", value, layer=layer, at=rank)


def kernel_readings(run: Run, model: nn.Module, pool: Pool) -> Iterator[Reading]:
    """Yield what the tangent kernel of a trained model has to do with the labels.

    The kernel is that of the network as it is, of the fixed features, which is the network's at
    initialisation, or of the adapted features. On the first ``kernel_examples`` test images (0 for
    no kernel): ``kernel_alignment``, centred, with the labels; and ``eigenvalue_share`` at k, the
    k-th eigenvalue divided by the trace, not centred, k in :data:`KERNEL_RANKS`.
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
            yield Reading("eigenvalue_share", share, split="test", at=rank)


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
