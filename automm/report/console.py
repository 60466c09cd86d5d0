"""What a run says on the console: a line an event while it works, a table at its end. No terminal is needed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from automm.report.metrics import (
    drop,
    ending,
    figure,
    headline_metric,
    input_name,
    other_metrics,
    scoreboard,
    seconds,
    signature,
    split_name,
    sureness,
    words,
)
from automm.types import Goal

if TYPE_CHECKING:
    from automm.search.study import Event

WIDTH = 120  # where the output is no terminal


class Progress:
    """Prints one line an event of a search, with the time since it began and the best so far.

    Args:
        goal: what the search drives at.
        trials: how many candidates the budget allows; None when that is not known.
        file: where to; None = stderr.
    """

    def __init__(self, goal: Goal, *, trials: int | None = None, file: IO[str] | None = None) -> None:
        self.goal = goal
        self.trials = trials
        self.console = console(file, stderr=file is None)
        self._began = time.monotonic()
        self._best: float | None = None
        self._called: dict[int, str] = {}

    def say(self, text: str) -> None:
        """A line of the run's own: a stage that begins, say."""
        passed = round(time.monotonic() - self._began)
        line = Text(f"[{passed // 60:4d}:{passed % 60:02d}] ", style="dim").append(text, style="not dim")
        self.console.print(line, soft_wrap=True)

    def on_event(self, event: Event) -> None:
        """What `search` calls for every event of the study."""
        number = -1 if event.trial is None else event.trial
        data = event.data
        if event.kind == "ask":
            further = ", one step further up" if data.get("origin") == "ladder" else ""
            self._called[number] = signature(data["candidate"]) + further
        elif event.kind == "launch":
            called = f"{self._called[number]}, " if number in self._called else ""
            first, last = data["start"] + 1, data["stop"]
            self._trial(number, called + (f"epoch {last}" if first == last else f"epochs {first} to {last}"))
        elif event.kind == "report":
            self._trial(number, f"epoch {data['epoch']}: {self._value(data['values'])}")
        elif event.kind == "tell":
            self._improve(data["values"])
            best = "" if self._best is None else f"; best so far {figure(self._best, self.goal.metric)}"
            done = f"{data['epochs']} epoch{'s'[: data['epochs'] > 1]} in {seconds(data['seconds'])}"
            self._trial(number, f"{done}, {self._value(data['values'])}{best}")
        elif event.kind in ("fail", "infeasible"):
            self._trial(number, f"{'failed' if event.kind == 'fail' else 'not run'}: {data['reason']}")
        elif event.kind == "climb" and data["on"]:
            self.say("what is left of the time goes to the best so far, one step further up (search.climb)")
        elif event.kind == "stop":
            self.say(f"search over: {ending(data['reason'])}")

    def epoch(self, name: str, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        """One epoch of the refit or of a baseline, called `name`."""
        self.say(f"{name}, epoch {epoch} of {epochs}: {self._value(values)}")

    def _trial(self, number: int, text: str) -> None:
        of = f"/{self.trials - 1}" if self.trials else ""
        self.say(f"trial {number}{of}  {text}")

    def _value(self, values: Mapping[str, float]) -> str:
        known = values.get(self.goal.metric)
        return f"{words(self.goal.metric)} {figure(known, self.goal.metric)}"

    def _improve(self, values: Mapping[str, float]) -> None:
        value = values.get(self.goal.metric)
        if value is not None:
            pick = max if self.goal.direction == "maximize" else min
            self._best = value if self._best is None else pick(self._best, value)


def print_summary(
    result: Mapping[str, Any], goal: Goal, paths: Mapping[str, Any], *, file: IO[str] | None = None
) -> None:
    """The end of a run: the test beside the baselines, the best configuration, where everything is.

    Args:
        result: what result.json holds.
        goal: what the search drove at.
        paths: what was written where, by name (`report`, `bundle` ...).
        file: where to; None = stdout.
    """
    out = console(file)
    metric = headline_metric(result, goal)
    groups, models = scoreboard(result, metric)
    rows = [[words(group), *(figure(values.get(group), metric) for values in models.values())] for group in groups]
    out.print()
    out.print(_board(f"test {words(metric)}", models, [*rows, *sureness(result, metric)]))
    if others := other_metrics(result, metric):
        out.print(_board("other metrics of the test", models, others))
    _print_reliance(out, result)
    best = result.get("best") or {}
    out.print(Text("\nbest configuration", style="bold"))
    for line in best.get("overrides") or ["no trial was completed"]:
        out.print(Text(f"  {line}"), soft_wrap=True)
    if averaged := best.get("ensemble"):
        parts = ", ".join(f"trial {each['trial']} ({100 * each['weight']:.0f} %)" for each in averaged)
        out.print(Text(f"  averaged: {parts}"), soft_wrap=True)
    if stirred := best.get("soup"):
        parts = ", ".join(f"trial {each['trial']}" for each in stirred)
        out.print(Text(f"  its weights are the mean of {parts}"), soft_wrap=True)
    out.print(Text("\nwritten to", style="bold"))
    for name, path in paths.items():
        out.print(Text(f"  {name:8} {path}"), soft_wrap=True)
    spent = result.get("seconds") or {}
    parts = ", ".join(f"{words(stage)} {seconds(value)}" for stage, value in spent.items())
    out.print(Text(f"\n{parts}; the search ended because {ending(result.get('stopped_by'))}"), soft_wrap=True)


def _board(title: str, models: Iterable[str], rows: Iterable[Sequence[str]]) -> RichTable:
    """A table with a column a model."""
    board = RichTable(title=title, title_justify="left", title_style="bold", header_style="bold")
    board.add_column("")
    for name in models:
        board.add_column(words(name), justify="right", style="bold" if name == "found" else None)
    for row in rows:
        board.add_row(*row)
    return board


def _print_reliance(out: Console, result: Mapping[str, Any]) -> None:
    """What is left of the goal's metric without each input, and with each shuffled."""
    about = result.get("explained")
    if not about:
        return
    metric = about["metric"]
    rows = f"{about['rows']:,} {split_name(about['split'])} rows"
    title = f"{words(metric)} on {rows}: {figure(about['whole'][metric], metric)}"
    board = RichTable(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in ("input", "without it", "drop when shuffled"):
        board.add_column(column, justify="left" if column == "input" else "right")
    for name, values in result["removed"].items():
        lost = result["importance"][name]
        shuffled = f"{drop(lost['drop'], metric)} ± {drop(lost['spread'], metric).removesuffix(' points')}"
        board.add_row(Text(input_name(name)), figure(values[metric], metric), shuffled)
    out.print()
    out.print(board)


def console(file: IO[str] | None = None, *, stderr: bool = False) -> Console:
    """A console that wraps nothing where there is no terminal, and interprets no markup."""
    made = Console(file=file, stderr=stderr, highlight=False, markup=False, emoji=False)
    return (
        made
        if made.is_terminal
        else Console(file=file, stderr=stderr, highlight=False, markup=False, emoji=False, width=WIDTH)
    )
