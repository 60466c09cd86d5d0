"""The parts of the page that say what the winner goes by: its inputs removed and shuffled, and what its scores mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automm.report import figures
from automm.report.data import ReportData
from automm.report.markup import Markup, element, section, table
from automm.report.metrics import by_group, figure, headline_metric, input_name, split_name, words
from automm.report.sections import plot

MOST_BARS = 30
_FITTED = {
    "winner": "fitted to the scores of validation rows",
    "trial": "fitted to the scores of validation rows while the winner's trial had not learnt from them",
    None: "left at 1, for there were no scores of rows not learnt from to fit it to",
}


def reliance(data: ReportData) -> Markup:
    """What is left without each modality and each field, and what shuffling it costs."""
    title, result = "Which inputs it relies on", data.result
    about: Mapping[str, Any] = result.get("explained") or {}
    removed, importance = result.get("removed") or {}, result.get("importance") or {}
    if not removed:
        return section("reliance", title, element("p", "Not measured.", class_="soft"))
    metric = headline_metric({"test": about["whole"]}, data.goal)
    values = {"nothing": about["whole"], **{input_name(name): each for name, each in removed.items()}}
    groups = list(by_group(about["whole"], metric))
    rows = [[name, *(figure(by_group(v, metric).get(group), metric) for group in groups)] for name, v in values.items()]
    where = f"on {about['rows']:,} {split_name(about['split'])} rows"
    without = f"The {words(metric)} {where} when an input is missing from all of them, as it may be in use."
    order = sorted(importance, key=lambda name: -importance[name]["drop"])
    shown = {name: importance[name] for name in order[:MOST_BARS]}
    shuffled = (
        f"The drop in {words(about['metric'])} when an input is shuffled among the same rows, so that it stays what it "
        f"was and tells nothing of its row: the mean of {about['repeats']} orders and their standard deviation. Inputs "
        "that say the same share what they are worth."
    )
    if len(shown) < len(order):
        shuffled += f" The {len(shown)} most important of {len(order)} are shown; result.json has them all."
    return section(
        "reliance",
        title,
        element("p", without, class_="soft"),
        table(["removed", *map(words, groups)], rows, class_="board"),
        element("p", shuffled, class_="soft"),
        plot(figures.reliance_bars(shown, about["metric"]), "reliance"),
    )


def calibration(data: ReportData) -> Markup:
    """Whether scores are shares of right answers."""
    title, found = "Whether scores can be believed", data.result.get("calibration")
    if not found:
        text = "Scores of this task are no shares that add up to one, and are left as they are."
        return section("calibration", title, element("p", text, class_="soft"))
    before, after = (f"{100 * found[key]:.1f} %" for key in ("ece_before", "ece_after"))
    rows = split_name(data.result["explained"]["split"])
    said = (
        f"Of {rows} rows answered with about the same score, the share that is answered rightly. Scores miss that by "
        f"{after} on average over rows (expected calibration error, {found['bins']} bins); at temperature 1 it would "
        f"be {before}. Logits are divided by a temperature of {found['temperature']:.4g}, which moves no answer and is "
        f"{_FITTED[found['fitted_by']]}."
    )
    fig = plot(figures.reliability(found["bins_before"], found["bins_after"]), "calibration")
    return section("calibration", title, element("p", said, class_="soft"), fig)
