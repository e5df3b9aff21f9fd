rule audit:
    input:
        claims=CLAIMS_FILES,
        schema="workflow/schemas/claims.schema.yaml",
        tables=tables_of(figures_under_audit(), "audit of published tables"),
    output:
        json="<results>/audit/ledger.json",
        csv="<results>/audit/ledger.csv",
        html="<results>/audit/ledger.html",
    log:
        "<logs>/audit.log",
    benchmark:
        "<benchmarks>/audit.tsv"
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
        " --json {output.json:q} --csv {output.csv:q} --html {output.html:q} 2> {log:q}"


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
            html=f"<results>/audit/{paper}/{figure}.html",
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
            " --scale {params.scale} --json {output.json:q} --csv {output.csv:q}"
            " --html {output.html:q} 2> {log:q}"


rule publish:
    input:
        ledger=ledger_to_publish,
        figures=[path for path in figure_files(every_figure()) if path.endswith(".png")],
        tables=[f"<tables>/{p}/{f}.csv" for p, f in every_figure()],
        metas=[f"<tables>/{p}/{f}.meta.json" for p, f in every_figure()],
        images=[path for p, f in every_figure() for path in images_of(p, f)],
        titles="config/figures.yaml",
    output:
        ledger="<published>/ledger.json",
        tables=published("tables/{paper}/{figure}.csv"),
        metas=published("tables/{paper}/{figure}.meta.json"),
        images=[path for path in published("tables/{paper}/{figure}.npz") if shows_images(path)],
        thumbnails=published("thumbnails/{paper}/{figure}.png"),
        readme=update("README.md"),
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
        code=code_hash("feature_alignment.audit.documents"),
    shell:
        "python -m feature_alignment.audit.documents --ledger {input.ledger:q}"
        " --figures {input.figures:q} --tables {input.tables:q} --titles {input.titles:q}"
        " --published $(dirname {output.ledger:q})"
        " --documents {output.readme:q} {output.pages:q} > {log:q} 2>&1"


rule tell_costs:
    input:
        tables=tables_of(every_figure(), "costs of published tables"),
        metas=[f"<tables>/{p}/{f}.meta.json" for p, f in every_figure()],
    output:
        costs="<results>/costs.tsv",
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
        code=code_hash("feature_alignment.audit.costs"),
    shell:
        "python -m feature_alignment.audit.costs --tables {input.tables:q}"
        " --out {output.costs:q} 2> {log:q}"
