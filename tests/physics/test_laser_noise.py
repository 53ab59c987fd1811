"""Noise of the laser's power that has a bandwidth: its mean over an exposure, and what two exposures share.

The law is that of any stationary process (Papoulis, Probability, Random Variables and Stochastic Processes, section on
time averages): the covariance of two means is the mean of the covariance over pairs of moments. Here it is the triangle
max(0, 1 - |t - t'| / h) with h = 1 / (2 B); the mean is taken numerically.
"""

from __future__ import annotations

import numpy as np
import pytest

from opusim import Device, OpticalBench
from opusim.base import rng
from opusim.device.laser import Laser

BANDWIDTH_HZ = 1e4
CELL_S = 1 / (2 * BANDWIDTH_HZ)
NOISY = Laser(power_noise=0.02, power_noise_bandwidth_hz=BANDWIDTH_HZ)
# Exposures in cells: far below, below, at, above and far above one.
LENGTHS = (0.01, 0.5, 1.0, 1.5, 6.0, 400.0)


def mean_of_triangle(length: float, lag: float) -> float:
    """Mean of the triangle over a moment of each of two exposures, all in cells: midpoints, good to about 1e-6.

    It depends on the difference of the moments alone, which has the law of a triangle over the exposure.
    """
    n = 200_000
    difference = (np.arange(-n, n) + 0.5) / n * length
    weight = 1 - np.abs(difference) / length
    return float(np.sum(weight * np.maximum(0.0, 1 - np.abs(lag + difference))) / np.sum(weight))


@pytest.mark.parametrize("length", LENGTHS)
def test_closed_forms_are_the_mean_over_pairs_of_moments(length):
    """Of the rms in one exposure and the correlation of two: 1e-4, the midpoints' error where a cell is few of them."""
    variance = mean_of_triangle(length, 0.0)
    exposure_s = length * CELL_S
    assert NOISY.power_noise_in(exposure_s) == pytest.approx(0.02 * np.sqrt(variance), rel=1e-4)
    for gap in (0.0, 0.3, 0.9):
        expected = mean_of_triangle(length, length + gap) / variance
        found = NOISY.power_noise_correlation(exposure_s, (length + gap) * CELL_S)
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-7)
    assert NOISY.power_noise_correlation(exposure_s, (length + 1) * CELL_S * (1 + 1e-12)) == 0


def test_ends_of_the_closed_forms():
    """A moment has the noise itself, 1 s at 10 kHz the root of 1 / 20000 of it; without a bandwidth all are alike."""
    assert NOISY.power_noise_in(0.0) == 0.02
    assert NOISY.power_noise_in(1.0) == pytest.approx(0.02 / np.sqrt(20_000), rel=1e-4)
    assert NOISY.power_noise_correlation(1e-12, 0.25 * CELL_S) == pytest.approx(0.75, rel=1e-6)
    plain = Laser(power_noise=0.02)
    assert plain.power_noise_in(1e-6) == plain.power_noise_in(10.0) == 0.02
    assert plain.power_noise_correlation(1e-3, 2e-3) == 0


@pytest.mark.parametrize("length", LENGTHS)
def test_frames_have_the_spread_and_the_correlation_of_the_law(length):
    """Pairs of neighbouring exposures, a quarter of a cell apart; pairs share nothing and begin anywhere in a cell.

    40 000 pairs: the spread to five sigma of a normal law's, 5 / sqrt(4 n), the correlation to 5 / sqrt(n).
    """
    n, exposure_s = 40_000, length * CELL_S
    lag_s = exposure_s + 0.25 * CELL_S
    begin = np.arange(n) * (2 * lag_s + 4.37 * CELL_S)
    times = np.stack([begin, begin + lag_s], axis=1).ravel()
    power = NOISY.relative_power(np.arange(2 * n), times, seed=5, exposure_s=exposure_s).reshape(n, 2) - 1
    variance = mean_of_triangle(length, 0.0)
    assert power.std() == pytest.approx(0.02 * np.sqrt(variance), rel=5 / np.sqrt(4 * n))
    assert abs(power.mean()) < 5 * power.std() / np.sqrt(n)
    expected = mean_of_triangle(length, length + 0.25) / variance
    assert np.corrcoef(power.T)[0, 1] == pytest.approx(expected, abs=5 / np.sqrt(n))
    assert abs(np.corrcoef(power[1:, 0], power[:-1, 1])[0, 1]) < 5 / np.sqrt(n)


def test_a_short_exposure_is_the_mean_of_its_moments():
    """Power moment by moment, on 4000 midpoints, against the exposure's own: each step of a cell is off by 1 / 4000."""
    exposure_s, points = 0.8 * CELL_S, 4000
    begin = np.linspace(0, 40, 97) * CELL_S
    moments = (begin[:, None] + (np.arange(points) + 0.5) / points * exposure_s).ravel()
    inside = NOISY.relative_power(np.zeros(len(moments), int), moments, seed=2).reshape(-1, points).mean(axis=1)
    frames = NOISY.relative_power(np.arange(97), begin, seed=2, exposure_s=exposure_s)
    np.testing.assert_allclose(frames, inside, atol=0.02 * 8 / points)
    assert np.ptp(frames) > 0.04


def test_a_frame_keeps_its_power_whatever_it_is_asked_with():
    times = 37.0 + np.arange(300) * 500e-6
    frames = np.arange(1000, 1300)
    whole = NOISY.relative_power(frames, times, seed=1, exposure_s=4e-4)
    some = np.array([250, 3, 17])
    again = NOISY.relative_power(frames[some], times[some], seed=1, exposure_s=4e-4)
    np.testing.assert_array_equal(again, whole[some])
    assert not np.array_equal(NOISY.relative_power(frames, times, seed=2, exposure_s=4e-4), whole)


def test_without_a_bandwidth_the_noise_is_that_of_the_frame():
    """To the bit what it was: 1 + sigma times the normal number of the frame, whatever the exposure."""
    frames = np.arange(7, 90)
    noise = rng.normals(rng.key_of(3, "laser noise"), 83, offset=7).astype(np.float64)
    for exposure_s in (0.0, 1e-5, 1.0):
        power = Laser(power_noise=0.01).relative_power(frames, frames * 1e-3, seed=3, exposure_s=exposure_s)
        np.testing.assert_array_equal(power, 1 + 0.01 * noise)


def test_times_that_a_clock_can_hold():
    """1e12 s in cells of half a nanosecond: numbers beyond 64 bits. The power is a number of the right size."""
    laser = Laser(power_noise=0.01, power_noise_bandwidth_hz=1e9)
    power = laser.relative_power(np.arange(2000), 1e12 + np.arange(2000.0), seed=0, exposure_s=0.0)
    assert np.isfinite(power).all() and power.std() == pytest.approx(0.01, rel=0.1)
    long = laser.relative_power(np.arange(2000), 1e12 + np.arange(2000.0), seed=0, exposure_s=0.5)
    assert np.isfinite(long).all() and np.abs(long - 1).max() < 1e-4
    assert len(laser.relative_power(np.zeros(0, int), np.zeros(0), seed=0, exposure_s=1e-3)) == 0


@pytest.mark.parametrize("exposure_s", [20e-6, 2e-3])
def test_frames_of_a_bench_are_averaged_over_their_exposure(exposure_s):
    """A device without any other noise: 600 frames of one pattern differ by the power alone, to five sigma."""
    small = {"dmd.shape": (16, 16), "camera.shape": (16, 16), "operation.ones_range": (1, 250)}
    device = Device.load("ideal").evolve(
        **small, **{"laser.power_noise": 0.03, "laser.power_noise_bandwidth_hz": BANDWIDTH_HZ}
    )
    bench = OpticalBench(device, seed=1, execution="waves")
    mirrors = np.random.default_rng(0).integers(0, 2, size=(16, 16), dtype=np.uint8)
    planes = bench.inspect(mirrors, exposure_s=exposure_s)
    frames = bench.expose(np.broadcast_to(mirrors, (600, 16, 16)), exposure_s=exposure_s, frametime_s=3.1e-3)
    np.testing.assert_allclose(planes.counts, frames[0], rtol=1e-6)
    power = frames.reshape(600, -1).mean(axis=1)
    expected = 0.03 * np.sqrt(mean_of_triangle(exposure_s / CELL_S, 0.0))
    assert power.std() / power.mean() == pytest.approx(expected, rel=5 / np.sqrt(1200))


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1.0, ValueError), (float("nan"), ValueError), (2e9, ValueError), ("wide", TypeError)],
)
def test_a_bandwidth_out_of_range_is_refused(value, error):
    with pytest.raises(error, match=r"laser\.power_noise_bandwidth_hz is .* must be"):
        Laser(power_noise_bandwidth_hz=value)
