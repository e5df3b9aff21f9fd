"""Reading YAML and checking values against JSON schemas, with errors that say how to fix them.

Imported while the workflow is parsed, so it must stay light (no numpy, no torch).
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from feature_alignment.storage import is_regular

DEEPEST = 60
"""Levels of nesting that a file may have; one that refers to itself has no end."""
MOST = 1_000_000
"""Values that a file may hold; a page of YAML that repeats itself can stand for billions."""
LARGEST = 2**53
"""Above it not every whole number is a float, nor a number in JSON that all programs read alike."""
SHOWN = 200
"""Characters of a wrong value that an error repeats."""


class _UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML that refuses a key given twice, of which YAML would silently keep the last."""


def _mapping_with_unique_keys(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # << takes over what is not given here
            continue
        key = loader.construct_object(key_node, deep=True)
        place = f"{key_node.start_mark.name}, line {key_node.start_mark.line + 1}"
        if not isinstance(key, str):
            raise ValueError(f"{place}: expected a key that is text, got {key!r}; quote it")
        if key in seen:
            raise ValueError(f"{place}: key {key!r} is given twice; remove one")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_with_unique_keys
)


def read_yaml(path: Path | str) -> Any:
    """Read a YAML file, of which only what JSON has words for is taken.

    Raises:
        ValueError: If the file is not YAML, gives a key twice or one that is not text, refers to
            itself, or holds a value that :func:`refuse_unfit` refuses; the message has the file,
            and the line or the key.
    """
    is_regular(Path(path))
    with Path(path).open(encoding="utf-8") as file:
        try:
            content = yaml.load(file, _UniqueKeyLoader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not valid YAML: {error}") from error
    refuse_unfit(content, str(path))
    return content


def read_schema(path: Path | str) -> dict:
    """Read a JSON schema, which says so under ``$schema``.

    Raises:
        ValueError: If the file is something else.
    """
    content = read_yaml(path)
    if not isinstance(content, Mapping) or "$schema" not in content:
        raise ValueError(
            f"{path} is not a JSON schema, which has a key $schema; name one of workflow/schemas"
        )
    return dict(content)


def refuse_unfit(value: Any, where: str) -> None:
    """Refuse what no configuration, specification or claim may hold, whatever its schema says.

    That is: NaN and infinities, whole numbers beyond :data:`LARGEST`, keys that are not text,
    dates, sets and bytes, and content without an end.

    Args:
        value: What was read from a file or a command line.
        where: How to name it in errors.

    Raises:
        ValueError: Names every such value by its key.
    """
    found = []
    try:
        for count, (path, problem) in enumerate(_judged(value, ())):
            if problem:
                found.append(f"{_location(path)}: {problem}")
            if count > MOST:
                raise ValueError(f"{where} holds more than {MOST} values; use fewer aliases")
    except RecursionError as error:
        raise ValueError(f"{where}: {error}; is something an alias of itself?") from error
    if found:
        raise ValueError(f"{where} is not valid:\n  " + "\n  ".join(found))


def _judged(value: Any, path: tuple) -> Iterator[tuple[tuple, str]]:
    """Yield every value by its path, with what is wrong with it."""
    problem = ""
    if len(path) > DEEPEST:
        raise RecursionError(f"{_location(path[:3])} … is nested more than {DEEPEST} deep")
    if isinstance(value, float) and not math.isfinite(value):
        problem = f"expected a finite number, got {value}; leave the key out, or give a number"
    elif isinstance(value, int) and abs(value) > LARGEST:
        problem = f"expected a number of at most {LARGEST}, got one of {value.bit_length()} bits"
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                problem = f"expected keys that are text, got {key!r}; quote it"
            yield from _judged(part, (*path, key))
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from _judged(part, (*path, place))
    elif not isinstance(value, str | int | float | None):
        kind = type(value).__name__
        problem = f"expected text, a number, a list or keys, got a {kind}, {value!r}; quote it"
    yield path, problem


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
        ValueError: Names every unknown key with the allowed ones, every missing key, every value
            that is not allowed, and what :func:`refuse_unfit` refuses.
    """
    refuse_unfit(value, where)
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
    if error.validator == "uniqueItems":
        twice = [item for item in error.instance if error.instance.count(item) > 1]
        return f"{_shortened(repr(twice[0]))} is given twice; expected every item once"
    if error.validator == "const":
        return f"expected {error.validator_value!r}, got {_shortened(repr(error.instance))}"
    if error.validator == "type" and _is_number(error.instance):
        return f"{_shortened(error.message)}; YAML reads it as text, write {float(error.instance)}"
    return _shortened(error.message)


def _is_number(text: object) -> bool:
    try:
        return isinstance(text, str) and math.isfinite(float(text))
    except ValueError:
        return False


def _shortened(text: str) -> str:
    ends = SHOWN // 2
    return text if len(text) <= 2 * SHOWN else f"{text[:ends]} … {text[-ends:]}"


def unknown(name: str, allowed: Iterable[str], kind: str = "key") -> str:
    """Return the words of an error about a name that is not one of those allowed."""
    close = difflib.get_close_matches(name, allowed := list(allowed), n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"unknown {kind} {_shortened(repr(name))}{hint}; allowed: {', '.join(allowed)}"
