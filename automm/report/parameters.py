"""Searched parameters as numbers: for parallel coordinates, and for a forest that says which of them mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from automm.paths import segments
from automm.report.data import TrialRecord

ENOUGH = 8  # trials below which importance is not estimated at all
_ABSENT = object()


@dataclass(frozen=True)
class Axis:
    """One searched parameter over T trials. A trial in which it is not active sits below the others, at `–`."""

    path: str
    label: str
    values: np.ndarray  # float64 [T]
    ticks: tuple[float, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Importance:
    """How much the objective suffers when a parameter's values are shuffled, as shares that sum to 1."""

    shares: Mapping[str, float]  # by path, largest first
    trials: int
    epoch: int  # all values were measured after this epoch
    explained: float  # share of variance the forest predicts on trials it did not see (out of bag), may be negative


def axes(trials: Sequence[TrialRecord]) -> list[Axis]:
    """An axis for every parameter that takes at least two values among `trials`."""
    paths = list(dict.fromkeys(path for trial in trials for path in trial.candidate))
    columns = {path: [trial.candidate.get(path, _ABSENT) for trial in trials] for path in paths}
    searched = [path for path, column in columns.items() if len({repr(v) for v in column if v is not _ABSENT}) > 1]
    labels = short_names(searched)
    return [_axis(path, labels[path], columns[path]) for path in searched]


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest ending of each path that no other has; `name` alone is never enough."""
    names = {}
    for path in paths:
        parts = segments(path)
        endings = [".".join(parts[-size:]) for size in range(1, len(parts) + 1)]
        names[path] = next(
            (e for e in endings if e != "name" and sum(p == e or p.endswith(f".{e}") for p in paths) == 1), path
        )
    return names


def importance(trials: Sequence[TrialRecord], metric: str) -> Importance | None:
    """Permutation importance under a random forest, at the last epoch all trials reached; None with too few trials."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    curves = [(trial, _curve(trial, metric)) for trial in trials]
    known = [(trial, curve) for trial, curve in curves if curve]
    if len(known) < ENOUGH:
        return None
    epoch = min(max(curve) for _, curve in known)
    same = [(trial, curve[epoch]) for trial, curve in known if epoch in curve]
    searched = axes([trial for trial, _ in same])
    y_T = np.array([value for _, value in same])
    if len(same) < ENOUGH or not searched or np.ptp(y_T) == 0:
        return None
    x_TP = np.stack([axis.values for axis in searched], axis=1)
    forest = RandomForestRegressor(n_estimators=100, oob_score=True, random_state=0, n_jobs=1).fit(x_TP, y_T)
    raw = permutation_importance(forest, x_TP, y_T, n_repeats=10, random_state=0, n_jobs=1).importances_mean.clip(min=0)
    total = float(raw.sum())
    if total == 0:
        return None
    order = np.argsort(-raw, kind="stable")
    shares = {searched[at].path: float(raw[at]) / total for at in order}
    return Importance(shares, len(same), epoch, float(forest.oob_score_))


def _curve(trial: TrialRecord, metric: str) -> dict[int, float]:
    points = {int(p["epoch"]): p["values"].get(metric) for p in trial.curve}
    return {epoch: float(v) for epoch, v in points.items() if v is not None and math.isfinite(v)}


def _axis(path: str, label: str, column: Sequence[Any]) -> Axis:
    active = [v for v in column if v is not _ABSENT]
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in active)
    ticks, positions = _numeric(active) if numeric else _named(active)
    values = [positions(v) if v is not _ABSENT else math.nan for v in column]
    if any(math.isnan(v) for v in values):
        low, high = min(ticks), max(ticks)
        below = low - 0.15 * ((high - low) or 1.0)
        values = [below if math.isnan(v) else v for v in values]
        ticks = {below: "–", **ticks}
    return Axis(path, label, np.array(values, float), tuple(ticks), tuple(ticks.values()))


def _named(active: Sequence[Any]) -> tuple[dict[float, str], Any]:
    order = {text: float(at) for at, text in enumerate(sorted({_text(v) for v in active}))}
    return {at: text for text, at in order.items()}, lambda value: order[_text(value)]


def _numeric(active: Sequence[Any]) -> tuple[dict[float, str], Any]:
    """On a log scale where the values span more than a factor of 30."""
    low, high = min(active), max(active)
    scale = math.log10 if low > 0 and high / low > 30 else float
    distinct = sorted(set(active))
    few = len(distinct) <= 6 and all(float(v).is_integer() for v in distinct)
    shown = distinct if few else [low, high]
    return {scale(v): str(v) if isinstance(v, int) else f"{v:.3g}" for v in shown}, scale


def _text(value: Any) -> str:
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if not isinstance(value, str) else value
