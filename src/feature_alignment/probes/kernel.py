"""The tangent kernel on fixed examples, read during training: alignment and spectrum."""

import logging
import math
from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor, nn

from feature_alignment.data.loading import Examples
from feature_alignment.measures.alignment import alignment_of, centered_one_hot
from feature_alignment.measures.spectrum import (
    Spectrum,
    Vectors,
    effective_rank,
    eigensystem,
    label_energy,
    trace_ratio,
)
from feature_alignment.tangents.kernels import summarise_kernels
from feature_alignment.training.readings import Probe, Reading

TRACE_RATIOS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640)

log = logging.getLogger(__name__)


def kernel_probe(probes: Mapping[str, Examples], classes: int, *, spectrum: bool) -> Probe:
    """Return the probe that reads the centred tangent kernel on each set of examples.

    Measures, for every split: ``alignment`` of the whole network's kernel and, with the layer's
    name, of every layer's with the centred one-hot labels; with ``spectrum``, the whole kernel's
    ``eigenvalue_largest``, ``eigenvalue_mean``, ``eigenvalue_median``, ``effective_rank`` and
    ``trace_ratio`` and ``label_energy``, the share of the labels in the first k eigenvectors, at k
    in :data:`TRACE_RATIOS` below n · C.

    Args:
        probes: Examples by split; y is centred within each set.
        classes: C.
        spectrum: Whether to read the spectrum.

    References:
        Baratin et al. (2021), figures 2–4. Departs from: the network is in evaluation mode, which
        matters for batch norm alone; the authors' code measures in training mode.
    """
    targets = {
        split: centered_one_hot(examples.labels, classes) for split, examples in probes.items()
    }

    def read(network: nn.Module) -> Iterator[Reading]:
        for split, examples in probes.items():
            y = targets[split]
            layers, kernel = summarise_kernels(network, examples.inputs, y, centered=True)
            form = sum(layer.form for layer in layers.values())
            norm = kernel.double().norm().item()
            if not (y.any() and any(layer.norm for layer in layers.values())):
                log.warning("the kernel or the labels are the same for all examples (%s)", split)
                yield Reading("alignment", math.nan, split=split)  # which ends the training
            yield Reading("alignment", alignment_of(form, norm, y), split=split)
            for name, layer in layers.items():
                if layer.norm:
                    value = alignment_of(layer.form, layer.norm, y)
                    yield Reading("alignment", value, name, split)
                else:
                    log.warning("%s is dead or sees no difference: left out (%s)", name, split)
            if spectrum:
                values, vectors = eigensystem(kernel)
                yield from _spectrum(values, split)
                yield from _energies(vectors, y, split)

    return read


def _spectrum(values: Spectrum, split: str) -> Iterator[Reading]:
    yield Reading("eigenvalue_largest", float(values[0]), split=split)
    yield Reading("eigenvalue_mean", float(values.mean()), split=split)
    yield Reading("eigenvalue_median", float(np.median(values)), split=split)
    yield Reading("effective_rank", effective_rank(values), split=split)
    for count in TRACE_RATIOS:
        if count < len(values):
            yield Reading("trace_ratio", trace_ratio(values, count), split=split, at=count)


def _energies(vectors: Vectors, targets: Tensor, split: str) -> Iterator[Reading]:
    for count in TRACE_RATIOS:
        if count < len(vectors):
            value = label_energy(vectors, targets, count)
            yield Reading("label_energy", value, split=split, at=count)
