include: "workflow/Snakefile"


workflow.default_target = (
    "all"  # Snakemake forgets which rule of an included file it was
)
