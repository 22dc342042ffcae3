rule tables:
    input:
        joined=PATHS.results,
        pool=PATHS.pool,
    output:
        # file by file: Snakemake sees that one is gone, and does not look into folders
        [
            (
                report(
                    path,
                    caption="../report/table.rst",
                    category="Tables",
                    labels={"table": Path(path).stem},
                )
                if path.endswith(".csv")
                else path
            )
            for path in STUDY.tables
        ],
    log:
        PATHS.log("tables"),
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.results_part,
        code=version("tables"),
        folder=lambda _, output: str(Path(output[0]).parent),
    shell:
        "python -P -m leakgap tables --study {params.study:q} --joined {input.joined:q} "
        "--pool {input.pool:q} --out {params.folder:q} > {log:q} 2>&1"


rule figures:
    input:
        joined=PATHS.results,
        pool=PATHS.pool,
    output:
        [
            (
                report(
                    path,
                    caption="../report/figure.rst",
                    category="Figures",
                    labels={"figure": Path(path).stem},
                )
                if path.endswith(".svg")
                else path
            )
            for path in STUDY.figures
        ],
    log:
        PATHS.log("figures"),
    benchmark:
        PATHS.benchmark("figures")
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.results_part,
        code=version("figures"),
        folder=lambda _, output: str(Path(output[0]).parent),
    shell:
        "python -P -m leakgap figures --study {params.study:q} --joined {input.joined:q} "
        "--pool {input.pool:q} --out {params.folder:q} > {log:q} 2>&1"


rule order:
    input:
        joined=PATHS.results,
        scores=STUDY.scores,
    output:
        page=PATHS.order,
        table=PATHS.table("order"),
    log:
        PATHS.log("order"),
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.results_part,
        code=version("order"),
    shell:
        "python -P -m leakgap order --study {params.study:q} --joined {input.joined:q} "
        "--scores {input.scores:q} --page {output.page:q} --out {output.table:q} > {log:q} 2>&1"


rule report:
    input:
        joined=PATHS.results,
        claims=PATHS.claims if STUDY.augments else [],
        order=PATHS.order,
        tables=STUDY.tables,
        figures=STUDY.figures,
    output:
        report(PATHS.report, caption="../report/report.rst", category="Report"),
    log:
        PATHS.log("report"),
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part("data", "grid", "train", "query", "attack", "report"),
        code=version("report"),
        tables=lambda _, input: str(Path(input.tables[0]).parent),
        figures=lambda _, input: str(Path(input.figures[0]).parent),
        claims=lambda _, input: ["--claims", input.claims] if input.claims else [],
    shell:
        "python -P -m leakgap report --study {params.study:q} --joined {input.joined:q} "
        "{params.claims:q} --tables {params.tables:q} --figures {params.figures:q} "
        "--order {input.order:q} "
        "--out {output:q} > {log:q} 2>&1"


onsuccess:
    if Path(PATHS.report).is_file():
        logger.info(f"The report: {PATHS.report}")
