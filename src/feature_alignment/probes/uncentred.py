"""The tangent kernel that is not centred, on fixed examples, read during training."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from torch import nn

from feature_alignment.data.loading import Examples
from feature_alignment.measures.alignment import alignment_of, centered_one_hot
from feature_alignment.measures.spectrum import effective_rank, eigenvalues, trace_ratio
from feature_alignment.tangents.kernels import summarise_kernels
from feature_alignment.training.readings import Probe, Reading

RATIO = 40
"""k of the trace ratio: the least of those that the authors draw in red."""


def uncentred_probe(probes: Mapping[str, Examples], classes: int) -> Probe:
    """Return the probe that reads the tangent kernel as it is on each set of examples.

    Measures, for every split: ``alignment_uncentered``, yᵀKy / (‖K‖_F ‖y‖²), of the whole network's
    kernel and of every layer's; and of the whole kernel ``eigenvalue_largest_uncentered``,
    ``eigenvalue_mean_uncentered``, ``eigenvalue_median_uncentered``, ``effective_rank_uncentered``
    and ``trace_ratio_40_uncentered``.

    The labels y stay centred. So yᵀKy is that of the centred kernel, and the alignment differs by
    ‖K‖_F alone, which contains the mean tangent feature: it is the lower of the two.

    Args:
        probes: Examples by split; y is centred within each set.
        classes: C.

    References:
        Baratin et al. (2021), figures 2 and 3, by the option of the authors' code that leaves the
        kernel uncentred.
    """
    targets = {
        split: centered_one_hot(examples.labels, classes) for split, examples in probes.items()
    }

    def read(network: nn.Module) -> Iterator[Reading]:
        for split, examples in probes.items():
            y = targets[split]
            layers, kernel = summarise_kernels(network, examples.inputs, y)
            form, norm = sum(layer.form for layer in layers.values()), kernel.double().norm().item()
            aligned = alignment_of(form, norm, y) if norm and y.any() else math.nan
            yield Reading("alignment_uncentered", aligned, split=split)
            for name, layer in layers.items():
                if layer.norm and y.any():  # else it is dead
                    value = alignment_of(layer.form, layer.norm, y)
                    yield Reading("alignment_uncentered", value, name, split)
            values = eigenvalues(kernel)
            found = {
                "eigenvalue_largest": values[0],
                "eigenvalue_mean": values.mean(),
                "eigenvalue_median": np.median(values),
                "effective_rank": effective_rank(values),
            }
            if len(values) > RATIO:
                found[f"trace_ratio_{RATIO}"] = trace_ratio(values, RATIO)
            for measure, value in found.items():
                yield Reading(f"{measure}_uncentered", float(value), split=split)

    return read
