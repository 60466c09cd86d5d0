"""Audio files: WAV by numpy, every other format by the optional package soundfile.

Shape legend: T samples of a channel, C channels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from automm.errors import MissingExtra
from automm.runtime.embedded import embedded
from automm.runtime.wav import OtherEncoding, WavFile, is_wav

# How files of other formats begin: FLAC, Ogg, MP3 with tags, WAV in other encodings and sizes, AIFF, Core Audio.
_OTHERS = (b"fLaC", b"OggS", b"ID3", b"RIFF", b"RF64", b"RIFX", b"FORM", b"caff")


class Reader(Protocol):
    """An audio file that is open: T samples of C channels at a rate in Hz."""

    rate: int
    channels: int
    frames: int  # what the file says; of a compressed file perhaps an estimate

    def read(self, frames: int) -> np.ndarray:
        """The next so many samples of every channel, fewer at the end; float32 [T, C], full scale is 1."""


@contextmanager
def opened(value: str | Path | bytes | bytearray | memoryview) -> Iterator[Reader]:
    """A file, or the bytes of one, also as base64, open for reading.

    Raises:
        MissingExtra: the format needs the package soundfile, which is not installed.
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no audio file, or damaged.
    """
    if isinstance(value, str) and (held := embedded(value, "audio")) is not None:
        value = held
    if isinstance(value, (str, Path)):
        with Path(value).open("rb") as stream:
            yield _reader(stream, str(value))
    else:
        yield _reader(io.BytesIO(value), f"audio of {len(value)} bytes")


def begins_as_audio(head: bytes) -> bool:
    """Whether a file that begins with these bytes, 12 at least, may be one of audio, in whatever format."""
    if head[8:12] == b"WEBP":
        return False
    return head.startswith(_OTHERS) or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")  # a frame of an MP3


def _reader(stream: BinaryIO, name: str) -> Reader:
    head = stream.read(12)
    if is_wav(head):
        try:
            return WavFile(stream)
        except OtherEncoding:
            pass  # which soundfile may know
    stream.seek(0)
    try:
        import soundfile
    except ModuleNotFoundError as error:
        if begins_as_audio(head):
            raise MissingExtra(
                f"{name} is no plain WAV file; other formats are read by the package 'soundfile', which is not "
                'installed. Next: pip install "automm[audio]", or convert it to WAV.'
            ) from error
        raise ValueError("it does not begin as an audio file does") from error
    return _SoundFile(soundfile, stream)


class _SoundFile:
    """A file open in soundfile."""

    def __init__(self, soundfile: Any, stream: BinaryIO) -> None:
        self._failure = soundfile.SoundFileError
        try:
            self._file = soundfile.SoundFile(stream)
        except self._failure as error:
            raise ValueError(_said(error)) from error
        self.rate, self.channels, self.frames = self._file.samplerate, self._file.channels, self._file.frames

    def read(self, frames: int) -> np.ndarray:
        """As `Reader.read`."""
        try:
            samples_TC: np.ndarray = self._file.read(frames, dtype="float32", always_2d=True)
        except self._failure as error:
            raise ValueError(_said(error)) from error
        return samples_TC


def _said(error: BaseException) -> str:
    """What libsndfile says, without the name it gives to the stream."""
    return str(getattr(error, "error_string", error)).rstrip(".")
