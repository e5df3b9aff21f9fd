import hashlib
from functools import cache

from snakemake.logging import logger


def published_files(paper, figure, scale=config["scale"]):
    """Where the table of a figure is published, with what belongs beside it."""
    table = f"reference/{scale}/tables/{paper}/{figure}"
    endings = ["csv", "meta.json", "npz"] if shows_images(f"{table}.csv") else ["csv", "meta.json"]
    return [f"{table}.{ending}" for ending in endings]


def published_figures(scale=config["scale"]):
    """Every figure whose table is published, with its paper."""
    return [
        pair
        for pair in every_figure()
        if all(Path(path).is_file() for path in published_files(*pair, scale))
    ]


def require_published(figures, what):
    """Refuse what needs published tables that are not there."""
    known = published_figures()
    missing = [f"{paper}/{figure}" for paper, figure in figures if (paper, figure) not in known]
    if missing or not known:
        ways = []
        if REDRAWS:
            ways.append("leave out results=reference to make the tables yourself")
        if REDRAWS and known:
            ways.append("ask for `figures` to redraw those that are published")
        if not known:
            scales = [scale for scale in SCALES if published_figures(scale)]
            ways.append(f"choose a scale that has some: {', '.join(scales) or 'there is none'}")
        raise WorkflowError(
            f"{what}: expected published tables <paper>/<figure>.csv with their .meta.json, and .npz"
            f" where there are images, in reference/{config['scale']}/tables; found none of"
            f" {', '.join(missing) if known else 'any figure'}; {', or '.join(ways)}"
        )


def refuse_published(what):
    """Refuse what only makes sense for the results of a run."""
    if REDRAWS:
        raise WorkflowError(
            f"{what}: expected the results of a run, got results={config['results']}: the"
            " published tables, which are only read; leave results out, or name another folder"
        )


@cache
def tell_unpublished(done):
    """Say once which figures are passed over because their tables are not published."""
    known = published_figures()
    others = [f"{p}/{f}" for p, f in every_figure() if (p, f) not in known]
    if others:
        logger.warning(
            f"{len(known)} of {len(known) + len(others)} figures are {done}; there is no published"
            f" table in reference/{config['scale']}/tables of {', '.join(others)}."
        )


def drawn_files(wildcards):
    """The files of every figure, or of those that can be redrawn from published tables."""
    if not REDRAWS:
        return figure_files(every_figure())
    require_published([], "redrawing figures")
    tell_unpublished("redrawn")
    return figure_files(published_figures())


def tables_of(figures, what):
    """An input function for the tables of figures, which must be published if they are redrawn."""

    def tables(wildcards):
        if REDRAWS:
            require_published(figures, what)
        return [f"<tables>/{paper}/{figure}.csv" for paper, figure in figures]

    return tables


def figures_under_audit():
    """The figures whose tables the claims rest on."""
    names = dict.fromkeys(claim["evidence"]["table"] for claim in CLAIMS)
    return [tuple(name.split("/")) for name in names]


def ledger_to_publish(wildcards):
    """The ledger of a run."""
    refuse_published("publish")
    return "<results>/audit/ledger.json"


def tables_to_compare(wildcards):
    """The tables of a run that there are published ones of."""
    refuse_published("compare")
    require_published([], "compare")
    tell_unpublished("compared")
    return [f"<tables>/{paper}/{figure}.csv" for paper, figure in published_figures()]


def images_to_compare(wildcards):
    """The images beside those tables."""
    return [path for pair in published_figures() for path in images_of(*pair)]


def checksum_of_published(wildcards):
    """A checksum of all published tables: when one changes, they are compared anew."""
    checksum = hashlib.sha256()
    for pair in published_figures():
        for path in published_files(*pair):
            checksum.update(Path(path).read_bytes())
    return checksum.hexdigest()
