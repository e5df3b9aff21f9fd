localrules:
    write_spec,


rule write_spec:
    """All settings of one run."""
    output:
        spec="<results>/specs/{paper}/{run}.json",
    log:
        "<logs>/write_spec/{paper}.{run}.log",
    benchmark:
        "<benchmarks>/write_spec/{paper}.{run}.tsv"
    conda:
        "../envs/compute.yml"
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
    """One seed of a run: its measurements."""
    input:
        spec="<results>/specs/{paper}/{run}.json",
        # Large files are compared by their times; the manifests, by content, have their checksums
        data=prepared_of_run,
        manifests=manifests_of_run,
    output:
        measurements="<results>/runs/{paper}/{run}/{seed}.csv",
        meta="<results>/runs/{paper}/{run}/{seed}.meta.json",
        arrays="<results>/runs/{paper}/{run}/{seed}.npz",
    log:
        "<logs>/compute_run/{paper}.{run}.{seed}.log",
    benchmark:
        "<benchmarks>/compute_run/{paper}.{run}.{seed}.tsv"
    wildcard_constraints:
        paper=f"(?!(?:{made_otherwise()})[.])(?:{'|'.join(PAPERS)})",
    conda:
        "../envs/compute.yml"
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


for seeds, runs in runs_by_group().items():

    rule:
        name:
            rule_of_group(seeds)
        input:
            spec="<results>/specs/{paper}/{run}.json",
            data=prepared_of_run,
            manifests=manifests_of_run,
        output:
            measurements=expand("<results>/runs/{{paper}}/{{run}}/{seed}.csv", seed=seeds),
            meta=expand("<results>/runs/{{paper}}/{{run}}/{seed}.meta.json", seed=seeds),
            arrays=expand("<results>/runs/{{paper}}/{{run}}/{seed}.npz", seed=seeds),
        log:
            f"<logs>/compute_run/{{paper}}.{{run}}.{seeds[0]}-{seeds[-1]}.log",
        benchmark:
            f"<benchmarks>/compute_run/{{paper}}.{{run}}.{seeds[0]}-{seeds[-1]}.tsv"
        wildcard_constraints:
            paper=f"(?=(?:{'|'.join(runs)})/)(?:{'|'.join(PAPERS)})",
        conda:
            "../envs/compute.yml"
        threads: 1
        resources:
            mem_mb=16000 if config["scale"] == "paper" else 3000,
            runtime=240 * len(seeds),
            device="cpu",
        params:
            code=code_of_run,
            seeds=seeds,
            checkpoints=expand(
                f"{RESULTS}/checkpoints/{{{{paper}}}}/{{{{run}}}}/{{seed}}.safetensors", seed=seeds
            ),
        shell:
            "python -m feature_alignment.run.perform --spec {input.spec:q} --seed {params.seeds}"
            " --data {input.data:q} --manifest {input.manifests:q}"
            " --out {output.measurements:q} --checkpoint {params.checkpoints:q}"
            " --device {resources.device:q} --threads {threads} > {log:q} 2>&1"

    describe(rule_of_group(seeds), f"Seeds {seeds[0]} to {seeds[-1]} of a run, in one process.")


for (paper, run), seeds in reused_runs().items():

    rule:
        name:
            f"reuse_{paper}_{run}"
        output:
            measurements=[f"<results>/runs/{paper}/{run}/{seed}.csv" for seed in seeds],
            meta=[f"<results>/runs/{paper}/{run}/{seed}.meta.json" for seed in seeds],
            arrays=[f"<results>/runs/{paper}/{run}/{seed}.npz" for seed in seeds],
        log:
            f"<logs>/reuse/{paper}.{run}.log",
        benchmark:
            f"<benchmarks>/reuse/{paper}.{run}.tsv"
        conda:
            "../envs/compute.yml"
        threads: 1
        resources:
            mem_mb=200,
            runtime=5,
        params:
            archive=str(REUSE.archive.folder),  # no input, or it would be published first
            checksums=[REUSE.archive.meta(paper, run, seed)["checksums"] for seed in seeds],
        shell:
            "python -m feature_alignment.run.archive --archive {params.archive:q}"
            " take --out {output.measurements:q} > {log:q} 2>&1"

    describe(f"reuse_{paper}_{run}", f"Archived seeds of {paper}/{run}, taken as they are.")
