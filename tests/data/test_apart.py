"""What is learnt from one table must not be in another that judges it."""

import logging

import pytest
from tables_of_things import failure, pictures, rows, write_csv

from automm.data.sources.table import TableSource


@pytest.fixture
def table(tmp_path):
    pictures(tmp_path, rows())
    write_csv(tmp_path / "t.csv", rows())
    return tmp_path / "t.csv"


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
        others = [f"{len(name)}{number:03d}" for number in range(20)]
        rows = [f"{cell},{number % 2}" for number, cell in enumerate([*cells, *others])]
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
