TRAINING = {
    technique: STUDY.training_part(technique) for technique in STUDY.grid.techniques
}


rule train:
    input:
        pool=PATHS.pool,
        # ancient: more masks leave the earlier ones as they are; what else would change them is among the parameters
        masks=ancient(PATHS.masks),
    output:
        ensure(PATHS.logits("{technique}", "{mask}"), non_empty=True),
    log:
        PATHS.log("train/{technique}/{mask}"),
    benchmark:
        PATHS.benchmark("train/{technique}/{mask}")
    conda:
        "../../envs/train.yaml"
    threads: STUDY.train.threads
    resources:
        save_seconds=STUDY.train.save_seconds,  # not a parameter: changing it retrains nothing
    params:
        study=lambda wildcards: TRAINING[wildcards.technique],
        code=version("train"),
        drawn=[version("masks"), STUDY.data.seed, STUDY.data.reserved],
    shell:
        # exec: a scheduler's SIGTERM must not end a shell around the training before it has saved its state
        "exec python -P -m leakgap train --study {params.study:q} "
        "--technique {wildcards.technique:q} --mask {wildcards.mask:q} "
        "--pool {input.pool:q} --masks {input.masks:q} --out {output:q} "
        "--save-seconds {resources.save_seconds} > {log:q} 2>&1"
