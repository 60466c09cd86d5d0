"""Audio: a file, its bytes or samples with their rate -> one channel, float32, at one rate and of one length.

Shape legend: T samples of a channel, C channels, L samples of every clip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from automm.errors import DataError, OutOfRange
from automm.runtime.audio_files import Reader, opened
from automm.runtime.embedded import embedded
from automm.runtime.preprocess import Preprocess
from automm.runtime.resample import resample
from automm.runtime.urls import missing_file
from automm.types import TensorSpec

RATES = (1_000, 1_000_000)  # Hz that a clip may have
MAX_SAMPLES = 100_000_000  # of all channels, decoded at a time: 400 MB
_MOST_SECONDS = 3600.0
_MARGIN = 0.05  # seconds beyond the cut that are read, for the filter that resamples
_BLOCK = 1 << 20  # samples that a check reads at a time
_FORMS = (
    "a path, an encoded file's bytes (also as base64), (samples, rate), or {'array': samples, 'sampling_rate': rate}"
)


class AudioPreprocess(Preprocess):
    """Decode, mix to one channel, resample to `rate`, and cut or pad with zeros to `seconds`.

    A raw value is a path, the bytes of a file (also as base64, in a data URI or alone), or samples with their rate: a
    pair `(samples, rate)` as soundfile gives it, or a mapping `{"array": samples, "sampling_rate": rate}` as Hugging
    Face does. Samples are a numpy array [T] or [T, C]: floats, whose full scale is 1, or int16 or int32, which are
    scaled. A clip without samples, and a missing one, are silence whose first sample counts as valid, because a mean
    over nothing is NaN.

    Raises:
        OutOfRange: the rate is below 1 kHz or above 1 MHz, or the length is none, or above an hour.
    """

    kind: ClassVar[str] = "audio"

    def __init__(self, *, rate: int = 16_000, seconds: float = 10.0) -> None:
        if not RATES[0] <= rate <= RATES[1] or not 1 / rate <= seconds <= _MOST_SECONDS:
            raise OutOfRange(
                f"rate={rate} Hz and seconds={seconds} are not allowed: a rate from {RATES[0]:,} to {RATES[1]:,}, and "
                f"seconds up to {_MOST_SECONDS:g}, one sample at least"
            )
        self.rate, self.seconds, self.length = rate, float(seconds), round(rate * seconds)

    @property
    def signature(self) -> dict[str, TensorSpec]:
        """`waveform` float32 [L] and `mask` bool [L] (True = a sample of the clip, False = padding)."""
        return {"waveform": TensorSpec("float32", (self.length,)), "mask": TensorSpec("bool", (self.length,))}

    def __call__(self, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """Clips -> `waveform` and `mask`, both [len(values), L].

        Raises:
            DataError: a clip cannot be read; the message names it.
            MissingExtra: its format needs a package that is not installed.
        """
        waveform = np.zeros((len(values), self.length), np.float32)
        mask = np.zeros((len(values), self.length), np.bool_)
        mask[:, 0] = True
        for at, value in enumerate(values):
            if value is not None:
                samples_T, rate = decode(value, seconds=self.seconds + _MARGIN)
                clip_T = resample(samples_T, rate, self.rate)[: self.length]
                waveform[at, : len(clip_T)], mask[at, : len(clip_T)] = clip_T, True
        return {"waveform": waveform, "mask": mask}

    def save(self, folder: Path) -> dict[str, Any]:
        """No assets; every option."""
        return {"rate": self.rate, "seconds": self.seconds}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        """The inverse of `save`."""
        return cls(**config)


def decode(value: Any, *, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """One raw value -> the mean of its channels, float32 [T], and its rate in Hz.

    Args:
        value: as AudioPreprocess takes it.
        seconds: no more than so much from the start is read; None = all.

    Raises:
        DataError: it cannot be read, has samples that are not finite, or too many of them.
        MissingExtra: its format needs a package that is not installed.
    """
    with _blamed(value):
        if _is_file(value):
            with opened(value) as clip:
                return _mono(clip.read(_wanted(clip, seconds))), clip.rate
        samples_TC, rate = _given(value)
        return _mono(samples_TC[: None if seconds is None else math.ceil(seconds * rate)]), rate


def duration(value: Any) -> float:
    """Seconds that one raw value takes; of a file only the header is read. Raises as `decode`."""
    with _blamed(value):
        if _is_file(value):
            with opened(value) as clip:
                _wanted(clip, 0.0)
                return clip.frames / clip.rate
        samples_TC, rate = _given(value)
        return len(samples_TC) / rate


def check_readable(value: str | Path | bytes) -> None:
    """Read a file, or the bytes of one, to its end, a block at a time. Raises as `decode`."""
    for _ in blocks(value):
        pass


def blocks(value: str | Path | bytes) -> Iterator[tuple[np.ndarray, int]]:
    """A file, or the bytes of one, as `decode` gives it, to its end and a block at a time; `decode` has a limit.

    Raises:
        DataError: it cannot be read, or has samples that are not finite.
        MissingExtra: its format needs a package that is not installed.
    """
    with _blamed(value), opened(value) as clip:
        _wanted(clip, 0.0)
        while len(block_TC := clip.read(-(-_BLOCK // clip.channels))):
            yield _mono(block_TC), clip.rate


def name_of(value: Any) -> str:
    """What messages call a raw clip."""
    if isinstance(value, str) and (held := embedded(value, "audio")) is not None:
        return name_of(held)
    if isinstance(value, (str, Path)):
        return f"audio file {str(value)!r}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"audio of {len(value)} bytes"
    return f"audio ({type(value).__name__})"


def _is_file(value: Any) -> bool:
    return isinstance(value, (str, Path, bytes, bytearray, memoryview))


def _wanted(clip: Reader, seconds: float | None) -> int:
    """How many samples of a channel to read; what the header says is checked first."""
    if not RATES[0] <= clip.rate <= RATES[1]:
        raise ValueError(f"its rate of {clip.rate:,} Hz is not between {RATES[0]:,} and {RATES[1]:,}")
    frames = clip.frames if seconds is None else min(clip.frames, math.ceil(seconds * clip.rate))
    if frames * clip.channels > MAX_SAMPLES:
        raise ValueError(f"{frames:,} samples of {clip.channels} channels are more than the limit of {MAX_SAMPLES:,}")
    return frames


def _given(value: Any) -> tuple[np.ndarray, int]:
    """Samples as float32 [T, C], and their rate."""
    if isinstance(value, Mapping) and {"array", "sampling_rate"} <= value.keys():
        value = value["array"], value["sampling_rate"]
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], np.ndarray):
        raise DataError(f"audio is {_FORMS}, not {type(value).__name__}. Next: check the column's modality.")
    samples, rate = value
    sound = samples.ndim == 1 or (samples.ndim == 2 and samples.shape[1] > 0)
    if not sound or samples.dtype not in (np.float32, np.float64, np.int16, np.int32):
        raise DataError(
            f"audio samples are floats, int16 or int32 of shape [T] or [T, channels]; found {samples.dtype} "
            f"{list(samples.shape)}. Next: convert them."
        )
    if not isinstance(rate, (int, np.integer)) or not RATES[0] <= rate <= RATES[1]:
        raise DataError(f"the rate of audio samples is in Hz, a whole number from {RATES[0]:,}, not {rate!r:.40}.")
    scale = 1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.dtype.itemsize - 1)
    with np.errstate(over="ignore"):
        return ((samples[:, None] if samples.ndim == 1 else samples) / scale).astype(np.float32), int(rate)


def _mono(samples_TC: np.ndarray) -> np.ndarray:
    if not np.isfinite(samples_TC).all():
        raise ValueError("it has samples that are not finite")
    mono_T: np.ndarray = samples_TC[:, 0] if samples_TC.shape[1] == 1 else samples_TC.mean(axis=1)
    return mono_T


@contextmanager
def _blamed(value: Any) -> Iterator[None]:
    """What a reader raises becomes an error that names the value."""
    try:
        yield
    except FileNotFoundError as error:
        raise missing_file(value, name_of(value)) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{name_of(value)} cannot be read: {error}. "
            "Next: replace the file, or skip what cannot be read with data.on_error=skip."
        ) from error
