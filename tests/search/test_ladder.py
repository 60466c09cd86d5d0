"""Candidates further up a ladder come last, one step above the best that were found at its foot."""

import pytest
from curves import run, story

from automm.space import Float, Int, OneOf, Space
from automm.trial import Outcome

TUNE = OneOf(
    ("frozen", "last_k", "full"),
    ordered=True,
    ladder=True,
    children={"last_k": Space({"last_k": Int(1, 4, default=2)})},
)
SPACE = Space({"x": Float(0.0, 1.0), "solver": OneOf(("gradient", "closed_form")), "tune": TUNE})
ONE_RUNG = {"min_epochs": 1, "max_epochs": 1}


class Heads:
    """Accuracy is x, and what unfreezing adds to that."""

    def __init__(self, last_k, full, stop_after=None):
        self.gains = {"frozen": 0.0, "last_k": last_k, "full": full}
        self.stop_after = stop_after
        self.ran = 0

    def check(self, candidate):
        return None

    def run(self, job, report):
        self.ran += 1
        if self.ran == self.stop_after:
            raise KeyboardInterrupt
        value = 0.9 * job.candidate["x"] + self.gains[job.candidate["tune"]]
        report(1, {"accuracy": value})
        return Outcome({"accuracy": value}, 1, False, 0.0)


def climbed(found):
    return [(trial.candidate["tune"], trial.origin) for trial in found.trials]


def test_heads_come_first_and_the_best_of_them_go_up(tmp_path):
    found = run(tmp_path, objective=Heads(0.1, 0.2), space=SPACE, trials=12, climb=0.25, **ONE_RUNG)
    assert [tune for tune, _ in climbed(found)] == ["frozen"] * 9 + ["last_k", "full", "last_k"]
    assert [origin for _, origin in climbed(found)[9:]] == ["ladder"] * 3
    first, second, third = found.trials[9:]
    ranked = sorted(found.trials[:9], key=lambda trial: -trial.values["accuracy"])
    assert first.candidate == {**ranked[0].candidate, "tune": "last_k", "last_k": 2}
    assert second.candidate == {**ranked[0].candidate, "tune": "full"}
    assert third.candidate["x"] == ranked[1].candidate["x"]
    assert found.best is second


def test_where_a_step_does_not_pay_the_next_best_head_takes_it(tmp_path):
    found = run(tmp_path, objective=Heads(-1.0, 1.0), space=SPACE, trials=12, climb=0.25, **ONE_RUNG)
    assert [tune for tune, _ in climbed(found)] == ["frozen"] * 9 + ["last_k"] * 3
    assert found.best.candidate["tune"] == "frozen"


def test_without_a_share_a_ladder_is_a_choice_like_any_other(tmp_path):
    found = run(tmp_path, objective=Heads(0.1, 0.2), space=SPACE, trials=12, climb=0.0, **ONE_RUNG)
    assert {tune for tune, _ in climbed(found)} == {"frozen", "last_k", "full"}
    assert not any(origin == "ladder" for _, origin in climbed(found))


def test_who_cannot_climb_stays(tmp_path):
    found = run(
        tmp_path,
        objective=Heads(0.1, 0.2),
        space=SPACE,
        trials=12,
        climb=0.25,
        may_climb=lambda candidate: candidate["solver"] == "gradient",
        **ONE_RUNG,
    )
    assert {trial.candidate["solver"] for trial in found.trials[9:]} == {"gradient"}
    assert {trial.candidate["solver"] for trial in found.trials[:9]} == {"gradient", "closed_form"}


def test_a_foot_without_more_to_try_is_left_at_once(tmp_path):
    space = Space({"x": OneOf((0.0, 0.5)), "tune": TUNE})
    found = run(tmp_path, objective=Heads(0.1, 0.2), space=space, trials=50, climb=0.25, **ONE_RUNG)
    assert climbed(found) == [
        ("frozen", "defaults"),
        ("frozen", climbed(found)[1][1]),
        *[("last_k", "ladder"), ("full", "ladder")] * 2,
    ]
    assert found.stopped_by == "exhausted"


@pytest.mark.parametrize("stop_after", [4, 10, 11])
def test_an_interrupted_climb_goes_on_as_if_nothing_had_happened(tmp_path, stop_after):
    asked = {"space": SPACE, "trials": 12, "climb": 0.25, **ONE_RUNG}
    run(tmp_path / "whole", objective=Heads(0.1, 0.2), **asked)
    assert run(tmp_path / "cut", objective=Heads(0.1, 0.2, stop_after), **asked).stopped_by == "interrupt"
    run(tmp_path / "cut", objective=Heads(0.1, 0.2), **asked)
    assert story(tmp_path / "cut") == story(tmp_path / "whole")


def test_the_last_share_of_the_time_is_for_climbing(tmp_path, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("time.monotonic", lambda: next(clock) / 10)
    asked = {"space": SPACE, "trials": 500, "climb": 0.5, "timeout": 20.0, **ONE_RUNG}
    found = run(tmp_path, objective=Heads(0.1, 0.2), **asked)
    tunes = [tune for tune, _ in climbed(found)]
    heads = tunes.index("last_k")
    assert found.stopped_by == "timeout"
    assert set(tunes[:heads]) == {"frozen"}
    assert set(tunes[heads:]) == {"last_k", "full"}
    assert 0.3 < heads / len(tunes) < 0.7
    longer = climbed(run(tmp_path, objective=Heads(0.1, 0.2), **{**asked, "timeout": 80.0}))
    assert longer[: len(tunes)] == climbed(found)
    assert longer[len(tunes)][0] == "frozen", "its time has not come again"
    assert longer[-1][1] == "ladder"


def test_a_list_says_how_far_up_and_not_in_which_order():
    narrowed = SPACE.narrow("tune", ["full", "frozen"])
    assert narrowed.grounded().defaults() == {"x": 0.5, "solver": "gradient", "tune": "frozen"}
    assert narrowed.raised(narrowed.grounded().defaults()) == {"x": 0.5, "solver": "gradient", "tune": "full"}
    assert (
        SPACE.narrow("tune", "last_k").raised({"x": 0.5, "solver": "gradient", "tune": "last_k", "last_k": 1}) is None
    )


def test_a_ladder_below_a_choice_is_climbed_where_it_is_chosen():
    space = Space({"name": OneOf(("plain", "tower"), children={"tower": Space({"tune": TUNE})})})
    assert space.raised({"name": "plain"}) is None
    assert space.raised({"name": "tower", "tune": "last_k", "last_k": 4}) == {"name": "tower", "tune": "full"}
    assert space.grounded().cardinality() == 2
