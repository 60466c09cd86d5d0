"""What stands before and after an audio model of transformers: from waveforms to its inputs, from its outputs to ours.

The same computation as the model's feature extractor, as part of the network.

Shape legend: U distinct clips, L samples, N tokens, D width, M bands, T frames.
"""

from __future__ import annotations

from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automm.encoders.attention import masked_mean
from automm.errors import ConfigError, OutOfRange
from automm.types import Features
from automm_audio.spectrogram import Spectrogram, valid_windows

_EPSILON = 1e-7  # beside the variance, as transformers has it
_FLOOR = 1.192092955078125e-07  # Kaldi's, of the power


class Front(nn.Module):
    """Base of the two kinds."""

    tokens: int  # that the model returns

    def forward(self, waveform_UL: Tensor, mask_UL: Tensor) -> dict[str, Tensor]:
        """Clips -> the model's inputs by name."""
        raise NotImplementedError

    def features(self, hidden_UND: Tensor, mask_UL: Tensor) -> Features:
        """The model's last hidden states -> Features of U clips."""
        raise NotImplementedError


def front_of(extractor: Any, config: Any, length: int) -> Front:
    """The front of a model with this feature extractor and configuration, for clips of `length` samples.

    Raises:
        ConfigError: its inputs are of another kind.
        OutOfRange: the clips are shorter than what a single token covers.
    """
    if type(extractor).__name__ == "ASTFeatureExtractor":
        return PatchFront(extractor, config)
    if type(extractor).__name__ == "Wav2Vec2FeatureExtractor" and hasattr(config, "conv_kernel"):
        return WaveformFront(extractor, config, length)
    raise ConfigError(
        f"audio_transformers feeds models that read waveforms as wav2vec2 does, or spectrograms as AST does, and "
        f"{config.model_type!r} reads what {type(extractor).__name__} makes. Next: another model."
    )


class WaveformFront(Front):
    """Of wav2vec2, hubert and their kind: the waveform, of zero mean and unit variance where the model wants it.

    Mean and variance are those of the clip alone, and what follows it is zero, whether or not the model gets a mask.
    Every token stands for a window of samples; those that lie within the clip are valid, and `pooled` is their mean.
    """

    def __init__(self, extractor: Any, config: Any, length: int) -> None:
        super().__init__()
        if getattr(config, "add_adapter", False):
            raise ConfigError(f"a {config.model_type} with an adapter is not read. Next: a model without one.")
        self.normalise, self.attends = bool(extractor.do_normalize), bool(extractor.return_attention_mask)
        self.stride = prod(config.conv_stride)
        before = accumulate((1, *config.conv_stride[:-1]), mul)  # samples between the inputs of a layer
        self.window = 1 + sum((k - 1) * step for k, step in zip(config.conv_kernel, before, strict=True))
        self.tokens = (length - self.window) // self.stride + 1
        if length < self.window:
            raise OutOfRange(f"a token of {config.model_type} covers {self.window} samples, and a clip has {length}.")

    def forward(self, waveform_UL: Tensor, mask_UL: Tensor) -> dict[str, Tensor]:
        """`input_values` [U, L], and `attention_mask` [U, L] for models that were trained with one."""
        inputs = {"input_values": standardised(waveform_UL, mask_UL) if self.normalise else waveform_UL}
        if self.attends:
            first_L = torch.arange(mask_UL.shape[1], device=mask_UL.device) < self.window  # a clip has a token
            inputs["attention_mask"] = (mask_UL | first_L).long()
        return inputs

    def features(self, hidden_UND: Tensor, mask_UL: Tensor) -> Features:
        """[U, N, D] -> Features of U clips."""
        mask_UN = valid_windows(mask_UL, self.window, self.stride)
        return Features(hidden_UND, mask_UN, masked_mean(hidden_UND, mask_UN))


class PatchFront(Front):
    """Of AST: patches of a standardised log-mel spectrogram of a fixed length, after two tokens of the whole clip.

    The model knows no mask: all tokens are valid, and `pooled` is the mean of those two, as the model's own head has
    it. What lies beyond a clip's end is zero before the spectrogram is standardised.
    """

    def __init__(self, extractor: Any, config: Any) -> None:
        super().__init__()
        self.spectrogram = Spectrogram(rate=extractor.sampling_rate, bands=extractor.num_mel_bins, floor=_FLOOR)
        self.mean, self.scale = (extractor.mean, 2 * extractor.std) if extractor.do_normalize else (0.0, 1.0)
        self.length = config.max_length
        high = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        self.tokens = 2 + high * ((config.max_length - config.patch_size) // config.time_stride + 1)

    def forward(self, waveform_UL: Tensor, mask_UL: Tensor) -> dict[str, Tensor]:
        """`input_values` [U, T, M]."""
        x_UMT = torch.where(self.spectrogram.valid(mask_UL)[:, None], self.spectrogram(waveform_UL), 0.0)
        x_UMT = F.pad(x_UMT[..., : self.length], (0, max(0, self.length - x_UMT.shape[-1])))
        return {"input_values": ((x_UMT - self.mean) / self.scale).transpose(1, 2)}

    def features(self, hidden_UND: Tensor, mask_UL: Tensor) -> Features:
        """[U, N, D] -> Features of U clips."""
        return Features(hidden_UND, torch.ones_like(hidden_UND[..., 0], dtype=torch.bool), hidden_UND[:, :2].mean(1))


def standardised(waveform_UL: Tensor, mask_UL: Tensor) -> Tensor:
    """Zero mean and unit variance over the valid samples of every clip, zero elsewhere."""
    weight_UL = mask_UL.to(waveform_UL.dtype)
    count_U1 = weight_UL.sum(1, keepdim=True)
    centred_UL = (waveform_UL - (waveform_UL * weight_UL).sum(1, keepdim=True) / count_U1) * weight_UL
    variance_U1 = centred_UL.square().sum(1, keepdim=True) / count_U1
    return centred_UL / (variance_U1 + _EPSILON).sqrt()
