import hashlib
import json
import os
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

ROOT = Path(workflow.current_basedir).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from feature_alignment.audit.claims import read_claims
from feature_alignment.command import CONSOLE
from feature_alignment.data.registry import BUNDLED, read_registry
from feature_alignment.integrity import sealed
from feature_alignment.models.architectures import model_modules
from feature_alignment.provenance import code_hash, existing, git_state
from feature_alignment.run.configuration import check
from feature_alignment.run.reuse import (
    ARCHIVED,
    datasets_of,
    first_seed,
    reuse_of,
)
from feature_alignment.run.spec import SCALES, read_papers
from feature_alignment.run.targets import asked_for, of_snakemake, problems
from feature_alignment.schema import read_schema, read_yaml
from feature_alignment.storage import at_home

IS_HERE = Path.cwd() == ROOT.resolve()


def repository(path):
    """A file of the repository as seen from the working directory, which may be elsewhere."""
    return path if IS_HERE else str(ROOT / path)


if not os.access(Path.cwd(), os.W_OK):
    raise WorkflowError(
        f"expected a working directory to write to, got {Path.cwd()}; name one with --directory"
        " FOLDER: results, figures and data go there, all else is read from the repository"
    )

SCHEMAS = ROOT / "workflow" / "schemas"


def conditions_of_runs():
    """The device and the threads that a profile or the command line gives to runs."""
    settings = workflow.resource_settings
    device = settings.overwrite_resources.get("compute_run", {}).get("device", "cpu")
    threads = settings.overwrite_threads.get("compute_run", 1)
    return {
        "device": str(getattr(device, "raw", device)),  # a name is an expression to Snakemake
        "threads": int(getattr(threads, "raw", threads)),
    }


try:
    for path in workflow.configfiles:
        read_yaml(path)  # finds keys given twice
    check(config, read_schema(SCHEMAS / "config.schema.yaml"), ROOT)
    RESULTS_FOLDER = at_home(config["results"])
    DATA_FOLDER = at_home(config["data_dir"]) if config["data_dir"] else ""
    DATASETS = read_registry(ROOT / "data" / "datasets.csv")
    PAPERS = read_papers(Path(repository("papers")), SCHEMAS)
    SPECS = {
        (key, run): paper.resolve(run, config["scale"])
        for key, paper in PAPERS.items()
        for run in paper.runs_at(config["scale"])
    }
    PAPER_FILES = [repository(f"papers/{key}/paper.yaml") for key in PAPERS]
    CLAIMS_FILES = [repository(f"papers/{key}/claims.yaml") for key in PAPERS]
    CLAIMS = read_claims(map(Path, CLAIMS_FILES), SCHEMAS / "claims.schema.yaml")
    IS_ARCHIVED = config["seeds"] == ARCHIVED
    REUSE = None
    if config["reuse"] or IS_ARCHIVED:
        REUSE = reuse_of(config, ROOT if not IS_HERE else Path(), PAPERS, **conditions_of_runs())
except (ValueError, OSError) as error:
    raise WorkflowError(str(error)) from None

REFERENCE = ROOT / "reference"
REDRAWS = RESULTS_FOLDER == Path("reference") or RESULTS_FOLDER.resolve() == REFERENCE.resolve()
RESULTS = f"{'results/reference' if REDRAWS else RESULTS_FOLDER}/{config['scale']}"
PUBLISHED = repository(f"reference/{config['scale']}")

for name, folder in {"the repository": str(ROOT), "results": RESULTS}.items():
    if set(folder) & set("{}<>"):
        raise WorkflowError(
            f"expected a folder of {name} without {{, }}, < and >, which Snakemake takes for"
            f" variables; got {folder}; give it another name"
        )


def prefix_of_shells():
    """What every rule's commands begin with: strict mode, our package, and our interpreter.

    A rule's ``python`` is the one that runs the workflow, whether or not its environment is
    active, unless the rule has an environment of its own. It may write to Snakemake's own standard
    error what cannot be written to its log, as when the disk is full.
    """
    parts = ["set -euo pipefail", f"export PYTHONPATH={shlex.quote(str(ROOT / 'src'))}"]
    parts.append(f"exec 3>&2; export {CONSOLE}=3")
    if not workflow.deployment_settings.deployment_method:
        parts.append(f'python() {{ {shlex.quote(sys.executable)} "$@"; }}')
    return "; ".join(parts).replace("{", "{{").replace("}", "}}") + "; "


shell.prefix(prefix_of_shells())


wildcard_constraints:
    dataset="|".join([*DATASETS, *BUNDLED]),
    paper="|".join(PAPERS),
    run="|".join(sorted({run for _, run in SPECS})),
    seed="[0-9]+",


@cache
def every_figure():
    """Every figure with its paper; with archived seeds, every one of which all runs are there."""
    figures = [(paper, figure) for paper in PAPERS for figure in PAPERS[paper].figures]
    if IS_ARCHIVED:
        figures = [pair for pair in figures if REUSE.seeds_of_figure(*pair)]
    return figures


def figures_under_audit():
    """The figures whose tables the claims rest on."""
    names = dict.fromkeys(claim["evidence"]["table"] for claim in CLAIMS)
    return [pair for pair in every_figure() if "/".join(pair) in names]


def checked_with(paper, figure):
    """A figure under audit, and those with checks on the same runs, which gate its claims."""
    runs = set(PAPERS[paper].runs_of(figure, config["scale"]))
    others = {
        tuple(claim["evidence"]["table"].split("/"))
        for claim in CLAIMS
        if claim["class"] == "check" and claim["paper"] == paper
    }
    sharing = [
        pair
        for pair in others & set(every_figure())
        if runs & set(PAPERS[paper].runs_of(pair[1], config["scale"]))
    ]
    return [(paper, figure), *sorted(set(sharing) - {(paper, figure)})]


def rule_name(paper, figure):
    """What the rules of a figure are named after: its paper and the first word of its name."""
    return f"{paper}_{figure.split('_')[0]}"


def has_arrays(paper, figure):
    """Whether a figure shows arrays besides its table."""
    return PAPERS[paper].figures[figure].get("arrays", False)


def arrays_of(paper, figure):
    """The arrays that a figure shows besides its table, if any."""
    return [f"<tables>/{paper}/{figure}.npz"] if has_arrays(paper, figure) else []


def figure_files(figures, *endings):
    """The files of figures."""
    return [f"<figures>/{p}/{f}.{ending}" for p, f in figures for ending in endings]


def metas_of(figures):
    """The provenance of the tables of figures."""
    return [f"<tables>/{p}/{f}.meta.json" for p, f in figures]


def forests():
    """The forest plots of the claims of every paper."""
    return [f"<figures>/{paper}/forest.{ending}" for paper in PAPERS for ending in ("pdf", "png")]


def captions_of(figures):
    """The captions of figures in the report."""
    return [f"<results>/captions/{p}.{f}.rst" for p, f in figures]


def tables_of(figures, what):
    """An input function for the tables of figures, which must be published if they are redrawn."""

    def tables(wildcards):
        if REDRAWS:
            require_published(figures, what)
        return [f"<tables>/{paper}/{figure}.csv" for paper, figure in figures]

    return tables


def published_files(paper, figure, scale=config["scale"]):
    """Where the table of a figure is published, with what belongs to it."""
    endings = ["csv", "meta.json", *(["npz"] if has_arrays(paper, figure) else [])]
    folder = repository(f"reference/{scale}/tables")
    return [f"{folder}/{paper}/{figure}.{ending}" for ending in endings]


def published_figures(scale=config["scale"]):
    """Every figure whose table is published, with its paper."""
    return [
        pair
        for pair in every_figure()
        if all(Path(path).is_file() for path in published_files(*pair, scale))
    ]


def ledgers_of_other_scales():
    """The published ledgers of the scales that are not this one."""
    paths = [repository(f"reference/{scale}/ledger.json") for scale in SCALES]
    return [
        path for path in paths if Path(path).is_file() and config["scale"] not in path.split("/")
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
            f" where there are arrays, in {PUBLISHED}/tables; found none of"
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
            f" table in {PUBLISHED}/tables of {', '.join(others)}."
        )


def tell_unjudged():
    """Say before anything is trained that no claim will be judged, if so."""
    jobs = list(workflow.dag.needrun_jobs())
    names = {str(job.params.table) for job in jobs if job.rule.name.startswith("audit_")}
    if any(job.rule.name == "judge_claims" for job in jobs):
        names |= {"/".join(pair) for pair in figures_under_audit()}
    asked = [
        claim["needs"]
        for claim in CLAIMS
        if claim["class"] in ("paper", "ours") and claim["evidence"]["table"] in names
    ]
    least = min(asked, key=SCALES.index, default=config["scale"])
    if SCALES.index(least) > SCALES.index(config["scale"]):
        logger.warning(
            f"At scale {config['scale']} none of the {len(asked)} claims of papers and ours can be"
            f" judged: they need scale {least}, --config scale={least}. The ledger calls them not"
            " run, and shows what is published of them at other scales."
        )


def tell_unversioned():
    """Say that the provenance of results will have no commit, and why."""
    if note := git_state().get("note"):
        logger.warning(f"What is made now is recorded without the commit of its code: {note}.")


def official_files(wildcards):
    """What identifies the official files of a dataset; a stand-in has none."""
    dataset = DATASETS.get(wildcards.dataset)
    return str((dataset.source, dataset.editions)) if dataset else ""


def spec_of_run(wildcards):
    """The resolved spec of a run, unless nothing is to be computed."""
    refuse_published(f"training {wildcards.paper}/{wildcards.run}")
    return json.dumps(sealed(SPECS[wildcards.paper, wildcards.run]), indent=2)


def datasets_of_run(wildcards):
    """The names of the datasets that a run reads; synthetic tasks read none."""
    return datasets_of(SPECS[wildcards.paper, wildcards.run]["settings"])


def prepared_of_run(wildcards):
    """The prepared datasets that a run reads."""
    return [ancient(f"data/prepared/{name}.safetensors") for name in datasets_of_run(wildcards)]


def manifests_of_run(wildcards):
    """The manifests of those datasets."""
    return [f"data/prepared/{name}.json" for name in datasets_of_run(wildcards)]


def code_of_run(wildcards):
    """A hash of the code that a run depends on: its experiment's and its networks'."""
    spec = SPECS[wildcards.paper, wildcards.run]
    return code_hash(
        "feature_alignment.run.perform",
        f"feature_alignment.papers.{spec['paper']}.{spec['experiment']}",
        *model_modules(spec["settings"]),
    )


def specs_of(paper, figure):
    """The specs of the runs that feed a figure."""
    runs = PAPERS[paper].runs_of(figure, config["scale"])
    return [f"<results>/specs/{paper}/{run}.json" for run in runs]


def code_of_table(paper):
    """A hash of the code that makes the tables of a paper."""
    tables = f"feature_alignment.papers.{paper}.tables"
    return code_hash(*existing("feature_alignment.run.collecting", tables))


def seeds_of(paper, run):
    """The seeds of a run; one that has nothing random is made once."""
    if IS_ARCHIVED:
        return REUSE.seeds(paper, run)
    own = PAPERS[paper].seeds(run, config["scale"])
    if not own:
        return range(1)
    first = first_seed(config["first_seed"], config["scale"])
    return range(first, first + (config["seeds"] or own))


@cache
def reused_of(paper, run):
    """The seeds of a run that are taken from the archive."""
    seeds = seeds_of(paper, run) if REUSE else ()
    return tuple(seed for seed in seeds if REUSE.is_taken(paper, run, seed))


def reused_runs():
    """The runs, ``(paper, run)``, of which some seeds are taken from the archive, and those."""
    return {key: reused_of(*key) for key in SPECS if reused_of(*key)}


def tell_reused():
    """Say how many runs are taken from the archive, why others are not, and what cannot be drawn."""
    if REUSE:
        wanted = [(*key, seed) for key in SPECS for seed in seeds_of(*key)]
        logger.info("\n".join(REUSE.told(wanted)))
    if IS_ARCHIVED:
        there = every_figure()
        lacking = [f"{p}/{f}" for p in PAPERS for f in PAPERS[p].figures if (p, f) not in there]
        if lacking:
            logger.warning(f"Left out, since some run has no archived seed: {', '.join(lacking)}.")


def groups_of(paper, run):
    """The seeds of a run that are to be computed, in groups that share a process."""
    seeds = [seed for seed in seeds_of(paper, run) if seed not in reused_of(paper, run)]
    size = config["together"] or PAPERS[paper].together(run, config["scale"])
    return [tuple(seeds[start : start + size]) for start in range(0, len(seeds), size)]


def runs_by_group():
    """The runs, ``paper/run``, that have each group of more than one seed."""
    runs = {}
    for paper, run in SPECS:
        for seeds in groups_of(paper, run):
            if len(seeds) > 1:
                runs.setdefault(seeds, []).append(f"{paper}/{run}")
    return runs


def made_otherwise():
    """A pattern for measurements, ``paper/run/seed``, that are made in a group or archived."""
    others = [(run, seeds) for seeds, runs in runs_by_group().items() for run in runs]
    others += [("/".join(key), seeds) for key, seeds in reused_runs().items()]
    return "|".join(f"{run}/(?:{'|'.join(map(str, seeds))})" for run, seeds in others)


def rule_of_group(seeds):
    """The name of the rule that computes a group of seeds."""
    return f"compute_run_{seeds[0]}_{seeds[-1]}"


def tell_groups_what_is_said_of_runs():
    """Let what a profile or the command line says of the rule compute_run hold for its groups.

    Snakemake finds that by a rule's name, when the rule is defined.
    """
    settings = workflow.resource_settings
    for said in (settings.overwrite_resources, settings.overwrite_threads):
        if "compute_run" in said:
            said.update({rule_of_group(seeds): said["compute_run"] for seeds in runs_by_group()})


tell_groups_what_is_said_of_runs()
tell_reused()


def measurements_of(paper, figure):
    """The measurements of every run and seed that feed a figure."""
    seeds = {run: seeds_of(paper, run) for run in PAPERS[paper].runs_of(figure, config["scale"])}
    if IS_ARCHIVED:
        seeds = REUSE.seeds_of_figure(paper, figure)
    return [f"<results>/runs/{paper}/{run}/{seed}.csv" for run in seeds for seed in seeds[run]]


def record_of(paper, figure):
    """A function for what a table takes from the figure's record and from the labels of its runs.

    Of the JSON that a function returns no braces are taken for wildcards.
    """
    known = PAPERS[paper].figures[figure]
    record = {key: known[key] for key in ("columns", "published") if key in known}
    runs = PAPERS[paper].runs_of(figure, config["scale"])
    notes = REUSE.notes(paper, figure) if IS_ARCHIVED else []
    record |= {"notes": notes} if notes else {}
    text = json.dumps(record | {"labels": {run: PAPERS[paper].labels(run) for run in runs}})
    return lambda wildcards: text


def titled(paper, figure):
    """What a figure shows, in a line, after its path."""
    return f"{paper}/{figure}: {PAPERS[paper].figures[figure]['title']}"


def labels_of(paper, figure, shown_as):
    """What the report says of a figure, which it has as a picture and as a table."""
    return {"figure": figure, "shows": shown_title(paper, figure), "as": shown_as}


def shown_title(paper, figure):
    """A figure's title for the report, which would take ``{a}`` for a wildcard and ``</`` for HTML.

    An invisible character after a brace or an angle bracket keeps it from that.
    """
    return re.sub("(?<=[{<])", "\u2060", PAPERS[paper].figures[figure]["title"])


def caption_of(paper, figure):
    """A figure's caption as written by an audit; before one, where captions come from."""
    written = Path(f"{RESULTS}/captions/{paper}.{figure}.rst").resolve()
    return str(written) if written.is_file() else "../report/figure.rst"


def available(figures, what):
    """Those figures, or those of them whose tables are published if these are redrawn."""
    if not REDRAWS:
        return figures
    require_published([], what)
    tell_unpublished("redrawn")
    return [pair for pair in published_figures() if pair in figures]


def drawn_files(wildcards):
    """The files of every figure, or of those that can be redrawn from published tables."""
    return figure_files(available(every_figure(), "redrawing figures"), "pdf", "png")


def of_paper(paper, figures, *patterns):
    """An input function for files of each of the figures that are a paper's, if available."""

    def files(wildcards):
        own = [pair for pair in available(figures, f"redrawing {paper}") if pair[0] == paper]
        return [pattern.format(paper=p, figure=f) for p, f in own for pattern in patterns]

    return files


def files_about_papers(name):
    """The files of a name that papers have; some have none."""
    paths = [repository(f"papers/{key}/{name}") for key in PAPERS]
    return [path for path in paths if Path(path).is_file()]


def pages_to_publish():
    """The pages with parts that a run is shown in."""
    names = ("findings", "gallery", "costs", "verdicts", "confirmation", "statements")
    pages = [f"docs/{name}.md" for name in names] + [f"papers/{key}/README.md" for key in PAPERS]
    return [repository(page) for page in ("README.md", *pages)]


def ledger_to_publish(wildcards):
    """The ledger of a run."""
    refuse_published("publish")
    if not os.access(ROOT, os.W_OK):
        raise WorkflowError(
            f"publish: expected a repository to write reference/{config['scale']}, README.md, docs"
            f" and the pages of the papers to, got {ROOT}, which is read-only; publish from a clone"
        )
    return "<results>/audit/ledger.json"


def folder_to_archive(wildcards):
    """Where finished runs are archived."""
    refuse_published("archive")
    return PUBLISHED


def published(pattern, figures):
    """A file for each figure in the folder of published results."""
    return [f"<published>/{pattern.format(paper=p, figure=f)}" for p, f in figures]


def tables_to_compare(wildcards):
    """The tables of a run that there are published ones of."""
    refuse_published("compare")
    require_published([], "compare")
    tell_unpublished("compared")
    return [f"<tables>/{paper}/{figure}.csv" for paper, figure in published_figures()]


def arrays_to_compare(wildcards):
    """The arrays besides those tables."""
    return [path for pair in published_figures() for path in arrays_of(*pair)]


def checksum_of_published(wildcards):
    """A checksum of all published tables: when one changes, they are compared anew."""
    checksum = hashlib.sha256()
    for pair in published_figures():
        for path in published_files(*pair):
            checksum.update(Path(path).read_bytes())
    return checksum.hexdigest()


def describe(rule, words):
    """Say what a rule that is named by a figure or a paper makes, for ``snakemake --list``."""
    workflow.get_rule(rule).docstring = words


def check_targets():
    """Refuse what nothing makes, with near names and the scale to set.

    Called when all rules are there. Snakemake's own message, that there is no rule to produce it,
    comes later, and for a rule to force or to stop at there is none.
    """
    arguments = of_snakemake(sys.argv) if workflow.is_main_process else []
    rules = [rule for rule in workflow.rules if not rule.has_wildcards()]
    files = [str(file) for rule in rules for file in rule.output]
    files += [f"data/prepared/{name}.json" for name in (*DATASETS, *BUNDLED)]

    def made(target):
        makers = (rule for rule in workflow.rules if rule.is_producer(target))
        return workflow.is_rule(target) or next(makers, None) is not None

    known = [*(rule.name for rule in rules), *files]
    if found := problems(asked_for(arguments), made, known, config["scale"]):
        raise WorkflowError("\n".join(found))
