"""A search whose winner's weights are averaged with those of others of its shape, from a table to the bundle."""

import json

import numpy as np
import pytest
import torch

from automm.config import compose, to_settings
from automm.errors import ConfigError
from automm.export.checkpoint import load_model
from automm.export.parity import torch_scores
from automm.export.run import load_run
from automm.flow import Run, run
from automm.runtime import Predictor
from automm.training import soup
from automm.trial import Job, Trial

from .test_ensembles import settings as of_ensembles

PINNED = (
    "search.ensemble=1",
    "fusion.name=concat",
    "fusion.options.concat.hidden=64",
    "fusion.options.concat.layers=1",
    "training=gradient",
    "training.hidden=0",
    "training.optimizer=adamw",
)


def settings(folder, *more):
    return of_ensembles(folder, *PINNED, "search.soup=3", *more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(settings(tmp_path_factory.mktemp("soups")))


def test_the_winner_is_the_mean_of_what_lessens_the_loss(finished):
    best = finished.values["best"]
    stirred = [each["trial"] for each in best["soup"]]
    assert 2 <= len(stirred) <= 3
    assert best["trial"] in stirred
    assert best["ensemble"] == []
    with Run(settings(finished.run_dir.parent)) as stages:
        assert best["valid"]["loss"] < stages.best.values["loss"]
    folder = finished.run_dir / "checkpoints"
    names = ["best", *(f"member_{number:04d}" for number in stirred if number != best["trial"])]
    each = [load_model(folder / name).model.state_dict() for name in names]
    whole = load_run(finished.run_dir).trained.model.state_dict()
    for key, tensor in whole.items():
        if key == "temperature":  # its own
            continue
        torch.testing.assert_close(tensor, torch.stack([state[key].float() for state in each]).mean(0).to(tensor))


def test_the_test_is_of_the_mean_and_the_best_alone_is_beside_it(finished):
    assert set(finished.values["baselines"]) == {"majority", "single", "defaults"}
    assert finished.values["test"]["loss"] != finished.values["baselines"]["single"]["loss"]
    with Run(settings(finished.run_dir.parent)) as stages:
        test = stages.splits.test
        assert stages.task.measure(stages.score(stages.trained, test), test) == finished.values["test"]


def test_the_bundle_holds_one_model(finished):
    trained = load_run(finished.run_dir).trained
    assert trained.soup == len(finished.values["best"]["soup"])
    assert trained.members == ()
    assert json.loads((finished.run_dir / "bundle" / "manifest.json").read_text())["soup"] == trained.soup
    assert finished.values["calibration"]["temperature"] == pytest.approx(float(trained.model.temperature), abs=1e-4)
    found = Predictor.open(finished.run_dir / "bundle").scores(list(trained.rows))
    np.testing.assert_allclose(found, torch_scores(trained, trained.rows), atol=1e-5)
    report = (finished.run_dir / "report.html").read_text()
    assert "Its weights are the mean of those of trial" in report


def test_what_was_solved_or_has_another_shape_is_not_stirred_in(tmp_path):
    solved = {"training.method": "ridge", "training.l2": 1e-3, "training.solver": "closed_form"}
    with Run(settings(tmp_path)) as stages:
        objective, defaults = stages.objective, stages.space.defaults()
        of_network = {path: value for path, value in defaults.items() if not path.startswith("training.")}
        candidates = {
            "plain": defaults,
            "other rate": {**defaults, "training.lr": 3e-3, "fusion.options.concat.dropout": 0.2},
            "wider": {**defaults, "fusion.options.concat.hidden": 128},
            "wider head": {**defaults, "training.hidden": 64},
            "other features": {**defaults, "encoder.text.options.ngrams.characters": 4},
            "solved": {**of_network, **solved},
        }
        trials = [Trial(number, candidate) for number, candidate in enumerate(candidates.values())]
        for trial in trials:
            objective.run(Job(trial.number, trial.candidate, 0, 2), lambda *_: None)
        mixed = {name: objective.souped_scores([trials[0], trials[n]]) for n, name in enumerate(candidates)}
        assert [name for name, found in mixed.items() if found is not None] == ["plain", "other rate"]
        assert objective.souped_scores([trials[-1]]) is None


def test_over_folds_each_row_is_judged_by_the_mean_of_what_has_not_learnt_it(tmp_path):
    with Run(settings(tmp_path, "data.folds=3")) as stages:
        objective, defaults = stages.trials_objective, stages.space.defaults()
        trials = [Trial(n, {**defaults, "training.lr": lr}) for n, lr in enumerate((1e-3, 3e-3))]
        for trial in trials:
            objective.run(Job(trial.number, trial.candidate, 0, 2), lambda *_: None)
        found = objective.souped_scores(trials)
        assert len(found) == len(objective.judged) == len(stages.splits.train) + len(stages.splits.valid)
        first = len(stages.splits.valid)
        np.testing.assert_array_equal(found[:first], stages.objective.souped_scores(trials))
        assert not np.allclose(found, np.concatenate([fold.souped_scores(trials[:1]) for fold in objective._folds]))


def test_a_soup_that_does_not_hold_what_it_promised_is_poured_away(finished, capsys):
    with Run(settings(finished.run_dir.parent)) as stages:
        finals = stages.finals
        finals._measure = lambda trained: {"loss": 9.0 if trained.soup else 0.1}
        alone = finals.alone()
    assert alone.soup == 0
    assert "the winner stays alone" in capsys.readouterr().err


def test_one_of_the_two_is_averaged(tmp_path):
    with pytest.raises(ConfigError, match=r"search\.ensemble=3 averages scores and search\.soup=3 weights"):
        of_ensembles(tmp_path, "search.soup=3")
    assert compose(["+task=classification"]).search.soup == 1
    to_settings(compose(["+task=classification", "data.train=x.csv", "search.soup=2"]), tmp_path)


def test_what_is_the_same_in_all_stays_as_it_is():
    frozen, counted = torch.tensor([0.1, 0.7]), torch.tensor([3])
    states = [{"w": torch.tensor([float(n)]), "frozen": frozen.clone(), "seen": counted + n} for n in range(3)]
    found = soup.mean(states)
    assert found["w"].tolist() == [1.0]
    assert torch.equal(found["frozen"], frozen)
    assert found["seen"].tolist() == [3]
    assert soup.alike(states)
    assert not soup.alike([*states, {"w": torch.zeros(2), "frozen": frozen, "seen": counted}])
    assert not soup.alike([*states, {"w": torch.zeros(1)}])
