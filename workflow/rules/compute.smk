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
        " || {{ echo cannot write {output.spec:q}, see {log:q} >&2; exit 1; }}"


rule compute_run:
    input:
        spec="<results>/specs/{paper}/{run}.json",
        # Large files are compared by their times; the manifests, by content, have their checksums
        data=lambda w: [ancient(f"data/prepared/{name}.safetensors") for name in datasets_of_run(w)],
        manifests=lambda w: [f"data/prepared/{name}.json" for name in datasets_of_run(w)],
    output:
        measurements="<results>/runs/{paper}/{run}/{seed}.csv",
        meta="<results>/runs/{paper}/{run}/{seed}.meta.json",
        arrays="<results>/runs/{paper}/{run}/{seed}.npz",
    log:
        "<logs>/compute_run/{paper}.{run}.{seed}.log",
    benchmark:
        "<benchmarks>/compute_run/{paper}.{run}.{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=16000 if config["scale"] == "paper" else 3000,
        runtime=240,
        device="cpu",
    params:
        code=code_of_run,
        checkpoint=f"{RESULTS}/checkpoints/{{paper}}/{{run}}/{{seed}}.safetensors",
    shell:
        "python -m feature_alignment.run.perform --spec {input.spec:q} --seed {wildcards.seed}"
        " --data {input.data:q} --manifest {input.manifests:q}"
        " --out {output.measurements:q} --checkpoint {params.checkpoint:q}"
        " --device {resources.device:q} --threads {threads} > {log:q} 2>&1"
