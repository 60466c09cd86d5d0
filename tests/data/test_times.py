"""Columns that say when a row was, and the splits they make."""

import json
import logging
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from automm.data.sources.table import TableSource
from automm.errors import DataError
from automm.runtime.quantities import reader

DAY = datetime(2020, 2, 27)
SORTED = {
    "numbers": [-1.5, 0, 7, 2**40],
    "numbers as text": ["9", "10", "1e3"],
    "days": [date(1969, 12, 31), date(1970, 1, 1), date(2020, 2, 29)],
    "timestamps": [DAY, DAY + timedelta(microseconds=1), DAY + timedelta(days=300)],
    "zones": [datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2020, 1, 1, 0, tzinfo=UTC)],
    "ISO dates": ["1999-12-31", "2020-01", "2020-01-02", "2020-01-02T03:04", "2020-01-02 03:04:05.000001"],
    "ISO dates with zones": ["2020-01-01T01:00:00+02:00", "2020-01-01T00:00:00Z"],
    "days written as numbers": ["20191231", "20200101"],
    "days of other orders": ["31.1.2020", "1.2.2020", "12.10.2021"],
}


@pytest.mark.parametrize("case", SORTED)
def test_cells_of_every_kind_sort(case):
    read = reader(SORTED[case])
    assert (np.diff([read(cell) for cell in SORTED[case]]) > 0).all()


def rows(n=40):
    """In no order; the time of row i is day 7 * i modulo n."""
    return [{"title": f"thing number {i}", "when": DAY + timedelta(days=7 * i % n), "y": i % 2} for i in range(n)]


def write(path, table):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    elif path.suffix == ".csv":  # read as timestamps
        path.write_text("\n".join(["title,when,y", *(",".join(map(str, row.values())) for row in table)]) + "\n")
    else:
        path.write_text("\n".join(json.dumps(row, default=str) for row in table) + "\n")
    return path


def load(path, **options):
    return TableSource(train=str(path), **{"target": "y", "time": "when", **options}).load(0, path.parent)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_validation_and_test_are_the_latest_rows(tmp_path, kind, caplog):
    table = rows()
    with caplog.at_level(logging.INFO):
        splits = load(write(tmp_path / f"t.{kind}", table))
    parts = [splits.train, splits.valid, splits.test]
    times = [[table[i]["when"] for i in part.ids] for part in parts]
    assert [len(part) for part in parts] == [29, 5, 6]
    assert max(times[0]) < min(times[1])
    assert max(times[1]) < min(times[2])
    assert [f.name for f in splits.train.schema.inputs] == ["title"]
    assert "test: the 6 latest rows by 'when', 15.0 % of them" in caplog.text


def test_the_time_is_an_input_where_columns_say_so(tmp_path):
    table = [{**row, "when": n} for n, row in enumerate(rows())]
    splits = load(write(tmp_path / "t.jsonl", table), columns={"when": "numeric"})
    assert [f.name for f in splits.train.schema.inputs] == ["title", "when"]
    assert splits.test.ids == list(range(34, 40))


def test_a_row_without_a_time_cannot_be_used(tmp_path, caplog):
    table = rows()
    table[3]["when"], table[7]["when"] = None, "soon"
    path = write(tmp_path / "t.jsonl", table)
    with pytest.raises(DataError, match=r"row 4: it has no time, column 'when'\. Next: mend it"):
        load(path)
    with caplog.at_level(logging.WARNING):
        splits = load(path, on_error="skip")
    assert "skipped 2 of 40" in caplog.text
    assert not {3, 7} & {*splits.train.ids, *splits.valid.ids, *splits.test.ids}
    table[3]["when"] = DAY
    with pytest.raises(DataError, match=r"row 8: column 'when': 'soon' is no date, .*Next: mend it"):
        load(write(path, table))


def test_tables_that_are_given_need_no_time(tmp_path):
    given = [{"title": f"another thing {i}", "y": i % 2} for i in range(4)]
    (tmp_path / "w.jsonl").write_text("\n".join(map(json.dumps, given)) + "\n")
    splits = load(write(tmp_path / "t.jsonl", rows()), test=str(tmp_path / "w.jsonl"))
    assert [len(t) for t in (splits.train, splits.valid, splits.test)] == [34, 6, 4]


def test_a_part_far_from_its_share_is_a_warning(tmp_path, caplog):
    table = [{**row, "when": n // 14} for n, row in enumerate(rows())]
    with caplog.at_level(logging.WARNING):
        splits = load(write(tmp_path / "t.jsonl", table), valid_fraction=0.5)
    assert [len(t) for t in (splits.train, splits.valid, splits.test)] == [14, 14, 12]
    assert "test: the 12 latest rows by 'when', 30.0 % of them" not in caplog.text  # twice its share, no more
    with caplog.at_level(logging.WARNING):
        load(write(tmp_path / "t.jsonl", table), test_fraction=0.1, valid_fraction=0.5)
    assert "test: the 12 latest rows by 'when', 30.0 % of them" in caplog.text


def test_groups_and_images_on_both_sides_of_every_time_are_refused(tmp_path):
    table = [{**row, "who": i % 4} for i, row in enumerate(rows())]
    path = write(tmp_path / "t.jsonl", table)
    with pytest.raises(DataError, match="40 rows cannot be split by time: there are 40 different times, and rows that"):
        load(path, group="who")
    assert load(path, drop=["who"]).test.ids
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="cannot be split by time"):
        load(write(path, [{**row, "picture": "a.png"} for row in rows()]))


def test_groups_within_their_time_stay_on_one_side(tmp_path):
    table = [{**row, "who": n // 3, "when": n} for n, row in enumerate(rows())]
    splits = load(write(tmp_path / "t.jsonl", table), group="who")
    people = [{table[i]["who"] for i in part.ids} for part in (splits.train, splits.valid, splits.test)]
    assert people == [set(range(9)), {9, 10}, {11, 12, 13}]
    assert max(splits.train.ids) < min(splits.valid.ids)
    assert max(splits.valid.ids) < min(splits.test.ids)


def test_an_unknown_time_column_is_named(tmp_path):
    with pytest.raises(DataError, match=r"data.time=wenn: .* has no such column. Did you mean 'when'"):
        load(write(tmp_path / "t.jsonl", rows()), time="wenn")
