"""Pictures that look the same, texts that say nearly the same, and clips that sound the same, found among many."""

import io
import wave

import numpy as np
import pytest
from PIL import Image, ImageDraw

from automm.data.digests import DIGESTS
from automm.data.glimpse import LOOKS, glimpses
from automm.data.hearing import CLIPS, Heard, heard
from automm.data.looks import look, similar_looks
from automm.data.near_texts import similar_texts
from automm.runtime.wav import wav_bytes

MANY = 60


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def drawing(seed, ground=(255, 255, 255, 0), side=120):
    """Shapes on a transparent ground."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGBA", (side, side), ground)
    pen = ImageDraw.Draw(picture)
    for _ in range(5):
        x, y, across = (int(v) for v in rng.integers(10, side - 50, 3))
        colour = tuple(int(v) for v in rng.integers(0, 255, 3))
        pen.ellipse((x, y, x + across, y + 40), fill=(*colour, 255))
    return picture


def on_white(picture):
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


COPIES = {
    "a JPEG": lambda drawn: encoded(on_white(drawn), "JPEG", quality=75),
    "smaller": lambda drawn: encoded(drawn.resize((64, 64))),
    "larger, as a JPEG": lambda drawn: encoded(on_white(drawn.resize((300, 300))), "JPEG", quality=80),
    "WebP": lambda drawn: encoded(drawn, "WEBP", quality=80),
    "256 colours": lambda drawn: encoded(on_white(drawn).quantize(256), "GIF"),
    "lying on its side, and saying so": lambda drawn: encoded(
        on_white(drawn).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=turned()
    ),
}


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    return exif


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_among_many_and_nothing_else(how):
    drawn = [drawing(seed) for seed in range(MANY)]
    looks = [look(encoded(each)) for each in drawn] + [look(COPIES[how](each)) for each in drawn[:20]]
    assert sorted(map(tuple, similar_looks(looks).tolist())) == [(at, MANY + at) for at in range(20)]


def test_pictures_that_are_nearly_empty_are_not_alike():
    dots = []
    for at in range(MANY):
        page = Image.new("RGB", (200, 200), "white")
        ImageDraw.Draw(page).rectangle(
            (25 * (at % 8), 25 * (at // 8), 25 * (at % 8) + 20, 25 * (at // 8) + 8), fill="black"
        )
        dots.append(look(encoded(page)))
    assert all(dots)
    assert len(similar_looks(dots)) == 0


def test_a_drawing_with_a_change_in_it_is_another():
    drawn = drawing(3)
    moved, lighter = drawn.copy(), Image.blend(on_white(drawn), Image.new("RGB", drawn.size, "white"), 0.12)
    ImageDraw.Draw(moved).rectangle((20, 20, 32, 30), fill=(0, 0, 0, 255))
    for changed in (moved, lighter):
        assert similar_looks([look(encoded(drawn)), look(encoded(changed))]).tolist() == []


def test_a_picture_that_is_lighter_all_over_is_another():
    blocks = 20 + 200 * np.random.default_rng(0).integers(0, 2, (6, 6, 1), np.uint8).repeat(3, axis=2)
    seen = [look(encoded(Image.fromarray(blocks + more).resize((90, 90)))) for more in (0, 2, 13)]
    assert similar_looks(seen).tolist() == [[0, 1]]


def test_faint_pictures_are_told_apart_by_less():
    looks = []
    for top in (60, 85):
        page = Image.new("RGB", (200, 200), "white")
        ImageDraw.Draw(page).rectangle((50, top, 140, top + 60), fill=(237, 237, 237))
        looks += [look(encoded(page)), look(encoded(page.resize((140, 140))))]
    assert all(looks)
    assert similar_looks(looks).tolist() == [[0, 1], [2, 3]]


def test_one_colour_is_no_look():
    assert look(encoded(Image.new("RGB", (30, 20), (200, 10, 10)))) == b""
    assert look(encoded(Image.new("RGBA", (30, 20), (255, 255, 255, 0)))) == b""


def test_white_on_a_transparent_ground_is_seen():
    """Laid on white it would be gone; what colour a transparent place has does not count."""
    icons = []
    for seed in range(12):
        icon = drawing(seed)
        icons.append(Image.merge("RGBA", [Image.new("L", icon.size, 255)] * 3 + [icon.getchannel("A")]))
    looks = [look(encoded(icon)) for icon in icons]
    assert all(looks)
    assert len(similar_looks(looks)) == 0
    assert similar_looks([look(encoded(icons[0])), look(encoded(icons[0].resize((70, 70))))]).tolist() == [[0, 1]]
    red = drawing(1, ground=(255, 0, 0, 0))
    assert similar_looks([look(encoded(drawing(1))), look(encoded(red))]).tolist() == [[0, 1]]


def test_of_very_many_that_are_alike_each_has_a_partner():
    rng = np.random.default_rng(0)
    seen = np.frombuffer(look(encoded(drawing(0))), np.uint8).astype(int)
    looks = [(seen + rng.integers(-2, 3, seen.size)).clip(0, 255).astype(np.uint8).tobytes() for _ in range(300)]
    assert set(similar_looks(looks).reshape(-1).tolist()) == set(range(300))
    assert len(similar_looks(looks[:40])) == 40 * 39 // 2


def test_no_pictures_and_one():
    assert similar_looks([]).shape == (0, 2)
    assert similar_looks([look(encoded(drawing(0)))]).shape == (0, 2)


def test_a_clip_is_heard_to_its_end():
    samples = np.zeros(65 * 8000, np.int16)
    late = samples.copy()
    late[64 * 8000] = 1
    first, again, other, slower = (
        Heard.of(wav_bytes(each, rate))
        for each, rate in ((samples, 8000), (samples, 8000), (late, 8000), (samples, 4000))
    )
    assert first == again
    assert len({first.digest, other.digest, slower.digest}) == 3
    assert (first.seconds, other.seconds, slower.seconds) == (65, 65, 130)
    empty = Heard.of(wav_bytes(samples[:0], 8000))
    assert (empty.seconds, empty.problem) == (0, "")


def test_what_was_seen_and_heard_before_is_not_read_again(tmp_path, old):
    drawn, sound = old("a.png", encoded(drawing(0))), old("a.wav", clip(440))
    seen = glimpses(["a.png"], tmp_path, tmp_path / "memo")
    listened = heard(["a.wav"], tmp_path, tmp_path / "memo")
    assert {path.name for path in (tmp_path / "memo").iterdir()} == {DIGESTS, LOOKS, CLIPS}
    for path in (drawn, sound):
        changed = bytearray(path.read_bytes())
        changed[-40:] = bytes(40)
        old(path.name, bytes(changed))
    assert glimpses(["a.png"], tmp_path, tmp_path / "memo") == seen
    assert heard(["a.wav"], tmp_path, tmp_path / "memo") == listened
    assert glimpses(["a.png"], tmp_path, tmp_path / "other")["a.png"].problem
    assert heard(["a.wav"], tmp_path, tmp_path / "other") != listened


@pytest.fixture
def old(tmp_path):
    """Writes files that are long finished."""
    import os

    def write(name, data):
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, (1e9, 1e9))
        return tmp_path / name

    return write


def clip(pitch, seconds=0.1, rate=8000):
    samples = (8000 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def test_clips_are_told_by_their_samples(tmp_path):
    import soundfile

    for name, data in {
        "a.wav": clip(440),
        "b.wav": clip(441),
        "c.wav": clip(440, 0.2),
        "cut.wav": clip(440)[:60],
    }.items():
        (tmp_path / name).write_bytes(data)
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    soundfile.write(tmp_path / "a.flac", samples, rate)
    found = heard(["a.wav", "b.wav", "c.wav", "a.flac", "cut.wav", "../a.wav"], tmp_path, tmp_path / "memo")
    assert found["a.wav"].digest == found["a.flac"].digest
    assert len({found[name].digest for name in ("a.wav", "b.wav", "c.wav")}) == 3
    assert (found["a.wav"].seconds, found["c.wav"].seconds) == (0.1, 0.2)
    assert found["cut.wav"].problem
    assert "leaves the folder" in found["../a.wav"].problem


SAID = "the quick brown fox jumps over the lazy dog"
REWORDED = {
    "another word": "The quick brown fox leaps over the lazy dog.",
    "a word less": "the quick fox jumps over the lazy dog",
    "a word more": "the quick brown fox often jumps over the lazy dog",
    "another last word": "the quick brown fox jumps over the lazy cat",
}


@pytest.mark.parametrize("how", REWORDED)
def test_texts_that_differ_in_a_word(how):
    others = [f"number {at} of quite many texts that say {at * at} things about {at % 7} others" for at in range(9)]
    pairs, left_out = similar_texts([*others[:4], SAID, "fox", REWORDED[how]])
    assert [4, 6] in pairs.tolist()
    assert left_out == 0


def test_of_eight_words_one_may_be_missing():
    texts = ["one two three four five six seven eight", "one two three four six seven eight"]
    assert similar_texts(texts)[0].tolist() == [[0, 1]]


def test_texts_that_are_not_the_same():
    texts = [
        SAID,
        "the slow brown fox jumps over the tired dog",
        "red heart",
        "blue heart",
        "what colour is the thing",
        "what shape is the thing",
        "so here are seven words in all",
        "so here are seven letters in all",
        "he said that the quick brown fox is no longer to be seen and that the lazy dog sleeps",
    ]
    assert similar_texts(texts)[0].tolist() == []


def test_of_many_texts_a_sample_is_compared(monkeypatch):
    monkeypatch.setattr("automm.data.near_texts._TEXTS", 10)
    texts = [f"one two three four five six seven eight nine {at}" for at in range(25)]
    pairs, left_out = similar_texts(texts)
    assert left_out == 15
    assert len(pairs) == 45
    monkeypatch.setattr("automm.data.near_texts._SHINGLES", 100)
    assert similar_texts(texts)[1] == 25 - 5


def test_what_very_many_texts_share_is_how_the_column_is_written(monkeypatch):
    texts = [f"one two three four five six seven eight nine {at}" for at in range(8)]
    assert len(similar_texts(texts)[0]) == 28
    monkeypatch.setattr("automm.data.near_texts._COMMON", 5)
    assert len(similar_texts(texts)[0]) == 0
    assert similar_texts([*texts, SAID, REWORDED["another word"]])[0].tolist() == [[8, 9]]
