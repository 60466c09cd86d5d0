"""What a task is judged by beside its own metrics: some by name, or a function of the user's own; and its objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from automm import registry
from automm.errors import ConfigError, UnknownComponent, near_miss
from automm.metrics.metric import direction as direction_of
from automm.metrics.named import check, computable, load, own
from automm.settings import Settings
from automm.tasks.task import Task
from automm.types import Direction, Goal, Splits, Table

Judge = Callable[[Sequence[Any], Sequence[Any]], float]


def aim(task: Task, settings: Settings, splits: Splits) -> None:
    """Have a fitted task measured by the metrics that settings name, and driven at their objective.

    Both are tried on what the majority scores on the validation rows, so that what cannot be computed shows now.

    Raises:
        UnknownComponent: a metric that the task cannot be measured by, or an objective that validation does not have.
        BrokenPlugin: a metric raised, or gave no number.
    """
    objective, direction = settings.search.objective, settings.search.direction
    name = objective or task.goal.metric
    base = name.partition("/")[0]
    by_name = bool(task.gives) and base in registry.names("metric")
    wanted = [*settings.metrics, *([base] if by_name else [])]
    task.named = tuple(dict.fromkeys(each for each in wanted if each not in own(task)))
    for each in task.named:
        check(task, settings.task.name, "task.metrics" if each in settings.metrics else "search.objective", each)
    natural = {goal.metric: goal.direction for goal in goals_of(task)}
    unlisted: Direction = "maximize"  # a task may compute what it does not list
    task.objective = Goal(name, direction or natural.get(base, unlisted))
    if task.named or objective is not None:
        found = task.measure(task.majority(splits.train, len(splits.valid)), splits.valid)
        if name not in found:
            known = near_miss(name, {*found, *computable(task)})
            raise UnknownComponent(f"search.objective={name}: the validation rows give no such metric. {known}")


def goals_of(task: Task) -> tuple[Goal, ...]:
    """Every metric a task is measured by, groups aside, and which way is better."""
    own_goals = dict.fromkeys((Goal("loss", "minimize"), task.goal, *task.goals))
    return (*own_goals, *(Goal(name, direction_of(load(name))) for name in task.named))


def judged_by(task: Task, name: str, judge: Judge, direction: Direction) -> None:
    """Add `judge(targets, predictions)`, as scikit-learn's metrics are called, to the task's metrics as `name`.

    Raises:
        ConfigError: when metrics are taken, if the function gives no number.
    """
    plain = task.metrics

    def metrics(scores_BC: np.ndarray, table: Table) -> dict[str, float]:
        predictions = [task.decode(scores_C) for scores_C in scores_BC]
        figure = judge(list(table.targets), predictions)
        try:
            return {**plain(scores_BC, table), name: float(figure)}
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the objective {name!r} gave {figure!r}. Next: return one number.") from error

    task.metrics = metrics  # type: ignore[method-assign]
    task.goals = (*task.goals, Goal(name, direction))
