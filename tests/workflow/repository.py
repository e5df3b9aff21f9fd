"""A copy of the repository to run Snakemake in."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

SMOKE = ("all", "--config", "scale=smoke")
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".snakemake", "results", "raw", "prepared", "smoke", "laptop", "paper",
    "*.egg-info", "__pycache__", ".*_cache"
)  # fmt: skip


@dataclass(frozen=True)
class Repository:
    """A copy without anything computed; edits to it leave the original alone."""

    path: Path

    @classmethod
    def copy(cls, target: Path) -> "Repository":
        shutil.copytree(ROOT, target, ignore=LEFT_OUT)
        return cls(target)

    def twin(self, target: Path) -> "Repository":
        """Return a copy of this copy, with what has been computed in it."""
        shutil.copytree(self.path, target, symlinks=True)
        return Repository(target)

    def snakemake(
        self, *arguments: str, cores: int = 2, at: Path | None = None, **environment: str
    ) -> "Outcome":
        """Run Snakemake with this interpreter's programs, without any data folder by default.

        It is started in the folder ``at``, or else in the repository.
        """
        program = [sys.executable, "-m", "snakemake", "--cores", str(cores)]
        if at:
            program += ["--snakefile", str(self.path / "Snakefile")]
        return self._run([*program, *arguments], environment, at)

    def shell(self, commands: str) -> "Outcome":
        """Run commands as typed in the repository's root, where its environment is active."""
        program = ["bash", "-e", "-o", "pipefail", "-c", commands]
        return self._run(program, {"PYTHONPATH": str(self.path / "src")})

    def python(self, program: str, given: str) -> "Outcome":
        """Run a program that lies beside this one, on text that it reads, in the root."""
        command = [sys.executable, str(Path(__file__).with_name(program))]
        return self._run(command, {"PYTHONPATH": str(self.path / "src")}, given=given)

    def _run(
        self,
        command: list[str],
        environment: dict[str, str],
        at: Path | None = None,
        given: str | None = None,
    ) -> "Outcome":
        programs = str(Path(sys.executable).parent)
        kept = {k: v for k, v in os.environ.items() if k != "FEATURE_ALIGNMENT_DATA"}
        path = f"{programs}{os.pathsep}{kept['PATH']}"
        done = subprocess.run(
            command,
            cwd=at or self.path,
            env=kept | {"PATH": path} | environment,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Outcome(done.returncode, done.stdout)

    def planned(self, *arguments: str, at: Path | None = None, **environment: str) -> dict:
        """Return how many jobs of each rule a dry run plans; none when nothing is to be done."""
        outcome = self.snakemake("--dry-run", *arguments, at=at, **environment)
        assert outcome.status == 0, outcome.text
        rows = re.findall(r"^([a-z0-9_]+) +(\d+)$", outcome.text, re.M)
        jobs = {name: int(count) for name, count in rows}
        assert bool(jobs) != ("Nothing to be done" in outcome.text), outcome.text
        jobs.pop("total", None)
        jobs.pop("all", None)
        return jobs

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands in a file once."""
        file = self.path / path
        text = file.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        file.write_text(text.replace(old, new))

    def files(self, pattern: str) -> dict[str, bytes]:
        """Return the bytes of the files that match, by relative path."""
        found = sorted(self.path.glob(pattern))
        return {p.relative_to(self.path).as_posix(): p.read_bytes() for p in found if p.is_file()}


@dataclass(frozen=True)
class Outcome:
    """What a command answered."""

    status: int
    text: str
