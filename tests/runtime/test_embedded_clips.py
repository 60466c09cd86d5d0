"""Clips that are written into a string as base64."""

import base64
import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from automm.errors import DataError
from automm.runtime.audio import AudioPreprocess, check_readable, decode, duration
from automm.runtime.embedded import embedded
from automm.runtime.wav import wav_bytes

RATE = 16_000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE // 4) / RATE)).astype(np.float32)


def encoded(kind, rate=RATE):
    buffer = io.BytesIO()
    soundfile.write(buffer, TONE, rate, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "rate"), [("WAV", RATE), ("FLAC", RATE), ("OGG", RATE), ("MP3", 8000), ("MP3", RATE), ("MP3", 44_100)]
)
def test_base64_alone_and_in_a_data_uri_is_the_file(kind, rate):
    data = encoded(kind, rate)
    text = base64.b64encode(data).decode()
    uri = f"data:audio/{kind.lower()};codecs=1;base64,{text.rstrip('=')}"
    for written in (text, base64.encodebytes(data).decode(), uri):
        assert embedded(written, "audio") == data
        assert embedded(written, "image") is None
        assert duration(written) == duration(data)
        np.testing.assert_array_equal(decode(written)[0], decode(data)[0])
        check_readable(written)
    found = AudioPreprocess(rate=RATE, seconds=0.1)([text, data])["waveform"]
    np.testing.assert_array_equal(found[0], found[1])


def test_tags_may_go_before_an_mp3():
    text = base64.b64encode(b"ID3" + bytes(60)).decode()
    assert embedded(text, "audio") == b"ID3" + bytes(60)


def test_a_wav_file_without_samples_is_long_enough():
    data = wav_bytes(TONE[:0], RATE)
    assert embedded(base64.b64encode(data).decode(), "audio") == data


def webp():
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, format="WEBP")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "clips/a.wav",
        "//host/share/clips",
        "//host/" + "x" * 99,
        "x" * 200,
        "https://example.org/a.wav",
        "data:image/png;base64,AA",
        webp(),
    ],
)
def test_a_path_a_text_or_an_image_holds_no_clip(text):
    assert embedded(text, "audio") is None


def test_a_damaged_one_is_a_clip_that_cannot_be_read():
    assert embedded("data:audio/wav;base64,****", "audio") == b""
    with pytest.raises(DataError, match="audio of 0 bytes cannot be read"):
        decode("data:audio/wav;base64,****")
    with pytest.raises(DataError, match="audio of 48 bytes cannot be read: its header claims"):
        decode(base64.b64encode(encoded("WAV")[:48]).decode())
