for paper, figure in every_figure():

    rule:
        name:
            f"plot_{rule_name(paper, figure)}"
        input:
            table=tables_of([(paper, figure)], f"redrawing {paper}/{figure}"),
            meta=f"<tables>/{paper}/{figure}.meta.json",
            images=images_of(paper, figure),
        output:
            pdf=f"<figures>/{paper}/{figure}.pdf",
            png=report(
                f"<figures>/{paper}/{figure}.png",
                caption=caption_of(paper, figure),
                category=paper,
                labels=labels_of(paper, figure),
            ),
        log:
            f"<logs>/plot/{paper}.{figure}.log",
        benchmark:
            f"<benchmarks>/plot/{paper}.{figure}.tsv"
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            module=f"feature_alignment.plots.{paper}.{figure}",
            code=code_hash(f"feature_alignment.plots.{paper}.{figure}"),
        shell:
            "python -m {params.module} --table {input.table:q} --images={input.images:q}"
            " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"
