for paper, figure in every_figure():

    rule:
        name:
            f"collect_{rule_name(paper, figure)}"
        input:
            specs=specs_of(paper, figure),
            measurements=measurements_of(paper, figure),
        output:
            table=f"<results>/tables/{paper}/{figure}.csv",
            meta=f"<results>/tables/{paper}/{figure}.meta.json",
        log:
            f"<logs>/collect/{paper}.{figure}.log",
        benchmark:
            f"<benchmarks>/collect/{paper}.{figure}.tsv"
        group:
            "figures"
        conda:
            "../envs/compute.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            figure=figure,
            record=record_of(paper, figure),
            code=code_of_table(paper),
        shell:
            "python -m feature_alignment.run.collecting --figure {params.figure:q}"
            " --record {params.record:q} --specs {input.specs:q}"
            " --measurements {input.measurements:q} --out {output.table:q} > {log:q} 2>&1"

    describe(f"collect_{rule_name(paper, figure)}", f"The table of {paper}/{figure}.")


rule keep_arrays:
    """The arrays that a figure shows besides its table."""
    input:
        arrays=lambda w: measurements_of(w.paper, w.figure)[0].replace(".csv", ".npz"),
        meta=lambda w: measurements_of(w.paper, w.figure)[0].replace(".csv", ".meta.json"),
    output:
        arrays="<results>/tables/{paper}/{figure}.npz",
    log:
        "<logs>/collect/{paper}.{figure}.arrays.log",
    benchmark:
        "<benchmarks>/collect/{paper}.{figure}.arrays.tsv"
    group:
        "figures"
    conda:
        "../envs/compute.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        code=code_hash("feature_alignment.run.keeping"),
    shell:
        "python -m feature_alignment.run.keeping --arrays {input.arrays:q}"
        " --out {output.arrays:q} > {log:q} 2>&1"
