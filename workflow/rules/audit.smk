rule audit:
    """The ledger of all claims, with captions and forest plots."""
    input:
        json="<results>/audit/ledger.json",
        csv="<results>/audit/ledger.csv",
        html="<results>/audit/ledger.html",
        captions=captions_of(every_figure()),
        forests=forests(),


rule judge_claims:
    """The verdict on every claim."""
    input:
        claims=CLAIMS_FILES,
        schema=repository("workflow/schemas/claims.schema.yaml"),
        tables=tables_of(figures_under_audit(), "audit of published tables"),
        metas=metas_of(figures_under_audit()),
    output:
        json="<results>/audit/ledger.json",
        csv="<results>/audit/ledger.csv",
        meta="<results>/audit/ledger.meta.json",
    log:
        "<logs>/judge_claims.log",
    benchmark:
        "<benchmarks>/judge_claims.tsv"
    conda:
        "../envs/plots.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        scale=config["scale"],
        published="--published" if REDRAWS else "--partial" if IS_ARCHIVED else "",
        code=code_hash("feature_alignment.audit.ledger"),
    shell:
        "python -m feature_alignment.audit.ledger --claims {input.claims:q}"
        " --schema {input.schema:q} --tables {input.tables:q} --scale {params.scale}"
        " {params.published} --json {output.json:q} --csv {output.csv:q} 2> {log:q}"


for paper, figure in figures_under_audit():

    rule:
        name:
            f"audit_{rule_name(paper, figure)}"
        input:
            claims=CLAIMS_FILES,
            schema=repository("workflow/schemas/claims.schema.yaml"),
            tables=tables_of(checked_with(paper, figure), f"audit of {paper}/{figure}"),
            metas=metas_of(checked_with(paper, figure)),
        output:
            json=f"<results>/audit/{paper}/{figure}.json",
            csv=f"<results>/audit/{paper}/{figure}.csv",
            meta=f"<results>/audit/{paper}/{figure}.meta.json",
        log:
            f"<logs>/audit/{paper}.{figure}.log",
        benchmark:
            f"<benchmarks>/audit/{paper}.{figure}.tsv"
        conda:
            "../envs/plots.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            table=f"{paper}/{figure}",
            scale=config["scale"],
            published="--published" if REDRAWS else "",
            code=code_hash("feature_alignment.audit.ledger"),
        shell:
            "python -m feature_alignment.audit.ledger --only {params.table:q}"
            " --claims {input.claims:q} --schema {input.schema:q} --tables {input.tables:q}"
            " --scale {params.scale} {params.published} --json {output.json:q}"
            " --csv {output.csv:q} 2> {log:q}"

    describe(
        f"audit_{rule_name(paper, figure)}", f"The verdicts on the claims of {paper}/{figure}."
    )


rule plot_forest:
    """Every claim of a paper: its effect over its margin."""
    input:
        ledger="<results>/audit/ledger.json",
    output:
        pdf="<figures>/{paper}/forest.pdf",
        png=report(
            "<figures>/{paper}/forest.png",
            caption="../report/forest.rst",
            category="ledger",
            labels={"figure": "{paper}", "shows": "every claim's effect over its margin"},
        ),
    log:
        "<logs>/plot/{paper}.forest.log",
    benchmark:
        "<benchmarks>/plot/{paper}.forest.tsv"
    conda:
        "../envs/plots.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("feature_alignment.publish.forest"),
    shell:
        "python -m feature_alignment.publish.forest --ledger {input.ledger:q}"
        " --paper {wildcards.paper} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule write_ledger_page:
    """The ledger as one HTML page."""
    input:
        ledger="<results>/audit/ledger.json",
        figures=figure_files(figures_under_audit(), "png"),
        papers=PAPER_FILES,
        templates=[
            repository(f"src/feature_alignment/publish/templates/ledger.{ending}")
            for ending in ("html", "css", "js")
        ],
        others=ledgers_of_other_scales(),
    output:
        html=report(
            "<results>/audit/ledger.html",
            caption="../report/ledger.rst",
            category="ledger",
            labels={
                "figure": "ledger",
                "shows": "every claim with its verdict, to sort and filter",
            },
        ),
    log:
        "<logs>/write_ledger_page.log",
    benchmark:
        "<benchmarks>/write_ledger_page.tsv"
    conda:
        "../envs/plots.yml"
    threads: 2
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("feature_alignment.publish.page"),
    shell:
        "python -m feature_alignment.publish.page --ledger {input.ledger:q}"
        " --figures {input.figures:q} --papers {input.papers:q} --others {input.others:q}"
        " --threads {threads} --out {output.html:q} 2> {log:q}"


rule write_captions:
    """The captions of the report."""
    input:
        ledger="<results>/audit/ledger.json",
        tables=tables_of(every_figure(), "captions"),
        metas=metas_of(every_figure()),
        papers=PAPER_FILES,
    output:
        captions=captions_of(every_figure()),
    log:
        "<logs>/write_captions.log",
    benchmark:
        "<benchmarks>/write_captions.tsv"
    conda:
        "../envs/plots.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        scale=config["scale"],
        all_papers=lambda wildcards, input: Path(input.papers[0]).parents[1],
        schemas=repository("workflow/schemas"),
        folder=lambda wildcards, output: Path(output.captions[0]).parent,
        code=code_hash("feature_alignment.publish.captions"),
    shell:
        "python -m feature_alignment.publish.captions --ledger {input.ledger:q}"
        " --tables {input.tables:q} --papers {params.all_papers:q} --schemas {params.schemas:q}"
        " --scale {params.scale} --out {params.folder:q} 2> {log:q}"
