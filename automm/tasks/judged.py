"""A task judged by one more metric, a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from automm.errors import ConfigError
from automm.tasks.task import Task
from automm.types import Table

Judge = Callable[[Sequence[Any], Sequence[Any]], float]


def judged_by(task: Task, name: str, judge: Judge) -> None:
    """Add `judge(targets, predictions)`, as scikit-learn's metrics are called, to the task's metrics as `name`.

    Raises:
        ConfigError: when metrics are taken, if the function gives no number.
    """
    plain = task.metrics

    def metrics(scores_BC: np.ndarray, table: Table) -> dict[str, float]:
        predictions = [task.decode(scores_C) for scores_C in scores_BC]
        figure = judge(table.targets, predictions)
        try:
            return {**plain(scores_BC, table), name: float(figure)}
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the objective {name!r} gave {figure!r}. Next: return one number.") from error

    task.metrics = metrics  # type: ignore[method-assign]
