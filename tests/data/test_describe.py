"""What is told of a table, and what is found in it that looks like a leak."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from automm.data.describe import Asked, describe
from automm.data.places import need_table
from automm.errors import DataError, OutOfRange, UnknownKey

ROWS = 60
COLOURS = ["red", "green", "blue"]


def png(number):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (number % 256, number // 256, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def plain(first=0, rows=ROWS):
    """Rows in which nothing is wrong: the target hangs on nothing."""
    return [
        {
            "picture": f"img/{i}.png",
            "title": f"a thing, number {i}",
            "weight": (7 * i) % 31 / 4,
            "y": COLOURS[(i * i // 3 + i // 7) % 3],
            "who": f"person {i // 2}",
        }
        for i in range(first, first + rows)
    ]


@pytest.fixture
def write(tmp_path):
    def write(name, table):
        (tmp_path / "img").mkdir(exist_ok=True)
        for row in table:
            name_of_file = row.get("picture", "")
            if name_of_file.startswith("img/") and not (tmp_path / name_of_file).exists():
                (tmp_path / name_of_file).write_bytes(png(int(name_of_file[4:-4])))
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in table))
        return tmp_path / name

    return write


def found(paths, target="y", group=None, **asked):
    paths = paths if isinstance(paths, dict) else {"train": paths}
    places = {split: need_table(str(path), split) for split, path in paths.items()}
    return describe(places, Asked(target, group, **asked), memo=paths["train"].parent / "cache")


def by_kind(description):
    return {finding.kind: finding for finding in description.findings}


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


def test_rows_that_differ_in_case_and_spaces_alone_are_in_two_files(write):
    test = plain(100, 20)
    test[4] = {**plain()[9], "picture": "img/104.png"}
    test[4]["title"] = "A  Thing  number 9!"
    files = {"train": write("t.jsonl", plain()), "test": write("w.jsonl", test)}
    (files["train"].parent / "img/104.png").write_bytes(png(9))
    finding = by_kind(found(files))["shared rows"]
    assert finding.count == 1
    assert "1 of 20 rows of test are in train too" in finding.sentence
    assert "(row 5)" in finding.sentence


def test_a_picture_under_another_name_is_in_two_files(write):
    files = {"train": write("t.jsonl", plain()), "test": write("w.jsonl", plain(100, 20))}
    (files["train"].parent / "img/107.png").write_bytes(png(3))
    finding = by_kind(found(files))["shared cells"]
    assert "1 picture(s) of 'picture' in test (row 8) is in train too" in finding.sentence


def test_a_group_on_both_sides(write):
    files = {"train": write("t.jsonl", plain()), "valid": write("v.jsonl", plain(ROWS - 1, 20))}
    assert "1 values of 'who' have rows in train and in valid, such as person 29" in (
        by_kind(found(files, group="who"))["shared groups"].sentence
    )


def test_copies_that_a_drawn_split_would_not_see(write):
    table = plain()
    table.append({**table[3], "title": table[3]["title"].upper(), "picture": "img/200.png"})
    path = write("t.jsonl", table)
    (path.parent / "img/200.png").write_bytes(png(3))
    copies = [f.sentence for f in found(path).findings if f.kind == "disguised copies"]
    assert len(copies) == 2
    assert "1 picture(s) of 'picture' stand under several names (row 4, 61)" in copies[0]
    assert "1 set(s) of rows are alike" in copies[1]
    assert not found(path, group="who").findings  # one person's rows stay together


FILMS = ["drama", "comedy", "crime", "war", "music"]


def films(rows=120, separator=None):
    """Rows whose target lists labels; in which nothing is wrong."""
    table = plain(rows=rows)
    for at, row in enumerate(table):
        labels = [label for k, label in enumerate(FILMS) if (at * (2 * k + 3) + at * at // (k + 2)) % 7 < 2]
        row["genres"] = labels if separator is None else f" {separator} ".join(labels or FILMS[:1])
        row["title"] = f"film {at}"
    return table


@pytest.mark.parametrize("separator", [None, ",", "|"])
def test_a_target_that_lists_labels_is_treated_as_such(separator, write):
    table = films(separator=separator)
    shown = found(write("t.jsonl", table), "genres")
    assert shown.target.task == "multilabel"
    assert sorted(label for label, _ in shown.target.counts) == sorted(FILMS)
    assert (f"task.separator='{separator}'" in shown.target.reason) == (separator is not None)
    assert shown.findings == ()


@pytest.mark.parametrize("separator", [None, ";"])
def test_columns_that_give_labels_away(separator, write):
    table = films(separator=separator)
    for at, row in enumerate(table):
        labels = [label.strip() for label in row["genres"].split(separator)] if separator else row["genres"]
        row |= {"war_score": 10 * ("war" in labels) + at % 9, "said": f"film {at} on {' and '.join(labels)}"}
    shown = found(write("t.jsonl", table), "genres")
    findings = [f.sentence for f in shown.findings if f.kind == "gives the target away"]
    assert [f.partition(":")[0] for f in findings] == [
        "'war_score' alone predicts on rows left out which of them have 1 label(s) of the target (war)",
        "'said' alone predicts the target, for its text holds the name of the class in 100 % of the rows",
    ]


def test_labels_of_other_files_and_rows_that_contradict_each_other(write):
    table = films(separator=";")
    several = next(row for row in table[5:] if ";" in row["genres"])
    table.append({**several, "genres": "; ".join(reversed(several["genres"].split(" ; ")))})
    table.append({**table[4], "genres": "war" if table[4]["genres"] != "war" else "music"})
    test = films(130, separator=";")[125:]
    test[1]["genres"] = "war;western;silent"
    shown = by_kind(found({"train": write("t.jsonl", table), "test": write("w.jsonl", test)}, "genres"))
    assert shown["unseen classes"].count == 1
    assert "(silent, western)" in shown["unseen classes"].sentence
    assert "(row 5, 122)" in shown["contradictions"].sentence, "the order of labels does not matter"


def test_classes_with_commas_in_their_names_are_classes(write):
    table = plain()
    for at, row in enumerate(table):
        row["y"] = ["Food, Drink", "Travel", "Objects, Tools"][at % 3]
    assert found(write("t.jsonl", table)).target.task == "classification"


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


def test_the_own_splits_of_a_data_set_are_compared(tmp_path):
    import datasets

    def table(first, rows):
        features = datasets.Features({"picture": datasets.Image(), "y": datasets.ClassLabel(names=COLOURS)})
        cells = {
            "picture": [{"bytes": scene(first + i), "path": None} for i in range(rows)],
            "y": [i % 3 for i in range(rows)],
        }
        return datasets.Dataset.from_dict(cells, features=features)

    splits = {"test": table(38, 6), "validation": table(60, 5), "train": table(0, 40)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    shown = found(tmp_path / "saved")
    assert shown.rows == {"train": 40, "valid": 5, "test": 6}
    assert list(shown.rows) == ["train", "valid", "test"]
    assert [f.sentence.partition(" are ")[0] for f in shown.findings] == ["2 of 6 rows of test"]
    table(200, 7).save_to_disk(tmp_path / "other")
    shown = found({"train": tmp_path / "saved", "test": tmp_path / "other"})
    assert shown.rows == {"train": 40, "valid": 5, "test": 7}
    assert shown.files["test"].endswith("other")
    assert shown.findings == ()


def test_rows_that_contradict_each_other(write):
    table = plain()
    table.append({**table[3], "y": "another"})
    assert "2 of 61 rows are alike in all inputs to a row of another class (row 4, 61)" in (
        by_kind(found(write("t.jsonl", table)))["contradictions"].sentence
    )


def test_rows_of_a_few_categories_are_no_copies_and_do_not_contradict_each_other(write):
    table = [{"colour": COLOURS[at % 3], "size": at % 4, "y": "abc"[at * at // 3 % 3]} for at in range(200)]
    files = {"train": write("t.jsonl", table), "test": write("w.jsonl", table[:50])}
    for shown in (found(files), found(files["train"])):
        assert not shown.findings
        assert shown.remarks[0].startswith("rows alike in all inputs are not told of")
    measured = [{**row, "size": at % 40 / 7} for at, row in enumerate(table)]
    files = {"train": write("t.jsonl", measured), "test": write("w.jsonl", measured[:50])}
    kinds = by_kind(found(files))
    assert kinds["shared rows"].count == 50
    assert "contradictions" in kinds
    assert not found(files, None).remarks


def test_classes_that_the_training_table_lacks(write):
    test = plain(100, 20)
    test[3]["y"] = test[4]["y"] = "violet"
    files = {"train": write("t.jsonl", plain()), "test": write("w.jsonl", test)}
    assert "2 of 20 rows of test have a class that no row of train has (violet)" in (
        by_kind(found(files))["unseen classes"].sentence
    )


GIVEAWAYS = {
    "a category that stands for the class": lambda row, at: {"hint": f"group {COLOURS.index(row['y'])}"},
    "a number that does": lambda row, at: {"hint": COLOURS.index(row["y"]) + (7 * at % 10) / 20},
    "a date that does": lambda row, at: {"hint": f"20{10 + COLOURS.index(row['y'])}-01-{1 + at % 28:02d}"},
    "a text that says its name": lambda row, at: {"hint": f"no. {at}: this is {row['y'].upper()}, says everybody"},
}


@pytest.mark.parametrize("case", GIVEAWAYS)
def test_a_column_that_gives_the_class_away(case, write):
    table = [{**row, **GIVEAWAYS[case](row, at)} for at, row in enumerate(plain(rows=120))]
    findings = [f for f in found(write("t.jsonl", table)).findings if f.kind == "gives the target away"]
    assert len(findings) == 1
    assert findings[0].sentence.startswith("'hint' alone predicts the target")
    assert "data.drop=[hint]" in findings[0].sentence


def test_a_column_that_gives_a_number_away(write):
    table = plain(rows=400)
    for at, row in enumerate(table):
        row["price"] = (37 * at) % 400 / 3
        row |= {"in_cents": f"{100 * row['price']:.0f} ct", "noisy": row["price"] + (91 * at) % 50}
    findings = found(write("t.jsonl", table), "price").findings
    assert [f.sentence.partition(" ")[0] for f in findings] == ["'in_cents'"]


def test_a_good_predictor_is_no_giveaway(write):
    table = [{**row, "hint": COLOURS.index(row["y"]) if at % 10 else 5} for at, row in enumerate(plain(rows=200))]
    assert found(write("t.jsonl", table)).findings == ()


def test_rows_of_one_group_are_not_looked_up_from_each_other(write):
    """A name that always stands with one class tells nothing of other names."""
    table = plain(rows=240)
    for at, row in enumerate(table):
        row |= {"name": f"name no {at // 6}", "y": COLOURS[(at // 6) ** 2 % 7 % 3], "weight": at % 6}
    path = write("t.jsonl", table)
    assert [f.kind for f in found(path).findings] == ["gives the target away"]
    assert found(path, group="name").findings == ()


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


def scene(number, **options):
    """A picture with something in it."""
    rng = np.random.default_rng(number)
    buffer = io.BytesIO()
    picture = Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8)).resize((80, 60), Image.Resampling.BICUBIC)
    picture.resize(options.pop("size", picture.size)).save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


SENTENCE = "whoever reads this far into number {} will hardly be surprised by what {} has to say"


@pytest.fixture
def written(write, tmp_path):
    """Two tables of pictures and sentences; a picture and a sentence of the test are copies of two of the training."""

    def table(name, first, rows):
        table = plain(first, rows)
        for row in table:
            at = int(row["picture"][4:-4])
            row["title"] = " ".join(f"{word}{at * 31 % (k + 7)}" for k, word in enumerate(SENTENCE.split()))
        path = write(name, table)
        for row in table:
            (tmp_path / row["picture"]).write_bytes(scene(int(row["picture"][4:-4])))
        return path, table

    train, rows = table("t.jsonl", 0, ROWS)
    test, others = table("w.jsonl", 100, 20)
    others[7]["picture"] = "img/copy.jpg"
    others[9]["title"] = rows[5]["title"].replace("surprised", "Astonished, ", 1)
    (tmp_path / "img/copy.jpg").write_bytes(scene(3, size=(50, 40), format="JPEG", quality=85))
    write("w.jsonl", others)
    return {"train": train, "test": test}


def test_a_picture_that_was_resized_and_a_sentence_with_another_word_are_in_two_files(written):
    picture, sentence = [f for f in found(written, group="who").findings if f.kind == "near-duplicates"]
    assert picture.count == sentence.count == 1
    assert "1 picture(s) of 'picture' look like another" in picture.sentence
    (example,) = picture.examples
    assert (example.one.split, example.one.row, example.one.shows) == ("test", 8, "img/copy.jpg")
    assert (example.other.split, example.other.row, example.other.shows) == ("train", 4, "img/3.png")
    (example,) = sentence.examples
    assert (example.one.split, example.one.row, example.other.split, example.other.row) == ("test", 10, "train", 6)
    assert "Astonished" in example.one.shows


def test_what_is_in_the_other_file_as_it_stands_is_no_near_duplicate_too(written):
    """Row 12 of the test is a picture of the training, which has one that looks the same."""
    folder = written["train"].parent
    for name in ("2", "111"):
        (folder / f"img/{name}.png").write_bytes(scene(3, size=(70, 50)))
    (finding,) = [f for f in found(written, group="who").findings if f.kind == "near-duplicates" and "image" in str(f)]
    assert [example.one.row for example in finding.examples] == [8]


def test_near_duplicates_that_a_drawn_split_would_not_see(written):
    train = written["train"]
    rows = [json.loads(line) for line in (*train.read_text().splitlines(), *written["test"].read_text().splitlines())]
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [(e.one.row, e.other.row) for f in found(train).findings for e in f.examples]
    assert pairs == [(4, 68), (6, 70)]
    rows[67]["who"], rows[69]["who"] = rows[3]["who"], rows[5]["who"]
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert found(train, group="who").findings == ()


def test_pictures_in_a_parquet_table_are_compared_too(tmp_path):
    for name, pictures in {"t": [scene(at) for at in range(9)], "w": [scene(50), scene(4, format="JPEG")]}.items():
        pq.write_table(pa.Table.from_pylist([{"picture": p, "y": "a"} for p in pictures]), tmp_path / f"{name}.parquet")
    (finding,) = found({"train": tmp_path / "t.parquet", "test": tmp_path / "w.parquet"}).findings
    assert [(e.one.row, e.other.row, e.one.shows) for e in finding.examples] == [(2, 5, "")]


def test_a_picture_that_is_cut_short_is_no_picture(written):
    path = written["train"].parent / "img/7.png"
    path.write_bytes(path.read_bytes()[:-200])
    (note,) = found(written["train"]).columns[0].notes
    assert note.startswith(f"1 of {ROWS} cannot be used; the first: ")


def test_a_clip_under_another_name_is_in_two_files(write, tmp_path):
    from test_near import clip

    (tmp_path / "wav").mkdir()
    tables = {"t.jsonl": plain(), "w.jsonl": plain(100, 20)}
    for name, table in tables.items():
        for row in table:
            at = int(row.pop("picture")[4:-4])
            row["sound"] = f"wav/{at}.wav"
            (tmp_path / row["sound"]).write_bytes(clip(200 + at, 0.05 + at / 8000))
        write(name, table)
    (tmp_path / "wav/104.wav").write_bytes((tmp_path / "wav/9.wav").read_bytes())
    shown = found({"train": tmp_path / "t.jsonl", "test": tmp_path / "w.jsonl"})
    assert "1 clip(s) of 'sound' in test (row 5) is in train too" in by_kind(shown)["shared cells"].sentence
    assert {c.name: c.shows for c in shown.columns}["sound"] == "0.05 s to 0.0574 s"


def test_what_was_not_compared_is_said(written, monkeypatch):
    monkeypatch.setattr("automm.data.near_texts._TEXTS", 30)
    (remark,) = found(written, group="who").remarks
    assert remark.startswith("title: a sample was searched")
    assert "50 were left out" in remark
