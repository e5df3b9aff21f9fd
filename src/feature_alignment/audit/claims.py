"""The claims files. Imported while the workflow is parsed, so it must stay light."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from feature_alignment.audit.condition import read_condition
from feature_alignment.audit.criteria import schema_of_tests
from feature_alignment.schema import read_schema, read_yaml, validate
from feature_alignment.sweep import combinations, filled

CLASSES = ("paper", "ours", "identity", "check")
"""What a claim is: said by the paper, asked by us, true by algebra, or a check that runs are fit to
be judged."""
NOT_MEASURED = "not measured"
"""What a claim says of the untrained network where no table has it: it cannot be supported."""


def read_claims(paths: Iterable[Path], schema: Path) -> list[dict]:
    """Read claims files.

    An entry with ``each`` stands for several claims, one for every combination of its values, which
    take the place of ``{name}`` in its strings. A key whose value becomes null is left out.

    Args:
        paths: ``papers/<paper>/claims.yaml``.
        schema: Schema of a claims file; that of ``test`` is added, from the criteria.

    Returns:
        Claims without ``each``, with what they ``need`` and their ``paper``, the file's folder.

    Raises:
        ValueError: If a file does not fit the schema, names and values of an ``each`` do not fit
            the entry, a condition on rows cannot be read, an id is given twice, or the schema is
            that of something else.
    """
    form = read_schema(schema)
    entry = form.get("items", {})
    if "evidence" not in entry.get("properties", {}):
        raise ValueError(f"{schema} is not the schema of claims; name claims.schema.yaml")
    entry["properties"]["test"] = schema_of_tests()
    claims = []
    for path in paths:
        content = read_yaml(path)
        validate(content, form | {"items": {"type": "object"}}, str(path))
        for template in content:
            where = f"{path}: claim {template.get('id')}"
            if "each" in template:
                validate(template["each"], entry["properties"]["each"], f"{where}: each")
            for claim in _repeated(template, where):
                _validate(claim, entry, f"{path}: claim {claim.get('id')}")
                default = {"needs": entry["properties"]["needs"]["default"]}
                claims.append({**default, **claim, "paper": path.parent.name})
    repeated = [name for name, n in Counter(claim["id"] for claim in claims).items() if n > 1]
    if repeated:
        raise ValueError(f"claim id {repeated[0]!r} is given twice")
    return claims


def _validate(claim: Mapping, entry: Mapping, where: str) -> None:
    """Check a claim, and that the condition on its rows can be read."""
    validate(claim, entry, where)
    if claim["class"] in ("paper", "ours") and "untrained" not in claim:
        raise ValueError(
            f"{where}: expected untrained: what the same question finds in the untrained network"
            " (where, test), or contrast, no network or not measured"
        )
    references = [claim.get(name) for name in ("untrained", "control")]
    for part in (claim["evidence"], *references):
        if isinstance(part, Mapping) and "where" in part:
            try:
                read_condition(part["where"])
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
    for part in references:
        if isinstance(part, Mapping):
            changed = {**claim["test"], **part.get("test", {})}
            test = {key: value for key, value in changed.items() if value is not None}
            validate(test, entry["properties"]["test"], f"{where}: test of a reference")


def _repeated(template: Mapping, where: str) -> list[Mapping]:
    """Return the claims that an entry stands for.

    Raises:
        ValueError: If a name of ``each`` is not used, or a placeholder has no value.
    """
    if "each" not in template:
        return [template]
    body = {key: part for key, part in template.items() if key != "each"}
    values = combinations(template["each"], where)
    placeholders = re.findall(r"{([a-z_]\w*)}", str(body))
    for name in values[0]:
        if name not in placeholders:
            raise ValueError(f"{where}: expected {{{name}}} somewhere, for its values in each")
    for name in placeholders:
        if name not in values[0]:
            known = ", ".join(values[0])
            raise ValueError(f"{where}: {{{name}}} has no values in each, which has: {known}")
    claims = [filled(body, chosen) for chosen in values]
    return [{key: part for key, part in claim.items() if part is not None} for claim in claims]
