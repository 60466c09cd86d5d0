import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from automm.errors import DataError, MissingExtra, OutOfRange
from automm.runtime.audio import MAX_SAMPLES, AudioPreprocess, check_readable, decode, duration
from automm.runtime.kinds import load_preprocess, save_preprocess
from automm.runtime.wav import wav_bytes

RATE = 8000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
PREPROCESS = AudioPreprocess(rate=RATE, seconds=0.5)


def encoded(kind, samples=TONE):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format=kind)
    return buffer.getvalue()


FORMS = {
    "a path": lambda folder: folder / "tone.wav",
    "a path as text": lambda folder: str(folder / "tone.wav"),
    "bytes": lambda folder: (folder / "tone.wav").read_bytes(),
    "a view of bytes": lambda folder: memoryview((folder / "tone.wav").read_bytes()),
    "samples": lambda _: (TONE, RATE),
    "two channels": lambda _: (np.stack([TONE * 2, TONE * 0], axis=1).astype(np.float64), np.int64(RATE)),
    "as Hugging Face has it": lambda _: {"array": TONE, "sampling_rate": RATE, "path": "tone.wav"},
    "int16": lambda _: ((TONE * 32768).astype(np.int16), RATE),
    "int32": lambda _: ((TONE.astype(np.float64) * 2**31).astype(np.int32), RATE),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_clip(form, tmp_path):
    (tmp_path / "tone.wav").write_bytes(wav_bytes(TONE, RATE))
    value = FORMS[form](tmp_path)
    assert duration(value) == 1.0
    out = PREPROCESS([value])
    assert out["waveform"].dtype == np.float32
    np.testing.assert_allclose(out["waveform"][0], TONE[:4000], atol=1e-4 if form == "int16" else 1e-7)
    assert out["mask"].all()


@pytest.mark.parametrize(("kind", "apart"), [("FLAC", 2e-5), ("OGG", 0.03), ("MP3", 0.1)])
def test_other_formats_are_read_by_soundfile(kind, apart, tmp_path):
    path = tmp_path / "tone"
    path.write_bytes(encoded(kind))
    check_readable(path)
    samples, rate = decode(path)
    assert rate == RATE
    assert len(samples) == pytest.approx(RATE, abs=100)
    assert np.abs(samples[1000:7000] - TONE[1000:7000]).max() < apart


def test_a_wav_in_another_encoding_is_read_by_soundfile():
    buffer = io.BytesIO()
    soundfile.write(buffer, TONE, RATE, format="WAV", subtype="ULAW")
    assert np.abs(decode(buffer.getvalue())[0] - TONE).max() < 0.02


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
def test_without_soundfile_the_extra_is_named(kind, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "tone.x").write_bytes(encoded(kind))
    with pytest.raises(MissingExtra, match=r"tone\.x is no plain WAV.*pip install \"automm\[audio\]\""):
        decode(tmp_path / "tone.x")
    for other in (b"words", b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"\xff\xd8\xff\xe0\x00\x10JFIF"):  # so do images, nearly
        with pytest.raises(DataError, match=f"audio of {len(other)} bytes cannot be read: it does not begin"):
            decode(other)
    assert len(decode(wav_bytes(TONE, RATE))[0]) == RATE


def test_a_short_clip_is_padded_and_a_long_one_cut():
    out = PREPROCESS([(TONE[:1000], RATE), (TONE, RATE)])
    assert out["mask"].sum(1).tolist() == [1000, 4000]
    assert not out["waveform"][0, 1000:].any()
    np.testing.assert_array_equal(out["waveform"][1], TONE[:4000])


def test_only_what_is_kept_is_read(tmp_path):
    (tmp_path / "long.wav").write_bytes(wav_bytes(np.zeros(100 * RATE, np.int16), RATE))
    assert len(decode(tmp_path / "long.wav", seconds=0.25)[0]) == 2000
    assert len(decode((np.zeros(100 * RATE, np.int16), RATE), seconds=0.25)[0]) == 2000


def test_a_clip_at_another_rate_is_resampled():
    other = (0.5 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)).astype(np.float32)
    found = PREPROCESS([(other, 22050)])["waveform"][0]
    np.testing.assert_allclose(found[100:], TONE[100:4000], atol=1e-4)  # to the very cut: more of the clip is read


@pytest.mark.parametrize("value", [None, (TONE[:0], RATE), (np.zeros((0, 2)), 44100), wav_bytes(TONE[:0], RATE)])
def test_a_clip_without_samples_is_silence_with_one_valid_sample(value):
    out = PREPROCESS([value])
    assert not out["waveform"].any()
    assert out["mask"].sum() == out["mask"][0, 0] == 1


def test_a_saved_one_gives_the_same_arrays(tmp_path):
    preprocess = AudioPreprocess(rate=11025, seconds=0.3)
    again = load_preprocess(tmp_path, **save_preprocess(preprocess, tmp_path))
    assert again.signature == preprocess.signature
    np.testing.assert_array_equal(again([(TONE, RATE)])["waveform"], preprocess([(TONE, RATE)])["waveform"])


NAN = np.array([0, np.nan], np.float32)
BAD = {
    "a missing file": ("nowhere.wav", "audio file 'nowhere.wav' does not exist. Next: check the path"),
    "no audio": (b"some words, no sound", "audio of 20 bytes cannot be read: "),
    "a NaN": ((NAN, RATE), "has samples that are not finite"),
    "a NaN in a file": (wav_bytes(NAN, RATE), "has samples that are not finite"),
    "infinite in two channels": ((np.array([[np.inf, -np.inf]]), RATE), "has samples that are not finite"),
    "no rate": (TONE, r"audio is a path, .* not ndarray"),
    "a rate of no sense": ((TONE, 0), "the rate of audio samples is in Hz"),
    "a rate of no sense in a file": (wav_bytes(TONE, 10), "its rate of 10 Hz is not between 1,000 and"),
    "bytes as samples": ((np.zeros(4, np.uint8), RATE), r"found uint8 \[4\]"),
    "no channel": ((np.zeros((4, 0)), RATE), r"found float64 \[4, 0\]"),
    "a number": (3.5, "not float"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_named(case):
    value, said = BAD[case]
    with pytest.raises(DataError, match=said):
        PREPROCESS([value])


def test_a_file_of_too_many_samples_is_refused_before_they_are_read(tmp_path):
    header, path = wav_bytes(np.zeros(0, np.int16), RATE), tmp_path / "bomb.wav"
    with path.open("wb") as file:
        size = 2 * (MAX_SAMPLES + 1)
        file.write(header[:40] + size.to_bytes(4, "little"))
        file.truncate(44 + size)  # a hole: it takes no room on the disk
    with pytest.raises(DataError, match=r"bomb\.wav.* more than the limit of 100,000,000"):
        decode(path)
    assert len(PREPROCESS([path])["waveform"][0]) == 4000  # what is kept of it is little


def test_readable_files_are_read_to_their_end(tmp_path):
    good, late = tmp_path / "good.wav", tmp_path / "late.wav"
    good.write_bytes(wav_bytes(TONE, RATE))
    late.write_bytes(wav_bytes(np.append(TONE, np.float32(np.inf)), RATE))
    check_readable(good)
    assert duration(late) > 1
    with pytest.raises(DataError, match=r"late\.wav' cannot be read: it has samples that are not finite"):
        check_readable(late)
    cut = tmp_path / "cut.flac"
    cut.write_bytes(encoded("FLAC", np.random.default_rng(0).normal(size=20_000) / 8)[:9000])
    with pytest.raises(DataError, match=r"cut\.flac"):
        check_readable(cut)


@pytest.mark.parametrize("options", [{"rate": 10}, {"rate": 16000, "seconds": 0}, {"seconds": 1e6}])
def test_options_of_no_sense_are_refused(options):
    with pytest.raises(OutOfRange, match="are not allowed"):
        AudioPreprocess(**options)


def test_a_folder_is_no_clip(tmp_path):
    with pytest.raises(DataError, match=str(Path(tmp_path))):
        decode(tmp_path)
