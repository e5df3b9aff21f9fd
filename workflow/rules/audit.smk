rule audit:
    input:
        json="<results>/audit/ledger.json",
        csv="<results>/audit/ledger.csv",
        html="<results>/audit/ledger.html",
        captions=captions_of(every_figure()),


rule judge_claims:
    input:
        claims=CLAIMS_FILES,
        schema="workflow/schemas/claims.schema.yaml",
        tables=tables_of(figures_under_audit(), "audit of published tables"),
    output:
        json="<results>/audit/ledger.json",
        csv="<results>/audit/ledger.csv",
    log:
        "<logs>/judge_claims.log",
    benchmark:
        "<benchmarks>/judge_claims.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        scale=config["scale"],
        code=code_hash("feature_alignment.audit.ledger"),
    shell:
        "python -m feature_alignment.audit.ledger --claims {input.claims:q}"
        " --schema {input.schema:q} --tables {input.tables:q} --scale {params.scale}"
        " --json {output.json:q} --csv {output.csv:q} 2> {log:q}"


rule write_ledger_page:
    input:
        ledger="<results>/audit/ledger.json",
        figures=[path for path in figure_files(figures_under_audit()) if path.endswith(".png")],
        titles="config/figures.yaml",
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
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("feature_alignment.publish.page"),
    shell:
        "python -m feature_alignment.publish.page --ledger {input.ledger:q}"
        " --figures {input.figures:q} --titles {input.titles:q} --out {output.html:q} 2> {log:q}"


rule write_captions:
    input:
        ledger="<results>/audit/ledger.json",
        tables=tables_of(every_figure(), "captions"),
        metas=[f"<tables>/{p}/{f}.meta.json" for p, f in every_figure()],
        described=[f"workflow/report/{p}.{f}.rst" for p, f in every_figure()],
        experiments=[f"config/experiments/{paper}.yaml" for paper in EXPERIMENTS],
    output:
        captions=captions_of(every_figure()),
    log:
        "<logs>/write_captions.log",
    benchmark:
        "<benchmarks>/write_captions.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        scale=config["scale"],
        code=code_hash("feature_alignment.publish.captions"),
    shell:
        "python -m feature_alignment.publish.captions --ledger {input.ledger:q}"
        " --tables {input.tables:q} --experiments config/experiments --schemas workflow/schemas"
        " --scale {params.scale} --described workflow/report"
        " --out $(dirname {output.captions[0]:q}) 2> {log:q}"


for paper, figure in figures_under_audit():

    rule:
        name:
            f"audit_{rule_name(paper, figure)}"
        input:
            claims=CLAIMS_FILES,
            schema="workflow/schemas/claims.schema.yaml",
            table=tables_of([(paper, figure)], f"audit of {paper}/{figure}"),
        output:
            json=f"<results>/audit/{paper}/{figure}.json",
            csv=f"<results>/audit/{paper}/{figure}.csv",
        log:
            f"<logs>/audit/{paper}.{figure}.log",
        benchmark:
            f"<benchmarks>/audit/{paper}.{figure}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            table=f"{paper}/{figure}",
            scale=config["scale"],
            code=code_hash("feature_alignment.audit.ledger"),
        shell:
            "python -m feature_alignment.audit.ledger --only {params.table:q}"
            " --claims {input.claims:q} --schema {input.schema:q} --tables {input.table:q}"
            " --scale {params.scale} --json {output.json:q} --csv {output.csv:q} 2> {log:q}"


rule publish:
    input:
        ledger=ledger_to_publish,
        figures=[path for path in figure_files(every_figure()) if path.endswith(".png")],
        tables=[f"<tables>/{p}/{f}.csv" for p, f in every_figure()],
        metas=[f"<tables>/{p}/{f}.meta.json" for p, f in every_figure()],
        images=[path for p, f in every_figure() for path in images_of(p, f)],
        costs="<results>/costs.tsv",
        jobs="<results>/jobs.tsv",
        titles="config/figures.yaml",
    output:
        ledger="<published>/ledger.json",
        costs="<published>/costs.tsv",
        jobs="<published>/jobs.tsv",
        tables=published("tables/{paper}/{figure}.csv"),
        metas=published("tables/{paper}/{figure}.meta.json"),
        images=[path for path in published("tables/{paper}/{figure}.npz") if shows_images(path)],
        thumbnails=published("thumbnails/{paper}/{figure}.png"),
        readme=update("README.md"),
        costs_page=update("docs/costs.md"),
        pages=[update(f"docs/papers/{paper}.md") for paper in EXPERIMENTS],
    log:
        "<logs>/publish.log",
    benchmark:
        "<benchmarks>/publish.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("feature_alignment.publish.documents"),
    shell:
        "python -m feature_alignment.publish.documents --ledger {input.ledger:q}"
        " --figures {input.figures:q} --tables {input.tables:q} --titles {input.titles:q}"
        " --costs {input.costs:q} --jobs {input.jobs:q} --published $(dirname {output.ledger:q})"
        " --documents {output.readme:q} {output.costs_page:q} {output.pages:q} > {log:q} 2>&1"


rule tell_costs:
    input:
        tables=tables_of(every_figure(), "costs of published tables"),
        metas=[f"<tables>/{p}/{f}.meta.json" for p, f in every_figure()],
        figures=ancient(figure_files(every_figure())),  # when all is done, and not again
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
        "../../environment.yml"
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
