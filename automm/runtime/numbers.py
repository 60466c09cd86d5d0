"""Numbers: a cell -> a standardised number and its rank among the training values, as a normal score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any, ClassVar, Self, get_args

import numpy as np

from automm.errors import ConfigError, DataError
from automm.runtime.number_styles import PLAIN, Style, parts, style_of, told
from automm.runtime.preprocess import Preprocess
from automm.types import TensorSpec

Unit = tuple[str, str]  # what stands before and after a number that is written as text

_KNOTS = 257  # of the curve from values to normal scores
_LEAST = 1e-30  # what differs less is the same
_FURTHEST = 10.0  # scales from the median; what lies further is told apart by its rank alone


class NumericPreprocess(Preprocess):
    """Two channels: (value - median) / scale, cut at 10 scales, and the normal score of the value's rank.

    The first keeps what is linear, the second what heavy tails and outliers would hide. Both are computed in float64: a
    timestamp standardised in float32 has lost its minutes.

    Args:
        median: of the training values.
        scale: half of their interquartile range over 0.6745, a deviation that outliers do not reach.
        knots: training quantiles, strictly ascending.
        normal: the normal score of each knot.
        affix: what stands before and after a number written as text, such as ("$", "") or ("", "kg"); another is
            refused.
        style: how numbers are written as text.
    """

    kind: ClassVar[str] = "numeric"

    def __init__(
        self,
        *,
        median: float,
        scale: float,
        knots: Sequence[float],
        normal: Sequence[float],
        affix: Sequence[str] = ("", ""),
        style: Style = PLAIN,
    ) -> None:
        if style not in get_args(Style):
            raise ConfigError(f"numbers are not written in a style {style!r}; known: {', '.join(get_args(Style))}.")
        self.median, self.scale = float(median), float(scale)
        self.knots, self.normal = [float(k) for k in knots], [float(n) for n in normal]
        self.affix, self.style = (affix[0], affix[1]), style

    @classmethod
    def fit(cls, values: Sequence[Any], style: Style | None = None) -> Self:
        """From distinct training values, and the style of the column they are from; None = theirs.

        Raises:
            DataError: there are none, or one is no number.
        """
        if not values:
            raise DataError("a numeric column has no value to learn from. Next: leave it out with data.drop.")
        style = style or style_of(values)
        affix = unit(values, style)
        numbers_U = np.sort(np.array([number(value, affix, style) for value in values], np.float64))
        low, median, high = np.quantile(numbers_U, (0.25, 0.5, 0.75))
        scale = max((high - low) / (2 * 0.6745) or numbers_U.std(), _LEAST)
        levels = (np.arange(_KNOTS) + 0.5) / _KNOTS
        knots, first = np.unique(np.quantile(numbers_U, levels), return_index=True)
        last = np.append(first[1:], _KNOTS) - 1
        middle = (levels[first] + levels[last]) / 2  # of the levels that share a knot
        return cls(
            median=median,
            scale=scale,
            knots=knots.tolist(),
            normal=[NormalDist().inv_cdf(p) for p in middle],
            affix=affix,
            style=style,
        )

    @property
    def signature(self) -> dict[str, TensorSpec]:
        """`values` float32 [2]: standardised, normal score."""
        return {"values": TensorSpec("float32", (2,))}

    def __call__(self, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """Numbers -> `values`, [len(values), 2]; a missing one is the median.

        Raises:
            DataError: a value is no finite number.
        """
        read = partial(number, affix=self.affix, style=self.style)
        numbers_U = np.array([self.median if v is None else read(v) for v in values], np.float64)
        linear_U = np.clip((numbers_U - self.median) / self.scale, -_FURTHEST, _FURTHEST)
        ranked_U = np.interp(numbers_U, self.knots, self.normal)
        return {"values": np.stack([linear_U, ranked_U], axis=1).astype(np.float32)}

    def save(self, folder: Path) -> dict[str, Any]:
        """Everything is in the JSON."""
        return {
            "median": self.median,
            "scale": self.scale,
            "knots": self.knots,
            "normal": self.normal,
            "affix": list(self.affix),
            "style": self.style,
        }

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        """The inverse of `save`."""
        return cls(**config)


def number(value: Any, affix: Unit = ("", ""), style: Style = PLAIN) -> float:
    """A cell as a number; text is written in `style`, and has `affix` around the number or nothing.

    Raises:
        DataError: it is no finite number, or has something else around it.
    """
    if isinstance(value, str):
        found, around = written(value, style)
        if around not in (affix, ("", "")):
            others = " ".join(affix).strip()
            raise DataError(
                f"{value!r:.60} is not in the unit of the other numbers ({others or 'none'}). "
                f"Next: convert it{f' to {others}' if others else ''}."
            )
    elif isinstance(value, (int, float, np.integer, np.floating)):
        try:
            found = float(value)
        except OverflowError:  # an integer beyond what a float holds
            found = math.inf
    else:
        raise DataError(f"a number is expected, not {type(value).__name__} ({value!r:.60}).")
    if not math.isfinite(found):
        raise DataError(f"{value!r:.60} is not a finite number. Next: leave the cell empty where it is unknown.")
    return found


def written(text: str, style: Style = PLAIN) -> tuple[float, Unit]:
    """A number written as text, such as "1,234.5 kg" or "$12", and what stands before and after it.

    Raises:
        DataError: it is none.
    """
    found = parts(text, style)
    if found is None:
        others = "" if style == PLAIN else f", or not as the others are written ({told(style)})"
        raise DataError(f"{text!r:.60} is no number{others}. Next: check the column's modality.")
    return float(found[1]), (found[0], found[2])


def unit(values: Iterable[Any], style: Style = PLAIN) -> Unit:
    """What stands before and after the first of `values` that has anything around its number."""
    for value in values:
        found = parts(value, style) if isinstance(value, str) else None
        if found is not None and (found[0] or found[2]):
            return found[0], found[2]
    return "", ""
