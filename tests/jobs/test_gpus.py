"""GPUs are counted, shared out and refused by stand-ins of the driver's command and of torch's answers; no GPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from test_workflow import MINI, copy_sources

from leakgap import LeakgapError
from leakgap.jobs import gpus
from leakgap.jobs.gpus import VISIBLE, counted, taken, unfit, visible

TWO = "GPU 0: NVIDIA A100 (UUID: GPU-1)\nGPU 1: NVIDIA A100 (UUID: GPU-2)\n"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an nvidia-smi first on PATH that says what it is told; locks lie in a folder of their own."""
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))

    def say(text: str, status: int = 0) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin/said").write_text(text)
        (tmp_path / "bin/nvidia-smi").write_text(f"#!/bin/sh\ncat {tmp_path}/bin/said\nexit {status}\n")
        (tmp_path / "bin/nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")

    return say


def test_gpus_are_those_of_the_driver_that_are_visible(driver, monkeypatch):
    assert (visible(), counted()) == ([], 0)
    driver(TWO)
    assert (visible(), counted()) == (["0", "1"], 2)
    for told, names in (
        ("1", ["1"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", ["0"]),
        ("GPU-2, GPU-1", ["GPU-2", "GPU-1"]),
    ):
        monkeypatch.setenv(VISIBLE, told)
        assert (visible(), counted()) == (names, len(names))


def test_a_driver_that_fails_is_told_and_none_is_used(driver):
    driver("Failed to initialize NVML: Driver/library version mismatch\n", 18)
    assert visible() == []
    with pytest.raises(
        LeakgapError, match=r"nvidia-smi fails \(Failed to initialize NVML: .*\): no GPU is used"
    ):
        counted()


def test_a_scheduler_s_gpu_without_the_driver_s_command_is_not_handed_out_but_used(driver, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv(VISIBLE, "0")
    assert (visible(), counted()) == (["0"], 0)


HOLD = """
import os, sys
from leakgap.jobs.gpus import taken
with taken():
    print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    sys.stdin.read()
"""


def test_trainings_side_by_side_begin_on_the_gpu_that_the_fewest_hold(driver, tmp_path, monkeypatch):
    """And give it back, killed or not."""
    driver(TWO)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    started: list[subprocess.Popen] = []

    def start() -> str:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        return started[-1].stdout.readline().strip()

    try:
        assert [start() for _ in range(3)] == ["0,1", "1,0", "0,1"]
        started[0].kill()
        started[0].wait()
        with taken():  # the third is the second holder of GPU 0, so that its first place is free
            assert os.environ[VISIBLE] == "0,1"
        started[1].communicate()
        assert start() == "0,1"
        assert start() == "1,0"
    finally:
        for each in started:
            each.kill()
            each.communicate()
    assert VISIBLE not in os.environ


def test_nothing_changes_where_no_gpu_is_visible(driver, tmp_path, monkeypatch):
    for told in (None, "", "-1"):
        if told is not None:
            monkeypatch.setenv(VISIBLE, told)
        with taken():
            assert os.environ.get(VISIBLE) == told
        assert unfit("bf16") is None
    assert list(tmp_path.glob("*.lock")) == []


@pytest.mark.parametrize(
    ("capability", "precision", "told"),
    [
        ((8, 0), "bf16", None),
        ((8, 9), "bf16", None),
        ((7, 5), "fp32", None),
        ((7, 5), "bf16", "too old for bfloat16: train.precision: fp32"),
        ((7, 0), "fp32", "is sm_70, and torch .* knows sm_75, sm_80, sm_90: take another torch"),
        ((12, 0), "bf16", "is sm_120, and"),
    ],
)
def test_gpus_that_torch_can_t_train_on_are_told_with_what_to_do(
    driver, monkeypatch, capability, precision, told
):
    driver(TWO)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA X")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90"])
    reason = unfit(precision)
    assert (reason is None) == (told is None)
    if told:
        assert re.search(told, reason)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that torch can use")
@pytest.mark.parametrize("name", ["SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS", "SLURM_GPUS_ON_NODE"])
def test_a_gpu_that_slurm_has_allotted_is_not_lost_silently(driver, monkeypatch, name):
    for count in ("", "0") if name.startswith("SLURM_GPUS") else ("",):
        monkeypatch.setenv(name, count)
        assert unfit("fp32") is None
    told = "1" if name.startswith("SLURM_GPUS") else "0"  # how many, or the first one's name
    monkeypatch.setenv(name, told)
    assert unfit("fp32").startswith(f"SLURM has allotted a GPU ({name}={told}), and torch")
    assert unfit("fp32").endswith(f"to train on the CPU all the same: {VISIBLE}= in the environment")
    monkeypatch.setenv(VISIBLE, "")
    assert unfit("fp32") is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that torch can use")
def test_a_training_that_was_given_a_gpu_does_not_go_on_without_it(tmp_path, monkeypatch, capsys):
    from leakgap.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VISIBLE, "")
    study = yaml.safe_dump(MINI)
    Path("study.yaml").write_text(study)
    words = ["--study", "study.yaml"]
    assert main(["pool", *words]) == 0
    monkeypatch.setenv(VISIBLE, "0")
    model = ["train", *words, "--technique", "none", "--mask", "m000"]
    assert main(model) == 1
    told = capsys.readouterr().err
    assert "leakgap train: none/m000: there is a GPU, and torch" in told
    assert f"{VISIBLE}= in the environment" in told
    assert not Path("results/mini/logits").exists()


def running_at_once(where: Path, *arguments: str, gpu: bool) -> int:
    """The most trainings that Snakemake runs at a time on four cores, of eight that sleep."""
    copy_sources(where)
    (where / "study.yaml").write_text(yaml.safe_dump(MINI))
    rule = where / "workflow/rules/train.smk"
    text = rule.read_text()
    shell = text[text.index("        # exec:") :]
    # each leaves the times of its beginning and its end
    rule.write_text(
        text.replace(shell, '        "date +%s.%N > {log}; sleep 1; date +%s.%N >> {log}; touch {output}"\n')
    )
    (where / "bin").mkdir()
    if gpu:
        (where / "bin/nvidia-smi").write_text(f"#!/bin/sh\nprintf '{TWO}'\n")
        (where / "bin/nvidia-smi").chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", VISIBLE)}
    words = ["--cores", "4", "--until", "train", *arguments, "--configfile", "study.yaml"]
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", *words],
        cwd=where,
        env=environment | {"PATH": f"{where}/bin{os.pathsep}{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    times = [
        tuple(map(float, log.read_text().split())) for log in where.glob("results/mini/logs/train/*/*.log")
    ]
    assert len(times) == 10
    return max(sum(begun <= moment < ended for begun, ended in times) for moment, _ in times)


@pytest.mark.parametrize(
    ("gpu", "arguments", "most"),
    [
        (False, [], 4),
        (True, [], 2),
        (True, ["--resources", "gpu=3"], 3),
        (True, ["--set-resources", "train:gpu=2"], 1),
    ],
)
def test_trainings_at_a_time_are_as_many_as_gpus_or_as_cores_without(tmp_path, gpu, arguments, most):
    assert running_at_once(tmp_path, *arguments, gpu=gpu) == most
