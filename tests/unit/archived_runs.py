"""Finished runs of the real papers, whose measurements are made up."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from conftest import ROOT
from feature_alignment.integrity import meta_path, sealed
from feature_alignment.run.archive import asked
from feature_alignment.run.reuse import datasets_of
from feature_alignment.run.spec import Paper, read_papers
from feature_alignment.storage import read_json, sha256, write_arrays, write_json
from feature_alignment.tables import tidy, write_table

PAPERS = read_papers(ROOT / "papers", ROOT / "workflow" / "schemas")
COMMIT = "1" * 40
DATA = "d" * 64
"""The checksum of every dataset."""


def write_run(
    folder: Path,
    paper: str,
    run: str,
    seed: int,
    scale: str = "smoke",
    value: float = 1.0,
    papers: Mapping[str, Paper] = PAPERS,
    **changes: object,
) -> Path:
    """Write a finished run to ``folder/<paper>/<run>/<seed>.csv``, with arrays, and return that.

    ``changes`` are made to its provenance, which is otherwise that of a run made here and now.
    """
    spec = papers[paper].resolve(run, scale)
    wanted = asked(spec, seed, {})
    meta = {
        "module": f"feature_alignment.papers.{paper}.{spec['experiment']}",
        "code_hash": wanted["code"],
        "git": {"commit": COMMIT, "tag": None, "dirty": False},
        "spec": wanted["settings"],
        "datasets": {name: {"sha256": DATA} for name in datasets_of(spec["settings"])},
        "packages": {name: wanted[name] for name in ("torch", "numpy")},
        "seed": seed,
        "device": "cpu",
        "processor": "an abacus",
        "threads": 1,
        "wall_time_s": 60.0,
    }
    path = folder / paper / run / f"{seed}.csv"
    rows = [{"paper": paper, "run": run, "seed": seed, "measure": "loss", "value": value}]
    write_arrays(path.with_suffix(".npz"), {"a": np.array([value])})
    checksums = {"npz": sha256(path.with_suffix(".npz"))}
    write_table(path, tidy(rows), meta | changes, checksums)
    return path


def change_meta(path: Path, **changes: object) -> None:
    """Change the provenance beside measurements, and seal it anew."""
    meta = read_json(meta_path(path))
    del meta["seal"]
    write_json(meta_path(path), sealed(meta | changes))


def certificate(folder: Path, name: str, *rows: tuple[str, str, bool]) -> None:
    """Write a certificate of rows (code before, code after, same)."""
    keys = ("code_before", "code_after", "same")
    runs = [dict(zip(keys, row, strict=True)) for row in rows]
    write_json(folder / "certificates" / f"{name}.json", sealed({"runs": runs}))
