"""Compute the penalty curves of figure 2."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from feature_alignment import command, provenance
from feature_alignment.measures import penalties
from feature_alignment.storage import read_json
from feature_alignment.tables import tidy, write_table


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of penalty curves; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="resolved spec (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="table (CSV)")
    arguments = parser.parse_args(argv)
    spec = read_json(arguments.spec)
    settings = spec["settings"]
    grid = np.linspace(0, settings["largest_argument"], settings["points"])
    identity = {"paper": spec["paper"], "run": spec["run"]}
    table = tidy(({**identity, **row} for row in curves(grid)), conditions=["v"])
    module = "feature_alignment.papers.lejeune2024.penalties"
    write_table(arguments.out, table, provenance.describe(module, spec, threads=1))


def curves(v: np.ndarray) -> Iterator[dict]:
    """Yield the points of every curve of figure 2, as ``v``, ``measure`` and ``value``.

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


def _points(measure: str, arguments: np.ndarray, values: np.ndarray) -> Iterator[dict]:
    for v, value in zip(arguments, values, strict=True):
        yield {"v": v, "measure": measure, "value": value}


if __name__ == "__main__":
    command.run(main)
