"""The search: one driver, steady state, everything written down before going on."""

from __future__ import annotations

import math
import platform
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from automm.errors import TrialFailed
from automm.registry import get
from automm.search.driver import Driver, ground, head_trials
from automm.search.executors.executor import Ended, Executor, OnReport
from automm.search.history import History
from automm.search.selection import Runoff
from automm.search.strategies.strategy import Strategy
from automm.search.strategies.tree import widest_choice
from automm.search.study import Event, Kind, Study
from automm.settings import ComponentSettings, SearchSettings
from automm.space import Candidate, Space
from automm.trial import Job, Objective, Trial
from automm.types import Goal

StoppedBy = Literal["trials", "timeout", "interrupt", "exhausted"]
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class SearchResult:
    """What a search came to."""

    best: Trial | None  # None when no trial was measured
    trials: list[Trial]
    stopped_by: StoppedBy
    seconds: float  # of searching, over all sessions
    passed_over: Trial | None = None  # who was ahead of the best, but by no more than luck
    runoff: Runoff | None = None  # how the last candidates were judged once more, by more rows

    def values_of(self, trial: Trial) -> Mapping[str, float]:
        """A trial's metrics by the most rows that have judged it."""
        return trial.values if self.runoff is None else self.runoff.values.get(trial.number, trial.values)


def search(
    space: Space,
    objective: Objective,
    goal: Goal,
    settings: SearchSettings,
    study: Study,
    seed: int,
    on_event: OnEvent = lambda _event: None,
    *,
    horizon: int | None = None,
    may_climb: Callable[[Candidate], bool] = lambda _: True,
) -> SearchResult:
    """Search `space` until the budget is spent, going on from whatever `study` already holds.

    The same arguments give the same candidates and the same decisions, interrupted or not; a timeout and Ctrl-C
    (KeyboardInterrupt) guarantee a prefix of them, but that a timeout also says when ladders are climbed. The timeout
    spares the first measurement, so that there is a best.

    Args:
        objective: judges candidates; see `Objective`.
        study: a study open for writing. Events of the past are replayed, not run.
        on_event: sees every new event, after it is committed.
        horizon: epochs to which the winner will be trained on from its last checkpoint. A place that would stay empty
            while others run is used for a part of that, by whoever leads then; so are places before the last
            candidates, where that way is the longest. None = it is trained anew, or not.
        may_climb: whether a candidate one step up its ladders can be trained at all; a pure function.

    Raises:
        StudyError: the study was begun with other settings, or cannot be replayed by what is installed.
    """
    strategy = _strategy(space, settings, seed)
    executor = make_executor(settings.executor)
    header = _header(space, goal, settings, seed, horizon)
    study.begin(header)
    history = History(goal, **header["halving"])
    driver = Driver(
        space,
        history,
        strategy,
        trials=settings.trials,
        seed=seed,
        horizon=horizon,
        climb=settings.climb,
        may_climb=may_climb,
    )
    session = _Session(driver, executor, objective, study, settings, on_event)
    try:
        for event in study.events:
            driver.replay(event)
        stopped_by = session.run()
    except KeyboardInterrupt:
        study.reload()  # an event may have been committed just before the interruption
        stopped_by = "interrupt"
    finally:
        executor.close()
    history = History.of(study)
    if history.stopped_by != stopped_by:
        on_event(study.append("stop", None, {"reason": stopped_by}, session.elapsed()))
    return SearchResult(history.best, history.trials, stopped_by, study.elapsed)


def check_search(space: Space, settings: SearchSettings, seed: int) -> None:
    """Raise what building the strategy and the executor would, before anything is written down.

    Raises:
        ConfigError: an option that one of them does not take, or a value it cannot.
    """
    _strategy(space, settings, seed)
    make_executor(settings.executor).close()


class _Session:
    """One sitting of a search."""

    def __init__(
        self,
        driver: Driver,
        executor: Executor,
        objective: Objective,
        study: Study,
        settings: SearchSettings,
        on_event: OnEvent,
    ) -> None:
        self._driver = driver
        self._executor = executor
        self._objective = objective
        self._study = study
        self._timeout = settings.timeout
        self._climb_at = math.inf  # seconds
        if settings.timeout is not None and driver.has_ladder:
            self._climb_at = settings.timeout * (1 - settings.climb)
        self._on_event = on_event
        self._under_way: list[int] = []
        self._measured = False  # whether there is a best
        self._earlier = study.elapsed
        self._began = time.monotonic()

    def elapsed(self) -> float:
        """Seconds of searching, over all sessions."""
        return self._earlier + time.monotonic() - self._began

    def run(self) -> StoppedBy:
        """Go on until there is nothing to do or no time to do it."""
        self._measured = self._driver.history.best is not None
        with self._alarm():
            return self._run()

    def _run(self) -> StoppedBy:
        self._executor.start(self._objective)
        todo = [trial.pending for trial in self._driver.history.pending if trial.pending is not None]
        while True:
            while len(self._under_way) < self._executor.capacity and not self._timed_out():
                job = todo.pop(0) if todo else self._next_job()
                if job is None:
                    break
                self._launch(job)
            if not self._under_way:
                break
            self._stop_if_timed_out()
            ended = self._executor.wait(self._reported)
            self._under_way.remove(ended.job.trial)
            self._ended(ended)
        if self._driver.history.pending or self._driver.decide() is not None:
            return "timeout"
        return "exhausted" if self._driver.history.exhausted else "trials"

    def _next_job(self) -> Job | None:
        due = self.elapsed() >= self._climb_at
        if due != self._driver.history.climbing:  # a limit may be another one than last time
            self._record("climb", None, {"on": due})
        decision = self._driver.decide()
        if decision is not None and decision.trial is None:
            self._record(decision.kind, None, decision.data)
            decision = self._driver.decide()
        if decision is None or decision.trial is None:
            return None
        self._record(decision.kind, decision.trial, decision.data)
        return self._driver.history.trials[decision.trial].pending

    def _launch(self, job: Job) -> None:
        """Get a job under way, unless a hard constraint forbids its candidate or it cannot even be built."""
        try:
            reason = self._objective.check(job.candidate) if job.start == 0 else None
        except TrialFailed as failure:
            self._record("fail", job.trial, {"reason": failure.reason})
            return
        if reason is not None:
            self._record("infeasible", job.trial, {"reason": reason})
            return
        self._record("launch", job.trial, {"start": job.start, "stop": job.stop})
        self._executor.submit(job)
        self._under_way.append(job.trial)

    def _reported(self, job: Job, epoch: int, values: dict[str, float]) -> None:
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self._record("report", job.trial, {"epoch": epoch, "values": finite})
        self._stop_if_timed_out()

    def _stop_if_timed_out(self) -> None:
        """What is under way when time is up counts for nothing, or what counts would depend on who was quick."""
        if self._timed_out():
            self._kill_all()

    def _kill_all(self) -> None:
        for trial in list(self._under_way):
            self._executor.kill(trial)

    @contextmanager
    def _alarm(self) -> Iterator[None]:
        """End what is under way as soon as time is up, even if nobody reports; not before there is a best."""
        if self._timeout is None:
            yield
            return

        def ring() -> None:
            if self._measured:
                self._kill_all()

        wait = min(max(self._timeout - self.elapsed(), 0.0), threading.TIMEOUT_MAX)
        timer = threading.Timer(wait, ring)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _ended(self, ended: Ended) -> None:
        if ended.cancelled:
            return
        outcome, metric = ended.outcome, self._driver.history.goal.metric
        if outcome is None:
            self._record("fail", ended.job.trial, {"reason": ended.failure or "no reason given"})
        elif not math.isfinite(outcome.values[metric]):
            reason = f"{metric} is {outcome.values[metric]} after {outcome.epochs} epochs"
            self._record("fail", ended.job.trial, {"reason": reason})
        else:
            finite = {name: float(value) for name, value in outcome.values.items() if math.isfinite(value)}
            self._record("tell", ended.job.trial, {**asdict(outcome), "values": finite})

    def _record(self, kind: Kind, trial: int | None, data: dict[str, Any]) -> None:
        self._measured = self._measured or kind == "tell"
        event = self._study.append(kind, trial, data, self.elapsed())
        self._driver.apply(event)
        self._on_event(event)

    def _timed_out(self) -> bool:
        if self._timeout is None or self._driver.history.best is None:
            return False
        return self.elapsed() >= self._timeout


def _strategy(space: Space, settings: SearchSettings, seed: int) -> Strategy:
    component = get("strategy", settings.strategy.name)
    component.check_options(dict(settings.strategy.options))
    proposed, asked = ground(space, settings.climb), head_trials(space, settings.trials, settings.climb)
    strategy: Strategy = component.factory(proposed, seed, asked, **settings.strategy.options)
    return strategy


def make_executor(settings: ComponentSettings) -> Executor:
    """The executor that settings name."""
    component = get("executor", settings.name)
    component.check_options(dict(settings.options))
    executor: Executor = component.factory(**settings.options)
    return executor


def run_all(
    executor: Executor, objective: Objective, jobs: Sequence[Job], on_report: OnReport = lambda *_: None
) -> Generator[Ended]:
    """Run jobs of different numbers, as many at once as the executor can, begun in order; each as it ends.

    To be closed, as `contextlib.closing` does: that closes the executor.
    """
    waiting, running = list(jobs), 0

    def fill() -> None:
        nonlocal running
        while waiting and running < executor.capacity:
            executor.submit(waiting.pop(0))
            running += 1

    try:
        executor.start(objective)
        fill()
        while running:
            ended = executor.wait(on_report)
            running -= 1
            fill()
            yield ended
    finally:
        executor.close()


def _header(space: Space, goal: Goal, settings: SearchSettings, seed: int, horizon: int | None) -> dict[str, Any]:
    """What a trajectory depends on. The executor only spreads it out, and the time limit cuts it short; when that says
    that a ladder is climbed, it is an event."""
    return {
        "goal": asdict(goal),
        "seed": seed,
        "trials": settings.trials,
        "halving": {
            "min_epochs": settings.min_epochs,
            "max_epochs": settings.max_epochs,
            "eta": settings.eta,
            "family": widest_choice(space),
        },
        "horizon": horizon,
        "climb": settings.climb,
        "max_gflop": settings.max_gflop,
        "strategy": {"name": settings.strategy.name, "options": dict(settings.strategy.options)},
        "space": asdict(space)["params"],
        "versions": {"python": platform.python_version(), **_versions("automm", "nevergrad", "numpy")},
    }


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
