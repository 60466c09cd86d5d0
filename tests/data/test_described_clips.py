"""Clips are described as pictures are: in files, as bytes and as base64."""

import base64
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from automm.data.describe import Asked, describe
from automm.data.places import need_table
from automm.runtime.wav import wav_bytes

ROWS = 60


def clip(number):
    return wav_bytes(np.full(800 + 8 * number, number, np.int16), 8000)


def found(path, **others):
    places = {split: need_table(str(each), split) for split, each in {"train": path, **others}.items()}
    return describe(places, Asked("y", None), memo=path.parent / "cache")


@pytest.fixture
def write(tmp_path):
    def write(name, rows):
        for row in rows:
            if not (tmp_path / row["said"]).exists():
                (tmp_path / row["said"]).write_bytes(clip(int(row["said"][:-4])))
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    return write


def spoken(first=0, rows=ROWS):
    return [{"said": f"{i}.wav", "y": "abc"[(i * i // 3 + i // 7) % 3]} for i in range(first, first + rows)]


def test_clips_in_files(write, tmp_path):
    (tmp_path / "200.wav").write_bytes(clip(3))
    (tmp_path / "107.wav").write_bytes(clip(5))
    (tmp_path / "7.wav").write_bytes(clip(7)[:-1])
    rows = spoken()
    train = write("train.jsonl", [*rows, {**rows[3], "said": "200.wav"}])
    shown = found(train, test=write("test.jsonl", spoken(100, 20)))
    column = shown.columns[0]
    assert (column.modality, column.shows) == ("audio", "0.1 s to 0.159 s")
    assert column.notes[0].startswith("1 of 61 cannot be used; the first: audio file ")
    assert column.notes[1] == "59 different clips under 60 names"
    sentences = " ".join(finding.sentence for finding in shown.findings)
    assert "1 of 20 rows of test are in train too" in sentences
    assert "(row 8)" in sentences


def test_clips_in_a_parquet_table_and_in_base64(tmp_path, monkeypatch):
    rows = [{"said": clip(i if i < 50 else 3), "y": "abc"[i % 3]} for i in range(ROWS)]
    rows[7]["said"] = rows[7]["said"][:-1]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    (column, _) = found(tmp_path / "t.parquet").columns
    assert (column.modality, column.shows) == ("audio", "0.1 s to 0.149 s")
    assert "the bytes of a clip" in column.reason
    assert column.notes[0].startswith("1 of 60 cannot be used; the first: audio of 1755 bytes cannot be read")
    text = [{"said": base64.b64encode(row["said"]).decode(), "y": row["y"]} for row in rows]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in text))
    assert found(tmp_path / "t.jsonl").columns[0].shows == "0.1 s to 0.149 s"
    monkeypatch.setitem(sys.modules, "soundfile", None)
    pq.write_table(pa.Table.from_pylist([{"said": b"fLaC" + bytes(50), "y": "a"}] * 3), tmp_path / "t.parquet")
    assert "'soundfile', which is not installed" in found(tmp_path / "t.parquet").columns[0].reason


def test_pictures_among_clips_cannot_be_used(tmp_path):
    png = b"\x89PNG\r\n\x1a\n" + bytes(20)
    pq.write_table(pa.Table.from_pylist([{"said": clip(1), "y": "a"}, {"said": png, "y": "b"}]), tmp_path / "t.parquet")
    column = found(tmp_path / "t.parquet").columns[0]
    assert column.modality == "audio"
    assert column.notes[0] == "1 of 2 cannot be used; the first: it is no clip"
