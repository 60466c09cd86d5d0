"""docs/robustness.md promises nothing that no test proves."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ASKED_FOR = (
    "missing, cut short", "empty text", "NaN target", "only validation or test rows", "constant target", "one row",
    "one column name twice", "Latin-1", "20,000 x 20,000", "absolute path", "formula", "10,000 classes",
)  # fmt: skip


def rows():
    """The cells of every row of the table."""
    lines = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("| ")]
    return table[1:]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_row_names_tests_that_exist(row):
    _, decision, proof = row
    assert decision
    named = NAMED.findall(proof)
    assert named
    assert NAMED.sub("", proof).strip() == ""
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file} has no {test}"


def test_every_bad_input_we_were_asked_about_is_in_the_table():
    inputs = [row[0] for row in rows()]
    for asked in ASKED_FOR:
        assert sum(asked in cell for cell in inputs) == 1, asked
