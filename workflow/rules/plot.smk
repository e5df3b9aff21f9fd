for paper, figure in every_figure():

    rule:
        name:
            f"plot_{rule_name(paper, figure)}"
        input:
            table=tables_of([(paper, figure)], f"redrawing {paper}/{figure}"),
            meta=metas_of([(paper, figure)]),
            arrays=arrays_of(paper, figure),
        output:
            pdf=f"<figures>/{paper}/{figure}.pdf",
            png=report(
                f"<figures>/{paper}/{figure}.png",
                caption=caption_of(paper, figure),
                category=paper,
                labels=labels_of(paper, figure, "picture"),
            ),
            csv=report(
                f"<figures>/{paper}/{figure}.csv",
                caption="../report/table.rst",
                category=paper,
                labels=labels_of(paper, figure, "table"),
            ),
        log:
            f"<logs>/plot/{paper}.{figure}.log",
        benchmark:
            f"<benchmarks>/plot/{paper}.{figure}.tsv"
        group:
            "figures"
        conda:
            "../envs/plots.yml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            figure=f"{paper}/{figure}",
            code=code_hash(
                "feature_alignment.plots.draw", f"feature_alignment.papers.{paper}.plots.{figure}"
            ),
        shell:
            "python -m feature_alignment.plots.draw --figure {params.figure:q}"
            " --table {input.table:q} --arrays={input.arrays:q}"
            " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1;"
            " cp {input.table:q} {output.csv:q} 2>> {log:q}"

    describe(f"plot_{rule_name(paper, figure)}", titled(paper, figure))
