rule measure_lejeune2024_fig2:
    input:
        spec=specs_of("lejeune2024", "fig2_penalties"),
    output:
        table="<results>/tables/lejeune2024/fig2_penalties.csv",
        meta="<results>/tables/lejeune2024/fig2_penalties.meta.json",
    log:
        "<logs>/measure/lejeune2024.fig2_penalties.log",
    benchmark:
        "<benchmarks>/measure/lejeune2024.fig2_penalties.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("feature_alignment.papers.lejeune2024.penalties"),
    shell:
        "python -m feature_alignment.papers.lejeune2024.penalties"
        " --spec {input.spec:q} --out {output.table:q} > {log:q} 2>&1"


for figure in EXPERIMENTS["lejeune2024"].figures:
    if figure == "fig2_penalties":
        continue

    rule:
        name:
            f"collect_{rule_name('lejeune2024', figure)}"
        input:
            specs=specs_of("lejeune2024", figure),
            measurements=measurements_of("lejeune2024", figure),
        output:
            table=f"<results>/tables/lejeune2024/{figure}.csv",
            meta=f"<results>/tables/lejeune2024/{figure}.meta.json",
        log:
            f"<logs>/collect/lejeune2024.{figure}.log",
        benchmark:
            f"<benchmarks>/collect/lejeune2024.{figure}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            figure=figure,
            code=code_hash("feature_alignment.papers.lejeune2024.tables"),
        shell:
            "python -m feature_alignment.papers.lejeune2024.tables"
            " --figure {params.figure:q} --specs {input.specs:q}"
            " --measurements {input.measurements:q} --out {output.table:q} > {log:q} 2>&1"
