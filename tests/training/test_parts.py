"""The pieces a fit is made of."""

import copy
import ctypes
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from automm.errors import ConfigError, StudyError
from automm.settings import TrainingSettings
from automm.training import checkpoint
from automm.training.allocator import keep_freed_memory
from automm.training.checkpoint import Snapshot
from automm.training.device import device_model, device_name
from automm.training.evaluate import scores
from automm.training.muon import Muon, orthogonalised
from automm.training.optimizer import PEAK, make_optimizer, set_factor
from automm.training.schedule import SCHEDULES, factor

RATES = {"lr": 1e-3, "weight_decay": 0.1, "muon_lr": 0.02, "encoder_lr": 0.5, "beta2": 0.99}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_curve_rises_to_its_peak_and_ends_lower(schedule):
    curve = [factor(schedule, at / 100, warmup=0.1, decay=0.3) for at in range(1, 101)]
    assert curve[:9] == pytest.approx([at / 10 for at in range(1, 10)])
    assert max(curve) == pytest.approx(1.0)
    assert curve[9:] == sorted(curve[9:], reverse=True)
    assert curve[-1] == pytest.approx({"one_cycle": 0.002, "cosine": 0.1, "wsd": 0.0}[schedule])
    assert factor(schedule, 1 / 100, warmup=0.0, decay=0.0) == pytest.approx(1.0, abs=1e-3)


def test_wsd_stays_until_it_falls():
    assert {factor("wsd", at / 100, warmup=0.1, decay=0.3) for at in range(10, 71)} == {1.0}
    assert factor("wsd", 0.85, warmup=0.1, decay=0.3) == pytest.approx(1 - 0.5**0.5)


def test_muon_is_the_muon_of_torch():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in ((16, 8), (8, 16), (16, 8), (6, 6))]
    theirs = copy.deepcopy(ours)
    one = Muon([{"params": ours, "lr": 0.02, "weight_decay": 0.1}])
    other = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1)
    for _ in range(5):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            its.grad = mine.grad.clone()
        one.step()
        other.step()
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, atol=2e-3, rtol=0)  # theirs iterates in bfloat16


def test_orthogonalised_matrices_have_singular_values_near_one():
    values = torch.linalg.svdvals(orthogonalised(torch.randn(3, 12, 7)))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_muon_takes_hidden_matrices_and_adamw_the_rest(bench, candidate):
    model = bench.job(candidate(hidden=64)).model
    optimizer = make_optimizer(model, "muon", **RATES)
    muon, adamw = optimizer.parts
    names = {id(p): name for name, p in model.named_parameters()}
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert "heads.0.0.weight" in by_muon
    assert "heads.0.3.weight" not in by_muon
    assert not any("embedding" in name or "positions" in name or "bias" in name for name in by_muon)
    taken = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(taken) == sorted(names)
    for group in adamw.param_groups:
        assert {p.ndim >= 2 for p in group["params"]} == {group["weight_decay"] > 0}
    set_factor(optimizer, 0.5)
    assert {group["lr"] for group in muon.param_groups} == {0.01, 0.005}
    assert all(group["lr"] == group[PEAK] / 2 for group in adamw.param_groups)


def test_only_pretrained_weights_are_spared_unless_somebody_says_how_much(bench, candidate):
    model = bench.job(candidate()).model
    image, text = model.encoders
    image.pretrained = True

    def rates(encoder_lr):
        optimizer = make_optimizer(model, "adamw", **{**RATES, "encoder_lr": encoder_lr})
        rate = {id(p): round(group[PEAK], 12) for group in optimizer.param_groups for p in group["params"]}
        return [{rate[id(p)] for p in part.parameters()} for part in (image, text, model.heads)]

    assert rates(None) == [{5e-5}, {1e-3}, {1e-3}]
    assert rates(0.5) == [{5e-4}, {5e-4}, {1e-3}]


def test_a_checkpoint_keeps_tensors_numbers_and_memory_layouts(tmp_path):
    module = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    meta = {"history": [{"loss": 0.1 + 0.2}]}
    checkpoint.write(tmp_path / "c", Snapshot(3, meta, {"model": checkpoint.weights(module)}))
    saved = checkpoint.read(tmp_path / "c")
    assert (saved.epoch, saved.meta, checkpoint.epochs_in(tmp_path / "c")) == (3, meta, 3)
    other = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    checkpoint.load_weights(other, saved.tensors["model"])
    assert torch.equal(other.weight, module.weight)
    assert other.weight.is_contiguous(memory_format=torch.channels_last)
    assert checkpoint.epochs_in(tmp_path / "none") is None


def test_a_checkpoint_of_the_future_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    checkpoint.write(tmp_path / "c", Snapshot(1, {}, {}))
    monkeypatch.undo()
    with pytest.raises(StudyError, match="format 99"):
        checkpoint.read(tmp_path / "c")


def test_tied_weights_are_saved_once():
    module = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    module[1].weight = module[0].weight
    assert list(checkpoint.weights(module)) == ["0.weight", "0.bias", "1.bias"]


def test_scores_come_in_the_order_of_the_table_whatever_the_batch(gappy, candidate):
    job = gappy.job(candidate())
    one, other = (scores(job.model, job.task, job.valid, batch_size=size) for size in (3, 64))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.isfinite(one).all()
    assert job.model.training  # left as it was


def test_the_allocator_is_told_where_there_is_one_to_tell():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
def test_what_is_kept_goes_back_when_there_is_much_of_it():
    asked = """
import numpy, pathlib
from automm.training.allocator import give_back, keep_freed_memory
def resident(): return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096
keep_freed_memory()
before, large = resident(), [numpy.ones(1 << 20) for _ in range(40)]
del large
assert resident() - before > 300 << 20, "it was not kept"
assert not give_back(above=1 << 30), "it was given back, little as it was"
assert give_back(above=100 << 20)
assert resident() - before < 100 << 20, "it is still there"
"""
    subprocess.run([sys.executable, "-c", asked], check=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(ConfigError, match="device=cuda was asked for"):
        device_name(TrainingSettings(1, None, "cuda", "auto", None))
    assert device_name(TrainingSettings(1, None, "auto", "auto", None)) == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_fit_on_a_gpu(bench, candidate, precision):
    import dataclasses

    from automm.building import build_solver

    job = bench.job(candidate(lr=2e-2, optimizer="muon"), stop=25)
    settings = dataclasses.replace(job.settings, device="cuda", precision=precision)
    result = build_solver(candidate(lr=2e-2)).fit(dataclasses.replace(job, settings=settings), lambda *_: None)
    assert result.values["accuracy"] > 0.9
    assert device_model(settings) == torch.cuda.get_device_name()
