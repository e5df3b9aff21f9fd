"""Templates that stand for many entries of a file: values that vary, and where they go.

An *axis* is a mapping from names to equally long lists, whose entries go together; several axes are
combined, the last one varying fastest. A template has a placeholder ``{name}`` wherever a value
goes. A sweep over runs and a claim repeated over datasets are both such templates.

Imported while the workflow is parsed, so it must stay light.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

MOST = 10_000
"""Entries that a template may stand for."""

Axes = Mapping[str, Sequence] | Sequence[Mapping[str, Sequence]]


def combinations(axes: Axes, where: str) -> list[dict[str, Any]]:
    """Return the values of every combination, by name.

    Args:
        axes: One axis or several.
        where: How to name the template in errors.

    Raises:
        ValueError: If the lists of an axis differ in length or are empty, two axes share a name, or
            there are more than :data:`MOST` combinations.
    """
    parts = []
    for axis in [axes] if isinstance(axes, Mapping) else axes:
        lengths = {name: len(values) for name, values in axis.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            told = ", ".join(f"{name} has {count}" for name, count in lengths.items())
            raise ValueError(f"{where}: expected lists of one length, at least 1; {told}")
        rows = zip(*axis.values(), strict=True)
        parts.append([dict(zip(axis, row, strict=True)) for row in rows])
    names = [name for part in parts for name in part[0]]
    if len(set(names)) < len(names):
        raise ValueError(f"{where}: a name is in two axes: {', '.join(sorted(names))}")
    if (count := math.prod(map(len, parts))) > MOST:
        raise ValueError(
            f"{where}: expected at most {MOST} combinations, got {count}; leave some out"
        )
    return [
        {name: value for part in chosen for name, value in part.items()}
        for chosen in itertools.product(*parts)
    ]


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """Return a template with values in place of its placeholders.

    A string that is a placeholder alone becomes the value itself, a number say; inside a longer
    string the value is written out. Braces around anything else are left as they are.

    Args:
        template: A string, or lists and mappings of such.
        values: By name, without or with the braces.
    """
    if isinstance(template, Mapping):
        return {key: filled(part, values) for key, part in template.items()}
    if isinstance(template, list):
        return [filled(part, values) for part in template]
    if not isinstance(template, str):
        return template
    for name, value in values.items():
        place = name if name.startswith("{") else f"{{{name}}}"
        if template == place:
            return value
        template = template.replace(place, str(value))
    return template
