"""The neural feature ansatz in the layers of a network, read during training."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from feature_alignment.measures.ansatz import (
    ansatz_correlations,
    cross_correlations,
    left_alignment,
    power_correlations,
    unnormalised_alignment,
)
from feature_alignment.measures.orthogonal import haar_frame, haar_orthogonal
from feature_alignment.tangents.preactivations import preactivation_covariances
from feature_alignment.training.readings import Probe, Reading

COVARIANCE_BATCH = 256
EXPONENTS = (0.25, 0.5, 1.0)
"""The powers of the AGOP that are compared."""
GRID = tuple(hundredths / 100 for hundredths in range(2, 151))
"""The powers among which the best is sought."""
ROUNDING = 1e-6
"""Relative change of a weight below which single precision keeps hardly any of it."""

log = logging.getLogger(__name__)

Covariances = Callable[[nn.Module, Iterable[Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class LayerState:
    """A layer at a measurement: W (out, in), W − W(0) and K (out, out).

    A convolution's kernel positions count among its inputs. K is not zero; W − W(0) is zero before
    the first step.
    """

    name: str
    weight: Tensor
    moved: Tensor
    covariance: Tensor


Question = Callable[[LayerState], Iterable[Reading]]


def ansatz_probe(
    network: nn.Module,
    inputs: Tensor,
    *,
    layers: Sequence[str] | None = None,
    covariances: Covariances = preactivation_covariances,
    batch_size: int = COVARIANCE_BATCH,
    questions: Sequence[Question] = (),
) -> Probe:
    """Return the probe that correlates weights and gradients of some layers.

    Measures per layer: ``weight_change`` (‖W − W(0)‖ / ‖W‖, Frobenius), ``uc_nfa_pearson``,
    ``uc_nfa_cosine`` and, once the weights have moved, ``c_nfa_pearson`` and ``c_nfa_cosine``. A
    dead layer, which no gradient reaches, has no correlations.

    Args:
        network: Its present weights are taken as W(0).
        inputs: Examples that the pre-activation covariance is summed over.
        layers: Which, by module name; ``None`` for :func:`hidden_layers`.
        covariances: Computes K of these layers from batches of inputs.
        batch_size: Examples per batch.
        questions: What to ask further of each layer that is not dead.

    Raises:
        ValueError: If there are no layers to read, or, at a measurement, one of them has no
            covariance.
    """
    names = hidden_layers(network) if layers is None else layers
    if not names:
        raise ValueError("no layers to correlate; name some, or use a network that has hidden ones")
    initial = {name: weight.clone() for name, weight in _weights(network, names)}

    def read(network: nn.Module) -> Iterator[Reading]:
        found = covariances(network, inputs.split(batch_size))
        if missing := [name for name in names if name not in found]:
            raise ValueError(
                f"there is no covariance of {', '.join(missing)}, only of {', '.join(found)}; name "
                "layers that outputs depend on, and covariances that know them"
            )
        for name, weight in _weights(network, names):
            moved = weight - initial[name]
            yield Reading("weight_change", _norm(moved) / _norm(weight), name, "train")
            if not found[name].any():  # no example reaches the layer: every unit is dead
                log.warning(
                    "%s is dead: no gradient reaches it, its correlations are left out", name
                )
                continue
            yield from _correlations("uc_nfa", name, weight, found[name])
            if 0 < _norm(moved) < ROUNDING * _norm(weight):
                log.warning("%s moved by little more than rounding: its C-NFA is of that", name)
            if moved.any():  # before the first step there is nothing to correlate
                yield from _correlations("c_nfa", name, moved, found[name])
            state = LayerState(name, weight, moved, found[name])
            for question in questions:
                yield from question(state)

    return read


def hidden_layers(network: nn.Module) -> list[str]:
    """Return the names of all linear layers but the last, in the order of their calls.

    Args:
        network: A :class:`torch.nn.Sequential`, which may hold others: elsewhere the order of the
            modules need not be that of their calls.

    Raises:
        ValueError: If a linear layer is inside another kind of module, or none is hidden.
    """
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    above = {
        name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)
    }
    for parent in ["", *sorted(above)]:
        module = network.get_submodule(parent)
        if type(module).forward is not nn.Sequential.forward:
            raise ValueError(
                f"which linear layers are hidden cannot be told: {parent or 'the network'!r} is a "
                f"{type(module).__name__}, which may call its modules in any order; name the "
                "layers with layers=[…]"
            )
    if len(names) < 2:
        raise ValueError("the network has no hidden linear layer; name its layers with layers=[…]")
    return names[:-1]


def centred_share(layer: LayerState) -> Iterator[Reading]:
    """Read ``centred_share``, tr(F̄ Ḡ) / tr(F G).

    F = Wᵀ W and G = Wᵀ K W; with the bar, of W − W(0).

    References:
        Beaglehole et al. (2024), the un-normalised centred part (from memory).
    """
    centred, whole = (
        unnormalised_alignment(weight, layer.covariance) for weight in (layer.moved, layer.weight)
    )
    yield Reading("centred_share", centred / whole, layer.name, "train")


def left_singular_vectors(layer: LayerState) -> Iterator[Reading]:
    """Read how far left singular vectors are eigenvectors of K.

    ``uc_left_alignment`` of W and, once the weights have moved, ``c_left_alignment`` of W − W(0);
    see :func:`feature_alignment.measures.ansatz.left_alignment`.
    """
    for kind, weight in (("uc", layer.weight), ("c", layer.moved)):
        if weight.any():
            value = left_alignment(weight, layer.covariance)
            yield Reading(f"{kind}_left_alignment", value, layer.name, "train")


def null_covariance(
    generator: Callable[[int], torch.Generator], layers: Sequence[str], draws: int
) -> Question:
    """Return the question what is left of the ansatz where one part of K is drawn at random.

    ``null_uc_nfa_pearson`` and ``null_uc_nfa_cosine`` are UC-NFA, ``null_c_nfa_…`` C-NFA, with
    Q K Qᵀ in place of K: with K's spectrum and Haar-random eigenvectors. ``permuted_uc_nfa_…`` is
    UC-NFA with K's eigenvectors, to which its eigenvalues are dealt anew at random.
    ``independent_…`` compares the centred NFM with the AGOP of W̄ P in place of W̄, of the same
    spectrum, with P a Haar-random rotation of the inputs: two matrices that know nothing of each
    other. All are means over ``draws`` draws, the same at every measurement.

    The expectation of W̄ᵀ Q K Qᵀ W̄ is W̄ᵀ W̄ tr(K) / width, a multiple of the NFM itself, so that
    the null of C-NFA need not be small.

    Args:
        generator: From an index to a source of rotations.
        layers: All layers that will be asked about.
        draws: Draws per layer.

    References:
        Beaglehole et al. (2024), the null model of the PTK (from memory, and from a summary by
        others, after which eigenvectors and eigenvalues are corrupted one at a time). Departs from:
        that the eigenvalues are dealt anew is ours.
    """

    def read(layer: LayerState) -> Iterator[Reading]:
        place = layers.index(layer.name)
        weight, moved = layer.weight.double(), layer.moved.double()
        covariance, width = layer.covariance.double(), len(layer.covariance)
        values, vectors = torch.linalg.eigh(covariance)
        left, singular, _ = torch.linalg.svd(moved, full_matrices=False)
        found: dict[str, list[float]] = {}
        for draw in range(draws):
            source = generator(place * draws + draw)
            rotation = haar_orthogonal(width, source, torch.float64).to(moved.device)
            # A rotation of the inputs takes the row space of W̄ to a Haar-random one.
            frame = haar_frame(moved.shape[1], len(singular), source).to(moved.device)
            dealt = values[torch.randperm(width, generator=source).to(values.device)]
            turned = rotation @ covariance @ rotation.T
            nulls = {
                "null_uc_nfa": ansatz_correlations(weight, turned),
                "permuted_uc_nfa": ansatz_correlations(weight, vectors * dealt @ vectors.T),
            }
            if moved.any():
                nulls["null_c_nfa"] = ansatz_correlations(moved, turned)
                other = left * singular @ frame.T
                nulls["independent"] = cross_correlations(moved, other, covariance)
            for name, value in nulls.items():
                for kind in ("pearson", "cosine"):
                    found.setdefault(f"{name}_{kind}", []).append(getattr(value, kind))
        for measure, drawn in found.items():
            yield Reading(measure, sum(drawn) / len(drawn), layer.name, "train")

    return read


def powers(layer: LayerState) -> Iterator[Reading]:
    """Read the correlation of the NFM with the AGOP to the powers 1/4, 1/2 and 1.

    ``uc_nfa_power_pearson`` and ``uc_nfa_power_cosine``, at the power, of W; with ``c_nfa`` of
    W − W(0).
    """
    for kind, weight in (("uc_nfa", layer.weight), ("c_nfa", layer.moved)):
        if not weight.any():
            continue
        found = power_correlations(weight, layer.covariance, EXPONENTS)
        for exponent, value in zip(EXPONENTS, found, strict=True):
            for form in ("pearson", "cosine"):
                measure = f"{kind}_power_{form}"
                yield Reading(measure, getattr(value, form), layer.name, "train", at=exponent)


def best_power(layer: LayerState) -> Iterator[Reading]:
    """Read the power of the AGOP that correlates most with the NFM, of a grid, and how much.

    ``best_exponent`` is the power, of 0.02, 0.03, …, 1.5, for which UC-NFA (Pearson) is highest,
    and ``best_uc_nfa_pearson`` UC-NFA there.
    """
    found = power_correlations(layer.weight, layer.covariance, GRID)
    best = max(range(len(GRID)), key=lambda place: found[place].pearson)
    yield Reading("best_exponent", GRID[best], layer.name, "train")
    yield Reading("best_uc_nfa_pearson", found[best].pearson, layer.name, "train")


def _norm(matrix: Tensor) -> float:
    # torch.norm of a large float32 tensor on the CPU is off by 1e-5 and more.
    return torch.linalg.vector_norm(matrix, dtype=torch.float64).item()


def _correlations(measure: str, layer: str, weight: Tensor, covariance: Tensor) -> list[Reading]:
    found = ansatz_correlations(weight, covariance)
    return [
        Reading(f"{measure}_pearson", found.pearson, layer, "train"),
        Reading(f"{measure}_cosine", found.cosine, layer, "train"),
    ]


def _weights(network: nn.Module, names: Sequence[str]) -> list[tuple[str, Tensor]]:
    known = dict(network.named_modules())
    for name in names:
        if not isinstance(getattr(known.get(name), "weight", None), Tensor):
            raise ValueError(f"{name!r} is not a layer with a weight of this network")
    return [(name, known[name].weight.detach().flatten(1)) for name in names]
