"""What passes between the search and whatever evaluates a candidate: plain data and one protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from automm.space import Candidate

# completed: trained to the last rung, or finished before it. pruned: measured at a lower rung and not promoted.
# running: launched and not yet judged; after a stop, what a resumed search takes up again.
State = Literal["running", "completed", "pruned", "failed", "infeasible"]

# (epochs done, validation values), after every epoch; may raise to end the job
Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Job:
    """Train one trial from `start` epochs done to `stop` epochs done."""

    trial: int
    candidate: Candidate
    start: int  # 0, or an epoch at which an earlier Outcome of this trial left it
    stop: int


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    values: dict[str, float]  # validation metrics of what the trial would hand over now; the goal's metric among them
    epochs: int  # epochs done in all
    finished: bool  # nothing would change in further epochs (closed form, early stopping)
    seconds: float  # what this job cost
    findings: tuple[str, ...] = ()  # what was wrong with its gradients so far, a sentence each


class Objective(Protocol):
    """Whatever can judge a candidate."""

    def check(self, candidate: Candidate) -> str | None:
        """The reason why a hard constraint forbids the candidate; None when it may run. Must be a pure function."""

    def run(self, job: Job, report: Report) -> Outcome:
        """Train and measure.

        The same job may run twice, after an interruption: its state at `job.start` must still be there then, and it
        must give the same numbers. `report` may raise to end the job early; let that pass.

        Raises:
            TrialFailed: this trial cannot go on. Anything else that is raised ends the search, as a bug should.
        """


@dataclass
class Trial:
    """One candidate and all that is known of it."""

    number: int
    candidate: Candidate
    # "defaults", "strategy", "random" (the strategy had only known candidates to offer) or "ladder" (of another trial,
    # one step up its ladders)
    origin: str = "strategy"
    epochs: int = 0  # epochs done by the last job that ended well
    finished: bool = False
    values: dict[str, float] = field(default_factory=dict)
    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    seconds: float = 0.0
    reason: str = ""  # why it failed or is infeasible
    findings: list[str] = field(default_factory=list)  # what was wrong with its gradients, a sentence each
    state: State = "running"
    pending: Job | None = None  # decided and not yet ended
