"""From a paper's file to the resolved spec of one run at one scale.

``papers/<key>/paper.yaml`` holds *families* of runs that share settings, the *runs* themselves and
the *figures* they feed. The paper's own settings are the base; ``laptop`` and ``smoke`` override
them, so that a reader sees what each scale cuts. Later entries win: family settings, run settings,
family overrides of the scale, run overrides. A run with a ``sweep`` stands for a grid of runs.
Settings are what a training reads; *labels* are what tables call a run.

Imported while the workflow is parsed, so it must stay light (no numpy, no torch).
"""

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_alignment.run.schema import read_published_form, read_settings
from feature_alignment.schema import read_schema, read_yaml, unknown, validate
from feature_alignment.sweep import combinations, filled

SCALES = ("smoke", "laptop", "paper")

_MODULES = Path(__file__).resolve().parents[1] / "papers"
_NAME = re.compile("[a-z][a-z0-9_]*")


def merge(base: Mapping, override: Mapping) -> dict:
    """Return ``base`` with ``override`` laid over it, nested mappings key by key."""
    merged = copy.deepcopy(dict(base))
    for key, value in override.items():
        both_nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both_nested else copy.deepcopy(value)
    return merged


@dataclass(frozen=True)
class Paper:
    """One paper's runs and figures, checked against their schemas and resolved.

    Attributes:
        path: ``papers/<key>/paper.yaml``.
        families: What runs share, by name.
        runs: The runs by name, grids written out, in the file's order.
        figures: Records by name: ``title``, ``caption``, ``runs`` with grids written out,
            ``columns`` (paths of settings by column), ``arrays`` and ``published``.
        settings: Complete settings by run and scale, number of seeds included.
    """

    path: Path
    families: Mapping[str, Mapping]
    runs: Mapping[str, Mapping]
    figures: Mapping[str, Mapping]
    settings: Mapping[tuple[str, str], Mapping]

    @classmethod
    def read(cls, path: Path, schemas: Path) -> "Paper":
        """Read and check the file at ``path``.

        Args:
            path: ``papers/<key>/paper.yaml``; ``settings.yaml`` is in the same folder.
            schemas: The folder of the schemas that papers share.

        Raises:
            ValueError: If the folder's name is not one of a module, the file does not fit its
                schema, a family names an unknown experiment, a run an unknown family or a figure an
                unknown run or setting, two runs share a name, a run's settings do not fit the
                schema of its experiment or override those of a scale at which it is not defined,
                or published numbers do not fit the schema ``published`` in ``settings.yaml``.
        """
        if not re.fullmatch("[a-z0-9_]+", path.parent.name):
            raise ValueError(
                f"{path}: expected a folder named in lower-case letters, digits and _, got "
                f"{path.parent.name!r}"
            )
        content = read_yaml(path)
        validate(content, read_schema(schemas / "paper.schema.yaml"), str(path))
        families = content["families"]
        experiments = read_settings(path.with_name("settings.yaml"), schemas)
        transcribed = read_published_form(path.with_name("settings.yaml"), schemas)
        for name, family in families.items():
            where = f"{path}: families.{name}"
            _expect(family["experiment"], experiments, where, "experiment")
            module = _MODULES / path.parent.name / f"{family['experiment']}.py"
            if not module.is_file():
                raise ValueError(f"{where}: expected a module {module}; there is no such file")
        grids = _grids(content["runs"], families, f"{path}: runs")
        runs = {run: entry for members in grids.values() for run, entry in members.items()}
        settings = {}
        for run, entry in runs.items():
            family = families[entry["family"]]
            for scale in entry["at"]:
                found = _settings(family, entry, scale)
                where = f"{path}: run {run!r} at scale {scale!r}"
                validate(found, experiments[family["experiment"]], where)
                settings[run, scale] = found
        for figure, record in content["figures"].items():
            if "published" in record:
                where = f"{path}: figures.{figure}.published"
                if transcribed is None:
                    raise ValueError(f"{where}: expected its schema, 'published', in settings.yaml")
                validate(record["published"], transcribed, where)
        figures = {
            figure: _record(record, grids, settings, f"{path}: figures.{figure}")
            for figure, record in content["figures"].items()
        }
        return cls(path, families, runs, figures, settings)

    @property
    def key(self) -> str:
        """The paper's key, which is the name of its folder."""
        return self.path.parent.name

    def runs_at(self, scale: str) -> list[str]:
        """Return the names of the runs that are defined at ``scale``, in the file's order."""
        return [run for run, entry in self.runs.items() if scale in entry["at"]]

    def runs_of(self, figure: str, scale: str) -> list[str]:
        """Return the names of the runs that feed ``figure`` at ``scale``, in the record's order.

        Raises:
            ValueError: If the figure is unknown or has no run at this scale.
        """
        _expect(figure, self.figures, str(self.path), "figure")
        runs = [run for run in self.figures[figure]["runs"] if scale in self.runs[run]["at"]]
        if not runs:
            raise ValueError(f"{self.path}: figure {figure!r} has no run at scale {scale!r}")
        return runs

    def experiment(self, run: str) -> str:
        """Return the name of the experiment, a module of the paper, that computes ``run``."""
        return self._family(run)["experiment"]

    def labels(self, run: str) -> dict:
        """Return what tables call ``run``: its labels over those of its family."""
        return self._family(run).get("labels", {}) | self.runs[run].get("labels", {})

    def seeds(self, run: str, scale: str) -> int:
        """Return the run's own number of seeds at ``scale``, 0 for a run without randomness."""
        return self._settings_of(run, scale)["seeds"]

    def together(self, run: str, scale: str) -> int:
        """Return how many seeds of the run share a process at ``scale``."""
        return self._family(run).get("together", {}).get(scale, 2 if scale == "smoke" else 1)

    def resolve(self, run: str, scale: str) -> dict:
        """Return the complete spec of ``run`` at ``scale``.

        The number of seeds is not part of it: more seeds must not recompute the ones there are.

        Args:
            run: A run's name.
            scale: One of :data:`SCALES`.

        Returns:
            ``paper``, ``run``, ``scale``, ``experiment`` and ``settings``, which hold everything
            that the result depends on.

        Raises:
            ValueError: If the run is unknown or not defined at this scale.
        """
        settings = copy.deepcopy(dict(self._settings_of(run, scale)))
        del settings["seeds"]
        identity = {"paper": self.key, "run": run, "scale": scale}
        return {**identity, "experiment": self.experiment(run), "settings": settings}

    def _family(self, run: str) -> Mapping:
        _expect(run, self.runs, str(self.path), "run")
        return self.families[self.runs[run]["family"]]

    def _settings_of(self, run: str, scale: str) -> Mapping:
        _expect(run, self.runs, str(self.path), "run")
        if (run, scale) not in self.settings:
            raise ValueError(f"{self.path}: run {run!r} is not defined at scale {scale!r}")
        return self.settings[run, scale]


def _grids(entries: Mapping, families: Mapping, where: str) -> dict[str, dict[str, dict]]:
    """Return the runs by name that each entry of a file stands for."""
    grids: dict[str, dict[str, dict]] = {}
    named: set[str] = set()
    for template, entry in entries.items():
        here = f"{where}.{template}"
        _expect(entry["family"], families, here, "family")
        grids[template] = {}
        for run, member in _written_out(template, entry, here):
            if run in named:
                raise ValueError(f"{here}: there is already a run {run!r}")
            named.add(run)
            grids[template][run] = member
    return grids


def _written_out(template: str, entry: Mapping, where: str) -> Iterable[tuple[str, dict]]:
    """Yield the runs that an entry stands for by name: itself, or those of its grid."""
    points = combinations(entry["sweep"], where) if "sweep" in entry else [{}]
    for values in points:
        run = filled(template, values)
        if not _NAME.fullmatch(run):
            raise ValueError(
                f"{where}: expected the name of a run in lower-case letters, digits and _, got "
                f"{run!r}; a grid can put {', '.join(values) or 'nothing'} in a name"
            )
        point: dict[str, Any] = {}
        for key, value in values.items():
            if value is not None and not key.startswith("{"):
                own = key.split(".")[0] in ("at", *SCALES)
                _set(point, key if own else f"settings.{key}", value)
        member = {"at": SCALES, **merge({k: v for k, v in entry.items() if k != "sweep"}, point)}
        for scale in member["at"]:
            _expect(scale, SCALES, where, "scale")
        idle = [scale for scale in SCALES if scale in member and scale not in member["at"]]
        if idle:
            raise ValueError(f"{where}: run {run!r} has settings for {idle[0]!r}, not in 'at'")
        yield run, member


def _set(entry: dict, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        entry = entry.setdefault(name, {})
    entry[last] = value


def _settings(family: Mapping, entry: Mapping, scale: str) -> dict:
    settings: dict = {}
    for part in ("settings", scale):
        for layer in (family, entry):
            settings = merge(settings, layer.get(part, {}))
    return settings


def _record(record: Mapping, grids: Mapping, settings: Mapping, where: str) -> dict:
    """Return the record of a figure with its runs written out and nothing left to default."""
    runs = {run: [run] for members in grids.values() for run in members}
    known = {**runs, **{template: list(members) for template, members in grids.items()}}
    for name in record["runs"]:
        _expect(name, known, where, "run")
    fed = [run for name in record["runs"] for run in known[name]]
    if len(set(fed)) < len(fed):
        raise ValueError(f"{where}: expected every run once; a grid holds one named too")
    full = {"columns": {}, "arrays": False, **record, "runs": fed}
    for column, setting in full["columns"].items():
        for (run, _), own in settings.items():
            if run in fed:
                at_path(own, setting, f"{where}.columns.{column}: {run}")
    return full


def at_path(settings: Mapping, path: str, where: str) -> Any:
    """Return the setting at a path such as ``model.width``.

    Raises:
        ValueError: If there is no such setting.
    """
    found: Any = settings
    for name in path.split("."):
        _expect(name, found if isinstance(found, Mapping) else (), where, "setting")
        found = found[name]
    return found


def _expect(name: str, known: Iterable[str], where: str, kind: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: {unknown(name, sorted(known), kind)}")


def read_papers(folder: Path, schemas: Path) -> dict[str, Paper]:
    """Read the file of every paper in ``folder``; the result is keyed by paper.

    Raises:
        ValueError: If there is none, a folder has other files of a paper alone, or one does not
            fit; see :meth:`Paper.read`.
    """
    folders = {path.parent for path in folder.glob("*/*.yaml")}
    for lacking in sorted(path for path in folders if not (path / "paper.yaml").exists()):
        raise ValueError(f"{lacking} has no paper.yaml, or a link that leads nowhere; restore it")
    papers = [Paper.read(path / "paper.yaml", schemas) for path in sorted(folders)]
    if not papers:
        raise ValueError(
            f"expected {folder}/<key>/paper.yaml in {Path.cwd()}, found none; start in the root of"
            " the repository, or leave out --directory"
        )
    return {paper.key: paper for paper in papers}


def figure_titles(paths: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Return the titles of figures by paper and figure, from files ``papers/<key>/paper.yaml``.

    Raises:
        ValueError: If a file does not have figures by name, each with its title.
    """
    titles = {}
    for path in paths:
        content = read_yaml(path)
        validate(content, _TITLED, str(path))
        figures = content["figures"].items()
        titles[path.parent.name] = {figure: record["title"] for figure, record in figures}
    return titles


_TITLED = {
    "type": "object",
    "required": ["figures"],
    "properties": {
        "figures": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["title"],
                "properties": {"title": {"type": "string"}},
            },
        }
    },
}
