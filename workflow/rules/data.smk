from leakgap.versions import version


localrules:
    download,
    pool,
    masks,
    models,


rule download:
    output:
        touch(f"{PATHS.root}/download.done"),
    log:
        f"{PATHS.root}/logs/download.log",
    conda:
        "../../envs/train.yaml"
    params:
        study=STUDY.part("data.dataset", "data.root"),
    shell:
        "python -m leakgap download --study {params.study:q} > {log:q} 2>&1"


rule pool:
    input:
        f"{PATHS.root}/download.done",
    output:
        ensure(PATHS.pool, non_empty=True),
    log:
        f"{PATHS.root}/logs/pool.log",
    conda:
        "../../envs/train.yaml"
    params:
        study=STUDY.part(
            "data.dataset", "data.root", "data.size", "data.side", "data.seed"
        ),
        code=version("pool"),
    shell:
        "python -m leakgap pool --study {params.study:q} > {log:q} 2>&1"


rule masks:
    input:
        PATHS.pool,
    output:
        ensure(PATHS.masks, non_empty=True),
    log:
        f"{PATHS.root}/logs/masks.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part(
            "data.dataset", "data.size", "data.reserved", "data.seed", "grid.masks"
        ),
        code=version("masks"),
    shell:
        "python -m leakgap masks --study {params.study:q} > {log:q} 2>&1"


rule models:
    output:
        PATHS.models,
    log:
        f"{PATHS.root}/logs/models.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        study=STUDY.part("grid"),
    shell:
        "python -m leakgap models --study {params.study:q} > {log:q} 2>&1"
