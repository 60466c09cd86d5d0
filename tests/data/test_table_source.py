import json
import logging
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from automm import registry
from automm.data.schema import infer
from automm.data.sources.table import TableSource
from automm.encoders.encoder import Encoder
from automm.errors import ConfigError, DataError, MissingExtra, OutOfRange, UnknownKey
from automm.runtime.wav import wav_bytes
from automm.types import PAIR

COLOURS = ["red", "green", "blue", "white"]


def rows(n=40, first=0):
    """Two rows share each picture."""
    return [
        {"picture": f"img/{first + i // 2}.png", "title": f"thing number {first + i}", "colour": COLOURS[i // 2 % 4],
         "who": f"person {first + i // 4}"}
        for i in range(n)
    ]  # fmt: skip


def pictures(folder, table):
    (folder / "img").mkdir(parents=True, exist_ok=True)
    for name in {row["picture"] for row in table if row["picture"]}:
        Image.new("RGB", (6, 5), (len(name), 0, 0)).save(folder / name)


def write_csv(path, table, delimiter=","):
    lines = [delimiter.join(table[0])] + [delimiter.join(map(str, row.values())) for row in table]
    path.write_text("\n".join(lines) + "\n")


def write_jsonl(path, table):
    path.write_text("\n".join(json.dumps(row) for row in table) + "\n\n")


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


def load(file, **options):
    asked = {"train": str(file), "target": "colour", "drop": ["who"], "folds": 1, **options}
    return TableSource(**asked).load(0, file.parent)


def failure(file, **options):
    with pytest.raises(DataError) as caught:
        load(file, **options)
    return str(caught.value)


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


def test_leakage_between_given_files_is_an_error(table, tmp_path):
    write_csv(tmp_path / "v.csv", [*rows(8, 100), rows()[3]])
    pictures(tmp_path, rows(8, 100))
    assert "train and validation sets share 1 'picture' image(s)" in failure(table, valid=str(tmp_path / "v.csv"))
    (tmp_path / "v.csv").write_text("title,colour,who\nmy very own words,red,person 3\n")
    message = failure(table, valid=str(tmp_path / "v.csv"), group="who", drop=["picture"])
    assert "share 1 value of 'who'(s), such as person 3" in message


def test_rows_alike_in_given_files_are_logged(tmp_path, caplog):
    for name, texts in (("t", 12), ("v", 3)):
        write_csv(tmp_path / f"{name}.csv", [{"title": f"words that repeat {i}", "c": i % 2} for i in range(texts)])
    source = TableSource(train=str(tmp_path / "t.csv"), target="c", valid=str(tmp_path / "v.csv"), test_fraction=0)
    with caplog.at_level(logging.WARNING):
        source.load(0, tmp_path)
    assert "share 3 rows alike" in caplog.text


def test_rows_are_alike_whatever_type_a_file_has_for_their_numbers(tmp_path, caplog):
    """Cells are floats where one of the column is; and -1 and -2 are not alike, though Python hashes them alike."""
    for name, cells in (("train", ["-1.5", "-1", "3"]), ("test", ["3", "-2", "7"])):
        rows = [f"{cell},{number % 2}" for number, cell in enumerate(cells * 8)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,y", *rows]) + "\n", encoding="utf-8")
    source = TableSource(
        train=str(tmp_path / "train.csv"),
        valid=str(tmp_path / "test.csv"),
        target="y",
        test_fraction=0,
        columns={"x": "numeric"},
    )
    with caplog.at_level("WARNING", logger="automm"):
        source.load(0, tmp_path)
    assert "the train and validation sets share 1 rows alike in all inputs" in caplog.text


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


@pytest.fixture
def an_encoder_of_audio(monkeypatch):
    """As a notebook registers one: what it computes is no business of a table's."""
    monkeypatch.setitem(
        registry._session, ("encoder", "listener"), type("Listener", (Encoder,), {"MODALITIES": ("audio",)})
    )
    registry.get.cache_clear()
    yield
    registry.get.cache_clear()


def clips(folder, table):
    (folder / "img").mkdir(parents=True, exist_ok=True)
    for name in {row["picture"] for row in table if row["picture"]}:
        (folder / name).write_bytes(wav_bytes(np.full(50, len(name), np.int16), 8000))


def spoken(n=40, first=0):
    """As `rows`, with clips for pictures."""
    return [{**row, "picture": row["picture"].replace("png", "wav")} for row in rows(n, first)]


BAD_CLIPS = {
    "missing": (lambda clip: clip.unlink(), "img/2.wav' does not exist"),
    "cut short": (lambda clip: clip.write_bytes(clip.read_bytes()[:-1]), "claims 100 bytes of samples and it holds 99"),
    "a claim of gigabytes": (
        lambda clip: clip.write_bytes(clip.read_bytes()[:40] + b"\xff" * 4),
        "claims 4,294,967,295",
    ),
    "no audio": (lambda clip: clip.write_bytes(b"words"), "img/2.wav' cannot be read"),
}


@pytest.mark.usefixtures("an_encoder_of_audio")
@pytest.mark.parametrize("check", ["decode", "header"])
@pytest.mark.parametrize("case", BAD_CLIPS)
def test_a_bad_clip_is_named_or_skipped_and_counted(tmp_path, case, check, caplog):
    break_it, problem = BAD_CLIPS[case]
    clips(tmp_path, spoken())
    break_it(tmp_path / "img/2.wav")
    write_csv(tmp_path / "t.csv", spoken())
    assert problem in failure(tmp_path / "t.csv", check_images=check)
    with caplog.at_level(logging.WARNING):
        splits = load(tmp_path / "t.csv", on_error="skip", check_images=check)
    kept = {i for t in (splits.train, splits.valid, splits.test) for i in t.ids}
    assert kept == set(range(40)) - {4, 5}
    assert "skipped 2 of 40" in caplog.text


@pytest.mark.usefixtures("an_encoder_of_audio")
def test_clips_are_fields_whose_rows_stay_together(tmp_path):
    table = spoken()
    table[7]["picture"] = ""
    clips(tmp_path, table)
    write_csv(tmp_path / "t.csv", table)
    splits = load(tmp_path / "t.csv")
    parts = (splits.train, splits.valid, splits.test)
    assert splits.train.schema["picture"].modality == "audio"
    assert {i: t.row(at)["picture"] for t in parts for at, i in enumerate(t.ids)} == {
        i: str(tmp_path / row["picture"]) if row["picture"] else None for i, row in enumerate(table)
    }
    heard = [set(t.columns["picture"].values) for t in parts]
    assert sum(map(len, heard)) == len(set.union(*heard))
    clips(tmp_path, spoken(8, 100))
    write_csv(tmp_path / "v.csv", [*spoken(8, 100), table[3]])
    assert "share 1 'picture' audio(s)" in failure(tmp_path / "t.csv", valid=str(tmp_path / "v.csv"))


@pytest.mark.usefixtures("an_encoder_of_audio")
def test_clips_that_leave_the_folder_are_not_opened_unless_allowed(tmp_path):
    table, home = spoken(), tmp_path / "home"
    clips(home, table)
    (tmp_path / "secret.wav").write_bytes((home / "img/0.wav").read_bytes())
    table[2]["picture"] = "../secret.wav"
    write_csv(home / "t.csv", table)
    assert "leaves the folder of the table" in failure(home / "t.csv")
    assert load(home / "t.csv", outside=True)


@pytest.mark.usefixtures("an_encoder_of_audio")
def test_a_format_that_needs_an_extra_is_no_broken_file(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    clips(tmp_path, spoken())
    (tmp_path / "img/2.wav").write_bytes(b"fLaC" + bytes(50))
    write_csv(tmp_path / "t.csv", spoken())
    with pytest.raises(MissingExtra, match=r"img/2\.wav is no plain WAV file.*automm\[audio\]"):
        load(tmp_path / "t.csv", on_error="skip")
