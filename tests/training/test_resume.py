"""Training jobs that are killed at any moment, run out of disk, or run twice at once.

Jobs are real processes of `python -m leakgap train`. Most are forked from a server that has imported torch,
which saves the seconds of its start.
"""

import itertools
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tqdm import tqdm

from leakgap import LeakgapError, files
from leakgap.__main__ import main
from leakgap.data.datasets import load
from leakgap.data.masks import balanced_masks, write_masks
from leakgap.data.pool import Pool, write_pool
from leakgap.study import Study
from leakgap.training import builtin as training
from leakgap.training.loop import Job, Trainer

STUDY = {
    "name": "s",
    "data": {"dataset": "digits", "size": 200, "reserved": 20},
    "grid": {"techniques": ["none", "crop+mirror+cutout+policy"], "masks": 4},
    "train": {
        "width": 2,
        "epochs": 14,
        "steps": [3, 8, 14],
        "batch_size": 50,
        "precision": "fp32",
        "save_seconds": 0,
    },
}


@pytest.fixture(scope="session")
def server():
    """Fork jobs from a fresh process that has imported what a job imports and started no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["leakgap.training.builtin"])
    return context


@pytest.fixture
def folder(tmp_path):
    prepare(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Logits of models that nobody disturbed, and the seconds that one takes."""
    home, started = tmp_path_factory.mktemp("whole"), os.getcwd()
    prepare(home)
    os.chdir(home)
    technique = STUDY["grid"]["techniques"][1]
    for mask in range(4):
        assert main(arguments(technique, f"m{mask:03}")) == 0
    os.chdir(started)
    paths = sorted(home.rglob("*.parquet"))
    return {path.stem: contents(path) for path in paths}


def prepare(home):
    study = Study.load(STUDY)
    pool = load("digits", size=200)
    member = balanced_masks(4, 200, 0, 20)
    write_pool(home / study.paths.pool, pool)
    write_masks(home / study.paths.masks, member, ~member.any(0))


def arguments(technique, mask, **train):
    study = STUDY | {"train": STUDY["train"] | train}
    return ["train", "--study", json.dumps(study), "--technique", technique, "--mask", mask]


def contents(path):
    table = pq.read_table(path)
    return table["phi"].to_numpy().tobytes(), table["logits"].combine_chunks().flatten().to_numpy().tobytes()


def job(home, words, sabotage=None, disk=None):
    """Run one job in this process: an exit status, its words on stderr in the file `told`."""
    os.chdir(home)
    sys.stderr = open("told", "w", buffering=1)  # noqa: SIM115
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which the killed leave behind
    if isinstance(sabotage, str):
        SABOTAGE[sabotage]()
    elif sabotage:
        signal_before(*sabotage)
    if disk:
        resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    sys.exit(main(words))


def run(server, home, *options):
    """Run a job in a process of its own and return its exit status."""
    process = server.Process(target=job, args=(home, *options))
    process.start()
    process.join()
    return process.exitcode


def told(home):
    return (home / "told").read_text().splitlines()[-1]


def found(home, *, hidden=True):
    """Names of the files of the models, resumes and logits."""
    everything = (home / "results").rglob("*.p*t*")
    return sorted(path.name for path in everything if hidden or not path.name.startswith("."))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_in(owner, name, when=lambda *_: True, after=0):
    """Make a function kill its process, from a certain call on."""
    original, calls = getattr(owner, name), []

    def deadly(*values, **keywords):
        if when(*values):
            calls.append(None)
            if len(calls) > after:
                die()
        return original(*values, **keywords)

    setattr(owner, name, deadly)


def signal_before(moment, number):
    """Send this process a signal before the given one of all calls in MOMENTS, counted from 0."""
    calls = itertools.count()

    def counted(original):
        def call(*values, **keywords):
            if next(calls) == moment:
                os.kill(os.getpid(), number)
            return original(*values, **keywords)

        return call

    for owner, name in MOMENTS:
        setattr(owner, name, counted(getattr(owner, name)))


def die_half_written():
    def half(path, data):
        if len(done) == 2:
            with path.open("wb") as file:
                file.write(bytes(data)[: len(data) // 2])
            die()
        done.append(original(path, data))

    original, done = Path.write_bytes, []
    Path.write_bytes = half


def temporary_of(suffix):
    return lambda source, *_: str(source).endswith(suffix)


SABOTAGE = {
    "half of a resume file": die_half_written,
    "before a resume file gets its name": lambda: die_in(files.os, "replace", temporary_of(".pt"), 2),
    "half of the logits": lambda: die_in(pq.ParquetWriter, "write_table", after=1),
    "before the logits get their name": lambda: die_in(files.os, "replace", temporary_of(".parquet")),
    "before the resume file goes": lambda: die_in(Path, "unlink", temporary_of("m001.pt")),
    "after epoch 5": lambda: die_in(Trainer, "epoch", after=5),
    "second step": lambda: die_in(Trainer, "logits", after=1),
}
# What a job does to get on or to be safe, in the order of an epoch; a kill may come before any of these calls.
MOMENTS = (
    (Trainer, "epoch"),
    (Trainer, "augmented"),
    (Trainer, "step"),
    (Trainer, "logits"),
    (Path, "write_bytes"),
    (files.os, "fsync"),
    (files.os, "replace"),
    (Path, "unlink"),
    (pq.ParquetWriter, "write_table"),
)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_a_model_ends_up_bit_identical(server, folder, uninterrupted, seed):
    """Six kills one after another, by progress instead of time: the seed says where, so each can be replayed."""
    technique, mask = STUDY["grid"]["techniques"][1], f"m{seed:03}"
    path = folder / f"results/s/logits/{technique}/{mask}.parquet"
    rng = np.random.default_rng(seed)
    for _ in range(6):
        # a whole job has about 140 moments; what is left after a kill may end before the next one comes
        moment, number = rng.integers(60), signal.Signals(rng.choice([signal.SIGKILL, signal.SIGTERM]))
        status = run(server, folder, arguments(technique, mask), (moment, number))
        assert status in (0, -number, 128 + signal.SIGTERM)
        if path.exists():
            assert contents(path) == uninterrupted[mask]
            path.unlink()
        for resume in (folder / "results/s/resume").rglob("[!.]*.pt"):
            assert torch.load(resume, weights_only=True)["epoch"] > 0
    assert run(server, folder, arguments(technique, mask)) == 0
    assert contents(path) == uninterrupted[mask]
    assert found(folder) == [path.name]


@pytest.mark.parametrize("moment", SABOTAGE)
def test_killed_at_the_worst_moments(server, folder, uninterrupted, moment):
    words = arguments(STUDY["grid"]["techniques"][1], "m001")
    assert run(server, folder, words, moment) == -signal.SIGKILL
    assert found(folder, hidden=False) in (["m001.pt"], ["m001.parquet", "m001.pt"])
    torch.load(next((folder / "results").rglob("m001.pt")), weights_only=True)
    assert run(server, folder, words) == 0
    assert found(folder) == ["m001.parquet"]
    assert contents(next(folder.rglob("m001.parquet"))) == uninterrupted["m001"]


@pytest.mark.parametrize(("moment", "epoch"), [(0, 1), (3, 1), (4, 2), (14, 4)])
def test_sigterm_saves_the_epoch_at_hand(server, folder, uninterrupted, moment, epoch):
    """An epoch without saving has four moments: its start, augmentation, two batches; the third has logits too."""
    words = arguments(STUDY["grid"]["techniques"][1], "m002", save_seconds=1e6)
    resume = folder / "results/s/resume" / words[4] / "m002.pt"
    assert run(server, folder, words, (moment, signal.SIGTERM)) == 128 + signal.SIGTERM
    assert found(folder) == [resume.name]
    assert torch.load(resume, weights_only=True)["epoch"] == epoch
    assert run(server, folder, words) == 0
    assert contents(next(folder.rglob("m002.parquet"))) == uninterrupted["m002"]
    assert found(folder) == ["m002.parquet"]


def test_python_itself_killed_by_sigkill_resumes(folder, uninterrupted):
    """The whole command in a process of its own, imports included."""
    words = arguments(STUDY["grid"]["techniques"][1], "m003")
    resume = folder / "results/s/resume" / words[4] / "m003.pt"
    command = [sys.executable, "-m", "leakgap", *words]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    while not resume.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not list(folder.rglob("m003.parquet"))
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    assert contents(next(folder.rglob("m003.parquet"))) == uninterrupted["m003"]
    assert found(folder) == ["m003.parquet"]


def test_a_full_disk_ends_the_job_with_a_sentence_and_costs_nothing(server, folder, uninterrupted):
    words = arguments(STUDY["grid"]["techniques"][1], "m001")
    run(server, folder, words, "after epoch 5")
    resume = next(folder.rglob("m001.pt"))
    before = resume.read_bytes()
    assert run(server, folder, words, None, 10_000) == 1
    assert told(folder) == (
        f"leakgap train: {words[4]}/m001: {resume.relative_to(folder)}: can't be written "
        "([Errno 27] File too large)"
    )
    assert resume.read_bytes() == before
    assert found(folder) == ["m001.pt"]
    assert run(server, folder, words) == 0
    assert contents(next(folder.rglob("m001.parquet"))) == uninterrupted["m001"]


def test_no_room_for_the_logits(server, folder, uninterrupted):
    words = arguments(STUDY["grid"]["techniques"][1], "m001", save_seconds=1e6)
    assert run(server, folder, words, None, 10_000) == 1
    assert "m001.parquet: can't be written (" in told(folder)
    assert found(folder) == []
    assert run(server, folder, words) == 0
    assert contents(next(folder.rglob("m001.parquet"))) == uninterrupted["m001"]


def test_an_orphan_and_its_successor_don_t_disturb_each_other(server, folder, uninterrupted):
    words = arguments(STUDY["grid"]["techniques"][1], "m000")
    processes = [server.Process(target=job, args=(folder, words)) for _ in range(3)]
    for process in processes:
        process.start()
        time.sleep(0.1)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert contents(next(folder.rglob("m000.parquet"))) == uninterrupted["m000"]
    assert found(folder) == ["m000.parquet"]


def test_a_file_deleted_and_trained_again_has_the_same_bits(server, folder, uninterrupted):
    words = arguments(STUDY["grid"]["techniques"][1], "m002")
    for _ in range(2):
        assert run(server, folder, words) == 0
        path = next(folder.rglob("m002.parquet"))
        assert contents(path) == uninterrupted["m002"]
        path.unlink()


# Resume files


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    pool = Pool({"images": rng.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)}, np.arange(40) % 2, 2)
    settings = {"width": 1, "epochs": 4, "steps": [1, 4], "save_seconds": 0, "crop": {"pad": 2}}

    def make(technique="crop", seed=1, views=1, member=slice(0, 20), **changes):
        inside = np.zeros(40, bool)
        inside[member] = True
        train = Study.load({"name": "s", "train": settings | changes}).train
        return Job(pool, inside, technique, seed, train, views)

    return make


class Interrupted(Exception):
    """What stops a job in this process."""


def begin(made, resume):
    """Train until the third epoch, with the state of the second one saved."""

    def stop(progress):
        if progress.epoch == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        training.train(made, resume, stop)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 0.2}, "train.lr"),
        ({"lr": 0.2, "batch_size": 8, "crop": {"pad": 1}}, "train.batch_size, train.crop, train.lr"),
        ({"width": 2}, "train.width"),
        ({"optimizer": "adamw"}, "train.optimizer"),
        ({"dropout": 0.1, "norm": "group"}, "train.dropout, train.norm"),
        ({"epochs": 5}, "train.epochs"),
        ({"steps": [1, 3, 4]}, "train.steps"),
        ({"threads": 2}, "train.threads"),
        ({"technique": "none"}, "technique, train.crop"),
        ({"seed": 2}, "model seed"),
        ({"views": 2}, "query.views"),
        ({"member": slice(1, 21)}, "images, labels or mask"),
    ],
)
def test_a_state_of_other_settings_is_refused_by_name(small, tmp_path, changes, named):
    resume = tmp_path / "m000.pt"
    begin(small(), resume)
    before = resume.read_bytes()
    with pytest.raises(LeakgapError) as raised:
        training.train(small(**changes), resume)
    assert str(raised.value) == (
        f"{resume}: it was saved under other settings ({named}); "
        "delete it to start anew, or put the settings back"
    )
    assert resume.read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_the_epoch_at_hand(small, tmp_path, number):
    whole = training.train(small(), tmp_path / "whole.pt")
    with pytest.raises(SystemExit) as stopped:
        training.train(
            small(save_seconds=10**6), tmp_path / "m000.pt", lambda _: os.kill(os.getpid(), number)
        )
    assert stopped.value.code == 128 + number
    epochs = []
    resumed = training.train(small(), tmp_path / "m000.pt", lambda progress: epochs.append(progress.epoch))
    assert epochs == [2, 3, 4]
    assert resumed.history == whole.history


def test_a_second_ctrl_c_does_not_wait(small, tmp_path):
    def twice(_):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        training.train(small(), tmp_path / "m000.pt", twice)


def test_how_often_it_is_saved_is_no_other_setting(small, tmp_path):
    begin(small(), tmp_path / "m000.pt")
    assert training.train(small(save_seconds=9, cutout={"size": 3}), tmp_path / "m000.pt").epoch == 4


def test_progress_goes_on_as_if_nothing_had_happened(small, tmp_path):
    whole = training.train(small(), tmp_path / "whole.pt")
    begin(small(), tmp_path / "m000.pt")
    epochs = []
    resumed = training.train(small(), tmp_path / "m000.pt", lambda progress: epochs.append(progress.epoch))
    assert epochs == [3, 4]
    assert resumed.history == whole.history
    assert resumed.seconds > 0
    assert [step.tolist() for step in resumed.logits] == [step.tolist() for step in whole.logits]


OTHER_LAYERS = {"optimizer": "adamw", "lr": 0.01, "dropout": 0.5, "norm": "group", "label_smoothing": 0.1}


def test_other_optimizers_and_layers_go_on_too(small, tmp_path):
    whole = training.train(small(**OTHER_LAYERS), tmp_path / "whole.pt")
    begin(small(**OTHER_LAYERS), tmp_path / "m000.pt")
    torch.rand(3)
    resumed = training.train(small(**OTHER_LAYERS), tmp_path / "m000.pt")
    assert [step.tolist() for step in resumed.logits] == [step.tolist() for step in whole.logits]


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("pwned",))


@pytest.mark.parametrize("damage", ["cut", "empty", "pickle", "noise", "foreign"])
def test_a_damaged_or_hostile_resume_file_is_refused(small, tmp_path, damage, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resume = tmp_path / "m000.pt"
    begin(small(), resume)
    match damage:
        case "cut":
            resume.write_bytes(resume.read_bytes()[:-100])
        case "empty":
            resume.write_bytes(b"")
        case "noise":
            resume.write_bytes(os.urandom(1000))
        case "pickle":
            torch.save({"fingerprint": Evil()}, resume)
        case "foreign":
            torch.save({"epoch": 1}, resume)
    with pytest.raises(LeakgapError) as raised:
        training.train(small(), resume)
    assert str(raised.value).startswith(f"{resume}: not a readable resume file (")
    assert str(raised.value).endswith("); delete it to start anew")
    assert "\n" not in str(raised.value)
    assert "weights_only" not in str(raised.value)  # torch's advice to run what is in it
    assert not Path("pwned").exists()


def nudge(tensor):
    tensor.view(-1)[0] += 1


@pytest.mark.parametrize(
    "edit",
    [
        lambda state: state.update(epoch=state["epoch"] - 1),
        lambda state: nudge(next(iter(state["model"].values()))),
        lambda state: nudge(state["optimizer"][-1]),
        lambda state: nudge(state["logits"][0]),
        lambda state: state["history"][0].update(loss=0.0),
        lambda state: state.update(optimizer=state["optimizer"][::-1]),
    ],
    ids=["epoch", "weights", "optimizer", "logits", "history", "order"],
)
def test_an_edited_state_of_right_types_is_refused(small, tmp_path, edit):
    resume = tmp_path / "m000.pt"
    training.train(small(), resume)
    state = torch.load(resume, weights_only=True)
    edit(state)
    torch.save(state, resume)
    with pytest.raises(LeakgapError, match=r"m000\.pt: .*its content is not as it was saved"):
        training.train(small(), resume)


def test_a_finished_state_needs_no_more_training(small, tmp_path):
    """Killed after the last epoch, before its logits were written."""
    resume = tmp_path / "m000.pt"
    whole = training.train(small(), resume)
    assert resume.exists()
    again = training.train(small(), resume, lambda _: pytest.fail("trained on"))
    assert [step.tolist() for step in again.logits] == [step.tolist() for step in whole.logits]


# Files


def test_temporary_files_are_one_s_own_and_left_ones_go(tmp_path):
    path = tmp_path / "a.csv"
    with files.atomic(path) as one, files.atomic(path) as other:
        assert one != other
        assert one.suffix == other.suffix == ".csv"
        one.write_text("1")
        other.write_text("2")
    assert path.read_text() == "1"
    process = subprocess.Popen(["true"])
    process.wait()
    dead = tmp_path / f".a.leakgap-writes-{files.HOST}-{process.pid}-00000000.csv"
    living = tmp_path / f".a.leakgap-writes-{files.HOST}-{os.getpid()}-00000000.csv"
    elsewhere = tmp_path / f".a.leakgap-writes-other-host-{process.pid}-00000000.csv"
    old = tmp_path / ".a.leakgap-writes-other-host-1-00000000.csv"
    stranger = tmp_path / f".b.leakgap-writes-{files.HOST}-{process.pid}-00000000.csv"
    for file in (dead, living, elsewhere, old, stranger):
        file.touch()
    os.utime(old, (0, time.time() - 4000))
    with files.atomic(path) as one:
        one.write_text("3")
    assert sorted(tmp_path.iterdir()) == sorted([path, living, elsewhere, stranger])
    dead.touch()
    files.discard(path)
    files.discard(path)
    assert sorted(tmp_path.iterdir()) == sorted([living, elsewhere, stranger])


@pytest.mark.parametrize(
    "name",
    [
        ".report.draft-john-20261130.html",
        ".report.leakgap-writes-notes-of-may-20261130.html",
        ".report.x.html",
    ],
)
def test_a_hidden_file_that_merely_looks_like_ours_stays(tmp_path, name):
    mine, path = tmp_path / name, tmp_path / "report.html"
    mine.touch()
    os.utime(mine, (0, 0))
    with files.atomic(path) as temporary:
        temporary.touch()
    files.discard(path)
    assert list(tmp_path.iterdir()) == [mine]


def test_what_fails_leaves_the_file_before_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail(error):
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())
    with pytest.raises(LeakgapError, match=r"a\.txt: can't be written \(\[Errno 28\] No space left"):
        fail(OSError(28, "No space left on device"))
    with pytest.raises(LeakgapError, match=r"a\.txt/b: can't be written"), files.atomic(path / "b"):
        pass
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
