import numpy as np
import pytest

from automm.errors import DataError
from automm.runtime.categories import CategoryPreprocess
from automm.runtime.kinds import load_preprocess, save_preprocess


def test_categories_are_numbered_from_one_in_order_and_unseen_ones_are_zero():
    preprocess = CategoryPreprocess.fit(["red", "blue"])
    np.testing.assert_array_equal(preprocess(["blue", "red", "green", None])["index"], [1, 2, 0, 0])


def test_a_number_is_a_category_however_it_is_written():
    preprocess = CategoryPreprocess.fit([1, 2.5, True])
    np.testing.assert_array_equal(preprocess([1.0, "1", np.int64(1), 2.5, "True", True])["index"], [1, 1, 1, 2, 3, 3])


def test_what_is_no_plain_value_is_refused():
    with pytest.raises(DataError, match="a category is a plain value, not list"):
        CategoryPreprocess.fit(["a"])([["a"]])


def test_a_saved_one_gives_the_same_numbers(tmp_path):
    preprocess = CategoryPreprocess.fit(["rot", "grün", "a\nb", ""])
    again = load_preprocess(tmp_path, **save_preprocess(preprocess, tmp_path))
    assert again.names == preprocess.names
    np.testing.assert_array_equal(again(["grün", ""])["index"], preprocess(["grün", ""])["index"])
