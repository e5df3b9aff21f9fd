"""Reading YAML and checking it against JSON schemas, with errors that say how to fix them.

Imported while the workflow is parsed, so it must stay light (no numpy, no torch).
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from feature_alignment.data.registry import BUNDLED, read_registry
from feature_alignment.models.architectures import ARCHITECTURES


class _UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML that refuses a key given twice, of which YAML would silently keep the last."""


def _mapping_with_unique_keys(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # << takes over what is not given here
            continue
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            line = key_node.start_mark.line + 1
            raise ValueError(f"{key_node.start_mark.name}, line {line}: key {key!r} is given twice")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


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


def read_settings(path: Path, schemas: Path) -> dict[str, dict]:
    """Read the schemas of a paper's settings, by experiment.

    They are closed by the convention that ``common.schema.yaml`` states, and common definitions
    stand in place of the references to them, so that :func:`validate` needs nothing else.

    Args:
        path: ``papers/<key>/settings.yaml``.
        schemas: The folder of ``common.schema.yaml``, in the repository of ``data/datasets.csv``.

    Raises:
        ValueError: If a definition is unknown.
    """
    definitions = read_yaml(schemas / "common.schema.yaml")["$defs"]
    datasets = read_registry(schemas.resolve().parents[1] / "data" / "datasets.csv")
    definitions["dataset_name"]["enum"] = [*datasets, *BUNDLED]
    definitions["architecture"]["enum"] = [*ARCHITECTURES, "module:function"]
    return {name: _complete(schema, definitions) for name, schema in read_yaml(path).items()}


def _complete(schema: Any, definitions: Mapping) -> Any:
    """Return a schema with definitions in place of references, and every object closed."""
    if isinstance(schema, list):
        return [_complete(part, definitions) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    read = {k: v if k == "if" else _complete(v, definitions) for k, v in schema.items()}
    if "$ref" in read:
        name = read.pop("$ref").rpartition("/")[-1]
        if name not in definitions:
            raise ValueError(unknown(name, definitions, "definition"))
        meant = _complete(definitions[name], definitions)
        return {**read, "allOf": [meant]} if read else meant
    if isinstance(read.get("properties"), Mapping):
        needed = [key for key, part in read["properties"].items() if "default" not in part]
        read = {"type": "object", "additionalProperties": False, "required": needed, **read}
    return read


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
    errors = sorted(_Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path)))
    if errors:
        lines = [f"{_location(error.absolute_path)}: {_explain(error)}" for error in errors]
        raise ValueError(f"{where} is not valid:\n  " + "\n  ".join(lines))


def _location(path: Iterable) -> str:
    return ".".join(map(str, path)) or "top level"


def _explain(error: jsonschema.ValidationError) -> str:
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema.get("properties", {}))
        strange = sorted(set(map(str, error.instance)) - set(allowed))
        return "; ".join(unknown(key, allowed) for key in strange)
    if error.validator == "enum":
        allowed = [str(choice) for choice in error.validator_value]
        return unknown(str(error.instance), allowed, "value")
    return error.message


def unknown(name: str, allowed: Iterable[str], kind: str = "key") -> str:
    """Return the words of an error about a name that is not one of those allowed."""
    close = difflib.get_close_matches(name, allowed := list(allowed), n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"unknown {kind} {name!r}{hint}; allowed: {', '.join(allowed)}"
