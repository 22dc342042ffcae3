from leakgap.versions import version


rule tables:
    input:
        [PATHS.joined(table) for table in PATHS.ATTACK_TABLES],
        [PATHS.exposure(*job) for job in STUDY.attack_jobs],
    output:
        report(
            directory(PATHS.tables),
            patterns=["{name}.csv"],
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{name}"},
        ),
    log:
        f"{PATHS.root}/logs/tables.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part(
            "data.dataset", "grid", "train.epochs", "train.steps", "attack"
        ),
        code=version("tables"),
    shell:
        "python -m leakgap tables --study {params.study:q} > {log:q} 2>&1"


rule figures:
    input:
        [PATHS.joined(table) for table in PATHS.ATTACK_TABLES],
        [PATHS.exposure(*job) for job in STUDY.attack_jobs],
        PATHS.pool,
    output:
        report(
            directory(PATHS.figures),
            patterns=["{name}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
    log:
        f"{PATHS.root}/logs/figures.log",
    benchmark:
        f"{PATHS.root}/benchmarks/figures.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part("grid", "train.epochs", "train.steps", "attack"),
        code=version("figures"),
    shell:
        "python -m leakgap figures --study {params.study:q} > {log:q} 2>&1"


rule claims:
    input:
        [PATHS.joined(table) for table in PATHS.ATTACK_TABLES],
    output:
        f"{PATHS.claims}.json",
        report(f"{PATHS.claims}.md", caption="../report/claims.rst", category="Claims"),
    log:
        f"{PATHS.root}/logs/claims.log",
    benchmark:
        f"{PATHS.root}/benchmarks/claims.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part("grid", "attack"),
        code=version("claims"),
    shell:
        "python -m leakgap claims --study {params.study:q} > {log:q} 2>&1"


rule report:
    input:
        PATHS.models,
        PATHS.tables,
        PATHS.figures,
        f"{PATHS.claims}.json",
        [PATHS.joined(table) for table in PATHS.ATTACK_TABLES],
        [
            PATHS.logits(technique, mask)
            for technique in STUDY.grid.techniques
            for mask in STUDY.models
        ],
    output:
        report(PATHS.report, caption="../report/report.rst", category="Report"),
    log:
        f"{PATHS.root}/logs/report.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part("data", "grid", "train", "query", "attack"),
        code=version("report"),
    shell:
        "python -m leakgap report --study {params.study:q} > {log:q} 2>&1"
