localrules:
    download,
    pool,
    masks,
    models,


rule download:
    output:
        touch(PATHS.downloaded),
    log:
        PATHS.log("download"),
    conda:
        "../../envs/train.yaml"
    params:
        study=STUDY.part("data.dataset", "data.root"),
    shell:
        "python -P -m leakgap download --study {params.study:q} > {log:q} 2>&1"


rule pool:
    input:
        PATHS.downloaded,
        STUDY.data.files,
    output:
        PATHS.pool,
    log:
        PATHS.log("pool"),
    conda:
        "../../envs/train.yaml"
    resources:  # not a parameter: changing it leaves the pool as it is
        images=STUDY.least_side,
    params:
        study=STUDY.part(
            "data.dataset",
            "data.root",
            "data.size",
            "data.side",
            "data.seed",
            "data.groups",
        ),
        code=version("pool"),
        function=STUDY.data.code,
        files=STUDY.data.stamp,
    shell:
        "python -P -m leakgap pool --study {params.study:q} --images {resources.images} "
        "--out {output:q} > {log:q} 2>&1"


rule masks:
    input:
        PATHS.pool,
    output:
        PATHS.masks,
    log:
        PATHS.log("masks"),
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part("data.reserved", "data.seed", "data.inclusion", "grid.masks"),
        code=version("masks"),
    shell:
        "python -P -m leakgap masks --study {params.study:q} --pool {input:q} --out {output:q} > {log:q} 2>&1"


rule models:
    output:
        PATHS.models,
    log:
        PATHS.log("models"),
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part("grid.techniques", "grid.masks", "grid.replicates"),
        code=version("models"),
    shell:
        "python -P -m leakgap models --study {params.study:q} --out {output:q} > {log:q} 2>&1"
