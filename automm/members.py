"""Which trials of a search are averaged, if any are: their scores, as an ensemble, or their weights, as a soup."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from automm.search.loop import SearchResult
from automm.search.selection import Members, greedy
from automm.search.strategies.strategy import key_of
from automm.settings import SearchSettings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training.operations import Operations
from automm.trial import Trial
from automm.types import Goal, Table

log = logging.getLogger(__name__)

_POOL = 20  # trials that are tried as members, the best


def able(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """The trials that may be members, the best first: those that were trained as long as any."""
    completed = [trial for trial in trials if trial.state == "completed"]
    return sorted(completed, key=lambda trial: (goal.loss(trial.values), trial.number))[:_POOL]


class Judged(Protocol):
    """What judged the trials of a search."""

    @property
    def judged(self) -> Table:
        """The rows they were judged by."""

    def judged_scores(self, trial: int) -> np.ndarray:
        """What a trial scored on them, float32 [rows, C]."""

    def souped_scores(self, trials: Sequence[Trial]) -> np.ndarray | None:
        """What the mean of trials' weights would score; None where weights like theirs have no mean."""

    def souped_temperature(self, trials: Sequence[Trial]) -> float:
        """What calibrates that mean."""

    def preprocessing(self, candidate: Candidate) -> dict[str, str]:
        """By field a name for what is done before a candidate's network; equal names are equal functions."""


def choose(
    found: SearchResult,
    search: SearchSettings,
    judge: Judged,
    task: Task,
    goal: Goal,
    *,
    cost: Callable[[Candidate], Operations],
    folds: bool,
) -> Members | None:
    """Who is averaged, where settings ask for that; None where nobody may be.

    Args:
        found: the search.
        search: its settings.
        judge: what judged its trials.
        task: makes metrics of scores.
        goal: what the search drove at.
        cost: what a candidate costs.
        folds: whether the search was judged by folds.
    """
    most = 1 if task.PAIRS else search.ensemble  # embeddings of two models are no mean
    stirred = 1 if task.PAIRS and folds else search.soup  # nor are those of two folds
    if max(most, stirred) == 1 or found.best is None:
        return None
    if stirred > 1:
        return choose_soup(found.best, found.trials, judge, task, goal, most=stirred)
    fits = within(search.max_gflop, cost)
    return choose_members(found.best, found.trials, judge, task, goal, most=most, fits=fits)


def choose_members(
    best: Trial,
    trials: Sequence[Trial],
    objective: Judged,
    task: Task,
    goal: Goal,
    *,
    most: int,
    fits: Callable[[Collection[Candidate]], bool] = lambda _: True,
) -> Members:
    """The models to average; nobody unless they better the best alone on the validation rows.

    Members read the same preprocessed inputs as the best, so that a bundle prepares a row once.

    Args:
        best: the winner of the search.
        trials: all of the search's.
        objective: the search's; it kept what those that are `able` scored.
        task: makes metrics of scores.
        goal: what the search drove at.
        most: members, at most; 1 looks at nothing.
        fits: whether candidates are together no more than may be served.
    """
    pool = able(trials, goal) if most > 1 else []
    if best not in pool:
        return Members()
    inputs = objective.preprocessing(best.candidate)
    alike = [trial.number for trial in pool if objective.preprocessing(trial.candidate) == inputs]
    scores, rows = {number: objective.judged_scores(number) for number in alike}, objective.judged

    sign = -1.0 if goal.direction == "maximize" else 1.0

    def loss(scores_BC: np.ndarray) -> float:
        return sign * task.measure(scores_BC, rows)[goal.metric]

    single = loss(scores[best.number])
    chosen, least = greedy(scores, loss, most=most, fits=lambda members: fits([trials[n].candidate for n in members]))
    better = len(chosen) > 1 and least < single
    log.info(
        "ensemble: %d of %d models averaged; validation %s %.4g, of the best alone %.4g",
        len(chosen) if better else 0, len(scores), goal.metric, sign * least, sign * single,
    )  # fmt: skip
    if not better:
        return Members()
    return Members(chosen, task.measure(_mean(scores, chosen), rows))


def choose_soup(
    best: Trial, trials: Sequence[Trial], objective: Judged, task: Task, goal: Goal, *, most: int
) -> Members:
    """The models whose weights to average; nobody unless that betters the best alone on the validation rows.

    Greedy, after Wortsman et al. (ICML 2022): from the best down, each that does not make the mean worse is stirred in.

    Args:
        best: the winner of the search.
        trials: all of the search's.
        objective: the search's; it kept the weights of those that are `able`.
        task: makes metrics of scores.
        goal: what the search drove at.
        most: models in the soup, at most; 1 looks at nothing.
    """
    pool = able(trials, goal) if most > 1 else []
    alone = objective.souped_scores([best]) if best in pool else None
    if alone is None:
        return Members()
    rows = objective.judged
    single = valid = task.measure(alone, rows)
    chosen, tried = [best], 0
    for trial in pool:
        found = objective.souped_scores([*chosen, trial]) if trial is not best and len(chosen) < most else None
        if found is None:
            continue
        tried += 1
        values = task.measure(found, rows)
        if goal.loss(values) <= goal.loss(valid):
            chosen, valid = [*chosen, trial], values
    better = len(chosen) > 1 and goal.loss(valid) < goal.loss(single)
    log.info(
        "soup: the weights of %d models averaged, %d tried; validation %s %.4g, of the best alone %.4g",
        len(chosen) if better else 0, tried, goal.metric, valid[goal.metric], single[goal.metric],
    )  # fmt: skip
    if not better:
        return Members()
    temperature = objective.souped_temperature(chosen)
    return Members({trial.number: 1 / len(chosen) for trial in chosen}, valid, souped=True, temperature=temperature)


def within(limit: float | None, cost: Callable[[Candidate], Operations]) -> Callable[[Collection[Candidate]], bool]:
    """Whether candidates that read the same take no more than `limit` operations together, what they share once."""
    known: dict[str, Operations] = {}

    def fits(candidates: Collection[Candidate]) -> bool:
        if limit is None:
            return True
        keys = {key_of(candidate): candidate for candidate in candidates}
        known.update({key: cost(candidate) for key, candidate in keys.items() if key not in known})
        each = [known[key] for key in keys]
        return max(one.shared for one in each) + sum(one.own for one in each) <= limit

    return fits


def _mean(scores: Mapping[int, np.ndarray], weights: Mapping[int, float]) -> np.ndarray:
    parts = [weight * scores[number].astype(np.float64) for number, weight in weights.items()]
    return np.asarray(np.sum(parts, axis=0), np.float32)
