for figure in (
    "fig1_eigenfunctions",
    "a1_half_disk",
    "fig2_spectrum",
    "fig3_alignment",
    "fig4_difficulty",
    "a2_depth",
    "a3_resnet",
    "a4_learning_rate",
):

    rule:
        name:
            f"collect_{rule_name('baratin2021', figure)}"
        input:
            specs=specs_of("baratin2021", figure),
            measurements=measurements_of("baratin2021", figure),
        output:
            table=f"<results>/tables/baratin2021/{figure}.csv",
            meta=f"<results>/tables/baratin2021/{figure}.meta.json",
        log:
            f"<logs>/collect/baratin2021.{figure}.log",
        benchmark:
            f"<benchmarks>/collect/baratin2021.{figure}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            figure=figure,
            code=code_hash("feature_alignment.papers.baratin2021.tables"),
        shell:
            "python -m feature_alignment.papers.baratin2021.tables"
            " --figure {params.figure:q} --specs {input.specs:q}"
            " --measurements {input.measurements:q} --out {output.table:q} > {log:q} 2>&1"


rule measure_baratin2021_fig5:
    input:
        specs=specs_of("baratin2021", "fig5_supernat"),
    output:
        table="<results>/tables/baratin2021/fig5_supernat.csv",
        meta="<results>/tables/baratin2021/fig5_supernat.meta.json",
    log:
        "<logs>/measure/baratin2021.fig5_supernat.log",
    benchmark:
        "<benchmarks>/measure/baratin2021.fig5_supernat.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("feature_alignment.papers.baratin2021.supernat"),
    shell:
        "python -m feature_alignment.papers.baratin2021.supernat"
        " --specs {input.specs:q} --out {output.table:q} > {log:q} 2>&1"


rule collect_baratin2021_fig6:
    input:
        specs=specs_of("baratin2021", "fig6_complexity"),
        measurements=measurements_of("baratin2021", "fig6_complexity"),
    output:
        table="<results>/tables/baratin2021/fig6_complexity.csv",
        meta="<results>/tables/baratin2021/fig6_complexity.meta.json",
    log:
        "<logs>/collect/baratin2021.fig6_complexity.log",
    benchmark:
        "<benchmarks>/collect/baratin2021.fig6_complexity.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("feature_alignment.papers.baratin2021.collect_complexity"),
    shell:
        "python -m feature_alignment.papers.baratin2021.collect_complexity"
        " --figure fig6_complexity --specs {input.specs:q}"
        " --measurements {input.measurements:q} --out {output.table:q} > {log:q} 2>&1"
