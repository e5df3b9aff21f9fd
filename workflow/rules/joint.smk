for figure in EXPERIMENTS["joint"].figures:

    rule:
        name:
            f"collect_{rule_name('joint', figure)}"
        input:
            specs=specs_of("joint", figure),
            measurements=measurements_of("joint", figure),
        output:
            table=f"<results>/tables/joint/{figure}.csv",
            meta=f"<results>/tables/joint/{figure}.meta.json",
        log:
            f"<logs>/collect/joint.{figure}.log",
        benchmark:
            f"<benchmarks>/collect/joint.{figure}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            figure=figure,
            code=code_hash("feature_alignment.papers.joint.tables"),
        shell:
            "python -m feature_alignment.papers.joint.tables"
            " --figure {params.figure:q} --specs {input.specs:q}"
            " --measurements {input.measurements:q} --out {output.table:q} > {log:q} 2>&1"
