rule compare:
    input:
        tables=tables_to_compare,
        images=images_to_compare,
    output:
        csv="<results>/comparison.csv",
        page="<results>/comparison.md",
    log:
        "<logs>/compare.log",
    benchmark:
        "<benchmarks>/compare.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        published=f"reference/{config['scale']}/tables",  # no input, or it would be published first
        checksum=checksum_of_published,
        code=code_hash("feature_alignment.publish.compare"),
    shell:
        "python -m feature_alignment.publish.compare --fresh {input.tables:q}"
        " --published {params.published:q} --csv {output.csv:q} --page {output.page:q} 2> {log:q}"
