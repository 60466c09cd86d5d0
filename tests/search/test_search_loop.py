import math
from dataclasses import replace

import pytest
from curves import SPACE, Curves, run, story

from automm.errors import TrialFailed
from automm.search.history import trials_table
from automm.search.strategies.strategy import Strategy, key_of
from automm.search.study import Study
from automm.space import Float, Int, OneOf, Space
from automm.trial import Outcome
from automm.types import Goal


class Direct:
    """One epoch is all: an objective given by a function of the candidate."""

    def __init__(self, value, *, check=lambda candidate: None):
        self.value = value
        self.check = check
        self.ran = []

    def run(self, job, report):
        self.ran.append(job.candidate)
        value = self.value(job.candidate)
        report(1, {"accuracy": value})
        return Outcome({"accuracy": value}, 1, False, 0.0)


ONE_RUNG = {"min_epochs": 1, "max_epochs": 1}


def test_a_search_finds_what_is_behind_the_plateau(tmp_path):
    found = run(tmp_path, trials=24, strategy="portfolio")
    assert found.stopped_by == "trials"
    assert found.best.candidate["fusion"] == "relation"
    assert found.best.epochs == 8
    assert found.trials[0].candidate == SPACE.defaults()
    assert found.trials[0].origin == "defaults"
    states = [trial.state for trial in found.trials]
    assert {"completed", "pruned"} <= set(states)
    assert len(states) - states.count("infeasible") == 24, "what costs nothing takes nothing from the budget"
    top = [t for t in found.trials if t.state == "completed" and not t.finished]
    assert all(t.epochs == 8 and [e for e, _ in t.reports] == list(range(1, 9)) for t in top)
    assert found.best.values["accuracy"] == max(t.values["accuracy"] for t in found.trials if t.state == "completed")


def test_the_same_seed_gives_the_same_search(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b")
    run(tmp_path / "c", seed=4)
    assert story(tmp_path / "a") == story(tmp_path / "b") != story(tmp_path / "c")


def test_known_candidates_are_not_paid_for_and_a_small_space_is_exhausted(tmp_path):
    space = Space({"a": OneOf(("x", "y"), children={"y": Space({"n": Int(1, 3)})})})
    objective = Direct(lambda c: float(c.get("n", 0)))
    found = run(tmp_path, objective=objective, space=space, trials=50, **ONE_RUNG)
    assert found.stopped_by == "exhausted"
    assert len(objective.ran) == len({key_of(c) for c in objective.ran}) == 4
    assert found.best.candidate == {"a": "y", "n": 3}
    assert run(tmp_path, objective=objective, space=space, trials=50, **ONE_RUNG).stopped_by == "exhausted"
    assert len(objective.ran) == 4


def test_everything_pinned_is_a_search_of_one(tmp_path):
    found = run(tmp_path, objective=Direct(lambda c: 1.0), space=Space({"a": OneOf((1,))}), **ONE_RUNG)
    assert (len(found.trials), found.stopped_by) == (1, "exhausted")


def test_a_strategy_that_repeats_itself_is_told_and_then_helped(tmp_path, monkeypatch):
    told = []

    class Stubborn(Strategy):
        def ask(self):
            return {"x": 0.5}

        def tell(self, candidate, loss):
            told.append((candidate["x"], loss))

    monkeypatch.setattr("automm.search.loop._strategy", lambda space, settings, seed: Stubborn(space, seed, 9))
    objective = Direct(lambda c: c["x"])
    found = run(tmp_path, objective=objective, space=Space({"x": Float(0.0, 1.0)}), trials=4, **ONE_RUNG)
    assert [t.origin for t in found.trials] == ["defaults", "random", "random", "random"]
    assert told.count((0.5, -0.5)) > 60, "a repeat is answered with what is known"
    assert len({t.candidate["x"] for t in found.trials}) == 4


def test_a_candidate_that_cannot_be_built_is_a_failed_trial(tmp_path):
    def check(candidate):
        if candidate["x"] == "broken":
            raise TrialFailed("the encoder raised ValueError: no such layer")

    objective = Direct(lambda c: 1.0, check=check)
    space = Space({"x": OneOf(("works", "broken", "works too"))})
    found = run(tmp_path, objective=objective, space=space, trials=3, **ONE_RUNG)
    states = {trial.candidate["x"]: (trial.state, trial.reason) for trial in found.trials}
    assert states["broken"] == ("failed", "the encoder raised ValueError: no such layer")
    assert [states[x][0] for x in ("works", "works too")] == ["completed", "completed"]


def test_what_the_gradient_monitor_saw_is_kept_with_the_trial(tmp_path):
    class Noticed(Direct):
        def run(self, job, report):
            return replace(super().run(job, report), findings=("The head has no gradient.",))

    run(tmp_path, objective=Noticed(lambda c: 1.0), space=Space({"a": OneOf((1,))}), **ONE_RUNG)
    with Study.open(tmp_path / "study.db", readonly=True) as study:
        assert [row["findings"] for row in trials_table(study)] == [["The head has no gradient."]]


def test_failures_and_the_forbidden_are_told_as_the_worst_seen(tmp_path, monkeypatch):
    told = {}

    class Listening(Strategy):
        def ask(self):
            return {"x": len(told)}

        def tell(self, candidate, loss):
            told[candidate["x"]] = loss

    def value(candidate):
        if candidate["x"] == 1:
            raise TrialFailed("NaN in the loss")
        return math.nan if candidate["x"] == 2 else float(candidate["x"])

    monkeypatch.setattr("automm.search.loop._strategy", lambda space, settings, seed: Listening(space, seed, 9))
    objective = Direct(value, check=lambda c: "too big" if c["x"] == 3 else None)
    space = Space({"x": Int(0, 9, default=9)})
    found = run(tmp_path, objective=objective, space=space, trials=7, **ONE_RUNG, goal=Goal("accuracy", "minimize"))
    said = {t.candidate["x"]: (t.state, t.reason) for t in found.trials}
    assert said[1] == ("failed", "NaN in the loss")
    assert said[2] == ("failed", "accuracy is nan after 1 epochs")
    assert said[3] == ("infeasible", "too big")
    assert told[1] == told[2] == told[3] == 9.0
    assert all(math.isfinite(loss) for loss in told.values())
    assert found.best.candidate["x"] == min(x for x, (state, _) in said.items() if state == "completed")


def test_nothing_feasible_ends(tmp_path):
    objective = Direct(lambda c: 0.0, check=lambda c: "never")
    found = run(tmp_path, objective=objective, space=Space({"x": Float(0.0, 1.0)}), trials=2, **ONE_RUNG)
    assert (found.best, found.stopped_by, objective.ran) == (None, "exhausted", [])


def test_a_bug_is_not_swallowed_and_loses_nothing(tmp_path):
    class Buggy(Curves):
        def run(self, job, report):
            if job.trial == 2:
                raise TypeError("a bug of ours")
            return super().run(job, report)

    run(tmp_path / "whole")
    with pytest.raises(TypeError, match="a bug of ours"):
        run(tmp_path / "cut", objective=Buggy(tmp_path / "cut"))
    assert story(tmp_path / "cut") == story(tmp_path / "whole")[: len(story(tmp_path / "cut"))]
    run(tmp_path / "cut")
    assert story(tmp_path / "cut") == story(tmp_path / "whole")


def test_a_timeout_gives_a_prefix_and_spares_the_first_measurement(tmp_path):
    whole = run(tmp_path / "whole")
    cut = run(tmp_path / "cut", timeout=0.0)
    assert cut.stopped_by == "timeout"
    assert cut.best.number == 0
    assert story(tmp_path / "cut") == story(tmp_path / "whole")[: len(story(tmp_path / "cut"))]
    again = run(tmp_path / "cut", timeout=0.0)
    assert (again.stopped_by, len(again.trials)) == ("timeout", len(cut.trials)), "the time is spent"
    assert run(tmp_path / "cut").best == whole.best
    assert story(tmp_path / "cut") == story(tmp_path / "whole")


def test_a_timeout_ends_a_job_at_its_next_report(tmp_path, monkeypatch):
    class Clocked(Curves):
        """An hour passes in the second job's first epoch."""

        def run(self, job, report):
            return super().run(job, lambda epoch, values: self.hear(job, epoch, values, report))

        def hear(self, job, epoch, values, report):
            if len(self.ran) == 1:
                monkeypatch.setattr("automm.search.loop.time.monotonic", lambda: 1e9)
            heard.append((job.trial, epoch))
            report(epoch, values)

    heard = []
    found = run(tmp_path, objective=Clocked(tmp_path), timeout=3600.0)
    assert found.stopped_by == "timeout"
    assert heard == [(0, 1), (0, 2), (heard[2][0], heard[2][1])]
    assert [t.number for t in found.trials if t.state == "running"] == [heard[2][0]]
    monkeypatch.undo()
    run(tmp_path, timeout=1e12)
    run(tmp_path / "whole")
    assert story(tmp_path) == story(tmp_path / "whole")


def test_new_events_are_seen_once(tmp_path):
    seen = []
    run(tmp_path, on_event=seen.append)
    with Study.open(tmp_path / "study.db", readonly=True) as study:
        assert seen == list(study.events)
    before = len(seen)
    run(tmp_path, on_event=seen.append)
    assert len(seen) == before, "a search that is over has nothing to add"


def test_the_goal_may_be_a_loss(tmp_path):
    objective = Direct(lambda c: abs(c["x"] - 0.3))
    space = Space({"x": Float(0.0, 1.0)})
    found = run(tmp_path, objective=objective, space=space, trials=20, goal=Goal("accuracy", "minimize"), **ONE_RUNG)
    assert found.best.values["accuracy"] == min(t.values["accuracy"] for t in found.trials)
