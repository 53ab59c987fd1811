"""Off-axis holography: the field from one frame where the carrier condition holds, a sentence where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from opusim.calibration.algorithms import off_axis


def far(found, true):
    """Largest error over the rms of the truth."""
    return np.max(np.abs(found - true)) / np.sqrt(np.mean(np.abs(true) ** 2))


SIZE, BAND = 96, 1 / 12
TILT = (0.25, 24 / 96)


def band_limited(seed, size=SIZE, band=BAND):
    """Speckle whose spectrum is a disc of radius `band` (periodic), of mean intensity 1."""
    rng = np.random.default_rng(seed)
    f = fft.fftfreq(size)
    spectrum = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    field = fft.ifft2(spectrum * (np.hypot(f[:, None], f) <= band))
    return field / np.sqrt(np.mean(np.abs(field) ** 2))


def tilted(tilt, size=SIZE, amplitude=3.0):
    rows, columns = np.mgrid[:size, :size]
    return amplitude * np.exp(2j * np.pi * (tilt[0] * rows + tilt[1] * columns))


def test_off_axis_recovers_the_field():
    """One frame where the side bands are free: exact, in single precision, in a batch too."""
    signal = np.stack([band_limited(1), band_limited(2)])
    frames = np.abs(signal + tilted(TILT)) ** 2
    fit = off_axis.demodulate(frames.astype(np.float32), TILT, BAND)
    assert fit.q.dtype == np.complex64
    assert far(fit.field(9.0), signal) < 1e-5
    assert far(fit.offset, np.abs(signal) ** 2 + 9) < 1e-5


def test_off_axis_at_the_limit_of_the_carrier_condition():
    tilt = (25 / 96, 0.0)  # three half bandwidths and one frequency of the frame
    signal = band_limited(3)
    frame = np.abs(signal + tilted(tilt)) ** 2
    assert far(off_axis.demodulate(frame, tilt, BAND).field(9.0), signal) < 1e-5


def test_off_axis_with_known_background():
    """With |S|^2 + |R|^2 taken off, a carrier of 1.5 half bandwidths is enough."""
    tilt = (12 / 96, 0.0)
    signal = band_limited(4)
    frame = np.abs(signal + tilted(tilt)) ** 2
    with pytest.raises(ValueError, match="3 half bandwidths"):
        off_axis.demodulate(frame, tilt, BAND)
    fit = off_axis.demodulate(frame, tilt, BAND, background=np.abs(signal) ** 2 + 9)
    assert far(fit.field(9.0), signal) < 1e-5


@pytest.mark.parametrize("tilt", [TILT, (-0.22, 0.24), (0.3, -0.1)])
def test_carrier_is_found(tilt):
    """Ten frames of 2 B 96 = 16 grains across: to a twentieth of the half bandwidth, either sign by the hint."""
    signal = np.stack([band_limited(seed) for seed in range(10)])
    frames = np.abs(signal + tilted(tilt)) ** 2
    found = off_axis.find_carrier(frames, BAND, near=tilt + np.array([0.02, -0.03]))
    assert np.max(np.abs(found - tilt)) < BAND / 20
    other = off_axis.find_carrier(frames, BAND, near=(-tilt[0], -tilt[1]))
    assert np.max(np.abs(other + tilt)) < BAND / 20
    free = off_axis.find_carrier(frames, BAND)
    assert np.max(np.abs(free - np.sign(tilt[0]) * np.array(tilt))) < BAND / 20


def test_off_axis_in_a_frame_that_is_not_periodic():
    """A window cut from a larger field, with a tilt off the grid: 4 % rms beyond two grains from the edge."""
    signal = band_limited(5, 192)
    tilt = (0.2531, 0.2417)
    frame = (np.abs(signal + tilted(tilt, 192)) ** 2)[:150, :140]
    found = off_axis.demodulate(frame, tilt, BAND).field(9.0)
    inside = (slice(12, -12), slice(12, -12))
    error = found[inside] - signal[:150, :140][inside]
    assert np.sqrt(np.mean(np.abs(error) ** 2)) < 0.04


def test_no_carrier_is_said():
    signal = band_limited(6)
    with pytest.raises(ValueError, match="no side band"):
        off_axis.find_carrier(np.abs(signal) ** 2, BAND)
    with pytest.raises(ValueError, match="no side band"):
        off_axis.find_carrier(np.ones((64, 64)), BAND)


@pytest.mark.parametrize("tilt, words", [((0.1, 0.1), "3 half bandwidths"), ((0.49, 0.5), "too coarse")])
def test_carrier_condition_is_kept(tilt, words):
    with pytest.raises(ValueError, match=words):
        off_axis.demodulate(np.ones((64, 64)), tilt, BAND)
