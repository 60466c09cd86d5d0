"""How metrics are named, ordered and written, for the page and the console alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from automm.metrics.headline import headline
from automm.paths import field_of
from automm.types import Goal

OVERALL = "overall"
_SHARES = ("accuracy", "vqa_score", "recall", "precision", "specificity", "jaccard", "mape")
_ENDINGS = {
    "trials": "all its trials were spent",
    "timeout": "its time was up",
    "interrupt": "it was interrupted",
    "exhausted": "nothing new was left to try",
}


def headline_metric(result: Mapping[str, Any], goal: Goal) -> str:
    """The metric a reader looks for: the goal's where the test has it, else accuracy, else the first."""
    return headline(result.get("test") or {}, goal)


def by_group(values: Mapping[str, Any] | None, metric: str) -> dict[str, float]:
    """`metric` overall and for every group, in the order they were reported."""
    found = values or {}
    groups = {name.partition("/")[2]: float(v) for name, v in found.items() if name.startswith(f"{metric}/")}
    return ({OVERALL: float(found[metric])} if metric in found else {}) | groups


def scoreboard(result: Mapping[str, Any], metric: str) -> tuple[list[str], dict[str, dict[str, float]]]:
    """The groups, and each model's values by group: `found` (what the search found) first, then the baselines."""
    models = {"found": by_group(result.get("test"), metric)}
    for name, values in (result.get("baselines") or {}).items():
        models[name] = by_group(values, metric)
    groups = list(dict.fromkeys(group for values in models.values() for group in values))
    return groups, models


def other_metrics(result: Mapping[str, Any], metric: str) -> list[list[str]]:
    """A row for each metric over all rows beside `metric`: what it is, then each model's figure, as in `scoreboard`."""
    models = [result.get("test") or {}, *(result.get("baselines") or {}).values()]
    names = dict.fromkeys(name for values in models for name in values if "/" not in name and name != metric)
    return [
        [
            words(name) + (" (lower is better)" if lower_is_better(result, name) else ""),
            *(figure(values.get(name), name) for values in models),
        ]
        for name in names
    ]


def sureness(result: Mapping[str, Any], metric: str) -> list[list[str]]:
    """Two rows for `scoreboard`: intervals of `metric` over all rows, of each model and of the first's lead over it.

    Empty where nothing is known of that.
    """
    known: Mapping[str, Any] = result.get("uncertainty") or {}
    if known.get("metric") != metric:
        return []
    names = list(result.get("baselines") or {})
    own = [known["winner"], *(known["baselines"].get(name) for name in names)]
    ahead = (known["ahead"].get(name) for name in names)
    level = f"{100 * known['level']:.0f} %"
    return [
        [f"{level} interval", *(_span(each, metric) for each in own)],
        [f"found's lead, ± {level}", "–", *(_lead(each, metric) for each in ahead)],
    ]


def _span(interval: Mapping[str, float] | None, metric: str) -> str:
    if interval is None:
        return "–"
    return f"{figure(interval['low'], metric).removesuffix(' %')} to {figure(interval['high'], metric)}"


def _lead(interval: Mapping[str, float] | None, metric: str) -> str:
    if interval is None:
        return "–"
    lead, reach = (drop(each, metric) for each in (interval["value"], interval["high"] - interval["value"]))
    return f"{'+' * (interval['value'] > 0)}{lead.removesuffix(' points')} ± {reach}"


def lower_is_better(result: Mapping[str, Any], metric: str) -> bool:
    """Whether a model is better where a metric is lower; of what is not said, no."""
    directions: Mapping[str, str] = result.get("directions") or {}
    return directions.get(metric) == "minimize"


def is_share(metric: str) -> bool:
    """Whether a metric is a share, written in percent."""
    return re.split("[/@]", metric)[0].endswith(_SHARES)


def figure(value: float | None, metric: str) -> str:
    """A value as a reader writes it: percent for shares, else four digits, or all before the point."""
    if value is None:
        return "–"
    return f"{100 * value:,.1f} %" if is_share(metric) else f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def drop(value: float, metric: str) -> str:
    """A difference between two values of a metric: points of percent for shares, else four digits."""
    return f"{100 * value:,.1f} points" if is_share(metric) else f"{value:.4g}"


def input_name(name: str) -> str:
    """An input of result.json for readers: a modality, or one of its fields, whose name stays as it is."""
    return name.replace("/", ": ", 1)


def split_name(split: str) -> str:
    """A split of result.json for readers."""
    return "validation" if split == "valid" else split


def words(name: str) -> str:
    """An identifier as words."""
    return name.replace("non_", "non-").replace("_", " ")


def seconds(value: float | None) -> str:
    """A duration in words."""
    if value is None:
        return "–"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{value:.1f} s"


def ending(stopped_by: str | None) -> str:
    """Why a search ended, in a phrase."""
    return _ENDINGS.get(stopped_by or "", f"stopped by {stopped_by}")


def signature(candidate: Mapping[str, Any]) -> str:
    """A candidate's components, in a phrase: `convnet + text_transformer + ngrams (title) -> relation`."""
    paths = [path for path in candidate if path.startswith("encoder.") and path.endswith(".name")]
    columns = {path: field_of(path) for path in paths}
    encoders = [f"{candidate[p]}" + (f" ({columns[p]})" if columns[p] is not None else "") for p in paths]
    fusion = candidate.get("fusion.name")
    phrase = " + ".join(encoders) + (f" → {fusion}" if fusion else "")
    return phrase or ", ".join(f"{k}={v}" for k, v in list(candidate.items())[:3])
