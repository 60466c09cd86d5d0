"""Dates: a cell -> how far it lies from the training values' median, and where in its year, week and day.

Shape legend: U dates, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from automm.errors import ConfigError, DataError
from automm.runtime.numbers import NumericPreprocess
from automm.runtime.preprocess import Preprocess
from automm.types import TensorSpec

Order = Literal["dmy", "mdy"]  # what 1/2/2020 means: 1 February or 2 January
Cycle = Literal["year", "week", "day"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_THURSDAY = 3  # the weekday of that, Monday being 0
_LOOKED_AT = 1000  # values that say what a column holds
_CENTURY = 69  # two digits from here on are of 19.., as POSIX has it
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_TIME = (
    r"(?:(?:T|,?\s+)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?(?:\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}))?)?"
)
_ISO = re.compile(rf"(?P<year>\d{{4}})(?P<sep>[-/.])(?P<month>\d{{1,2}})(?P=sep)(?P<day>\d{{1,2}}){_TIME}")
_ISO_MONTH = re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})")
_DIGITS = re.compile(
    rf"(?P<one>\d{{1,2}})(?P<sep>[-/.])(?P<two>\d{{1,2}})(?P=sep)(?P<year>\d{{4}}|(?<=/)\d{{2}}){_TIME}"
)
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_DAY_NAME = re.compile(
    rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-\s.]+(?P<name>[a-z]{{3,9}})\.?,?[-\s]+(?P<year>\d{{4}}){_TIME}",
    re.I,
)
_NAME_DAY = re.compile(
    rf"{_WEEKDAY}(?P<name>[a-z]{{3,9}})\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}}){_TIME}", re.I
)


class DatePreprocess(Preprocess):
    """Two channels as NumericPreprocess has them, of days since 1970, and a sine and a cosine for each cycle.

    The first two say how long before or after the others a date is; the cycles are where it stands in its year, its
    week (Monday first) and its day, each as an angle. A date with a zone is taken to UTC, one without is UTC already.

    Args:
        order: what 1/2/2020 means.
        days: of the number of days; dates are told apart down to the microsecond.
        cycles: those that are in use: the ones in which training dates differ.
    """

    kind: ClassVar[str] = "date"

    def __init__(self, *, order: Order, days: NumericPreprocess, cycles: Sequence[Cycle]) -> None:
        unknown = set(cycles) - set(get_args(Cycle))
        if unknown or order not in get_args(Order):
            raise ConfigError(f"dates have no order {order!r} or no cycles {', '.join(sorted(unknown))}")
        self.order, self.days, self.cycles = order, days, tuple(cycles)

    @classmethod
    def fit(cls, values: Sequence[Any]) -> Self:
        """From distinct training values.

        Raises:
            DataError: there are none, or one is no date.
        """
        order = order_of(values)
        days_U = np.array([moment(value, order) for value in values], np.float64)
        return cls(order=order, days=NumericPreprocess.fit(days_U.tolist()), cycles=_varying(days_U))

    @property
    def signature(self) -> dict[str, TensorSpec]:
        """`values` float32 [C]: days standardised, their normal score, then sine and cosine by cycle."""
        return {"values": TensorSpec("float32", (2 + 2 * len(self.cycles),))}

    def __call__(self, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """Dates -> `values`, [len(values), C]; a missing one is the median.

        Raises:
            DataError: a value is no date.
        """
        days_U = np.array([self.days.median if v is None else moment(v, self.order) for v in values], np.float64)
        turns = _turns(days_U)
        angles = [2 * np.pi * turns[cycle] for cycle in self.cycles]
        waves = [wave(angle_U) for angle_U in angles for wave in (np.sin, np.cos)]
        apart_U2 = self.days(days_U.tolist())["values"]
        return {"values": np.column_stack([apart_U2, *waves]).astype(np.float32)}

    def save(self, folder: Path) -> dict[str, Any]:
        """Everything is in the JSON."""
        return {"order": self.order, "days": self.days.save(folder), "cycles": list(self.cycles)}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        """The inverse of `save`."""
        return cls(**{**config, "days": NumericPreprocess.load(folder, config["days"])})


def moment(value: Any, order: Order = "mdy") -> float:
    """A date as days since 1970-01-01 in UTC; the time of the day is the fraction.

    `value` is a date or datetime, or text: ISO 8601 (2020-01-31, also with a time and a zone, 2020-01), 31/01/2020,
    01/31/2020 and 31.1.2020 as `order` says, 31 Jan 2020, January 31, 2020 (English names).

    Raises:
        DataError: it is none.
    """
    if isinstance(value, np.datetime64):
        return float((value - np.datetime64(0, "D")) / np.timedelta64(1, "D"))
    if isinstance(value, datetime):
        return _days(value if value.tzinfo else value.replace(tzinfo=UTC))
    if isinstance(value, date):
        return float(value.toordinal() - _EPOCH.toordinal())
    found = _match(value.strip()) if isinstance(value, str) else None
    try:
        if found is not None:
            return _days(_read(found.groupdict(), order))
    except (ValueError, OverflowError):
        pass  # the 31st of February, say
    raise DataError(f"{value!r:.60} is no date, or not as the others are written. Next: write it as 2020-01-31.")


def are_dates(values: Sequence[Any]) -> bool:
    """Whether more than half of these, or of as many as are looked at, are dates, rather than numbers."""
    looked_at = values[:: max(1, len(values) // _LOOKED_AT)]
    return 2 * sum(map(_is_date, looked_at)) > len(looked_at)


def has_order(value: Any) -> bool:
    """Whether a date is written so that its meaning hangs on the order of day and month."""
    return isinstance(value, str) and _DIGITS.fullmatch(value.strip()) is not None


def order_of(values: Iterable[Any]) -> Order:
    """What 1/2/2020 means among these, told by those that leave no choice.

    Where none does, slashes are the American order and points and dashes are not.
    """
    firsts, seconds, slashes = 0, 0, True
    for value in values:
        found = _DIGITS.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is not None:
            firsts += int(found["one"]) > len(_MONTHS)
            seconds += int(found["two"]) > len(_MONTHS)
            slashes &= found["sep"] == "/"
    if firsts == seconds:
        return "mdy" if slashes else "dmy"
    return "dmy" if firsts > seconds else "mdy"


def _is_date(value: Any) -> bool:
    if not isinstance(value, (str, date, np.datetime64)):
        return False
    for order in get_args(Order):
        try:
            moment(value, order)
        except DataError:
            continue
        return True
    return False


def _match(text: str) -> re.Match[str] | None:
    if not any(map(str.isdigit, text[:20])):
        return None
    forms = (_ISO, _DIGITS, _ISO_MONTH, _DAY_NAME, _NAME_DAY)
    return next((found for form in forms if (found := form.fullmatch(text))), None)


def _read(parts: dict[str, str | None], order: Order) -> datetime:
    """What the groups of one of the forms say.

    Raises:
        ValueError: there is no such day or time.
    """
    year, day = int(parts["year"] or 0), int(parts.get("day") or 1)
    month = _month(parts.get("name") or "") if "name" in parts else int(parts.get("month") or 0)
    if "one" in parts:
        one, two = int(parts["one"] or 0), int(parts["two"] or 0)
        day, month = (one, two) if order == "dmy" else (two, one)
        year += 0 if year > 99 else 2000 if year < _CENTURY else 1900
    return datetime(year, month, day, tzinfo=_zone(parts.get("zone"))) + _time_of_day(parts)


def _month(name: str) -> int:
    """1 for January, by its first three letters or more; 0 for what is no month."""
    return next((number for number, full in enumerate(_MONTHS, 1) if full.startswith(name.lower())), 0)


def _zone(written: str | None) -> timezone:
    if written is None or not written.startswith(("+", "-")):
        return UTC
    hours, minutes = int(written[:3]), int(written[0] + written[-2:])
    return timezone(timedelta(hours=hours, minutes=minutes))


def _time_of_day(parts: dict[str, str | None]) -> timedelta:
    """Raises ValueError where there is no such time."""
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    half = (parts.get("half") or "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(hour, minute, second)
    fraction = float(f"0.{parts.get('fraction') or 0}")
    return timedelta(hours=hour, minutes=minute, seconds=second + fraction)


def _days(when: datetime) -> float:
    return (when - _EPOCH) / timedelta(days=1)


def _whole(days_U: np.ndarray) -> np.ndarray:
    day_U: np.ndarray = np.floor(days_U).astype(np.int64).astype("datetime64[D]")
    return day_U


def _turns(days_U: np.ndarray) -> dict[Cycle, np.ndarray]:
    """Where each day stands in its year, week and day, in [0, 1)."""
    day_U = _whole(days_U)
    year_U = day_U.astype("datetime64[Y]")
    began_U, ends_U = (each.astype("datetime64[D]").astype(np.float64) for each in (year_U, year_U + 1))
    return {
        "year": (days_U - began_U) / (ends_U - began_U),
        "week": (days_U + _THURSDAY) % 7 / 7,
        "day": days_U % 1,
    }


def _varying(days_U: np.ndarray) -> tuple[Cycle, ...]:
    """The cycles in which these differ: by month, by weekday, by hour."""
    day_U = _whole(days_U)
    kinds: dict[Cycle, np.ndarray] = {
        "year": day_U.astype("datetime64[M]").astype(np.int64) % 12,
        "week": day_U.astype(np.int64) % 7,
        "day": np.round(days_U % 1 * 86400) // 3600,  # 11/24 of a day is less than 11 hours
    }
    return tuple(cycle for cycle, kind_U in kinds.items() if len(np.unique(kind_U)) > 1)
