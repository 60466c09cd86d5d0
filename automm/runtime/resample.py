"""Another sampling rate, band-limited: what the new rate cannot hold is filtered out instead of folded back.

Shape legend: T samples in, N samples out, P phases of the filter, K taps of each.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_CROSSINGS = 32  # zero crossings of the sinc on each side
_BETA = 10.0  # of the Kaiser window: what is stopped is about 100 dB down
_ROLLOFF = 0.91  # where the filter is half-way down, as a share of the lower Nyquist frequency; 0.82 of it passes whole
_MOST_PHASES = 1000


def resample(x_T: np.ndarray, rate: int, target: int) -> np.ndarray:
    """Samples at `rate` -> float32 samples at `target`, [ceil(T target / rate)], by a Kaiser-windowed sinc.

    The polyphase form of Smith's bandlimited interpolation ("Digital audio resampling"). Rates whose ratio takes more
    than a thousand phases get the nearest ratio that does not: the pitch is off by some millionths.
    """
    if rate == target or not len(x_T):
        return x_T.astype(np.float32, copy=False)
    ratio = Fraction(rate, target).limit_denominator(_MOST_PHASES)
    up, down = ratio.denominator, ratio.numerator
    taps_PK = _filters(up, down)
    windows_TK = sliding_window_view(np.pad(x_T.astype(np.float32), taps_PK.shape[1] // 2), taps_PK.shape[1])
    out_N = np.empty(-(-len(x_T) * up // down), np.float32)
    periods = -(-taps_PK.shape[1] // down)  # taken at a stride at which windows don't overlap, which BLAS insists on
    for at in range(min(up * periods, len(out_N))):
        out_N[at :: up * periods] = windows_TK[at * down // up :: down * periods] @ taps_PK[at % up]
    return out_N


@lru_cache(maxsize=16)
def _filters(up: int, down: int) -> np.ndarray:
    """The taps of every phase, float32 [up, K]; those of a phase sum to 1."""
    cutoff = _ROLLOFF * min(1.0, up / down)  # as a share of the input's Nyquist frequency
    half = math.ceil(_CROSSINGS / cutoff) + 1
    fraction_P = np.arange(up) * down % up / up  # where between two samples an output of the phase lies
    offset_PK = (fraction_P[:, None] - np.arange(-half, half + 1)) * cutoff
    inside_PK = np.maximum(1 - (offset_PK / _CROSSINGS) ** 2, 0)
    taps_PK = np.where(inside_PK > 0, np.sinc(offset_PK) * np.i0(_BETA * np.sqrt(inside_PK)), 0)
    filters_PK: np.ndarray = (taps_PK / taps_PK.sum(1, keepdims=True)).astype(np.float32)
    return filters_PK
