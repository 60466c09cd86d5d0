"""The spectrogram against transformers', which computes Kaldi's, and against what is known of a sine."""

import numpy as np
import pytest
import torch
from automm_audio.spectrogram import Spectrogram, mel_filters, valid_windows
from transformers import audio_utils

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("rate", "bands"), [(16_000, 64), (8_000, 40)])
def test_it_is_the_filter_bank_of_kaldi(rate, bands):
    noise = RANDOM.normal(size=rate // 2).astype(np.float32) / 4
    spectrogram = Spectrogram(rate=rate, bands=bands, floor=1e-7)
    size = 2 * (spectrogram.filters_MF.shape[1] - 1)
    filters = audio_utils.mel_filter_bank(
        size // 2 + 1, bands, 20, rate // 2, rate, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    wanted = audio_utils.spectrogram(
        noise,
        audio_utils.window_function(spectrogram.frame, "hann", periodic=False),
        frame_length=spectrogram.frame,
        hop_length=spectrogram.hop,
        fft_length=size,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1e-7,
        remove_dc_offset=True,
    )
    found = spectrogram(torch.from_numpy(noise)[None])[0].numpy()
    assert found.shape == (bands, spectrogram.frames(len(noise))) == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_a_sine_lies_in_its_band_and_silence_at_the_floor():
    rate, hertz = 16_000, 3000
    sine = torch.sin(2 * torch.pi * hertz * torch.arange(rate) / rate)
    spectrogram = Spectrogram(rate=rate, bands=64, floor=1e-5)
    found = spectrogram(torch.stack([sine, torch.zeros(rate), torch.full((rate,), 0.7)]))
    centres = mel_filters(257, 64, rate) @ np.linspace(0, rate / 2, 257) / mel_filters(257, 64, rate).sum(1)
    assert abs(centres[found[0].mean(-1).argmax()] - hertz) < 150
    assert torch.equal(found[1], torch.full_like(found[1], np.log(1e-5)))
    assert found[2].max() < np.log(1e-5) + 0.1  # a frame's mean is removed


def test_windows_are_valid_where_all_of_them_is_in_the_clip():
    mask = torch.arange(20) < torch.tensor([[20], [13], [12], [1]])
    found = valid_windows(mask, 5, 4)
    assert found.tolist() == [[True] * 4, [True] * 3 + [False], [True] * 2 + [False] * 2, [True] + [False] * 3]


def test_half_precision_around_it_does_not_reach_it():
    noise = torch.from_numpy(RANDOM.normal(size=(1, 4000)).astype(np.float32))
    spectrogram = Spectrogram(rate=16_000, bands=32, floor=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = spectrogram(noise)
    assert torch.equal(found, spectrogram(noise))
