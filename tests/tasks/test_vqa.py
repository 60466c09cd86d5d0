import numpy as np
import pytest
import torch

from automm.errors import DataError
from automm.tasks.vqa import VQA
from automm.types import Schema, Table


def table(targets, **groups):
    return Table(Schema(()), {}, targets, list(range(len(targets))), {k: np.array(v) for k, v in groups.items()})


def ten(**counts):
    answers = [answer for answer, count in counts.items() for _ in range(count)]
    return answers + [f"odd{at}" for at in range(10 - len(answers))]


def fitted(targets, **options):
    task = VQA(**options)
    task.fit(table(targets))
    return task


def tensors(task, rows):
    return {name: torch.from_numpy(array) for name, array in task.targets(rows).items()}


def test_single_answers_are_classes():
    task = fitted(["yes", "no", 2])
    assert task.labels == ("2", "no", "yes")
    assert task.goal.metric == "accuracy"
    metrics = task.metrics(np.eye(3, dtype=np.float32), table(["2", "yes", "yes"], kind=["a", "a", "b"]))
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["accuracy/a"] == 0.5
    torch.testing.assert_close(task.probabilities(torch.zeros(1, 3)), torch.full((1, 3), 1 / 3))


def test_ten_answers_are_scored_as_the_official_metric_does():
    rows = table([ten(yes=2), ten(no=10), ten(yes=5, no=5)], type=["a", "b", "b"])
    task = fitted(rows.targets, answers=2)
    assert task.labels == ("no", "yes")
    assert task.goal.metric == "vqa_score"
    np.testing.assert_allclose(task.perfect(rows), [[0.0, 0.6], [1.0, 0.0], [1.0, 1.0]], rtol=1e-6)
    metrics = task.metrics(np.array([[0.1, 0.9], [0.2, 0.8], [0.6, 0.5]], np.float32), rows)
    assert metrics["vqa_score"] == pytest.approx((0.6 + 0 + 1) / 3)
    assert metrics["vqa_score/b"] == pytest.approx(0.5)


def test_the_loss_of_ten_answers_is_binary_and_its_metric_the_same_number():
    rows = table([ten(yes=2), ten(no=10), ten(maybe=1, yes=1)])
    task = fitted(rows.targets, answers=3)
    logits_BC = torch.randn(3, len(task.labels))
    loss = task.loss(logits_BC, tensors(task, rows), label_smoothing=0.0)
    wanted_BC = torch.from_numpy(task.perfect(rows))
    expected = (
        torch.nn.functional.binary_cross_entropy_with_logits(logits_BC, wanted_BC, reduction="none").sum(1).mean()
    )
    torch.testing.assert_close(loss, expected)
    metrics = task.metrics(task.probabilities(logits_BC).numpy(), rows)
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-4)
    assert task.loss(logits_BC, tensors(task, rows), label_smoothing=0.1) != loss


def test_the_most_frequent_answers_are_kept():
    task = fitted([ten(a=0, blue=5, red=4), ten(red=9), ten(green=2)], answers=2)
    assert task.labels == ("blue", "red")
    assert task.targets(table([ten(green=9)]))["score"].sum() == 0


def test_majority_is_the_mean_score_of_each_answer():
    rows = table([ten(yes=10), ten(no=2)])
    task = fitted(rows.targets, answers=2)
    np.testing.assert_allclose(task.majority(rows, 2), np.tile(task.perfect(rows).mean(0), (2, 1)), rtol=1e-6)
    single = fitted(["yes", "no", "no", "no"])
    np.testing.assert_allclose(single.majority(table(["yes", "no", "no", "no"]), 1), [[0.75, 0.25]])


def test_which_kind_it_is_can_be_restored():
    task, other = fitted([ten(yes=2), ten(no=3)]), VQA()
    other.restore(task.state())
    assert other.goal == task.goal
    assert other.labels == task.labels
    logits_BC = torch.randn(2, len(task.labels))
    torch.testing.assert_close(other.probabilities(logits_BC), torch.sigmoid(logits_BC))


def test_results_are_in_the_official_format():
    task = fitted(["yes", "no"])
    assert task.answers(["yes", "no"], table(["x", "y"])) == [
        {"question_id": 0, "answer": "yes"},
        {"question_id": 1, "answer": "no"},
    ]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["yes", ten(no=3)], "row 1 and row 0 have different kinds of answers"),
        (["yes", None], "row 1 has no target"),
        (["yes", "yes"], "all of them are 'yes'"),
    ],
)
def test_answers_that_teach_nothing(targets, message):
    with pytest.raises(DataError, match=message):
        fitted(targets)
