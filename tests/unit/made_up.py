"""Measurements of made-up runs, for the tests of what tables make of them."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from feature_alignment.run.collecting import Collection, collect
from feature_alignment.run.schema import read_yaml
from feature_alignment.tables import tidy, write_table

SEEDS = range(2)
PAPERS = Path(__file__).parents[2] / "papers"


@cache
def columns(paper: str, figure: str) -> Mapping[str, str]:
    """Return the condition columns that a figure's record names, with the settings in them."""
    return read_yaml(PAPERS / paper / "paper.yaml")["figures"][figure].get("columns", {})


def collection(
    rows: Iterable[Mapping],
    settings: Mapping[str, dict],
    paper: str = "baratin2021",
    conditions: Sequence[str] = (),
    **record: Mapping,
) -> Collection:
    """Return measurements, written and read back, of runs whose settings are given by name.

    ``record`` is what a figure's record says: ``columns``, ``labels``, ``published``.
    """
    specs = {
        run: {"paper": paper, "run": run, "scale": "smoke", "settings": chosen}
        for run, chosen in settings.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write_table(path, tidy(rows, conditions), {})
        return collect(specs, record, [path])


def readings(
    runs: Iterable[str], steps: Iterable[int], places: Iterable[tuple], paper: str = "baratin2021"
) -> Iterator[dict]:
    """Yield a random value for every run, seed, step, and (measure, split, layer[, at])."""
    draw = np.random.default_rng(0)
    steps, places = list(steps), list(places)
    for run in runs:
        for seed in SEEDS:
            for step in steps:
                common = {"paper": paper, "run": run, "seed": seed, "step": step, "epoch": step / 4}
                for place in places:
                    place = dict(zip(("measure", "split", "layer", "at"), place, strict=False))
                    yield {**common, **place, "value": draw.uniform(0.1, 0.9)}
