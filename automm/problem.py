"""What a run is to learn: its data, and the task that is fitted to them."""

from __future__ import annotations

import logging
import time

from automm import registry
from automm.data.source import Source
from automm.preflight import check_target
from automm.settings import Settings
from automm.tasks.judged import Judge, aim, judged_by
from automm.tasks.task import Task
from automm.tasks.unseen import report_unseen
from automm.training.allocator import LITTLE, give_back
from automm.types import Splits

log = logging.getLogger("automm")


def read_splits(settings: Settings) -> Splits:
    """The data that settings name.

    Raises:
        ConfigError, DataError: they cannot be read, or have nothing to learn.
    """
    check_target(settings)
    source: Source = registry.get("data", settings.data.name).factory(**settings.data.options)
    began = time.monotonic()
    splits = source.load(settings.seed, settings.cache_dir)
    tables = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    rows = ", ".join(f"{len(table)} {name}" for name, table in tables.items() if table is not None)
    log.info("data: %s rows, read in %.1f s", rows, time.monotonic() - began)
    give_back(LITTLE)  # what the files were in as Python objects
    return splits


def fitted_task(settings: Settings, splits: Splits, judge: Judge | None = None) -> Task:
    """The task, its labels learnt from the training table, aimed at what settings ask for.

    Args:
        settings: name it.
        splits: what it is fitted to, and what its metrics are tried on.
        judge: a function of the caller's that is the objective, by the name and in the direction that settings give.

    Raises:
        ConfigError, DataError: it does not suit the data.
    """
    task: Task = registry.get("task", settings.task.name).factory(**settings.task.options)
    task.fit(splits.train)
    if (extra := task.extra_rows(splits.train)) is not None:
        log.info("task: the names of %d classes are further training rows (task.label_rows)", len(extra))
    report_unseen(task, splits)
    if judge is not None:
        judged_by(task, str(settings.search.objective), judge, settings.search.direction or "maximize")
    aim(task, settings, splits)
    return task
