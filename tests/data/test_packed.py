import pickle

import numpy as np
import pytest

from automm.data.packed import Packed, packed, picked

MANY = 2000
KINDS = {
    "texts": [f"text {at}" for at in range(MANY)],
    "bytes": [bytes([at % 256]) * (at % 5) for at in range(MANY)],
    "integers": [at - 1000 for at in range(MANY)],
    "numbers": [at / 7 for at in range(MANY)],
}


@pytest.mark.parametrize("values", KINDS.values(), ids=KINDS)
def test_packed_values_are_the_values(values):
    found = packed(values)
    assert isinstance(found, Packed)
    assert found == values
    assert list(found) == values
    assert [found[0], found[-1], found[3:9], found[::-700]] == [values[0], values[-1], values[3:9], values[::-700]]
    assert all(type(one) is type(other) for one, other in zip(found, values, strict=True))
    at = np.array([7, 7, 0, 1999])
    assert picked(found, at) == picked(values, at) == [values[7], values[7], values[0], values[-1]]
    with pytest.raises(IndexError):
        found[MANY]


def test_packed_values_differ_where_values_do():
    values = KINDS["texts"]
    assert packed(values) != [*values[:-1], "another"]
    assert packed(values) != values[:-1]
    assert packed(values) != "text"


@pytest.mark.parametrize("values", [
    ["few"] * 10, [1, 2.0] * MANY, [None, "a"] * MANY, [True] * MANY, ["\ud800"] * MANY, [2**70] * MANY, [["a"]] * MANY,
], ids=lambda values: str(values[:2]))  # fmt: skip
def test_what_no_type_of_arrow_holds_stays_as_it_is(values):
    assert packed(values) is values


def test_no_number_is_a_value_too():
    assert np.isnan(list(packed([float("nan")] * MANY))).all()


def test_a_part_takes_the_room_of_a_part():
    part = packed(KINDS["texts"])[10:20]
    assert len(pickle.dumps(part)) < 1000


def test_buffers_are_not_copied():
    buffers = []
    pickled = pickle.dumps(packed(KINDS["texts"]), protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 1000
    assert pickle.loads(pickled, buffers=buffers) == KINDS["texts"]
