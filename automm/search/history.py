"""What a ledger says: trials, rungs and the best, folded from events. Pure; knows no strategy and no storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from automm.search.pruning import Halving, rungs_between
from automm.search.study import Event, Study
from automm.trial import Job, Trial
from automm.types import Goal


class History:
    """The state of a search after some events."""

    def __init__(
        self,
        goal: Goal,
        *,
        min_epochs: int,
        max_epochs: int,
        eta: int,
        family: str | None = None,  # the path whose values are families of candidates
        events: Iterable[Event] = (),
    ) -> None:
        self.goal = goal
        self._family = family
        self.halving = Halving(rungs_between(min_epochs, max_epochs, eta), eta)
        self.trials: list[Trial] = []
        self.stopped_by = ""
        self.climbing = False  # time has come for candidates further up their ladders
        self.exhausted = False  # the strategy and chance had nothing new to offer
        self._launched: dict[int, float] = {}
        self._decided: dict[int, int] = {}  # by trial: the event that its last job was decided by
        for event in events:
            self.apply(event)

    @classmethod
    def of(cls, study: Study) -> History:
        """The history of a stored study."""
        if not study.header:
            return cls(Goal("", "maximize"), min_epochs=1, max_epochs=1, eta=2)
        return cls(Goal(**study.header["goal"]), **study.header["halving"], events=study.events)

    @property
    def best(self) -> Trial | None:
        """The incumbent, compared with others at equal fidelity only."""
        number = self.halving.best()
        return None if number is None else self.trials[number]

    @property
    def pending(self) -> list[Trial]:
        """Trials with a job that was decided on and has not ended, in the order of the decisions."""
        waiting = [trial for trial in self.trials if trial.pending is not None]
        return sorted(waiting, key=lambda trial: self._decided[trial.number])

    def loss(self, values: Mapping[str, float]) -> float:
        """The goal's metric, turned so that lower is better."""
        return self.goal.loss(values)

    def apply(self, event: Event) -> None:
        """Take one event in."""
        self.stopped_by = event.data["reason"] if event.kind == "stop" else ""
        if event.kind in ("ask", "promote") and event.trial is not None:
            self._decided[event.trial] = event.seq
        if event.kind == "ask":
            self._ask(event)
        elif event.kind == "exhausted":
            self.exhausted = True
        elif event.kind == "climb":
            self.climbing = event.data["on"]
        elif event.trial is not None:
            self._of_trial(self.trials[event.trial], event)

    def _of_trial(self, trial: Trial, event: Event) -> None:
        if event.kind == "launch":
            self._launched[trial.number] = event.elapsed
            trial.reports = [r for r in trial.reports if r[0] <= event.data["start"]]
        elif event.kind == "report":
            trial.reports.append((event.data["epoch"], dict(event.data["values"])))
        elif event.kind == "promote":
            trial.pending = Job(trial.number, trial.candidate, event.data["start"], event.data["stop"])
            if event.data["stop"] in self.halving.rungs:  # else it has been measured at the last, and is only taken on
                trial.state = "running"
                self.halving.promote(trial.number, self.halving.rungs.index(event.data["stop"]) - 1)
        elif event.kind == "tell":
            self._tell(trial, event.data)
        else:
            trial.state = "failed" if event.kind == "fail" else "infeasible"
            trial.reason, trial.pending = event.data["reason"], None
            trial.seconds += event.elapsed - self._launched.get(trial.number, event.elapsed)
            self.halving.fail(trial.number)

    def _ask(self, event: Event) -> None:
        assert event.trial == len(self.trials), "trials are numbered as they are asked for"
        candidate = dict(event.data["candidate"])
        first = Job(event.trial, candidate, 0, self.halving.rungs[0])
        self.trials.append(Trial(event.trial, candidate, event.data["origin"], pending=first))

    def _tell(self, trial: Trial, data: Mapping[str, Any]) -> None:
        assert trial.pending is not None, "only a pending job can end"
        stop, rungs = trial.pending.stop, self.halving.rungs
        trial.pending = None
        trial.epochs, trial.finished = data["epochs"], data["finished"]
        trial.findings = list(data.get("findings", ()))
        trial.seconds += data["seconds"]
        trial.state = "completed" if trial.finished or stop >= rungs[-1] else "pruned"
        if stop > rungs[-1]:
            return  # trained on beyond the last rung, whose values are those that trials are compared by
        rung = rungs.index(stop)
        trial.values = dict(data["values"])
        family = "" if self._family is None else str(trial.candidate[self._family])
        self.halving.record(trial.number, rung, self.loss(trial.values), finished=trial.finished, family=family)


def trials_table(study: Study) -> list[dict[str, Any]]:
    """The trials of a study as plain rows: what `automm study RUN_DIR --json` prints."""
    keys = ("number", "state", "candidate", "values", "epochs", "seconds", "reason", "findings", "origin", "finished")
    return [{key: asdict(trial)[key] for key in keys} for trial in History.of(study).trials]
