"""The claims files. Imported while the workflow is parsed, so it must stay light."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from feature_alignment.run.spec import read_yaml, validate


def read_claims(paths: Iterable[Path], schema: Path) -> list[dict]:
    """Read claims files; each claim gains its ``paper``, the file's name.

    Args:
        paths: ``claims/<paper>.yaml``.
        schema: Schema of a claims file, which knows every criterion and its options.

    Raises:
        ValueError: If a file does not fit the schema, or an id is given twice.
    """
    claims = []
    for path in paths:
        content = read_yaml(path)
        validate(content, read_yaml(schema), str(path))
        claims.extend({**claim, "paper": path.stem} for claim in content)
    repeated = [name for name, n in Counter(claim["id"] for claim in claims).items() if n > 1]
    if repeated:
        raise ValueError(f"claim id {repeated[0]!r} is given twice")
    return claims
