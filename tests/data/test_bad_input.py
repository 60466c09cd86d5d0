"""What bad input gets: docs/robustness.md points here."""

import json
import logging
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from automm.data.sources.table import TableSource
from automm.data.table_files import read_cells
from automm.errors import DataError
from automm.runtime.distinct import distinct
from automm.runtime.images import decode

FORMULAS = ["=cmd|' /C calc'!A0", "@SUM(1+1)", "+cmd|' /C calc'!A0", '=HYPERLINK("http://x")']


def lines(*rows):
    return "\n".join(rows) + "\n"


def load(path, **options):
    return TableSource(**{"train": str(path), "target": "y", **options}).load(0, path.parent)


def failure(path, **options):
    with pytest.raises(DataError) as caught:
        load(path, **options)
    return str(caught.value)


def rows_of(splits):
    return {i: t.row(at) for t in (splits.train, splits.valid, splits.test) for at, i in enumerate(t.ids)}


@pytest.mark.parametrize("blank", ["", "   ", "\t", "\u00a0"])
def test_a_blank_cell_is_missing_in_training_and_in_serving(blank, tmp_path):
    table = [{"words": f"some words {i}", "kind": "uv"[i % 2], "size": i / 4, "y": "ab"[i % 2]} for i in range(40)]
    table[5] |= {"words": blank, "kind": blank, "size": blank or None}
    (tmp_path / "t.jsonl").write_text(lines(*map(json.dumps, table)))
    splits = load(tmp_path / "t.jsonl", columns={"size": "numeric"})
    assert rows_of(splits)[5] == {"words": None, "kind": None, "size": None}
    assert not distinct([blank])[2].any()  # as a Predictor has it


def test_a_nan_target_is_no_target(tmp_path, caplog):
    targets = [i / 3 for i in range(40)]
    targets[7] = float("nan")
    pq.write_table(pa.table({"words": [f"some words {i}" for i in range(40)], "y": targets}), tmp_path / "t.parquet")
    assert "row 8: it has no target" in failure(tmp_path / "t.parquet")
    with caplog.at_level(logging.WARNING):
        assert set(rows_of(load(tmp_path / "t.parquet", on_error="skip"))) == set(range(40)) - {7}
    assert "skipped 1 of 40 records" in caplog.text


def test_one_row_cannot_be_split(tmp_path):
    (tmp_path / "t.csv").write_text(lines("words,y", "some words here,a"))
    assert "1 rows in 1 groups cannot be split" in failure(tmp_path / "t.csv")


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl"])
def test_a_column_name_that_stands_twice_is_named(kind, tmp_path):
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table([["x"], ["y"]], names=["words", "words"]), path)
    else:
        by_kind = {
            "csv": "words,words\nx,y\n",
            "tsv": "words\twords\nx\ty\n",
            "jsonl": '{"words": "x", "words": "y"}\n',
        }
        path.write_text(by_kind[kind])
    message = failure(path, target="words")
    assert str(path) in message
    assert "words" in message
    assert "twice" in message


ENCODINGS = {
    "Latin-1 alone": (lambda text: text.encode("latin-1"), r"row 1, column 'words': .* is not UTF-8 \(byte 0xfc\)"),
    "Latin-1 in UTF-8": (
        lambda text: text.encode() + "caf\u00e9 noir,b\n".encode("latin-1"),
        r"row 2, column 'words': b'caf\\xe9 noir' is not UTF-8 \(byte 0xe9\)\. Next: save the file as UTF-8",
    ),
    "Latin-1 in a name": (lambda text: b"\xfc" + text.encode(), "column names that are not UTF-8"),
    "UTF-16": (lambda text: text.encode("utf-16"), "is UTF-16 text, not UTF-8. Next: save it as UTF-8"),
}


@pytest.mark.parametrize("case", ENCODINGS)
def test_what_is_not_utf8_is_named(case, tmp_path):
    encode, message = ENCODINGS[case]
    (tmp_path / "t.csv").write_bytes(encode("words,y\n\u00fcber allem,a\n"))
    with pytest.raises(DataError, match=message):
        read_cells(tmp_path / "t.csv")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(kind, tmp_path):
    content = "words,y\nplain,a\n" if kind == "csv" else '{"words": "plain", "y": "a"}\n'
    (tmp_path / f"t.{kind}").write_bytes(content.encode("utf-8-sig"))
    assert read_cells(tmp_path / f"t.{kind}") == {"words": ["plain"], "y": ["a"]}


def bomb(side=20_000):
    """A PNG of side x side black pixels in a few kilobytes."""
    packer = zlib.compressobj(1)
    row = bytes(1 + side // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [20_000, 9_200])  # beyond Pillow's own limit, and beyond ours alone
@pytest.mark.parametrize("mode", ["decode", "header"])
def test_a_bomb_of_pixels_is_refused_by_its_header(mode, side, tmp_path, caplog):
    for i in range(20):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(bomb(side))
    assert (tmp_path / "3.png").stat().st_size < 1_000_000
    (tmp_path / "t.csv").write_text(lines("picture,y", *(f"{i}.png,{'ab'[i % 2]}" for i in range(20))))
    assert "row 4: image file" in (message := failure(tmp_path / "t.csv", check_images=mode))
    assert "3.png" in message
    assert "refused as a bomb" in message or "more than the limit of 80,000,000" in message
    with caplog.at_level(logging.WARNING):
        assert 3 not in rows_of(load(tmp_path / "t.csv", check_images=mode, on_error="skip"))
    with pytest.raises(DataError):
        decode(tmp_path / "3.png")  # as a Predictor does


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_is_kept_as_the_text_it_is(formula, tmp_path):
    table = [{"words": f"some words {i}", "y": "ab"[i % 2]} for i in range(40)]
    table[3]["words"] = formula
    quoted = [f'"{row["words"].replace(chr(34), chr(34) * 2)}",{row["y"]}' for row in table]
    (tmp_path / "t.csv").write_text(lines("words,y", *quoted))
    splits = load(tmp_path / "t.csv")
    assert splits.train.schema["words"].modality == "text"
    assert rows_of(splits)[3]["words"] == formula


def test_ten_thousand_classes_are_split_like_few(tmp_path):
    rows = [f"some words {i},class {i % 10_000}" for i in range(20_000)]
    (tmp_path / "t.csv").write_text(lines("words,y", *rows))
    splits = load(tmp_path / "t.csv")
    assert sum(map(len, (splits.train, splits.valid, splits.test))) == 20_000
    assert len(set(splits.train.targets)) > 9_000


def test_an_empty_column_is_named_with_what_to_do(tmp_path):
    (tmp_path / "t.csv").write_text(lines("words,nothing,y", *(f"some words {i},,{'ab'[i % 2]}" for i in range(40))))
    assert "column 'nothing' is empty. Next: leave it out, data.drop=[nothing]" in failure(tmp_path / "t.csv")
    assert load(tmp_path / "t.csv", drop="nothing")


def test_line_separators_within_a_text_end_no_line(tmp_path):
    text = "one\u2028two\u0085three"
    (tmp_path / "t.jsonl").write_text(
        json.dumps({"words": text, "y": "a"}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    assert read_cells(tmp_path / "t.jsonl")["words"] == [text]
    assert np.array_equal(distinct([text])[2], [True])
