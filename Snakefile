# Snakemake looks here first; the workflow itself is in workflow/Snakefile, where catalogues look.


include: "workflow/Snakefile"


workflow.default_target = "all"  # an include keeps its own to itself
