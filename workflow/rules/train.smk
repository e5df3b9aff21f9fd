rule write_spec:
    output:
        spec="<results>/specs/{paper}/{run}.json",
    log:
        "<logs>/write_spec/{paper}.{run}.log",
    benchmark:
        "<benchmarks>/write_spec/{paper}.{run}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        spec=spec_of_run,
    shell:
        "printf '%s\\n' {params.spec:q} > {output.spec:q} 2> {log:q}"


rule train_run:
    input:
        spec="<results>/specs/{paper}/{run}.json",
        arrays=prepared_datasets,
        manifests=dataset_manifests,
    output:
        measurements="<results>/runs/{paper}/{run}/{seed}.csv",
        meta="<results>/runs/{paper}/{run}/{seed}.meta.json",
    log:
        "<logs>/train_run/{paper}.{run}.{seed}.log",
    benchmark:
        "<benchmarks>/train_run/{paper}.{run}.{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=16000 if config["scale"] == "paper" else 3000,
        runtime=240,
        device="cpu",
    params:
        module=run_module,
        code=lambda wildcards: code_hash(run_module(wildcards)),
        checkpoint=f"{RESULTS}/checkpoints/{{paper}}/{{run}}/{{seed}}.safetensors",
    shell:
        "python -m {params.module} --spec {input.spec:q} --seed {wildcards.seed}"
        " --data {input.arrays:q} --manifest {input.manifests:q}"
        " --out {output.measurements:q} --checkpoint {params.checkpoint:q}"
        " --device {resources.device:q} --threads {threads} > {log:q} 2>&1"


ruleorder: train_run_with_images > train_run


rule train_run_with_images:
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
        run="|".join(runs_with_images()),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=16000 if config["scale"] == "paper" else 3000,
        runtime=240,
        device="cpu",
    params:
        module=run_module,
        code=lambda wildcards: code_hash(run_module(wildcards)),
        checkpoint=f"{RESULTS}/checkpoints/{{paper}}/{{run}}/{{seed}}.safetensors",
    shell:
        "python -m {params.module} --spec {input.spec:q} --seed {wildcards.seed}"
        " --data {input.arrays:q} --manifest {input.manifests:q}"
        " --out {output.measurements:q} --checkpoint {params.checkpoint:q}"
        " --device {resources.device:q} --threads {threads} > {log:q} 2>&1"


rule keep_images:
    input:
        images=lambda wildcards: first_images(wildcards.paper, wildcards.figure),
    output:
        images="<results>/tables/{paper}/{figure}.npz",
    log:
        "<logs>/collect/{paper}.{figure}.images.log",
    benchmark:
        "<benchmarks>/collect/{paper}.{figure}.images.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    shell:
        "cp {input.images:q} {output.images:q} > {log:q} 2>&1"
