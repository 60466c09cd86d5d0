import io

import pytest

from automm.report.console import Progress, print_summary
from automm.search.study import Event
from automm.types import Goal

GOAL = Goal("accuracy", "maximize")


def event(kind, trial, **data):
    return Event(0, kind, trial, data, 0.0, 0.0)


def test_a_line_an_event_without_a_terminal():
    file = io.StringIO()
    progress = Progress(GOAL, trials=8, file=file)
    candidate = {"encoder.image.name": "convnet", "encoder.text.name": "text_transformer", "fusion.name": "film"}
    for each in (
        event("ask", 3, candidate=candidate, origin="strategy", repeats=0),
        event("launch", 3, start=0, stop=2),
        event("report", 3, epoch=1, values={"accuracy": 0.41}),
        event("tell", 3, values={"accuracy": 0.5}, epochs=2, finished=False, seconds=61.0),
        event("launch", 4, start=2, stop=4),
        event("tell", 4, values={"accuracy": 0.25}, epochs=4, finished=True, seconds=2.0),
        event("fail", 5, reason="the loss [red]became[/red] NaN"),
        event("infeasible", 6, reason="too many GFLOP"),
        event("promote", 3, start=2, stop=4),
        event("stop", None, reason="trials"),
    ):
        progress.on_event(each)
    progress.epoch("refit", 3, 24, {"accuracy": 0.75})
    lines = [line.partition("] ")[2].strip() for line in file.getvalue().splitlines()]
    assert lines == [
        "trial 3/7  convnet + text_transformer → film, epochs 1 to 2",
        "trial 3/7  epoch 1: accuracy 41.0 %",
        "trial 3/7  2 epochs in 1 min 01 s, accuracy 50.0 %; best so far 50.0 %",
        "trial 4/7  epochs 3 to 4",
        "trial 4/7  4 epochs in 2.0 s, accuracy 25.0 %; best so far 50.0 %",
        "trial 5/7  failed: the loss [red]became[/red] NaN",
        "trial 6/7  not run: too many GFLOP",
        "search over: all its trials were spent",
        "refit, epoch 3 of 24: accuracy 75.0 %",
    ]
    assert "\x1b" not in file.getvalue()


def test_a_long_line_is_not_broken():
    file = io.StringIO()
    Progress(GOAL, file=file).say("word " * 100)
    assert file.getvalue().count("\n") == 1


def test_the_summary_has_every_group_baseline_and_path(story):
    file = io.StringIO()
    print_summary(story.result, story.goal, {"report": "runs/a/report.html", "bundle": "runs/a/bundle"}, file=file)
    text = file.getvalue()
    for name in (
        "found",
        "majority",
        "text only",
        "image only",
        "defaults",
        "overall",
        "relational",
        "non-relational",
        "closest",
    ):
        assert name in text
    assert f"{100 * story.result['test']['accuracy']:.1f} %" in text
    assert all(line in text for line in story.result["best"]["overrides"])
    assert "runs/a/report.html" in text
    assert "runs/a/bundle" in text


def test_the_summary_says_what_is_left_without_an_input(story):
    file = io.StringIO()
    print_summary(story.result, story.goal, {}, file=file)
    assert "accuracy on 2,048 test rows: 93.0 %" in file.getvalue()
    (row,) = [line for line in file.getvalue().splitlines() if "text: a_b" in line]
    assert "41.0 %" in row
    assert "50.0 points ± 1.0" in row


def test_the_summary_says_how_sure_its_figures_are(story):
    file = io.StringIO()
    print_summary(story.result, story.goal, {}, file=file)
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in file.getvalue().splitlines() if "│" in line}
    sure = [cell.strip() for cell in rows["95 % interval"]]
    assert sure == ["91.2 to 94.8 %", "32.0 to 36.1 %", "–", "–", "–"]
    ahead = [cell.strip() for cell in rows["found's lead, ± 95 %"]]
    assert ahead == ["–", "+59.0 ± 2.5 points", "-0.4 ± 0.6 points", "–", "–"]
    file = io.StringIO()
    print_summary({**story.result, "uncertainty": None}, story.goal, {}, file=file)
    assert "95 %" not in file.getvalue().partition("test rows")[0]


def test_metrics_beside_the_headline_have_a_table_of_their_own(story):
    file = io.StringIO()
    test = {**story.result["test"], "f1": 0.9125}
    directions = {"accuracy": "maximize", "loss": "minimize", "f1": "maximize"}
    print_summary({**story.result, "test": test, "directions": directions}, story.goal, {}, file=file)
    board = file.getvalue().partition("other metrics of the test")[2].partition("accuracy on")[0]
    rows = {
        line.split("│")[1].strip(): [c.strip() for c in line.split("│")[2:-1]]
        for line in board.splitlines()
        if line[:1] == "│"
    }
    assert rows == {"loss (lower is better)": ["0.2", *"––––"], "f1": ["0.9125", *"––––"]}


@pytest.mark.parametrize("missing", ["test", "baselines", "best", "seconds", "explained"])
def test_a_summary_lives_with_what_there_is(story, missing):
    file = io.StringIO()
    print_summary({k: v for k, v in story.result.items() if k != missing}, story.goal, {}, file=file)
    assert "the search ended because all its trials were spent" in file.getvalue()
