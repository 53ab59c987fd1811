"""Noise of the laser's power that has a bandwidth: its mean over an exposure, and what two exposures share.

The law is that of any stationary process (Papoulis, Probability, Random Variables and Stochastic Processes, section on
time averages): the covariance of two means is the mean of the covariance over pairs of moments. Here it is that of
Lorentzian noise of the equivalent bandwidth B, exp(-4 B |t - t'|); the mean is taken numerically.
"""

from __future__ import annotations

import numpy as np
import pytest

from opusim import Device, OpticalBench
from opusim.base import rng
from opusim.device.laser import Laser

BANDWIDTH_HZ = 1e4
DECAY_S = 1 / (4 * BANDWIDTH_HZ)
NOISY = Laser(power_noise=0.02, power_noise_bandwidth_hz=BANDWIDTH_HZ)
# Exposures in units of 1 / (4 B): far below, below, at and above one; jump by jump up to 12, more at once beyond.
LENGTHS = (0.01, 0.5, 1.0, 3.0, 11.9, 12.1, 40.0, 800.0)


def mean_of_decay(length: float, lag: float) -> float:
    """Mean of exp(-|t - t'|) over a moment of each of two exposures, in units of 1 / (4 B): midpoints, good to 1e-6.

    It depends on the difference of the moments alone, which has the law of a triangle over the exposure.
    """
    n = 400_000
    difference = (np.arange(-n, n) + 0.5) / n * length
    weight = 1 - np.abs(difference) / length
    return float(np.sum(weight * np.exp(-np.abs(lag + difference))) / np.sum(weight))


@pytest.mark.parametrize("length", LENGTHS)
def test_closed_forms_are_the_mean_over_pairs_of_moments(length):
    """Of the rms in one exposure and the correlation of two: 1e-5, the midpoints' error for the longest."""
    variance = mean_of_decay(length, 0.0)
    exposure_s = length * DECAY_S
    assert NOISY.power_noise_in(exposure_s) == pytest.approx(0.02 * np.sqrt(variance), rel=1e-5)
    for gap in (0.0, 0.3, 2.0):
        expected = mean_of_decay(length, length + gap) / variance
        found = NOISY.power_noise_correlation(exposure_s, (length + gap) * DECAY_S)
        assert found == pytest.approx(expected, rel=1e-5)


def test_ends_of_the_closed_forms():
    """A moment has the noise itself, 1 s at 10 kHz the root of 1 / 20000 of it; without a bandwidth all are alike."""
    assert NOISY.power_noise_in(0.0) == 0.02
    assert NOISY.power_noise_in(1.0) == pytest.approx(0.02 / np.sqrt(20_000), rel=1e-4)
    for exposure_s in (0.0, 1e-15, 1e-12):  # where differences of the closed form are lost in rounding
        found = NOISY.power_noise_correlation(exposure_s, 0.25 * DECAY_S)
        assert found == pytest.approx(np.exp(-0.25), rel=1e-6)
    assert NOISY.power_noise_correlation(1e-3, 1.0) == 0
    # Where the series gives way to the closed form.
    below, above = (NOISY.power_noise_in(0.5 * DECAY_S * (1 + sign * 1e-9)) for sign in (-1, 1))
    assert 0 < below / above - 1 < 1e-9
    plain = Laser(power_noise=0.02)
    assert plain.power_noise_in(1e-6) == plain.power_noise_in(10.0) == 0.02
    assert plain.power_noise_correlation(1e-3, 2e-3) == 0


@pytest.mark.parametrize("length", LENGTHS)
def test_frames_have_the_spread_and_the_correlation_of_the_law(length):
    """Pairs of neighbouring exposures, a quarter of a decay apart; pairs are so far apart that they share nothing.

    40 000 pairs: to five sigma. The noise is normal given its jumps, with an excess kurtosis e of at most
    3 (1 / v - 1) where v is the variance's share that is left, and of 12 at most: (2 + e) / (4 n) for the spread's
    relative variance, (1 + e / 2) / n at most for the correlation's.
    """
    n, exposure_s = 40_000, length * DECAY_S
    lag_s = exposure_s + 0.25 * DECAY_S
    begin = np.arange(n) * (2 * lag_s + 14.37 * DECAY_S)
    times = np.stack([begin, begin + lag_s], axis=1).ravel()
    power = NOISY.relative_power(np.arange(2 * n), times, seed=5, exposure_s=exposure_s).reshape(n, 2) - 1
    variance = mean_of_decay(length, 0.0)
    excess = min(3 * (1 / variance - 1), 6 / length)
    assert power.std() == pytest.approx(0.02 * np.sqrt(variance), rel=5 * np.sqrt((2 + excess) / 4 / n))
    assert abs(power.mean()) < 5 * power.std() / np.sqrt(n)
    expected = mean_of_decay(length, length + 0.25) / variance
    limit = 5 * np.sqrt((1 + excess / 2) / n)
    assert np.corrcoef(power.T)[0, 1] == pytest.approx(expected, abs=limit)
    assert abs(np.corrcoef(power[1:, 0], power[:-1, 1])[0, 1]) < limit


@pytest.mark.parametrize("exposure_s", [100e-6, 400e-6])
@pytest.mark.parametrize("bandwidth_hz", [0.5e3, 1e3, 4e3, 100e3])
def test_each_seed_has_the_law_at_frame_times_in_a_simple_ratio_to_the_bandwidth(bandwidth_hz, exposure_s):
    """500 us are 1, 2, 8 and 200 times 1 / (4 B). A process on a lattice would have another law for each seed.

    Frames k apart correlate by r^k at most with r = exp(-4 B 500 us), as do their squares: (1 + r) / (1 - r) times the
    variances of independent ones. Excess kurtosis as above. Five sigma.
    """
    laser = Laser(power_noise=0.02, power_noise_bandwidth_hz=bandwidth_hz)
    n, frametime_s = 40_000, 500e-6
    decays = 4 * bandwidth_hz * exposure_s
    variance = mean_of_decay(decays, 0.0)
    expected = mean_of_decay(decays, 4 * bandwidth_hz * frametime_s) / variance
    excess = min(3 * (1 / variance - 1), 6 / decays)
    r = np.exp(-4 * bandwidth_hz * frametime_s)
    several = (1 + r) / (1 - r) / n
    found = []
    for seed in range(6):
        times = 11.0 + frametime_s * np.arange(n)
        power = laser.relative_power(np.arange(n), times, seed=seed, exposure_s=exposure_s) - 1
        assert power.std() == pytest.approx(0.02 * np.sqrt(variance), rel=5 * np.sqrt((2 + excess) / 4 * several))
        found.append(np.corrcoef(power[1:], power[:-1])[0, 1])
        assert found[-1] == pytest.approx(expected, abs=5 * np.sqrt((1 + excess / 2) * several))
    assert np.ptp(found) < 0.06


def test_moments_decay_as_an_exponential_and_jump_as_a_poisson_process():
    """Moments of a fine comb: correlation at .5, 1 and 3 decays, and times between jumps, mean and spread alike.

    2e6 moments over 1e5 decays: correlations to 5 sigma, 5 sqrt(2 / 1e5); jumps to 5 / sqrt(1e5), of an exponential
    law whose spread is off by sqrt(2 / n), both rounded to the comb's step of .05.
    """
    step, n = 0.05, 2_000_000
    moments = NOISY.relative_power(np.zeros(n, int), np.arange(n) * step * DECAY_S, seed=8) - 1
    for decays in (0.5, 1.0, 3.0):
        k = round(decays / step)
        assert np.mean(moments[k:] * moments[:-k]) / 0.02**2 == pytest.approx(np.exp(-decays), abs=5 * np.sqrt(2 / 1e5))
    changed = np.flatnonzero(np.diff(moments)) * step
    # Of jumps closer than a step only one is seen: a moment differs from the last with 1 - exp(-step).
    assert len(changed) / n == pytest.approx(1 - np.exp(-step), rel=5 / np.sqrt(1e5))
    gaps = np.diff(changed)
    assert gaps.std() / gaps.mean() == pytest.approx(np.exp(-step / 2), rel=5 * np.sqrt(2 / 1e5))


@pytest.mark.parametrize("length", [0.4, 5.0])
def test_a_short_exposure_is_the_mean_of_its_moments(length):
    """Power moment by moment, on 4000 midpoints, against the exposure's own: each jump is off by at most 1 / 4000."""
    exposure_s, points = length * DECAY_S, 4000
    begin = np.linspace(0, 40, 97) * DECAY_S
    moments = (begin[:, None] + (np.arange(points) + 0.5) / points * exposure_s).ravel()
    inside = NOISY.relative_power(np.zeros(len(moments), int), moments, seed=2).reshape(-1, points).mean(axis=1)
    frames = NOISY.relative_power(np.arange(97), begin, seed=2, exposure_s=exposure_s)
    np.testing.assert_allclose(frames, inside, atol=0.02 * 20 / points)
    assert np.ptp(frames) > 0.02


def test_a_long_exposure_shares_its_ends_with_the_moments_beside_it():
    """The moment before, until the first jump, and the moment behind, since the last: covariance with the mean.

    Mean of exp(-t) over an exposure of 20 decays: (1 - exp(-20)) / 20 of the variance. 200 000 frames: to 5 sigma of a
    product, 5 sqrt(v / n) with v the mean's variance.
    """
    n, length = 200_000, 20.0
    begin = np.arange(n) * 37.3 * DECAY_S
    means = NOISY.relative_power(np.arange(n), begin, seed=4, exposure_s=length * DECAY_S) - 1
    variance = mean_of_decay(length, 0.0)
    for moment in (begin, begin + length * DECAY_S):
        moments = NOISY.relative_power(np.arange(n), moment, seed=4) - 1
        assert np.mean(moments * means) / 0.02**2 == pytest.approx(1 / length, abs=6 * np.sqrt(variance / n))


def test_a_frame_keeps_its_power_whatever_it_is_asked_with():
    times = 37.0 + np.arange(300) * 500e-6
    frames = np.arange(1000, 1300)
    some = np.array([250, 3, 17])
    for exposure_s in (2e-4, 4e-4):  # jump by jump, and more at once
        whole = NOISY.relative_power(frames, times, seed=1, exposure_s=exposure_s)
        again = NOISY.relative_power(frames[some], times[some], seed=1, exposure_s=exposure_s)
        np.testing.assert_array_equal(again, whole[some])
        assert not np.array_equal(NOISY.relative_power(frames, times, seed=2, exposure_s=exposure_s), whole)


def test_without_a_bandwidth_the_noise_is_that_of_the_frame():
    """To the bit what it was: 1 + sigma times the normal number of the frame, whatever the exposure."""
    frames = np.arange(7, 90)
    noise = rng.normals(rng.key_of(3, "laser noise"), 83, offset=7).astype(np.float64)
    for exposure_s in (0.0, 1e-5, 1.0):
        power = Laser(power_noise=0.01).relative_power(frames, frames * 1e-3, seed=3, exposure_s=exposure_s)
        np.testing.assert_array_equal(power, 1 + 0.01 * noise)


@pytest.mark.parametrize("start_s", [0.0, 1e5, 1e7, 1e12])
@pytest.mark.parametrize("exposure_s", [0.0, 1e-9, 4e-9, 1e-6])
def test_times_that_a_clock_can_hold(start_s, exposure_s):
    """The highest bandwidth: windows of .25 ns, which doubles cannot tell apart from 26 days on.

    A frame keeps its law, whatever is left of its time; at last windows have numbers beyond 64 bits. 20 000 frames a
    second apart: to 5 %, seven sigma of a normal law.
    """
    laser = Laser(power_noise=0.01, power_noise_bandwidth_hz=1e9)
    n = 20_000
    power = laser.relative_power(np.arange(n), start_s + np.arange(float(n)), seed=0, exposure_s=exposure_s)
    assert power.std() == pytest.approx(laser.power_noise_in(exposure_s), rel=0.05)


def test_no_frames_and_the_first_moment_of_all():
    """At time 0 the value is of a jump before it."""
    assert len(NOISY.relative_power(np.zeros(0, int), np.zeros(0), seed=0, exposure_s=1e-3)) == 0
    first = [NOISY.relative_power(np.zeros(1, int), np.zeros(1), seed=seed)[0] - 1 for seed in range(400)]
    assert np.std(first) == pytest.approx(0.02, rel=5 / np.sqrt(800))


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
    expected = 0.03 * np.sqrt(mean_of_decay(exposure_s / DECAY_S, 0.0))
    assert power.std() / power.mean() == pytest.approx(expected, rel=5 / np.sqrt(1200))


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1.0, ValueError), (float("nan"), ValueError), (1e12, ValueError), ("wide", TypeError)],
)
def test_a_bandwidth_out_of_range_is_refused(value, error):
    with pytest.raises(error, match=r"laser\.power_noise_bandwidth_hz is .* must be"):
        Laser(power_noise_bandwidth_hz=value)
