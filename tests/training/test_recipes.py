"""Mixup, modality dropout, class weights and focal loss in the training loop; each of them off by default."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from automm.building import build_solver
from automm.errors import TrialFailed
from automm.tasks.classification import Classification
from automm.tasks.regression import Regression
from automm.training import checkpoint
from automm.training.augment import augmented
from automm.training.determinism import deterministic, start_epoch
from automm.training.mixup import draw_mix, mixed_loss
from automm.training.modality_dropout import drop_fields
from automm.training.optimizer import make_optimizer, set_factor
from automm.training.schedule import factor
from automm.types import Batch, Mix

CPU = torch.device("cpu")
ON = {
    "mixup": {"mixup": 0.4},
    "modality_dropout": {"modality_dropout": 0.5},
    "class_weights": {"class_weights": "balanced"},
    "focal_gamma": {"focal_gamma": 2.0},
    "crop": {"augment": "crop"},
    "flip": {"augment": "crop_flip"},
    "trivial": {"augment": "trivial"},
}


def weights(model):
    return {name: tensor.clone() for name, tensor in checkpoint.weights(model).items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def plain_loop(job, solver, epochs):
    """What training is when nothing is added to it; returns the weights after every epoch."""
    model, rates = job.model, ("lr", "weight_decay", "muon_lr", "encoder_lr", "beta2")
    optimizer = make_optimizer(model, "adamw", **{name: getattr(solver, name) for name in rates})
    loader, after = job.train.loader(batch_size=solver.batch_size, shuffle=True, seed=job.seed), []
    with deterministic(CPU, 1):
        for epoch in range(epochs):
            start_epoch(job.seed, epoch)
            model.train()
            loader.set_epoch(epoch)
            rows = 0
            for batch in loader:
                rows += len(batch)
                share = (epoch + min(1.0, rows / len(job.train.table))) / job.horizon
                job.task.loss(model(batch), batch.targets, label_smoothing=solver.label_smoothing).backward()
                set_factor(optimizer, factor(solver.schedule, share, warmup=solver.warmup, decay=solver.decay))
                torch.nn.utils.clip_grad_norm_(list(model.parameters()), solver.grad_clip)
                optimizer.step()
                optimizer.zero_grad()
            after.append(weights(model))
    return after


def test_with_nothing_added_training_is_the_plain_loop_bit_for_bit(gappy, candidate, save_to):
    chosen = candidate(dropout=0.3, hidden=64, label_smoothing=0.1, weight_decay=0.1)
    expected = plain_loop(gappy.job(chosen), build_solver(chosen), 2)
    gappy.fit(chosen, stop=2, save_to=save_to)
    assert same(checkpoint.read(save_to).tensors["model"], expected[-1])


@pytest.mark.parametrize("name", ON)
def test_each_recipe_changes_training_and_is_seeded(name, gappy, candidate):
    chosen = {"dropout": 0.3, "hidden": 64, "lr": 1e-2}
    plain, _, _ = gappy.fit(candidate(**chosen))
    first, one, _ = gappy.fit(candidate(**chosen, **ON[name]))
    again, two, _ = gappy.fit(candidate(**chosen, **ON[name]))
    assert first.history != plain.history
    assert first.history == again.history
    assert same(weights(one), weights(two))


def test_draws_of_recipes_move_no_draw_of_dropout(bench, candidate):
    chosen = {"dropout": 0.3, "hidden": 64}
    plain, _, _ = bench.fit(candidate(**chosen))
    drawn, _, _ = bench.fit(candidate(**chosen, modality_dropout=1e-300))  # drawn for, and never dropped
    assert drawn.history == plain.history


@pytest.mark.parametrize("how", ["crop", "crop_flip", "trivial"])
def test_images_alone_are_changed_each_in_its_own_way(how, bench, candidate):
    batch = next(iter(bench.job(candidate()).train.loader(batch_size=24, shuffle=True, seed=0)))
    before = batch.inputs["image"]["pixels"].clone()
    once, again = (augmented(batch, how, np.random.default_rng(0)) for _ in range(2))
    pixels = once.inputs["image"]["pixels"]
    assert pixels.shape == before.shape
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, again.inputs["image"]["pixels"])
    assert torch.equal(batch.inputs["image"]["pixels"], before)
    assert not torch.equal(pixels, before)
    assert all(once.inputs["question"][key] is value for key, value in batch.inputs["question"].items())
    same_picture = replace(batch, inputs={"image": {"pixels": before[:1].repeat(8, 1, 1, 1)}})
    changed = augmented(same_picture, how, np.random.default_rng(0)).inputs["image"]["pixels"]
    assert len({tuple(each.flatten().tolist()) for each in changed}) > 1


def test_draws_of_pictures_move_no_draw_of_dropout():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    pixels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    augmented(Batch({"image": {"pixels": pixels}}, {}, {}), "trivial", np.random.default_rng(0))
    assert torch.equal(torch.rand(3), expected)


def rows(present_BF):
    names = [f"f{at}" for at in range(present_BF.shape[1])]
    return Batch({}, {}, {name: torch.from_numpy(present_BF[:, at].copy()) for at, name in enumerate(names)})


def kept(batch):
    return torch.stack(list(batch.present.values()), dim=1).numpy()


def test_fields_are_dropped_at_their_rate_and_a_row_keeps_one():
    random = np.random.default_rng(0)
    before = random.random((20_000, 3)) < 0.8
    batch = rows(before)
    after = kept(drop_fields(batch, 0.4, random))
    assert not (after & ~before).any()
    assert np.array_equal(after.any(axis=1), before.any(axis=1))
    whole = before.all(axis=1)
    assert 1 - after[whole].mean() == pytest.approx(0.4 - 0.4**3 / 3, abs=0.01)  # where all three fall, one stays
    assert np.array_equal(kept(batch), before)
    left = kept(drop_fields(batch, 1 - 1e-12, random))[whole]
    assert (left.sum(axis=1) == 1).all()
    np.testing.assert_allclose(left.mean(axis=0), np.full(3, 1 / 3), atol=0.02)


def test_the_only_field_is_never_dropped():
    batch = rows(np.array([[True], [False], [True]]))
    assert kept(drop_fields(batch, 0.99, np.random.default_rng(0)))[:, 0].tolist() == [True, False, True]


def test_what_stands_in_for_a_field_is_learnt_though_none_is_missing(bench, candidate):
    before = bench.job(candidate()).model
    _, without, _ = bench.fit(candidate(lr=1e-2))
    _, model, _ = bench.fit(candidate(lr=1e-2, modality_dropout=0.3))
    for at in range(2):
        assert torch.equal(before.absent[at].pooled_W, without.absent[at].pooled_W)
        assert not torch.equal(before.absent[at].pooled_W, model.absent[at].pooled_W)


@pytest.mark.parametrize("fusion", ["concat", "late"])
def test_heads_read_mixed_rows(fusion, gappy, candidate):
    chosen = {path: value for path, value in candidate().items() if not path.startswith("fusion.")}
    job = gappy.job({**chosen, "fusion.name": fusion})
    batch = next(iter(job.train.loader(batch_size=8, shuffle=True, seed=0)))
    mix = draw_mix(len(batch), 0.5, np.random.default_rng(0), CPU)
    model = job.model.eval()
    with torch.no_grad():
        alone, mixed = model(batch), model(batch, mix)
    torch.testing.assert_close(mixed, mix.of(alone))  # heads are linear here
    assert not torch.allclose(mixed, alone)


def test_a_weight_of_each_row_is_mixed_with_it(gappy, candidate):
    class Weighted(type(gappy.job(candidate()).model.fusion)):
        def fuse(self, features, rows):
            (stream,) = super().fuse(features, rows)
            return (stream._replace(weight_B=stream.pooled_BD.sum(1)),)

    job = gappy.job(candidate())
    batch = next(iter(job.train.loader(batch_size=8, shuffle=True, seed=0)))
    model = copy.deepcopy(job.model).eval()
    model.fusion.__class__ = Weighted
    mix = Mix(0.25, torch.arange(len(batch)).flip(0))
    with torch.no_grad():
        (stream,) = model.streams(batch)
        expected = model.heads[0](mix.of(stream.pooled_BD)) * mix.of(stream.weight_B)[:, None]
        torch.testing.assert_close(model(batch, mix), expected)


def test_mixing_losses_is_mixing_targets():
    logits_BC = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    mix = Mix(0.3, torch.tensor([5, 4, 3, 2, 1, 0]))
    task, label_B = Classification(), torch.tensor([0, 1, 2, 0, 1, 2])
    found = mixed_loss(mix, lambda t: task.loss(logits_BC, t, label_smoothing=0.0), {"label": label_B})
    wanted_BC = mix.of(torch.nn.functional.one_hot(label_B, 3).float())
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(logits_BC, wanted_BC))
    value_B = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    number = mixed_loss(mix, lambda t: Regression().loss(logits_BC, t, label_smoothing=0.0), {"value": value_B})
    (gradient,) = torch.autograd.grad(number, logits_BC)
    (expected,) = torch.autograd.grad((logits_BC[:, 0] - mix.of(value_B)).square().mean(), logits_BC)
    torch.testing.assert_close(gradient, expected)


def test_shares_are_drawn_from_their_beta_distribution():
    draws = np.random.default_rng(0)
    share = np.array([draw_mix(1, 0.2, draws, CPU).share for _ in range(2000)])
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(1 / (4 * (2 * 0.2 + 1)), rel=0.1)


def test_a_loss_without_classes_is_not_weighed(bench, candidate):
    number = Regression()
    for options, said in (({"class_weights": "balanced"}, "class_weights"), ({"focal_gamma": 1.0}, "focal_gamma")):
        with pytest.raises(TrialFailed, match=rf"training.{said} weighs classes, and the loss of Regression has none"):
            build_solver(candidate(**options)).head(number, 4)
