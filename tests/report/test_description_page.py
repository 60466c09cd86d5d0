"""The page of `automm data describe`, parsed as a browser would."""

import pytest
from PIL import Image
from test_page import Page

from automm.data.column_facts import ColumnFacts
from automm.data.describe import Description, TargetFacts
from automm.data.leaks import Cell, Example, Finding
from automm.errors import DataError
from automm.report import description as words
from automm.report.description_page import render, write_description

COLUMNS = (
    ColumnFacts("picture", "image", "input", "names of files", 0.25, 9, "6 x 5", ("1 of 9 cannot be used",)),
    ColumnFacts("<b>bold</b>", "text", "input", "sentences", 0.0, 12, "'<script>alert(1)</script>'"),
    ColumnFacts("y", "categorical", "target", "short", 0.0, 40, "'c0'"),
)
TARGET = TargetFacts("y", "classification", "40 different values", 2, tuple((f"c{i}", 50 - i) for i in range(40)), ())
SOUND = Description({"train": "t.csv"}, {"train": 1200}, COLUMNS, None, ())
FULL = Description(
    {"train": "t.csv", "test": "w.csv"},
    {"train": 1200, "test": 20},
    COLUMNS,
    TARGET,
    (Finding("shared rows", 3, "3 of 20 rows of test are in train too"),),
)


def test_the_page_says_what_the_terminal_says():
    page = Page(render(FULL))
    for column in COLUMNS:
        for said in words.column_row(column).values():
            assert " ".join(said.split()) in page.words
    for said in (words.files(FULL), *words.notes(FULL), words.target_sentence(TARGET), FULL.findings[0].sentence):
        assert said in page.words
    assert {"findings", "columns", "target"} <= set(page.ids)
    assert page.classes.count("bar") == words.CLASSES
    assert "and 10 smaller classes with 155 rows" in page.words
    assert "1,200" in page.words


def test_nothing_comes_from_outside_and_text_is_text():
    text = render(FULL)
    assert Page(text).references == []
    assert "@import" not in text
    assert "url(" not in text
    assert "<script" not in text


def test_a_sound_table_without_a_target():
    page = Page(render(SOUND))
    assert "nothing looks like a leak" in page.words
    assert not {"target", "values"} & set(page.ids)
    hint = words.target_hint(SOUND, ["data", "describe", "my t.csv", "--valid", "v.csv"])
    assert hint.endswith(", such as: automm data describe 'my t.csv' --valid v.csv --target '<b>bold</b>'")
    assert hint in Page(render(SOUND, hint)).words
    assert words.target_hint(FULL, ["data", "describe", "t.csv"]) == ""


def test_what_is_likely_a_target_is_named_in_the_hint():
    names = ("colour", "Label", "outcome", "shape")
    columns = [ColumnFacts(n, "categorical", "input", "", 0.0, 2, "") for n in names]
    named = Description({"train": "t.csv"}, {"train": 9}, tuple(columns), None, ())
    assert words.target_hint(named, ["data"]).endswith("--target Label")
    pictures = Description({"train": "t.csv"}, {"train": 9}, COLUMNS[:1], None, ())
    assert words.target_hint(pictures, ["data"]) == ""


def test_the_balance_of_every_column_in_a_line_and_as_a_bar():
    column = ColumnFacts("kind", "categorical", "input", "short", 0.25, 7, "'a'", (), (("<a>", 60), ("b", 27)))
    shown = Description({"train": "t.csv"}, {"train": 120}, (*COLUMNS, column), None, ())
    assert list(words.value_lines(shown))[1:] == ["  kind  <a> 66.7 %, b 30.0 %, others 3.3 %"]
    text = render(shown)
    page = Page(text)
    assert "values" in page.ids
    assert "<a> 66.7 %, b 30.0 %, others 3.3 %" in page.words
    assert text.count('style="width: 66.7%;') == 1
    assert not list(words.value_lines(SOUND))


def test_the_target_of_numbers_and_of_classes_in_lines():
    first, line, *_, rest = words.target_lines(TARGET)
    assert first.startswith("target 'y' suits classification (40 different values): 40 classes, 50 rows in the largest")
    assert first.endswith("2 rows have none.")
    assert line.split() == ["c0", "50", "4.1", "%", "#" * 40]
    assert rest.strip() == "and 10 smaller classes with 155 rows"
    prices = TargetFacts("price", "regression", "numbers with fractions", 0, (), (0.5, 1, 2, 3, 1e6))
    (only,) = words.target_lines(prices)
    assert only.endswith("0.5 to 1e+06, the median is 2, half of all lie from 1 to 3.")


def test_a_page_is_written_whole_or_the_error_says_where(tmp_path):
    write_description(tmp_path / "d.html", SOUND)
    assert [path.name for path in tmp_path.iterdir()] == ["d.html"]
    with pytest.raises(DataError, match=r"the page cannot be written to .*nowhere/d\.html"):
        write_description(tmp_path / "nowhere" / "d.html", SOUND)


def test_pictures_that_look_the_same_stand_side_by_side(tmp_path):
    (tmp_path / "a & b").mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (9, 7), "red").save(tmp_path / f"a & b/{name}.png")

    def with_examples(*examples):
        finding = Finding("near-duplicates", len(examples), "2 of these", examples)
        return Description({"train": str(tmp_path / "t.csv")}, {"train": 9}, COLUMNS, None, (finding,))

    one, other = (Cell("train", at, f"a & b/{name}.png") for at, name in enumerate(("one", "two"), 1))
    page = Page(render(with_examples(Example("picture", "image", one, other))))
    assert "row 1 of train (a & b/one.png) is like row 2 of train (a & b/two.png)" in page.words
    assert [source[:22] for source in page.images] == ["data:image/png;base64,"] * 2
    held = Example("picture", "image", Cell("train", 1, ""), Cell("train", 2, ""))
    text = Example("said", "text", Cell("train", 3, "so <b>it</b> is"), Cell("train", 4, "so it was"))
    gone = Example("picture", "image", one, Cell("train", 2, "gone.png"))
    page = Page(render(with_examples(held, text, gone)))
    assert page.images == []
    assert "row 1 of train is like row 2 of train" in page.words
    assert "row 3 of train (so <b>it</b> is) is like row 4 of train (so it was)" in page.words
