import numpy as np
import pytest
from PIL import Image

from automm.errors import DataError
from automm.runtime import cpu
from automm.runtime.audio import decode
from automm.runtime.distinct import distinct
from automm.runtime.rows import ROWS, SECONDS, read_rows, write_rows


def test_rows_survive_being_stored(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    rows = [
        {"photo": image, "text": "Größe?", "age": np.float32(2.5), "kind": None},
        {"photo": image, "text": "b", "age": float("nan")},
    ]
    modalities = {"photo": "image", "text": "text", "age": "numeric", "kind": "categorical"}
    write_rows(tmp_path, rows, modalities)
    found = read_rows((tmp_path / ROWS).read_text(encoding="utf-8"), lambda name: tmp_path / name)
    assert [sorted(row) for row in found] == [["age", "photo", "text"], ["photo", "text"]]
    assert found[0]["text"] == "Größe?"
    assert found[0]["age"] == 2.5
    np.testing.assert_array_equal(np.asarray(Image.open(found[0]["photo"])), image)
    assert found[0]["photo"] == found[1]["photo"]  # stored once


def test_audio_survives_being_stored_in_one_channel_and_up_to_a_length(tmp_path):
    samples = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32) * 3
    clips = [(samples, 8000), (np.zeros(0), 8000), (np.zeros(int(8000 * SECONDS) + 9, np.int16), 8000), None]
    write_rows(tmp_path, [{"said": clip} for clip in clips], {"said": "audio"})
    found = read_rows((tmp_path / ROWS).read_text(encoding="utf-8"), lambda name: tmp_path / name)
    stored, rate = decode(found[0]["said"])
    assert rate == 8000
    np.testing.assert_array_equal(stored, decode(clips[0])[0])
    assert [len(decode(row["said"])[0]) for row in found[1:3]] == [0, 8000 * SECONDS]
    assert found[3] == {}


def test_a_cell_that_is_no_plain_value_is_refused(tmp_path):
    with pytest.raises(DataError, match="row 0: the text field 'text' holds a list"):
        write_rows(tmp_path, [{"text": ["a"]}], {"text": "text"})


def test_damaged_rows_are_said_to_be_so(tmp_path):
    with pytest.raises(DataError, match="damaged"):
        read_rows('{"rows": [{"image": {"fil": "x.png"}}]}', lambda name: tmp_path / name)


def test_distinct_values_by_value_and_by_identity():
    image = np.zeros((1, 1, 3), np.uint8)
    values, index, present = distinct([image, "a", None, image, "a", float("nan"), image.copy(), 1, True])
    assert index.tolist() == [0, 1, 0, 0, 1, 0, 2, 3, 4]
    assert present.tolist() == [True, True, False, True, True, False, True, True, True]
    assert len(values) == 5


def test_nothing_but_missing_leaves_one_placeholder():
    values, index, present = distinct([None, None])
    assert values == [None]
    assert index.tolist() == [0, 0]
    assert not present.any()


def test_the_processor_describes_itself():
    described = cpu.describe()
    assert described["model"]
    assert 1 <= described["physical"] <= described["logical"]
    assert described["flags"] == sorted(described["flags"])
