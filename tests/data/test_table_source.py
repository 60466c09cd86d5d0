import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables_of_things import COLOURS, failure, load, pictures, rows, write_csv, write_jsonl

from automm import registry
from automm.data.schema import infer
from automm.data.sources.table import TableSource
from automm.errors import DataError, OutOfRange, UnknownKey
from automm.types import PAIR

WRITERS = {
    "csv": write_csv,
    "tsv": lambda path, table: write_csv(path, table, "\t"),
    "jsonl": write_jsonl,
    "parquet": lambda path, table: pq.write_table(pa.Table.from_pylist(table), path),
}


@pytest.fixture
def table(tmp_path):
    pictures(tmp_path, rows())
    write_csv(tmp_path / "t.csv", rows())
    return tmp_path / "t.csv"


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_tables(tmp_path, kind):
    pictures(tmp_path, rows())
    path = tmp_path / f"t.{kind}"
    WRITERS[kind](path, rows())
    splits = load(path)
    assert [(f.name, f.modality, f.role) for f in splits.train.schema.fields] == [
        ("picture", "image", "input"),
        ("title", "text", "input"),
        ("colour", "categorical", "target"),
    ]
    parts = (splits.train, splits.valid, splits.test)
    assert sum(map(len, parts)) == 40
    assert sorted(i for t in parts for i in t.ids) == list(range(40))
    for part in parts:
        for at, row in enumerate(part.ids):
            assert part.row(at) == {"picture": str(tmp_path / rows()[row]["picture"]), "title": rows()[row]["title"]}
            assert part.targets[at] == rows()[row]["colour"]


def test_without_a_target_a_row_is_a_pair(table, caplog):
    others = rows(8, first=100)
    pictures(table.parent, others)
    write_csv(table.parent / "test.csv", others)
    with caplog.at_level(logging.INFO):
        splits = load(table, target=None, drop=["who", "colour"], test=str(table.parent / "test.csv"))
    assert [(f.name, f.role) for f in splits.train.schema.fields] == [("picture", "input"), ("title", "input")]
    assert {target for t in (splits.train, splits.valid, splits.test) for target in t.targets} == {PAIR}
    assert "a row is a pair, picture and title belong together" in caplog.text


def test_given_files_are_taken_as_they_are(table, tmp_path):
    for name, first in (("v", 100), ("w", 200)):
        pictures(tmp_path, rows(8, first))
        write_csv(tmp_path / f"{name}.csv", rows(8, first))
    splits = load(table, valid=str(tmp_path / "v.csv"), test=str(tmp_path / "w.csv"), id="who", drop=[])
    assert [len(t) for t in (splits.train, splits.valid, splits.test)] == [40, 8, 8]
    assert splits.test.ids[0] == "person 200"
    unlabelled = [{k: v for k, v in row.items() if k != "colour"} for row in rows(8, 200)]
    write_csv(tmp_path / "w.csv", unlabelled)
    assert load(table, test=str(tmp_path / "w.csv")).test.targets == [None] * 8
    assert "lacks the column 'colour'" in failure(table, valid=str(tmp_path / "w.csv"))


def test_one_column_may_be_dropped_by_its_name_alone(table):
    assert load(table, drop="who").train.ids == load(table).train.ids


def test_no_test_where_none_is_wanted(table):
    assert load(table, test_fraction=0).test is None


def test_missing_cells_are_missing_modalities(tmp_path):
    table = rows()
    for at in (0, 1, 5):
        table[at]["picture"] = ""
    table[2]["title"] = ""
    pictures(tmp_path, table)
    write_csv(tmp_path / "t.csv", table)
    splits = load(tmp_path / "t.csv")
    cells = {i: t.row(at) for t in (splits.train, splits.valid, splits.test) for at, i in enumerate(t.ids)}
    assert [cells[i]["picture"] for i in (0, 1, 5)] == [None] * 3
    assert cells[2]["title"] is None
    assert len(cells) == 40


@pytest.mark.parametrize(
    ("cells", "modality"),
    [
        (["a.png", "b/c.JPEG", None], "image"),
        (["a.png", "not one"], "text"),
        (["a.wav", "b/c.FLAC", "d.ogg", "e.Mp3", None], "audio"),
        (["a.wav", "b.png"], "text"),
        (["x"] * 20 + ["y"] * 20, "categorical"),
        (["is it on the left"] * 40, "text"),
        (["alpha", "beta", "gamma"], "text"),
        (["1,200 kg", "3 kg", None], "numeric"),
        (["1 kg", "3 g"], "text"),
        (["A12", "A13"], "text"),
        (["0123", "0456"], "text"),
        (["0", "0.5"], "numeric"),
        (["2020-01-02", "2020-01-03"], "numeric"),
        ([1, 2.5, None], "numeric"),
        ([True, False], "categorical"),
    ],
)
def test_modalities_are_inferred_with_a_reason(cells, modality):
    field = infer("x", cells)
    assert field.modality == modality
    assert field.reason


def test_numbers_and_categories_are_inputs(tmp_path):
    table = [{**row, "weight": i / 4, "size": f"{i} cm", "brand": i % 2} for i, row in enumerate(rows())]
    table[3]["weight"] = ""
    pictures(tmp_path, table)
    write_csv(tmp_path / "t.csv", table)
    splits = load(tmp_path / "t.csv", columns={"brand": "categorical"})
    modalities = [(f.name, f.modality) for f in splits.train.schema.inputs]
    assert modalities[2:] == [("weight", "numeric"), ("size", "numeric"), ("brand", "categorical")]
    assert "written as text, such as '0 cm'" in splits.train.schema["size"].reason
    cells = {i: t.row(at) for t in (splits.train, splits.valid, splits.test) for at, i in enumerate(t.ids)}
    assert [cells[i]["weight"] for i in (2, 3)] == [0.5, None]
    assert cells[5]["size"] == "5 cm"
    assert cells[5]["brand"] == "1"


BAD_NUMBERS = {
    "another unit": ("5 g", "'5 g' is not in the unit of the other numbers (cm)"),
    "no number": ("five", "'five' is no number"),
    "not finite": ("1e999", "'1e999' is not a finite number"),
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("case", BAD_NUMBERS)
def test_a_bad_number_is_named_by_file_row_and_column_before_anything_trains(tmp_path, split, case, caplog):
    bad, problem = BAD_NUMBERS[case]
    table = [{"title": f"thing {i}", "size": f"{i} cm", "colour": COLOURS[i % 4]} for i in range(40)]
    write_csv(tmp_path / "t.csv", table)
    broken = [{**row, "title": f"other {row['title']}"} for row in table]
    broken[3]["size"] = bad
    write_csv(tmp_path / "bad.csv", broken)
    options = {"columns": {"size": "numeric"}, "drop": [], split: str(tmp_path / "bad.csv")}
    message = failure(tmp_path / "t.csv", **options)
    assert f"{tmp_path / 'bad.csv'}, row 4: column 'size': {problem}. Next: mend it" in message
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path / "t.csv", **options, on_error="skip")
    assert "skipped 1 of 40" in caplog.text


def test_a_category_that_is_no_plain_value_names_its_column(tmp_path):
    write_jsonl(tmp_path / "t.jsonl", [{"tags": ["a"], "colour": COLOURS[i % 4]} for i in range(40)])
    message = failure(tmp_path / "t.jsonl", columns={"tags": "categorical"}, drop=[])
    assert "t.jsonl, column 'tags': a category is a plain value, not list" in message


def test_columns_without_an_encoder_are_named_with_what_to_do(table):
    if registry.encoders_of("audio"):
        pytest.skip("automm-audio is installed in this environment")
    message = failure(table, columns={"title": "audio"})
    assert "'title' is audio (as data.columns says)" in message
    assert "pip install automm-audio" in message
    assert "data.drop=[title]" in message
    assert "data.columns.title=text" in message


BAD = {
    "no target": (lambda t, _: t[3].update(colour=""), "row 4: it has no target"),
    "missing image": (lambda _, folder: (folder / "img/2.png").unlink(), "does not exist"),
    "broken image": (lambda _, folder: (folder / "img/2.png").write_bytes(b"\x89PNG cut"), "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_or_skipped_and_counted(tmp_path, caplog, case):
    break_it, problem = BAD[case]
    table = rows()
    pictures(tmp_path, table)
    break_it(table, tmp_path)
    write_csv(tmp_path / "t.csv", table)
    message = failure(tmp_path / "t.csv")
    assert str(tmp_path / "t.csv") in message
    assert problem in message
    with caplog.at_level(logging.WARNING):
        splits = load(tmp_path / "t.csv", on_error="skip")
    kept = {i for t in (splits.train, splits.valid, splits.test) for i in t.ids}
    assert kept == set(range(40)) - ({3} if case == "no target" else {4, 5})
    assert "skipped" in caplog.text
    (counted,) = splits.skipped
    assert (counted.file, counted.records, counted.skipped) == (str(tmp_path / "t.csv"), 40, 40 - len(kept))
    assert problem in counted.first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "color"}, "data.target=color: .* has no such column. Did you mean 'colour'"),
        ({"drop": ["whom"]}, "data.drop=whom: .* Did you mean 'who'"),
        ({"train": "nowhere.csv"}, "data.train=nowhere.csv should be a file"),
        ({"train": None}, "data.train is not set"),
        ({"drop": ["who", "picture", "title"]}, "no input column"),
    ],
)
def test_bad_options_are_named(table, options, message):
    with pytest.raises(DataError, match=message):
        load(table, **options)


def test_bad_modalities_are_named(table):
    with pytest.raises(UnknownKey, match=r"data.columns.titel: .*Did you mean 'title'"):
        load(table, columns={"titel": "text"})
    with pytest.raises(OutOfRange, match=r"data.columns.title=txt is no modality. Did you mean 'text'"):
        load(table, columns={"title": "txt"})
    with pytest.raises(OutOfRange, match=r"data.valid_fraction=0"):
        TableSource(valid_fraction=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as csv: .*Expected 2 columns, got 3"),
        ("t.csv", b"", "cannot be read as csv"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a,a\n1,2\n", "stand in the table twice: a"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not valid JSON: .* at column"),
        ("t.jsonl", b"[1]\n", "line 1 is list, not an object"),
        ("t.jsonl", b"\xff\n", "not UTF-8"),
        ("t.parquet", b"PAR1 or not", "cannot be read as parquet"),
        ("t.xlsx", b"", "is no table that automm reads: .csv, .tsv, .parquet, .jsonl"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / name, target="a", drop=[])
    assert str(tmp_path / name) in str(caught.value) or "twice" in message


def test_numbers_are_targets(tmp_path):
    write_jsonl(tmp_path / "t.jsonl", [{"t": f"some words {i}", "y": i / 7} for i in range(40)])
    splits = TableSource(train=str(tmp_path / "t.jsonl"), target="y").load(0, tmp_path)
    assert splits.train.schema["y"].modality == "numeric"
    assert np.isclose(sum(sum(t.targets) for t in (splits.train, splits.valid, splits.test)), sum(range(40)) / 7)


FORBIDDEN = {
    "an absolute path": "{outside}",
    "a way up": "img/../../elsewhere/secret.png",
    "a URL": "https://example.org/a.png",
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_images_that_leave_the_folder_are_not_opened_unless_allowed(tmp_path, case, caplog):
    table = rows()
    home = tmp_path / "home"
    home.mkdir()
    pictures(home, table)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.png").write_bytes((home / table[0]["picture"]).read_bytes())
    table[2]["picture"] = FORBIDDEN[case].format(outside=tmp_path / "elsewhere" / "secret.png")
    write_csv(home / "t.csv", table)
    expected = "is a URL" if case == "a URL" else "leaves the folder of the table"
    assert expected in failure(home / "t.csv")
    with caplog.at_level(logging.WARNING):
        assert load(home / "t.csv", on_error="skip")
    assert "skipped 1 of" in caplog.text
    if case != "a URL":
        assert load(home / "t.csv", outside=True)


def european(first, n=40):
    """Prices of which one alone says that points stand between thousands."""
    return [{"size": f"{first + i}.{100 + i}" + (".000" if i == 7 else ""), "colour": "ab"[i % 2]} for i in range(n)]


def test_numbers_are_read_as_the_training_table_has_them_in_every_part_and_file(tmp_path, caplog):
    write_csv(tmp_path / "t.csv", european(1))
    write_csv(tmp_path / "w.csv", european(50, 5))  # which alone would be decimals
    with caplog.at_level(logging.INFO):
        splits = load(tmp_path / "t.csv", test=str(tmp_path / "w.csv"), drop=[])
    assert "with points between thousands, a decimal comma" in caplog.text
    assert splits.test.row(0)["size"] == "50.100"
    field = splits.train.schema["size"]
    for part in (splits.train, splits.valid):  # one of them lacks the row that says so
        values = [value for value in part.columns["size"].values if value != "8.107.000"]
        preprocess = registry.get("encoder", "periodic").factory.fit_preprocess(field, values)
        np.testing.assert_array_equal(preprocess(["50.100"])["values"], preprocess([50100])["values"])


def test_a_number_that_contradicts_the_others_is_a_bad_row(tmp_path):
    table = european(1)
    table[3]["size"] = "12.5"
    write_csv(tmp_path / "t.csv", table)
    said = failure(tmp_path / "t.csv", columns={"size": "numeric"}, drop=[])
    assert "row 4: column 'size': '12.5' is no number, or not as the others are written (points between" in said
