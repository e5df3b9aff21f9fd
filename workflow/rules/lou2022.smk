for figure in EXPERIMENTS["lou2022"].figures:

    rule:
        name:
            f"collect_{rule_name('lou2022', figure)}"
        input:
            specs=specs_of("lou2022", figure),
            measurements=measurements_of("lou2022", figure),
        output:
            table=f"<results>/tables/lou2022/{figure}.csv",
            meta=f"<results>/tables/lou2022/{figure}.meta.json",
        log:
            f"<logs>/collect/lou2022.{figure}.log",
        benchmark:
            f"<benchmarks>/collect/lou2022.{figure}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            figure=figure,
            code=code_hash("feature_alignment.papers.lou2022.tables"),
        shell:
            "python -m feature_alignment.papers.lou2022.tables"
            " --figure {params.figure:q} --specs {input.specs:q}"
            " --measurements {input.measurements:q} --out {output.table:q} > {log:q} 2>&1"
