"""What columns are taken for, and why."""

import base64
import io
import sys
import uuid

import numpy as np
import pytest
from PIL import Image

from automm.data.schema import infer, infer_columns
from automm.errors import DataError
from automm.runtime.wav import wav_bytes

N = 24


def png(colour="red"):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "cells", "why"),
    [
        ("x", list(range(100, 100 + N)), "whole numbers that run from 100 to 123"),
        ("x", list(range(N, 0, -1)), "whole numbers that run"),
        ("PassengerId", [7 * i * i for i in range(N)], "a column that is called 'PassengerId'"),
        ("customer_id", [7 * i * i for i in range(N)], "a column that is called"),
        ("Unnamed: 0", [7 * i * i for i in range(N)], "a column that is called"),
        ("x", [str(uuid.UUID(int=i)) for i in range(N)], "24 UUIDs, another in every row"),
        ("x", [f"A{i}-B" for i in range(N)], "24 codes, another in every row, such as 'A0-B'"),
        ("x", [f"{i:04d}" for i in range(N)], "24 codes"),
        ("x", [f"user{i}@example.org" for i in range(N)], "24 codes"),
    ],
)
def test_what_names_its_rows_is_no_input(name, cells, why):
    field = infer(name, cells)
    assert field.role == "id"
    assert why in field.reason


@pytest.mark.parametrize(
    ("name", "cells", "modality"),
    [
        ("x", [7 * i * i for i in range(N)], "numeric"),
        ("x", [i / 2 for i in range(N)], "numeric"),
        ("paid", [7 * i * i for i in range(N)], "numeric"),
        ("x", [*range(N - 1), 0], "numeric"),
        ("x", list(range(10)), "numeric"),
        ("x", [*range(N), None], "numeric"),
        ("x", [f"{i} cm" for i in range(N)], "numeric"),
        ("x", [f"{i}cm" for i in range(N)], "numeric"),
        ("x", [f"2020-01-{i + 1:02d}" for i in range(N)], "numeric"),
        ("x", [f"the {i}th sentence of some" for i in range(N)], "text"),
        ("x", [chr(97 + i) * 3 for i in range(N)], "text"),
        ("x", [f"A{i % 5}" for i in range(40)], "categorical"),
        ("x", [f"img/{i}.png" for i in range(N)], "image"),
        ("x", [*map(str, range(N)), "12b"], "text"),
    ],
)
def test_measurements_and_sentences_are_inputs(name, cells, modality):
    field = infer(name, cells)
    assert (field.role, field.modality) == ("input", modality)


@pytest.mark.parametrize(
    ("cells", "how"),
    [
        (["2020-01-02", "2021-03-04T10:00:00Z", None], "2 dates, such as '2020-01-02'"),
        (["31/12/2020", "1/2/2020"], "the day before the month"),
        (["12/31/2020", "1/2/2020"], "the month before the day"),
        (["1/2/2020", "3/4/2021"], "the month before the day, though no value settles that: 2020-01-31 would"),
        (["Jan 2, 2020", "3 March 2021"], "such as 'Jan 2, 2020'"),
    ],
)
def test_dates_are_numbers(cells, how):
    field = infer("when", cells)
    assert field.modality == "numeric"
    assert how in field.reason
    assert ("month" in field.reason) == ("month" in how)


def test_a_column_that_is_nearly_numbers_or_dates_says_what_keeps_it_from_that():
    numbers = infer("size", [*[f"{i % 7}" for i in range(30)], "unknown"])
    assert numbers.modality == "text"
    assert "nearly all are numbers, but not 'unknown': data.columns.size=numeric" in numbers.reason
    dates = infer("when", [*[f"2020-01-{i + 1:02d}" for i in range(30)], "soon"])
    assert "nearly all are dates, but not 'soon'" in dates.reason
    assert "not in one unit" in infer("size", ["1 kg", "3 g"]).reason


@pytest.mark.parametrize("urls", [False, True])
def test_another_link_in_every_row_names_it_and_says_how_to_read_files(urls):
    links = [f"https://shop.example/item/{i}" for i in range(N)]
    field = infer("page", links, urls=urls)
    assert field.role == "id"
    assert "24 codes, another in every row" in field.reason
    assert "; all are URLs: data.columns.page=image reads the files" in field.reason
    assert ("with data.urls=true" in field.reason) is not urls
    again = infer("page", [*links, links[0]], urls=urls)
    assert (again.role, again.modality) == ("input", "text")
    assert "too varied for categories; all are URLs: data.columns.page=image" in again.reason


def test_bytes_and_base64_are_images():
    assert infer("x", [png()[:9], png("blue"), None]).reason == "every value is bytes, such as an image of 4 x 3"
    field = infer("x", ["data:image/png;base64," + base64.b64encode(png()).decode(), " "])
    assert field.modality == "image"
    assert "written as base64" in field.reason
    with pytest.raises(DataError, match="'x' holds bytes, which is no modality"):
        infer("x", [b"no image"])


@pytest.mark.parametrize(
    ("samples", "said"), [(10_000, "a clip of 1.2 s"), (100, "a clip of 0.013 s"), (0, "a clip of 0.000 s")]
)
def test_bytes_and_base64_are_clips(samples, said):
    clip = wav_bytes(np.zeros(samples, np.int16), 8000)
    field = infer("x", [b"RIFF", None, clip])
    assert (field.modality, field.reason) == ("audio", f"every value is bytes, such as {said}")
    text = base64.b64encode(clip).decode()
    for cell in (text, f"data:audio/x-wav;base64,{text}"):
        assert infer("x", [cell, " "]).modality == "audio"
    assert "a clip written as base64, such as 'UklG" in infer("x", [text]).reason


def test_bytes_of_a_clip_that_needs_an_extra_are_a_clip(monkeypatch):
    """What to install is said when it is read, as of a file."""
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert infer("x", [b"fLaC" + bytes(50)]).reason == "every value is bytes, such as a clip that is no plain WAV"
    with pytest.raises(DataError, match="no modality"):
        infer("x", [b"\xff\xd8\xff of a damaged JPEG"])


def test_what_is_given_is_an_input_whatever_it_looks_like():
    columns = {"code": [f"A{i}" for i in range(N)], "when": [f"2020-01-{i + 1:02d}" for i in range(N)]}
    fields = infer_columns(columns, {"code": "categorical", "when": "text"})
    assert [(f.modality, f.role) for f in fields] == [("categorical", "input"), ("text", "input")]


def test_a_table_of_identifiers_alone_has_no_input():
    with pytest.raises(DataError, match=r"no input column.*code only name their rows; data\.columns\.code=text"):
        infer_columns({"code": [f"A{i}" for i in range(N)]}, {})


@pytest.mark.parametrize(
    ("cells", "how"),
    [
        (
            ["1.234,50", "12,5", None],
            "2 numbers written as text, such as '1.234,50', with points between thousands, a",
        ),
        (["1\u202f234", "12,5"], "with spaces between thousands, a decimal comma"),
        (["1'234", "12"], "with apostrophes between thousands, a decimal point"),
        (["1_234", "12"], "with underscores between thousands, a decimal point"),
        (["1,234", "12.5"], "2 numbers written as text, such as '1,234'"),
    ],
)
def test_numbers_are_numbers_however_they_are_written(cells, how):
    field = infer("size", cells)
    assert field.modality == "numeric"
    assert how in field.reason
    assert ("between" in field.reason) == ("between" in how)
    (given,) = infer_columns({"size": cells}, {"size": "numeric"})
    assert given.style == field.style
    assert ("as data.columns says, with" in given.reason) == ("between" in how)


@pytest.mark.parametrize(
    "cells",
    [
        ["1,234", "12,5"],
        [*["1,234 kg"] * 5, "12,5 kg"],
        ["1 234", "1,234"],
        ["1.234,50", "12.5"],
        ["01.234,5", "1,5"],
        [f"E{i % 40}" for i in range(60)],
        [" " * 10_000 + "many words", "7" * 10_000 + " many words"],
    ],
    ids=lambda cells: repr(cells[0].strip()[:8]),
)
def test_what_no_style_reads_is_no_column_of_numbers(cells):
    assert infer("size", cells).modality == "text"


def test_a_column_that_is_nearly_numbers_is_told_in_its_own_style():
    field = infer("size", [*[f"{i % 7 + 1}.234,5" for i in range(30)], "unknown"])
    assert "nearly all are numbers, but not 'unknown'" in field.reason
