"""Metrics asked for by name: what a task can be measured by, its objective, and metrics of one's own."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from automm import registry
from automm.errors import BrokenPlugin, UnknownComponent
from automm.metrics.metric import metric
from automm.metrics.named import computable
from automm.tasks.classification import Classification
from automm.tasks.judged import aim
from automm.tasks.multilabel import MultiLabel
from automm.tasks.regression import Regression
from automm.tasks.vqa import VQA
from automm.types import Goal, Schema, Splits, Table


def table(targets):
    halves = np.where(np.arange(len(targets)) % 2 == 0, "even", "odd")
    return Table(Schema(()), {}, targets, list(range(len(targets))), {"half": halves})


def aimed(task, targets, *metrics, objective=None, direction=None):
    """The task, fitted on these targets and aimed."""
    rows = table(targets)
    task.fit(rows)
    search = SimpleNamespace(objective=objective, direction=direction)
    aim(task, SimpleNamespace(metrics=metrics, search=search, task=SimpleNamespace(name="mine")), Splits(rows, rows))
    return task


WORDS = ["a", "b", "c", "a", "b", "a"]
NUMBERS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]


@pytest.fixture
def own_metric(monkeypatch):
    monkeypatch.setattr(registry, "_session", {})

    def add(name, function, **how):
        function.__doc__ = "A number."
        registry.register("metric", name)(metric(**{"higher_is_better": False, "reads": ("classes",), **how})(function))

    yield add
    registry.get.cache_clear()


def test_without_a_word_a_task_is_measured_as_ever():
    task = aimed(Classification(), WORDS)
    assert task.aim == Goal("accuracy", "maximize")
    rows = table(WORDS)
    assert task.measure(task.perfect(rows), rows) == task.metrics(task.perfect(rows), rows)


def test_named_metrics_stand_beside_the_tasks_own():
    task = aimed(Classification(), WORDS, "f1", "accuracy", "top_3")
    assert task.named == ("f1", "top_3")  # accuracy is the task's own
    rows = table(WORDS)
    values = task.measure(task.perfect(rows), rows)
    assert {"accuracy", "loss", "f1", "top_3", "top_3/even", "top_3/odd"} <= set(values)
    assert "f1/even" not in values  # no mean of rows


def test_labels_never_seen_count_as_missed_by_name_too():
    task = aimed(MultiLabel(), [["a"], ["b"], ["a", "b"]], "f1_micro", "hamming")
    rows = table([["a"], ["b", "new", "newer"], ["a"]])
    values = task.measure(np.array([[1, 0], [0, 1], [1, 1]], np.float32), rows)
    assert values["f1_micro"] == pytest.approx(values["f1"])
    assert values["hamming"] == pytest.approx(3 / 12)


@pytest.mark.parametrize(
    ("task", "targets", "objective", "goal"),
    [
        (Classification, WORDS, "f1", Goal("f1", "maximize")),
        (Classification, WORDS, "loss", Goal("loss", "minimize")),
        (Classification, WORDS, "accuracy/even", Goal("accuracy/even", "maximize")),
        (Classification, WORDS, "log_loss/odd", Goal("log_loss/odd", "minimize")),
        (Regression, NUMBERS, "mae", Goal("mae", "minimize")),
        (Regression, NUMBERS, "spearman", Goal("spearman", "maximize")),
        (MultiLabel, ["a,b", "a", "b", "a"], "hamming", Goal("hamming", "minimize")),
        (VQA, ["yes", "no", "yes"], "f1", Goal("f1", "maximize")),
    ],
)
def test_the_objective_and_which_way_is_better(task, targets, objective, goal):
    found = aimed(task(), targets, objective=objective)
    assert found.aim == goal
    assert found.goal.metric != objective  # what the task itself is about stays
    rows = table(targets)
    assert objective in found.measure(found.majority(rows, len(rows)), rows)


def test_the_direction_can_be_said():
    assert aimed(Classification(), WORDS, objective="f1", direction="minimize").aim == Goal("f1", "minimize")


@pytest.mark.parametrize(
    ("task", "targets", "asked", "said"),
    [
        (Classification, WORDS, {"objective": "f2"}, "Did you mean 'f1'"),
        (Classification, WORDS, {"objective": "accuracy/evne"}, "Did you mean 'accuracy/even'"),
        (Classification, WORDS, {"objective": "mae"}, "reads numbers, and the targets of task mine are classes"),
        (VQA, ["yes", "no"], {"objective": "vqa_score"}, "the validation rows give no such metric"),
        (VQA, [["yes", "no"], ["no"]], {"objective": "f1"}, "reads classes or labels"),
    ],
)
def test_what_cannot_be_driven_at_is_told(task, targets, asked, said):
    with pytest.raises(UnknownComponent) as raised:
        aimed(task(), targets, **asked)
    assert said in str(raised.value)


def test_what_tasks_can_be_measured_by():
    assert {"accuracy", "loss", "auroc", "top_5"} <= computable(Classification)
    assert {"rmse", "mae", "r2", "mse", "pearson"} <= computable(Regression)
    assert not {"rmse", "hamming"} & computable(Classification)
    assert not {"cohen_kappa", "rmse"} & computable(MultiLabel)


def test_a_task_goes_to_another_process_with_its_metrics():
    task = pickle.loads(pickle.dumps(aimed(VQA(), ["yes", "no", "yes"], "auroc", objective="f1")))
    rows = table(["yes", "no", "yes"])
    assert {"auroc", "f1"} <= set(task.measure(task.perfect(rows), rows))
    assert task.aim == Goal("f1", "maximize")


def test_a_metric_of_ones_own(own_metric):
    own_metric("missed_a", lambda scores, label: float((scores.argmax(1)[label == 0] != 0).mean()))
    task = aimed(Classification(), WORDS, objective="missed_a")
    assert task.aim == Goal("missed_a", "minimize")
    rows = table(WORDS)
    assert task.measure(task.perfect(rows), rows)["missed_a"] == 0.0


def test_a_metric_that_raises_is_named(own_metric):
    own_metric("odd", lambda scores, label: 1 / 0)
    with pytest.raises(
        BrokenPlugin, match=r"metric 'odd' of this session gave no number for 6 rows: ZeroDivisionError"
    ):
        aimed(Classification(), WORDS, "odd")


def test_what_is_undefined_is_left_out(own_metric):
    own_metric("undefined", lambda scores, label: float("nan"))
    task = aimed(Classification(), WORDS, "undefined")
    rows = table(WORDS)
    assert "undefined" not in task.measure(task.perfect(rows), rows)
    with pytest.raises(UnknownComponent, match="give no such metric"):
        aimed(Classification(), WORDS, objective="undefined")


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ({}, "higher_is_better=None"),
        ({"higher_is_better": True, "reads": ("words",)}, r"reads=\('words',\)"),
        ({"higher_is_better": "yes", "reads": ("classes",)}, "higher_is_better=yes"),
    ],
)
def test_a_function_that_does_not_say_what_it_is_is_refused(marks, said):
    def function(scores, targets):
        """A number."""

    vars(function).update(marks)
    with pytest.raises(BrokenPlugin, match=said):
        registry.register("metric", "mine")(function)
    assert "mine" not in registry.names("metric")
