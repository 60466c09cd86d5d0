"""What is told of a table: its columns, its target, and input that is no good."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables_to_describe import COLOURS, ROWS, by_kind, found, plain, png, scene

from automm.errors import DataError, OutOfRange, UnknownKey


def test_every_column_says_what_it_is_read_as_and_why(write):
    table = plain()
    for at in (1, 2, 3):
        table[at]["title"] = None
    for at, row in enumerate(table):
        row |= {"code": f"X-{at}", "when": f"2024-01-{at % 28 + 1:02d}", "nothing": None, "same": "one"}
    shown = {column.name: column for column in found(write("t.jsonl", table), group="who").columns}
    assert {name: (c.modality, c.role) for name, c in shown.items()} == {
        "picture": ("image", "input"),
        "title": ("text", "input"),
        "weight": ("numeric", "input"),
        "y": ("categorical", "target"),
        "who": ("categorical", "group"),
        "code": ("text", "id"),
        "when": ("numeric", "input"),
        "nothing": ("", "unusable"),
        "same": ("categorical", "input"),
    }
    assert all(column.reason for column in shown.values())
    assert shown["title"].missing == 3 / ROWS
    assert shown["title"].distinct == ROWS - 3
    assert shown["weight"].shows.startswith("0.0 to 7.5, median ")
    assert shown["when"].shows.startswith("2024-01-01 to 2024-01-28, median 2024-01-")
    assert shown["picture"].shows == "6 x 5"
    assert shown["y"].shows.count("'") == 6
    assert "is empty" in shown["nothing"].reason
    assert shown["same"].notes == ("the same in every row that has it: it tells nothing",)


def test_a_sound_table_raises_no_suspicion(write):
    files = {"train": write("t.jsonl", plain()), "valid": write("v.jsonl", plain(100, 20)),
             "test": write("w.jsonl", plain(200, 20))}  # fmt: skip
    assert found(files, group="who").findings == ()
    assert found(files["train"]).findings == ()


def test_the_balance_of_classes(write):
    table = plain()
    for at, row in enumerate(table):
        row["y"] = COLOURS[at % 2]
    table[7]["y"], table[8]["y"] = "rare", None
    target = found(write("t.jsonl", table)).target
    assert (target.task, target.missing) == ("classification", 1)
    assert target.counts == (("green", 29), ("red", 29), ("rare", 1))


def test_the_commonest_values_of_columns_that_are_no_target(write):
    table = plain()
    for at, row in enumerate(table):
        row |= {"kind": f"{'k' * 40}{at % 7}", "yes": at % 3 == 0, "size": at % 2 + 1.0, "many": at % 21}
    table[0]["kind"] = table[1]["size"] = None
    columns = {column.name: column for column in found(write("t.jsonl", table), None).columns}
    assert columns["yes"].commonest == (("False", 40), ("True", 20))
    assert columns["size"].commonest == (("1", 30), ("2", 29))
    assert [count for _, count in columns["kind"].commonest] == [9, 9, 9, 8, 8], "told apart by all of their letters"
    assert all(len(value) == 32 for value, _ in columns["kind"].commonest)
    assert columns["y"].commonest == tuple(found(write("t.jsonl", table)).target.counts)
    for name in ("many", "title", "picture", "weight"):
        assert columns[name].commonest == ()
    grouped = {column.name: column for column in found(write("t.jsonl", table), None, group="kind").columns}
    assert grouped["kind"].commonest == (), "whose rows belong together is no value of theirs"


def test_the_spread_of_numbers_and_the_counts_of_labels(write):
    table = plain()
    for at, row in enumerate(table):
        row |= {"price": at / 2, "tags": ["a", "b"][: at % 3]}
    path = write("t.jsonl", table)
    assert found(path, "price").target.quartiles == (0, 7.375, 14.75, 22.125, 29.5)
    assert found(path, "tags").target.counts == (("a", 40), ("b", 20))


def test_what_columns_are_said_to_hold_goes_before_what_they_look_like(write):
    table = plain()
    for at, row in enumerate(table):
        row |= {"code": f"X-{at}", "size": "unknown" if at == 5 else f"{at % 7} kg", "odd": [at] if at % 2 else at}
    given = {"code": "text", "y": "text", "size": "numeric", "title": "categorical", "odd": "numeric"}
    shown = {c.name: c for c in found(write("t.jsonl", table), None, columns=given, drop=["who", "weight"]).columns}
    assert {"who", "weight"} & shown.keys() == set()
    assert {name: (c.modality, c.role, c.reason) for name, c in shown.items() if name in given} == {
        name: (modality, "input", "as --columns says") for name, modality in given.items()
    }
    assert shown["size"].notes == ("1 of 60 are neither numbers nor dates as the others are; the first: 'unknown'",)
    assert shown["odd"].notes[0].startswith("30 of 60 are neither numbers")


@pytest.mark.parametrize(
    ("cell", "said"), [("1.234,5 kg", ", with points between thousands, a decimal comma"), ("1,234.5 kg", "")]
)
def test_how_numbers_are_written_is_said_of_columns_that_are_given_too(write, cell, said):
    table = [{**row, "size": "unknown" if at == 5 else cell} for at, row in enumerate(plain())]
    shown = {c.name: c for c in found(write("t.jsonl", table), columns={"size": "numeric"}).columns}
    assert shown["size"].reason == f"as --columns says{said}"


def test_a_column_that_is_dropped_is_in_no_finding(write):
    test = plain(100, 20)
    for row in test:
        row["weight"] = 0.25
        row["title"] = "A thing, NUMBER 3"
        row["picture"] = "img/3.png"
    files = {"train": write("t.jsonl", plain()), "test": write("w.jsonl", test)}
    assert "shared rows" not in by_kind(found(files, None))
    assert by_kind(found(files, None, drop=["who", "weight", "y"]))["shared rows"].count == 20
    assert found(files, drop=["y"]).target.name == "y", "as in a run"


def test_pictures_in_bytes_can_be_read_as_nothing_else(tmp_path):
    rows = [{"picture": scene(i), "y": COLOURS[i % 3]} for i in range(9)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert found(tmp_path / "t.parquet", columns={"picture": "image"}).columns[0].modality == "image"
    assert "cannot be read as text" in found(tmp_path / "t.parquet", columns={"picture": "text"}).columns[0].reason


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"drop": ["titel"]}, DataError, r"--drop titel: .* has no such column. Did you mean 'title'"),
        ({"columns": {"titel": "text"}}, UnknownKey, r"--columns titel: the table has no such input.* 'title'"),
        ({"columns": {"y": "text"}}, UnknownKey, "--columns y: the table has no such input column"),
        ({"columns": {"title": "txt"}}, OutOfRange, r"--columns title=txt is no modality. Did you mean 'text'"),
    ],
)
def test_options_that_fit_no_column(asked, error, said, write):
    with pytest.raises(error, match=said):
        found(write("t.jsonl", plain()), **asked)


def test_bad_images_are_counted_and_none_outside_is_opened(write, tmp_path):
    table = plain()
    table[3]["picture"] = "../elsewhere.png"
    table[4]["picture"] = "https://example.org/a.png"
    path = write("t.jsonl", table)
    (tmp_path / "img/7.png").write_bytes(b"\x89PNG cut")
    (note,) = found(path).columns[0].notes
    assert note.startswith(f"3 of {ROWS} cannot be used; the first: ")
    assert "leaves the folder of the table" in note


def test_formulas_are_counted_and_control_characters_shown_as_none(write):
    table = plain()
    table[3]["title"] = table[5]["title"] = "=cmd|' /C calc'!A0"
    table[6]["title"] = table[8]["title"] = table[9]["title"] = "\x1b[31mred\x07"
    column = found(write("t.jsonl", table)).columns[1]
    assert column.notes == (
        "2 cell(s) begin as a spreadsheet's formula does, such as \"=cmd|' /C calc'!A0\": kept as text",
    )
    assert column.shows.startswith("'[31mred', ")


def test_images_in_a_parquet_table_are_looked_at_and_let_go(tmp_path):
    rows = [{"picture": png(i if i < 50 else 3), "y": COLOURS[i % 3]} for i in range(ROWS)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    shown = found(tmp_path / "t.parquet")
    assert (shown.columns[0].modality, shown.columns[0].shows, shown.columns[0].distinct) == ("image", "6 x 5", 50)
    pq.write_table(pa.Table.from_pylist([{"blob": b"none", "y": "a"}] * 3), tmp_path / "t.parquet")
    assert "bytes of no image" in found(tmp_path / "t.parquet").columns[0].reason


def test_a_column_that_another_file_lacks(write):
    test = [{k: v for k, v in row.items() if k != "weight"} for row in plain(100, 20)]
    files = {"train": write("t.jsonl", plain()), "test": write("w.jsonl", test)}
    assert "test lacks 'weight'" in by_kind(found(files))["missing columns"].sentence


def test_cells_of_another_kind_in_another_file_are_no_end(write):
    test = plain(100, 20)
    test[3] |= {"weight": [1, 2], "title": {"a": 1}, "picture": 5, "who": [7]}
    path = write("w.jsonl", [{**row, "picture": str(row["picture"])} for row in test])
    path.write_text(path.read_text().replace('"picture": "5"', '"picture": 5'))
    assert found({"train": write("t.jsonl", plain()), "test": path}, group="who").findings == ()


@pytest.mark.parametrize("option", ["target", "group"])
def test_a_column_that_is_not_there(option, write):
    with pytest.raises(DataError, match=rf"--{option} titel: .*Did you mean 'title'"):
        found(write("t.jsonl", plain()), **{option: "titel"})


def test_one_row_is_described(write):
    shown = found(write("t.jsonl", plain(rows=1)))
    assert shown.rows == {"train": 1}
    assert shown.findings == ()
    assert np.isfinite([column.missing for column in shown.columns]).all()
