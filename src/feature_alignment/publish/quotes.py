"""Check that the numbers in a page's prose are those of the published results.

Next to the page ``papers/<key>/README.md`` there is ``quotes.yaml``. It repeats the page's words
with a placeholder for every number, and says from which published table or claim the number
comes. Put in, the words must stand in the page. So a number that a new run changes is found, and
whoever mends it reads the sentence again. Every decimal fraction and percentage in the prose must
be in a quote: of results, or of what comes from the paper, the settings or a definition.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from feature_alignment import command
from feature_alignment.audit import condition
from feature_alignment.integrity import read_verified
from feature_alignment.run.spec import read_yaml, validate
from feature_alignment.sweep import combinations, filled
from feature_alignment.tables import read_table

_GENERATED = re.compile(r"<!-- generated: (?P<name>[^\n]+?) -->\n.*?<!-- end: (?P=name) -->", re.S)
_CODE = re.compile(r"`[^`]*`|\]\([^)]*\)")
_PLACEHOLDER = re.compile(r"\{(?::((?:\.\d)?[efg]))?\}")
_FIGURES = re.compile(r"(?<![\w.])-?\d*\.\d+(?![\w.]*\d)|(?<![\w.])\d+(?= ?%)")


def main(argv: Sequence[str] | None = None) -> None:
    """Check every page and list what does not hold; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--papers", type=Path, required=True, help="folder of the papers")
    parser.add_argument("--schema", type=Path, required=True, help="schema of quotes")
    parser.add_argument("--published", type=Path, required=True, help="reference/")
    arguments = parser.parse_args(argv)
    schema = read_yaml(arguments.schema)
    pages = sorted(arguments.papers.glob("*/README.md"))
    problems = []
    for page in pages:
        path = page.with_name("quotes.yaml")
        quotes = read_yaml(path)
        validate(quotes, schema, str(path))
        text = page.read_text(encoding="utf-8")
        problems += [f"{page}: {found}" for found in check(text, quotes, arguments.published)]
    if problems:
        raise ValueError("pages and published results differ:\n  " + "\n  ".join(problems))
    print(f"{len(pages)} pages quote the published results")


def check(page: str, quotes: Sequence[Mapping], published: Path) -> list[str]:
    """Return what does not hold in a page: quotes that are not there, numbers in no quote.

    Args:
        page: Markdown; its generated parts are passed over.
        quotes: Entries that fit ``quotes.schema.yaml``.
        published: Folder with ``<scale>/tables`` and ``<scale>/ledger.json``.

    Raises:
        ValueError: If a number cannot be had from the results.
    """
    text = plain(_GENERATED.sub("", page))
    covered = [False] * len(text)
    problems = []
    for entry in quotes:
        words = plain(words_of(entry, published))
        places = [match.start() for match in re.finditer(re.escape(words), text)]
        if not places:
            problems.append(f"expected {words!r}; the page does not say so")
        for place in places:
            covered[place : place + len(words)] = [True] * len(words)
    prose = _CODE.sub(lambda match: " " * len(match[0]), text)
    for match in _FIGURES.finditer(prose):
        if not all(covered[match.start() : match.end()]):
            around = text[max(0, match.start() - 40) : match.end() + 20]
            problems.append(f"no quote says where {match[0]} comes from: …{around}…")
    return problems


def words_of(entry: Mapping, published: Path) -> str:
    """Return the words of a quote with its numbers put in.

    Raises:
        ValueError: If there are more or fewer placeholders than numbers, or a number fails.
    """
    if "source" in entry:
        return entry["quote"]
    try:
        numbers = [one for number in entry["numbers"] for one in repeated(number)]
        values = [value_of(number, published) for number in numbers]
        return _filled(entry["quote"], values)
    except (ValueError, OSError) as error:
        raise ValueError(f"quote {entry['quote']!r}: {error}") from error


def _filled(quote: str, values: Sequence[float]) -> str:
    """Return a quote with values put in, as its placeholders ``{}`` and ``{:.2f}`` say."""
    between = _PLACEHOLDER.split(quote)
    texts, formats = between[::2], between[1::2]
    if any(brace in text for text in texts for brace in "{}"):
        raise ValueError("expected no braces but {} and such as {:.2f}")
    if len(formats) != len(values):
        raise ValueError(f"expected as many placeholders as numbers, {len(values)}")
    told = [format(value, how or "") for value, how in zip(values, formats, strict=True)]
    return texts[0] + "".join(map("".join, zip(told, texts[1:], strict=True)))


def repeated(number: Mapping) -> list[Mapping]:
    """Return the numbers that an entry stands for: one for each of its values, and statistics.

    Raises:
        ValueError: If the values of ``each`` do not go together.
    """
    body = {key: part for key, part in number.items() if key != "each"}
    chosen = combinations(number["each"], "each") if "each" in number else [{}]
    takes = body.get("take")
    if not isinstance(takes, list):
        return [filled(body, values) for values in chosen]
    return [filled({**body, "take": take}, values) for values in chosen for take in takes]


def value_of(number: Mapping, published: Path) -> float:
    """Return a number: a field of a claim's result, or a statistic of rows of a table.

    Rows are averaged within the groups of ``by``; ``minus`` or ``over`` pairs them with other
    rows, averaged alike; ``take`` reduces what is left.

    Raises:
        ValueError: If there is no such claim, no such row, or no value.
    """
    results = published / number.get("scale", "laptop")
    if "claim" in number:
        ledger = {row["id"]: row for row in read_verified(results / "ledger.json")}
        if number["claim"] not in ledger:
            raise ValueError(f"there is no claim {number['claim']!r}")
        value = ledger[number["claim"]][number["field"]]
        if value is None:
            raise ValueError(f"claim {number['claim']} has no {number['field']}")
    else:
        values = _selected(number, number, results)
        if "minus" in number:
            values = values - _selected(number["minus"], number, results)
        if "over" in number:
            values = values / _selected(number["over"], number, results)
        if values.isna().any():
            raise ValueError(f"some values have no partner or are missing: {values.to_dict()}")
        value = {"sd": values.std, "count": values.count}.get(
            number["take"], lambda: values.agg(number["take"])
        )()
    value = value * number.get("times", 1)
    return round(value / number["nearest"]) * number["nearest"] if "nearest" in number else value


def _selected(operand: Mapping, number: Mapping, results: Path) -> pd.Series:
    path = results / "tables" / f"{operand.get('table', number['table'])}.csv"
    rows = select(read_table(path), operand["where"])
    if rows.empty:
        raise ValueError(f"{path} has no rows where {operand['where']}")
    missing = set(number.get("by", ())) - set(rows)
    if missing:
        raise ValueError(f"{path} has no column {missing.pop()!r}; it has: {', '.join(rows)}")
    if number.get("by"):
        return rows.groupby(number["by"], dropna=False)["value"].mean()
    paired = "minus" in number or "over" in number
    return pd.Series([rows["value"].mean()]) if paired else rows["value"]


def select(table: pd.DataFrame, where: str | Mapping) -> pd.DataFrame:
    """Return the rows of a table that a condition or a mapping from column to value selects.

    A condition is a string, in the form of :mod:`feature_alignment.audit.condition`.

    In a mapping a list allows several values, ``null`` selects empty cells, and ``first`` or
    ``last`` of ``epoch`` or ``step`` selects those of every run and seed among the other rows.

    Raises:
        ValueError: If there is no such column, or the condition is not one.
    """
    if isinstance(where, str):
        return condition.select(table, where)
    unknown = sorted(set(where) - set(table))
    if unknown:
        raise ValueError(f"no column {unknown[0]!r}; the table has: {', '.join(table)}")
    ends = {column: value for column, value in where.items() if value in ("first", "last")}
    for column, value in where.items():
        if column not in ends:
            allowed = value if isinstance(value, list) else [value]
            table = table[table[column].isin(allowed) | (table[column].isna() & (None in allowed))]
    for column, end in ends.items():
        along = table.groupby(["run", "seed"], dropna=False)[column]
        table = table[table[column] == along.transform("min" if end == "first" else "max")]
    return table


def plain(text: str) -> str:
    """Return text with one way to write a number: ``-.5``, ``1200``, and single spaces."""
    text = re.sub(r"\s+", " ", text.replace("\N{MINUS SIGN}", "-"))
    text = re.sub(r"(?<![\d.])0(?=\.\d)", "", text)
    return re.sub(r"(?<=\d) (?=\d{3}(?!\d))", "", text)


if __name__ == "__main__":
    command.run(main)
