"""Columns that name their rows and say nothing about them: codes, UUIDs, running numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

LEAST_ROWS = 20  # in fewer rows all values may differ by chance

_UUID = re.compile(r"\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.IGNORECASE)
_CODE = re.compile(r"(?=\D*\d)[\w.:/#@+-]+")  # one word with a digit in it
_CALLED = re.compile(r"(?:.*[\W_])?(?:id|uuid|guid|index|idx|key|row)|unnamed: \d+|", re.IGNORECASE)
_CAMEL = re.compile(r".*[a-z]I[dD]")  # customerId


def identifier(name: str, cells: Sequence[Any]) -> str:
    """Why these cells, whole numbers or texts that are neither numbers nor dates, name their rows; empty if they don't.

    None may be missing and none stand twice. Sentences and words are no codes, nor are numbers that could be measured:
    whole numbers have to run from row to row, or stand in a column that is called as identifiers are.
    """
    if len(cells) < LEAST_ROWS or len(set(cells)) < len(cells):
        return ""
    kinds = {type(cell) for cell in cells}
    if kinds == {int}:
        return _numbers(name, cells)
    if kinds != {str}:
        return ""
    what = "UUIDs" if all(map(_UUID.fullmatch, cells)) else "codes" if all(map(_CODE.fullmatch, cells)) else ""
    return f"{len(cells)} {what}, another in every row, such as {cells[0]!r:.60}" if what else ""


def _numbers(name: str, cells: Sequence[int]) -> str:
    steps = {after - before for before, after in pairwise(cells)}
    if steps in ({1}, {-1}):
        return f"whole numbers that run from {cells[0]} to {cells[-1]}, one a row"
    if _CALLED.fullmatch(name) or _CAMEL.fullmatch(name):
        return f"{len(cells)} whole numbers, another in every row of a column that is called {name!r}"
    return ""
