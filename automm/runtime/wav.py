"""WAV files, read and written by numpy alone.

Shape legend: T samples of a channel, C channels.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import numpy as np

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_WIDTHS = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8)}  # bytes of a sample, by encoding
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_MOST_CHUNKS = 1000  # looked through for the samples; a file of empty chunks would take for ever


class OtherEncoding(ValueError):
    """A WAV file whose samples are neither PCM nor floats."""


class WavFile:
    """A WAV file opened for reading: PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64.

    What its header claims is checked against what the stream holds, so that nothing is read or reserved on its word.

    Attributes:
        rate: samples a second.
        channels: C.
        frames: T.

    Raises:
        OtherEncoding: its samples are encoded otherwise (A-law, ADPCM, ...).
        ValueError: it is damaged, or claims more than it holds.
    """

    def __init__(self, stream: BinaryIO) -> None:
        held = stream.seek(0, io.SEEK_END)
        chunks = _chunks(stream, held)
        if b"fmt " not in chunks or b"data" not in chunks:
            raise ValueError("it has no format or no samples")
        self._encoding, self.channels, self.rate, block = _format(stream, *chunks[b"fmt "])
        start, size = chunks[b"data"]
        if size > held - start:
            raise ValueError(
                f"its header claims {size:,} bytes of samples and it holds {held - start:,}: it was cut short, or its "
                "header was never completed"
            )
        self._width = block // max(self.channels, 1)
        if self._width * self.channels != block or self._width not in _WIDTHS[self._encoding]:
            raise ValueError(f"its samples of {self.channels} channels take {block} bytes, which cannot be")
        self.frames = size // block
        self._left = self.frames
        self._stream = stream
        stream.seek(start)

    def read(self, frames: int) -> np.ndarray:
        """The next so many samples of every channel, fewer at the end; float32 [T, C], full scale is 1."""
        frames = min(frames, self._left)
        self._left -= frames
        raw = self._stream.read(frames * self.channels * self._width)
        return _floats(raw, self._encoding, self._width).reshape(-1, self.channels)


def is_wav(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes is a WAV file."""
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE"


def wav_bytes(samples_T: np.ndarray, rate: int) -> bytes:
    """One channel, int16 or float32, as a WAV file of just these samples."""
    kind, width = (_FLOAT if samples_T.dtype.kind == "f" else _PCM), samples_T.dtype.itemsize
    body = samples_T.astype(samples_T.dtype.newbyteorder("<")).tobytes()
    form = (kind, 1, rate, rate * width, width, 8 * width)
    return _HEADER.pack(b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, *form, b"data", len(body)) + body


def _chunks(stream: BinaryIO, held: int) -> dict[bytes, tuple[int, int]]:
    """Where the first chunk of each name begins and the size that it claims, up to the samples."""
    found: dict[bytes, tuple[int, int]] = {}
    at = 12
    for _ in range(_MOST_CHUNKS):
        if at + _CHUNK.size > held or b"data" in found:
            break
        stream.seek(at)
        name, size = _CHUNK.unpack(stream.read(_CHUNK.size))
        found.setdefault(name, (at + _CHUNK.size, size))
        at += _CHUNK.size + size + size % 2
    return found


def _format(stream: BinaryIO, start: int, size: int) -> tuple[int, int, int, int]:
    """Encoding, channels, rate, and bytes of a sample of all channels."""
    stream.seek(start)
    raw = stream.read(min(size, 40))
    if len(raw) < _FORMAT.size:
        raise ValueError("its format is cut short")
    encoding, channels, rate, _, block, _ = _FORMAT.unpack_from(raw)
    if encoding == _EXTENSIBLE and len(raw) >= 26:
        (encoding,) = struct.unpack_from("<H", raw, 24)  # the first two bytes of the subformat's GUID
    if encoding not in _WIDTHS:
        raise OtherEncoding(f"its samples have encoding {encoding}, neither PCM nor floats")
    if not channels:
        raise ValueError("it has no channel")
    return encoding, channels, rate, block


def _floats(raw: bytes, encoding: int, width: int) -> np.ndarray:
    """Samples as float32, in the order of the file."""
    if encoding == _FLOAT:
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as such
            return np.frombuffer(raw, f"<f{width}").astype(np.float32)
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128
    if width == 3:
        four = np.zeros((len(raw) // 3, 4), np.uint8)
        four[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        raw, width = four.tobytes(), 4
    return (np.frombuffer(raw, f"<i{width}") / 2.0 ** (8 * width - 1)).astype(np.float32)
