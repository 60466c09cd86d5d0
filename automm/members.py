"""Which trials of a search become members of an ensemble, if any do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from automm.search.selection import greedy
from automm.space import Candidate
from automm.tasks.task import Task
from automm.trial import Trial
from automm.types import Goal, Table

log = logging.getLogger(__name__)

_POOL = 20  # trials that are tried as members, the best


def able(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """The trials that may be members, the best first: those that were trained as long as any."""
    sign = -1.0 if goal.direction == "maximize" else 1.0
    completed = [trial for trial in trials if trial.state == "completed"]
    return sorted(completed, key=lambda trial: (sign * trial.values[goal.metric], trial.number))[:_POOL]


@dataclass(frozen=True)
class Members:
    """The models that are averaged; nobody where the best stays alone."""

    weights: Mapping[int, float] = field(default_factory=dict)  # by trial; they sum to 1
    valid: Mapping[str, float] = field(default_factory=dict)  # metrics of the mean on the rows that judged the trials


class Judged(Protocol):
    """What judged the trials of a search."""

    @property
    def judged(self) -> Table:
        """The rows they were judged by."""

    def judged_scores(self, trial: int) -> np.ndarray:
        """What a trial scored on them, float32 [rows, C]."""

    def preprocessing(self, candidate: Candidate) -> dict[str, str]:
        """By field a name for what is done before a candidate's network; equal names are equal functions."""


def choose_members(
    best: Trial, trials: Sequence[Trial], objective: Judged, task: Task, goal: Goal, *, most: int
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
    chosen, least = greedy(scores, loss, most=most)
    better = len(chosen) > 1 and least < single
    log.info(
        "ensemble: %d of %d models averaged; validation %s %.4g, of the best alone %.4g",
        len(chosen) if better else 0, len(scores), goal.metric, sign * least, sign * single,
    )  # fmt: skip
    if not better:
        return Members()
    return Members(chosen, task.measure(_mean(scores, chosen), rows))


def _mean(scores: Mapping[int, np.ndarray], weights: Mapping[int, float]) -> np.ndarray:
    parts = [weight * scores[number].astype(np.float64) for number, weight in weights.items()]
    return np.asarray(np.sum(parts, axis=0), np.float32)
