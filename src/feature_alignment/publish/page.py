"""Write the ledger as one HTML file: to read, sort, filter and share.

It needs nothing else, unless its figures are linked because they lie beside it anyway.
"""

import argparse
import base64
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import jinja2

from feature_alignment import command
from feature_alignment.audit.claims import CLASSES
from feature_alignment.audit.criterion import VERDICTS
from feature_alignment.audit.ledger import interval, number, read_ledger, remark
from feature_alignment.publish.interval import drawing
from feature_alignment.publish.scales import across, strongest
from feature_alignment.publish.thumbnails import thumbnail
from feature_alignment.run.spec import figure_titles
from feature_alignment.storage import write_text

FIGURE_WIDTH = 640


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="ledger (JSON)")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="figures (PNG)")
    parser.add_argument("--papers", type=Path, nargs="+", required=True, help="papers (YAML)")
    parser.add_argument(
        "--others", type=Path, nargs="*", default=[], help="published ledgers of other scales"
    )
    parser.add_argument(
        "--linked", action="store_true", help="show figures from where they lie, embed none"
    )
    parser.add_argument("--threads", type=int, default=1, help="figures embedded at once")
    parser.add_argument("--out", type=Path, required=True, help="page to write (HTML)")
    arguments = parser.parse_args(argv)
    figures = {f"{path.parent.name}/{path.stem}": path for path in arguments.figures}
    titles = figure_titles(arguments.papers)
    links = {
        name: quote(Path(os.path.relpath(path, arguments.out.parent)).as_posix())
        for name, path in figures.items()
    }
    embedded = {} if arguments.linked else figures
    with ThreadPoolExecutor(arguments.threads) as threads:
        images = links | dict(zip(embedded, threads.map(_data_uri, embedded.values()), strict=True))
    others = [read_ledger(path) for path in arguments.others]
    text = page(read_ledger(arguments.ledger), titles, images, links, others)
    write_text(arguments.out, text)


def _data_uri(figure: Path) -> str:
    stream = io.BytesIO()
    thumbnail(figure, FIGURE_WIDTH).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def page(
    ledger: Sequence[Mapping],
    titles: Mapping[str, Mapping[str, str]],
    images: Mapping[str, str],
    links: Mapping[str, str],
    others: Sequence[Sequence[Mapping]] = (),
) -> str:
    """Return the ledger as an HTML page.

    Args:
        ledger: Rows of a ledger.
        titles: Titles by paper and figure.
        images: What to show of a figure, as a URI, by ``paper/figure``.
        links: Where the whole figure lies, as a URL relative to the page, by the same name.
        others: Ledgers of other scales, whose verdicts on the same claims are shown too.

    Raises:
        ValueError: If a claim's figure has no title or image.
    """
    named = {f"{paper}/{name}": title for paper, of in titles.items() for name, title in of.items()}
    for row in ledger:
        for known, what in ((named, "a title"), (images, "an image")):
            if row["table"] not in known and row["table_sha256"]:
                raise ValueError(f"claim {row['id']}: expected {what} of figure {row['table']}")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: "" if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "interval": interval,
        "remark": remark,
        "drawing": drawing,
    }
    ledgers = {rows[0]["scale"]: rows for rows in (*others, ledger) if rows}
    compared = {name: rows for name, rows in across(ledgers).items() if len(rows) > 1}
    kinds = Counter(row["class"] for row in ledger)
    return environment.from_string(_template("ledger.html")).render(
        style=_template("ledger.css"),
        script=_template("ledger.js"),
        compared=compared,
        strongest={name: strongest(rows) for name, rows in compared.items()},
        scales=sorted({row["scale"] for row in ledger}),
        verdicts=dict.fromkeys(VERDICTS, 0) | Counter(row["verdict"] for row in ledger),
        classes={kind: count for kind in CLASSES if (count := kinds[kind])},
        tallies={
            kind: {
                verdict: count
                for verdict in VERDICTS
                if (
                    count := sum(
                        (row["class"], row["verdict"]) == (kind, verdict) for row in ledger
                    )
                )
            }
            for kind in CLASSES
            if kinds[kind]
        },
        papers=Counter(row["paper"] for row in ledger),
        ledger=ledger,
        figures=[
            {"name": name, "title": named[name], "image": images[name], "link": links[name]}
            for name in dict.fromkeys(row["table"] for row in ledger if row["table_sha256"])
        ],
    )


def _template(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


if __name__ == "__main__":
    command.run(main)
