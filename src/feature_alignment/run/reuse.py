"""Which archived runs are taken instead of a training, and which seeds a figure then has.

Imported while the workflow is parsed, so it must stay light (no numpy, no torch).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, takewhile
from pathlib import Path

from feature_alignment.integrity import read_sealed
from feature_alignment.run.archive import (
    CONDITIONS,
    FIRST_SEEDS,
    Archive,
    asked,
    shown_arrays,
    told,
)
from feature_alignment.run.spec import Paper

ARCHIVED = "archived"
"""As the number of ``seeds``: those that are in the archive."""
LISTED = 4
"""How many runs are named of those that are not taken for one reason."""


def datasets_of(settings: Mapping) -> list[str]:
    """Return the names of the datasets that a run with such settings reads."""
    parts = [part for part in settings.values() if isinstance(part, dict)]
    return list(dict.fromkeys(part["name"] for part in parts if "name" in part))


def first_seed(named: int | None, scale: str) -> int:
    """Return the seed that runs begin with: the one that is named, or else that of the scale."""
    exploring, confirming = FIRST_SEEDS
    return named if named is not None else exploring if scale == "smoke" else confirming


@dataclass(frozen=True)
class Reuse:
    """The archived runs that may be taken at one scale.

    Attributes:
        archive: Where they are.
        papers: The runs that there are, by paper.
        scale: The scale.
        first_seed: The seed that runs begin with.
        despite: Of :data:`~feature_alignment.run.archive.CONDITIONS`, in what they may differ.
        prepared: The folder of prepared datasets; those that are not there are taken to be the
            archive's, so that nobody needs data who trains nothing.
        device: What trainings would run on here.
        threads: How many threads they would have.
    """

    archive: Archive
    papers: Mapping[str, Paper]
    scale: str
    first_seed: int = 0
    despite: Collection[str] = ()
    prepared: Path = Path("data/prepared")
    device: str = "cpu"
    threads: int = 1
    _checked: dict = field(default_factory=dict, init=False, repr=False)

    def differences(self, paper: str, run: str, seed: int) -> dict[str, str]:
        """Return in what an archived run differs from what would be made here, with words for it.

        Raises:
            ValueError: If its provenance was changed since it was written.
        """
        key = paper, run, seed
        if key not in self._checked:
            spec = self.papers[paper].resolve(run, self.scale)
            data = {
                name: self._checksums[name]
                for name in datasets_of(spec["settings"])
                if name in self._checksums
            }
            meta = self.archive.meta(paper, run, seed)
            wanted = asked(spec, seed, data, self.device, self.threads)
            found = self.archive.differences(told(meta), wanted)
            first = seed == self.first_seed or not self.papers[paper].seeds(run, self.scale)
            if first and f"{paper}/{run}" in self._shown and not self.archive.has_arrays(*key):
                found["arrays"] = "archived without the arrays that a figure shows"
            self._checked[key] = found
        return self._checked[key]

    def is_taken(self, paper: str, run: str, seed: int) -> bool:
        """Say whether a run is archived and may be taken."""
        if not self.archive.has(paper, run, seed):
            return False
        return not set(self.differences(paper, run, seed)) - set(self.despite)

    def seeds(self, paper: str, run: str) -> list[int]:
        """Return the seeds of a run that the archive has, from the first on without a gap.

        Seeds that explore and those that confirm are never taken together.
        """
        if not self.papers[paper].seeds(run, self.scale):
            return [0] if self.is_taken(paper, run, 0) else []
        confirming = FIRST_SEEDS[1]
        seeds = count(self.first_seed)
        if self.first_seed < confirming:
            seeds = range(self.first_seed, confirming)
        return list(takewhile(lambda seed: self.is_taken(paper, run, seed), seeds))

    def seeds_of_figure(self, paper: str, figure: str) -> dict[str, list[int]]:
        """Return the archived seeds that a figure is made of, by run; none if some run has none.

        Runs are compared seed by seed. So where some run has fewer seeds than are planned for it,
        no run has more than that. Where none has, all have as many as are planned, and more if all
        runs have more for which that number is planned.
        """
        held = {run: self.seeds(paper, run) for run in self._runs(paper, figure)}
        if not all(held.values()):
            return {}
        planned = {run: self.papers[paper].seeds(run, self.scale) for run in held}
        few = [len(held[run]) for run in held if len(held[run]) < planned[run]]
        if few:
            return {run: seeds[: min(few)] for run, seeds in held.items()}
        common = {
            number: min(len(held[run]) for run in held if planned[run] == number)
            for number in planned.values()
        }
        return {run: seeds[: common[planned[run]]] for run, seeds in held.items()}

    def notes(self, paper: str, figure: str) -> list[str]:
        """Return what a figure made of archived seeds must say: what is missing, and other code."""
        made_of = self.seeds_of_figure(paper, figure)
        planned = [self.papers[paper].seeds(run, self.scale) for run in made_of]
        notes = []
        if any(len(made_of[run]) < number for run, number in zip(made_of, planned, strict=True)):
            few, many = min(filter(None, planned)), max(planned)
            notes.append(f"incomplete: {few if few == many else f'{few} to {many}'} seeds planned")
        commits = {
            self.archive.meta(paper, run, seed)["git"]["commit"][:12]
            for run, seeds in made_of.items()
            for seed in seeds
            if "code" in self.differences(paper, run, seed)
        }
        if commits:
            notes.append(f"runs made by the code of {', '.join(sorted(commits))}")
        return notes

    def told(self, wanted: Iterable[tuple[str, str, int]]) -> list[str]:
        """Return lines on how many of some runs are taken, and why others are not."""
        wanted = list(wanted)
        taken = [key for key in wanted if self.is_taken(*key)]
        lines = [f"{len(taken)} of {len(wanted)} runs are taken from {self.archive.folder}."]
        reasons: dict[str, list[str]] = {}
        for key in wanted:
            if key not in taken:
                name = f"{key[0]}/{key[1]}, seed {key[2]}"
                reasons.setdefault(self._reason(*key), []).append(name)
        for reason, names in reasons.items():
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            lines.append(f"Not taken, {reason}: {'; '.join(names[:LISTED])}{more}.")
        return lines

    def _reason(self, paper: str, run: str, seed: int) -> str:
        if not self.archive.has(paper, run, seed):
            return "not archived"
        found = self.differences(paper, run, seed)
        return ", ".join(text for name, text in found.items() if name not in self.despite)

    def _runs(self, paper: str, figure: str) -> Sequence[str]:
        return self.papers[paper].runs_of(figure, self.scale)

    @cached_property
    def _shown(self) -> list[str]:
        return shown_arrays(self.papers, self.scale)

    @cached_property
    def _checksums(self) -> dict[str, str]:
        """Checksums of the prepared datasets that are here, by name."""
        manifests = sorted(self.prepared.glob("*.json")) if self.prepared.is_dir() else ()
        return {path.stem: read_sealed(path)["sha256"] for path in manifests}


def reuse_of(config: Mapping, root: Path, papers: Mapping[str, Paper], **here: object) -> Reuse:
    """Return what a configuration lets be taken from an archive.

    Args:
        config: The configuration, checked; with ``seeds: archived`` runs may be taken despite all
            of :data:`~feature_alignment.run.archive.CONDITIONS`, and figures say so.
        root: The folder of the repository, as seen from here.
        papers: The runs that there are, by paper.
        **here: ``prepared``, ``device`` and ``threads`` of :class:`Reuse`.

    Raises:
        ValueError: If there is no archive.
    """
    named = config["reuse"] or "reference"
    folder = (root / named if named == "reference" else Path(named).expanduser()) / config["scale"]
    if not (folder / "runs").is_dir():
        known = sorted(path.parent.name for path in folder.parent.glob("*/runs"))
        raise ValueError(
            f"configuration: reuse: expected archived runs in {folder}/runs, found none; choose a"
            f" scale that has some ({', '.join(known) or 'there is none'}), name another folder, or"
            " leave reuse out"
        )
    despite = CONDITIONS if config["seeds"] == ARCHIVED else config["reuse_despite"]
    first = first_seed(config["first_seed"], config["scale"])
    return Reuse(Archive(folder), papers, config["scale"], first, tuple(despite), **here)
