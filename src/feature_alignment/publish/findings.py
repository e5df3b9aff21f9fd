"""What was found: a few sentences on each paper, under the heading that the ledger gives them.

``papers/<key>/findings.yaml`` has the sentences, with a placeholder for every number. A finding
names the claims that it rests on, and what their verdicts were when it was written: it stands,
falls, or is open. Numbers come from the published tables, headings from the ledger. Where the
verdicts have changed since, the sentences are replaced by the claims themselves, until somebody
writes new ones.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from feature_alignment.audit.criterion import (
    AT_THRESHOLD,
    CONTRADICTED,
    EQUIVALENT,
    NOT_RUN,
    OPEN,
    SUPPORTED,
    UNFIT,
)
from feature_alignment.audit.ledger import interval, number, remark
from feature_alignment.publish.markdown import code, words
from feature_alignment.publish.quotes import words_of
from feature_alignment.schema import read_schema, read_yaml, unknown, validate

STANDINGS = {
    "stands": (SUPPORTED, EQUIVALENT),
    "falls": (CONTRADICTED,),
    "open": (OPEN, AT_THRESHOLD, UNFIT, NOT_RUN),
}
"""The verdicts that the claims of a finding have, by what is said of it."""
HEADINGS = {"stands": "What stands", "falls": "What falls", "open": "What is open"}
PICTURE_WIDTH = 480

Row = Mapping


def read_findings(papers: Path) -> dict[str, list[dict]]:
    """Return the findings about every paper that has a list of them, by its key.

    Args:
        papers: The folder of the papers, next to ``workflow/schemas``.

    Raises:
        ValueError: If a list does not fit the schema.
    """
    schemas = papers.parent / "workflow" / "schemas"
    form, numbers = (
        read_schema(schemas / f"{name}.schema.yaml") for name in ("findings", "quotes")
    )
    found = {}
    for path in sorted(papers.glob("*/findings.yaml")):
        content = read_yaml(path)
        validate(content, form, str(path))
        quoted = [
            {"quote": finding["says"], "numbers": finding["numbers"]}
            for finding in content
            if "numbers" in finding
        ]
        if quoted:
            validate(quoted, numbers, str(path))
        found[path.parent.name] = content
    return found


def page_titles(papers: Path) -> dict[str, str]:
    """Return the first heading of each paper's page, by the paper's key."""
    pages = sorted(papers.glob("*/README.md"))
    return {
        page.parent.name: page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        for page in pages
    }


def standing(rows: Sequence[Row]) -> str | None:
    """Return what the verdicts on some claims amount to; nothing where they disagree."""
    found = {
        name for row in rows for name, verdicts in STANDINGS.items() if row["verdict"] in verdicts
    }
    return found.pop() if len(found) == 1 else None


def rows_of(finding: Mapping, ledger: Mapping[str, Row]) -> list[Row]:
    """Return the ledger's rows of the claims that a finding rests on.

    Args:
        finding: A finding.
        ledger: Rows by the id of the claim.

    Raises:
        ValueError: If there is no such claim.
    """
    for name in finding["claims"]:
        if name not in ledger:
            problem = unknown(name, ledger, "claim")
            raise ValueError(f"findings.yaml, {finding['title']!r}: {problem}")
    return [ledger[name] for name in finding["claims"]]


def text_of(finding: Mapping, rows: Sequence[Row], reference: Path) -> str:
    """Return a finding's words with its numbers, or its claims' where the verdicts have changed.

    Args:
        finding: A finding.
        rows: The ledger's rows of its claims.
        reference: Folder with ``<scale>/tables`` and ``<scale>/ledger.json``.

    Raises:
        ValueError: If a number cannot be had from the published results.
    """
    if standing(rows) != finding["standing"]:
        return "; ".join(f"{words(row['statement'])} (*{row['verdict']}*)" for row in rows)
    if "numbers" not in finding:
        return words(finding["says"])
    return words(words_of({"quote": finding["says"], "numbers": finding["numbers"]}, reference))


def in_short(
    findings: Mapping[str, Sequence[Mapping]],
    titles: Mapping[str, str],
    ledger: Mapping[str, Row],
    reference: Path,
    root: str,
) -> str:
    """Return a line on each paper: the finding that is to be read first, and what became of it."""
    lines = []
    for paper, own in findings.items():
        for finding in own:
            if finding.get("first"):
                rows = rows_of(finding, ledger)
                text = text_of(finding, rows, reference)
                page = f"[{words(titles[paper])}]({root}papers/{quote(paper)}/README.md)"
                became = (standing(rows) or "verdicts differ").capitalize()
                lines.append(f"- *{became}:* **{words(finding['title'])}.** {text} ({page})")
    return "\n".join(lines) + "\n"


def chapters(
    findings: Mapping[str, Sequence[Mapping]],
    titles: Mapping[str, str],
    ledger: Mapping[str, Row],
    reference: Path,
    folder: str,
    root: str,
) -> str:
    """Return every finding with its picture and its claims, under the heading of its standing.

    Args:
        findings: By paper.
        titles: Titles by paper.
        ledger: Rows by the id of the claim.
        reference: Folder of the published results, for the numbers.
        folder: The published results of the pictures, relative to the repository.
        root: The way from the document to the repository.
    """
    parts: dict[str | None, list[str]] = {name: [] for name in (*STANDINGS, None)}
    for paper, own in findings.items():
        for finding in own:
            rows = rows_of(finding, ledger)
            text = text_of(finding, rows, reference)
            place = quote(f"{paper}/{finding['figure']}")
            small, whole = (
                f"{root}{folder}/{copies}/{place}.png" for copies in ("thumbnails", "pictures")
            )
            page = f"{root}papers/{quote(paper)}/README.md"
            table = f"{root}{folder}/tables/{place}"
            parts[standing(rows)].append(
                f"### {words(finding['title'])}\n\n{text}\n\n"
                f'[<img src="{small}" width="{PICTURE_WIDTH}"'
                f' alt="{html.escape(finding["shows"])}">]({whole})\n\n'
                + "".join(f"- {_claim(row, page)}\n" for row in rows)
                + f"\nFrom [{words(titles[paper])}]({page});"
                f" [the table]({table}.csv) and [how it was made]({table}.meta.json).\n"
            )
    told = {**HEADINGS, None: "Where verdicts differ"}
    return "\n".join(f"## {told[name]}\n\n" + "\n".join(own) for name, own in parts.items() if own)


def _claim(row: Row, page: str) -> str:
    """Return a line on a claim: what it says, its place on the paper's page, and its verdict."""
    name = f"[{code(row['id'])}]({page}#{anchor(row['id'])})"
    return f"{words(row['statement'])} {name}: **{row['verdict']}**{found(row)}"


def found(row: Row) -> str:
    """Return what a verdict rests on, such as ``: 1.2 (0.9 to 1.6), 3 seeds``; empty if nothing."""
    told = (
        f"{number(row['estimate'])} ({interval(row)})" if interval(row) else number(row["estimate"])
    )
    seeds = f"{row['n']} seeds" if row["seeds"] else ""
    parts = ", ".join(filter(None, (told, seeds, words(remark(row)))))
    return f": {parts}" if parts else ""


def anchor(claim: str) -> str:
    """Return the name of a claim's place on its paper's page."""
    return f"claim-{quote(claim, safe='')}"
