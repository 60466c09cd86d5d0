"""Intervals of test metrics: as wide as chance, whatever the metric, and of differences on the same rows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from automm.tasks.classification import Classification
from automm.tasks.regression import Regression
from automm.types import Column, FieldSpec, Goal, Schema, Table
from automm.uncertainty import Jackknife, Judgement

GOAL = Goal("accuracy", "maximize")
SCHEMA = Schema((FieldSpec("text", "text"),))


def rows_of(targets, together=None):
    rows = len(targets)
    column = Column(["a text"], np.zeros(rows, np.int64))
    return Table(SCHEMA, {"text": column}, list(targets), list(range(rows)), {}, together)


def classes(rows, *, each=1):
    """A fitted task and a table of as many rows; `each` of them belong together."""
    table = rows_of(["no", "yes"] * (rows // 2), None if each == 1 else np.arange(rows) // each)
    task = Classification()
    task.fit(table)
    return task, table


def answering(table, right_B):
    """Scores of a model that is right where that says."""
    wrong = {"yes": "no", "no": "yes"}
    answers = [target if right else wrong[target] for target, right in zip(table.targets, right_B, strict=True)]
    return np.array([[answer == "no", answer == "yes"] for answer in answers], np.float32)


def reach(interval):
    """How far an interval goes beyond its figure; on average, for those of shares go less far towards 0 and 1."""
    assert interval["low"] < interval["value"] < interval["high"]
    return (interval["high"] - interval["low"]) / 2


def judged(task, table, goal=GOAL, **models):
    found = Judgement(task, table, goal, 0)
    for name, scores_BC in models.items():
        found.add(name, scores_BC)
    return found.uncertainty()


@pytest.mark.parametrize("each", [1, 4])
def test_an_interval_is_as_wide_as_chance_and_rows_that_belong_together_are_one(each):
    task, table = classes(4000, each=each)
    right_B = np.repeat(np.random.default_rng(1).random(4000 // each) < 0.8, each)
    found = judged(task, table, found=answering(table, right_B))
    assert (found["metric"], found["units"], found["groups"]) == ("accuracy", 4000 // each, 50)
    expected = 1.96 * np.sqrt(0.8 * 0.2 / (4000 // each))
    assert reach(found["winner"]) == pytest.approx(expected, rel=0.3)
    assert found["winner"]["value"] == right_B.mean()


def test_of_few_units_each_is_left_out_and_the_interval_is_students():
    task, table = classes(40)
    right_B = np.arange(40) % 4 > 0
    found = judged(task, table, found=answering(table, right_B), other=answering(table, np.arange(40) % 8 > 3))
    lead_B = right_B * 1.0 - (np.arange(40) % 8 > 3)
    error = lead_B.std(ddof=1) / 40**0.5
    assert (found["units"], found["groups"]) == (40, 40)
    assert reach(found["ahead"]["other"]) == pytest.approx(stats.t.ppf(0.975, 39) * error)
    wide = stats.t.ppf(0.975, 39) * right_B.std(ddof=1) / 40**0.5 / (0.75 * 0.25)
    low, high = (special.expit(special.logit(0.75) + sign * wide) for sign in (-1, 1))
    assert found["winner"] == pytest.approx({"value": 0.75, "low": low, "high": high})


@pytest.mark.parametrize("sizes", [np.full(100, 2), 1 + 20 // np.arange(1, 101)], ids=["even", "uneven"])
def test_nineteen_of_twenty_intervals_hold_the_truth(sizes):
    """Also where some of what belongs together is much larger than the rest."""
    random = np.random.default_rng(3)
    rows = int(sizes.sum()) // 2 * 2
    task, table = classes(rows)
    table = replace(table, together=np.repeat(np.arange(len(sizes)), sizes)[:rows])
    held = 0
    for _ in range(100):
        right_B = np.repeat(random.random(len(sizes)) < 0.7, sizes)[:rows]
        interval = judged(task, table, found=answering(table, right_B))["winner"]
        held += interval["low"] <= 0.7 <= interval["high"]
    assert 88 <= held <= 99


def test_models_are_compared_on_the_same_rows():
    """One is right wherever the other is, and on a twentieth of the rows beside: the lead is surer than both."""
    task, table = classes(2000)
    random = np.random.default_rng(2)
    worse_B = random.random(2000) < 0.6
    better_B = worse_B | (random.random(2000) < 0.05)
    found = judged(task, table, found=answering(table, better_B), other=answering(table, worse_B))
    assert found["ahead"]["other"]["value"] == pytest.approx(better_B.mean() - worse_B.mean())
    assert reach(found["ahead"]["other"]) < 0.5 * reach(found["winner"])
    assert found["ahead"]["other"]["low"] > 0
    assert reach(found["baselines"]["other"]) == pytest.approx(reach(found["winner"]), rel=0.3)


def test_what_is_one_model_is_not_ahead_of_itself():
    task, table = classes(100)
    found = Judgement(task, table, GOAL, 0)
    found.add("found", answering(table, np.arange(100) % 4 > 0))
    found.again("defaults", "found")
    assert found.values["defaults"] == found.values["found"]
    said = found.uncertainty()
    assert said["baselines"]["defaults"] == said["winner"]
    assert said["ahead"]["defaults"] is None


@pytest.mark.parametrize("right", [20, 11])  # of 20 rows that belong together: 0.55 is no sum of halves
def test_a_figure_that_nothing_moves_is_not_sure(right):
    task, table = classes(240, each=20)
    found = judged(task, table, found=answering(table, np.arange(240) % 20 < right))
    assert found["units"] == 12
    assert found["winner"] is None


def test_an_interval_of_a_share_stays_within_0_and_1():
    task, table = classes(200)
    found = judged(task, table, found=answering(table, np.arange(200) > 0))
    assert 0.96 < found["winner"]["low"] < found["winner"]["value"] == 0.995 < found["winner"]["high"] < 1


def test_less_is_better_where_a_metric_says_so():
    numbers = np.random.default_rng(0).normal(size=400)
    table, task = rows_of(numbers.tolist()), Regression()
    task.fit(table)
    noise = np.random.default_rng(1).normal(size=(2, 400))
    models = {
        name: (numbers + scale * each)[:, None].astype(np.float32)
        for name, scale, each in zip(("found", "other"), (0.1, 0.5), noise, strict=True)
    }
    scores = {name: task.perfect(replace(table, targets=each[:, 0].tolist())) for name, each in models.items()}
    found = judged(task, table, Goal("rmse", "minimize"), **scores)
    assert found["metric"] == "rmse"
    assert found["ahead"]["other"]["low"] > 0.3


def test_an_objective_that_a_task_does_not_list_has_the_direction_it_was_given():
    task, table = classes(100)
    plain = task.metrics
    task.metrics = lambda scores_BC, rows: {"cost": 1 - plain(scores_BC, rows)["accuracy"], "loss": 1.0}
    goal = Goal("cost", "minimize")
    better, worse = (answering(table, np.arange(100) % each > 0) for each in (5, 2))
    found = judged(task, table, goal, found=better, other=worse)
    assert found["ahead"]["other"]["value"] == pytest.approx(0.3)
    assert found["ahead"]["other"]["low"] > 0


@pytest.mark.parametrize(
    ("rows", "together"), [(8, None), (100, np.arange(100) // 12), (100, np.maximum(np.arange(100) - 80, 0))]
)
def test_of_few_nothing_is_said(rows, together):
    task, table = classes(rows)
    table = replace(table, together=together)
    assert judged(task, table, found=answering(table, np.arange(rows) % 3 > 0)) is None
    assert judged(task, table, None, found=answering(table, np.arange(rows) % 3 > 0)) is None


def test_large_tables_are_measured_in_fewer_groups_or_not_at_all():
    table = rows_of(range(100_000))
    assert Jackknife.of(table, 2, 0).groups == 45
    assert Jackknife.of(table, 70, 0).groups == 11
    assert Jackknife.of(table, 100, 0) is None


def flawed(raises):
    """A metric that cannot be taken without some of the rows."""

    def metrics(scores_BC, table):
        if len(table) < 100:
            if raises:
                raise ValueError("no such class")
            return {"accuracy": float("nan")}
        return {"accuracy": 0.5, "loss": 1.0}

    return metrics


@pytest.mark.parametrize("raises", [True, False])
def test_a_metric_that_cannot_do_without_some_rows_has_no_interval_and_ends_no_run(raises, caplog):
    task, table = classes(100)
    task.metrics = flawed(raises)
    scores_BC = answering(table, np.arange(100) % 3 > 0)
    found = judged(task, table, found=scores_BC, other=scores_BC)
    assert found["winner"] is None
    assert found["baselines"] == found["ahead"] == {"other": None}
    assert ("no interval for accuracy" in caplog.text) is raises


def test_a_model_without_the_winners_metric_has_no_interval():
    task, table = classes(100)
    plain, odd = task.metrics, answering(table, np.arange(100) % 2 > 0)

    def metrics(scores_BC, rows):
        values = plain(scores_BC, rows)
        return values if np.array_equal(scores_BC, odd[: len(rows)]) else {**values, "kappa": values["accuracy"]}

    task.metrics = metrics
    good = answering(table, np.arange(100) % 3 > 0)
    goal = Goal("kappa", "maximize")
    found = judged(task, table, goal, found=good, other=odd, third=good)
    assert found["metric"] == "kappa"
    assert found["baselines"]["other"] is None
    assert found["ahead"]["other"] is None
    assert found["baselines"]["third"] == found["winner"]
    assert judged(task, table, goal, found=odd, other=good)["metric"] == "accuracy"


def test_metrics_by_name_have_intervals_too():
    task, table = classes(200)
    task.named = ("balanced_accuracy",)
    found = judged(task, table, Goal("balanced_accuracy", "maximize"), found=answering(table, np.arange(200) % 5 > 0))
    assert found["metric"] == "balanced_accuracy"
    assert reach(found["winner"]) == pytest.approx(1.96 * 0.4 / np.sqrt(200), rel=0.4)


def test_the_same_seed_draws_the_same_groups():
    table = rows_of(range(100))
    same = [Jackknife.of(table, 2, seed).group_B for seed in (0, 0, 1)]
    assert np.array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])
