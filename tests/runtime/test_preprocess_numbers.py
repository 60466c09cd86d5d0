from typing import get_args

import numpy as np
import pytest
import torch

from automm.errors import ConfigError, DataError
from automm.runtime.kinds import load_preprocess, save_preprocess
from automm.runtime.number_styles import Style, like_number, style_of
from automm.runtime.numbers import NumericPreprocess, number, written

NO_DIGIT = ["E5", "e3", ".e2", ",e2", "+e3", "$E5", "-", ".", "$ kg"]
HEAVY = [*np.random.default_rng(0).lognormal(3, 2, 999).tolist(), 1e12]


def test_a_heavy_tail_is_cut_in_one_channel_and_told_apart_by_rank_in_the_other():
    out = NumericPreprocess.fit(HEAVY)(sorted(HEAVY))["values"]
    assert out.dtype == np.float32
    assert np.abs(out[:, 0]).max() <= 10
    ranks = (np.arange(1000) + 0.5) / 1000
    inside = slice(10, -10)
    np.testing.assert_allclose(out[inside, 1], torch.special.ndtri(torch.from_numpy(ranks)).numpy()[inside], atol=0.05)


def test_a_normal_column_is_standardised():
    values = np.random.default_rng(1).normal(50, 4, 5000)
    out = NumericPreprocess.fit(values.tolist())(values.tolist())["values"]
    np.testing.assert_allclose(out[:, 0], (values - 50) / 4, atol=0.1)


def test_minutes_of_a_timestamp_survive():
    base = 1.7e9
    preprocess = NumericPreprocess.fit([base + 60 * minute for minute in range(100)])
    out = preprocess([base + 60, base + 120])["values"]
    assert np.all(out[1] - out[0] > 0.01)


@pytest.mark.parametrize("values", [[5.0], [1, 1.5], [0, 0.0, 1e-300]])
def test_few_or_equal_values_give_finite_numbers(values):
    out = NumericPreprocess.fit(values)([*values, None, -1e30])["values"]
    assert np.isfinite(out).all()


def test_a_missing_number_is_the_median():
    preprocess = NumericPreprocess.fit([1, 2, 3])
    np.testing.assert_array_equal(preprocess([None])["values"], preprocess([2])["values"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.5 kg", (1234.5, ("", "kg"))),
        ("$12", (12.0, ("$", ""))),
        ("-0.5%", (-0.5, ("", "%"))),
        ("1e3", (1000.0, ("", ""))),
        (" 7 ", (7.0, ("", ""))),
    ],
)
def test_numbers_written_as_text(text, expected):
    assert written(text) == expected


@pytest.mark.parametrize("text", ["", "kg", "1,23", "2020-01-02", "1.2.3", "a1", "12 large boxes", *NO_DIGIT])
def test_what_is_no_number(text):
    with pytest.raises(DataError, match="is no number"):
        written(text)


@pytest.mark.parametrize("text", NO_DIGIT)
def test_what_has_no_digit_before_its_exponent_is_no_number_in_any_style(text):
    assert not like_number(text)
    for style in get_args(Style):
        with pytest.raises(DataError, match="is no number"):
            written(text, style)


@pytest.mark.parametrize(
    "text",
    [
        " " * 10_000 + "many words",
        "$" + " " * 10_000 + "many words",
        "1" + " " * 10_000 + "many words",
        "1e5" + " " * 10_000 + "many words",
        "7" * 10_000 + " many words",
        "1" + ",." * 10_000 + "many words",
        "1" + " 234" * 10_000 + " many words",
    ],
    ids=lambda text: repr(text[:6]),
)
def test_long_runs_are_refused_at_once(text):
    """What is tried in every way is not done within a day."""
    assert not like_number(text)
    for style in get_args(Style):
        with pytest.raises(DataError, match="is no number"):
            written(text, style)


def test_one_unit_a_column():
    preprocess = NumericPreprocess.fit(["1 kg", "2,000 kg"])
    np.testing.assert_array_equal(preprocess(["2000 kg"])["values"], preprocess([2000])["values"])
    with pytest.raises(
        DataError, match=r"'3 g' is not in the unit of the other numbers \(kg\). Next: convert it to kg"
    ):
        preprocess(["3 g"])


def test_the_unit_is_that_of_any_number_that_has_one():
    preprocess = NumericPreprocess.fit(["1", 2, "3 kg"])
    np.testing.assert_array_equal(preprocess(["2 kg"])["values"], preprocess([2])["values"])


@pytest.mark.parametrize("bad", [float("inf"), 10**400, "1e999", "nan", [1], b"1"])
def test_what_is_no_finite_number_is_refused(bad):
    with pytest.raises(DataError):
        number(bad)


def test_a_saved_one_gives_the_same_arrays(tmp_path):
    preprocess = NumericPreprocess.fit(HEAVY)
    again = load_preprocess(tmp_path, **save_preprocess(preprocess, tmp_path))
    np.testing.assert_array_equal(again(HEAVY)["values"], preprocess(HEAVY)["values"])


KINDS = {" ": " \u00a0\u2009\u202f", "'": "'\u2019"}


def spelled(value, style, rng):
    """A number as someone writes it who uses this style, with one of the kinds of space or apostrophe."""
    group, point = rng.choice(list(KINDS.get(style[0], style[0]))), style[1]
    whole, _, decimals = f"{value:,}".partition(".")
    return whole.replace(",", group) + (point + decimals if decimals else "")


@pytest.mark.parametrize("style", get_args(Style))
def test_numbers_in_every_style_are_read_back(style, tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(100):
        size = 10.0 ** rng.integers(0, 9, 30)
        numbers = [round(float(x), int(rng.integers(0, 5))) for x in rng.normal(0, 1, 30) * size]
        numbers = [int(x) if x.is_integer() else x for x in numbers] + [1234567.25]
        texts = [spelled(x, style, rng) for x in numbers]
        assert all(map(like_number, texts))
        assert style_of(texts) == style
        assert [number(text, style=style_of(texts)) for text in texts] == numbers
    preprocess = NumericPreprocess.fit(texts)
    again = load_preprocess(tmp_path, **save_preprocess(preprocess, tmp_path))
    np.testing.assert_array_equal(again(texts)["values"], NumericPreprocess.fit(numbers)(numbers)["values"])


@pytest.mark.parametrize(
    ("column", "style"),
    [
        (["1.234"], ",."),
        (["1.234", "2.5", 7], ",."),
        (["1,234", "2,500"], ",."),
        (["1,234", "12,5"], ",."),
        (["1,234", "1 234"], ",."),
        (["12,5", "7,25", "3"], ".,"),
        (["1.234", "12.345.678"], ".,"),
        (["1.234", "0,5"], ".,"),
        (["1,234", "0,5"], ".,"),
        (["0,500", "1,250"], ".,"),
        (["1,234", "1234,5"], ".,"),
        (["1,234", "1,23456"], ".,"),
        (["1.234,50 €", "-3 €"], ".,"),
        (["1,234.50", "2.5", "0,5"], ",."),
        (["1.234,50", "0,25", "2.5"], ".,"),
        (["1.234,50", "2.5"], ".,"),
        (["1 234", "12"], " ."),
        (["1 234", "12,5"], " ,"),
        (["1 234", "12.5"], " ."),
        (["1'234", "12"], "'."),
        (["1'234,5"], "',"),
        (["1_234", "12.5"], "_."),
        (["1,234 kg", "2,500 kg", "999 kg", "unknown"], ",."),
        (["$ 1,234", "$ 2,000", "not known"], ",."),
        (["1,234 kg", "12,5 kg"], ",."),
        (["$ 1,234", "$ 12,5"], ",."),
        (["12,5 %", "7,25 %"], ".,"),
        (["1 234,5 kg", "2,500 kg"], " ,"),
        (["€ 1 234,5", "€ 12"], " ,"),
        (["word", "1.234"], ",."),
        ([], ",."),
    ],
)
def test_the_style_is_that_of_the_whole_column(column, style):
    assert style_of(column) == style
    assert style_of(column[::-1]) == style


@pytest.mark.parametrize(
    ("column", "odd"),
    [
        (["1.234,50"], "12.5"),
        (["1.234,50"], "1,234.5"),
        (["1.234,50"], "0.500"),
        (["1 234,5"], "1.234,5"),
        (["1'234.5"], "12,5"),
        (["1_234"], "1_23"),
    ],
)
def test_what_contradicts_the_style_of_its_column_is_refused(column, odd):
    with pytest.raises(DataError, match=r"is no number, or not as the others are written \(.* between thousands, "):
        NumericPreprocess.fit(column)([odd])


def test_a_part_of_a_column_is_read_as_the_whole():
    preprocess = NumericPreprocess.fit(["1.234", "2.500"], ".,")
    np.testing.assert_array_equal(preprocess(["1.234"])["values"], preprocess([1234])["values"])
    with pytest.raises(ConfigError, match="are not written in a style"):
        NumericPreprocess.load(None, {"median": 0, "scale": 1, "knots": [0, 1], "normal": [0, 1], "style": ";."})


def test_what_was_saved_before_there_were_styles_reads_as_it_did():
    old = {"median": 2.0, "scale": 1.0, "knots": [1.0, 3.0], "normal": [-1.0, 1.0], "affix": ["", "kg"]}
    preprocess = NumericPreprocess.load(None, old)
    np.testing.assert_array_equal(preprocess(["1,234.5 kg", "1.234"])["values"], preprocess([1234.5, 1.234])["values"])
