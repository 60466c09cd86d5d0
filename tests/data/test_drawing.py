"""Rows set apart to judge."""

import logging

import numpy as np
import pytest
from tables_of_things import COLOURS, load, pictures, rows, write_csv

from automm.data.sources.table import TableSource
from automm.errors import ConfigError, OutOfRange


@pytest.fixture
def table(tmp_path):
    pictures(tmp_path, rows())
    write_csv(tmp_path / "t.csv", rows())
    return tmp_path / "t.csv"


def test_rows_that_share_an_image_or_a_group_stay_together(table):
    splits = load(table)
    shown = [set(t.columns["picture"].values) for t in (splits.train, splits.valid, splits.test)]
    assert not shown[0] & shown[1]
    assert not shown[0] & shown[2]
    assert not shown[1] & shown[2]
    grouped = load(table, group="who", drop=[])
    people = [{rows()[i]["who"] for i in t.ids} for t in (grouped.train, grouped.valid, grouped.test)]
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]


def test_rows_alike_in_all_inputs_stay_together(tmp_path):
    table = [{"title": f"the same words {i // 2}", "colour": COLOURS[i % 4]} for i in range(60)]
    write_csv(tmp_path / "t.csv", table)
    splits = TableSource(train=str(tmp_path / "t.csv"), target="colour").load(0, tmp_path)
    texts = [set(t.columns["title"].values) for t in (splits.train, splits.valid, splits.test)]
    assert not texts[0] & texts[1]
    assert not (texts[0] | texts[1]) & texts[2]


def test_folds_are_drawn_from_the_training_table_alone(table, tmp_path):
    splits = load(table, folds=4)
    assert len(splits.folds) == len(splits.train) + len(splits.valid)
    assert (splits.folds[: len(splits.train)] > 0).all()
    assert (splits.folds[len(splits.train) :] == 0).all()
    write_csv(tmp_path / "v.csv", rows(8, 100))
    pictures(tmp_path, rows(8, 100))
    with pytest.raises(ConfigError, match=r"data.folds=4: .*v.csv validates"):
        load(table, folds=4, valid=str(tmp_path / "v.csv"))
    for options in ({"folds": 0}, {"folds": 2, "time": "who"}):
        with pytest.raises(OutOfRange, match=r"data\.folds="):
            load(table, **options)


def test_few_rows_are_judged_by_all_of_them(table, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert load(table, folds=None).folds is None
    assert "too many belong together for 5 folds" in caplog.text
    assert load(table, folds=None, target=None, drop=["who", "colour"]).folds is None  # pairs
    (tmp_path / "many.csv").write_text(
        "\n".join(["when,size,kind", *(f"{i},{i * i / 100},k{i % 3}" for i in range(1600))]) + "\n"
    )
    many = {"train": str(tmp_path / "many.csv"), "target": "kind"}
    assert TableSource(**many).load(0, tmp_path).folds is None
    assert "validates once" not in caplog.text
    few = TableSource(**many, valid_fraction=0.1).load(0, tmp_path)
    assert len(few.folds) == len(few.train) + len(few.valid) == 1360
    assert set(few.folds) == {0, 1, 2, 3, 4}
    assert "each of the 1360 validates once" in caplog.text
    assert TableSource(**many, time="when", valid_fraction=0.1).load(0, tmp_path).folds is None


@pytest.mark.parametrize(("people", "folds"), [(40, 10), (8, 5), (6, None)])
def test_the_runoff_has_fewer_folds_where_groups_are_few(tmp_path, people, folds):
    rows = [f"{row * row / 100},person {row % people},k{row // 40 % 3}" for row in range(1600)]
    path = tmp_path / "train.csv"
    path.write_text("\n".join(["number,who,kind", *rows]) + "\n", encoding="utf-8")
    splits = TableSource(train=str(path), target="kind", group="who", folds=1).load(0, tmp_path)
    found = splits.runoff_folds
    assert (found is None) if folds is None else (set(found) == set(range(folds)))


def test_tables_say_which_of_their_rows_belong_together(table):
    splits = load(table, group="who", drop=[])
    for part in (splits.train, splits.valid, splits.test):
        people = [rows()[i]["who"] for i in part.ids]
        same = part.together[:, None] == part.together
        assert np.array_equal(same, np.array([[one == other for other in people] for one in people]))
    by_picture = load(table).train
    shown = by_picture.columns["picture"].index
    assert np.array_equal(by_picture.together[:, None] == by_picture.together, shown[:, None] == shown)


def test_rows_of_a_few_categories_repeat_and_are_drawn_one_by_one(tmp_path, caplog):
    lines = [f"{['red', 'green', 'blue'][row % 3]},{row % 4},{row % 5 % 2}" for row in range(400)]
    (tmp_path / "t.csv").write_text("\n".join(["colour,size,y", *lines]) + "\n")
    with caplog.at_level(logging.WARNING):
        splits = TableSource(train=str(tmp_path / "t.csv"), target="y", folds=1).load(0, tmp_path)
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [289, 51, 60]
    assert not caplog.messages  # nobody is told of copies
    who = [f"{line},p{row // 40}" for row, line in enumerate(lines)]
    (tmp_path / "t.csv").write_text("\n".join(["colour,size,y,who", *who]) + "\n")
    grouped = TableSource(train=str(tmp_path / "t.csv"), target="y", group="who", folds=1).load(0, tmp_path)
    assert {len(part) % 40 for part in (grouped.train, grouped.valid, grouped.test)} == {0}


def numbers_of(cells, path, *, repeated=1):
    """A CSV of numbers, every row of which comes so many times; returns a source of it."""
    names = ",".join([*(f"c{at}" for at in range(cells.shape[1])), "y"])
    lines = [",".join([*map(str, cells[row].tolist()), "no" if row % 3 else "yes"]) for row in range(len(cells))]
    path.write_text("\n".join([names, *lines * repeated]) + "\n")
    return TableSource(train=str(path), target="y", folds=1)


def rows_of(table):
    return {tuple(table.row(at).values()) for at in range(len(table))}


@pytest.mark.parametrize(("columns", "repeated"), [(6, 4), (1, 4), (2, 2)])
def test_measurements_that_repeat_are_copies_however_many_they_are(columns, repeated, tmp_path):
    cells = np.random.default_rng(0).normal(size=(200, columns))
    splits = numbers_of(cells, tmp_path / "t.csv", repeated=repeated).load(0, tmp_path)
    parts = [rows_of(part) for part in (splits.train, splits.valid, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 200
    assert sum(map(len, (splits.train, splits.valid, splits.test))) == 200 * repeated


def test_ratings_repeat_and_are_drawn_one_by_one(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    cells = np.random.default_rng(0).integers(1, 6, (600, 3))
    splits = numbers_of(cells, tmp_path / "t.csv").load(0, tmp_path)
    assert splits.train.together is splits.valid.together is splits.test.together is None
    assert rows_of(splits.train) & rows_of(splits.test)
    assert "rows alike in all inputs are no copies" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    few = numbers_of(cells[:200], tmp_path / "t.csv").load(0, tmp_path)  # of 125 there could be
    assert not rows_of(few.train) & rows_of(few.test)


def test_the_whole_training_table_says_what_copies_are(tmp_path, caplog):
    """What is left of it when rows are drawn, and shorter files, could not."""
    cells = np.array([[row % 3, row % 4] for row in range(26)])
    source = numbers_of(cells, tmp_path / "t.csv")
    assert source.load(0, tmp_path).train.together is None
    numbers_of(cells[:9], tmp_path / "v.csv")
    given = TableSource(train=str(tmp_path / "t.csv"), valid=str(tmp_path / "v.csv"), target="y", test_fraction=0)
    splits = given.load(0, tmp_path)
    assert splits.train.together is splits.valid.together is None
    assert not caplog.messages
