TRAINING = {name: STUDY.training_part(name) for name in STUDY.grid.techniques}
VARIANTS = {name: STUDY.variant(name) for name in STUDY.grid.techniques}
CODE = {name: STUDY.training_code(name) for name in STUDY.grid.techniques}

# On this machine a model takes a GPU of its own, where there are any: `--resources gpu=N` says how many models at a
# time. On a cluster the profile says what a model takes.
LOCAL = workflow.is_main_process and workflow.resource_settings.nodes is None
if LOCAL and "gpu" not in workflow.global_resources:
    try:
        if there := counted():
            workflow.register_resource("gpu", there)
    except LeakgapError as error:
        logger.warning(f"{error}.")


rule train:
    input:
        # not the masks: a model draws its own, so that a grid grows without training its models again
        pool=PATHS.pool,
    output:
        PATHS.logits("{technique}", "{mask}"),
    log:
        PATHS.log("train/{technique}/{mask}"),
    benchmark:
        PATHS.benchmark("train/{technique}/{mask}")
    conda:
        "../../envs/train.yaml"
    threads: lambda wildcards: VARIANTS[wildcards.technique].train.threads
    resources:  # not parameters: changing these retrains nothing
        masks=STUDY.grid.masks,
        save_seconds=lambda wildcards: VARIANTS[wildcards.technique].train.save_seconds,
        gpu=int(LOCAL and "gpu" in workflow.global_resources),
    params:
        study=lambda wildcards: TRAINING[wildcards.technique],
        code=version("train"),
        masks=version("masks"),
        recipe=lambda wildcards: CODE[wildcards.technique],
    shell:
        # exec: a scheduler's SIGTERM must not end a shell around the training before it has saved its state
        "exec python -P -m leakgap train --study {params.study:q} "
        "--technique {wildcards.technique:q} --mask {wildcards.mask:q} "
        "--pool {input.pool:q} --masks {resources.masks} --out {output:q} "
        "--save-seconds {resources.save_seconds} > {log:q} 2>&1"
