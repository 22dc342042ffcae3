ATTACKING = {job: STUDY.attack_part(*job) for job in STUDY.attack_jobs}


rule attack:
    input:
        pool=PATHS.pool,
        masks=PATHS.masks,
        targets=lambda wildcards: [
            PATHS.logits(wildcards.technique, mask) for mask in STUDY.models
        ],
        shadows=lambda wildcards: [
            PATHS.logits(wildcards.shadow, mask) for mask in STUDY.masks
        ],
    output:
        tables=PATHS.attack("{technique}", "{shadow}"),
        scores=PATHS.scores("{technique}", "{shadow}"),
    log:
        PATHS.log("attack/{technique}.by-{shadow}"),
    benchmark:
        PATHS.benchmark("attack/{technique}.by-{shadow}")
    conda:
        "../../envs/analysis.yaml"
    params:
        study=lambda wildcards: ATTACKING[wildcards.technique, wildcards.shadow],
        code=version("attack"),
        plugins=STUDY.attack_code,
    shell:
        "python -P -m leakgap attack --study {params.study:q} "
        "--technique {wildcards.technique:q} --shadow {wildcards.shadow:q} "
        "--pool {input.pool:q} --masks {input.masks:q} "
        "--targets {input.targets:q} --shadows {input.shadows:q} "
        "--scores {output.scores:q} --out {output.tables:q} > {log:q} 2>&1"


rule summary:
    input:
        STUDY.attacked,
    output:
        PATHS.results,
        PATHS.for_people,
    log:
        PATHS.log("summary"),
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.results_part,
        code=version("summary"),
    shell:
        "python -P -m leakgap summary --study {params.study:q} "
        "--parts {input:q} --out {output:q} > {log:q} 2>&1"
