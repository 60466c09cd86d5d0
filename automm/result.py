"""What result.json holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

from automm.runtime.cpu import describe
from automm.search.loop import SearchResult
from automm.search.selection import Members
from automm.settings import Settings
from automm.space import overrides
from automm.trial import Trial
from automm.types import FieldSpec, Goal, Splits, Table

SCHEMA = 1
_SHOWN = 20  # classes by name
_STATES = ("completed", "pruned", "failed", "infeasible")
_PACKAGES = (
    "automm", "torch", "timm", "transformers", "open-clip-torch", "nevergrad", "hydra-core", "onnxruntime", "numpy",
)  # fmt: skip


def result_of(
    settings: Settings,
    goal: Goal,
    metrics: Sequence[Goal],
    splits: Splits,
    searched: SearchResult,
    best: Trial,
    *,
    valid: Mapping[str, float],
    test: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    seconds: Mapping[str, float],
    bundle: str | None,
    uncertainty: Mapping[str, Any] | None,
    explained: Mapping[str, Any],
    members: Members,
    unseen: Mapping[str, Counter[str]],
    device: str,
) -> dict[str, Any]:
    """The figures of a run, plain JSON.

    Args:
        settings: the run's.
        goal: what the search drove at.
        metrics: all that models were measured by, groups aside, and which way is better.
        splits: the data.
        searched: how the search ended.
        best: its winner.
        valid: the winner's validation metrics, of the runoff where it learns from the validation rows in the end.
        test: its test metrics; empty where the test split has no targets.
        baselines: test metrics by baseline.
        seconds: by the clock, of the search and in `total`; what the fits of the runoff, the refit and the baselines
            took, which side by side is more than the clock showed.
        bundle: the bundle's folder, relative to the run directory; None when none was asked for.
        uncertainty: how sure a metric of the test is, the winner's and by how much it is ahead of each baseline.
        explained: what the winner relies on, and how far its scores can be believed, by key.
        members: what was averaged; nobody where the winner stands alone.
        unseen: by split, the rows of each class that no training row has.
        device: what models are trained on where the run was finished, `cpu` or a GPU's name.
    """
    states: list[str] = [trial.state for trial in searched.trials]
    return {
        "schema": SCHEMA,
        "task": settings.task.name,
        "seed": settings.seed,
        "goal": {"metric": goal.metric, "direction": goal.direction},
        "directions": {each.metric: each.direction for each in metrics},
        "seconds": {stage: round(spent, 2) for stage, spent in seconds.items()},
        "data": {
            "rows": {name: len(table) for name, table in vars(splits).items() if isinstance(table, Table)},
            "skipped": [asdict(each) for each in splits.skipped],
            "columns": [_column(field, splits) for field in splits.train.schema.fields],
            "unseen": {split: _unseen(counts) for split, counts in unseen.items()},
        },
        "stopped_by": searched.stopped_by,
        "trials": {"total": len(states), **{state: states.count(state) for state in _STATES}},
        "best": _best(settings, searched, best, valid, members),
        "test": dict(test),
        "baselines": {name: dict(values) for name, values in baselines.items()},
        "uncertainty": uncertainty,
        **explained,
        "bundle": bundle,
        "versions": versions(_PACKAGES),
        "cpu": describe(),
        "device": device,
    }


def _column(field: FieldSpec, splits: Splits) -> dict[str, Any]:
    """What a column was read as and why, and in how many rows of each split it is missing."""
    tables = {name: table for name, table in vars(splits).items() if isinstance(table, Table)}
    columns = {name: table.columns[field.name] for name, table in tables.items() if field.name in table.columns}
    return {**asdict(field), "missing": {name: int((column.index < 0).sum()) for name, column in columns.items()}}


def _unseen(counts: Counter[str]) -> dict[str, Any]:
    """How many rows have classes that no training row has, and the commonest of those."""
    return {"rows": counts.total(), "classes": len(counts), "commonest": dict(counts.most_common(_SHOWN))}


def _best(
    settings: Settings, searched: SearchResult, best: Trial, valid: Mapping[str, float], members: Members
) -> dict[str, Any]:
    """The winner: what it is, the command that makes it again, and what it was averaged with."""
    averaged = [
        {"trial": trial.number, "weight": members.weights[trial.number], "candidate": trial.candidate}
        for trial in searched.trials
        if trial.number in members.weights
    ]
    return {
        "trial": best.number,
        "passed_over": None if searched.passed_over is None else searched.passed_over.number,
        "runoff": None if searched.runoff is None else asdict(searched.runoff),
        "candidate": best.candidate,
        "overrides": [*settings.overrides, *overrides(best.candidate)],
        "valid": dict(valid),
        "ensemble": [] if members.souped else averaged,
        "soup": averaged if members.souped else [],
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The installed version of each package that is installed."""
    found = {}
    for package in packages:
        try:
            found[package] = installed(package)
        except PackageNotFoundError:
            continue
    return found
