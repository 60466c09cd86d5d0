"""A small convolutional network over log-mel spectrograms, trained from scratch.

Shape legend: U distinct clips, L samples, T frames, M bands, C channels, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from automm.encoders.attention import masked_mean
from automm.encoders.convnet import ConvStage
from automm.encoders.encoder import Encoder
from automm.errors import ConfigError
from automm.extremes import amax
from automm.runtime.audio import AudioPreprocess, duration
from automm.runtime.preprocess import Preprocess
from automm.space import OneOf, Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality
from automm_audio.spectrogram import Spectrogram

_LONGEST = 10.0  # seconds that clips are taken at their own length
_SHORTEST = 0.1
_SEEN = 256  # clips whose length is looked at
_FLOOR = 1e-5  # 90 dB below a sine of full scale
_MEAN, _DEVIATION = -4.27, 4.57  # of log-mel values of AudioSet (Gong et al. 2021)


class LogMel(Encoder):
    """Strided 3x3 convolutions, GroupNorm and ReLU over a log-mel spectrogram; every step in time is a token.

    The spectrogram (25 ms frames every 10 ms, Kaldi's bands) is part of the network, so that training and serving
    compute the same. What lies beyond a clip's end is set to the mean. `pooled` is a linear layer over the mean and the
    maximum of the tokens.

    Options:
        rate: samples a second that clips are resampled to; frequencies above half of it are lost.
        seconds: the length that clips are cut or padded to, 0.1 at least; None is that of the longest training clip, up
            to 10.
        mels: bands of the mel scale.
        width: D, the width of tokens and of `pooled`.
        channels: of the first convolution; each further one has twice as many, up to `width`.
        depth: the number of convolutions, each of stride 2: a token is 2^depth hundredths of a second.
    """

    MODALITIES: ClassVar[tuple[Modality, ...]] = ("audio",)
    SPACE: ClassVar[Space] = Space(
        {
            "width": OneOf((48, 64, 96, 128), ordered=True, default=64),
            "channels": OneOf((16, 24, 32), ordered=True, default=16),
        }
    )

    @classmethod
    def fit_preprocess(
        cls,
        field: FieldSpec,
        values: Sequence[Any],
        *,
        rate: int = 16_000,
        seconds: float | None = None,
        **options: Any,
    ) -> Preprocess:
        """Clips of `seconds`, or of the length of the longest of `values`, some hundreds of which are looked at."""
        if seconds is None:
            seen = values[:: max(1, len(values) // _SEEN)]
            seconds = min(_LONGEST, max(map(duration, seen), default=_LONGEST))
        return AudioPreprocess(rate=rate, seconds=max(seconds, _SHORTEST))

    def __init__(
        self,
        field: FieldSpec,
        preprocess: Preprocess,
        *,
        rate: int = 16_000,
        seconds: float | None = None,
        mels: int = 64,
        width: int = 64,
        channels: int = 16,
        depth: int = 4,
    ) -> None:
        super().__init__()
        if width % 8 or channels % 8 or depth < 1 or mels < 1:
            raise ConfigError(
                f"the widths of logmel are multiples of 8, not {width} and {channels}, and depth={depth} and "
                f"mels={mels} are at least 1"
            )
        if not isinstance(preprocess, AudioPreprocess):
            raise ConfigError(f"logmel reads audio, not what {type(preprocess).__name__} makes")
        self.spectrogram = Spectrogram(rate=preprocess.rate, bands=mels, floor=_FLOOR)
        widths = [1, *(min(width, channels * 2**at) for at in range(depth))]
        self.convolutions = nn.Sequential(*(ConvStage(*pair) for pair in pairwise(widths)))
        self.project = nn.Linear(widths[-1] * -(-mels // 2**depth), width)
        self.norm = nn.LayerNorm(width)
        self.pool = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())
        self.cell = 2**depth
        tokens = -(-self.spectrogram.frames(preprocess.length) // self.cell)
        self.spec = FeatureSpec(field.name, "audio", width, tokens, has_tokens=True)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`waveform` float32 [U, L] and `mask` bool [U, L] -> Features of U clips."""
        valid_UT = self.spectrogram.valid(inputs["mask"])
        x_UMT = (self.spectrogram(inputs["waveform"]) - _MEAN) / _DEVIATION
        x_UMT = torch.where(valid_UT[:, None], x_UMT, 0.0)
        x_UCMN = self.convolutions(x_UMT[:, None])
        x_UND = self.norm(self.project(x_UCMN.flatten(1, 2).transpose(1, 2)))
        mask_UN = valid_UT[:, :: self.cell]
        highest_UD = amax(torch.where(mask_UN[..., None], x_UND, torch.finfo(x_UND.dtype).min), 1)
        return Features(x_UND, mask_UN, self.pool(torch.cat([masked_mean(x_UND, mask_UN), highest_UD], dim=-1)))

    def layers(self) -> Sequence[nn.Module]:
        """The convolutions."""
        return list(self.convolutions)
