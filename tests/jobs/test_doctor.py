"""What a machine is told: fit where a training is the same twice and after a kill, else what is wrong."""

import pytest
import torch

from leakgap import LeakgapError
from leakgap.jobs.doctor import TRIALS, show_doctor
from leakgap.study import Study
from leakgap.training import builtin, loop

STUDY = {
    "name": "n",
    "grid": {"techniques": ["none", "crop"], "masks": 4},
    "train": {"epochs": 2, "steps": [1, 2], "width": 4, "precision": "fp32"},
}


def test_a_machine_that_trains_is_fit(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    show_doctor(Study.load(STUDY))
    told = capsys.readouterr().out
    for name in TRIALS:
        assert f"ok      {name}: " in told
    assert "n: 8 models" in told
    assert list(tmp_path.iterdir()) == []


def test_kernels_that_give_other_bits_are_told(capsys, monkeypatch):
    step = loop.Trainer.step

    def shaken(self, images, labels, lr):
        found = step(self, images, labels, lr)
        with torch.no_grad():
            self.weights[0] += 1e-6 * torch.rand(self.weights[0].shape, generator=shaken.noise)
        return found

    shaken.noise = torch.Generator().manual_seed(0)
    monkeypatch.setattr(loop.Trainer, "step", shaken)
    with pytest.raises(LeakgapError, match=r"not fit to train n: twice, killed$"):
        show_doctor(Study.load(STUDY))
    assert "set train.deterministic" in capsys.readouterr().out


def test_a_resume_file_that_is_not_written_is_told(monkeypatch):
    monkeypatch.setattr(builtin, "_save", lambda *_: None)
    with pytest.raises(LeakgapError, match=r"not fit to train n: killed$"):
        show_doctor(Study.load(STUDY))


def test_recipes_are_not_the_doctors_matter(tmp_path):
    (tmp_path / "own.py").write_text("def train(data, members, seed, steps):\n    yield data['labels']\n")
    recipe = {"name": "n", "train": {"recipe": f"{tmp_path}/own.py:train"}, "grid": {"masks": 4}}
    with pytest.raises(LeakgapError, match="not fit"):
        show_doctor(Study.load(recipe))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that torch can use")
def test_a_gpu_that_torch_can_t_use_is_told(monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(LeakgapError, match=r"not fit to train n: device$"):
        show_doctor(Study.load(STUDY))
    assert "wrong   device: there is a GPU, and torch" in capsys.readouterr().out
