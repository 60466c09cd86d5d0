"""What is checked and settled before a run begins: whether its data can be learnt from, and where its trials run."""

from __future__ import annotations

from dataclasses import replace

from automm import registry
from automm.errors import ConfigError
from automm.settings import ComponentSettings, Settings
from automm.training.device import device_name

_MANY, _AHEAD_OF_MANY = 50, 3  # trials from which on news may be older, and jobs that then wait for workers


def placed(settings: Settings) -> Settings:
    """Settings whose trials do not share a GPU, unless somebody said how many shall; nor leave a process that alone
    knows their components; nor wait for each other where there are many."""
    search, options = settings.search, settings.search.executor.options
    if search.executor.name != "processes":
        return settings
    alone = device_name(settings.training) != "cpu" or registry.in_session()
    if alone and options.get("slots") is None:
        executor = ComponentSettings("in_process")
    elif search.trials >= _MANY and options.get("ahead") is None:
        executor = ComponentSettings("processes", {**options, "ahead": _AHEAD_OF_MANY})
    else:
        return settings
    return replace(settings, search=replace(search, executor=executor))


def check_target(settings: Settings) -> None:
    """Raise unless a table has a target, or a task that needs none.

    Its source does not know the task and would take rows for pairs; after it has read every image is late to say so.
    """
    pairs = registry.get("task", settings.task.name).factory.PAIRS
    if settings.data.name == "table" and settings.data.options.get("target") is None and not pairs:
        raise ConfigError(
            f"data.target is not set, and task={settings.task.name} learns to predict a column. "
            "Next: name it, data.target=COLUMN."
        )
