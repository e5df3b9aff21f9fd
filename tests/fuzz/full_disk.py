"""Fill the disk in the middle of smoke runs at several places, make space again, and compare.

``python tests/fuzz/full_disk.py --work FOLDER`` makes one run undisturbed, unless ``FOLDER/plain``
has one, and copies it to a small disk for each place, without what is made from that place on. All
of it, ``.snakemake`` and logs included, is on that disk. When a first file of the place appears the
disk is full, and stays full until Snakemake ends: with an error that names a file, and with nothing
half written. With space again the same command must end well, with the same tables,
arrays and figures as the undisturbed run.

Mounting a disk needs root.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "workflow"),
                str(Path(__file__).resolve().parents[1])]  # fmt: skip

from kills import LEFT_OVER, made  # noqa: E402
from repository import SMOKE, Outcome, Repository  # noqa: E402

from feature_alignment.audit.ledger import read_ledger  # noqa: E402
from feature_alignment.evidence import read_evidence  # noqa: E402
from feature_alignment.integrity import read_sealed, verify  # noqa: E402
from feature_alignment.storage import sha256  # noqa: E402
from feature_alignment.tables import read_arrays, read_table  # noqa: E402

SIZE = "256m"
RUNS, TABLES, FIGURES = "results/smoke/runs", "results/smoke/tables", "figures/smoke"
LOGS = "results/smoke/logs"
AUDIT = ("results/smoke/audit", "results/smoke/captions", "results/smoke/*.tsv")


@dataclass(frozen=True)
class Place:
    """Where the disk fills: when a file appears that matches, with what is made anew."""

    first: str
    anew: tuple[str, ...]
    every_step: bool = False


# Of the runs, those of one figure of all papers: enough to fill a disk, and soon made anew
JOINT = (f"{RUNS}/joint", f"{TABLES}/joint", f"{FIGURES}/joint", *AUDIT)
PLACES = {
    # A log appears when a job starts, before it writes; the others are what jobs write
    "data are prepared": Place(f"{LOGS}/prepare_dataset/*", ("data/prepared", *JOINT)),
    "a checkpoint is written": Place("results/smoke/checkpoints/*/*/*", JOINT, every_step=True),
    "measurements are written": Place(f"{RUNS}/joint/*/*", JOINT),
    "tables are collected": Place(f"{LOGS}/collect/*", JOINT[1:]),
    "figures are drawn": Place(f"{LOGS}/plot/*", JOINT[2:]),
    "claims are judged": Place("results/smoke/audit/*", AUDIT),
    "the page is written": Place(f"{LOGS}/write_ledger_page.log", AUDIT),
    "captions are written": Place("results/smoke/captions/*", AUDIT),
}
WRITTEN = ("data/prepared/*", "results/smoke/*", "figures/smoke/*/*",
           *(f"results/smoke/{part}/**/*" for part in ("specs", "runs", "tables", "audit",
                                                       "captions")))  # fmt: skip
TIMED = (".meta.json", "costs.tsv", "jobs.tsv")
"""What tells of times and machines, and is not the same twice."""


def main() -> None:
    """Fill the disk at every place; exit with 1 if anything was lost, changed or left over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder to work in")
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES))
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit(
            "error: expected root, who may mount a small disk to fill; run it with sudo"
        )
    plain = Repository(arguments.work / "plain")
    if not plain.path.exists():
        outcome = Repository.copy(plain.path).snakemake(*SMOKE)
        if outcome.status:
            raise SystemExit(outcome.text)
    faults = 0
    for name in arguments.places:
        with small_disk(arguments.work) as disk:
            found = filled(plain, disk, PLACES[name])
        faults += len(found.faults)
        print(
            f"{name}: status {found.status}, {found.named}; {len(found.faults)} faults", flush=True
        )
        for fault in found.faults:
            print(f"  {fault}")
    raise SystemExit(faults > 0)


@dataclass(frozen=True)
class Found:
    """What became of a run whose disk was full."""

    status: int
    named: str
    faults: list[str]


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Yield the root of a disk of its own, which is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    disk = Path(tempfile.mkdtemp(dir=folder, prefix="disk"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        disk.rmdir()


def filled(plain: Repository, disk: Path, place: Place) -> Found:
    """Run on a disk that fills at a place, and again with space."""
    repository = plain.twin(disk / "repository")
    options = list(SMOKE)
    for pattern in (LOGS, *place.anew):
        for path in repository.path.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if place.every_step:  # smoke runs end before their first checkpoint
        given = "--checkpoint {params.checkpoint:q}"
        repository.edit("workflow/rules/compute.smk", given, f"{given} --checkpoint-interval 0")
        options += ["--rerun-triggers", "mtime", "input", "params", "software-env"]
    full = run_until_full(repository, options, place.first, disk / "ballast")
    faults = [] if full.status else ["Snakemake ended with status 0 on a full disk"]
    named = told(full.text)
    if not named:
        faults.append("no error names a file that could not be written:\n" + full.text[-3000:])
    faults += half_written(repository, plain)
    (disk / "ballast").unlink()
    again = repository.snakemake(*options)
    if "--unlock" in again.text:
        faults.append("the folder is still locked")
        repository.snakemake("--unlock", "--config", "scale=smoke")
        again = repository.snakemake(*options)
    if again.status:
        faults.append(f"status {again.status} with space again:\n{again.text[-3000:]}")
    expected, found = made(plain), made(repository)
    faults += [
        f"{path} is lost or changed" for path in expected if found.get(path) != expected[path]
    ]
    faults += [f"{path} is left over" for p in LEFT_OVER for path in repository.files(p)]
    return Found(full.status, named, faults)


def told(text: str) -> str:
    """Return what an output says of files that could not be written, by us or by Snakemake."""
    ours = sorted(set(re.findall(r"cannot write (\S+): No space left", text)))
    if ours:
        return f"cannot write {', '.join(ours)}"
    if "No space left on device" not in text:
        return ""
    theirs = re.findall(r"^Error in rule \w+:.*?^    output: (\S+?),? ", text, re.M | re.S)
    return f"Snakemake: no space left, for {', '.join(sorted(set(theirs)))}" if theirs else ""


def run_until_full(
    repository: Repository, options: list[str], first: str, ballast: Path
) -> Outcome:
    """Run Snakemake, on a disk that is full once another file appears that matches ``first``."""
    before, is_full = matching(repository.path, first), False
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *options]
    with tempfile.TemporaryFile("w+") as said:  # on another disk
        run = subprocess.Popen(command, cwd=repository.path, stdout=said, stderr=said,
                               env=os.environ | {"PATH": programs})  # fmt: skip
        while run.poll() is None:
            is_full = is_full or bool(matching(repository.path, first) - before)
            if is_full:
                fill(ballast)
            time.sleep(0.005)
        said.seek(0)
        text = said.read()
    if not is_full:
        raise SystemExit(f"error: nothing matched {first}; the disk was never full:\n{text}")
    return Outcome(run.returncode, text)


def matching(folder: Path, pattern: str) -> set[Path]:
    """Return what matches in a folder from which files vanish meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return set(folder.glob(pattern))
    return set()


def fill(ballast: Path) -> None:
    """Write until there is no space left."""
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def half_written(repository: Repository, plain: Repository) -> list[str]:
    """Say which files are not whole: not those of an undisturbed run, or refused by a reader."""
    faults = []
    for pattern in WRITTEN:
        expected = plain.files(pattern)
        for name, content in repository.files(pattern).items():
            if not name.endswith(TIMED) and content != expected.get(name):
                faults.append(f"{name} is not that of an undisturbed run")
            try:
                read(repository.path / name)
            except (ValueError, OSError, KeyError) as error:
                faults.append(f"{name} is half written: {error}")
    left = [path for path in repository.path.glob("*/**/.*.tmp") if ".snakemake" not in path.parts]
    return faults + [f"{path} is left over on the full disk" for path in left]


def read(path: Path) -> None:
    """Read a file as its readers do."""
    verify(path)
    if path.suffix == ".safetensors":
        manifest = read_sealed(path.with_suffix(".json"))
        if sha256(path) != manifest["sha256"]:
            raise ValueError("its manifest tells of other arrays")
    elif path.suffix == ".npz" and "tables" in path.parts:  # a run may have none
        read_arrays(path)
    elif path.parent.parent.name == "tables" and path.suffix == ".csv":
        read_evidence(path, figure=f"{path.parent.name}/{path.stem}")
    elif path.suffix == ".csv" and "runs" in path.parts:
        read_table(path)
    elif path.name == "ledger.json":
        read_ledger(path)
    elif path.suffix == ".json":
        read_sealed(path)


if __name__ == "__main__":
    main()
