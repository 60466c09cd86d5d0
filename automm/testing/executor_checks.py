"""What every executor must keep. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable

from automm.errors import TrialFailed
from automm.search.executors.executor import Ended, Executor
from automm.space import Candidate
from automm.testing.requirement import require
from automm.testing.subject import Subject
from automm.trial import Job, Outcome, Report


class Counting:
    """An objective that reports its epochs, and does as its candidate says; picklable."""

    def check(self, candidate: Candidate) -> str | None:
        """Every candidate may run."""
        return None

    def run(self, job: Job, report: Report) -> Outcome:
        """Report every epoch; fail or break at the last one where the candidate says so."""
        for epoch in range(job.start + 1, job.stop + 1):
            report(epoch, {"accuracy": epoch / 10})
        if job.candidate["do"] == "fail":
            raise TrialFailed("as told")
        if job.candidate["do"] == "break":
            raise ZeroDivisionError("a bug")
        return Outcome({"accuracy": job.stop / 10}, job.stop, False, 0.0)


def check_outcomes_and_reports(under_test: Subject) -> None:
    """Every job ends once, with its outcome or the reason it failed; its reports come before, in order."""
    reports: list[tuple[int, int, float]] = []
    ended = _run(
        under_test, ["go", "fail", "go"], lambda job, epoch, v: reports.append((job.trial, epoch, v["accuracy"]))
    )
    require(sorted(e.job.trial for e in ended) == [0, 1, 2], f"jobs ended: {[e.job.trial for e in ended]}")
    for end in ended:
        told = [(epoch, value) for trial, epoch, value in reports if trial == end.job.trial]
        require(told == [(3, 0.3), (4, 0.4), (5, 0.5)], f"the reports of a job from epoch 2 to 5 are {told}")
        if end.job.trial == 1:
            require(end.failure == "as told" and end.outcome is None, f"a failed trial ended as {end}")
        else:
            require(end.outcome is not None and end.outcome.epochs == 5, f"a job ended as {end}")


def check_cancelled_jobs_end_so(under_test: Subject) -> None:
    """A job cancelled from within a report ends as cancelled, and the executor takes on the next."""
    executor = _started(under_test)
    try:
        executor.submit(Job(0, {"do": "go"}, 0, 50))
        end = executor.wait(lambda job, epoch, values: executor.cancel(job.trial))
        require(end.cancelled and end.outcome is None and end.failure is None, f"a cancelled job ended as {end}")
        executor.submit(Job(1, {"do": "go"}, 0, 1))
        require(executor.wait(lambda *_: None).outcome is not None, "nothing runs after a cancelled job")
    finally:
        executor.close()


def check_bugs_are_not_swallowed(under_test: Subject) -> None:
    """What is raised other than TrialFailed comes out of `wait`: a bug is not a failed trial."""
    try:
        _run(under_test, ["break"], lambda *_: None)
    except ZeroDivisionError:
        return
    except Exception as error:
        require("a bug" in f"{error} {error.__cause__}", f"a bug came out as {type(error).__name__}: {error}")
        return
    require(False, "a job raised ZeroDivisionError, and `wait` did not")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_outcomes_and_reports,
    check_cancelled_jobs_end_so,
    check_bugs_are_not_swallowed,
)


def _started(under_test: Subject) -> Executor:
    executor = under_test.build()
    require(isinstance(executor, Executor), "it is no automm Executor")
    require(executor.capacity >= 1, f"capacity is {executor.capacity}")
    executor.start(Counting())
    return executor  # type: ignore[no-any-return]


def _run(
    under_test: Subject, orders: list[str], on_report: Callable[[Job, int, dict[str, float]], None]
) -> list[Ended]:
    """Every job from epoch 2 to 5, as many at once as the executor takes."""
    executor = _started(under_test)
    jobs = [Job(trial, {"do": order}, 2, 5) for trial, order in enumerate(orders)]
    ended: list[Ended] = []
    under_way = 0
    try:
        while len(ended) < len(orders):
            while jobs and under_way < executor.capacity:
                executor.submit(jobs.pop(0))
                under_way += 1
            ended.append(executor.wait(on_report))
            under_way -= 1
    finally:
        executor.close()
    return ended
