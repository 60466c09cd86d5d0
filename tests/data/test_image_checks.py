"""Files that proved readable are not read again while they are as they were."""

import os
import time

import pytest
from PIL import Image

from automm.data.features import FeatureCache
from automm.data.file_memo import FOLDER
from automm.data.image_files import broken_images

OLD = time.time() - 100


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "one.png"
    Image.new("RGB", (9, 9), "red").save(path)
    os.utime(path, (OLD, OLD))
    return path


def damage(path, at=OLD):
    """Zeros, as many as there were bytes."""
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, (at, at))


def test_what_passed_is_not_read_again(picture, tmp_path):
    assert broken_images([picture], "decode", tmp_path / "cache") == {}
    damage(picture)
    assert broken_images([picture], "decode", tmp_path / "cache") == {}, "size and time stamp are as they were"
    assert broken_images([str(picture)], "decode", tmp_path / "cache") == {}
    assert picture in broken_images([picture], "header", tmp_path / "cache"), "another check, which it has not passed"
    assert picture in broken_images([picture], "decode")


def test_a_file_that_changed_is_read_again(picture, tmp_path):
    assert broken_images([picture], "decode", tmp_path / "cache") == {}
    damage(picture, OLD + 1)
    assert picture in broken_images([picture], "decode", tmp_path / "cache")


def test_what_failed_is_read_again_and_so_is_what_could_still_change_unseen(picture, tmp_path):
    whole = picture.read_bytes()
    damage(picture)
    assert picture in broken_images([picture], "decode", tmp_path / "cache")
    picture.write_bytes(whole)
    os.utime(picture, (OLD, OLD))
    assert broken_images([picture], "decode", tmp_path / "cache") == {}

    young = tmp_path / "young.png"
    young.write_bytes(whole)
    now = young.stat().st_mtime
    assert broken_images([young], "decode", tmp_path / "cache") == {}
    damage(young, now)
    assert young in broken_images([young], "decode", tmp_path / "cache")


def test_bytes_have_no_file_to_remember_them_by(picture, tmp_path):
    whole = picture.read_bytes()
    assert broken_images([whole, b"no picture"], "decode", tmp_path / "cache").keys() == {b"no picture"}
    assert not (tmp_path / "cache").exists()


def test_clearing_the_cache_forgets(picture, tmp_path):
    assert broken_images([picture], "decode", tmp_path / "cache") == {}
    damage(picture)
    FeatureCache(tmp_path / "cache" / FOLDER, 0).clear()
    assert picture in broken_images([picture], "decode", tmp_path / "cache")
