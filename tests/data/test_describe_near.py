"""Pictures, texts and clips of one file that are nearly those of another."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables_to_describe import ROWS, by_kind, found, plain, scene

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
