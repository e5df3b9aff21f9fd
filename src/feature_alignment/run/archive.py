"""The archive of finished runs: to find one, to keep one, and to take one instead of a training.

An archive is a folder ``<scale>`` with ``runs/<paper>/<run>/<seed>.csv``, the measurements, their
provenance ``<seed>.meta.json``, arrays ``<seed>.npz`` where a figure shows them, and
``certificates/*.json``, which say of what code the results are the same.

Imported while the workflow is parsed, so it must stay light (no numpy, no torch).
"""

import argparse
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from feature_alignment import command
from feature_alignment.integrity import meta_path, read_sealed, sealed, verify
from feature_alignment.models.architectures import model_modules
from feature_alignment.provenance import code_hash, git_state
from feature_alignment.run.spec import Paper, read_papers
from feature_alignment.storage import replacing, sha256, write_json

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[3]
CONDITIONS = ("code", "device", "threads", "torch", "numpy")
"""What a run may be taken despite, if that is said: each can change rounding, code more."""
FIRST_SEEDS = (0, 100)
"""The first of the seeds that explore and of those that confirm: a figure's arrays are of these."""
NO_ARRAYS = b"PK\x05\x06" + bytes(18)
"""An NPZ file of no arrays, as NumPy writes it: an empty ZIP archive."""


def main(argv: Sequence[str] | None = None) -> None:
    """Keep finished runs, or take some; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="folder of one scale")
    tasks = parser.add_subparsers(required=True, dest="task")
    keeping = tasks.add_parser("keep", help="archive every finished run of a folder of results")
    keeping.add_argument("--results", type=Path, required=True, help="results/<scale>")
    keeping.add_argument(
        "--processor", help="what made the runs whose provenance does not tell their processor"
    )
    taking = tasks.add_parser("take", help="copy archived runs to where a training writes")
    taking.add_argument(
        "--out", type=Path, nargs="+", required=True, help="…/<paper>/<run>/<seed>.csv"
    )
    arguments = parser.parse_args(argv)
    archive = Archive(arguments.archive)
    if arguments.task == "take":
        for out in arguments.out:
            archive.take(out)
    else:
        papers = read_papers(ROOT / "papers", ROOT / "workflow" / "schemas")
        arrays = shown_arrays(papers, archive.folder.resolve().name)
        counts: Counter[str] = Counter()
        for path in finished(arguments.results):
            outcome = archive.keep(path, arrays, arguments.processor)
            counts[outcome] += 1
            if outcome not in (KEPT, KNOWN, RENEWED):
                print(f"{path}: not archived: {outcome}")
        told = ", ".join(f"{counts[name]} {name}" for name in (KEPT, RENEWED, KNOWN))
        others = counts.total() - sum(counts[name] for name in (KEPT, RENEWED, KNOWN))
        print(f"{arguments.archive}: {told}, {others} not archived")


KEPT, RENEWED, KNOWN = "new", "renewed", "known"


def finished(results: Path) -> Iterator[Path]:
    """Yield the measurements of every finished run in ``results/<scale>``, by run and seed.

    Those too that wait next to their checkpoints for others that share their process.
    """
    places = (results / "runs", results / "checkpoints")
    seen = set()
    for path in (path for place in places for path in sorted(place.glob("*/*/*.csv"))):
        name = path.parts[-3:]
        if path.stem.isdigit() and meta_path(path).is_file() and name not in seen:
            seen.add(name)
            yield path


def shown_arrays(papers: Mapping[str, Paper], scale: str) -> list[str]:
    """Return the runs, ``paper/run``, of which some figure shows arrays."""
    return [
        f"{key}/{paper.runs_of(figure, scale)[0]}"
        for key, paper in papers.items()
        for figure, record in paper.figures.items()
        if record["arrays"]
    ]


def asked(
    spec: Mapping, seed: int, data: Mapping[str, str], device: str = "cpu", threads: int = 1
) -> dict[str, Any]:
    """Return what decides the result of a run that is to be made here and now.

    Args:
        spec: Its resolved spec.
        seed: The replicate.
        data: SHA-256 of the prepared datasets it reads, by name, as far as they are there.
        device: What it would run on.
        threads: How many threads it would have.
    """
    module = f"feature_alignment.papers.{spec['paper']}.{spec['experiment']}"
    return {
        "settings": json.loads(json.dumps(spec)),
        "seed": seed,
        "data": dict(data),
        "code": code_hash(module, *model_modules(spec["settings"])),
        "device": device,
        "threads": threads,
        **{name: metadata.version(name) for name in ("torch", "numpy")},
    }


def told(meta: Mapping) -> dict[str, Any]:
    """Return the same of a run that was made, from its provenance.

    Raises:
        KeyError: If the provenance is not that of a run.
    """
    return {
        "settings": meta["spec"],
        "seed": meta["seed"],
        "data": {name: dataset["sha256"] for name, dataset in meta["datasets"].items()},
        "code": meta["code_hash"],
        "device": meta["device"],
        "threads": meta["threads"],
        **{name: meta["packages"][name] for name in ("torch", "numpy")},
    }


@dataclass(frozen=True)
class Archive:
    """The finished runs of one scale, in ``folder``."""

    folder: Path

    def path(self, paper: str, run: str, seed: int | str) -> Path:
        """Return where the measurements of a run are, or would be."""
        return self.folder / "runs" / paper / run / f"{seed}.csv"

    def seeds(self, paper: str, run: str) -> list[int]:
        """Return the seeds of a run that are archived, in order."""
        there = self.path(paper, run, 0).parent
        return sorted(
            int(path.stem)
            for path in (there.glob("*.csv") if there.is_dir() else ())
            if path.stem.isdigit() and self.has(paper, run, int(path.stem))
        )

    def has(self, paper: str, run: str, seed: int) -> bool:
        """Say whether a run is archived."""
        path = self.path(paper, run, seed)
        return path.is_file() and meta_path(path).is_file()

    def meta(self, paper: str, run: str, seed: int) -> dict:
        """Return the provenance of an archived run.

        Raises:
            ValueError: If it was changed since it was written, or is not that of the run.
            FileNotFoundError: If there is none.
        """
        path = meta_path(self.path(paper, run, seed))
        meta = read_sealed(path)
        try:
            known = told(meta)
            named = known["settings"]["paper"], known["settings"]["run"], known["seed"]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: expected the provenance of a run, it lacks {error}; restore the file"
                " from git, or delete it"
            ) from None
        if named != (paper, run, seed):
            raise ValueError(
                f"{path}: expected the provenance of {paper}/{run}, seed {seed}, got that of"
                f" {named[0]}/{named[1]}, seed {named[2]}; restore the file from git, or delete it"
            )
        return meta

    def has_arrays(self, paper: str, run: str, seed: int) -> bool:
        """Say whether the arrays of a run are archived."""
        return self.path(paper, run, seed).with_suffix(".npz").is_file()

    @cached_property
    def certified(self) -> Mapping[str, set[str]]:
        """Hashes of code that gives the same results, by that of older code.

        Of the runs that a certificate compares, all with the same two hashes must have the same
        bytes.

        Raises:
            ValueError: If a certificate was changed since it was written.
        """
        following: dict[str, set[str]] = {}
        for path in sorted((self.folder / "certificates").glob("*.json")):
            same: dict[tuple[str, str], bool] = {}
            for row in read_sealed(path)["runs"]:
                pair = row["code_before"], row["code_after"]
                same[pair] = same.get(pair, True) and row["same"]
            for (before, after), alike in same.items():
                if alike:
                    following.setdefault(before, set()).add(after)
        return following

    def is_valid(self, code: str, here: str) -> bool:
        """Say whether results of some code are those of the code here, by hashes."""
        reached, waiting = {code}, [code]
        while waiting:
            new = self.certified.get(waiting.pop(), set()) - reached
            reached |= new
            waiting += new
        return here in reached

    def differences(self, known: Mapping, wanted: Mapping) -> dict[str, str]:
        """Return in what an archived run differs from one that is wanted, with words for it.

        Args:
            known: What :func:`told` returns of the archived run.
            wanted: What :func:`asked` returns. Data that are not there to be compared are taken to
                be the same.
        """
        found = {}
        if known["settings"] != wanted["settings"] or known["seed"] != wanted["seed"]:
            found["settings"] = "made with other settings"
        others = [
            name for name, checksum in wanted["data"].items() if known["data"].get(name) != checksum
        ]
        if others:
            found["data"] = f"made from another copy of {', '.join(others)}"
        if not self.is_valid(known["code"], wanted["code"]):
            found["code"] = "made by other code"
        for name in CONDITIONS[1:]:
            if known[name] != wanted[name]:
                found[name] = f"made with {name} {known[name]}, here it is {wanted[name]}"
        return found

    def keep(self, path: Path, arrays: Sequence[str], processor: str | None = None) -> str:
        """Archive a finished run.

        Arrays are archived of the runs that are named and of the seeds in :data:`FIRST_SEEDS`. What
        is archived stays, unless it was made by other code, settings, data or versions; what is
        made a second time differs at most by its processor.

        Args:
            path: Its measurements, ``…/<paper>/<run>/<seed>.csv``.
            arrays: Runs, ``paper/run``, of which arrays are archived.
            processor: Of what made the run, if its provenance does not tell.

        Returns:
            :data:`KEPT`, :data:`RENEWED`, :data:`KNOWN`, or why it is not archived.

        Raises:
            ValueError: If the files are not those that the provenance describes.
        """
        paper, run, seed = path.parts[-3], path.parts[-2], int(path.stem)
        meta = read_sealed(meta_path(path))
        for source in (path, path.with_suffix(".npz")):
            verify(source)
        if problem := _problem(meta, paper, run, seed):
            return problem
        if "processor" not in meta:
            meta["processor"] = processor or "not recorded"
        target = self.path(paper, run, seed)
        shown = f"{paper}/{run}" in arrays and seed in FIRST_SEEDS
        outcome = KEPT
        if meta_path(target).is_file():
            known, new = told(self.meta(paper, run, seed)), told(meta)
            if not self.differences(known, new) and shown <= self.has_arrays(paper, run, seed):
                return KNOWN
            here = code_hash(meta["module"], *model_modules(meta["spec"]["settings"]))
            if self.is_valid(known["code"], here) and not self.is_valid(new["code"], here):
                return "it was made by other code than is here, and what is archived was not"
            outcome = RENEWED
        sources = [path, *([path.with_suffix(".npz")] if shown else [])]
        checksums = {source.suffix[1:]: sha256(source) for source in sources}
        meta_path(target).unlink(missing_ok=True)  # without it, half a run is none
        for source in sources:
            with replacing(target.with_suffix(source.suffix)) as temporary:
                shutil.copyfile(source, temporary)
        write_json(meta_path(target), sealed({**meta, "checksums": checksums}))
        return outcome

    def take(self, out: Path) -> None:
        """Copy an archived run to where its training would write.

        Args:
            out: Where its measurements go, ``…/<paper>/<run>/<seed>.csv``; provenance and arrays,
                an empty file where none are archived, go next to it.

        Raises:
            ValueError: If a file is not the one that was archived.
        """
        paper, run, seed = out.parts[-3], out.parts[-2], int(out.stem)
        source = self.path(paper, run, seed)
        meta = self.meta(paper, run, seed)
        log.info(
            "%s/%s, seed %d: taken from %s, not trained; made by commit %s on %s in %.0f s",
            *(paper, run, seed, self.folder, meta["git"]["commit"], meta["processor"]),
            meta["wall_time_s"],
        )
        for ending in (".csv", ".npz"):
            verify(source.with_suffix(ending))
            with replacing(out.with_suffix(ending)) as temporary:
                if source.with_suffix(ending).is_file():
                    shutil.copyfile(source.with_suffix(ending), temporary)
                else:
                    temporary.write_bytes(NO_ARRAYS)
        write_json(meta_path(out), sealed(meta))


def _problem(meta: Mapping, paper: str, run: str, seed: int) -> str:
    """Say why a finished run cannot be archived; mend what is missing of its commit."""
    spec = meta["spec"]
    if (spec["paper"], spec["run"], meta["seed"]) != (paper, run, seed):
        return "its provenance is that of another run"
    if meta["git"]["commit"] is None or meta["git"]["dirty"]:
        now = git_state()
        module = meta["module"]
        same = meta["code_hash"] == code_hash(module, *model_modules(spec["settings"]))
        if not same or now["commit"] is None or now["dirty"]:
            return (
                "it was made by code that no commit has; commit the code and run it again, or"
                " archive it from a clean checkout of the same code"
            )
        meta["git"] = {key: now[key] for key in ("commit", "tag", "dirty")}
    return ""


if __name__ == "__main__":
    command.run(main)
