"""Resampling against sines whose samples are known at every rate."""

import numpy as np
import pytest

from automm.runtime.resample import resample


def sine(hertz, rate, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "target"),
    [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 16000), (11025, 16000), (16000, 44100), (1000, 16000)],
)
def test_a_sine_keeps_its_frequency_height_and_phase(rate, target):
    hertz = 0.35 * min(rate, target)
    found = resample(sine(hertz, rate), rate, target)
    wanted = sine(hertz, target)
    assert found.dtype == np.float32
    assert len(found) == len(wanted)
    edge = 40 + 40 * target // rate
    np.testing.assert_allclose(found[edge:-edge], wanted[edge:-edge], atol=1e-5)


@pytest.mark.parametrize("hertz", [8100, 9000, 12_000, 20_000])
def test_what_the_new_rate_cannot_hold_is_not_folded_back(hertz):
    found = resample(sine(hertz, 44100), 44100, 16000)
    assert np.abs(found[100:-100]).max() < 10 ** (-90 / 20)


@pytest.mark.parametrize(("rate", "target"), [(44100, 16000), (8000, 16000)])
def test_a_constant_stays_what_it_is(rate, target):
    found = resample(np.full(4000, 0.5, np.float32), rate, target)
    np.testing.assert_allclose(found[300:-300], 0.5, atol=1e-6)


def test_a_ratio_of_too_many_phases_gets_one_nearby():
    found, wanted = resample(sine(300, 44101, 0.2), 44101, 16000), sine(300, 16000, 0.2)
    assert abs(len(found) - len(wanted)) <= 1
    np.testing.assert_allclose(found[100:3000], wanted[100:3000], atol=1e-3)


def test_nothing_and_the_same_rate_stay_as_they_are():
    x = sine(100, 8000)
    assert resample(x, 8000, 8000) is x
    assert resample(x[:0], 44100, 8000).shape == (0,)
    assert resample(x[:1], 8000, 44100).shape == (6,)
