rule prepare_dataset:
    """One dataset, checked, as arrays and a manifest."""
    input:
        registry=ancient(repository("data/datasets.csv")),
    output:
        arrays="data/prepared/{dataset}.safetensors",
        manifest="data/prepared/{dataset}.json",
    log:
        "<logs>/prepare_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/prepare_dataset/{dataset}.tsv"
    conda:
        "../envs/compute.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        data_dir=str(DATA_FOLDER),
        raw="data/raw",
    params:
        files=official_files,
        code=code_hash("feature_alignment.data.prepare"),
    shell:
        "python -m feature_alignment.data.prepare"
        " --dataset {wildcards.dataset:q} --registry {input.registry:q}"
        " --data-dir={resources.data_dir:q} --raw {resources.raw:q}"
        " --out {output.arrays:q} --manifest {output.manifest:q} > {log:q} 2>&1"
