"""Jobs in this very process, one at a time."""

from __future__ import annotations

from collections import deque

from automm.errors import TrialFailed
from automm.search.executors.executor import Cancelled, Ended, Executor, OnReport
from automm.trial import Job, Objective


class InProcess(Executor):
    """Runs a job in the calling thread while the search waits for it."""

    capacity = 1

    def __init__(self) -> None:
        self._objective: Objective | None = None
        self._queue: deque[Job] = deque()
        self._cancelled: set[int] = set()

    def start(self, objective: Objective) -> None:
        """Remember whose jobs to run."""
        self._objective = objective

    def submit(self, job: Job) -> None:
        """Queue a job; it runs in the next `wait`."""
        self._cancelled.discard(job.trial)
        self._queue.append(job)

    def wait(self, on_report: OnReport) -> Ended:
        """Run the oldest job to its end."""
        assert self._objective is not None, "start() comes before wait()"
        job = self._queue.popleft()

        def report(epoch: int, values: dict[str, float]) -> None:
            on_report(job, epoch, values)
            if job.trial in self._cancelled:
                raise Cancelled

        if job.trial in self._cancelled:
            return Ended(job, cancelled=True)
        try:
            return Ended(job, outcome=self._objective.run(job, report))
        except TrialFailed as failure:
            return Ended(job, failure=failure.reason)
        except Cancelled:
            return Ended(job, cancelled=True)

    def cancel(self, trial: int) -> None:
        """End a trial's job at its next report."""
        self._cancelled.add(trial)

    def kill(self, trial: int) -> None:
        """The same as `cancel`: a process cannot kill a part of itself."""
        self.cancel(trial)

    def close(self) -> None:
        """Forget what was queued."""
        self._queue.clear()
