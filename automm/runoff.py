"""Who wins a search whose candidates few rows have judged: the last of them are judged once more, by many."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from automm.data.split import joined, take
from automm.run_dir import RunDir, write_json
from automm.search.loop import SearchResult, make_executor, run_all
from automm.search.selection import Runoff, lead
from automm.settings import Settings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training.objective import TrainingObjective
from automm.trial import Job, Outcome, Report
from automm.types import Goal, Splits

_STAGE = "runoff"  # the one that says how the last candidates were judged again
_SHARE = 0.2  # of a search's time limit that judging again may take


@dataclass(frozen=True)
class Contender:
    """A trial to be judged again."""

    number: int
    candidate: Candidate
    epochs: int  # to be trained for, which is what its validation metrics are of


def run_off(
    found: SearchResult,
    settings: Settings,
    splits: Splits,
    task: Task,
    goal: Goal,
    run_dir: RunDir,
    *,
    trained: bool,
    say: Callable[[str], None],
    on_fit: Callable[[], None] = lambda: None,
) -> SearchResult:
    """The search with whoever wins when its last candidates are judged once more, where they are.

    Once, and again where the search has gone on since, but not once its winner is trained.

    Args:
        found: the search.
        settings: the run's.
        splits: without `runoff_folds` nobody is judged again.
        task: fitted on the training table.
        goal: what the search drove at.
        run_dir: where it is kept how that ended.
        trained: whether the winner has been trained to the end.
        say: is told what happens.
        on_fit: is called after every fit.
    """
    search, folder = settings.search, run_dir.checkpoints / _STAGE
    if not search.runoff or splits.runoff_folds is None or max(search.ensemble, search.soup) > 1:
        return found
    said, searched = run_dir.finished(_STAGE), [len(found.trials), sum(trial.epochs for trial in found.trials)]
    if not trained and (said is None or said["searched"] != searched):
        folds = int(splits.runoff_folds.max()) + 1
        who = contenders(found, goal, settings, folds=folds, say=say)
        runoff = judge_again(settings, splits, task, goal, folder, who, say, on_fit)
        said = {"searched": searched, **asdict(runoff)}
        run_dir.finish(_STAGE, said)
    shutil.rmtree(folder, ignore_errors=True)
    values = {int(number): of for number, of in said["values"].items()} if said else {}
    if said is None or not values:
        return found
    out = decided(found, Runoff(values, said["rows"], said["folds"], said["seconds"]), goal)
    if out.runoff is None:
        say("who leads, or the defaults, could not be judged again: the search stands as it was")
    return out


def contenders(
    found: SearchResult, goal: Goal, settings: Settings, *, folds: int, say: Callable[[str], None]
) -> list[Contender]:
    """The defaults and `search.runoff` others, the best first, that came to the last rung; nobody where one is all.

    Whoever leads is among them, wherever it came to, and of those with the same figures the first alone. With
    `search.timeout` only as many as a fifth of that should last for, by what their trials took, as many side by side as
    were in the search.

    Args:
        found: the search.
        goal: what it drove at.
        settings: the run's.
        folds: fits that judging one again takes.
        say: is told who stays behind.
    """
    defaults, best, search = found.trials[0], found.best, settings.search
    completed = [trial for trial in found.trials if trial.state == "completed"]
    rivals = [trial for trial in completed if trial not in (defaults, best)]
    rivals.sort(key=lambda trial: goal.loss(trial.values))
    ahead = [trial for trial in (defaults, best) if trial is not None and (trial is best or trial in completed)]
    chosen = list({trial.number: trial for trial in ahead}.values())
    for trial in rivals:
        if len(chosen) <= search.runoff and all(trial.values != each.values for each in chosen):
            chosen.append(trial)
    limit = math.inf if search.timeout is None else _SHARE * search.timeout
    wanted, side_by_side = len(chosen), max(1.0, sum(trial.seconds for trial in found.trials) / found.seconds)
    while chosen and folds * sum(trial.seconds for trial in chosen) > limit * side_by_side:
        chosen.pop()
    if len(chosen) < max(len(ahead), 2):
        chosen = []
    if len(chosen) < wanted > 1:
        say(
            f"{len(chosen) or 'none'} of {wanted} last candidates are judged once more: fits of more would take over "
            f"{limit:.0f} s, a fifth of search.timeout"
        )
    full = search.max_epochs
    return [Contender(t.number, t.candidate, full if t.state == "completed" else t.epochs) for t in chosen]


class _Again:
    """Fits contenders anew, each to all rows but those of a fold; may be handed to another process.

    A job's number says who is fitted and which fold is left out, and what came of it is on disk afterwards.
    """

    def __init__(
        self, settings: Settings, splits: Splits, task: Task, folder: Path, who: Sequence[Contender], folds: np.ndarray
    ) -> None:
        self.settings, self.task, self.folder = settings, task, folder
        self.splits, self.who, self.folds = Splits(splits.train, splits.valid), tuple(who), folds
        self._made: tuple[int, TrainingObjective] | None = None

    def jobs(self) -> list[Job]:
        """All there is to do, a fold after the other."""
        each = self.who * (int(self.folds.max()) + 1)
        return [Job(at, contender.candidate, 0, contender.epochs) for at, contender in enumerate(each)]

    def whom(self, job: Job) -> tuple[Contender, int]:
        """Who is fitted in a job, and the fold that is left out."""
        fold, who = divmod(job.trial, len(self.who))
        return self.who[who], fold

    def check(self, candidate: Candidate) -> str | None:
        """They have been checked."""
        return None

    def run(self, job: Job, report: Report) -> Outcome:
        """Fit one, or read what came of it."""
        who, fold = self.whom(job)
        told = self.folder / f"{who.number:04d}-{who.epochs}-{fold}.outcome"
        if told.exists():
            return Outcome(**json.loads(told.read_text(encoding="utf-8")))
        state = told.with_suffix(".safetensors")  # a gradient log beside it, as .json
        fitted = self._objective(fold).fit(
            job.candidate, start=0, stop=job.stop, resume=None, save_to=state, report=report, save_epochs=False
        )
        result = fitted.result
        outcome = Outcome(result.values, result.epochs, result.finished, result.seconds)
        write_json(told, asdict(outcome))
        for left in (state, state.with_suffix(".json")):
            left.unlink(missing_ok=True)
        return outcome

    def _objective(self, fold: int) -> TrainingObjective:
        """That of one fold; the last one made is kept."""
        if self._made is None or self._made[0] != fold:
            train, out = self.splits.train, self.folds == fold
            learnt = joined(take(train, np.flatnonzero(~out)), self.splits.valid)
            splits = Splits(learnt, take(train, np.flatnonzero(out)))
            self._made = fold, TrainingObjective(self.settings, splits, self.task, self.folder)
        return self._made[1]


def judge_again(
    settings: Settings,
    splits: Splits,
    task: Task,
    goal: Goal,
    folder: Path,
    who: Sequence[Contender],
    say: Callable[[str], None],
    on_fit: Callable[[], None] = lambda: None,
) -> Runoff:
    """Judge contenders by every training row, each by a fit to the other folds and the validation rows.

    The validation rows themselves judge nobody: by them the contenders were chosen. `folder` keeps what is done, so
    that the same call goes on after a kill. Who cannot be fitted to a fold, or has no finite figure there, is left out.

    Args:
        settings: the run's.
        splits: with `runoff_folds`.
        task: fitted on the training table.
        goal: what the search drove at.
        folder: where what is done is kept.
        who: fitted in the order given, fold by fold.
        say: is told what happens.
        on_fit: is called after every fit.
    """
    assert splits.runoff_folds is not None  # or nobody is judged again
    if not who:
        return Runoff({}, 0, 0, 0.0)
    folder.mkdir(parents=True, exist_ok=True)
    again = _Again(settings, splits, task, folder, who, splits.runoff_folds)
    rows_F = np.bincount(splits.runoff_folds)
    names = ", ".join(_named(each.number) for each in who)
    say(f"judging {names} once more, by {rows_F.sum()} training rows in {len(rows_F)} folds")
    values: dict[int, dict[int, Mapping[str, float]]] = {each.number: {} for each in who}
    seconds, failed = 0.0, dict[int, str]()
    with closing(run_all(make_executor(settings.search.executor), again, again.jobs())) as ends:
        for ended in ends:
            contender, fold = again.whom(ended.job)
            if ended.outcome is None:
                failed[contender.number] = ended.failure or "no reason given"
            elif not math.isfinite(goal.loss(ended.outcome.values)):
                failed[contender.number] = f"its {goal.metric} is not finite in a fold"
            else:
                values[contender.number][fold] = ended.outcome.values
                seconds += ended.outcome.seconds
            on_fit()
    for number, reason in failed.items():
        say(f"{_named(number)} cannot be judged again: {reason}")
    judged = {number: _mean(by_fold, rows_F) for number, by_fold in values.items() if number not in failed}
    return Runoff(judged, int(rows_F.sum()), len(rows_F), round(seconds, 2))


def decided(found: SearchResult, runoff: Runoff | None, goal: Goal) -> SearchResult:
    """The search with the winner of the runoff for its best; among equals whoever led stays ahead.

    Where whoever led, or the defaults, could not be judged again, the runoff decides nothing.
    """
    best, defaults = found.best, found.trials[0]
    if runoff is None or best is None:
        return found
    needed = {best.number, *([defaults.number] if defaults.state == "completed" else [])}
    if len(runoff.values) < 2 or not needed <= runoff.values.keys():
        return found
    first = min(runoff.values, key=lambda number: (goal.loss(runoff.values[number]), number != best.number, number))
    return replace(found, best=found.trials[first], runoff=runoff)


def proven(found: SearchResult, goal: Goal, margin: float, rows: int, say: Callable[[str], None]) -> SearchResult:
    """With the defaults for the best, unless that beat them by more than chance.

    Args:
        found: the search.
        goal: what it drove at; nothing but accuracy has an error to be read off one number.
        margin: standard errors; 0 = the best is the best.
        rows: that judged, where there was no runoff.
        say: is told when the defaults stay.
    """
    best, defaults, runoff = found.best, found.trials[0], found.runoff
    comparable = best is not defaults and defaults.state == "completed" and goal.metric == "accuracy"
    if not margin or best is None or not comparable:
        return found
    rows, kind = (rows, "validation rows") if runoff is None else (runoff.rows, f"rows in {runoff.folds} folds")
    ahead = lead(found.values_of(best), found.values_of(defaults), rows)
    if ahead >= margin:
        return found
    say(
        f"trial {best.number} is ahead of the defaults by {ahead:.1f} standard errors on {rows} {kind}, "
        f"less than search.margin={margin:g}: the defaults stay"
    )
    return replace(found, best=defaults, passed_over=best)


def _named(number: int) -> str:
    return f"trial {number}" if number else "the defaults"


def _mean(by_fold: Mapping[int, Mapping[str, float]], rows_F: np.ndarray) -> dict[str, float]:
    """Of each metric that is finite in all folds, every row weighing the same."""
    names = [name for name in by_fold[0] if all(math.isfinite(v.get(name, math.nan)) for v in by_fold.values())]
    return {name: float(sum(rows_F[fold] * v[name] for fold, v in by_fold.items()) / rows_F.sum()) for name in names}
