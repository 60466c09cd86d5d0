"""Audio of sample rows on a page that needs no network."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from automm.report.markup import Markup, element, join
from automm.runtime.audio import decode
from automm.runtime.resample import resample
from automm.runtime.wav import wav_bytes

SECONDS = 6.0  # of a clip that are kept,
RATE = 16_000  # at this rate at most: 200 kB


def player(value: Any, name: str) -> Markup:
    """The beginning of a raw clip, to be played, under the name of its field.

    Raises:
        DataError: it cannot be read.
    """
    sound = element("audio", controls="controls", preload="none", src=sound_uri(value))
    return join([element("p", name, class_="soft"), sound])


def sound_uri(value: Any) -> str:
    """The first seconds of a raw clip as the data URI of a WAV file of 16 bits.

    Raises:
        DataError: it cannot be read.
    """
    samples_T, rate = decode(value, seconds=SECONDS)
    played_T = resample(samples_T, rate, min(rate, RATE))
    short_T = np.round(played_T.clip(-1, 1) * 32767).astype(np.int16)
    return f"data:audio/wav;base64,{base64.b64encode(wav_bytes(short_T, min(rate, RATE))).decode('ascii')}"
