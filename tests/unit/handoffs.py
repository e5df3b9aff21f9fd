"""The way of a figure through the workflow, by hand: what one job hands to the next."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from conftest import ROOT
from feature_alignment import storage
from feature_alignment.audit import ledger
from feature_alignment.data import prepare
from feature_alignment.integrity import sealed
from feature_alignment.plots import draw
from feature_alignment.publish import page
from feature_alignment.run import collecting, keeping, perform
from feature_alignment.run.spec import Paper
from feature_alignment.storage import write_json

PAPER, FIGURE, RUN = "baratin2021", "fig1_eigenfunctions", "disk"
ROOM = ROOT / "papers" / PAPER
SCHEMAS = ROOT / "workflow" / "schemas"


def write_specs(folder: Path) -> None:
    """Write the specs of the figure's run and of a training on the digits."""
    for name, paper, run in (("spec", PAPER, RUN), ("training", "lou2022", "fashion_depth10")):
        file = ROOT / "papers" / paper / "paper.yaml"
        spec = Paper.read(file, SCHEMAS).resolve(run, "smoke")
        write_json(folder / f"{name}.json", sealed(spec))


def prepare_dataset(folder: Path) -> None:
    """Prepare the digits."""
    arguments = {"dataset": "digits", "registry": ROOT / "data/datasets.csv", "raw": folder}
    arguments |= {"out": folder / "data.safetensors", "manifest": folder / "data.json"}
    prepare.main(_listed(arguments))


def train(folder: Path) -> None:
    """Perform the training, with a checkpoint after every step."""
    arguments = {"spec": folder / "training.json", "seed": 0, "out": folder / "runs/training.csv"}
    arguments |= {"data": folder / "data.safetensors", "manifest": folder / "data.json"}
    arguments |= {"checkpoint": folder / "checkpoints/training", "checkpoint-interval": 0}
    perform.main(_listed(arguments))


def compute_run(folder: Path) -> None:
    """Perform the figure's run."""
    arguments = {"spec": folder / "spec.json", "seed": 0, "out": folder / "runs" / "0.csv"}
    perform.main(_listed(arguments | {"checkpoint": folder / "checkpoints" / "0"}))


def collect(folder: Path) -> None:
    """Collect the measurements."""
    arguments = {"figure": FIGURE, "specs": folder / "spec.json", "record": json.dumps(_record())}
    arguments |= {"measurements": folder / "runs" / "0.csv", "out": table(folder)}
    collecting.main(_listed(arguments))


def keep_arrays(folder: Path) -> None:
    """Keep the run's arrays as those of the figure."""
    out = table(folder).with_suffix(".npz")
    keeping.main(_listed({"arrays": folder / "runs" / "0.npz", "out": out}))


def plot(folder: Path) -> None:
    """Draw the figure."""
    arguments = {"figure": f"{PAPER}/{FIGURE}", "table": table(folder)}
    arguments |= {"arrays": table(folder).with_suffix(".npz")}
    arguments |= {ending: folder / PAPER / f"{FIGURE}.{ending}" for ending in ("pdf", "png")}
    draw.main(_listed(arguments))


def judge_claims(folder: Path) -> None:
    """Judge the claims on the table."""
    arguments = {"claims": ROOM / "claims.yaml", "schema": SCHEMAS / "claims.schema.yaml"}
    arguments |= {"tables": table(folder), "scale": "smoke", "only": f"{PAPER}/{FIGURE}"}
    arguments |= {ending: folder / f"ledger.{ending}" for ending in ("json", "csv")}
    ledger.main(_listed(arguments))


def write_ledger_page(folder: Path) -> None:
    """Write the page of the ledger."""
    arguments = {"ledger": folder / "ledger.json", "papers": ROOM / "paper.yaml"}
    arguments |= {"figures": folder / PAPER / f"{FIGURE}.png", "out": folder / "ledger.html"}
    page.main(_listed(arguments))


STEPS: dict[str, Callable[[Path], None]] = {
    step.__name__: step
    for step in (
        write_specs,
        prepare_dataset,
        train,
        compute_run,
        collect,
        keep_arrays,
        plot,
        judge_claims,
        write_ledger_page,
    )
}


def table(folder: Path) -> Path:
    """Where the figure's table is."""
    return folder / "tables" / PAPER / f"{FIGURE}.csv"


def files(folder: Path) -> dict[str, bytes]:
    """Return everything in a folder, but for provenance, which tells of time and memory."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if not path.name.endswith(".meta.json")
    }


def train_until_killed(folder: Path, file: str, times: int) -> None:
    """Train, and be killed when a file of that name is half written for the so-manieth time."""
    writes, fsync = [], os.fsync

    def killing(handle: int) -> None:
        own = os.fstat(handle)
        [half] = [new for new in folder.rglob(".*.tmp/new") if new.stat().st_ino == own.st_ino]
        writes.append(half.parent.name.startswith(f".{file}."))
        if sum(writes) == times:
            os.truncate(half, half.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(handle)

    storage.os.fsync = killing
    train(folder)


def _record() -> dict:
    paper = Paper.read(ROOM / "paper.yaml", SCHEMAS)
    return {"columns": paper.figures[FIGURE]["columns"], "labels": {RUN: paper.labels(RUN)}}


def _listed(arguments: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in arguments.items()]
