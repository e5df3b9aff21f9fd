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
        code=code_hash("feature_alignment.experiments.lejeune2024.penalties"),
    shell:
        "python -m feature_alignment.experiments.lejeune2024.penalties"
        " --spec {input.spec:q} --out {output.table:q} > {log:q} 2>&1"


ruleorder: train_lejeune2024_students > train_run


rule train_lejeune2024_students:
    input:
        spec="<results>/specs/{paper}/{run}.json",
        arrays=prepared_datasets,
        manifests=dataset_manifests,
    output:
        measurements="<results>/runs/{paper}/{run}/{seed}.csv",
        meta="<results>/runs/{paper}/{run}/{seed}.meta.json",
        images="<results>/runs/{paper}/{run}/{seed}.npz",
    log:
        "<logs>/train_run/{paper}.{run}.{seed}.log",
    benchmark:
        "<benchmarks>/train_run/{paper}.{run}.{seed}.tsv"
    wildcard_constraints:
        paper="lejeune2024",
        run="students",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
        device="cpu",
    params:
        code=code_hash("feature_alignment.experiments.lejeune2024.teacher_student"),
        checkpoint=f"{RESULTS}/checkpoints/{{paper}}/{{run}}/{{seed}}.safetensors",
    shell:
        "python -m feature_alignment.experiments.lejeune2024.teacher_student --spec {input.spec:q}"
        " --seed {wildcards.seed} --data {input.arrays:q} --manifest {input.manifests:q}"
        " --out {output.measurements:q} --checkpoint {params.checkpoint:q}"
        " --device {resources.device:q} --threads {threads} > {log:q} 2>&1"


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
            code=code_hash("feature_alignment.experiments.lejeune2024.collect"),
        shell:
            "python -m feature_alignment.experiments.lejeune2024.collect"
            " --figure {params.figure:q} --specs {input.specs:q}"
            " --measurements {input.measurements:q} --out {output.table:q} > {log:q} 2>&1"
