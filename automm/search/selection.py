"""Which of a search's models are better together, and whether the best is better than what the search began with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

STEPS = 25  # members are drawn into the bag; each weighs as often as it was


@dataclass(frozen=True)
class Members:
    """The models that are averaged; nobody where the best stays alone."""

    weights: Mapping[int, float] = field(default_factory=dict)  # by trial; they sum to 1
    valid: Mapping[str, float] = field(default_factory=dict)  # metrics of the mean on the rows that judged the trials
    souped: bool = False  # whether their weights are averaged, not their scores
    temperature: float = 1.0  # what calibrates that mean


@dataclass(frozen=True)
class Runoff:
    """The last candidates of a search, judged once more."""

    values: Mapping[int, Mapping[str, float]]  # by trial; the mean of each metric over the training rows
    rows: int  # of the training table
    folds: int  # each row is in one, and judges what was fitted to the others
    seconds: float  # what the fits took


def greedy(
    scores: Mapping[int, np.ndarray],
    loss: Callable[[np.ndarray], float],
    *,
    most: int,
    fits: Callable[[Collection[int]], bool] = lambda _: True,
) -> tuple[dict[int, float], float]:
    """Weights by member, which sum to 1, and the loss of the mean that they make (Caruana et al., ICML 2004).

    Whichever member lessens the loss of the mean most is drawn into the bag, again and again; what counts is the bag at
    its best, the smallest of those as good. A single member means that no other betters it.

    Args:
        scores: what each candidate scores on the same rows, [rows, C]; of two as good the first is drawn.
        loss: of mean scores; lower is better.
        most: different members, at most.
        fits: whether these may be members together; any member alone may.
    """
    drawn: Counter[int] = Counter()
    total, best, least = np.zeros(()), dict[int, float](), math.inf
    for step in range(1, STEPS + 1):
        able = [m for m in scores if m in drawn or not drawn or (len(drawn) < most and fits([*drawn, m]))]
        found = {member: loss((total + scores[member]) / step) for member in able}
        chosen = min(found, key=lambda member: found[member])
        drawn[chosen] += 1
        total = total + scores[chosen].astype(np.float64)
        if found[chosen] < least:
            best, least = {member: times / step for member, times in drawn.items()}, found[chosen]
    return best, least


def lead(best: Mapping[str, float], defaults: Mapping[str, float], rows: int) -> float:
    """By how many standard errors of its own accuracy, a share of `rows` taken as independent, the best is ahead.

    The best of many candidates is the luckiest of them too, and of few rows luck is all there may be. The one standard
    error rule prefers the simplest model that close to the best (Breiman et al., Classification and Regression Trees,
    1984); here that is the one nobody searched for. Infinite where a difference leaves no room for an error.
    """
    accuracy = best["accuracy"]
    ahead, error = accuracy - defaults["accuracy"], math.sqrt(max(accuracy * (1 - accuracy), 0.0) / rows)
    return ahead / error if error else math.inf if ahead else 0.0
