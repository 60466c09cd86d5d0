"""What an executor is: it runs jobs somewhere and says what came of them. It decides nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from automm.space import Space
from automm.trial import Job, Objective, Outcome

OnReport = Callable[[Job, int, dict[str, float]], None]


@dataclass(frozen=True)
class Ended:
    """A job is over: exactly one of `outcome`, `failure` (the reason) and `cancelled` is set."""

    job: Job
    outcome: Outcome | None = None
    failure: str | None = None
    cancelled: bool = False


class Cancelled(BaseException):
    """Unwinds a cancelled job. No Exception, so that no component swallows it."""


class Executor(ABC):
    """Somewhere to run an objective's jobs. Options are keyword-only parameters."""

    API: ClassVar[int] = 1
    SPACE: ClassVar[Space] = Space()
    capacity: int = 1  # jobs that may be under way at once

    @abstractmethod
    def start(self, objective: Objective) -> None:
        """Get ready to run jobs of this objective."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Take a job on. Never more than `capacity` at once."""

    @abstractmethod
    def wait(self, on_report: OnReport) -> Ended:
        """Block until any job ends. Reports are passed to `on_report` in the calling process, in each job's own order.

        What a job raises other than TrialFailed is raised here: a bug is not a failed trial.
        """

    @abstractmethod
    def cancel(self, trial: int) -> None:
        """End a trial's job at its next report; it ends as `cancelled`. May be called from within `on_report`."""

    @abstractmethod
    def kill(self, trial: int) -> None:
        """End a trial's job at once where the place can do that, else like `cancel`. Any thread may ask for it."""

    @abstractmethod
    def close(self) -> None:
        """End everything still under way and let go of resources."""
