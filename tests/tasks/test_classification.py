import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from rows import table

from automm.data.split import joined
from automm.errors import DataError
from automm.tasks.classification import Classification
from automm.tasks.unseen import report_unseen, unseen
from automm.types import Column, FieldSpec, Goal, Schema, Splits


def fitted(targets):
    task = Classification()
    task.fit(table(targets))
    return task


def test_classes_come_in_reading_order():
    assert fitted(["b", "a", "b"]).labels == ("a", "b")
    assert fitted([10, 9.0, 2, "x"]).labels == ("2", "9", "10", "x")
    assert fitted([True, False]).labels == ("False", "True")


def test_metrics_of_all_rows_and_of_every_group():
    task = fitted(["a", "b", "c"])
    rows = table(["a", "b", "c", "zebra"], kind=["x", "x", "y", "y"], size=["s", "l", "l", "l"])
    scores_BC = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0], [0.2, 0.4, 0.4]], np.float32)
    metrics = task.metrics(scores_BC, rows)
    assert task.goal == Goal("accuracy", "maximize")
    assert {name: value for name, value in metrics.items() if name != "loss"} == {
        "accuracy": 0.5,
        "accuracy/x": 0.5,
        "accuracy/y": 0.5,
        "accuracy/s": 1.0,
        "accuracy/l": pytest.approx(1 / 3),
    }
    expected = -np.log([0.7, 0.3, 1.0, 1e-7]).mean()  # a class that training never saw has the least score
    assert metrics["loss"] == pytest.approx(expected)


def test_the_loss_ignores_classes_never_seen_and_smooths():
    task = fitted(["a", "b"])
    logits_BC = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    targets = {name: torch.from_numpy(a) for name, a in task.targets(table(["a", "zebra"])).items()}
    assert targets["label"].tolist() == [0, -1]
    plain = task.loss(logits_BC, targets, label_smoothing=0.0)
    torch.testing.assert_close(plain, -logits_BC[0].log_softmax(0)[0])
    assert task.loss(logits_BC, targets, label_smoothing=0.2) > plain


def test_heads():
    task = fitted(["a", "b", "c"])
    assert [name for name, _ in task.head(5, hidden=0, dropout=0.0).named_parameters()] == ["weight", "bias"]
    for hidden, dropout in ((0, 0.0), (0, 0.5), (7, 0.5)):
        assert task.head(5, hidden=hidden, dropout=dropout)(torch.randn(2, 5)).shape == (2, 3)


def test_majority_knows_frequencies_alone():
    task = fitted(["a", "b", "b", "b"])
    scores_BC = task.majority(table(["a", "b", "b", "b"]), 2)
    np.testing.assert_allclose(scores_BC, [[0.25, 0.75]] * 2)
    assert task.decode(scores_BC[0]) == "b"


def test_what_it_learnt_can_be_restored():
    task, other = fitted(["a", "b"]), Classification()
    other.restore(task.state())
    assert other.labels == task.labels


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["a", None], "row 'r1' has no target"),
        ([1.0, float("nan")], "row 'r1' has no target"),
        (["a", "a"], "all of them are 'a'"),
        ([], "there are none"),
    ],
)
def test_targets_that_teach_nothing(targets, message):
    with pytest.raises(DataError, match=message):
        fitted(targets)


def test_a_number_is_answered_by_its_name():
    task = fitted([1.0, 2.0])
    assert task.right("2", 2.0)
    assert not task.right("1", 2.0)


def test_classes_that_training_never_saw_are_counted_and_named_before_the_search(caplog):
    splits = Splits(table(["a", "b", "a"]), table(["a", "zebra"]), table(["yak", "zebra", "b", "yak", None]))
    task = fitted(splits.train.targets)
    with caplog.at_level(logging.WARNING):
        report_unseen(task, splits)
    valid, test = caplog.messages
    assert valid.startswith("1 of 2 validation rows count as wrong whatever is answered")
    assert "3 of 5 test rows" in test
    assert "(yak 2x, zebra 1x)" in test
    assert unseen(task, splits) == {"valid": {"zebra": 1}, "test": {"yak": 2, "zebra": 1}}
    caplog.clear()
    report_unseen(task, Splits(splits.train, splits.train))
    assert not caplog.messages


def test_under_cross_validation_every_fold_is_counted_against_the_others(caplog):
    train, valid = table(["a", "a", "b", "yak", "emu", "yak"]), table(["b", "zebra", "emu"])
    folds = np.array([1, 2, 1, 1, 2, 1, 0, 0, 0])  # of yaks both rows are in one fold, of emus one each in two
    splits = Splits(train, valid, table(["zebra"]), folds=folds)
    task = fitted(train.targets)
    assert unseen(task, splits) == {"valid": {"zebra": 1, "yak": 2}, "test": {"zebra": 1}}
    with caplog.at_level(logging.WARNING):
        report_unseen(task, splits)
    assert caplog.messages[0].startswith("3 of 9 validation rows count as wrong whatever is answered")
    assert "(yak 2x, zebra 1x)" in caplog.messages[0]
    again = Splits(train, table(["a"]), folds=np.array([1, 2, 1, 2, 1, 1, 0]))
    assert unseen(task, again) == {"valid": {"b": 1, "emu": 1}}


def test_ten_thousand_classes_are_learnt_like_few_and_said(caplog):
    many = [f"class {i % 10_000}" for i in range(20_000)]
    with caplog.at_level(logging.WARNING):
        task = fitted(many)
    assert "10000 classes in 20000 training rows, 0 of them in one row alone" in caplog.text
    assert len(task.labels) == 10_000
    assert task.head(4, hidden=0, dropout=0.0)(torch.zeros(2, 4)).shape == (2, 10_000)
    rows = table(many[:20])
    assert task.metrics(task.perfect(rows), rows)["accuracy"] == 1


def test_classes_of_one_row_each_are_said(caplog):
    with caplog.at_level(logging.WARNING):
        fitted(["a", "b", "c", "d", "d"])
        assert "4 classes in 5 training rows, 3 of them in one row alone" in caplog.text
        caplog.clear()
        fitted(["a", "b", "b", "d", "d"])
    assert not caplog.text


def named(targets, *, label_rows=True, modalities=("text", "image")):
    """What the names of classes add to a table that has a row a target."""
    rows = table(targets)
    schema = Schema(tuple(FieldSpec(modality, modality) for modality in modalities))
    columns = {modality: Column([f"{modality} 0"], np.zeros(len(targets), np.int64)) for modality in modalities}
    rows = replace(rows, schema=schema, columns=columns, groups={"kind": np.array(["x"] * len(targets))})
    task = Classification(label_rows=label_rows)
    task.fit(rows)
    extra = task.extra_rows(rows)
    return None if extra is None else joined(rows, extra)


def test_classes_that_have_a_name_are_rows_with_nothing_but_that():
    rows = named(["face-smiling", "2", "animal_bird", "2"])
    assert rows.targets[4:] == ["animal_bird", "face-smiling"]
    assert [rows.row(at) for at in (4, 5)] == [
        {"text": "animal bird", "image": None},
        {"text": "face smiling", "image": None},
    ]
    assert rows.groups["kind"].tolist() == ["x"] * 4 + [""] * 2


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        (["1", "2"], {}),
        (["a", "b"], {}),
        (["cls_01", "cls_02"], {}),
        (["cat", "dog"], {"modalities": ("image",)}),
        (["cat", "dog"], {"label_rows": False}),
        (["cat", "dog"] * 101, {}),
    ],
    ids=["numbers", "letters", "codes", "no texts", "not wanted", "many rows"],
)
def test_where_names_say_nothing_there_are_no_such_rows(targets, options):
    assert named(targets, **options) is None
