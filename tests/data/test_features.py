import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from automm.data import features
from automm.data.digests import value_digests
from automm.data.features import FeatureCache, FeatureStore, value_bytes
from automm.types import FeatureSpec

SPEC = FeatureSpec("words", "text", 3, 4, has_tokens=True)
GB = 1 << 30


def keys_of(*values):
    return value_digests(list(values), "text", Path("nowhere"))


def pooled(*numbers):
    return {"pooled": np.array([[n, n, n] for n in numbers], np.float32)}


def with_tokens(lengths):
    longest = max(lengths)
    mask = np.arange(longest) < np.array(lengths)[:, None]
    tokens = np.ones((len(lengths), longest, 3), np.float32) * np.array(lengths)[:, None, None]
    return {"pooled": pooled(*lengths)["pooled"], "tokens": tokens, "mask": mask}


def test_what_is_added_is_found_by_every_reader_and_nothing_else_is(tmp_path):
    shelf = FeatureCache(tmp_path, GB).shelf("f", SPEC, tokens=False)
    shelf.add(keys_of("a", "b"), pooled(1, 2))
    shelf.add(keys_of("c"), pooled(3))
    other = FeatureCache(tmp_path, GB).shelf("f", SPEC, tokens=False)
    at = other.find(keys_of("c", "x", "a"))
    assert (at[1] == -1).all()
    assert other.read(at[[0, 2]])["pooled"][:, 0].tolist() == [3, 1]
    assert FeatureCache(tmp_path, GB).spec("f", "title") == FeatureSpec("title", "text", 3, 4, has_tokens=True)


def test_another_function_is_another_shelf(tmp_path):
    cache = FeatureCache(tmp_path, GB)
    cache.shelf("f", SPEC, tokens=False).add(keys_of("a"), pooled(1))
    assert cache.spec("g", "words") is None
    for shelf in (cache.shelf("g", SPEC, tokens=False), cache.shelf("f", SPEC, tokens=True)):
        assert (shelf.find(keys_of("a")) == -1).all()


def test_tokens_are_padded_to_the_longest_asked_for(tmp_path):
    shelf = FeatureCache(tmp_path, GB).shelf("f", SPEC, tokens=True)
    shelf.add(keys_of("a", "b"), with_tokens([1, 2]))
    shelf.add(keys_of("c"), with_tokens([4]))
    shelf.refresh()
    for memory in (0, GB):
        store = FeatureStore(shelf, shelf.find(keys_of("a", "b", "c")), SPEC, tokens=True, cache_bytes=memory)
        assert store.load() == bool(memory)
        short, whole = store.items(np.array([1, 0])), store.items(np.array([2, 1]))
        assert short["mask"].tolist() == [[True, True], [True, False]]
        assert whole["tokens"].shape == (2, 4, 3)
        assert whole["tokens"][0, 3, 0] == 4
        assert whole["mask"].sum(axis=1).tolist() == [4, 2]


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_the_digest_of_a_file_is_of_what_it_holds_now(modality, tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    one.write_bytes(b"x" * 10)
    two.write_bytes(b"x" * 10)
    old = time.time() - 100
    for path in (one, two):
        os.utime(path, (old, old))
    first = value_digests([str(one), two, b"x" * 10], modality, tmp_path / "memo")
    assert (first == first[0]).all(), "where the bytes come from does not matter"
    assert (tmp_path / "memo" / "files.sqlite").exists()
    one.write_bytes(b"y" * 10)
    again = value_digests([str(one), str(two)], modality, tmp_path / "memo")
    assert (again[1] == first[1]).all()
    assert (again[0] != first[0]).any()


def test_a_file_that_could_still_change_unseen_is_read_again(tmp_path):
    path = tmp_path / "young.png"
    path.write_bytes(b"x")
    stamp = path.stat().st_mtime_ns
    first = value_digests([str(path)], "image", tmp_path / "memo")
    path.write_bytes(b"y")
    os.utime(path, ns=(stamp, stamp))  # as on a file system whose clock is coarse
    assert (value_digests([str(path)], "image", tmp_path / "memo") != first).any()


def test_digests_tell_kinds_apart():
    digests = value_digests(["1", 1, b"1", np.array([49], np.uint8), "1"], "text", Path("nowhere"))
    assert len(np.unique(digests, axis=0)) == 4
    assert (digests[0] == digests[4]).all()


def test_digests_of_samples_are_of_every_sample_and_of_their_rate():
    one, other = np.zeros(5000, np.float32), np.zeros(5000, np.float32)
    other[2500] = 1e-3
    clips = [(one, 8000), (other, 8000), (one, 16000), {"array": one, "sampling_rate": 8000}, (one.copy(), 8000)]
    digests = value_digests(clips, "audio", Path("nowhere"))
    assert len(np.unique(digests, axis=0)) == 4
    assert (digests[0] == digests[4]).all()
    raw = value_digests([b"x", bytearray(b"x"), memoryview(b"x")], "audio", Path("nowhere"))
    assert len(np.unique(raw, axis=0)) == 1


def test_a_damaged_memo_is_only_a_memo_lost(tmp_path):
    (tmp_path / "files.sqlite").write_bytes(b"no database")
    path = tmp_path / "one.png"
    path.write_bytes(b"x")
    assert value_digests([str(path)], "image", tmp_path).shape == (1, 16)


def resident(path):
    """Bytes of a mapped file that this process holds."""
    held, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            inside = str(path) in line
        elif inside and line.startswith("Rss:"):
            held += int(line.split()[1]) * 1024
    return held


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells what of a file is in memory")
def test_what_was_read_is_given_back(tmp_path, monkeypatch):
    shelf = FeatureCache(tmp_path, GB).shelf("f", SPEC, tokens=False)
    keys = np.random.default_rng(0).integers(0, 256, (100_000, 16), np.uint8)
    shelf.add(keys, {"pooled": np.arange(300_000, dtype=np.float32).reshape(-1, 3)})
    shelf.refresh()
    at = shelf.find(keys)
    shelf.read(at)
    assert resident(tmp_path) > 1_000_000
    monkeypatch.setattr(features, "_MAPPED", 0)
    found = shelf.read(at[99_990:])["pooled"]
    assert found[-1].tolist() == [299_997, 299_998, 299_999]
    assert resident(tmp_path) < 500_000


def test_shelves_unused_for_longest_make_room_but_never_one_in_use(tmp_path):
    cache = FeatureCache(tmp_path, GB)
    for name in ("old", "young", "mine"):
        cache.shelf(name, SPEC, tokens=False).add(keys_of("a"), pooled(1))
    shelves = {info.identity: info for info in cache.info()}
    for age, name in enumerate(("young", "old", "mine")):
        folder = cache.shelf(name, SPEC, tokens=False).folder
        os.utime(folder, (time.time() - 100 * age,) * 2)
    later = FeatureCache(tmp_path, sum(s.bytes for s in shelves.values()))
    mine = later.shelf("mine", SPEC, tokens=False)
    os.utime(mine.folder, (1, 1))
    assert later.make_room(1)
    assert {info.identity for info in later.info()} == {"young", "mine"}
    assert not later.make_room(GB)
    assert {info.identity for info in later.info()} == {"young", "mine"}  # it would not have been enough
    assert mine.read(mine.find(keys_of("a")))["pooled"][0, 0] == 1


def test_clearing_frees_everything_and_readers_keep_what_they_have(tmp_path):
    cache = FeatureCache(tmp_path, GB)
    shelf = cache.shelf("f", SPEC, tokens=False)
    shelf.add(keys_of("a"), pooled(7))
    shelf.refresh()
    assert cache.clear() > 0
    assert cache.info() == []
    assert shelf.read(shelf.find(keys_of("a")))["pooled"][0, 0] == 7
    shelf.add(keys_of("b"), pooled(8))
    assert [info.values for info in cache.info()] == [1]


WRITER = """
import sys
import numpy as np
from pathlib import Path
from automm.data import features
from automm.data.digests import value_digests
from automm.data.features import FeatureCache
from automm.types import FeatureSpec
spec = FeatureSpec("words", "text", 3, 4, has_tokens=True)
shelf = FeatureCache(Path(sys.argv[1]), 1 << 30).shelf("f", spec, tokens=False)
for start in range(0, int(sys.argv[2]), 10):
    names = [str(n) for n in range(start, start + 10)]
    pooled = np.array([[float(n)] * 3 for n in names], np.float32)
    shelf.add(value_digests(names, "text", Path("nowhere")), {"pooled": pooled})
    print(start, flush=True)
"""


@pytest.mark.parametrize("killed", [False, True])
def test_many_writers_and_a_kill_leave_nothing_wrong(tmp_path, killed):
    command = [sys.executable, "-c", WRITER, str(tmp_path), "100000" if killed else "300"]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        if killed:
            for _ in range(5):
                writer.stdout.readline()
            writer.kill()
        writer.stdout.read()
        writer.stdout.close()
        writer.wait()
    shelf = FeatureCache(tmp_path, GB).shelf("f", SPEC, tokens=False)
    names = [str(n) for n in range(40 if killed else 300)]
    at = shelf.find(keys_of(*names))
    assert (at >= 0).all()
    assert shelf.read(at)["pooled"][:, 0].tolist() == [float(n) for n in names]


def test_the_most_a_value_takes():
    assert value_bytes(SPEC, tokens=False) == 12
    assert value_bytes(SPEC, tokens=True) == 12 + 4 * 12 + 4
