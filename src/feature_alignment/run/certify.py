"""Certify that newer code gives the same results as older code, so that archived runs stay valid.

Both are run at scale smoke, on this machine and with these packages, and compared byte by byte. The
certificate lies next to the archived runs, in ``reference/<scale>/certificates``; it counts by the
hash of the code that a run depends on, for all runs of that code.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from feature_alignment import command
from feature_alignment.integrity import meta_path, read_sealed, sealed, verify
from feature_alignment.models.architectures import model_modules
from feature_alignment.provenance import SOURCE_ROOT, code_hash, git_state, processor
from feature_alignment.run.archive import Archive
from feature_alignment.storage import sha256, write_json

log = logging.getLogger(__name__)

LISTED = 6
_RUNS = """
import json
from pathlib import Path
from feature_alignment.run.spec import read_papers
papers = read_papers(Path("papers"), Path("workflow/schemas"))
runs = [(key, run) for key in papers for run in papers[key].runs_at("smoke")]
print(json.dumps([(*name, papers[name[0]].seeds(name[1], "smoke")) for name in runs]))
"""
"""Prints the runs of a commit at scale smoke, each with its number of seeds."""

Name = tuple[str, str, int]


@dataclass(frozen=True)
class Made:
    """What a run at scale smoke came to: its code, its settings, checksums of what it wrote."""

    code: str
    settings: Mapping
    packages: Mapping
    written: tuple[str, str]


def main(argv: Sequence[str] | None = None) -> None:
    """Write certificates and say what they are worth; see ``--help`` for the arguments.

    Raises:
        ValueError: If the present code has no commit, or a commit cannot be checked out or run.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="folder of one scale")
    parser.add_argument("--commits", nargs="*", help="of older code; by default, of archived runs")
    parser.add_argument("--runs", nargs="*", help="paper/run; by default, every run at smoke")
    parser.add_argument("--cores", type=int, default=1, help="jobs at a time")
    arguments = parser.parse_args(argv)
    archive = Archive(arguments.archive)
    state = git_state()
    if state["commit"] is None or state["dirty"]:
        raise ValueError(
            "expected the present code to be that of a commit, which the certificate names; commit"
            f" it first ({state.get('note') or 'there are changes under src'})"
        )
    commits = arguments.commits
    if commits is None:
        commits = sorted({meta["git"]["commit"] for meta in outdated(archive)})
    if not commits:
        print("All archived runs are of the present code, or of code certified to be like it.")
        return
    after = made_by(state["commit"], arguments.runs, arguments.cores)
    for commit in commits:
        before = made_by(commit, arguments.runs, arguments.cores)
        certificate = compare(before, after)
        name = f"{commit[:12]}-{state['commit'][:12]}.json"
        identity = {"before": commit, "after": state["commit"], "scale": "smoke"}
        machine = {
            "processor": processor(),
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "packages": next(iter(after.values())).packages,
        }
        path = archive.folder / "certificates" / name
        write_json(path, sealed({**identity, **machine, **certificate}))
        print(f"{path}: {summary(certificate)}")
    print("\n".join(worth(Archive(arguments.archive))))


def outdated(archive: Archive) -> list[dict]:
    """Return the provenance of the archived runs of which the present code may give others."""
    metas = [
        archive.meta(path.parts[-3], path.parts[-2], int(path.stem))
        for path in sorted((archive.folder / "runs").glob("*/*/*.csv"))
        if path.stem.isdigit() and meta_path(path).is_file()
    ]
    return [meta for meta in metas if not archive.is_valid(meta["code_hash"], code_now(meta))]


def code_now(meta: Mapping) -> str:
    """Return the hash that a run's code has now; none if there is no such code any more."""
    try:
        return code_hash(meta["module"], *model_modules(meta["spec"]["settings"]))
    except ValueError:
        return ""


def made_by(commit: str, chosen: Collection[str] | None, cores: int) -> dict[Name, Made]:
    """Run the code of a commit at scale smoke.

    Args:
        commit: The commit, checked out in a folder of its own for the time.
        chosen: Runs, ``paper/run``; none for every one.
        cores: Jobs at a time.

    Returns:
        What there is of every run and seed; a run that failed is not there.

    Raises:
        ValueError: If the commit is not there, or none of its runs came to an end.
    """
    with checked_out(commit) as folder:
        listed = _python(folder, "-c", _RUNS)
        runs = json.loads(listed.stdout) if listed.returncode == 0 else ()
        names = [
            (paper, run, seed)
            for paper, run, seeds in runs
            for seed in range(max(1, seeds))
            if chosen is None or f"{paper}/{run}" in chosen
        ]
        targets = [f"results/smoke/runs/{paper}/{run}/{seed}.csv" for paper, run, seed in names]
        log.info("%s: %d runs at scale smoke", commit[:12], len(targets))
        options = ("--cores", str(cores), "--config", "scale=smoke")
        done = _python(folder, "-m", "snakemake", *targets, *options) if targets else listed
        made = {
            name: _made(folder / target)
            for name, target in zip(names, targets, strict=True)
            if meta_path(folder / target).is_file()
        }
    if not made:
        last = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise ValueError(f"commit {commit}: expected runs at scale smoke, none was made:\n{last}")
    return made


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit, which is gone after the block.

    Raises:
        ValueError: If the commit is not in this repository.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "code"
        git = ["git", "-C", str(SOURCE_ROOT), "worktree"]
        added = subprocess.run(
            [*git, "add", "--detach", str(target), commit], capture_output=True, text=True
        )
        if added.returncode:
            raise ValueError(
                f"commit {commit}: cannot be checked out: {added.stderr.strip()}; fetch it, or name"
                " another with --commits"
            )
        try:
            yield target
        finally:
            subprocess.run([*git, "remove", "--force", str(target)], capture_output=True)


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run this interpreter on the code in a folder."""
    own = {"PYTHONPATH": str(folder / "src")}
    left_out = ("PYTHONPATH", "FEATURE_ALIGNMENT_DATA")
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key not in left_out} | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _made(path: Path) -> Made:
    meta = read_sealed(meta_path(path))
    arrays = path.with_suffix(".npz")
    for file in (path, arrays):
        verify(file)
    return Made(meta["code_hash"], meta["spec"], meta["packages"], (sha256(path), sha256(arrays)))


def compare(before: Mapping[Name, Made], after: Mapping[Name, Made]) -> dict:
    """Compare what two states of the code made of the same settings.

    Args:
        before: By the older code.
        after: By the newer code.

    Returns:
        ``runs``, of each run and seed the hashes of both codes and whether all bytes are the
        same, and ``not_compared``, those that only one of them has, or with other settings.
    """
    rows, others = [], []
    for name in sorted({*before, *after}):
        label = {"paper": name[0], "run": name[1], "seed": name[2]}
        old, new = before.get(name), after.get(name)
        if old is None or new is None or old.settings != new.settings:
            others.append(label)
            continue
        pair = {"code_before": old.code, "code_after": new.code}
        rows.append({**label, **pair, "same": old.written == new.written})
    return {"runs": rows, "not_compared": others}


def summary(certificate: Mapping) -> str:
    """Say in a line what a certificate found."""
    rows = certificate["runs"]
    other = [f"{row['paper']}/{row['run']}" for row in rows if not row["same"]]
    text = f"{len(rows) - len(other)} of {len(rows)} runs have the same bytes"
    if other:
        text += f"; other bytes: {_some(other)}"
    if certificate["not_compared"]:
        text += f"; {len(certificate['not_compared'])} could not be compared"
    return text


def worth(archive: Archive) -> list[str]:
    """Say which archived runs are valid for the present code, and of which code the others are."""
    total = len(list((archive.folder / "runs").glob("*/*/*.csv")))
    others = outdated(archive)
    lines = [f"{total - len(others)} of {total} archived runs are valid for the present code."]
    by_commit: dict[str, list[str]] = {}
    for meta in others:
        name = f"{meta['spec']['paper']}/{meta['spec']['run']}"
        by_commit.setdefault(meta["git"]["commit"], []).append(name)
    for commit, names in sorted(by_commit.items()):
        lines.append(f"Of the code of {commit[:12]} alone: {_some(names)}.")
    return lines


def _some(names: Sequence[str]) -> str:
    different = list(dict.fromkeys(names))
    more = len(different) - LISTED
    return ", ".join(different[:LISTED]) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    command.run(main)
