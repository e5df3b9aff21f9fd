"""Measurements of made-up runs, for the tests of what tables make of them."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from feature_alignment.run.collecting import Collection
from feature_alignment.tables import read_table, tidy, write_table

SEEDS = range(2)


def collection(
    figure: str,
    rows: Iterable[Mapping],
    settings: Mapping[str, dict],
    paper: str = "baratin2021",
    conditions: Sequence[str] = (),
) -> Collection:
    """Return measurements, written and read back, of runs whose settings are given by name."""
    specs = {
        run: {"paper": paper, "run": run, "scale": "smoke", "settings": chosen}
        for run, chosen in settings.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "table.csv", tidy(rows, conditions), {})
        table = read_table(Path(folder) / "table.csv")
    return Collection(figure, table, specs, (), Path("unused"))


def readings(
    runs: Iterable[str], steps: Iterable[int], places: Iterable[tuple], paper: str = "baratin2021"
) -> Iterator[dict]:
    """Yield a random value for every run, seed, step, and (measure, split, layer)."""
    draw = np.random.default_rng(0)
    steps, places = list(steps), list(places)
    for run in runs:
        for seed in SEEDS:
            for step in steps:
                common = {"paper": paper, "run": run, "seed": seed, "step": step, "epoch": step / 4}
                for measure, split, layer in places:
                    place = {"measure": measure, "split": split, "layer": layer}
                    yield {**common, **place, "value": draw.uniform(0.1, 0.9)}
