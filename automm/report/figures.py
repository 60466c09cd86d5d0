"""The page's figures, as plotly data. Backgrounds are clear and text colours are set by the page, light or dark."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from automm.report.data import GradientRecord, TrialRecord
from automm.report.metrics import figure, input_name, is_share, signature, words
from automm.report.parameters import Axis, Importance
from automm.types import Goal

ACCENT = "#2a6fdb"
QUIET = "rgba(128,128,128,0.45)"
GRID = "rgba(128,128,128,0.22)"
# Okabe and Ito's palette: told apart by colour-blind readers, and on white as on black.
STATES = {"completed": ACCENT, "pruned": "#e69f00", "failed": "#d55e00", "infeasible": "#cc79a7", "running": "#56b4e9"}
MODELS = (ACCENT, "#9aa0a6", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
SHADES = [[0, "#8d949c"], [0.6, "#e69f00"], [1, "#d55e00"]]  # the best stand out on white as on black
_SYMBOLS = {"failed": "x", "infeasible": "x", "pruned": "circle-open"}


def history(trials: Sequence[TrialRecord], goal: Goal) -> go.Figure:
    """The objective by trial, coloured by state, with the line of the best completed so far."""
    fig = _figure("trial", words(goal.metric), height=360)
    _whole_ticks(fig, max((t.number for t in trials), default=0))
    known = [(t, t.values[goal.metric]) for t in trials if _finite(t.values.get(goal.metric))]
    for state in dict.fromkeys(t.state for t, _ in known):
        of_state = [(t, v) for t, v in known if t.state == state]
        fig.add_scatter(
            x=[t.number for t, _ in of_state],
            y=[v for _, v in of_state],
            text=[_hover(t) for t, _ in of_state],
            hovertemplate="trial %{x}: %{y:.4g}<br>%{text}<extra></extra>",
            mode="markers",
            name=html.escape(state),
            marker={
                "size": 9,
                "color": STATES.get(state, "#888"),
                "symbol": _SYMBOLS.get(state, "circle"),
                "line_width": 2,
            },
        )
    lost = [t for t in trials if t.state in ("failed", "infeasible") and t not in [k for k, _ in known]]
    if lost and known:
        floor = min(v for _, v in known)
        fig.add_scatter(
            x=[t.number for t in lost],
            y=[floor] * len(lost),
            text=[html.escape(t.reason[:160]) for t in lost],
            hovertemplate="trial %{x}: no value<br>%{text}<extra></extra>",
            mode="markers",
            name="without a value",
            marker={"size": 9, "color": STATES["failed"], "symbol": "x"},
        )
    best = incumbent(trials, goal)
    fig.add_scatter(
        x=[number for number, _ in best],
        y=[value for _, value in best],
        mode="lines",
        line={"shape": "hv", "color": ACCENT, "width": 2},
        name="best so far",
        hoverinfo="skip",
    )
    return fig


def incumbent(trials: Sequence[TrialRecord], goal: Goal) -> list[tuple[int, float]]:
    """The best completed value up to each trial that ended the search or improved it."""
    pick = max if goal.direction == "maximize" else min
    line: list[tuple[int, float]] = []
    for trial in trials:
        value = trial.values.get(goal.metric)
        if trial.state == "completed" and value is not None and math.isfinite(value):
            line.append((trial.number, pick(value, line[-1][1]) if line else value))
    if line and trials[-1].number > line[-1][0]:
        line.append((trials[-1].number, line[-1][1]))
    return line


def learning_curves(trials: Sequence[TrialRecord], goal: Goal, best: int | None) -> go.Figure:
    """The goal by epoch, a line a trial; the best one stands out."""
    fig = _figure("epoch", words(goal.metric), height=380)
    _whole_ticks(fig, max((point["epoch"] for t in trials for point in t.curve), default=0))
    for trial in sorted(trials, key=lambda t: t.number == best):
        points = [(p["epoch"], p["values"][goal.metric]) for p in trial.curve if _finite(p["values"].get(goal.metric))]
        if not points:
            continue
        chosen = trial.number == best
        fig.add_scatter(
            x=[epoch for epoch, _ in points],
            y=[value for _, value in points],
            mode="lines+markers" if chosen or len(points) < 3 else "lines",
            line={"color": ACCENT if chosen else STATES.get(trial.state, "#888"), "width": 3 if chosen else 1.3},
            opacity=1.0 if chosen else 0.5,
            name=f"trial {trial.number}, the best" if chosen else f"trial {trial.number} ({html.escape(trial.state)})",
            showlegend=chosen,
            hovertemplate=f"trial {trial.number}, epoch %{{x}}: %{{y:.4g}}<br>{_hover(trial)}<extra></extra>",
        )
    return fig


def parallel_coordinates(axes: Sequence[Axis], values_T: Sequence[float], goal: Goal) -> go.Figure:
    """A line a trial through its parameters, coloured by the objective."""
    dimensions = [
        {
            "label": html.escape(axis.label),
            "values": axis.values,
            "tickvals": list(axis.ticks),
            "ticktext": [html.escape(text) for text in axis.texts],
        }
        for axis in axes
    ]
    dimensions.append({"label": html.escape(words(goal.metric)), "values": np.asarray(values_T)})
    fig = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": values_T,
                "colorscale": SHADES,
                "reversescale": goal.direction == "minimize",
                "showscale": True,
            },
            labelangle=-18,
            labelside="top",
        )
    )
    fig.update_layout(**_layout(height=460, margin={"l": 90, "r": 40, "t": 110, "b": 24}))
    return fig


def importance_bars(found: Importance, labels: Mapping[str, str]) -> go.Figure:
    """A bar a parameter, the most important on top."""
    shown = list(found.shares.items())[:12][::-1]
    fig = _figure("share of the effect", "", height=90 + 28 * len(shown))
    fig.add_bar(
        x=[share for _, share in shown],
        y=[html.escape(labels[path]) for path, _ in shown],
        hovertext=[html.escape(path) for path, _ in shown],
        hovertemplate="%{hovertext}: %{x:.0%}<extra></extra>",
        orientation="h",
        marker_color=ACCENT,
    )
    fig.update_xaxes(tickformat=".0%")
    return fig


def gradient_norms(records: Sequence[GradientRecord]) -> go.Figure:
    """The global norm and every branch's, on a log scale."""
    fig = _figure("epoch", "gradient norm", height=360)
    fig.update_yaxes(type="log", exponentformat="power")
    steps = [r.step for r in records]
    branches = list(dict.fromkeys(name for r in records for name in r.branches))
    for at, name in enumerate(branches):
        norms = [_positive(r.branches.get(name)) for r in records]
        line = {"color": MODELS[1 + at % (len(MODELS) - 1)], "width": 1.5}
        fig.add_scatter(x=steps, y=norms, mode="lines", name=html.escape(name), line=line)
    totals = [_positive(r.total) for r in records]
    fig.add_scatter(x=steps, y=totals, mode="lines", name="global", line={"color": ACCENT, "width": 3})
    return fig


def group_bars(groups: Sequence[str], models: Mapping[str, Mapping[str, float]], metric: str) -> go.Figure:
    """A cluster of bars a group, one bar a model."""
    fig = _figure("", words(metric), height=420)
    for at, (model, values) in enumerate(models.items()):
        fig.add_bar(
            x=[html.escape(words(group)) for group in groups],
            y=[values.get(group) for group in groups],
            name=html.escape(words(model)),
            marker_color=MODELS[at % len(MODELS)],
            hovertext=[f"{html.escape(words(model))}: {figure(values.get(group), metric)}" for group in groups],
            hovertemplate="%{x}<br>%{hovertext}<extra></extra>",
        )
    fig.update_layout(barmode="group", bargap=0.28)
    if is_share(metric):
        highest = max((value for values in models.values() for value in values.values()), default=1.0)
        fig.update_yaxes(tickformat=".0%", range=[0, 1.02 * max(highest, 1.0)])  # an error may be over its target
    return fig


def reliance_bars(importance: Mapping[str, Mapping[str, float]], metric: str) -> go.Figure:
    """How much worse the metric becomes with an input shuffled, a bar an input in the order given from the top."""
    names = list(importance)[::-1]
    scale = 100 if is_share(metric) else 1
    fig = _figure(f"drop in {words(metric)}{', points' if is_share(metric) else ''}", "", height=110 + 28 * len(names))
    fig.add_bar(
        x=[scale * importance[name]["drop"] for name in names],
        y=[html.escape(input_name(name)) for name in names],
        error_x={"array": [scale * importance[name]["spread"] for name in names], "color": MODELS[1], "thickness": 1.5},
        hovertemplate="%{y}: %{x:.4g}<extra></extra>",
        orientation="h",
        marker_color=ACCENT,
    )
    return fig


def reliability(before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]]) -> go.Figure:
    """The share of right answers by their score, with the diagonal on which scores would be such shares."""
    fig = _figure("score of the answer", "share that is right", height=400)
    fig.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": QUIET, "dash": "dash"},
        name="as it should be",
        hoverinfo="skip",
    )
    for name, bins, color in (("at temperature 1", before, MODELS[1]), ("calibrated", after, ACCENT)):
        most = max((each["rows"] for each in bins), default=1)
        sizes = [6 + 16 * math.sqrt(each["rows"] / most) for each in bins]
        fig.add_scatter(
            x=[each["score"] for each in bins],
            y=[each["right"] for each in bins],
            text=[f"{each['rows']:,} rows" for each in bins],
            hovertemplate="score %{x:.1%}, right %{y:.1%}<br>%{text}<extra></extra>",
            mode="lines+markers",
            name=name,
            line={"color": color, "width": 1.5},
            marker={"size": sizes, "opacity": 0.8, "line_width": 0},
        )
    fig.update_xaxes(tickformat=".0%", range=[0, 1.02])
    fig.update_yaxes(tickformat=".0%", range=[-0.02, 1.04])
    return fig


def _figure(x: str, y: str, *, height: int) -> go.Figure:
    fig = go.Figure()
    fig.update_layout(**_layout(height=height, margin={"l": 64, "r": 24, "t": 36, "b": 52}))
    fig.update_xaxes(title=html.escape(x), gridcolor=GRID, zeroline=False, linecolor=GRID, automargin=True)
    fig.update_yaxes(title=html.escape(y), gridcolor=GRID, zeroline=False, linecolor=GRID, automargin=True)
    return fig


def _layout(**more: Any) -> dict[str, Any]:
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#777"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "hoverlabel": {"align": "left"},
        "template": "none",
        **more,
    }


def _whole_ticks(fig: go.Figure, last: int) -> None:
    """A tick a trial or an epoch, where plotly would put fractions."""
    if last <= 20:
        fig.update_xaxes(dtick=1)


def _hover(trial: TrialRecord) -> str:
    return html.escape(signature(trial.candidate))


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None
