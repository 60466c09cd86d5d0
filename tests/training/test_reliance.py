from dataclasses import replace

import numpy as np
import pytest

from automm.training.evaluate import scores
from automm.training.reliance import Drop, drawn, inputs_of, reliance
from automm.types import Column, FieldSpec, Goal, Schema, Table

GOAL = Goal("accuracy", "maximize")


def by_question(table):
    """The same rows, in which the question alone decides."""
    return replace(table, targets=["no" if at else "yes" for at in table.columns["question"].index])


def without(table, field):
    column = table.columns[field]
    return replace(table, columns={**table.columns, field: Column(column.values, np.full(len(table), -1))})


@pytest.fixture
def fitted(bench, candidate):
    """A part, and a model that reads its questions alone."""
    bench.train, bench.valid = by_question(bench.train), by_question(bench.valid)
    chosen = candidate(solver="closed_form", image_weight=0.0)
    _, model, _ = bench.fit(chosen)
    return model, bench.job(chosen).valid


def test_what_carries_the_signal_is_missed_and_what_carries_none_is_not(bench, fitted):
    model, valid = fitted
    found = reliance([(1.0, model, valid)], bench.task, GOAL, seed=0)
    assert found.whole["accuracy"] == 1.0
    assert found.removed["image"] == pytest.approx(found.whole, abs=1e-6)
    assert found.importance["image"] == Drop(0.0, 0.0)
    share = np.mean([target == "yes" for target in valid.table.targets])
    assert found.removed["text"]["accuracy"] in (pytest.approx(share), pytest.approx(1 - share))  # one answer for all
    chance = share**2 + (1 - share) ** 2  # that a row is given a question of the same answer
    assert found.importance["text"].mean == pytest.approx(1 - chance, abs=0.2)
    assert 0 < found.importance["text"].spread < 0.2


def test_the_same_seed_shuffles_alike(bench, fitted):
    model, valid = fitted
    assert reliance([(1.0, model, valid)], bench.task, GOAL, seed=1) == reliance(
        [(1.0, model, valid)], bench.task, GOAL, seed=1
    )
    assert reliance([(1.0, model, valid)], bench.task, GOAL, seed=1) != reliance(
        [(1.0, model, valid)], bench.task, GOAL, seed=2
    )


def test_members_of_an_ensemble_lose_the_same_input_at_once(bench, candidate, fitted):
    model, valid = fitted
    twice = reliance([(0.25, model, valid), (0.75, model, valid)], bench.task, GOAL, seed=0)
    once = reliance([(1.0, model, valid)], bench.task, GOAL, seed=0)
    assert twice.importance == once.importance
    assert twice.removed["text"] == pytest.approx(once.removed["text"], abs=1e-5)
    blind = candidate(solver="closed_form", text_weight=0.0)
    _, other, _ = bench.fit(blind)
    mixed = reliance([(0.01, model, valid), (0.99, other, bench.job(blind).valid)], bench.task, GOAL, seed=0)
    assert mixed.whole["loss"] != pytest.approx(once.whole["loss"], abs=1e-3)


def test_a_drop_is_a_loss_whichever_way_is_better(bench, fitted):
    model, valid = fitted
    found = reliance([(1.0, model, valid)], bench.task, Goal("loss", "minimize"), seed=0)
    assert found.metric == "loss"
    assert found.importance["text"].mean > 0.1


def test_a_goal_that_these_rows_lack_gives_way_to_the_task_s(bench, fitted):
    model, valid = fitted
    assert reliance([(1.0, model, valid)], bench.task, Goal("accuracy/purple", "maximize"), seed=0).metric == "accuracy"


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_removing_is_what_a_table_without_the_field_scores(gappy, candidate, fusion):
    chosen = {path: value for path, value in candidate().items() if not path.startswith("fusion.")}
    job = gappy.job({**chosen, "fusion.name": fusion})
    found = reliance([(1.0, job.model, job.valid)], gappy.task, GOAL, seed=0)
    assert job.model.training  # left as it was
    stores = dict(job.valid.loader(batch_size=8, shuffle=False, seed=0).stores)
    for name, field in (("image", "image"), ("text", "question")):
        bare = without(gappy.valid, field)
        part = type(job.valid).of(bare, stores, gappy.task)
        expected = gappy.task.metrics(scores(job.model, gappy.task, part, batch_size=8), bare)
        assert found.removed[name] == pytest.approx(expected, abs=1e-5)
    whole = gappy.task.metrics(scores(job.model, gappy.task, job.valid, batch_size=8), gappy.valid)
    assert found.whole == pytest.approx(whole, abs=1e-5)


def test_fields_are_named_where_a_modality_has_several():
    fields = [FieldSpec("front", "image"), FieldSpec("title", "text"), FieldSpec("text", "text")]
    assert inputs_of(Schema((*fields, FieldSpec("y", "categorical", "target")))) == {
        "image": ("front",),
        "text": ("title", "text"),
        "text/title": ("title",),
        "text/text": ("text",),
    }


def test_a_large_table_is_asked_by_a_sample():
    def table(rows, fields):
        schema = Schema(tuple(FieldSpec(f"x{at}", "numeric") for at in range(fields)))
        column = Column([0.0, 1.0], np.arange(rows) % 2)
        return Table(schema, {field.name: column for field in schema.inputs}, [0] * rows, list(range(rows)))

    small, large = table(200, 40), table(5000, 1)
    assert drawn(small, seed=0) is small
    assert len(drawn(large, seed=0)) == 2048
    assert drawn(large, seed=0).ids == drawn(large, seed=0).ids != drawn(large, seed=1).ids
    of_items = replace(large, columns={"x0": Column([0.0] * 300, np.arange(5000) % 400 - 100)})  # 12 or 13 rows an item
    found = drawn(of_items, seed=0, group_by="x0").columns["x0"].index
    counts = np.bincount(found[found >= 0])
    assert len(found) == 2048
    assert set(counts) == {12, 13}  # all rows of an item
    assert 0.15 < np.mean(found < 0) < 0.35  # a quarter of all rows
    assert len(drawn(table(5000, 10), seed=0)) == 60_000 // (1 + 11 * 6)
    assert len(drawn(table(5000, 200), seed=0)) == 256
