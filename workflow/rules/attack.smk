from leakgap.versions import version


rule attack:
    input:
        pool=PATHS.pool,
        masks=PATHS.masks,
        target=lambda wildcards: [
            PATHS.logits(wildcards.technique, mask) for mask in STUDY.models
        ],
        shadow=lambda wildcards: [
            PATHS.logits(wildcards.shadow, mask) for mask in STUDY.masks
        ],
    output:
        PATHS.scores("{technique}", "{shadow}"),
        PATHS.exposure("{technique}", "{shadow}"),
        [
            PATHS.attack("{technique}", "{shadow}", table)
            for table in PATHS.ATTACK_TABLES
        ],
    log:
        f"{PATHS.root}/logs/attack/{{technique}}.by-{{shadow}}.log",
    benchmark:
        f"{PATHS.root}/benchmarks/attack/{{technique}}.by-{{shadow}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part("grid.masks", "grid.replicates", "attack"),
        code=version("attack"),
    shell:
        "python -m leakgap attack --study {params.study:q} "
        "--technique {wildcards.technique:q} --shadow {wildcards.shadow:q} > {log:q} 2>&1"


rule summary:
    input:
        [
            PATHS.attack(*job, table)
            for job in STUDY.attack_jobs
            for table in PATHS.ATTACK_TABLES
        ],
    output:
        [PATHS.joined(table) for table in PATHS.ATTACK_TABLES],
        PATHS.summary.replace(".parquet", ".csv"),
        PATHS.joined("pooled").replace(".parquet", ".csv"),
    log:
        f"{PATHS.root}/logs/summary.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part("grid", "attack.attackers"),
        code=version("summary"),
    shell:
        "python -m leakgap summary --study {params.study:q} > {log:q} 2>&1"
