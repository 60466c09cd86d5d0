import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from automm import registry
from automm.building import build_solver
from automm.errors import OutOfRange, StudyError, TrialFailed, UnknownKey
from automm.metrics.metric import metric
from automm.training import checkpoint
from automm.training.loop import rows_a_pass
from automm.types import Goal

HERE = Path(__file__).parent


def weights(model):
    return {name: tensor.clone() for name, tensor in checkpoint.weights(model).items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_learns_what_one_modality_alone_cannot_know(bench, candidate):
    result, model, reports = bench.fit(candidate(lr=2e-2), stop=40)
    assert result.values["accuracy"] > 0.9
    assert [epoch for epoch, _ in reports] == list(range(1, 41))
    assert result.finished
    assert result.values == bench.task.metrics(scores_of(bench, model, candidate()), bench.valid)
    assert not model.training


def scores_of(bench, model, candidate):
    from automm.building import fit_preprocessors
    from automm.training.evaluate import scores

    preprocessors = fit_preprocessors(candidate, bench.train.schema, bench.train)
    return scores(model, bench.task, bench.part(bench.valid, preprocessors), batch_size=64)


def test_the_same_seed_gives_the_same_weights_and_another_others(bench, candidate):
    options = candidate(dropout=0.3, hidden=64)
    (first, one, _), (second, two, _) = bench.fit(options), bench.fit(options)
    assert same(weights(one), weights(two))
    assert first.history == second.history
    _, other, _ = bench.fit(options, seed=1)
    assert not same(weights(one), weights(other))


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"batch_size": 12, "micro_batch": 4}, 4),
        ({"batch_size": 20, "micro_batch": 10}, 3),  # the last of 8 rows
        ({"batch_size": 64, "micro_batch": 16}, 1),  # more than there are
        ({"batch_size": 8, "accumulate": 4}, 2),  # the last of 16 rows
    ],
)
def test_a_batch_that_passes_in_parts_is_one_step_all_the_same(bench, candidate, monkeypatch, options, steps):
    """Gradients as the optimizer sees them, an epoch without learning anything, against those of whole batches."""

    def gradients(**chosen):
        seen = []

        def step(self, closure=None):
            seen.append([p.grad.clone() for group in self.param_groups for p in group["params"] if p.grad is not None])

        monkeypatch.setattr(torch.optim.AdamW, "step", step)
        bench.fit(candidate(optimizer="adamw", grad_clip=None, **chosen), stop=1)
        return seen

    whole = gradients(batch_size=options["batch_size"] * options.get("accumulate", 1))
    parts = gradients(**options)
    assert len(parts) == len(whole) == steps
    for found, expected in zip(parts, whole, strict=True):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_rows_that_pass_at_a_time_are_few_where_encoders_from_weights_are_trained(bench, candidate, monkeypatch):
    monkeypatch.setattr("automm.training.loop._MICRO", 3)
    solver, job = build_solver(candidate(batch_size=40)), bench.job(candidate())
    image, question = job.model.encoders
    assert rows_a_pass(solver, job) == 40
    image.pretrained = True
    assert rows_a_pass(solver, job) == 6, "three images, of two rows each"
    question.pretrained = True
    assert rows_a_pass(solver, job) == 3, "rows with one question do not stay together"
    assert rows_a_pass(build_solver(candidate(batch_size=40, micro_batch=20)), job) == 20
    monkeypatch.setattr(job.task, "PAIRS", True, raising=False)
    assert rows_a_pass(solver, job) == 40
    monkeypatch.undo()
    for encoder in (image, question):
        encoder.requires_grad_(False)
    assert rows_a_pass(solver, job) == 40


RESUMED = {
    "adamw": {"lr": 1e-2, "hidden": 64, "dropout": 0.3},
    "muon_and_average": {"optimizer": "muon", "ema": 0.9, "hidden": 64, "dropout": 0.3, "schedule": "wsd"},
    "accumulated": {"accumulate": 2, "schedule": "cosine", "grad_clip": None},
    "recipes": {"mixup": 0.4, "modality_dropout": 0.3, "class_weights": "balanced", "focal_gamma": 1.0, "dropout": 0.3},
    "parts": {"batch_size": 20, "micro_batch": 8, "augment": "trivial", "dropout": 0.3},
}


def test_going_on_in_a_new_process_is_bit_for_bit_going_straight(gappy, candidate, tmp_path):
    straight = {}
    for name, options in RESUMED.items():
        straight[name] = gappy.fit(candidate(**options), stop=4)
        gappy.fit(candidate(**options), stop=2, horizon=4, save_to=tmp_path / name)
        assert checkpoint.epochs_in(tmp_path / name) == 2
    resumed = in_a_new_process({name: candidate(**options) for name, options in RESUMED.items()}, tmp_path)
    for name, (result, model, reports) in straight.items():
        assert resumed[name]["history"] == result.history
        assert resumed[name]["norms"] == result.norms
        assert resumed[name]["values"] == result.values
        assert resumed[name]["reports"] == [[epoch, values] for epoch, values in reports[2:]]
        assert same(load_file(tmp_path / f"{name}.after"), weights(model))


def in_a_new_process(candidates, folder):
    """Epochs 2 to 4 of each: results as JSON, weights in `<name>.after`."""
    code = "import test_gradient; test_gradient.go_on()"
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    arguments = [sys.executable, "-W", "error", "-c", code, json.dumps(candidates), str(folder)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # nothing is chatted about
    return json.loads(done.stdout)


def go_on():
    from conftest import Bench, make_table

    candidates, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    bench, told = Bench(make_table(24, missing=True), make_table(12, seed=1, missing=True)), {}
    for name, chosen in candidates.items():
        result, model, reports = bench.fit(chosen, start=2, stop=4, checkpoint=folder / name)
        save_file({n: t.contiguous() for n, t in weights(model).items()}, folder / f"{name}.after")
        told[name] = {"history": result.history, "norms": result.norms, "values": result.values, "reports": reports}
    sys.stdout.write(json.dumps(told))


def test_a_checkpoint_of_another_epoch_or_model_or_none_is_refused(bench, candidate, save_to):
    with pytest.raises(StudyError, match="needs a checkpoint"):
        bench.fit(candidate(), start=1, stop=2)
    bench.fit(candidate(), stop=1, horizon=2, save_to=save_to)
    with pytest.raises(StudyError, match="has done 1 epochs"):
        bench.fit(candidate(), start=2, stop=3, checkpoint=save_to)
    with pytest.raises(StudyError, match="different model"):
        bench.fit(candidate(hidden=64), start=1, stop=2, checkpoint=save_to)
    save_to.write_bytes(save_to.read_bytes()[:100])
    with pytest.raises(StudyError, match="cannot be read"):
        bench.fit(candidate(), start=1, stop=2, checkpoint=save_to)


@pytest.mark.parametrize("more", [{}, {"patience": 1}])
def test_a_job_that_would_begin_again_saves_its_end_alone(bench, candidate, save_to, more):
    saved = []
    job = bench.job(candidate(lr=1e-9), stop=4, horizon=4, save_to=save_to, **more)
    job = replace(job, save_epochs=False)
    result = build_solver(candidate(lr=1e-9)).fit(job, lambda *_: saved.append(checkpoint.epochs_in(save_to)))
    assert saved[:-1] == [None] * (len(saved) - 1)
    assert saved[-1] == result.epochs == (2 if more else 4)


def test_a_report_that_raises_ends_the_fit_after_its_epoch_was_saved(bench, candidate, save_to):
    class Stop(Exception):
        pass

    def report(epoch, values):
        raise Stop

    chosen = candidate()
    with pytest.raises(Stop):
        build_solver(chosen).fit(bench.job(chosen, save_to=save_to), report)
    assert checkpoint.epochs_in(save_to) == 1
    assert [path.name for path in save_to.parent.iterdir()] == [save_to.name]


def test_patience_ends_a_fit_and_the_best_epoch_is_kept(bench, candidate):
    result, _, reports = bench.fit(candidate(lr=1e-5), stop=8, patience=2)
    goal = [values["accuracy"] for _, values in reports]
    assert len(goal) < 8
    assert result.finished
    assert result.best_epoch == goal.index(max(goal)) + 1
    assert result.epochs == result.best_epoch + 2
    assert result.values["accuracy"] == max(goal)
    assert result.last["accuracy"] == goal[-1]


def test_patience_watches_what_the_search_drives_at(bench, candidate, monkeypatch):
    to_come = iter([3.0, 1.0, 2.0, 1.5, 0.0])

    @metric(higher_is_better=False, reads=("classes",))
    def scripted(scores_BC, label_B):
        """What comes next, whatever is scored."""
        return next(to_come)

    monkeypatch.setitem(registry._session, ("metric", "scripted"), scripted)
    bench.task.named, bench.task.objective = ("scripted",), Goal("scripted", "minimize")
    result, _, reports = bench.fit(candidate(lr=1e-5), stop=8, patience=2)
    assert [values["scripted"] for _, values in reports] == [3.0, 1.0, 2.0, 1.5]
    assert (result.best_epoch, result.epochs, result.finished) == (2, 4, True)
    assert result.values["scripted"] == 1.0


def test_a_fit_without_what_the_search_drives_at_fails(bench, candidate):
    bench.task.objective = Goal("r2", "maximize")
    with pytest.raises(TrialFailed, match="r2 is undefined for what the model scores"):
        bench.fit(candidate(), stop=1)


def test_the_average_is_what_is_evaluated_and_kept(bench, candidate, save_to):
    _, model, _ = bench.fit(candidate(ema=0.9), stop=1, save_to=save_to)
    saved = checkpoint.read(save_to).tensors
    assert same(weights(model), saved["average"])
    assert not same(saved["average"], saved["model"])


def test_a_missing_item_gets_a_learned_token(gappy, candidate):
    before = gappy.job(candidate()).model
    _, model, _ = gappy.fit(candidate(lr=1e-2))
    assert not torch.equal(before.absent[0].pooled_W, model.absent[0].pooled_W)
    assert not torch.equal(before.absent[1].pooled_W, model.absent[1].pooled_W)


def test_a_loss_that_is_no_number_fails_the_trial_with_a_sentence(bench, candidate):
    job = bench.job(candidate())
    with torch.no_grad():
        job.model.heads[0].weight.fill_(float("inf"))
    with pytest.raises(TrialFailed, match=r"the training loss became nan in epoch 1, at a learning rate of"):
        build_solver(candidate()).fit(job, lambda *_: None)


def test_memory_that_runs_out_fails_the_trial(bench, candidate, monkeypatch):
    job = bench.job(candidate())
    job.model.encoders[0].register_forward_pre_hook(lambda *_: torch.empty(1 << 60))  # the allocator's own error
    with pytest.raises(TrialFailed, match=r"out of memory with training.batch_size=16"):
        build_solver(candidate()).fit(job, lambda *_: None)


def test_what_a_component_raises_fails_the_trial_and_names_it(bench, candidate):
    job = bench.job(candidate())

    def broken(*_):
        raise IndexError("no such thing")

    job.model.encoders[1].register_forward_pre_hook(broken)
    with pytest.raises(
        TrialFailed, match=r"the encoder TextTransformer of 'question' raised IndexError: no such thing"
    ):
        build_solver(candidate()).fit(job, lambda *_: None)


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_half_precision_trains_too(gappy, candidate, fusion):
    chosen = {**candidate(optimizer="muon"), "fusion.name": fusion}
    if fusion != "concat":
        del chosen["fusion.options.concat.hidden"]
    job = gappy.job(chosen)
    job = replace(job, settings=replace(job.settings, precision="bf16-mixed"))
    result = build_solver(chosen).fit(job, lambda *_: None)
    assert result.values["loss"] < 2
    assert next(job.model.parameters()).dtype == torch.float32


def test_options_are_checked(candidate):
    with pytest.raises(UnknownKey, match="batch_size"):
        build_solver(candidate(batchsize=3))
    with pytest.raises(OutOfRange, match="one_cycle"):
        build_solver(candidate(schedule="linear"))
    with pytest.raises(OutOfRange, match="adamw"):
        build_solver(candidate(optimizer="sgd"))
    with pytest.raises(OutOfRange, match="batch_size=0"):
        build_solver(candidate(batch_size=0))
    with pytest.raises(OutOfRange, match="class_weights=even is not one of none, balanced"):
        build_solver(candidate(class_weights="even"))
    with pytest.raises(OutOfRange, match="focal_gamma=-1"):
        build_solver(candidate(focal_gamma=-1))
    with pytest.raises(OutOfRange, match="mixup=inf"):
        build_solver(candidate(mixup=float("inf")))
    with pytest.raises(OutOfRange, match="modality_dropout=1 is a probability"):
        build_solver(candidate(modality_dropout=1))


def test_torch_is_left_as_it_was(bench, candidate):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    bench.fit(candidate(), stop=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
