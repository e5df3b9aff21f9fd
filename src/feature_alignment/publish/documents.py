"""Publish a run, and fill the generated parts of the README and of the pages from what it left.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``. Names are
``run`` for what made the published results, ``findings`` for what was found and ``findings in
short`` for a line on each paper, ``verdicts`` for the claims of each paper by class and verdict, at
the scale where that is the strongest, ``verdicts in short`` for those of all papers, ``scales`` for
the same at every scale, ``verdicts at this scale`` for one, ``supports`` for what the supported
claims of class ``paper`` were compared with, ``confirmation`` for the verdicts on the seeds that
were looked at while claims were written next to those on new ones, ``figures`` for the table of
figures, ``claims PAPER`` for the claims of one paper, ``pictures PAPER`` for its figures,
``statements PAPER`` for what it says and where that is judged, and ``whole run``, ``slowest jobs``
and ``figure costs`` for what the run cost.
"""

import argparse
import html
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import pandas as pd

from feature_alignment import command
from feature_alignment.audit.claims import CLASSES
from feature_alignment.audit.criterion import (
    AT_THRESHOLD,
    CONTRADICTED,
    EQUIVALENT,
    NOT_RUN,
    OPEN,
    SUPPORTED,
    UNFIT,
    VERDICTS,
)
from feature_alignment.audit.ledger import interval, number, read_ledger, remark, tallies
from feature_alignment.evidence import read_evidence
from feature_alignment.integrity import verify
from feature_alignment.publish.costs import TOTAL, read_costs, read_jobs, slowest, summary
from feature_alignment.publish.findings import (
    anchor,
    chapters,
    found,
    in_short,
    page_titles,
    read_findings,
)
from feature_alignment.publish.markdown import code, words
from feature_alignment.publish.overview import save_overview
from feature_alignment.publish.pictures import publish_pictures
from feature_alignment.publish.scales import (
    REHEARSAL,
    across,
    published_ledgers,
    strongest,
    strongest_rows,
)
from feature_alignment.publish.statements import read_statements, statement_table
from feature_alignment.run.spec import figure_titles
from feature_alignment.storage import replacing, write_json, write_text
from feature_alignment.tables import meta_path

MAIN = "laptop"
"""The scale that the README and the pages show; another has a page of its own, its README."""
PAGE = """# Results at scale {scale}

<!-- generated: run -->
<!-- end: run -->

<!-- generated: verdicts at this scale -->
<!-- end: verdicts at this scale -->

<!-- generated: figures -->
<!-- end: figures -->

<!-- generated: figure costs -->
<!-- end: figure costs -->
"""
EXPLORATION = "exploration"
"""The folder of the results on seeds that were looked at while claims were written."""
SLOWEST = 10

_PART = re.compile(
    r"(?P<open><!-- generated: (?P<name>[^\n]+?) -->\n).*?(?P<close><!-- end: (?P=name) -->)", re.S
)


def main(argv: Sequence[str] | None = None) -> None:
    """Publish a run and fill the documents; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="ledger.json of a run")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="figures (PNG)")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables (CSV)")
    parser.add_argument("--costs", type=Path, required=True, help="costs.tsv of a run")
    parser.add_argument(
        "--jobs", type=Path, nargs="*", default=[], help="jobs.tsv of a run that took no other runs"
    )
    parser.add_argument("--papers", type=Path, required=True, help="folder of the papers")
    parser.add_argument("--published", type=Path, required=True, help="folder to publish in")
    parser.add_argument("--documents", type=Path, nargs="+", required=True, help="to be filled")
    arguments = parser.parse_args(argv)
    ledger = read_ledger(arguments.ledger)
    if any(row["scale"] == REHEARSAL for row in ledger):
        raise ValueError(
            "expected results at scale laptop or above; smoke is only a rehearsal, whose tables"
            " `make publish-smoke` publishes"
        )
    for table in arguments.tables:  # before anything is published
        read_evidence(table, figure=f"{table.parent.name}/{table.stem}")
    folder = arguments.published
    for table in arguments.tables:
        for source in (table, meta_path(table), table.with_suffix(".npz")):
            if source.exists():  # few figures show images
                verify(source)
                copy(source, folder / "tables" / table.parent.name / source.name)
    copy(arguments.costs, folder / "costs.tsv")
    for jobs in arguments.jobs:
        copy(jobs, folder / "jobs.tsv")
    write_json(folder / "ledger.json", ledger)
    publish_pictures(arguments.figures, folder)
    save_overview(folder, arguments.papers)
    published = Published.read(folder, arguments.papers)
    if folder.name != MAIN:
        own = replace(published, root="../../")
        write_text(folder / "README.md", fill(PAGE.format(scale=folder.name), own))
        if (folder.parent / MAIN / "ledger.json").is_file():
            published = Published.read(folder.parent / MAIN, arguments.papers)
    for document in arguments.documents:
        own = replace(published, root=way(document, arguments.papers.parent))
        write_text(document, fill(document.read_text(encoding="utf-8"), own))


def way(document: Path, repository: Path) -> str:
    """Return the way from a document to the repository's root, as links begin with it."""
    steps = os.path.relpath(repository.resolve(), document.resolve().parent)
    return "" if steps == os.curdir else f"{Path(steps).as_posix()}/"


def copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


@dataclass(frozen=True)
class Published:
    """What is published of a run.

    Attributes:
        folder: Where, relative to the repository.
        titles: Titles by paper and figure.
        ledger: Rows of the ledger.
        costs: Costs per figure.
        jobs: Costs per job; none where runs were taken from an archive.
        made: Provenance by ``paper/figure``.
        ledgers: Rows of the ledgers of all published scales, this one's among them.
        explored: Rows of the ledger of the seeds that were looked at while claims were written.
        root: The way from the document to the repository's root.
        statements: What each paper says, by its key.
        findings: What was found about each paper, by its key.
        pages: The title of each paper's page, by the paper's key.
        reference: The folder of what is published of all scales.
    """

    folder: str
    titles: Mapping[str, Mapping[str, str]]
    ledger: Sequence[Mapping]
    costs: pd.DataFrame
    jobs: pd.DataFrame | None
    made: Mapping[str, Mapping]
    ledgers: Mapping[str, Sequence[Mapping]]
    explored: Sequence[Mapping] = ()
    root: str = ""
    statements: Mapping[str, Sequence[Mapping]] = field(default_factory=dict)
    findings: Mapping[str, Sequence[Mapping]] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)
    reference: Path = Path("reference")

    @classmethod
    def read(cls, folder: Path, papers: Path) -> "Published":
        """Read what is published in a folder ``…/reference/<scale>``.

        Raises:
            ValueError: If a file is malformed, or a table is not what its provenance says.
        """
        ledgers = published_ledgers(folder.parent)
        paths = sorted((folder / "tables").glob("*/*.csv"))
        tables = {f"{path.parent.name}/{path.stem}": path for path in paths}
        explored = folder.parent / EXPLORATION / "ledger.json"
        return cls(
            folder="/".join(folder.parts[-2:]),
            titles=figure_titles(sorted(papers.glob("*/paper.yaml"))),
            ledger=ledgers[folder.name],
            ledgers=ledgers,
            costs=read_costs(folder / "costs.tsv"),
            jobs=read_jobs(folder / "jobs.tsv") if (folder / "jobs.tsv").is_file() else None,
            made={name: read_evidence(table, figure=name)[1] for name, table in tables.items()},
            explored=read_ledger(explored) if explored.is_file() else (),
            statements=read_statements(papers),
            findings=read_findings(papers),
            pages=page_titles(papers),
            reference=folder.parent,
        )


def fill(text: str, published: Published) -> str:
    """Return a Markdown document with every generated part made anew.

    Raises:
        ValueError: If the name of a part is unknown.
    """
    parts = {
        "run": run_line,
        "findings": all_findings,
        "findings in short": first_findings,
        "verdicts": verdict_table,
        "verdicts in short": verdict_counts,
        "verdicts at this scale": verdicts_here,
        "scales": scale_table,
        "supports": support_table,
        "confirmation": confirmation_table,
        "figures": figure_table,
        "whole run": run_costs,
        "slowest jobs": slowest_jobs,
        "figure costs": figure_costs,
    }

    def part(match: re.Match) -> str:
        name = match["name"]
        if name in parts:
            content = parts[name](published)
        elif name.startswith("claims "):
            paper = name.split()[1]
            rows = [row for row in published.ledger if row["paper"] == paper]
            content = claim_table(rows, across(published.ledgers))
        elif name.startswith("pictures "):
            content = picture_table(name.split()[1], published)
        elif name.startswith("statements "):
            content = statement_table(published.statements[name.split()[1]], published.ledger)
        else:
            known = ", ".join(
                [*map(repr, parts), "'claims KEY'", "'pictures KEY'", "'statements KEY'"]
            )
            raise ValueError(f"unknown generated part {name!r}; expected one of {known}")
        return f"{match['open']}{content}{match['close']}"

    return _PART.sub(part, text)


def run_line(published: Published) -> str:
    """Return a sentence on the commits and packages that made the published tables."""
    return origin(published.folder, list(published.made.values()))


def origin(folder: str, metas: Sequence[Mapping]) -> str:
    """Return a sentence on the commits and packages that made the tables in a folder.

    Args:
        folder: Where they are, relative to the repository.
        metas: Their provenance.
    """
    commits = {_commit(made["git"]) for meta in metas for made in (meta, *meta.get("runs", ()))}
    packages = {f"{name} {meta['packages'][name]}" for meta in metas for name in ("torch", "numpy")}
    systems = {f"Python {meta['python']} on {meta['platform']}" for meta in metas}
    made = ", ".join([*sorted(packages, reverse=True), *sorted(systems)])
    processors = {made.get("processor") for meta in metas for made in meta.get("runs", ())}
    if processors := processors - {None}:
        made += f"; processors: {', '.join(sorted(processors))}"
    by = "commit " if len(commits) == 1 else f"{len(commits)} commits: "
    by += ", ".join(sorted(commits))
    tables = f"The {len(metas)} tables in {code(folder)}"
    return f"{tables} were made by {by}; {words(made)}.\n"


def _commit(state: Mapping) -> str:
    if state["commit"] is None:
        return f"unknown ({words(state.get('note', 'git told nothing of the source'))})"
    tag = f" ({words(state['tag'])})" if state.get("tag") else ""
    return code(state["commit"][:12]) + tag + (" with changes" if state["dirty"] else "")


def all_findings(published: Published) -> str:
    """Return every finding with its picture and claims: what stands, what falls, what is open."""
    ledger = {row["id"]: row for row in strongest_rows(published.ledgers)}
    return chapters(
        published.findings,
        published.pages,
        ledger,
        published.reference,
        published.folder,
        published.root,
    )


def first_findings(published: Published) -> str:
    """Return a line on each paper, with the finding that is to be read first."""
    ledger = {row["id"]: row for row in strongest_rows(published.ledgers)}
    return in_short(
        published.findings, published.pages, ledger, published.reference, published.root
    )


MEANINGS = {
    "paper": "said by a paper",
    "ours": "asked by us",
    "identity": "true by algebra",
    "check": "is a run fit to be judged?",
}
"""What a claim of each class is, in a few words."""


def verdict_counts(published: Published) -> str:
    """Return how many claims of each class got which verdict, each its strongest."""
    lines = [f"| claims | {' | '.join(VERDICTS)} | all |", "|---|" + "---|" * (len(VERDICTS) + 1)]
    strong = strongest_rows(published.ledgers)
    for kind in CLASSES:
        if rows := [row for row in strong if row["class"] == kind]:
            lines.append(f"| {MEANINGS[kind]} {_counted(rows)}")
    return "\n".join(lines) + "\n"


def verdict_table(published: Published) -> str:
    """Return how many claims of each paper and class got which verdict, each its strongest."""
    return _verdicts(strongest_rows(published.ledgers), published)


def verdicts_here(published: Published) -> str:
    """Return how many claims of each paper and class got which verdict at one scale."""
    return _verdicts(published.ledger, published)


def scale_table(published: Published) -> str:
    """Return how many claims of the papers and of ours got which verdict at each scale."""
    lines = [f"| scale | class | {' | '.join(VERDICTS)} | claims |"]
    lines.append("|---|---|" + "---|" * (len(VERDICTS) + 1))
    strong = {"the strongest": strongest_rows(published.ledgers)}
    for scale, ledger in {**published.ledgers, **strong}.items():
        for kind in ("paper", "ours"):
            rows = [row for row in ledger if row["class"] == kind]
            lines.append(f"| {scale} | {kind} {_counted(rows)}")
    return "\n".join(lines) + "\n"


def _verdicts(ledger: Sequence[Mapping], published: Published) -> str:
    lines = [f"| | class | {' | '.join(VERDICTS)} | claims |"]
    lines.append("|---|---|" + "---|" * (len(VERDICTS) + 1))
    for kind in CLASSES:
        of = [row for row in ledger if row["class"] == kind]
        for paper in published.titles:
            rows = [row for row in of if row["paper"] == paper]
            if rows:
                page = f"[{code(paper)}]({published.root}papers/{quote(paper)}/README.md)"
                lines.append(f"| {page} | {kind} {_counted(rows)}")
        if of:
            lines.append(f"| all | {kind} {_counted(of)}")
    return "\n".join(lines) + "\n"


def _counted(rows: Sequence[Mapping]) -> str:
    counts = [sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS]
    return "".join(f"| {count} " for count in [*counts, len(rows)]) + "|"


def support_table(published: Published) -> str:
    """Return the supported claims of class ``paper``, with what they had to beat and whether."""
    rows = [
        row
        for row in published.ledger
        if row["class"] == "paper" and row["verdict"] in (SUPPORTED, EQUIVALENT)
    ]
    holding = sum(other["holds"] for row in rows for other in row["beaten"].values())
    lines = [
        f"Of {len(rows)} supports of class paper, {holding} hold in the untrained network or in"
        " their control.",
        "",
        "| claim | untrained network | control |",
        "|---|---|---|",
    ]
    for row in rows:
        cells = [_reference(row, name) for name in ("untrained", "control")]
        lines.append(f"| {code(row['id'])} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _reference(row: Mapping, name: str) -> str:
    if name not in row["beaten"]:
        return words(row[name] or "none")
    beaten = row["beaten"][name]
    held = "holds" if beaten["holds"] else "does not hold"
    return f"{held} there, {'beaten' if beaten['beaten'] else 'not beaten'}: {code(row[name])}"


def confirmation_table(published: Published) -> str:
    """Return the verdicts on seeds that were looked at before, on new ones, and what changed."""
    new = {row["id"]: row for row in published.ledger}
    pairs = [(row, new[row["id"]]) for row in published.explored if row["id"] in new]
    lines = [f"| class | seeds | {' | '.join(VERDICTS)} | claims |"]
    lines.append("|---|---|" + "---|" * (len(VERDICTS) + 1))
    for kind in CLASSES:
        for place, phase in enumerate(("exploration", "confirmation")):
            of = [pair[place] for pair in pairs if pair[place]["class"] == kind]
            if of:
                lines.append(f"| {kind} | {phase} {_counted(of)}")
    lines += ["", "| claim | class | exploration | confirmation |", "|---|---|---|---|"]
    for old, row in pairs:
        if old["verdict"] != row["verdict"]:
            told = (f"{one['verdict']}{found(one)}" for one in (old, row))
            cells = (code(row["id"]), row["class"], *told)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def figure_table(published: Published) -> str:
    """Return the table of figures: thumbnail, what it shows, its claims by verdict, its cost."""
    lines = ["| | figure | its claims | core-minutes |", "|---|---|---|---|"]
    costs = published.costs.set_index(["paper", "figure"])["core_minutes"].to_dict()
    for paper, figures in published.titles.items():
        for figure, title in figures.items():
            rows = [row for row in published.ledger if row["table"] == f"{paper}/{figure}"]
            image, notes = "not yet", ""
            if made := published.made.get(f"{paper}/{figure}"):
                path = quote(f"{published.folder}/thumbnails/{paper}/{figure}.png")
                source = published.root + path
                image = f'<img src="{source}" width="240" alt="{html.escape(figure)}">'
                notes = "".join(f"<br>{words(note)}" for note in made.get("notes", ()))
            verdicts = "<br>".join(tallies(rows))
            home = f"{published.root}papers/{quote(paper)}/README.md"
            page = f"[{code(f'{paper}/{figure}')}]({home})"
            cost = f"{costs[paper, figure]:.1f}" if (paper, figure) in costs else ""
            lines.append(f"| {image} | {page}<br>{words(title)}{notes} | {verdicts} | {cost} |")
    scales = sorted({row["scale"] for row in published.ledger})
    lines += [
        "",
        f"Scale: {', '.join(scales)}. All claims: {'; '.join(tallies(published.ledger))}.",
    ]
    return "\n".join(lines) + "\n"


def picture_table(paper: str, published: Published) -> str:
    """Return a table of the published figures of a paper, each a link to the whole picture."""
    lines = ["| figure | what it shows |", "|---|---|"]
    for figure, title in published.titles[paper].items():
        if f"{paper}/{figure}" in published.made:
            small, whole = (
                quote(f"../../{published.folder}/{copies}/{paper}/{figure}.png")
                for copies in ("thumbnails", "pictures")
            )
            image = f'<img src="{small}" width="360" alt="{html.escape(figure)}">'
            lines.append(f"| [{image}]({whole}) | {code(figure)}<br>{words(title)} |")
    return "\n".join(lines) + "\n"


def run_costs(published: Published) -> str:
    """Return a sentence on the time and memory of the whole run."""
    if published.jobs is None:
        return "Not measured: runs were taken from the archive.\n"
    of = summary(published.jobs)
    text = (
        f"{of['jobs']} jobs, at most {of['at_once']} at a time, took {of['wall_minutes']:.1f}"
        f" minutes of wall time from the first one's start to the last one's end"
    )
    if of["busy_minutes"] < of["wall_minutes"]:
        text += f", in {of['busy_minutes']:.1f} of which some job ran"
    return (
        f"{text}; together {of['core_minutes']:.0f} core-minutes. The largest job had"
        f" {of['memory_mib']:,} MiB of memory, jobs that ran at the same time"
        f" {of['memory_together_mib']:,} MiB at most.\n"
    )


def slowest_jobs(published: Published) -> str:
    """Return the table of the jobs that took longest."""
    lines = ["| job | seconds | CPU seconds | memory (MiB) |", "|---|---|---|---|"]
    for job in slowest(published.jobs, SLOWEST) if published.jobs is not None else ():
        cells = (f"{job[name]:.0f}" for name in ("seconds", "cpu_seconds", "memory_mib"))
        lines.append(f"| {code(job['job'])} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def figure_costs(published: Published) -> str:
    """Return the table of what each figure and paper cost."""
    lines = ["| figure | jobs | core-minutes |", "|---|---|---|"]
    for row in published.costs.itertuples():
        total = row.figure == TOTAL
        name = f"**{words(row.paper)}**" if total else code(f"{row.paper}/{row.figure}")
        lines.append(f"| {name} | {row.jobs} | {row.core_minutes:.1f} |")
    return "\n".join(lines) + "\n"


def claim_table(
    rows: Sequence[Mapping], compared: Mapping[str, Mapping[str, Mapping]] = MappingProxyType({})
) -> str:
    """Return the table of claims, by class, those that a reader must not miss first.

    Args:
        rows: Rows of the ledger of one scale.
        compared: Rows by scale, by claim; where there are several, the verdict at each is told, the
            strongest in bold.
    """
    lines = [
        "| class | verdict | claim | estimate | 95 % interval | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (CLASSES.index(row["class"]), severity(row))):
        more = f"<br>{words(remark(row))}" if remark(row) else ""
        cells = (
            row["class"],
            (_at_scales(compared.get(row["id"], {})) or row["verdict"]) + more,
            f'<a id="{anchor(row["id"])}"></a>{code(row["id"])}<br>{words(row["statement"])}',
            "<br>".join(filter(None, (number(row["estimate"]), words(row["group"] or "")))),
            interval(row),
            row["seeds"] or "",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _at_scales(rows: Mapping[str, Mapping]) -> str:
    """Return the verdicts on a claim at several scales; nothing if there is but one."""
    if len(rows) < 2:
        return ""
    strong = strongest(rows)
    told = {scale: f"{scale}: {row['verdict']}" for scale, row in rows.items()}
    return "<br>".join(f"**{text}**" if scale == strong else text for scale, text in told.items())


SEVERITY = (CONTRADICTED, UNFIT, AT_THRESHOLD, OPEN, EQUIVALENT, SUPPORTED, NOT_RUN)
"""Verdicts in the order in which a reader should meet them."""


def severity(row: Mapping) -> int:
    """Return how late a row's verdict comes, from 0."""
    return SEVERITY.index(row["verdict"])


if __name__ == "__main__":
    command.run(main)
