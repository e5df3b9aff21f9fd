"""Measurements of made-up runs, for the tests of what tables make of them."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from feature_alignment.run.collecting import Collection, collect
from feature_alignment.run.schema import read_yaml
from feature_alignment.storage import write_json
from feature_alignment.tables import meta_path, tidy, write_table

SEEDS = range(2)
MADE = {
    "code_hash": "0" * 16,
    "git": {"commit": "0" * 40, "dirty": False, "tag": None},
    "module": "made_up",
    "packages": {"numpy": "2", "torch": "2"},
    "platform": "Linux x86_64",
    "python": "3.12",
    "wall_time_s": 1.0,
}
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


def provenance(
    table: pd.DataFrame, figure: str, scale: str = "laptop", **datasets: str
) -> dict[str, object]:
    """Return what is written beside a figure's table, of runs that read datasets with notes."""
    own = table.dropna(subset="run").groupby("run")["seed"].agg(lambda s: sorted(set(s.dropna())))
    paper = "" if table.empty else table["paper"].iloc[0]
    settings = {name: {"name": name} for name in datasets}
    runs = [
        MADE
        | {"spec": {"paper": paper, "run": run, "scale": scale, "settings": settings}}
        | {"seed": int(seed)}
        for run, seeds in own.items()
        for seed in seeds or [0]
    ]
    return MADE | {
        "spec": {"figure": figure, "scale": scale},
        "datasets": {name: {"note": note} for name, note in datasets.items()},
        "seeds": sorted({len(seeds) for seeds in own} - {0}),
        **({"runs": runs} if runs else {}),
    }


def write_unvouched(path: Path, table: pd.DataFrame, meta: Mapping) -> None:
    """Write a table as before checksums were kept, so that what a test changes is not seen so."""
    write_table(path, table, meta)
    write_json(meta_path(path), meta)


def ledger_row(**values: object) -> dict:
    """Return a row of a ledger with some of its values."""
    empty = ("reason", "estimate", "low", "high", "least", "most", "p", "q", "n", "seeds", "phase")
    row = dict.fromkeys(
        (*empty, "needed", "reported", "group", "untrained", "control", "asks", "note")
    )
    row |= {
        "id": "toy.fig1.m",
        "class": "paper",
        "verdict": "not run",
        "values": [],
        "beaten": {},
        "averaged": "plain",
    }
    row |= {"scale": "laptop", "table": "toy/fig1", "table_sha256": "0" * 64, "paper": "toy"}
    row |= {"place": "figure 1", "certainty": "code", "kind": "trend", "needs": "laptop"}
    row |= {"criterion": "increases", "statement": "It rises."}
    return row | values


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
