"""Tables with clips for pictures."""

import base64
import logging
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables_of_things import failure, load, rows, write_csv, write_jsonl

from automm import registry
from automm.encoders.encoder import Encoder
from automm.errors import MissingExtra
from automm.runtime.wav import wav_bytes


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


def all_different():
    """As `spoken`, with clips that differ, for their names do in length."""
    return [{**row, "picture": f"img/{at // 2:0{at // 2 + 1}}.wav"} for at, row in enumerate(spoken())]


def in_the_table(path, table, folder):
    """The same rows with clips for their paths: as bytes, or as base64 where the format has none."""
    held = {row["picture"]: (folder / row["picture"]).read_bytes() for row in table}
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{**row, "picture": held[row["picture"]]} for row in table]), path)
        return path
    head = "data:audio/wav;base64," if path.suffix == ".jsonl" else ""  # its comma would need quotes in a CSV
    written = [{**row, "picture": head + base64.b64encode(held[row["picture"]]).decode()} for row in table]
    (write_jsonl if head else write_csv)(path, written)
    return path


@pytest.mark.usefixtures("an_encoder_of_audio")
@pytest.mark.parametrize("columns", [{}, {"picture": "audio"}])
@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_clips_may_be_in_the_table_itself(kind, columns, tmp_path):
    table = all_different()
    clips(tmp_path, table)
    splits = load(in_the_table(tmp_path / f"t.{kind}", table, tmp_path), columns=columns)
    parts = (splits.train, splits.valid, splits.test)
    assert splits.train.schema["picture"].modality == "audio"
    for part in parts:
        for at, row in enumerate(part.ids):
            assert part.row(at)["picture"] == (tmp_path / table[row]["picture"]).read_bytes()
    heard = [set(part.columns["picture"].values) for part in parts]
    assert [len(each) > 0 for each in heard] == [True] * 3
    assert sum(map(len, heard)) == len(set.union(*heard)), "a clip is on one side"


BAD_BYTES = {
    "cut short": (lambda clip: clip[:-1], "audio of 143 bytes cannot be read: its header claims"),
    "no audio": (lambda clip: b"words", "audio of 5 bytes cannot be read"),
    "empty": (lambda clip: b"", "audio of 0 bytes cannot be read"),
}


@pytest.mark.usefixtures("an_encoder_of_audio")
@pytest.mark.parametrize("check", ["decode", "header"])
@pytest.mark.parametrize("case", BAD_BYTES)
def test_a_bad_clip_in_the_table_is_named_by_its_row_or_skipped_and_counted(tmp_path, case, check, caplog):
    break_it, problem = BAD_BYTES[case]
    table = all_different()
    clips(tmp_path, table)
    clip = tmp_path / table[4]["picture"]
    clip.write_bytes(break_it(clip.read_bytes()))
    path = in_the_table(tmp_path / "t.parquet", table, tmp_path)
    said = failure(path, check_images=check)
    assert "t.parquet, row 5: " in said
    assert problem in said
    with caplog.at_level(logging.WARNING):
        splits = load(path, on_error="skip", check_images=check)
    assert {i for t in (splits.train, splits.valid, splits.test) for i in t.ids} == set(range(40)) - {4, 5}
    assert "skipped 2 of 40" in caplog.text


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
    with pytest.raises(MissingExtra, match=r"audio of 54 bytes is no plain WAV file.*automm\[audio\]"):
        load(in_the_table(tmp_path / "t.parquet", spoken(), tmp_path), on_error="skip")
