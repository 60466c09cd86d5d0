"""WAV files against the standard library, against soundfile, and damaged ones."""

import io
import struct
import wave

import numpy as np
import pytest
import soundfile

from automm.runtime.wav import OtherEncoding, WavFile, is_wav, wav_bytes

SAMPLES = np.random.default_rng(0).uniform(-1, 1, (301, 2))
STEPS = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 1e-7, "FLOAT": 1e-7, "DOUBLE": 1e-7}


def encoded(subtype, kind="WAV"):
    buffer = io.BytesIO()
    soundfile.write(buffer, SAMPLES, 8000, format=kind, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", STEPS)
def test_every_encoding_reads_as_soundfile_reads_it(kind, subtype):
    raw = encoded(subtype, kind)
    assert is_wav(raw[:12])
    file = WavFile(io.BytesIO(raw))
    assert (file.rate, file.channels, file.frames) == (8000, 2, 301)
    found = file.read(1000)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, soundfile.read(io.BytesIO(raw), dtype="float32")[0])
    assert np.abs(found - SAMPLES).max() <= STEPS[subtype]


def test_samples_come_a_block_at_a_time_and_end():
    file = WavFile(io.BytesIO(encoded("PCM_24")))
    whole = WavFile(io.BytesIO(encoded("PCM_24"))).read(301)
    parts = [file.read(200), file.read(200), file.read(200)]
    assert [len(part) for part in parts] == [200, 101, 0]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_is_written_is_read_back_by_us_and_by_others(dtype):
    samples = (SAMPLES[:, 0] * (32767 if dtype == np.int16 else 3)).astype(dtype)
    raw = wav_bytes(samples, 22050)
    scale = 32768 if dtype == np.int16 else 1
    np.testing.assert_array_equal(WavFile(io.BytesIO(raw)).read(999)[:, 0], samples / np.float32(scale))
    theirs, rate = soundfile.read(io.BytesIO(raw), dtype="float32")
    np.testing.assert_array_equal(theirs, samples / np.float32(scale))
    assert rate == 22050
    if dtype == np.int16:
        with wave.open(io.BytesIO(raw)) as file:
            assert file.getparams()[:4] == (1, 2, 22050, 301)


def test_chunks_of_other_names_and_odd_sizes_are_passed_over():
    raw = wav_bytes(np.arange(5, dtype=np.int16), 8000)
    between = raw[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + raw[36:]
    np.testing.assert_array_equal(WavFile(io.BytesIO(between)).read(9), WavFile(io.BytesIO(raw)).read(9))


GOOD = wav_bytes(np.zeros(50, np.int16), 8000)
DAMAGED = {
    "cut short": (GOOD[:-1], "claims 100 bytes of samples and it holds 99"),
    "a claim of gigabytes": (GOOD[:40] + b"\xff\xff\xff\xff" + GOOD[44:], "claims 4,294,967,295 bytes"),
    "no samples": (GOOD[:36], "no format or no samples"),
    "no format": (GOOD[:12] + GOOD[36:], "no format or no samples"),
    "a format cut short": (GOOD[:16] + struct.pack("<I", 8) + GOOD[20:28] + GOOD[36:], "format is cut short"),
    "no channel": (GOOD[:22] + b"\0\0" + GOOD[24:], "no channel"),
    "samples of no size": (GOOD[:32] + b"\0\0" + GOOD[34:], "take 0 bytes"),
    "channels that do not fit": (GOOD[:22] + b"\xff\xff" + GOOD[24:], "65535 channels take 2 bytes"),
    "nothing else": (GOOD[:12], "no format or no samples"),
    "chunks without end": (GOOD[:12] + b"junk\0\0\0\0" * 100_000, "no format or no samples"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused(case):
    raw, said = DAMAGED[case]
    with pytest.raises(ValueError, match=said):
        WavFile(io.BytesIO(raw))


def test_another_encoding_is_told_from_damage():
    with pytest.raises(OtherEncoding, match="encoding 7"):
        WavFile(io.BytesIO(encoded("ULAW")))
