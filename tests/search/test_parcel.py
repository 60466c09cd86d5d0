import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from automm.search.executors import parcel
from automm.search.executors.parcel import pack

needs_files_of_others = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux")
LARGE = {"numbers": np.arange(300_000), "empty": np.empty(0), "odd": np.arange(3, dtype=np.uint8), "name": "x"}


def same(found):
    return found.keys() == LARGE.keys() and all(np.array_equal(found[name], LARGE[name]) for name in LARGE)


@needs_files_of_others
def test_arrays_are_mapped_by_another_process_and_what_it_writes_is_its_own():
    packed, file = pack(LARGE)
    assert len(packed.pickled) < 10_000
    program = (
        "import pickle, sys\n"
        "parcel = pickle.load(sys.stdin.buffer)\n"
        "found = parcel.opened()\n"
        "found['numbers'][:] += 1\n"
        "print(found['numbers'].sum(), sorted(found), found['odd'].tolist())\n"
    )
    with file:
        for _ in range(2):  # the second finds what the first has written untouched
            done = subprocess.run(
                [sys.executable, "-c", program], input=pickle.dumps(packed), capture_output=True, check=True
            )
            said = done.stdout.decode().split(maxsplit=1)
            assert int(said[0]) == LARGE["numbers"].sum() + 300_000
            assert said[1].strip() == "['empty', 'name', 'numbers', 'odd'] [0, 1, 2]"
        assert same(packed.opened())
    with pytest.raises(FileNotFoundError):
        packed.opened()


def test_few_bytes_go_along():
    packed, file = pack({"x": np.arange(5)})
    assert file is None
    assert packed.opened()["x"].tolist() == [0, 1, 2, 3, 4]


def raising():
    raise FileNotFoundError("no usable temporary directory")


def full(buffering):
    return lambda: Path("/dev/full").open("w+b", buffering)


NOWHERE = {"full at once": full(0), "full at last": full(1 << 13), "no folder": raising}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("file", NOWHERE.values(), ids=NOWHERE)
def test_where_there_is_no_room_all_goes_along(monkeypatch, file):
    monkeypatch.setattr(parcel, "unnamed_file", file)
    monkeypatch.setattr(parcel, "_WORTH", 1)
    for thing in (LARGE, dict.fromkeys(LARGE, LARGE["odd"])):
        packed, found = pack(thing)
        assert found is None
        assert all(np.array_equal(packed.opened()[name], thing[name]) for name in thing)
