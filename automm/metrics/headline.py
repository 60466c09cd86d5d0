"""Which of a test's metrics a reader looks for."""

from __future__ import annotations

from collections.abc import Mapping

from automm.types import Goal


def headline(values: Mapping[str, float], goal: Goal) -> str:
    """The goal's metric where it is among the values and no loss, else accuracy, else the first of them."""
    base = goal.metric.partition("/")[0]
    if base in values and base != "loss":
        return base
    return "accuracy" if "accuracy" in values else next(iter(values), base)
