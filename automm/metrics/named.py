"""Metrics asked for by name: what a task can be measured by, and what a metric gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from automm import registry
from automm.errors import BrokenPlugin, ConfigError, PluginError, UnknownComponent, near_miss
from automm.metrics.metric import Metric

if TYPE_CHECKING:
    from automm.tasks.task import Task


def load(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UnknownComponent: none is installed.
        PluginError: it is installed, and cannot be used.
    """
    found: Metric = registry.get("metric", name).factory
    return found


def own(task: Task | type[Task]) -> set[str]:
    """What a task computes itself: what it lists, its goal, and the loss that every task has."""
    goal = getattr(task, "goal", None)
    return {"loss", *([goal.metric] if goal else []), *(each.metric for each in task.goals)}


def computable(task: Task | type[Task]) -> set[str]:
    """All that a task can be measured by: its own metrics, and installed ones that read its targets."""
    out = own(task)
    for name in registry.names("metric"):
        try:
            reads = load(name).reads
        except PluginError:
            continue  # `automm plugins` tells of it
        if set(reads) & set(task.gives):
            out.add(name)
    return out


def check(task: Task | type[Task], called: str, where: str, name: str) -> None:
    """Raise unless a task can be measured by a metric.

    Args:
        task: or its class.
        called: the task's name.
        where: the key that names the metric.
        name: of the metric.

    Raises:
        UnknownComponent: it cannot.
        PluginError: the metric is installed, and cannot be used.
    """
    if name in own(task):
        return
    why = f"no metric of that name is computed for task {called}"
    if name in registry.names("metric"):
        reads = load(name).reads
        if set(reads) & set(task.gives):
            return
        why = f"it reads {' or '.join(reads)}, and the targets of task {called} are {' or '.join(task.gives) or 'none'}"
    raise UnknownComponent(f"{where}={name}: {why}. {near_miss(name, computable(task))}")


def asked(task: str, metrics: Any, objective: str | None) -> tuple[str, ...]:
    """The names that `task.metrics` holds; they and the objective's are checked before any data is read.

    Raises:
        ConfigError: no list of names.
        UnknownComponent: a metric that the task cannot be measured by.
        PluginError: one that cannot be used.
    """
    names = [metrics] if isinstance(metrics, str) else [] if metrics is None else metrics
    if not isinstance(names, (list, tuple)) or any(not isinstance(name, str) for name in names):
        raise ConfigError(f"task.metrics={metrics} is not allowed: a list of names, as in task.metrics=[f1,auroc].")
    factory: type[Task] = registry.get("task", task).factory
    for name in names:
        check(factory, task, "task.metrics", name)
    base = (objective or "").partition("/")[0]
    if base and (factory.goals or factory.gives):  # what a task computes that lists nothing, its metrics will tell
        check(factory, task, "search.objective", base)
    return tuple(dict.fromkeys(names))


def measured(
    names: Iterable[str], scores_BC: np.ndarray, targets: np.ndarray, groups: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, float]]:
    """Each metric over all rows and, where it is made of values of rows, over every group's as `<metric>/<group>`.

    What is not finite is left out.

    Raises:
        BrokenPlugin: a metric raised, or gave no number.
    """
    for name in names:
        parts = {name: np.ones(len(scores_BC), bool)}
        for of in groups.values() if getattr(load(name), "per_row", False) else ():
            parts |= {f"{name}/{group}": of == group for group in sorted(set(of.tolist()))}
        for part, rows in parts.items():
            value = _figure(name, load(name), scores_BC[rows], targets[rows])
            if math.isfinite(value):
                yield part, value


def _figure(name: str, metric: Metric, scores_BC: np.ndarray, targets: np.ndarray) -> float:
    try:
        return float(metric(scores_BC, targets))
    except Exception as error:
        origin = registry.get("metric", name).origin
        raise BrokenPlugin(
            f"metric {name!r} of {origin} gave no number for {len(scores_BC)} rows: {type(error).__name__}: {error}. "
            f"Next: report it to {origin}, or choose another metric."
        ) from error
