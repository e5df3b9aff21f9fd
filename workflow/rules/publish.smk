rule tell_costs:
    """What each figure and job of the run cost."""
    input:
        tables=tables_of(every_figure(), "costs of published tables"),
        metas=metas_of(every_figure()),
        figures=ancient(figure_files(every_figure(), "pdf", "png")),  # when all is done, once
        page=ancient("<results>/audit/ledger.html"),
        captions=ancient(captions_of(every_figure())),
    output:
        costs="<results>/costs.tsv",
        jobs="<results>/jobs.tsv",
    log:
        "<logs>/tell_costs.log",
    benchmark:
        "<benchmarks>/tell_costs.tsv"
    conda:
        "../envs/plots.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        benchmarks=f"{RESULTS}/benchmarks",
        code=code_hash("feature_alignment.publish.costs"),
    shell:
        "python -m feature_alignment.publish.costs --tables {input.tables:q}"
        " --benchmarks {params.benchmarks:q} --out {output.costs:q} --jobs {output.jobs:q} 2> {log:q}"


rule publish:
    """The run as the published one: tables, ledger, archive, pages."""
    input:
        ledger=ledger_to_publish,
        figures=figure_files(every_figure(), "png"),
        tables=[f"<tables>/{p}/{f}.csv" for p, f in every_figure()],
        metas=metas_of(every_figure()),
        arrays=[path for p, f in every_figure() for path in arrays_of(p, f)],
        costs="<results>/costs.tsv",
        jobs=[] if REUSE else ["<results>/jobs.tsv"],
        papers=PAPER_FILES,
        statements=files_about_papers("statements.yaml"),
        findings=files_about_papers("findings.yaml"),
        others=ledgers_of_other_scales(),
    output:
        ledger="<published>/ledger.json",
        ledger_page="<published>/ledger.html",
        costs="<published>/costs.tsv",
        jobs=[] if REUSE else ["<published>/jobs.tsv"],
        tables=published("tables/{paper}/{figure}.csv", every_figure()),
        metas=published("tables/{paper}/{figure}.meta.json", every_figure()),
        arrays=published(
            "tables/{paper}/{figure}.npz", [pair for pair in every_figure() if has_arrays(*pair)]
        ),
        overview="<published>/overview.png",
        thumbnails=published("thumbnails/{paper}/{figure}.png", every_figure()),
        pictures=published("pictures/{paper}/{figure}.png", every_figure()),
        pages=[update(page) for page in pages_to_publish()],
    log:
        "<logs>/publish.log",
    benchmark:
        "<benchmarks>/publish.tsv"
    conda:
        "../envs/plots.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        all_papers=lambda wildcards, input: Path(input.papers[0]).parents[1],
        folder=lambda wildcards, output: Path(output.ledger).parent,
        results=lambda wildcards, input: Path(input.costs).parent,
        code=code_hash("feature_alignment.publish.documents", "feature_alignment.publish.page"),
    shell:
        "python -m feature_alignment.run.archive --archive {params.folder:q} keep"
        " --results {params.results:q} > {log:q} 2>&1;"
        " python -m feature_alignment.publish.documents --ledger {input.ledger:q}"
        " --figures {input.figures:q} --tables {input.tables:q} --papers {params.all_papers:q}"
        " --costs {input.costs:q} --jobs {input.jobs:q} --published {params.folder:q}"
        " --documents {output.pages:q} >> {log:q} 2>&1;"
        " python -m feature_alignment.publish.page --linked --ledger {output.ledger:q}"
        " --figures {output.pictures:q} --papers {input.papers:q} --others {input.others:q}"
        " --out {output.ledger_page:q} >> {log:q} 2>&1"


rule compare:
    """The tables of the run next to the published ones, value by value."""
    input:
        tables=tables_to_compare,
        arrays=arrays_to_compare,
    output:
        csv="<results>/comparison.csv",
        page="<results>/comparison.md",
    log:
        "<logs>/compare.log",
    benchmark:
        "<benchmarks>/compare.tsv"
    conda:
        "../envs/plots.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        published=f"{PUBLISHED}/tables",  # no input, or it would be published first
        checksum=checksum_of_published,
        code=code_hash("feature_alignment.publish.compare"),
    shell:
        "python -m feature_alignment.publish.compare --fresh {input.tables:q}"
        " --published {params.published:q} --csv {output.csv:q} --page {output.page:q} 2> {log:q}"


rule archive:
    """Finished runs, kept for later ones."""
    log:
        "<logs>/archive.log",
    benchmark:
        "<benchmarks>/archive.tsv"
    conda:
        "../envs/plots.yml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        folder=folder_to_archive,
        results=RESULTS,
    shell:
        "python -m feature_alignment.run.archive --archive {params.folder:q} keep"
        " --results {params.results:q} 2> {log:q}"


rule certify:
    """Which archived runs the present code repeats to the same bytes."""
    log:
        "<logs>/certify.log",
    benchmark:
        "<benchmarks>/certify.tsv"
    conda:
        "../envs/compute.yml"
    threads: lambda wildcards: workflow.cores
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        folder=folder_to_archive,
    shell:
        "python -m feature_alignment.run.certify --archive {params.folder:q} --cores {threads}"
        " 2> {log:q}"
