"""From the experiment files to the resolved spec of one run at one scale.

An experiment file (``config/experiments/<paper>.yaml``) holds *families* of runs that share
settings, the *runs* themselves and the *figures* they feed. The paper's own settings are the
base; ``laptop`` and ``smoke`` override them, so that a reader sees what each scale cuts. Later
entries win: family settings, run settings, family overrides of the scale, run overrides.

Imported while the workflow is parsed, so it must stay light (no numpy, no torch).
"""

import copy
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

SCALES = ("smoke", "laptop", "paper")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which YAML would silently keep the last."""


def _mapping_with_unique_keys(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # << takes over what is not given here
            continue
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            line = key_node.start_mark.line + 1
            raise ValueError(f"{key_node.start_mark.name}, line {line}: key {key!r} is given twice")
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_UniqueKeyLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_with_unique_keys
)


def read_yaml(path: Path | str) -> Any:
    """Read a YAML file.

    Raises:
        ValueError: If the file is not YAML, or gives a key twice; the message has the line.
    """
    with Path(path).open(encoding="utf-8") as file:
        try:
            return yaml.load(file, _UniqueKeyLoader)
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not valid YAML: {error}") from error


def _read_schema(path: Path) -> Mapping:
    """Read a schema that many runs share, again only if its file has changed."""
    return _read_once(path, path.stat().st_mtime_ns)


@cache
def _read_once(path: Path, changed: int) -> Mapping:
    del changed
    return read_yaml(path)


def _is_integer(checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# JSON schema takes 128.0 for an integer; torch does not.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def validate(value: Any, schema: Mapping, where: str) -> None:
    """Check ``value`` against a JSON schema, with errors that say how to fix them.

    Args:
        value: The parsed configuration.
        schema: A JSON schema (draft 2020-12).
        where: How to name the value in errors, such as its file.

    Raises:
        ValueError: Names every unknown key with the allowed ones, every missing key, and every
            value that is not allowed.
    """
    validator = _Validator(schema)
    errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.path)))
    if errors:
        lines = [f"{_location(error.absolute_path)}: {_explain(error)}" for error in errors]
        raise ValueError(f"{where} is not valid:\n  " + "\n  ".join(lines))


def _location(path: Iterable) -> str:
    return ".".join(map(str, path)) or "top level"


def _explain(error: jsonschema.ValidationError) -> str:
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(map(str, error.instance)) - set(allowed))
        return "; ".join(_unknown(key, allowed) for key in unknown)
    if error.validator == "enum":
        allowed = [str(choice) for choice in error.validator_value]
        return _unknown(str(error.instance), allowed, "value")
    return error.message


def _unknown(name: str, allowed: list[str], kind: str = "key") -> str:
    close = difflib.get_close_matches(name, allowed, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"unknown {kind} {name!r}{hint}; allowed: {', '.join(allowed)}"


def merge(base: Mapping, override: Mapping) -> dict:
    """Return ``base`` with ``override`` laid over it, nested mappings key by key."""
    merged = copy.deepcopy(dict(base))
    for key, value in override.items():
        both_nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both_nested else copy.deepcopy(value)
    return merged


@dataclass(frozen=True)
class Experiments:
    """One paper's experiment file, checked against its schema and able to resolve its runs."""

    path: Path
    families: Mapping[str, Mapping]
    runs: Mapping[str, Mapping]
    figures: Mapping[str, list[str]]
    schemas: Path

    @classmethod
    def read(cls, path: Path, schemas: Path) -> "Experiments":
        """Read and check the experiment file at ``path``.

        Args:
            path: ``config/experiments/<paper>.yaml``.
            schemas: The folder of the schemas.

        Raises:
            ValueError: If the file does not fit its schema, a family names an unknown
                experiment, a run an unknown family or a figure an unknown run, or if a run does
                not resolve at one of its scales or overrides settings at another.
        """
        content = read_yaml(path)
        validate(content, read_yaml(schemas / "experiments.schema.yaml"), str(path))
        known = {schema.name.removesuffix(".schema.yaml") for schema in schemas.iterdir()}
        for name, family in content["families"].items():
            _expect(family["experiment"], known, f"{path}: families.{name}", "experiment")
        for run, entry in content["runs"].items():
            _expect(entry["family"], content["families"], f"{path}: runs.{run}", "family")
            idle = [s for s in SCALES if s in entry and s not in entry.get("at", SCALES)]
            if idle:
                raise ValueError(f"{path}: runs.{run}: settings for {idle[0]!r}, not in 'at'")
        for figure, runs in content["figures"].items():
            for run in runs:
                _expect(run, content["runs"], f"{path}: figures.{figure}", "run")
        read = cls(path, content["families"], content["runs"], content["figures"], schemas)
        for scale in SCALES:
            for run in read.runs_at(scale):
                read.resolve(run, scale)
        return read

    @property
    def paper(self) -> str:
        """The paper's key, which is the file's name."""
        return self.path.stem

    def runs_at(self, scale: str) -> list[str]:
        """Return the names of the runs that are defined at ``scale``, in the file's order."""
        return [run for run, entry in self.runs.items() if scale in entry.get("at", SCALES)]

    def runs_of(self, figure: str, scale: str) -> list[str]:
        """Return the names of the runs that feed ``figure`` at ``scale``, in the file's order.

        Raises:
            ValueError: If the figure is unknown or has no run at this scale.
        """
        _expect(figure, self.figures, str(self.path), "figure")
        defined = self.runs_at(scale)
        runs = [run for run in self.figures[figure] if run in defined]
        if not runs:
            raise ValueError(f"{self.path}: figure {figure!r} has no run at scale {scale!r}")
        return runs

    def experiment(self, run: str) -> str:
        """Return the dotted name of the module that computes ``run``."""
        family = self.families[self.runs[run]["family"]]
        return f"feature_alignment.experiments.{self.paper}.{family['experiment']}"

    def seeds(self, run: str, scale: str) -> int:
        """Return the run's own number of seeds at ``scale``, 0 for a run without randomness."""
        return self._settings(run, scale).get("seeds", 0)

    def resolve(self, run: str, scale: str) -> dict:
        """Return the complete spec of ``run`` at ``scale``.

        The number of seeds is not part of it: more seeds must not recompute the ones there are.

        Args:
            run: A run's name.
            scale: One of :data:`SCALES`.

        Returns:
            ``paper``, ``run``, ``scale`` and ``settings``, which hold everything that the result
            depends on.

        Raises:
            ValueError: If the run is not defined at this scale or its settings do not fit the
                schema of its experiment.
        """
        settings = self._settings(run, scale)
        settings.pop("seeds", None)
        return {"paper": self.paper, "run": run, "scale": scale, "settings": settings}

    def _settings(self, run: str, scale: str) -> dict:
        entry = self.runs[run]
        family = self.families[entry["family"]]
        if scale not in entry.get("at", SCALES):
            raise ValueError(f"{self.path}: run {run!r} is not defined at scale {scale!r}")
        settings: dict = {}
        for part in ("settings", scale):
            for layer in (family, entry):
                settings = merge(settings, layer.get(part, {}))
        schema = _read_schema(self.schemas / f"{family['experiment']}.schema.yaml")
        validate(settings, schema, f"{self.path}: run {run!r} at scale {scale!r}")
        return settings


def _expect(name: str, known: Iterable[str], where: str, kind: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: {_unknown(name, sorted(known), kind)}")


def read_all_experiments(folder: Path, schemas: Path) -> dict[str, Experiments]:
    """Read every ``<paper>.yaml`` in ``folder``; the result is keyed by paper."""
    return {path.stem: Experiments.read(path, schemas) for path in sorted(folder.glob("*.yaml"))}


def figure_titles(paths: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Return the titles of the figures by paper, of ``papers/<paper>/paper.yaml`` files."""
    return {
        path.parent.name: {
            figure: record["title"]
            for figure, record in read_yaml(path)["figures"].items()
            if isinstance(record, Mapping)
        }
        for path in paths
    }
