"""The training loop against naive restatements of it, and its CUDA path without a GPU."""

import gc
import json
import math
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from leakgap import LeakgapError
from leakgap.__main__ import main
from leakgap.answers import store as logits
from leakgap.data.masks import balanced_masks, write_masks
from leakgap.data.pool import Pool, write_pool
from leakgap.study import Study, Train
from leakgap.training import importing
from leakgap.training import loop as training
from leakgap.training.builtin import fingerprint
from leakgap.training.loop import Job, Trainer, derive_seed, learning_rate, normalizer, view_of
from leakgap.training.resnet import ResNet18

CPU = torch.device("cpu")
ALL = "crop+mirror+cutout+policy"


@pytest.fixture(autouse=True)
def _leave_the_threads_alone():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def noise(n=60, channels=1, side=8, classes=3):
    """Images of noise, each class brighter than the one before."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    images = rng.integers(0, 100, (n, channels, side, side)) + 50 * labels[:, None, None, None]
    return Pool({"images": images.astype(np.uint8)}, labels, classes)


def job(technique="none", pool=None, views=1, seed=1, **train):
    pool = pool or noise()
    settings = {"width": 2, "epochs": 3, "steps": [1, 3], "batch_size": 16, "precision": "fp32"} | train
    return Job(pool, np.arange(len(pool.labels)) % 2 == 0, technique, seed, Train(**settings), views)


def finished(trainer):
    *_, progress = trainer.run()
    return progress


# Seeds, schedule, normalization, views


def test_seeds_are_reproducible_and_apart():
    keys = [(), *((i,) for i in range(500)), *((i, j) for i in range(20) for j in range(20))]
    seeds = [derive_seed(seed, *key) for seed in range(5) for key in keys]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [derive_seed(seed, *key) for seed in range(5) for key in keys]
    assert min(seeds) >= 0
    assert max(seeds) < 2**63


def test_seeds_of_neighbouring_keys_draw_independent_numbers():
    draws = [torch.rand(4000, generator=torch.Generator().manual_seed(derive_seed(0, k))) for k in range(8)]
    correlations = np.corrcoef(torch.stack(draws).numpy()) - np.eye(8)
    assert abs(correlations).max() < 4 / math.sqrt(4000)


@pytest.mark.parametrize("warmup", [0, 2, 2.5])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_learning_rate_is_the_closed_form(warmup, schedule):
    train = Train(lr=0.4, warmup=warmup, epochs=10, steps=[10], schedule=schedule)
    for done in np.linspace(0, 10, 101):
        decayed = (
            1.0 if schedule == "constant" else math.cos(math.pi / 2 * (done - warmup) / (10 - warmup)) ** 2
        )
        expected = 0.4 * (done / warmup if done < warmup else decayed)
        assert learning_rate(train, done) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [60, 9000])
def test_normalizer_is_numpys_mean_and_deviation(n):
    images = np.random.default_rng(0).integers(0, 256, (n, 3, 4, 5), dtype=np.uint8)
    images[:, 1] = 7  # a channel without any contrast
    mean, std = normalizer(images)
    wide = images.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(std, wide.std((0, 2, 3)).clip(1e-3), rtol=1e-11)


def test_normalized_images_have_mean_0_and_deviation_1_and_cutout_fills_with_0():
    trainer = Trainer(job("cutout", noise(300, 3)), CPU)
    x = trainer.normalize(trainer.images)
    assert (x.dtype, x.is_contiguous(memory_format=torch.channels_last)) == (torch.float32, True)
    assert abs(x.mean((0, 2, 3))).max() < 1e-5
    assert abs(x.std((0, 2, 3), correction=0) - 1).max() < 1e-5
    expected = (trainer.job.pool.images - trainer.job.pool.images.mean((0, 2, 3), keepdims=True)) / (
        trainer.job.pool.images.std((0, 2, 3), keepdims=True)
    )
    np.testing.assert_allclose(x, expected, atol=1e-5)
    (cutout,) = trainer.technique.operations
    np.testing.assert_allclose(cutout.fill, trainer.job.pool.images.mean((0, 2, 3)))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 33, 20)])
@pytest.mark.parametrize("view", range(18))
def test_views_are_shifted_and_mirrored_pixel_by_pixel(shape, view):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    height, width = shape[1:]
    by = max(1, height // 16)
    shifts = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    rows, columns = shifts[view // 2]

    def reflected(index, size):
        return -index if index < 0 else 2 * (size - 1) - index if index >= size else index

    expected = np.empty_like(images)
    for i in range(height):
        for j in range(width):
            from_row, column = reflected(i + rows * by, height), reflected(j + columns * by, width)
            from_column = width - 1 - column if view % 2 else column
            expected[:, :, i, j] = images[:, :, from_row, from_column]
    np.testing.assert_array_equal(view_of(torch.from_numpy(images), view), expected)


def test_the_eighteen_views_differ():
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    assert len({view_of(images, view).numpy().tobytes() for view in range(18)}) == 18


# The step


@pytest.mark.parametrize(
    ("momentum", "nesterov", "decay"),
    [(0.9, False, 5e-4), (0.9, True, 5e-4), (0.0, False, 0.0), (0.8, True, 0)],
)
def test_a_step_is_that_of_torchs_optimizer(momentum, nesterov, decay):
    trainer = Trainer(job(momentum=momentum, nesterov=nesterov, weight_decay=decay, lr=0.01), CPU)
    model = deepcopy(trainer.model)
    options = {"momentum": momentum, "weight_decay": decay, "nesterov": nesterov}
    other = torch.optim.SGD(model.parameters(), 1.0, fused=True, **options)
    for step in range(10):
        lr = 0.01 / (step + 1)
        images, labels = trainer.images[step::10], trainer.labels[step::10]
        trainer.step(images, labels, lr)
        other.param_groups[0]["lr"] = lr
        F.cross_entropy(model(trainer.normalize(images)), labels).backward()
        other.step()
        other.zero_grad()
        assert all(weight.grad is None for weight in trainer.weights)
    assert all(torch.equal(a, b) for a, b in zip(trainer.weights, model.parameters(), strict=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_step_of_adamw_is_that_of_torch_with_smoothed_labels_in_closed_form(smoothing):
    settings = {"optimizer": "adamw", "weight_decay": 0.1, "label_smoothing": smoothing}
    trainer = Trainer(job(lr=0.01, **settings), CPU)
    model = deepcopy(trainer.model)
    other = torch.optim.AdamW(model.parameters(), 1.0, weight_decay=0.1)
    for step in range(10):
        images, labels = trainer.images[step::10], trainer.labels[step::10]
        trainer.step(images, labels, 0.01 / (step + 1))
        other.param_groups[0]["lr"] = 0.01 / (step + 1)
        target = (1 - smoothing) * F.one_hot(labels, 3) + smoothing / 3
        log_p = model(trainer.normalize(images)).log_softmax(1)
        (-(target * log_p).sum(1).mean()).backward()
        other.step()
        other.zero_grad()
    for mine, theirs in zip(trainer.weights, model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_dropout_draws_by_model_and_epoch_and_is_off_in_logits():
    def loss(seed=1, epoch=1):
        trainer = Trainer(job(dropout=0.5, seed=seed), CPU)
        trainer.model.load_state_dict(start)
        torch.rand(7)  # the global random state is no input
        return trainer.epoch(epoch)["loss"]

    start = Trainer(job(dropout=0.5), CPU).model.state_dict()
    start = {name: value.clone() for name, value in start.items()}
    assert loss() == loss() != loss(epoch=2)
    trainer = Trainer(job(dropout=0.5), CPU)
    assert torch.equal(trainer.logits(), trainer.logits())


def test_an_epoch_is_the_loop_that_anyone_would_write():
    """One image augmented at a time, normalized in float64, torch's own optimizer.

    Memory is channels_last here too: rounding flips a ReLU now and then, and ends the comparison.
    """
    trainer = Trainer(job("crop+mirror", noise(60, 1, 16), warmup=1, nesterov=True, lr=0.01), CPU)
    torch.manual_seed(1)
    model = ResNet18(3, 1, 2).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 1.0, 0.9, weight_decay=5e-4, nesterov=True)
    mean, std = (np.array(values)[:, None, None] for values in normalizer(trainer.job.pool.images))
    seen = 0.0
    for epoch in range(3):
        order, draws = trainer.draw(epoch)
        for batch, ids in enumerate(np.array_split(order.numpy(), 2)):
            optimizer.param_groups[0]["lr"] = learning_rate(trainer.job.train, epoch + batch / 2 + 0.25)
            images = [trainer.technique.apply(trainer.images[i : i + 1], draws[i : i + 1])[0] for i in ids]
            x = torch.from_numpy((torch.stack(images).numpy() - mean) / std).float()
            y = torch.from_numpy(trainer.job.pool.labels[ids])
            loss = F.cross_entropy(model(x), y)
            seen += loss.item() * len(ids) * (epoch == 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    *_, progress = trainer.run()
    for mine, other in zip(trainer.model.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    assert progress.history[2]["loss"] == pytest.approx(seen / 30, rel=1e-4)
    x = torch.from_numpy((trainer.job.pool.images - mean) / std).float()
    torch.testing.assert_close(progress.logits[1][0], model.eval()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("members", "batch_size"), [(30, 16), (31, 8), (7, 7), (8, 7), (30, 100)])
def test_an_epoch_trains_on_every_member_once_in_nearly_equal_batches(members, batch_size, monkeypatch):
    inside = np.zeros(60, bool)
    inside[np.random.default_rng(0).permutation(60)[:members]] = True
    images = np.zeros((60, 1, 8, 8), np.uint8)
    images[:, 0, 0, 0] = np.arange(60)  # each image carries its id
    train = Train(epochs=1, steps=[1], width=2, batch_size=batch_size)
    trainer = Trainer(Job(Pool({"images": images}, np.arange(60) % 3, 3), inside, "none", 1, train), CPU)
    batches, ids = [], []

    def step(x, y, lr):
        batches.append(len(x))
        ids.extend(x[:, 0, 0, 0].tolist())
        assert y.tolist() == [i % 3 for i in ids[-len(x) :]]
        return torch.zeros(len(y), 3)

    monkeypatch.setattr(trainer, "step", step)
    trainer.epoch(0)
    assert sorted(ids) == np.flatnonzero(inside).tolist()
    assert max(batches) <= batch_size
    assert max(batches) - min(batches) <= 1
    trainer.epoch(0)
    assert ids[members:] == ids[:members]
    trainer.epoch(1)
    assert ids[2 * members :] != ids[:members]


def test_order_and_augmentation_depend_on_neither_batch_size_nor_chunks(monkeypatch):
    def seen(**train):
        trainer, batches = Trainer(job(ALL, noise(60, 3), **train), CPU), []

        def step(x, y, lr):
            batches.append(x)
            return torch.zeros(len(y), 3)

        monkeypatch.setattr(trainer, "step", step)
        trainer.epoch(2)
        return torch.cat(batches)

    expected = seen()
    assert torch.equal(seen(batch_size=7), expected)
    monkeypatch.setattr(training, "AUGMENT_CHUNK", 4)
    assert torch.equal(seen(), expected)


def test_draws_belong_to_images_whatever_the_mask():
    pool = noise(60, 3)
    train = Train(width=2)
    one, other = (Trainer(Job(pool, mask, ALL, 1, train), CPU) for mask in np.random.rand(2, 60) < 0.5)  # noqa: NPY002
    assert torch.equal(one.draw(3)[1], other.draw(3)[1])
    assert not torch.equal(one.draw(3)[1], one.draw(4)[1])
    assert not torch.equal(Trainer(Job(pool, one.job.member, ALL, 2, train), CPU).draw(3)[1], one.draw(3)[1])


def test_autocast_runs_in_bf16_and_keeps_fp32_weights_and_logits():
    trainer, kinds = Trainer(job(precision="bf16"), CPU), set()
    trainer.model.stages.register_forward_hook(lambda *arguments: kinds.add(arguments[-1].dtype))
    out = trainer.step(trainer.images[:8], trainer.labels[:8], 0.1)
    assert (kinds, out.dtype, out.requires_grad) == ({torch.bfloat16}, torch.float32, False)
    assert {weight.dtype for weight in trainer.model.parameters()} == {torch.float32}
    kinds.clear()
    trainer.logits()
    assert kinds == {torch.float32}


def test_logits_are_in_eval_mode_and_independent_of_the_batch(monkeypatch):
    trainer = Trainer(job(views=2), CPU)
    trainer.epoch(0)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    whole = trainer.logits()
    assert (whole.shape, whole.dtype) == ((2, 60, 3), torch.float32)
    monkeypatch.setattr(training, "EVALUATE_CHUNK", 7)
    torch.testing.assert_close(trainer.logits(), whole, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    alone = trainer.model(trainer.normalize(trainer.images[5:6].flip(-1)))
    torch.testing.assert_close(alone[0], whole[1, 5], rtol=1e-5, atol=1e-5)


def test_training_learns():
    trainer = Trainer(job(epochs=8, steps=[8], lr=0.05, width=4), CPU)
    *_, progress = trainer.run()
    assert progress.history[-1]["accuracy"] > 0.9 > 0.7 > progress.history[0]["accuracy"]
    accuracy = (progress.logits[0][0].argmax(1) == trainer.labels).double().mean()
    assert accuracy > 0.9


def test_the_same_job_gives_the_same_bits_and_another_seed_others():
    def run(seed=1):
        torch.rand(3)  # the global random state is no input
        return torch.stack(finished(Trainer(job(ALL, noise(60, 3), seed=seed, precision="bf16"), CPU)).logits)

    assert torch.equal(run(), run())
    assert not torch.equal(run(), run(2))


# Jobs


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {
        "name": "s",
        "data": {"dataset": "digits", "reserved": 6},
        "grid": {"techniques": ["none", "crop"], "masks": 4, "replicates": 1},
        "train": {"width": 2, "epochs": 3, "steps": [1, 3], "batch_size": 16, "precision": "fp32"},
        "query": {"views": 2},
    }
    loaded = Study.load(settings)
    write_pool(loaded.paths.pool, noise())
    member = balanced_masks(4, 60, 0, 6)
    write_masks(loaded.paths.masks, member, ~member.any(0))
    return settings


def train(settings, technique="crop", mask="m001"):
    return main(["train", "--study", json.dumps(settings), "--technique", technique, "--mask", mask])


def test_a_job_writes_its_logits_with_all_that_is_known_of_the_model(study):
    assert train(study) == 0
    model = logits.read_model("results/s/logits/crop/m001.parquet")
    assert (model.study, model.technique, model.mask) == ("s", "crop", "m001")
    assert (model.epochs, model.views, model.images, model.classes) == ([1, 3], 2, 60, 3)
    about = model.about
    assert about["seed"] == derive_seed(0, 1)
    assert about["torch_version"] == torch.__version__
    assert about["device"] == ("cpu" if not torch.cuda.is_available() else torch.cuda.get_device_name())
    assert (about["threads"], torch.get_num_threads()) == (1, 1)
    assert about["seconds"]["job"] >= about["seconds"]["train"] > 0
    assert len(about["history"]) == 3
    assert about["settings"]["train.lr"] == 0.1
    assert "train.cutout" not in about["settings"]
    assert about["config_hash"]
    assert about["code_version"]
    assert not list((Path("results/s")).rglob("*.pt"))


def test_models_of_a_technique_share_their_hash_and_nothing_else(study):
    for technique, mask in (("none", "m000"), ("none", "m001"), ("none", "r000"), ("crop", "m000")):
        assert train(study, technique, mask) == 0
    names = ("none/m000", "none/m001", "none/r000", "crop/m000")
    models = [logits.read_model(f"results/s/logits/{name}.parquet") for name in names]
    hashes = [model.about["config_hash"] for model in models]
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
    seeds = [model.about["seed"] for model in models]
    assert len(set(seeds[:3])) == 3
    assert seeds[3] == seeds[0]  # same weights at the start: techniques are compared in pairs


def test_options_of_members_that_a_technique_lacks_change_nothing(study):
    def mark(**train):
        settings = Study.load({"name": "s", "train": train}).train
        return fingerprint(Job(noise(), np.ones(60, bool), "crop", 1, settings))

    one = mark(cutout={"size": 3}, crop={"pad": 2}, save_seconds=1)
    assert one == mark(crop={"pad": 2}) != mark(crop={"pad": 1})


def test_options_that_do_not_suit_a_user_s_own_images_are_told_before_any_training(study, capsys):
    study["data"]["dataset"] = "./mine.npz"  # of a size that the study file does not tell
    study["train"]["crop"] = {"pad": 8}
    assert train(study) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told == "leakgap train: crop/m001: train.crop.pad: 8 is not below the side of the images, 8"
    assert train(study, "none") == 0
    assert not list(Path("results/s").rglob("*m001.pt"))


def test_a_failed_import_leaves_garbage_collection_on():
    with pytest.raises(ModuleNotFoundError), importing():
        import leakgap.nothing  # noqa: F401
    assert gc.isenabled()


def test_training_imports_no_compiler():
    """torch.optim's classes import torch._dynamo when they are made, torchvision.ops when it is imported."""
    code = f"""
import sys
import numpy as np, torch
from leakgap.data.pool import Pool
from leakgap.study import Train
from leakgap.training import builtin, loop
pool = Pool({{"images": np.zeros((20, 1, 8, 8), np.uint8)}}, np.arange(20) % 2, 2)
made = loop.Job(pool, np.arange(20) < 10, "{ALL}", 0, Train(width=1, epochs=1, steps=[1]))
assert len(list(loop.Trainer(made, torch.device("cpu")).run())) == 1
sys.exit(bool({{"torch._dynamo", "torchvision"}} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("lr", [1e30, 1e8])
def test_a_diverged_job_says_so_and_leaves_no_logits(study, lr, capsys):
    study["train"] |= {"lr": lr, "schedule": "constant"}
    assert train(study) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("leakgap train: crop/m001: ")
    assert "finite" in told or "loss is nan" in told or "loss is inf" in told
    assert told.endswith("lower train.lr or raise train.warmup")
    assert not list(Path("results/s").rglob("*m001*"))


def test_a_model_that_fits_no_memory_is_refused_before_it_is_made(study, capsys):
    """Linux promises any memory, and kills the job when it is used."""
    study["train"] |= {"width": 4096}
    assert train(study) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"train\.width: .* of width 4096 take \d{3} GiB, and there are \d+$", told)


def test_weights_that_diverge_after_the_last_loss_are_caught(monkeypatch):
    trainer = Trainer(job(), CPU)
    monkeypatch.setattr(trainer, "logits", lambda: torch.full((1, 60, 3), math.nan))
    with pytest.raises(LeakgapError, match="some logits are not finite after epoch 1"):
        finished(trainer)


# The CUDA path


class OnCuda(ResNet18):
    """A ResNet-18 that moves to CUDA as torch can't move modules of fake tensors."""

    def to(self, *_, **__):
        for module in self.modules():
            for name, weight in module._parameters.items():
                if weight is not None:
                    layout = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
                    moved = torch.empty_like(weight, device="cuda", memory_format=layout)
                    module._parameters[name] = nn.Parameter(moved)
            for name, value in module._buffers.items():
                module._buffers[name] = torch.zeros(value.shape, dtype=value.dtype, device="cuda")
        return self


@pytest.fixture(params=["bf16", "fp32"])
def cuda(request, monkeypatch):
    """A trainer on fake CUDA tensors, with ids and draws of a batch on the real CPU."""
    made = job(ALL, noise(60, 3, 32), views=18, precision=request.param)
    order, draws = Trainer(made, CPU).draw(0)
    drawn = order, draws[order]
    monkeypatch.setattr(training, "network", lambda _, *shape: OnCuda(*shape))
    # autocast turns itself off where there is no GPU
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield Trainer(made, torch.device("cuda")), drawn


def test_nothing_in_a_step_or_in_the_logits_waits_for_the_device(cuda):
    """Up to the loss: torch has no backward pass for fake CUDA tensors without a GPU."""
    trainer, drawn = cuda
    inside = []
    trainer.model.stages.register_forward_hook(lambda *arguments: inside.append(arguments[-1]))
    images = trainer.augmented(*drawn)
    assert (images.device.type, images.dtype, images.shape) == ("cuda", torch.uint8, (30, 3, 32, 32))
    z = trainer.predict(images)
    loss = F.cross_entropy(z, trainer.labels[:30])
    assert inside[0].dtype == {"bf16": torch.bfloat16, "fp32": torch.float32}[trainer.job.train.precision]
    assert (z.device.type, z.dtype, z.shape) == ("cuda", torch.float32, (30, 3))
    assert (loss.device.type, loss.shape, loss.requires_grad) == ("cuda", (), True)
    evaluated = trainer.logits()
    assert inside[-1].dtype == torch.float32
    assert (evaluated.device.type, evaluated.dtype, evaluated.shape) == ("cpu", torch.float32, (18, 60, 3))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        pytest.param(lambda x: x * x.max().item(), "_local_scalar_dense", id="item"),
        pytest.param(lambda x: x if x.sum() > 0 else -x, "_local_scalar_dense", id="branch on a value"),
        pytest.param(lambda x: x[x > 0], "nonzero", id="data-dependent shape"),
        pytest.param(lambda x: x + torch.ones(3, 1, 1), "same device", id="mixed devices"),
    ],
)
def test_a_wait_or_a_cpu_tensor_in_the_step_would_be_seen(cuda, fault, told, monkeypatch):
    trainer, drawn = cuda
    normalize = trainer.normalize
    monkeypatch.setattr(trainer, "normalize", lambda x: fault(normalize(x)))
    with pytest.raises(Exception, match=told):
        trainer.predict(trainer.augmented(*drawn))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_gpu_trains_without_a_wait_and_as_the_cpu_does(precision):
    made = job(ALL, noise(300, 3, 32), precision=precision, epochs=2, steps=[2], deterministic=True)
    there, here = Trainer(made, torch.device("cuda")), Trainer(made, CPU)
    order, draws = here.draw(0)
    for trainer in (there, here):
        trainer.model.train()
    there.step(there.images[:16], there.labels[:16], 0.0)  # libraries load
    torch.cuda.set_sync_debug_mode("error")
    try:
        images = there.augmented(order, draws[order])
        z = there.step(images[:16], there.labels[:16], 0.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = here.augmented(order, draws[order])
    assert torch.equal(images.cpu(), expected)
    tolerance = {"bf16": 0.1, "fp32": 1e-3}[precision]
    z_here = here.step(expected[:16], here.labels[:16], 0.0)
    torch.testing.assert_close(z.cpu(), z_here, rtol=tolerance, atol=tolerance)
    first, again = (finished(Trainer(made, torch.device("cuda"))).logits[0] for _ in range(2))
    torch.use_deterministic_algorithms(False)
    assert torch.equal(first, again)


class Dispatched(TorchDispatchMode):
    """Collects the operations that are dispatched; with the kind of numbers of `cumsum`, which matters."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        whole = name == "cumsum" and not args[0].dtype.is_floating_point
        self.names.add("cumsum of whole numbers" if whole else name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_no_operation_is_one_that_torch_says_raises_on_cuda_under_determinism(optimizer):
    """By torch's own list, against what a step and an evaluation dispatch on the CPU; nothing runs on CUDA here."""
    text = torch.use_deterministic_algorithms.__doc__
    listed = re.findall(
        r":(?:class|func|meth|attr):`~?torch\.([\w.]+)", text[text.rindex("operations will throw a") :]
    )
    names = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.rpartition(".")[2]).lower() for name in listed}
    assert {"reflection_pad2d", "bincount", "max_unpool2d"} <= names  # the list is read
    names = names - {"nllloss"} | {
        "nll_loss2d"
    }  # of a label for each pixel; whether only that raises, a GPU must tell
    padding = {name for name in names if "pad" in name or "pool" in name or "loss" in name}  # backward alone
    raising = {f"{name}_backward" for name in names} | (names - padding)
    trainer = Trainer(job(ALL, noise(64, 3, 32), optimizer=optimizer, views=18), CPU)
    with Dispatched() as seen:
        order, draws = trainer.draw(0)
        trainer.model.train()
        trainer.step(trainer.augmented(order, draws[order]), trainer.labels[order], 0.1)
        trainer.logits()
    assert {"convolution_backward", "nll_loss_backward", "cumsum of whole numbers", "pad"} <= seen.names
    assert seen.names & raising == set()
