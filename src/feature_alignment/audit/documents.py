"""Fill the generated parts of the README and the papers' pages from a ledger.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``. Names are
``figures`` for the table of figures and ``claims PAPER`` for the claims of one paper.
"""

import argparse
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from feature_alignment import command
from feature_alignment.audit.ledger import NOT_RUN, counts, interval, number
from feature_alignment.spec import read_yaml
from feature_alignment.storage import read_json, replacing, write_json, write_text
from feature_alignment.tables import meta_path

THUMBNAIL_WIDTH = 480

_PART = re.compile(
    r"(?P<open><!-- generated: (?P<name>[^\n]+?) -->\n).*?(?P<close><!-- end: (?P=name) -->)", re.S
)


def main(argv: Sequence[str] | None = None) -> None:
    """Publish a ledger, its tables and thumbnails, and fill the documents; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="ledger.json of a run")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="figures (PNG)")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables (CSV)")
    parser.add_argument("--titles", type=Path, required=True, help="titles of figures (YAML)")
    parser.add_argument("--published", type=Path, required=True, help="folder to publish in")
    parser.add_argument("--documents", type=Path, nargs="+", required=True, help="to be filled")
    arguments = parser.parse_args(argv)
    ledger = read_json(arguments.ledger)
    if any(row["scale"] == "smoke" for row in ledger):
        raise ValueError("expected results at scale laptop or paper; smoke is only a rehearsal")
    for table in arguments.tables:
        for source in (table, meta_path(table), table.with_suffix(".npz")):
            if source.exists():  # few figures show images
                target = arguments.published / "tables" / table.parent.name / source.name
                with replacing(target) as temporary:
                    shutil.copyfile(source, temporary)
    write_json(arguments.published / "ledger.json", ledger)
    for figure in arguments.figures:
        target = arguments.published / "thumbnails" / figure.parent.name / figure.name
        write_thumbnail(figure, target)
    titles = read_yaml(arguments.titles)
    for document in arguments.documents:
        text = document.read_text(encoding="utf-8")
        write_text(document, fill(text, ledger, titles, arguments.published.as_posix()))


def write_thumbnail(figure: Path, target: Path) -> None:
    """Write a small copy of a figure on a white ground."""
    with Image.open(figure) as image:
        flat = image.convert("RGB")
        height = round(flat.height * THUMBNAIL_WIDTH / flat.width)
        small = flat.resize((THUMBNAIL_WIDTH, height), Image.Resampling.LANCZOS)
        palette = small.quantize(64, dither=Image.Dither.NONE)
    with replacing(target) as temporary:
        palette.save(temporary, format="PNG", optimize=True)


def fill(text: str, ledger: Sequence[Mapping], titles: Mapping, published: str) -> str:
    """Return ``text`` with every generated part made anew.

    Args:
        text: A Markdown document.
        ledger: Rows of a ledger.
        titles: Titles by paper and figure.
        published: Folder of the published thumbnails, relative to the repository.

    Raises:
        ValueError: If the name of a part is unknown.
    """

    def part(match: re.Match) -> str:
        name = match["name"]
        if name == "figures":
            content = figure_table(ledger, titles, published)
        elif name.startswith("claims "):
            content = claim_table([row for row in ledger if row["paper"] == name.split()[1]])
        else:
            raise ValueError(f"unknown generated part {name!r}; expected 'figures' or 'claims KEY'")
        return f"{match['open']}{content}{match['close']}"

    return _PART.sub(part, text)


def figure_table(ledger: Sequence[Mapping], titles: Mapping, published: str) -> str:
    """Return the table of figures: thumbnail, what it shows, and its claims by verdict."""
    lines = ["| | figure | its claims |", "|---|---|---|"]
    for paper, figures in titles.items():
        for figure, title in figures.items():
            rows = [row for row in ledger if row["table"] == f"{paper}/{figure}"]
            image = f'<img src="{published}/thumbnails/{paper}/{figure}.png" width="240">'
            verdicts = counts(rows).replace(", ", "<br>")
            page = f"[`{paper}/{figure}`](docs/papers/{paper}.md)"
            lines.append(f"| {image} | {page}<br>{title} | {verdicts} |")
    scales = sorted({row["scale"] for row in ledger})
    lines += ["", f"Scale: {', '.join(scales)}. All claims: {counts(ledger)}."]
    return "\n".join(lines) + "\n"


def claim_table(rows: Sequence[Mapping]) -> str:
    """Return the table of claims, those that a reader must not miss first."""
    order = ("contradicted", "inconclusive", "supported", NOT_RUN)
    lines = ["| verdict | claim | estimate | 95 % interval | seeds |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: order.index(row["verdict"])):
        needs = f" (needs scale {row['needs']})" if row["verdict"] == NOT_RUN else ""
        cells = (
            row["verdict"] + needs,
            f"`{row['id']}`<br>{row['statement']}",
            number(row["estimate"]),
            interval(row),
            str(row["n"] or ""),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    command.run(main)
