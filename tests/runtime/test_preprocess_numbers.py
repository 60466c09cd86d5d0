import numpy as np
import pytest
import torch

from automm.errors import DataError
from automm.runtime.kinds import load_preprocess, save_preprocess
from automm.runtime.numbers import NumericPreprocess, number, written

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


@pytest.mark.parametrize("text", ["", "kg", "1,23", "2020-01-02", "1.2.3", "a1", "12 large boxes"])
def test_what_is_no_number(text):
    with pytest.raises(DataError, match="is no number"):
        written(text)


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
