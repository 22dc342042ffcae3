"""The claims of the study that this began with: of a study of augmentation alone."""


localrules:
    claims,


rule claims:
    input:
        PATHS.results,
    output:
        claims=PATHS.claims,
        page=report(
            PATHS.claims_page, caption="../report/claims.rst", category="Claims"
        ),
    log:
        PATHS.log("claims"),
    benchmark:
        PATHS.benchmark("claims")
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.results_part,
        code=version("claims"),
    shell:
        "python -P -m leakgap claims --study {params.study:q} --joined {input:q} "
        "--out {output.claims:q} --page {output.page:q} > {log:q} 2>&1"
