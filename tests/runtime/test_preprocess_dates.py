import json
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

from automm.errors import DataError
from automm.runtime.dates import DatePreprocess, are_dates, moment, order_of
from automm.runtime.kinds import load_preprocess, save_preprocess
from automm.runtime.numbers import NumericPreprocess
from automm.runtime.quantities import fit_quantity, reader

JANUARY_31 = (datetime(2020, 1, 31, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
HOURS = [f"2024-{month:02d}-{day:02d} {hour:02d}:30" for month in (1, 5, 9) for day in (3, 11, 20) for hour in (6, 18)]


@pytest.mark.parametrize(
    "written",
    [
        "2020-01-31", "2020/1/31", "2020.01.31", " 2020-01-31 ", "2020-01-31T00:00:00Z",
        "2020-01-31 00:00:00.000000000",
        "01/31/2020", "1/31/20", "1-31-2020", "31 Jan 2020", "31. January 2020", "31-JAN-2020", "31st January, 2020",
        "Jan 31, 2020", "January 31 2020", "Friday, 31 January 2020", "Fri, 31 Jan 2020 00:00:00 GMT",
        "2020-01-31T02:00:00+02:00", "2020-01-30 19:00 -0500", "01/31/2020 12:00 AM",
        date(2020, 1, 31), datetime(2020, 1, 31), datetime(2020, 1, 31, 2, tzinfo=timezone(timedelta(hours=2))),
        np.datetime64("2020-01-31T00:00:00.000000000"),
    ],
)  # fmt: skip
def test_one_day_in_every_form(written):
    assert moment(written) == JANUARY_31


@pytest.mark.parametrize(
    ("written", "hours"),
    [("2020-01-31T10:30", 10.5), ("31/01/2020 11:15 pm", 23.25), ("2020-01-31 12:00:36,5 PM", 12 + 36.5 / 3600)],
)
def test_the_time_of_the_day_is_the_fraction(written, hours):
    assert moment(written, "dmy") == pytest.approx(JANUARY_31 + hours / 24, abs=1e-9)


def test_a_month_alone_is_its_first_day():
    assert moment("2020-01") == JANUARY_31 - 30


@pytest.mark.parametrize(
    "text",
    ["", "2020", "20200131", "2020-02-30", "2020-13-01", "31/31/2020", "1.2.3", "10.0.0.1", "12:30", "Smarch 3, 2020",
     "2020-01-31 25:00", "13:00 pm", "1999-2020", "5", "may", 20200131, None, b"2020-01-31"],
)  # fmt: skip
def test_what_is_no_date(text):
    with pytest.raises(DataError, match="is no date"):
        moment(text)


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        (["1/2/2020", "31/1/2020"], "dmy"),
        (["1/2/2020", "1/31/2020"], "mdy"),
        (["1/2/2020"], "mdy"),
        (["1.2.2020"], "dmy"),
        (["1-2-2020"], "dmy"),
    ],
)
def test_the_column_says_what_a_day_and_a_month_is(dates, order):
    assert order_of(dates) == order
    assert DatePreprocess.fit(dates).order == order


def test_the_first_two_channels_are_those_of_the_days():
    days = [moment(text) for text in HOURS]
    expected = NumericPreprocess.fit(days)(days)["values"]
    np.testing.assert_array_equal(DatePreprocess.fit(HOURS)(HOURS)["values"][:, :2], expected)


def test_cycles_turn_once_a_year_a_week_and_a_day():
    preprocess = DatePreprocess.fit(HOURS)
    assert preprocess.cycles == ("year", "week", "day")
    assert preprocess.signature["values"].shape == (8,)
    monday_6h, next_year, half_a_day = preprocess(["2024-07-01 06:00", "2025-01-01 00:00", "2024-07-01 18:00"])[
        "values"
    ]
    week = 2 * np.pi * (6 / 24) / 7
    np.testing.assert_allclose(monday_6h[4:6], [np.sin(week), np.cos(week)], atol=1e-5)
    np.testing.assert_allclose(monday_6h[6:], [1, 0], atol=1e-5)
    np.testing.assert_allclose(half_a_day[6:], [-1, 0], atol=1e-5)
    np.testing.assert_allclose(next_year[2:4], [0, 1], atol=1e-5)
    np.testing.assert_allclose(np.hypot(*monday_6h[2:4]), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("dates", "cycles"),
    [
        (["2020-01-06", "2020-01-13"], ()),
        (["2020-01-06", "2020-01-07"], ("week",)),
        (["2020-01-06 10:00", "2020-01-06 10:59"], ()),
        (["2020-01-06 10:00", "2020-01-06 11:00"], ("day",)),
    ],
)
def test_a_cycle_in_which_nothing_differs_is_left_out(dates, cycles):
    assert DatePreprocess.fit(dates).cycles == cycles


def test_a_missing_date_is_the_median_and_others_stay_finite():
    preprocess = DatePreprocess.fit(["2020-01-01", "2020-03-05", "2021-02-02"])
    np.testing.assert_array_equal(preprocess([None])["values"], preprocess(["2020-03-05"])["values"])
    assert np.isfinite(preprocess(["0001-01-01", "9999-12-31"])["values"]).all()


def test_a_saved_one_is_plain_json_and_gives_the_same_arrays(tmp_path):
    preprocess = DatePreprocess.fit(HOURS)
    saved = save_preprocess(preprocess, tmp_path)
    again = load_preprocess(tmp_path, **json.loads(json.dumps(saved)))
    np.testing.assert_array_equal(again(HOURS)["values"], preprocess(HOURS)["values"])


def test_the_values_of_a_numeric_column_say_whether_it_holds_dates():
    assert isinstance(fit_quantity(["2020-01-01", "2020-03-05"]), DatePreprocess)
    assert isinstance(fit_quantity(["1 kg", 5]), NumericPreprocess)
    assert are_dates(["2020-01-01", "2020-03-05", "unknown"])
    assert not are_dates(["2020-01-01", 3, 4])
    assert reader(["31/12/2020", "n/a", "1/2/2020"])("1/2/2020") == moment("2020-02-01")
    assert reader(["3 kg", "2020-01-01", 4])("5 kg") == 5
