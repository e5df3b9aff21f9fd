"""What each paper says, and where it is drawn and judged: from sentences and figures to claims.

``papers/<key>/statements.yaml`` lists the sentences of a paper's abstract and its figures, as far
as they are known, in words of ours. A statement names claims by patterns, in which ``*`` stands for
any characters, or says why there is none.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from feature_alignment.audit.ledger import tallies
from feature_alignment.publish.markdown import code, words
from feature_alignment.schema import read_schema, read_yaml, validate


def read_statements(papers: Path) -> dict[str, list[dict]]:
    """Return the statements of every paper that has a list of them, by its key.

    Args:
        papers: The folder of the papers, next to ``workflow/schemas``.

    Raises:
        ValueError: If a list does not fit the schema.
    """
    schema = read_schema(papers.parent / "workflow" / "schemas" / "statements.schema.yaml")
    found = {}
    for path in sorted(papers.glob("*/statements.yaml")):
        content = read_yaml(path)
        validate(content, schema, str(path))
        found[path.parent.name] = content
    return found


def reached(statement: Mapping, ids: Iterable[str]) -> list[str]:
    """Return the ids of claims that a statement names, in the order in which they are given."""
    patterns = statement.get("claims", ())
    return [name for name in ids if any(fnmatchcase(name, pattern) for pattern in patterns)]


def statement_table(statements: Sequence[Mapping], ledger: Sequence[Mapping]) -> str:
    """Return the table of what one paper says: place, words, figures here, claims and verdicts.

    Args:
        statements: Of one paper.
        ledger: Rows with ``id``, ``table``, ``class`` and ``verdict``, of all papers.
    """
    rows_of = {row["id"]: row for row in ledger}
    lines = ["| place | what it says | known from | figures here | claims and verdicts |"]
    lines.append("|---|---|---|---|---|")
    for statement in statements:
        rows = [rows_of[name] for name in reached(statement, rows_of)]
        figures = dict.fromkeys([row["table"] for row in rows] + statement.get("figures", []))
        told = [words(pattern) for pattern in statement.get("claims", ())] + tallies(rows)
        if "claims" in statement and not rows:
            told.append("not judged yet: newer than the published run")
        if "reason" in statement:
            told.append(words(statement["reason"]))
        cells = (
            words(statement["place"]),
            words(statement["says"]),
            statement["certainty"],
            "<br>".join(code(figure) for figure in figures),
            "<br>".join(told),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
