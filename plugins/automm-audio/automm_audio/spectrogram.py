"""Log-mel spectrograms as a convolution and a product, which any exporter knows.

Shape legend: U distinct clips, L samples, W samples of a frame, F frequencies, M bands, T frames.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FRAME, _HOP = 0.025, 0.010  # seconds
_PREEMPHASIS = 0.97
_LOWEST = 20.0  # Hz


class Spectrogram(nn.Module):
    """The logarithm of the power in bands of the mel scale, in frames of 25 ms every 10 ms: Kaldi's filter banks.

    Removing a frame's mean, emphasising high frequencies, windowing (Hann) and the Fourier transform are each linear in
    the frame's samples. Their product is one matrix, computed in double precision and applied as a convolution.

    Args:
        rate: samples a second.
        bands: M, triangles from 20 Hz to half the rate that overlap by half.
        floor: the least power that is told from silence; a sine of full scale has about 10^4.
    """

    def __init__(self, *, rate: int, bands: int, floor: float) -> None:
        super().__init__()
        self.frame, self.hop, self.floor = round(_FRAME * rate), round(_HOP * rate), floor
        size = 1 << (self.frame - 1).bit_length()
        self.kernel_K1W: Tensor  # K = 2 F: real parts, then imaginary ones
        self.filters_MF: Tensor
        kernel_K1W = torch.from_numpy(frame_transform(self.frame, size)[:, None]).float()
        self.register_buffer("kernel_K1W", kernel_K1W, persistent=False)
        filters_MF = torch.from_numpy(mel_filters(size // 2 + 1, bands, rate)).float()
        self.register_buffer("filters_MF", filters_MF, persistent=False)

    def frames(self, samples: int) -> int:
        """T: the whole frames in so many samples."""
        return max(0, (samples - self.frame) // self.hop + 1)

    def forward(self, waveform_UL: Tensor) -> Tensor:
        """[U, L], full scale 1 -> [U, M, T]; 32-bit whatever the precision of what comes after."""
        if torch.compiler.is_exporting():
            return self._log_mel(waveform_UL)
        with torch.autocast(waveform_UL.device.type, enabled=False):
            return self._log_mel(waveform_UL)

    def valid(self, mask_UL: Tensor) -> Tensor:
        """Which frames lie within the clip, bool [U, T]; `mask_UL` is True up to its end. The first always counts."""
        return valid_windows(mask_UL, self.frame, self.hop)

    def _log_mel(self, waveform_UL: Tensor) -> Tensor:
        real_UFT, imaginary_UFT = F.conv1d(waveform_UL[:, None], self.kernel_K1W, stride=self.hop).chunk(2, dim=1)
        mel_UMT = self.filters_MF @ (real_UFT.square() + imaginary_UFT.square())
        return mel_UMT.clamp(min=self.floor).log()


def valid_windows(mask_UL: Tensor, window: int, stride: int) -> Tensor:
    """Which windows of so many samples, every `stride`, lie within the clip, bool [U, T]; the first always counts."""
    inside_UT = mask_UL[:, window - 1 :: stride]
    return inside_UT | (torch.arange(inside_UT.shape[1], device=mask_UL.device) == 0)


def frame_transform(frame: int, size: int) -> np.ndarray:
    """From the samples of a frame to real and imaginary parts, float64 [2 (size / 2 + 1), frame]; padded to `size`."""
    centred_WW = np.eye(frame) - 1 / frame
    emphasis_WW = np.eye(frame) - _PREEMPHASIS * np.eye(frame, k=-1)
    emphasis_WW[0, 0] -= _PREEMPHASIS  # the first sample stands for the one before it
    prepared_WW = np.hanning(frame)[:, None] * (emphasis_WW @ centred_WW)
    spectrum_FW = np.fft.rfft(prepared_WW, size, axis=0)
    return np.concatenate([spectrum_FW.real, spectrum_FW.imag])


def mel_filters(frequencies: int, bands: int, rate: int) -> np.ndarray:
    """The share of each of F frequencies, from 0 to half the rate, in each band, float64 [M, F]."""
    mel_F = _mel(np.linspace(0, rate / 2, frequencies))
    edges = np.linspace(_mel(_LOWEST), _mel(rate / 2), bands + 2)[:, None]
    rising_MF = (mel_F - edges[:-2]) / np.diff(edges[:-1], axis=0)
    falling_MF = (edges[2:] - mel_F) / np.diff(edges[1:], axis=0)
    shares_MF: np.ndarray = np.maximum(0, np.minimum(rising_MF, falling_MF))
    return shares_MF


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    mel: np.ndarray = 1127 * np.log1p(np.asarray(hertz) / 700)
    return mel
