"""A search whose models are averaged, from a table to the bundle."""

import json

import numpy as np
import pytest

from automm.config import compose, to_settings
from automm.export.parity import torch_scores
from automm.export.run import load_run
from automm.flow import Run, run
from automm.members import within
from automm.runtime import Predictor
from automm.training.operations import Operations

KINDS = ("red", "green", "blue")


def table(folder, n=160):
    """A kind that shows in the words more often than not, and in a number."""
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, n)
    said = np.where(random.random(n) < 0.7, kind, random.integers(0, 3, n))
    size = kind + random.normal(size=n)
    rows = [f"a {KINDS[said[i]]} thing of number {i},{size[i]:.3f},{KINDS[kind[i]]}" for i in range(n)]
    path = folder / "rows.csv"
    path.write_text("\n".join(["words,size,kind", *rows]) + "\n")
    return path


def settings(folder, *more):
    asked = [
        "+task=classification",
        f"data.train={table(folder)}",
        "data.folds=1",
        "data.target=kind",
        "encoder.text.name=ngrams",
        "encoder.text.options.ngrams.width=512",
        "encoder.text.options.ngrams.characters=0",
        "fusion.name=[concat,gated]",
        "search.objective=loss",
        "search.trials=6",
        "search.ensemble=3",
        "executor=in_process",
        "search.min_epochs=2",
        "search.max_epochs=2",
        "training.epochs=3",
        "baselines.unimodal=false",
        f"run.dir={folder / 'run'}",
        f"cache_dir={folder / 'cache'}",
        *more,
    ]
    return to_settings(compose(asked), folder, overrides=asked)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(settings(tmp_path_factory.mktemp("ensembles")))


def test_members_are_those_that_lessen_the_validation_loss(finished):
    best = finished.values["best"]
    members = best["ensemble"]
    assert 2 <= len(members) <= 3
    assert sum(each["weight"] for each in members) == pytest.approx(1)
    assert any(each["trial"] == best["trial"] for each in members)
    with Run(settings(finished.run_dir.parent)) as stages:
        assert best["valid"]["loss"] < stages.best.values["loss"]
        trials = [stages.searched.trials[number] for number in stages.members.weights]
        assert {trial.state for trial in trials} == {"completed"}


def test_the_test_is_of_the_whole_and_the_best_alone_is_beside_it(finished):
    assert set(finished.values["baselines"]) == {"majority", "single", "defaults"}
    assert set(finished.values["uncertainty"]["ahead"]) == {"majority", "single", "defaults"}
    assert finished.values["test"]["loss"] != finished.values["baselines"]["single"]["loss"]
    with Run(settings(finished.run_dir.parent)) as stages:
        test = stages.splits.test
        whole = stages.score(stages.trained, test)
        assert stages.task.measure(whole, test) == finished.values["test"]
        single = stages.score(stages.baselines["single"], test)
        assert stages.task.measure(single, test) == finished.values["baselines"]["single"]


def test_the_bundle_is_the_ensemble_and_so_is_its_export_again(finished):
    trained = load_run(finished.run_dir).trained
    assert len(trained.members) == len(finished.values["best"]["ensemble"])
    assert "words" in trained.model.shared  # nothing of its encoder is trained
    found = Predictor.open(finished.run_dir / "bundle").scores(list(trained.rows))
    np.testing.assert_allclose(found, torch_scores(trained, trained.rows), atol=1e-5)


def test_members_take_no_more_together_than_may_be_served(finished, tmp_path):
    def work(stages, numbers):
        return [stages.objective.operations(stages.searched.trials[number].candidate) for number in numbers]

    def together(parts):
        return max(each.shared for each in parts) + sum(each.own for each in parts)

    with Run(settings(finished.run_dir.parent)) as stages:
        limit = max(each.total for each in work(stages, range(6)))  # any may be served alone
        assert together(work(stages, stages.members.weights)) > limit
    with Run(settings(tmp_path, f"search.max_gflop={limit}", "export.enabled=false")) as stages:
        assert {trial.state for trial in stages.searched.trials} == {"completed"}
        chosen = work(stages, stages.members.weights or [stages.searched.best.number])
        assert together(chosen) <= limit


def test_what_members_share_is_counted_once():
    cost = {"a": Operations(shared=5.0, own=1.0), "b": Operations(shared=5.0, own=2.0)}
    fits = within(8.0, lambda candidate: cost[candidate["fusion.name"]])
    assert fits([{"fusion.name": "a"}, {"fusion.name": "b"}])
    assert not within(7.9, lambda candidate: cost[candidate["fusion.name"]])([{"fusion.name": n} for n in cost])


def test_without_being_asked_for_there_is_none_and_nothing_is_kept_for_it(tmp_path):
    done = run(settings(tmp_path, "search.ensemble=1", "search.trials=2", "export.enabled=false"))
    assert done.values["best"]["ensemble"] == []
    assert "single" not in done.values["baselines"]
    assert not list(done.run_dir.rglob("valid.npy"))
    assert not (done.run_dir / "checkpoints" / "ensemble.json").exists()
    json.dumps(done.values, allow_nan=False)
