"""How numbers are written as text: what stands between thousands, and what before the decimals.

"1,234" is a thousand and more where points are decimal, and little more than one where commas are. So a style is a
column's, told by all of its cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Literal, get_args

Style = Literal[",.", ".,", " .", " ,", "'.", "',", "_."]  # between thousands, before the decimals

PLAIN: Style = ",."  # what holds where no cell says otherwise

_KINDS = {" ": " \u00a0\u2009\u202f", "'": "'\u2019"}  # also spaces that are thin or do not break, and typographic ones
_THOUSANDS = {",": "commas", ".": "points", " ": "spaces", "'": "apostrophes", "_": "underscores"}
_DECIMALS = {".": "point", ",": "comma"}
_BEFORE, _AFTER = "[$€£¥₹]?", r"[^\d\s.,+-]{0,6}"
# Possessive, as long runs of spaces would else be divided in every way there is.
_LIKE = re.compile(rf"{_BEFORE}\s*+[+-]?[.,]?\d[\d\s.,'\u2019_]*+(?:[eE][+-]?\d++\s*+)?{_AFTER}")
_NOT_GROUPING = re.compile(r"(?<!\d)0,\d|\d{4},\d|,\d{4}")  # a comma that cannot stand between thousands


def style_of(values: Iterable[object]) -> Style:
    """The style in which the most of these values are numbers; `PLAIN` where there are as many in that.

    A decimal comma is believed where a value leaves no choice ("1.234,50", "1.234.567", "0,5", "1234,5"), which also
    settles a tie, or where there is no value that commas could group ("1,234"): "12,5" beside such a one may be a slip.
    """
    texts = {value.strip() for value in values if isinstance(value, str)}
    plain = _form(PLAIN)
    if all(plain.fullmatch(text) and not _NOT_GROUPING.search(text) for text in texts):
        return PLAIN
    grouped = any("," in text and plain.fullmatch(text) and not _NOT_GROUPING.search(text) for text in texts)
    best, most = PLAIN, (sum(1 for text in texts if plain.fullmatch(text)), False)
    for style in get_args(Style):
        read = [text for text in texts if _form(style).fullmatch(text)]
        settled = style[1] == "," and any(_settles(text, style) for text in read)
        if (len(read), settled) > most and (settled or style[1] == "." or not grouped):
            best, most = style, (len(read), settled)
    return best


def told(style: Style) -> str:
    """A style in words, such as "points between thousands, a decimal comma"."""
    return f"{_THOUSANDS[style[0]]} between thousands, a decimal {_DECIMALS[style[1]]}"


def parts(text: str, style: Style) -> tuple[str, str, str] | None:
    """What stands before a number, the number as Python has it, and what stands after it; None of what is no number."""
    found = _form(style).fullmatch(text.strip())
    if found is None:
        return None
    return found["before"], found["number"].translate(_as_python(style)), found["after"]


def _settles(text: str, style: Style) -> bool:
    """Whether a number in a style of decimal commas could not be one of decimal points."""
    found, group = _form(style).fullmatch(text), style[0]
    number = found["number"] if found else ""  # the space before a unit is none between thousands
    both = "," in number and any(mark in number for mark in _KINDS.get(group, group))
    return both or (group == "." and number.count(".") > 1) or _NOT_GROUPING.search(number) is not None


def like_number(text: str) -> bool:
    """Whether a text may be a number in some style: quickly told of most that are none."""
    return _LIKE.fullmatch(text.strip()) is not None


@cache
def _form(style: Style) -> re.Pattern[str]:
    group, point = f"[{_KINDS.get(style[0], style[0])}]", re.escape(style[1])
    first = r"\d{1,3}" if style == PLAIN else r"[1-9]\d{0,2}"  # 0.500 is no 500
    return re.compile(
        rf"(?P<before>{_BEFORE})\s*"
        rf"(?P<number>[+-]?(?:(?:{first}(?:{group}\d{{3}})+|\d+)(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?)"
        rf"\s*(?P<after>{_AFTER})"
    )


@cache
def _as_python(style: Style) -> dict[int, str | None]:
    return {**dict.fromkeys(map(ord, _KINDS.get(style[0], style[0]))), ord(style[1]): "."}
