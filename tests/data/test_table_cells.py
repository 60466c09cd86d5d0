"""Cells of every kind, from the file to the table: dates, images that are no files, identifiers."""

import base64
import datetime
import io
import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from automm.data.sources.table import TableSource
from automm.data.table_files import read_cells
from automm.errors import DataError
from automm.runtime.dates import DatePreprocess
from automm.runtime.images import decode

ROWS = 40


def png(number):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (number, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def base64_of(number):
    return base64.b64encode(png(number)).decode()


def write(path, table):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, table)))
    else:
        path.write_text("\n".join([",".join(table[0]), *(",".join(map(str, row.values())) for row in table)]))
    return path


def load(path, **options):
    return TableSource(**{"train": str(path), "target": "y", **options}).load(0, path.parent)


def rows_of(splits):
    return {i: t.row(at) for t in (splits.train, splits.valid, splits.test) for at, i in enumerate(t.ids)}


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("parquet", png),
        ("csv", base64_of),
        ("jsonl", lambda number: "data:image/png;base64," + base64_of(number)),
    ],
)
def test_images_may_be_in_the_table_itself(kind, cell, tmp_path):
    table = [{"picture": cell(i // 2), "words": f"some words {i}", "y": "ab"[i % 2]} for i in range(ROWS)]
    # "data:image/png;base64,..." holds a comma, which is why a CSV has it without its head
    splits = load(write(tmp_path / f"t.{kind}", table))
    assert splits.train.schema["picture"].modality == "image"
    for at, row in rows_of(splits).items():
        assert row["picture"] == png(at // 2)
        assert np.asarray(decode(row["picture"]))[0, 0, 0] == at // 2
    shown = [set(t.columns["picture"].values) for t in (splits.train, splits.valid, splits.test)]
    assert not shown[0] & shown[1]
    assert not (shown[0] | shown[1]) & shown[2]


def test_a_damaged_image_in_a_table_is_named_or_skipped(tmp_path, caplog):
    table = [{"picture": png(i), "y": "ab"[i % 2]} for i in range(ROWS)]
    table[3]["picture"] = png(3)[:40]
    path = write(tmp_path / "t.parquet", table)
    with pytest.raises(DataError, match=r"t\.parquet, row 4: an image of 40 bytes cannot be read"):
        load(path)
    with caplog.at_level(logging.WARNING):
        assert 3 not in rows_of(load(path, on_error="skip"))
    assert "skipped 1 of 40" in caplog.text


DATES = {
    "csv": lambda day: f"2024-03-{day:02d} 10:30:00",
    "parquet": lambda day: datetime.datetime(2024, 3, day, 10, 30),
    "jsonl": lambda day: f"March {day}, 2024 10:30 am",
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_are_numeric_and_stay_readable_text(kind, tmp_path):
    table = [{"when": DATES[kind](1 + i % 28), "kind": "uvw"[i % 3], "y": "ab"[i % 2]} for i in range(ROWS)]
    if kind != "parquet":
        table[5]["when"] = ""
    splits = load(write(tmp_path / f"t.{kind}", table))
    assert splits.train.schema["when"].modality == "numeric"
    cells = {at: row["when"] for at, row in rows_of(splits).items()}
    assert cells[5] is None or kind == "parquet"
    assert json.loads(json.dumps(cells[4])) == cells[4]
    preprocess = DatePreprocess.fit([cell for cell in cells.values() if cell])
    apart = preprocess([cells[1], cells[4]])["values"][:, 0]
    assert np.ptp(apart) * preprocess.days.scale == pytest.approx(3, abs=1e-3)


def test_arrow_times_with_a_zone_are_taken_to_utc(tmp_path):
    zone = datetime.timezone(datetime.timedelta(hours=2))
    moments = pa.array([datetime.datetime(2024, 3, 1, 1, 0, tzinfo=zone)], pa.timestamp("us", "Europe/Paris"))
    days = pa.array([datetime.date(2024, 3, 1)])
    pq.write_table(pa.table({"at": moments, "day": days}), tmp_path / "t.parquet")
    assert read_cells(tmp_path / "t.parquet") == {"at": ["2024-02-29 23:00:00"], "day": ["2024-03-01"]}


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_bad_date_is_named_or_skipped(split, tmp_path, caplog):
    table = [{"when": f"{1 + i % 28}/3/2024", "words": f"thing {i}", "y": "ab"[i % 2]} for i in range(ROWS)]
    write(tmp_path / "t.csv", table)
    bad = [{**row, "words": f"other {row['words']}"} for row in table]
    bad[3]["when"] = "3/31/2024"
    options = {"columns": {"when": "numeric"}, split: str(write(tmp_path / "bad.csv", bad))}
    with pytest.raises(
        DataError, match=r"bad\.csv, row 4: column 'when': '3/31/2024' is no date, or not as the others"
    ):
        load(tmp_path / "t.csv", **options)
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path / "t.csv", **options, on_error="skip")
    assert "skipped 1 of 40" in caplog.text


def test_identifiers_are_left_out_and_said(tmp_path, caplog):
    table = [{"row": i, "code": f"X-{i:03d}", "words": f"some words {i}", "y": "ab"[i % 2]} for i in range(ROWS)]
    path = write(tmp_path / "t.csv", table)
    with caplog.at_level(logging.INFO):
        splits = load(path)
    assert [f.name for f in splits.train.schema.inputs] == ["words"]
    assert {f.name: f.role for f in splits.train.schema.fields} == {
        "row": "id", "code": "id", "words": "input", "y": "target",
    }  # fmt: skip
    assert "column 'code' is left out: 40 codes, another in every row" in caplog.text
    assert "data.columns.code=... would read it" in caplog.text
    wanted = load(path, columns={"code": "text", "row": "numeric"})
    assert [f.name for f in wanted.train.schema.inputs] == ["row", "code", "words"]


def test_parquet_bytes_are_let_go_as_they_are_read(tmp_path):
    """What `of_bytes` makes of a cell is all that is kept."""
    write(tmp_path / "t.parquet", [{"picture": png(i), "y": i} for i in range(ROWS)])
    assert read_cells(tmp_path / "t.parquet", len)["picture"] == [len(png(i)) for i in range(ROWS)]
