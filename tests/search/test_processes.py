"""Worker processes: the same decisions whichever job is over first, and nothing lost or left behind when one dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from curves import Curves, run, story

from automm.errors import ConfigError, DataError, TrialFailed
from automm.search.executors import processes
from automm.search.executors.processes import Processes, standing_by
from automm.search.study import Study
from automm.settings import ComponentSettings
from automm.trial import Job, Outcome


class Sleepy:
    """Reports and ends when its candidate says; the first job submitted is the slowest."""

    def check(self, candidate):
        return None

    def run(self, job, report):
        for epoch in range(job.start + 1, job.stop + 1):
            time.sleep(job.candidate.get("seconds", 0.0))
            report(epoch, {"accuracy": epoch / 10})
        if job.candidate.get("do") == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if job.candidate.get("do") == "data":
            raise DataError("the file is gone. Next: find it.")
        if job.candidate.get("do") == "fail":
            raise TrialFailed("as told")
        values = {
            "pid": float(os.getpid()),
            "threads": float(os.environ["OMP_NUM_THREADS"]),
            "ready": float("colorsys" in sys.modules),
        }
        return Outcome(values, job.stop, False, 0.0)


class Large(Sleepy):
    """Holds more than goes through a pipe, and says what of it a worker has."""

    def __init__(self, number):
        self.numbers = np.full(1 << 18, number)

    def run(self, job, report):
        if job.candidate.get("do") == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        self.numbers[job.trial] += 1  # nobody else sees it
        return Outcome({"sum": float(self.numbers.sum())}, job.stop, False, 0.0)


class Unpicklable(Sleepy):
    def __init__(self):
        self.held = lambda: None


@pytest.fixture
def executor():
    made = Processes(slots=2)
    made.start(Sleepy())
    yield made
    made.close()


@pytest.mark.parametrize("number", [1, 2])
def test_workers_share_what_is_large_and_those_that_follow_too(executor, number):
    executor.start(Large(number))  # after another objective
    assert executor._file is not None or not Path("/proc/self/fd").is_dir()
    jobs(executor, {}, {"do": "die"}, {}, {})
    ends = [executor.wait(lambda *_: None) for _ in range(4)]
    assert ends[1].failure
    found = [end.outcome.values["sum"] - number * (1 << 18) for end in ends if end.outcome]
    assert len(found) == 3
    assert all(1 <= more <= 3 for more in found)  # its own, and what the same worker had done before
    executor.close()
    executor.start(Large(3))
    jobs(executor, {})
    assert executor.wait(lambda *_: None).outcome.values["sum"] == 3 * (1 << 18) + 1


def jobs(executor, *candidates):
    for trial, candidate in enumerate(candidates):
        executor.submit(Job(trial, candidate, 0, 2))


def test_ends_come_in_the_order_of_submission_with_their_own_reports_before(executor):
    jobs(executor, {"seconds": 0.4}, {}, {})
    heard = []
    ends = [executor.wait(lambda job, epoch, values: heard.append((job.trial, epoch))) for _ in range(3)]
    assert [end.job.trial for end in ends] == [0, 1, 2]
    assert heard == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    pids = [end.outcome.values["pid"] for end in ends]
    assert len(set(pids)) == 2  # the third ran where the second had ended, while the first went on
    assert pids[1] == pids[2]


def test_a_worker_that_stands_by_is_taken_with_what_it_has_imported():
    with standing_by(2, ["colorsys"]):
        made = Processes(slots=2)
        made.start(Sleepy())
        try:
            jobs(made, {"seconds": 0.4}, {})
            ends = [made.wait(lambda *_: None).outcome.values for _ in range(2)]
        finally:
            made.close()
    assert [end["ready"] for end in ends] == [1.0, 0.0]
    assert ends[0]["threads"] == ends[1]["threads"]


def test_a_worker_that_stands_by_for_nobody_ends():
    with standing_by(2, []):
        process = processes._standing_by[0][1]
        assert process.poll() is None
    assert process.returncode is not None


def test_a_worker_that_dies_fails_its_trial_and_is_replaced(executor):
    jobs(executor, {"do": "die"}, {}, {"do": "fail"})
    first, second, third = (executor.wait(lambda *_: None) for _ in range(3))
    assert "its worker process ended with status -9" in first.failure
    assert second.outcome is not None
    assert third.failure == "as told"
    executor.submit(Job(3, {}, 0, 1))
    assert executor.wait(lambda *_: None).outcome.epochs == 1


def test_a_user_error_comes_out_as_it_is(executor):
    jobs(executor, {"do": "data"})
    with pytest.raises(DataError, match="the file is gone"):
        executor.wait(lambda *_: None)


def test_a_job_that_was_cancelled_before_it_began_never_does(executor):
    jobs(executor, {"seconds": 0.2}, {"seconds": 0.2}, {})
    executor.cancel(2)
    ends = [executor.wait(lambda *_: None) for _ in range(3)]
    assert [end.cancelled for end in ends] == [False, False, True]


def test_a_job_that_is_killed_ends_at_once(executor):
    jobs(executor, {"seconds": 60.0}, {})
    executor.kill(0)
    assert executor.wait(lambda *_: None).cancelled
    assert executor.wait(lambda *_: None).outcome is not None


def test_what_cannot_be_handed_over_says_so():
    with pytest.raises(ConfigError, match="executor=in_process"):
        Processes(slots=1).start(Unpicklable())


def test_workers_end_with_whoever_started_them_however_that_ends():
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from automm.search.executors.processes import Processes
from automm.trial import Job
from test_processes import Sleepy
made = Processes(slots=1)
made.start(Sleepy())
made.submit(Job(0, {{"seconds": 120.0}}, 0, 1))
print(made._workers[0].process.pid, flush=True)
time.sleep(120)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    time.sleep(1.0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    waited = 0
    while _alive(pid) and waited < 100:
        time.sleep(0.1)
        waited += 1
    outlived = _alive(pid)
    if outlived:
        os.kill(pid, signal.SIGKILL)
    assert not outlived, "the worker outlived its parent"


def _alive(pid):
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_a_search_over_processes_is_the_same_run_twice_or_interrupted(tmp_path):
    asked = {"executor": "processes", "trials": 10, "strategy": "portfolio"}
    whole = run(tmp_path / "whole", **asked)
    assert whole.stopped_by == "trials"
    cut = tmp_path / "cut"
    for at in (5, 16):
        seen = []

        def press(event, seen=seen, at=at):
            seen.append(event)
            if len(seen) == at:
                raise KeyboardInterrupt

        assert run(cut, on_event=press, **asked).stopped_by == "interrupt"
    assert run(cut, **asked).best.candidate == whole.best.candidate
    assert story(cut) == story(tmp_path / "whole")


def test_when_time_is_up_what_is_under_way_counts_for_nothing(tmp_path):
    asked = {"executor": "processes", "trials": 10, "strategy": "portfolio"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(whole, **asked)
    assert run(cut, timeout=0.0, **asked).stopped_by == "timeout"
    assert story(cut) == story(whole)[: len(story(cut))]
    assert [kind for kind, _, _ in story(cut)].count("tell") == 1, "the first measurement is spared, and no other"
    run(cut, **asked)
    assert story(cut) == story(whole)


class Long(Curves):
    """Reports nothing for minutes, but for the trial that is measured first."""

    def run(self, job, report):
        if job.trial == 0:
            return super().run(job, report)
        time.sleep(300.0)
        (self.folder / "waited").touch()
        return super().run(job, report)


def test_when_time_is_up_nobody_waits_for_a_report(tmp_path):
    two = ComponentSettings("processes", {"slots": 2, "ahead": 1})
    assert run(tmp_path, objective=Long(tmp_path), executor=two, trials=4, timeout=0.0).stopped_by == "timeout"
    with Study.open(tmp_path / "study.db", readonly=True) as study:
        spent = study.elapsed
    found = run(tmp_path, objective=Long(tmp_path), executor=two, trials=4, timeout=spent + 2.0)
    assert (found.stopped_by, found.trials[1].state) == ("timeout", "running")
    assert not (tmp_path / "waited").exists()


def test_jobs_wait_for_workers_as_far_ahead_as_asked(tmp_path):
    asked = {"trials": 10, "strategy": "portfolio"}

    def launched_first(name, ahead):
        study = run(tmp_path / name, executor=ComponentSettings("processes", {"slots": 2, "ahead": ahead}), **asked)
        assert study.stopped_by == "trials"
        return [kind for kind, _, _ in story(tmp_path / name)].index("tell")

    assert [launched_first(str(ahead), ahead) for ahead in (0, 1, 3)] == [2, 3, 5]
    launched_first("again", 3)
    assert story(tmp_path / "again") == story(tmp_path / "3")


TWO = {"executor": ComponentSettings("processes", {"slots": 2}), "trials": 8, "max_epochs": 4}


def test_a_place_that_would_stay_empty_trains_the_leader_on(tmp_path):
    plain = run(tmp_path / "plain", **TWO)
    found = run(tmp_path / "ahead", **TWO, horizon=20)
    again = run(tmp_path / "again", **TWO, horizon=20)
    ahead = [(trial, data) for kind, trial, data in story(tmp_path / "ahead") if kind == "promote" and data["stop"] > 4]
    assert {trial for trial, _ in ahead} == {found.best.number}
    assert [4, *(data["stop"] for _, data in ahead)] == [*(data["start"] for _, data in ahead), found.best.epochs]
    # what random asks for depends on no news, so that here the rest can be compared
    assert [t.values for t in found.trials] == [t.values for t in plain.trials], "nothing is decided by that"
    assert found.best.number == plain.best.number
    assert story(tmp_path / "again") == story(tmp_path / "ahead")
    assert again.best.values == found.best.values


def test_the_leader_trains_on_before_the_last_candidates_and_after_an_interruption(tmp_path):
    def leads_on(event):
        return event.kind == "promote" and event.data["stop"] > 4

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    asked = TWO | {"trials": 12, "horizon": 30}
    run(whole, **asked)
    told = story(whole)
    first = next(at for at, (kind, _, data) in enumerate(told) if kind == "promote" and data["start"] == 4)
    assert told[first][2] == {"start": 4, "stop": 6}, "as far as a candidate goes at first"
    assert [kind for kind, _, _ in told[:first]].count("ask") < 12

    def press(event):
        if leads_on(event):
            raise KeyboardInterrupt

    interrupted = 0
    while run(cut, **asked, on_event=press).stopped_by == "interrupt":
        interrupted += 1
    assert interrupted > 1
    assert story(cut) == told


def test_the_leader_trains_on_and_leaves_its_last_epoch_to_the_refit(tmp_path):
    assert run(tmp_path / "6", **TWO, horizon=6).best.epochs == 5
    assert run(tmp_path / "5", **TWO, horizon=5).best.epochs == 4


@pytest.mark.parametrize("executor", ["in_process", ComponentSettings("processes", {"slots": 1})])
def test_nobody_trains_on_where_one_trial_runs_at_a_time(tmp_path, executor):
    found = run(tmp_path, trials=8, max_epochs=4, horizon=20, executor=executor)
    assert max(trial.epochs for trial in found.trials) == 4
