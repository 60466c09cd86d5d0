"""A search that was interrupted, anywhere and in any way, comes to what it would have come to."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from curves import GOAL, SPACE, Curves, run, settings, story

from automm.errors import StudyError, TrialFailed
from automm.registry import register
from automm.search.executors.executor import Ended, Executor
from automm.search.history import History, trials_table
from automm.search.loop import search
from automm.search.study import Study


def table(folder):
    """What is known of trials in the end; a failed job is timed by the clock, so that is left out."""
    with Study.open(folder / "study.db", readonly=True) as study:
        rows = trials_table(study)
        reports = [trial.reports for trial in History.of(study).trials]
    return [row | {"seconds": None if row["reason"] else row["seconds"]} for row in rows], reports


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Uninterrupted searches by strategy, made when asked for."""
    made = {}

    def of(strategy):
        if strategy not in made:
            made[strategy] = tmp_path_factory.mktemp(strategy)
            run(made[strategy], strategy=strategy, trials=8, max_epochs=4)
        return made[strategy]

    return of


def events_of(folder):
    with Study.open(folder / "study.db", readonly=True) as study:
        return list(study.events)


class Interrupting(Study):
    """A study during whose n-th commit Ctrl-C is pressed."""

    countdown = 0
    after = False

    def append(self, kind, trial, data, elapsed):
        self.countdown -= 1
        if self.countdown == 0 and not self.after:
            raise KeyboardInterrupt
        event = super().append(kind, trial, data, elapsed)
        if self.countdown == 0:
            self._events.pop()  # committed, and nobody knows yet
            raise KeyboardInterrupt
        return event


def interrupted(folder, at, *, after, strategy):
    folder.mkdir(exist_ok=True)
    with Interrupting.open(folder / "study.db") as study:
        study.countdown, study.after = at, after
        chosen = settings(strategy=strategy, trials=8, max_epochs=4)
        found = search(SPACE, Curves(folder), GOAL, chosen, study, 3)
    assert found.stopped_by == "interrupt"


@pytest.mark.parametrize("after", [False, True], ids=["before a commit", "after a commit"])
def test_interrupted_at_every_event(tmp_path, whole, after):
    expected = story(whole("random")), table(whole("random"))
    for at in range(1, len(events_of(whole("random")))):
        folder = tmp_path / str(at)
        interrupted(folder, at, after=after, strategy="random")
        assert story(folder) == expected[0][: len(story(folder))]
        assert run(folder, trials=8, max_epochs=4).stopped_by == "trials"
        assert (story(folder), table(folder)) == expected, f"interrupted at event {at}"


@pytest.mark.parametrize("strategy", ["nevergrad", "portfolio", "surrogate"])
def test_interrupted_again_and_again(tmp_path, whole, strategy):
    expected = whole(strategy)
    for at in (12, 2, 19, 15, 1):
        interrupted(tmp_path, at, after=at % 2 == 0, strategy=strategy)
    run(tmp_path, strategy=strategy, trials=8, max_epochs=4)
    assert story(tmp_path) == story(expected)
    assert table(tmp_path) == table(expected)


def test_ctrl_c_inside_a_job(tmp_path, whole):
    class Pressed(Curves):
        def run(self, job, report):
            def press(epoch, values):
                report(epoch, values)
                if (job.trial, epoch) == (0, 3):
                    raise KeyboardInterrupt

            return super().run(job, press)

    found = run(tmp_path, objective=Pressed(tmp_path), trials=8, max_epochs=4)
    assert found.stopped_by == "interrupt"
    assert found.best.number == 0
    assert found.trials[0].state == "running"
    assert [epoch for epoch, _ in found.trials[0].reports] == [1, 2, 3]
    run(tmp_path, trials=8, max_epochs=4)
    assert table(tmp_path) == table(whole("random")), "the reports of the job that was cut short are not doubled"


def test_a_finished_rung_is_not_paid_for_twice(tmp_path):
    interrupted(tmp_path, 30, after=True, strategy="random")
    before = {(t.number, t.epochs) for t in History(GOAL, **_halving(tmp_path), events=events_of(tmp_path)).trials}
    objective = Curves(tmp_path)
    run(tmp_path, objective=objective, trials=8, max_epochs=4)
    assert all(start == dict(before).get(trial, 0) for trial, start, _ in objective.ran if (trial, start) in before)
    assert not {(trial, stop) for trial, _, stop in objective.ran} & {(t, e) for t, e in before if e}


def _halving(folder):
    with Study.open(folder / "study.db", readonly=True) as study:
        return study.header["halving"]


KILLED = """
import sys, time
from pathlib import Path
from curves import Curves, run

class Slow(Curves):
    def run(self, job, report):
        def slowly(epoch, values):
            report(epoch, values)
            time.sleep(0.02)
        return super().run(job, slowly)

folder = Path(sys.argv[1])
run(folder, objective=Slow(folder), strategy="portfolio", trials=8, max_epochs=4)
"""


def test_kill_9_loses_nothing(tmp_path, whole):
    expected = whole("portfolio")
    wanted = len(events_of(expected)) // 2
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], cwd=Path(__file__).parent)
    try:
        while process.poll() is None and _count(tmp_path) < wanted:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it was still at work"
    assert _count(tmp_path) >= wanted
    run(tmp_path, strategy="portfolio", trials=8, max_epochs=4)
    assert story(tmp_path) == story(expected)
    assert table(tmp_path) == table(expected)


def _count(folder):
    try:
        return len(events_of(folder))
    except StudyError:
        return 0  # it has not begun


class AnyOrder(Executor):
    """Three places to work, and no saying who ends first: what workers elsewhere look like to the driver."""

    capacity = 3

    def __init__(self, *, pace: int = 1):
        self._pace = pace
        self._jobs = []
        self._waits = 0

    def start(self, objective):
        self._objective = objective

    def submit(self, job):
        assert len(self._jobs) < self.capacity
        self._jobs.append(job)

    def wait(self, on_report):
        self._waits += self._pace
        job = self._jobs.pop(self._waits % len(self._jobs))
        try:
            return Ended(job, self._objective.run(job, lambda epoch, values: on_report(job, epoch, values)))
        except TrialFailed as failure:
            return Ended(job, failure=failure.reason)

    def cancel(self, trial):
        """Jobs here are short: they end by themselves."""

    def kill(self, trial):
        """The same."""

    def close(self):
        self._jobs.clear()


def test_many_workers_in_any_order(tmp_path):
    register("executor", "any_order")(AnyOrder)
    whole = run(tmp_path / "whole", executor="any_order", trials=10)
    assert whole.stopped_by == "trials"
    assert whole.best.epochs == 8 or whole.best.finished
    for at in (4, 11, 19, 27):
        cut = tmp_path / str(at)
        seen = []

        def press(event, seen=seen, at=at):
            seen.append(event)
            if len(seen) == at:
                raise KeyboardInterrupt

        assert run(cut, executor="any_order", trials=10, on_event=press).stopped_by == "interrupt"
        prefix = story(cut)
        found = run(cut, executor="in_process", trials=10)
        assert found.stopped_by == "trials", "another executor may go on"
        assert story(cut)[: len(prefix)] == prefix
        assert not [t for t in found.trials if t.state == "running"]
