"""The page, part by part: each function returns one section, or says in a sentence why it has nothing to show."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import plotly.io

from automm.report import figures
from automm.report.data import ReportData, TrialRecord
from automm.report.markup import Markup, element, join, section, table
from automm.report.metrics import (
    OVERALL,
    ending,
    figure,
    headline_metric,
    lower_is_better,
    other_metrics,
    scoreboard,
    seconds,
    signature,
    split_name,
    sureness,
    words,
)
from automm.report.parameters import Importance, axes, importance, short_names

FEW_TRIALS = 40
MOST_AXES = 10
_NOTES = {
    "majority": "what the training targets alone tell: the commonest answer, the mean of numbers, or chance",
    "defaults": "the unsearched configuration at the budget of the final training",
    "single": "the best model of the search alone, which was averaged with others",
}
_SURE = (
    "An interval says where an overall figure is likely to be, were it taken of all rows like these: each by itself is "
    "right 95 times in 100 (delete-a-group jackknife; rows that belong together count as one). All models answer the "
    "same rows, so that a lead can be surer than either figure; one within its ± is not shown to be any. – is where "
    "no rows left out move a figure, which is not to be sure of it."
)


def plot(fig: go.Figure, name: str) -> Markup:
    """A figure's own element and script; plotly.js itself stands once in the page."""
    text = plotly.io.to_html(
        fig,
        include_plotlyjs=False,
        full_html=False,
        div_id=f"figure-{name}",
        config={"displayModeBar": False, "responsive": True},  # its buttons lead to a web service
    )
    return Markup(text)


def headline(data: ReportData) -> Markup:
    """What was run, and what came of it."""
    result, metric = data.result, headline_metric(data.result, data.goal)
    groups, models = scoreboard(result, metric)
    candidate = (result.get("best") or {}).get("candidate") or {}
    trials = result.get("trials") or {}
    counts = ", ".join(f"{n} {words(state)}" for state, n in trials.items() if state != "total" and n)
    spent = seconds((result.get("seconds") or {}).get("total"))
    said = join(
        [
            f"Task {words(str(result.get('task')))}, seed {result.get('seed')}. ",
            f"{trials.get('total', len(data.trials))} trials{f' ({counts})' if counts else ''}, {spent} in all; ",
            f"the search ended because {ending(result.get('stopped_by'))}. ",
            _found(candidate, result.get("best") or {}),
        ]
    )
    tiles = [
        element(
            "div",
            element("div", f"test {words(metric)}, {words(group)}", class_="what"),
            element("div", figure(models["found"].get(group), metric), class_="much"),
            element("div", _against(group, models, metric, lower=lower_is_better(result, metric)), class_="what"),
            class_="tile",
        )
        for group in groups[:4]
    ]
    title = element("h1", f"automm: {words(str(result.get('task')))}")
    return element("header", title, element("p", said, class_="soft"), element("div", *tiles, class_="tiles"))


def _found(candidate: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    if not candidate:
        return "No trial was completed."
    runoff, passed_over = best.get("runoff") or {"values": {}}, best.get("passed_over")
    again = str(best.get("trial")) in {str(number) for number in runoff["values"]}
    by = f"{runoff['rows']} rows in {runoff['folds']} folds" if again else "the validation rows"
    if passed_over is None:
        judged = f", judged once more by {by}" if again else ""
        return f"The best validated configuration is {signature(candidate)}{judged}."
    return (
        f"The defaults stay, {signature(candidate)}: trial {passed_over} was ahead of them on {by} by "
        "less than search.margin standard errors."
    )


def _against(group: str, models: Mapping[str, Mapping[str, float]], metric: str, *, lower: bool) -> str:
    known = {m: values[group] for m, values in models.items() if m != "found" and group in values}
    if not known:
        return "no baseline"
    best = (min if lower else max)(known, key=lambda model: known[model])
    return f"best baseline: {figure(known[best], metric)} ({words(best)})"


def accuracy(data: ReportData) -> Markup:
    """What was found beside the baselines, as a table and as bars."""
    metric = headline_metric(data.result, data.goal)
    groups, models = scoreboard(data.result, metric)
    if not groups:
        return section("accuracy", "Test results", element("p", "The run was not tested.", class_="soft"))
    head = ["", "found by the search", *(words(name) for name in models if name != "found")]
    rows = [[words(g), *(figure(values.get(g), metric) for values in models.values())] for g in groups]
    sure = sureness(data.result, metric)
    others = other_metrics(data.result, metric)
    notes = [element("li", f"{words(m)}: {note}") for m in models if (note := baseline_note(m, data.baseline_notes))]
    bars = [g for g in groups if g != OVERALL] or groups
    return section(
        "accuracy",
        f"Test {words(metric)} beside the baselines",
        element("p", "Measured once, on rows that neither the search nor the training has seen.", class_="soft"),
        table(head, [*rows, *sure], class_="board"),
        element("p", _SURE, class_="soft") if sure else "",
        element("ul", *notes, class_="soft") if notes else "",
        plot(figures.group_bars(bars, models, metric), "groups"),
        join([element("h3", "Other metrics"), table(head, others, class_="board")]) if others else "",
    )


def baseline_note(name: str, given: Mapping[str, str]) -> str:
    """What a baseline is, in a phrase; empty when nobody says."""
    if name in given:
        return given[name]
    if name.endswith("_only"):
        return f"the unsearched configuration trained on the {name.removesuffix('_only')} alone"
    return _NOTES.get(name, "")


def search_history(data: ReportData) -> Markup:
    """The objective by trial."""
    direction = "higher is better" if data.goal.direction == "maximize" else "lower is better"
    said = (
        f"Validation {words(data.goal.metric)} of each trial ({direction}), at the epoch it reached: pruned trials "
        "were stopped early, so that their values do not compare with completed ones. The line is the best completed."
    )
    fig = plot(figures.history(data.trials, data.goal), "history")
    return section("history", "Search history", element("p", said, class_="soft"), fig)


def parameters(data: ReportData) -> tuple[Markup, Markup]:
    """Parallel coordinates, and which parameters mattered."""
    metric = data.goal.metric
    measured = [t for t in data.trials if math.isfinite(t.values.get(metric, math.nan))]
    found = importance(data.trials, metric)
    every = axes(measured)
    rank = {path: at for at, path in enumerate(found.shares)} if found else {}
    order = sorted(every, key=lambda axis: (not axis.path.endswith(".name"), rank.get(axis.path, len(rank))))
    shown = order[:MOST_AXES]
    labels = short_names([axis.path for axis in axes(data.trials)])
    if len(measured) < 2 or not shown:
        nothing = element(
            "p", "Fewer than two measured trials differ in a parameter: nothing to compare.", class_="soft"
        )
        return section("parallel", "Parameters", nothing), _importance(found, labels)
    values = [t.values[metric] for t in measured]
    said = (
        "One line a measured trial; drag along an axis to select. The tick – means that the parameter was not active."
    )
    if len(every) > MOST_AXES:
        said += (
            f" Components and the most important others, {MOST_AXES} of {len(every)} searched parameters, are shown."
        )
    fig = plot(figures.parallel_coordinates(shown, values, data.goal), "parallel")
    return section("parallel", "Parameters", element("p", said, class_="soft"), fig), _importance(found, labels)


def _importance(found: Importance | None, labels: Mapping[str, str]) -> Markup:
    title = "Which parameters mattered"
    if found is None:
        text = "Too few comparable trials (8 that differ are needed) to say which parameters mattered."
        return section("importance", title, element("p", text, class_="soft"))
    said = (
        f"Permutation importance under a random forest fitted to {found.trials} trials, all measured after epoch "
        f"{found.epoch}. The forest explains {100 * max(found.explained, 0):.0f} % of the variance of trials it did "
        "not see."
    )
    if found.trials < FEW_TRIALS or found.explained < 0.3:
        said += " That is little to go by: take the order as a hint, not as a finding."
    fig = plot(figures.importance_bars(found, labels), "importance")
    return section("importance", title, element("p", said, class_="soft"), fig)


def training(data: ReportData) -> tuple[Markup, Markup]:
    """Learning curves, gradient norms and what the gradient monitor found."""
    number = (data.result.get("best") or {}).get("trial")
    curves = plot(figures.learning_curves(data.trials, data.goal, number), "curves")
    said = "Validation after every epoch, a line a trial; hover for what it was."
    first = section("curves", "Learning curves", element("p", said, class_="soft"), curves)
    told = [element("li", text) for text in data.findings]
    monitor = (
        element("ul", *told) if told else element("p", "The gradient monitor found nothing unusual.", class_="soft")
    )
    if not data.gradients:
        none = element("p", "No gradient norms were recorded for the best model.", class_="soft")
        return first, section("gradients", "Gradients", monitor, none)
    fig = plot(figures.gradient_norms(data.gradients), "gradients")
    text = "Norms before clipping, of the whole model and of each branch, while the best model trained."
    return first, section("gradients", "Gradients", element("p", text, class_="soft"), monitor, fig)


def trials(data: ReportData) -> Markup:
    """Who was stopped and why; then every trial."""
    stopped = [t for t in data.trials if t.state in ("failed", "pruned", "infeasible") or t.findings]
    rows = [[t.number, _state(t), signature(t.candidate), _story(t)] for t in stopped]
    every = [
        [t.number, _state(t), figure(t.values.get(data.goal.metric), data.goal.metric), _listed(t.candidate)]
        for t in data.trials
    ]
    first = (
        table(["trial", "state", "what it was", "what happened"], rows, numeric_from=9)
        if rows
        else element("p", "Every trial was completed, and no gradient was out of the ordinary.", class_="soft")
    )
    full = table(["trial", "state", words(data.goal.metric), "candidate"], every, numeric_from=9)
    return section(
        "trials",
        "Trials that failed, were pruned or had trouble with gradients",
        first,
        element("details", element("summary", f"All {len(data.trials)} trials"), full),
    )


def _state(trial: TrialRecord) -> Markup:
    return element("span", trial.state, class_=f"state {trial.state}")


def _story(trial: TrialRecord) -> str:
    """Why a trial ended, and what the gradient monitor saw before that."""
    ended = trial.reason or (_default_reason(trial) if trial.state != "completed" else "")
    return "; ".join(part.rstrip(".") for part in (ended, *trial.findings) if part)


def _default_reason(trial: TrialRecord) -> str:
    reached = f" after epoch {trial.curve[-1]['epoch']}" if trial.curve else ""
    return f"not among the best of its rung{reached}" if trial.state == "pruned" else "no reason was recorded"


def _listed(candidate: Mapping[str, Any]) -> Markup:
    return element("code", ", ".join(f"{path}={value}" for path, value in candidate.items()))


def configuration(data: ReportData) -> Markup:
    """The best candidate and the command that reproduces it."""
    best = data.result.get("best") or {}
    candidate, lines = best.get("candidate") or {}, best.get("overrides") or []
    if not candidate:
        nothing = element("p", "No trial was completed.", class_="soft")
        return section("configuration", "Best configuration", nothing)
    command = " \\\n  ".join(["python -m automm", *map(shlex.quote, lines)])
    valid = [[words(name), figure(value, name)] for name, value in (best.get("valid") or {}).items()]
    stirred = ", ".join(f"trial {each['trial']}" for each in best.get("soup") or [])
    averaged = [[f"trial {each['trial']}", f"{100 * each['weight']:.0f} %"] for each in best.get("ensemble") or []]
    return section(
        "configuration",
        "Best configuration",
        table(["parameter", "value"], [[element("code", p), _plain(v)] for p, v in candidate.items()], numeric_from=9),
        element("p", "The same again, from the command line:"),
        element("pre", element("code", command)),
        join([element("p", "It was averaged with others of the search:"), table(["model", "weight"], averaged)])
        if averaged
        else "",
        element("p", f"Its weights are the mean of those of {stirred}.") if stirred else "",
        element("details", element("summary", "Validation metrics"), table(["metric", "value"], valid))
        if valid
        else "",
    )


def _plain(value: Any) -> str:
    return "null" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def provenance(data: ReportData) -> Markup:
    """Rows, time, machine and versions."""
    given = data.result.get("data") or {}
    counted = [[split_name(split), f"{count:,}"] for split, count in (given.get("rows") or {}).items()]
    left_out = [
        element(
            "p", f"{each['skipped']:,} of {each['records']:,} records of {each['file']} were left out. ", each["first"]
        )
        for each in given.get("skipped") or []
    ]
    spent = [[words(stage), seconds(value)] for stage, value in (data.result.get("seconds") or {}).items()]
    versions = [[name, text] for name, text in (data.result.get("versions") or {}).items()]
    machine = [[words(key), _machine(value)] for key, value in (data.result.get("cpu") or {}).items()]
    if "device" in data.result:
        machine.append(["trained on", str(data.result["device"])])
    columns = [
        element("div", element("h3", title), table(["", ""], rows, numeric_from=9))
        for title, rows in (("Rows", counted), ("Time", spent), ("Machine", machine), ("Versions", versions))
        if rows
    ]
    said = "Refit and baselines are what their fits took; side by side that is more than the clock showed."
    return section(
        "provenance",
        "Rows, time, machine and versions",
        element("div", *columns, class_="columns"),
        *left_out,
        element("p", said, class_="soft"),
    )


def _machine(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
