# Feature Alignment, Replicated: from raw datasets to every figure and an audited ledger.

from snakemake.utils import min_version

min_version("9.25")


configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


# With results=reference, published tables are read and nothing is written beside them.
pathvars:
    results=RESULTS,
    tables=f"{PUBLISHED}/tables" if REDRAWS else f"{RESULTS}/tables",
    published=f"{RESULTS}/published" if REDRAWS else PUBLISHED,
    figures=f"figures/{config['scale']}",
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",


include: "workflow/rules/data.smk"
include: "workflow/rules/compute.smk"
include: "workflow/rules/collect.smk"
include: "workflow/rules/plot.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/publish.smk"


onstart:
    tell_unversioned()
    tell_unjudged()


rule all:
    """Every figure, the ledger, and what the run cost."""
    default_target: True
    input:
        figures=drawn_files,
        ledger=[f"<results>/audit/ledger.{ending}" for ending in ("json", "csv", "html")],
        captions=captions_of(every_figure()),
        forests=forests(),
        costs="<results>/costs.tsv",


rule figures:
    """Every figure."""
    input:
        figures=drawn_files,


rule tables:
    """Every table, without a figure."""
    input:
        tables=tables_of(every_figure(), "tables"),
        metas=metas_of(every_figure()),
        arrays=[path for pair in every_figure() for path in arrays_of(*pair)],


for paper in PAPERS:

    rule:
        name:
            paper
        input:
            figures=of_paper(
                paper,
                every_figure(),
                "<figures>/{paper}/{figure}.pdf",
                "<figures>/{paper}/{figure}.png",
            ),
            claims=of_paper(paper, figures_under_audit(), "<results>/audit/{paper}/{figure}.json"),

    describe(paper, f"Every figure of {paper}, and the verdicts on its claims.")


check_targets()
