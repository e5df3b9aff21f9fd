"""The schemas of settings, made of what a paper's file says and what all papers share.

Imported while the workflow is parsed, so it must stay light (no numpy, no torch).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feature_alignment.data.registry import BUNDLED, read_registry
from feature_alignment.models.architectures import ARCHITECTURES
from feature_alignment.schema import read_schema, read_yaml, unknown, validate

__all__ = ["read_published_form", "read_settings", "read_yaml", "validate"]

PUBLISHED = "published"


def read_settings(path: Path, schemas: Path) -> dict[str, dict]:
    """Read the schemas of a paper's settings, by experiment.

    They are closed by the convention that ``common.schema.yaml`` states, and common definitions
    stand in place of the references to them, so that :func:`validate` needs nothing else.

    Args:
        path: ``papers/<key>/settings.yaml``.
        schemas: The folder of ``common.schema.yaml``, in the repository of ``data/datasets.csv``.

    Raises:
        ValueError: If a definition is unknown, or the file does not hold schemas by name.
    """
    return {name: form for name, form in _forms(path, schemas).items() if name != PUBLISHED}


def read_published_form(path: Path, schemas: Path) -> dict | None:
    """Read the schema of the numbers that a paper's file transcribes from the paper, if it has any.

    Args:
        path: As for :func:`read_settings`, in whose file the schema is called ``published``.
        schemas: As for :func:`read_settings`.
    """
    return _forms(path, schemas).get(PUBLISHED)


def _forms(path: Path, schemas: Path) -> dict[str, dict]:
    definitions = read_schema(schemas / "common.schema.yaml")["$defs"]
    datasets = read_registry(schemas.resolve().parents[1] / "data" / "datasets.csv")
    definitions["dataset_name"]["enum"] = [*datasets, *BUNDLED]
    definitions["architecture"]["enum"] = [*ARCHITECTURES, "module:function"]
    content = read_yaml(path)
    validate(content, {"type": "object", "additionalProperties": {"type": "object"}}, str(path))
    return {name: _complete(schema, definitions) for name, schema in content.items()}


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
