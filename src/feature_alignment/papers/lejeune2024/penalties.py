"""Compute the penalty curves of figure 2."""

from collections.abc import Iterator

import numpy as np

from feature_alignment.measures import penalties
from feature_alignment.run.context import Run
from feature_alignment.training.readings import Reading, taken

DTYPE = "float64"


def measure(run: Run) -> None:
    """Compute the curves; nothing in them is random."""
    grid = np.linspace(0, run.settings["largest_argument"], run.settings["points"])
    run.complete(lambda _: taken(curves(grid), None, None))


def curves(v: np.ndarray) -> Iterator[Reading]:
    """Yield the points of every curve of figure 2, each at its argument v.

    Measures: ``w1``, ``w2``, ``w3`` for v ≥ 1; ``effective_w1`` … ``effective_w3``, their
    minimisers ``argmin_w1`` … ``argmin_w3``, and ``ridge`` (v²) for v ≥ 0.

    Args:
        v: Arguments, at least 0.
    """
    scaling = v[v >= 1]
    for name in ("w1", "w2", "w3"):
        yield from _points(name, scaling, getattr(penalties, name)(scaling))
        value, minimiser = getattr(penalties, f"effective_{name}")(v)
        yield from _points(f"effective_{name}", v, value)
        yield from _points(f"argmin_{name}", v, minimiser)
    yield from _points("ridge", v, v**2)


def _points(measure: str, arguments: np.ndarray, values: np.ndarray) -> Iterator[Reading]:
    for v, value in zip(arguments, values, strict=True):
        yield Reading(measure, float(value), at=float(v))
