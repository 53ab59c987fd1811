"""Laws of the mirrors and of the laser."""

from __future__ import annotations

import numpy as np
import pytest

from opusim.device.dmd import Dmd, unpack_mirrors
from opusim.device.laser import Laser

PLAIN = Dmd(name="x", shape=(64, 80), pitch_m=10e-6)


def test_photons_of_the_laser():
    """P t / (h c / lambda): 1 mW at 532 nm for 1 ms is 1e-6 J / 3.7340e-19 J (CODATA h and c)."""
    energy = 6.62607015e-34 * 299792458 / 532e-9
    assert Laser(wavelength_m=532e-9, power_w=1e-3).photons(1e-3) == pytest.approx(1e-6 / energy, rel=1e-12)


def test_power_noise_has_its_spread_and_belongs_to_its_frame():
    """Standard deviation of 20 000 frames within five sigma (5/sqrt(2 n) = 2.5 %); a frame keeps its noise."""
    laser = Laser(power_noise=0.01)
    n = 20_000
    power = laser.relative_power(np.arange(n), np.zeros(n), seed=3)
    assert power.std() == pytest.approx(0.01, rel=5 / np.sqrt(2 * n))
    assert power.mean() == pytest.approx(1, abs=5 * 0.01 / np.sqrt(n))
    assert abs(np.corrcoef(power[1:], power[:-1])[0, 1]) < 5 / np.sqrt(n)
    np.testing.assert_array_equal(laser.relative_power(np.arange(500, 600), np.zeros(100), seed=3), power[500:600])
    assert not np.array_equal(laser.relative_power(np.arange(100), np.zeros(100), seed=4), power[:100])


def test_power_drift_changes_by_its_rate_in_an_hour():
    """Root mean square change over an hour, over 400 seeds: within five sigma, 5/sqrt(2 x 400) = 18 %.

    It is a random walk: in five minutes about sqrt(1/12) of that, in 24 hours several times as much.
    """
    laser = Laser(power_drift_per_hour=0.01)
    times = np.array([0.0, 1.0, 300.0, 3600.0, 86400.0])
    changes = []
    for seed in range(400):
        x = laser.relative_power(np.zeros(5, int), times, seed=seed)
        assert x[0] == 1
        changes.append(x - 1)
    rms = np.sqrt(np.mean(np.square(changes), axis=0))
    assert rms[3] == pytest.approx(0.01, rel=0.18)
    assert rms[1] < 1e-4
    assert 0.2 < rms[2] / rms[3] < 0.4
    assert rms[4] > 2.5 * rms[3]


def test_steady_laser_is_steady():
    np.testing.assert_array_equal(Laser().relative_power(np.arange(5), np.arange(5.0), seed=0), np.ones(5))


def test_contrast_ratio_is_the_ratio_of_intensities():
    dmd = Dmd(name="x", shape=(64, 80), pitch_m=10e-6, contrast_ratio=1000)
    on = np.abs(dmd.field(np.ones((64, 80), np.uint8), seed=0)) ** 2
    off = np.abs(dmd.field(np.zeros((64, 80), np.uint8), seed=0)) ** 2
    assert on.sum() / off.sum() == pytest.approx(1000, rel=1e-5)
    assert np.abs(PLAIN.field(np.zeros((64, 80), np.uint8), seed=0)).max() == 0


def test_beam_is_gaussian_and_keeps_the_power():
    """Intensity falls to 1/e^2 at the beam's radius; the power on the array is the laser's whatever the radius."""
    radius = 20 * 10e-6
    dmd = Dmd(name="x", shape=(65, 81), pitch_m=10e-6, beam_radius_m=radius)
    intensity = np.abs(dmd.field(np.ones((65, 81), np.uint8), seed=0)) ** 2
    assert intensity[32, 60] / intensity[32, 40] == pytest.approx(np.exp(-2), rel=1e-4)
    assert intensity[52, 40] / intensity[32, 40] == pytest.approx(np.exp(-2), rel=1e-4)
    assert intensity.mean() == pytest.approx(1, rel=1e-5)


def test_aberration_is_a_phase_of_its_rms_and_of_low_order():
    dmd = Dmd(name="x", shape=(64, 80), pitch_m=10e-6, aberration_rms_rad=0.7)
    phase = dmd.phase_rad(5).astype(float)
    assert phase.std() == pytest.approx(0.7, rel=1e-4)
    assert phase.mean() == pytest.approx(0, abs=1e-4)
    # Low order: less than 1 % of its power beyond 6 cycles across the array, tilt-window by a Hann.
    window = np.hanning(64)[:, None] * np.hanning(80)[None, :]
    spectrum = np.abs(np.fft.fft2(phase * window)) ** 2
    fy, fx = np.fft.fftfreq(64, 1 / 64)[:, None], np.fft.fftfreq(80, 1 / 80)[None, :]
    assert spectrum[np.hypot(fy, fx) > 6].sum() < 0.01 * spectrum.sum()
    field = dmd.field(np.ones((64, 80), np.uint8), seed=5)
    np.testing.assert_allclose(np.abs(field), 1, rtol=1e-5)
    np.testing.assert_allclose(np.angle(field * np.exp(-1j * phase)), 0, atol=1e-5)
    assert not np.array_equal(dmd.phase_rad(6), dmd.phase_rad(5))


def test_stuck_mirrors_do_not_obey():
    """Shares within five sigma of the binomial spread; the same mirrors whatever is shown."""
    dmd = Dmd(name="x", shape=(200, 200), pitch_m=10e-6, stuck_on_fraction=0.02, stuck_off_fraction=0.03)
    n = 200 * 200
    off_shown = np.abs(dmd.field(np.zeros((200, 200), np.uint8), seed=1)) ** 2
    on_shown = np.abs(dmd.field(np.ones((200, 200), np.uint8), seed=1)) ** 2
    assert (off_shown == 1).mean() == pytest.approx(0.02, abs=5 * np.sqrt(0.02 / n))
    assert (on_shown == 0).mean() == pytest.approx(0.03, abs=5 * np.sqrt(0.03 / n))
    assert not np.any((off_shown == 1) & (on_shown == 0))
    np.testing.assert_array_equal(dmd.stuck(1), dmd.stuck(1))
    assert not np.array_equal(dmd.stuck(1), dmd.stuck(2))


def test_packed_bits_are_little_endian_in_raster_order():
    mirrors = np.random.default_rng(0).integers(0, 2, size=(2, 16, 24), dtype=np.uint8)
    packed = np.zeros((2, 48), np.uint8)
    for k in range(16 * 24):
        packed[:, k // 8] |= mirrors.reshape(2, -1)[:, k] << (k % 8)
    np.testing.assert_array_equal(unpack_mirrors(packed, (16, 24)), mirrors)
