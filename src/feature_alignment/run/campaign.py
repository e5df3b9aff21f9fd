"""Run what is worth most next, at the lowest priority, and archive every run as it ends.

Needs no Snakemake: the package with its science, and a folder of prepared datasets. The order is
that of claims that runs would decide per core-minute, figure by figure; :func:`plan` has the rule.
A campaign may be killed at any time: what has ended is archived, what has not resumes from its
checkpoint.
"""

import argparse
import ctypes
import fcntl
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from feature_alignment import command
from feature_alignment.audit.looks import LOOKS
from feature_alignment.integrity import sealed
from feature_alignment.provenance import git_state
from feature_alignment.run.archive import (
    KEPT,
    KNOWN,
    RENEWED,
    ROOT,
    Archive,
    finished,
    shown_arrays,
)
from feature_alignment.run.reuse import Reuse, datasets_of, first_seed
from feature_alignment.run.spec import SCALES, Paper, read_papers
from feature_alignment.storage import read_json, write_json

log = logging.getLogger(__name__)

WEIGHTS = {"paper": 1.0, "ours": 0.5}
"""What an open claim of a class counts; checks and identities are not decided by more seeds."""
UNKNOWN_MINUTES = 5.0
"""What a run is taken to cost when no run of its paper at its scale was ever archived."""
LOWEST = 19
"""The priority of a campaign, as ``nice`` counts: it runs when nothing else would."""
PR_SET_PDEATHSIG = 1
_POLL_S = 0.2

Key = tuple[str, str, int]


@dataclass(frozen=True)
class Step:
    """The next seeds of the runs of a figure.

    Attributes:
        figure: ``paper/figure``.
        runs: The runs and seeds that are missing, seed after seed.
        seeds: The number of seeds that the figure has then, of the runs with most.
        value: The claims that they would decide, in expectation.
        minutes: Their core-minutes.
    """

    figure: str
    runs: tuple[Key, ...]
    seeds: int
    value: float
    minutes: float


def main(argv: Sequence[str] | None = None) -> None:
    """Plan a campaign or carry it out; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="laptop")
    parser.add_argument("--plan", action="store_true", help="print what is left, and its cost")
    parser.add_argument("--hours", type=float, default=0.0, help="how long to run")
    parser.add_argument("--minutes", type=float, default=0.0, help="how long, added to hours")
    parser.add_argument("--cores", type=int, default=1, help="runs at a time")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, …")
    parser.add_argument("--first-seed", type=int, help="0 explores, 100 confirms")
    parser.add_argument("--archive", type=Path, default=ROOT / "reference", help="of all scales")
    parser.add_argument("--data", type=Path, default=Path("data/prepared"), help="prepared data")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder to work in")
    parser.add_argument("--ledger", type=Path, help="by default, the archive's of the scale")
    arguments = parser.parse_args(argv)
    scale = arguments.scale
    campaign = Campaign(
        archive=Archive(arguments.archive / scale),
        scale=scale,
        first_seed=first_seed(arguments.first_seed, scale),
        data=arguments.data,
        results=arguments.results / scale,
        ledger=read_rows(arguments.ledger or arguments.archive / scale / "ledger.json"),
        device=arguments.device,
    )
    if arguments.plan:
        print("\n".join(campaign.told()))
        return
    os.nice(LOWEST)
    seconds = 3600 * arguments.hours + 60 * arguments.minutes
    if seconds <= 0:
        raise ValueError("expected how long to run, got nothing; say --hours 2 or --minutes 9")
    if git_state()["dirty"]:
        raise ValueError(
            "expected the code to be that of a commit, which archived runs name; commit the changes"
            " under src first, or undo them"
        )
    with alone(campaign.results / "campaign.lock") as lock:
        campaign.run(time.monotonic() + seconds, arguments.cores, lock)


def read_rows(ledger: Path) -> list[dict]:
    """Return the rows of a ledger; none if there is none yet."""
    return read_json(ledger) if ledger.is_file() else []


@dataclass(frozen=True)
class Campaign:
    """What is there, and what may be run.

    Attributes:
        archive: Where finished runs are, and go.
        scale: Their scale.
        first_seed: The seed that runs begin with.
        data: The folder of prepared datasets.
        results: Where to work, ``results/<scale>``.
        ledger: Rows of the ledger that was made of the archived runs; none if there is none.
        device: What to run on.
    """

    archive: Archive
    scale: str
    first_seed: int
    data: Path
    results: Path
    ledger: Sequence[Mapping]
    device: str = "cpu"
    _told: set[str] = field(default_factory=set, init=False, repr=False)

    @cached_property
    def papers(self) -> Mapping[str, Paper]:
        """The runs that there are, by paper."""
        return read_papers(ROOT / "papers", ROOT / "workflow" / "schemas")

    def reuse(self) -> Reuse:
        """Return the archived runs that need not be made again: those of the present code."""
        return Reuse(
            Archive(self.archive.folder),
            self.papers,
            self.scale,
            self.first_seed,
            despite=("device", "threads", "torch", "numpy"),
            prepared=self.data,
        )

    def lacking(self, key: Key) -> list[str]:
        """Return the datasets of a run that are not prepared."""
        settings = self.papers[key[0]].resolve(key[1], self.scale)["settings"]
        names = datasets_of(settings)
        return [name for name in names if not (self.data / f"{name}.safetensors").is_file()]

    def told(self) -> list[str]:
        """Return the plan in lines."""
        reuse = self.reuse()
        steps = plan(reuse, self.ledger)
        runs = {key for step in steps for key in step.runs}
        lines = [
            f"{len(runs)} runs in {len(steps)} steps,"
            f" {sum(step.minutes for step in steps):.0f} core-minutes; the first is worth most:",
            f"{'claims':>7} {'minutes':>8} {'runs':>5} {'seeds':>6}  figure",
        ]
        for step in steps:
            counts = f"{step.value:7.2f} {step.minutes:8.1f} {len(step.runs):5} {step.seeds:6}"
            lines.append(f"{counts}  {step.figure}")
        names = sorted({name for key in runs for name in self.lacking(key)})
        if names:
            lines.append(_unprepared(names, self.data))
        return lines

    def run(self, deadline: float, cores: int, lock: int) -> None:
        """Run until a time, as :func:`time.monotonic` has it, or until nothing is left.

        Args:
            deadline: When to stop; what still runs is stopped, and resumes in the next campaign.
            cores: Runs at a time.
            lock: A file descriptor that shows that a campaign runs, as long as one of its
                processes does.
        """
        self.keep()
        ended: set[Key] = set()
        running: dict[subprocess.Popen, list[Key]] = {}
        waiting: list[list[Key]] = []
        exhausted = False
        try:
            while time.monotonic() < deadline:
                if not (waiting or exhausted) and len(running) < cores:
                    waiting = self._next(ended.union(*running.values()))
                    exhausted = not waiting
                while waiting and len(running) < cores:
                    keys = waiting.pop(0)
                    running[self._start(keys, lock)] = keys
                if not running:
                    log.info("nothing is left to run")
                    return
                time.sleep(_POLL_S)
                for process in [process for process in running if process.poll() is not None]:
                    keys = running.pop(process)
                    self.keep()
                    name = f"{keys[0][0]}/{keys[0][1]}, seeds {', '.join(str(k[2]) for k in keys)}"
                    ended |= set(keys)
                    exhausted = False
                    if process.returncode:
                        log.warning("%s failed, see %s", name, self._log(keys))
                    else:
                        log.info("%s: done", name)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
            self.keep()

    def keep(self) -> None:
        """Archive what has finished."""
        shown = shown_arrays(self.papers, self.scale)
        for path in finished(self.results):
            try:
                outcome = self.archive.keep(path, shown)
            except FileNotFoundError:  # a process takes its seeds to their place just now
                continue
            except ValueError as error:  # it is being written anew, or is damaged
                outcome = str(error)
            if outcome not in (KEPT, RENEWED, KNOWN) and outcome not in self._told:
                log.warning("%s: not archived: %s", path, outcome)
                self._told.add(outcome)

    def _next(self, excluded: set[Key]) -> list[list[Key]]:
        """Return the runs of the step that is worth most, in groups that share a process."""
        reuse = self.reuse()
        for step in plan(reuse, self.ledger):
            runs = [key for key in step.runs if key not in excluded]
            names = {name for key in runs for name in self.lacking(key)}
            if names - self._told:
                log.warning(_unprepared(sorted(names), self.data))
                self._told.update(names)
            runs = [key for key in runs if not self.lacking(key)]
            if runs:
                log.info("%s: %d runs for %d seeds", step.figure, len(runs), step.seeds)
                return list(_grouped(reuse, runs))
        return []

    def _start(self, keys: Sequence[Key], lock: int) -> subprocess.Popen:
        """Start a process for seeds of one run."""
        paper, run, _ = keys[0]
        spec = self.papers[paper].resolve(run, self.scale)
        written = self.results / "campaign" / paper / f"{run}.json"
        write_json(written, sealed(json.loads(json.dumps(spec))))
        names = datasets_of(spec["settings"])
        place = {
            kind: [str(self.results / kind / paper / run / f"{seed}{end}") for _, _, seed in keys]
            for kind, end in (("runs", ".csv"), ("checkpoints", ".safetensors"))
        }
        arguments = ["--spec", str(written), "--seed", *(str(seed) for _, _, seed in keys)]
        arguments += ["--data", *(str(self.data / f"{name}.safetensors") for name in names)]
        arguments += ["--manifest", *(str(self.data / f"{name}.json") for name in names)]
        arguments += ["--out", *place["runs"], "--checkpoint", *place["checkpoints"]]
        arguments += ["--device", self.device, "--threads", "1"]
        path = self._log(keys)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as told:
            return subprocess.Popen(
                [sys.executable, "-m", "feature_alignment.run.perform", *arguments],
                env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
                stdout=told,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                preexec_fn=_dies_with_its_parent(),
            )

    def _log(self, keys: Sequence[Key]) -> Path:
        paper, run, seed = keys[0]
        return self.results / "logs" / "campaign" / f"{paper}.{run}.{seed}.log"


def plan(reuse: Reuse, ledger: Sequence[Mapping]) -> list[Step]:
    """Return what is left to run, what is worth most first.

    A step brings the runs of a figure to their planned seeds or, where they have them, each to the
    next number of seeds at which there are verdicts. Of an open claim that k seeds would decide, n
    seeds are taken to decide the share min(1, n/k). So a step from m to n seeds is worth the sum
    over open claims of min(1, n/k) − min(1, m/k), claims of class ``ours`` counting half. Before a
    figure has its planned seeds, m is 0 and other claims count whole; then those that have a
    verdict, and those that no number of seeds would decide, count nothing. Steps go by this over
    their core-minutes; what one runs costs the later ones nothing.

    Args:
        reuse: The archived runs.
        ledger: Rows of the ledger that was made of them; of another scale, or none, all claims are
            yet to be judged.
    """
    minutes = _minutes(reuse)
    figures = [(key, figure) for key, paper in reuse.papers.items() for figure in paper.figures]
    there: set[Key] = set()
    steps: list[Step] = []
    left = list(figures)
    while left:
        found = {pair: _step(reuse, ledger, *pair, there, minutes) for pair in left}
        left = [pair for pair in left if found[pair].runs]
        if left:
            best = max(left, key=lambda pair: found[pair].value / (found[pair].minutes or 1e-9))
            steps.append(found[best])
            there |= set(found[best].runs)
            left.remove(best)
    return [step for step in steps if step.value > 0] + [s for s in steps if not s.value > 0]


def _step(
    reuse: Reuse,
    ledger: Sequence[Mapping],
    paper: str,
    figure: str,
    there: set[Key],
    minutes: Callable[[str, str], float],
) -> Step:
    """Return the next step of a figure; without runs if there is none that decides anything."""
    of = reuse.papers[paper]
    try:
        runs = of.runs_of(figure, reuse.scale)
    except ValueError:  # nothing of it is run at this scale
        return Step(f"{paper}/{figure}", (), 0, 0.0, 0.0)
    planned = {run: of.seeds(run, reuse.scale) for run in runs}
    held = {run: len(reuse.seeds(paper, run)) for run in runs}
    whole = all(held[run] >= max(1, planned[run]) for run in runs)
    wanted = {run: max(1, planned[run]) for run in runs}
    if whole:  # runs for which one number is planned have the same seeds
        for number in set(planned.values()) - {0}:
            alike = [run for run in runs if planned[run] == number]
            following = _following(min(held[run] for run in alike))
            wanted |= dict.fromkeys(alike, following)
    first = {run: reuse.first_seed if planned[run] else 0 for run in runs}
    missing = sorted(
        (
            (paper, run, seed)
            for run in runs
            for seed in range(first[run], first[run] + wanted[run])
            if (paper, run, seed) not in there and not reuse.is_taken(paper, run, seed)
        ),
        key=lambda key: (key[2], runs.index(key[1])),
    )
    rows = [row for row in ledger if row["table"] == f"{paper}/{figure}"]
    value = sum(_gain(row, reuse.scale, whole, max(planned.values())) for row in rows)
    if not rows and not whole:
        value = 1.0
    if whole and value <= 0:
        missing = []
    cost = sum(minutes(*key[:2]) for key in missing)
    return Step(f"{paper}/{figure}", tuple(missing), max(wanted.values()), value, cost)


def _following(seeds: int) -> int:
    """Return the next number of seeds at which there are verdicts; the same if there is none."""
    return next((look for look in LOOKS if look > seeds), seeds)


def _gain(row: Mapping, scale: str, whole: bool, planned: int) -> float:
    """Return by how much more of a claim is taken to be decided after a step than before."""
    weight = WEIGHTS.get(row["class"], 0.0)
    if SCALES.index(row["needs"]) > SCALES.index(scale):
        return 0.0
    judged = row["scale"] == scale and row["table_sha256"]
    if not (judged and row["verdict"] == "open" and row["needed"]):
        return 0.0 if whole else weight
    before, after = (row["n"] or 0, _following(row["n"] or 0)) if whole else (0, planned)
    return weight * (min(1.0, after / row["needed"]) - min(1.0, before / row["needed"]))


def _minutes(reuse: Reuse) -> Callable[[str, str], float]:
    """Return a function for what a seed of a run costs, as far as archived ones tell."""
    known: dict[tuple[str, str], float] = {}
    for paper, of in reuse.papers.items():
        for run in of.runs_at(reuse.scale):
            seeds = reuse.archive.seeds(paper, run)
            times = [reuse.archive.meta(paper, run, seed)["wall_time_s"] for seed in seeds]
            if times:
                known[paper, run] = statistics.mean(times) / 60

    def of_run(paper: str, run: str) -> float:
        others = [value for key, value in known.items() if key[0] == paper]
        return known.get((paper, run), statistics.mean(others) if others else UNKNOWN_MINUTES)

    return of_run


def _grouped(reuse: Reuse, runs: Sequence[Key]) -> Iterator[list[Key]]:
    """Yield runs and seeds in groups that share a process, in the order of their first."""
    groups: dict[tuple[str, str, int], list[Key]] = {}
    counts: dict[tuple[str, str], int] = {}
    for paper, run, seed in runs:
        size = reuse.papers[paper].together(run, reuse.scale)
        number = counts.get((paper, run), 0)
        counts[paper, run] = number + 1
        groups.setdefault((paper, run, number // size), []).append((paper, run, seed))
    yield from groups.values()


def _unprepared(names: Sequence[str], data: Path) -> str:
    return (
        f"Not run, since their datasets are not in {data}: runs on {', '.join(names)}. Prepare"
        f" them: snakemake --cores 1 {' '.join(f'data/prepared/{name}.json' for name in names)}"
    )


@contextmanager
def alone(path: Path) -> Iterator[int]:
    """Yield a lock that no other campaign in the same folder has.

    It is held as long as a process has it, those that outlive a killed campaign too.

    Raises:
        ValueError: If another campaign has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    except BlockingIOError:
        raise ValueError(
            f"another campaign, or a run of one that was killed, works in {path.parent}; wait for"
            " it, or name another folder with --results"
        ) from None
    finally:
        os.close(lock)


def _dies_with_its_parent() -> Callable[[], object] | None:
    """Return what lets a new process end when its parent is killed, where there is such a thing."""
    if sys.platform != "linux":
        return None
    return partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    command.run(main)
