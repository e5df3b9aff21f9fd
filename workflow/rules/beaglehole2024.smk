for figure in EXPERIMENTS["beaglehole2024"].figures:

    rule:
        name:
            f"collect_{rule_name('beaglehole2024', figure)}"
        input:
            specs=specs_of("beaglehole2024", figure),
            measurements=measurements_of("beaglehole2024", figure),
        output:
            table=f"<results>/tables/beaglehole2024/{figure}.csv",
            meta=f"<results>/tables/beaglehole2024/{figure}.meta.json",
        log:
            f"<logs>/collect/beaglehole2024.{figure}.log",
        benchmark:
            f"<benchmarks>/collect/beaglehole2024.{figure}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            figure=figure,
            code=code_hash("feature_alignment.papers.beaglehole2024.tables"),
        shell:
            "python -m feature_alignment.papers.beaglehole2024.tables"
            " --figure {params.figure:q} --specs {input.specs:q}"
            " --measurements {input.measurements:q} --out {output.table:q} > {log:q} 2>&1"
