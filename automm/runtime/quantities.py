"""What the cells of a numeric column are: numbers in one unit, or dates. Its training values decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from automm.errors import DataError
from automm.runtime.dates import DatePreprocess, are_dates, moment, order_of
from automm.runtime.distinct import is_missing
from automm.runtime.number_styles import Style, style_of
from automm.runtime.numbers import NumericPreprocess, number, unit
from automm.runtime.preprocess import Preprocess

Reader = Callable[[Any], float]


def reader(values: Sequence[Any]) -> Reader:
    """What reads a cell as the number it is, or the days since 1970; DataError where it is neither as `values` are."""
    if are_dates(values):
        return partial(moment, order=order_of(values))
    style = style_of(values)
    return partial(number, affix=unit(values, style), style=style)


def read_or_nan(read: Reader, cell: Any) -> float:
    """What a cell reads as; NaN where it is missing, or what `read` refuses."""
    try:
        return float("nan") if is_missing(cell) else read(cell)
    except DataError:
        return float("nan")


def fit_quantity(values: Sequence[Any], style: Style | None = None) -> Preprocess:
    """The preprocessing of a numeric column, from its distinct training values: `values` float32 [C], C >= 2.

    `style` is that of the whole column, of which `values` may be a part; None = theirs.

    Raises:
        DataError: there are none, or one is neither a number nor a date as the others are.
    """
    return DatePreprocess.fit(values) if are_dates(values) else NumericPreprocess.fit(values, style)
