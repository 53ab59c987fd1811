"""The camera by the laws of EMVA 1288: what goes in as photons comes out as counts with the right moments.

Seeds are fixed, so a test passes or fails for good; each bound of five standard errors would raise a false
alarm with probability 6e-7 for a new seed, each chi-square test with 1e-6.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opusim.camera import Camera, SensorMaps
from opusim.sensor_kernels import _ALIAS, BLOCK, POISSON_THRESHOLD, develop_block, make_scratch
from scipy import stats

SIDE = 700
N = SIDE * SIDE
FIVE = 5 / math.sqrt(N)  # five standard errors of a mean, in standard deviations of one value
EXPOSURE_S = 400e-6

# Every imperfection off but those that each test adds; one electron per photon.
CLEAN = Camera("clean", (SIDE, SIDE), 5.5e-6, 1.0, 100.0, 1.0, 16, shot_noise=False)
REAL = Camera(
    "real", (SIDE, SIDE), 5.5e-6, 0.6, 100.0, 0.124, 12,
    full_well_e=32000.0, read_noise_e=7.0, dark_current_e_per_s=125.0, prnu=0.01, dsnu_e=15.0,
    hot_pixel_fraction=0.001, hot_pixel_dark_e_per_s=20_000.0, black_level_dn=40.0,
)  # fmt: skip


def shoot(camera, photons, *, exposure_s=EXPOSURE_S, seed=1, frames=None, **options):
    """Expose the whole sensor evenly (a number) or as given (an array of one value for each pixel)."""
    maps = camera.maps(seed)
    light = np.broadcast_to(np.float32(photons), (frames or 1, len(maps)))
    out = camera.expose(light, exposure_s=exposure_s, seed=seed, maps=maps, **options)
    return out if frames else out[0]


def electrons(camera, photons, *, seed=1, **options):
    maps = camera.maps(seed)
    light = np.broadcast_to(np.float32(photons), (1, len(maps)))
    return camera.electrons(light, exposure_s=EXPOSURE_S, seed=seed, maps=maps, **options)[0]


def temporal_variance(camera, photons, **options):
    """Variance of a pixel in time, from the difference of two frames: fixed patterns drop out (EMVA 1288, 6.6)."""
    a, b = shoot(camera, photons, frames=2, **options).astype(np.float64)
    return np.var(a - b) / 2


# ---------------------------------------------------------------------- shot noise: the Poisson law


def chi_square(counts, law):
    """Probability of so bad a fit, with bins of at least ten expected counts."""
    n = counts.size
    top = int(law.isf(10 / n)) + 1
    bottom = max(int(law.ppf(10 / n)) - 1, 0)
    edges = np.arange(bottom, max(top, bottom + 1) + 1)
    observed = np.bincount(np.clip(counts, bottom, edges[-1]).astype(np.int64) - bottom, minlength=edges.size)
    expected = n * law.pmf(edges)
    expected[0] = n * law.cdf(edges[0])
    expected[-1] = n * law.sf(edges[-1] - 1)
    while expected.size > 1 and expected[-1] < 10:
        expected, observed = np.r_[expected[:-2], expected[-2:].sum()], np.r_[observed[:-2], observed[-2:].sum()]
    while expected.size > 1 and expected[0] < 10:
        expected, observed = np.r_[expected[:2].sum(), expected[2:]], np.r_[observed[:2].sum(), observed[2:]]
    return stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), expected.size - 1)


MEANS = [1e-4, 0.01, 0.124, 0.125, 0.3, 1.0, 2.3, 5.06, 9.9, 11.99, 12.0, 12.01, 15.0, 40.0, 1000.0]


@pytest.mark.parametrize("mean", MEANS)
def test_electrons_follow_the_poisson_law(mean):
    camera = CLEAN.evolve(shot_noise=True)
    counts = np.concatenate([electrons(camera, mean, frame0=frame) for frame in range(4)])
    assert np.array_equal(counts, np.rint(counts)) and counts.min() >= 0
    law = stats.poisson(float(np.float32(mean)))
    assert chi_square(counts, law) > 1e-6
    assert counts.mean() == pytest.approx(mean, abs=FIVE / 2 * math.sqrt(mean))
    assert counts.var() == pytest.approx(mean, abs=FIVE / 2 * math.sqrt(2 * mean**2 + mean))


def test_no_light_gives_no_electrons():
    assert not electrons(CLEAN.evolve(shot_noise=True), 0.0).any()


def test_table_of_dim_pixels_is_the_poisson_law():
    # Every node of the table, all 64 columns: the law to the resolution of 32 random bits.
    rows = _ALIAS.reshape(-1, 64)
    assert rows.shape[0] == POISSON_THRESHOLD * 8
    for node, row in enumerate(rows):
        chance, alias = (row >> 6) / 2**26, (row & 63).astype(int)
        law = (chance + np.bincount(alias, weights=1 - chance, minlength=64)) / 64
        assert np.abs(law - stats.poisson.pmf(np.arange(64), node / 8)).sum() / 2 < 3e-8


def expansion(w, mean):
    """Giles (2016): the inverse of the Poisson distribution function at the probability of a normal number w."""
    return (
        mean + np.sqrt(mean) * w + 1 / 3 + w**2 / 6 + (-w / 36 - w**3 / 72) / np.sqrt(mean)
        + (-8 / 405 + 7 * w**2 / 810 + w**4 / 270) / mean
    )  # fmt: skip


@pytest.mark.parametrize("mean", [POISSON_THRESHOLD, 12.3, 12.5, 12.8, 14.0, 20.0, 50.0, 300.0])
def test_expansion_is_close_to_the_poisson_law_above_the_threshold(mean):
    # Where each count begins, by bisection; its probability is then a difference of normal probabilities.
    counts = np.arange(int(mean + 12 * math.sqrt(mean) + 20))
    low, high = np.full(counts.size, -9.0), np.full(counts.size, 9.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = expansion(middle, mean) < counts
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    begins = stats.norm.cdf(low)
    begins[0] = 0
    law = np.diff(np.r_[begins, 1.0])
    assert np.abs(law - stats.poisson.pmf(counts, mean)).sum() / 2 < 1e-4


def test_kernel_computes_the_expansion():
    mean = 500.0
    w = (shoot(CLEAN.evolve(read_noise_e=1.0, quantise=False), 0.0) - 0.0).astype(np.float64)
    assert abs(w.mean()) < FIVE  # the read noise, for the order of magnitude of the next line
    drawn = electrons(CLEAN.evolve(shot_noise=True), mean)
    shot = (drawn - mean) / math.sqrt(mean)
    assert stats.kstest(shot, lambda x: stats.poisson.cdf(np.floor(mean + x * math.sqrt(mean) + 1e-3), mean)).pvalue > 0
    assert abs(np.corrcoef(shot, w)[0, 1]) < FIVE  # shot and read noise are independent
    assert abs(np.corrcoef(shot**2, w**2)[0, 1]) < FIVE


def test_dim_pixels_are_the_same_alone_and_in_a_crowd():
    # A block with few dim pixels serves them one by one, one with many all at once: the same bits.
    camera = CLEAN.evolve(shot_noise=True)
    crowd = electrons(camera, 7.3)
    light = np.full(N, 800.0, np.float32)
    light[::97] = 7.3
    mixed = electrons(camera, light)
    np.testing.assert_array_equal(mixed[::97], crowd[::97])
    bright = electrons(camera, 800.0)
    keep = np.arange(N) % 97 != 0
    np.testing.assert_array_equal(mixed[keep], bright[keep])


@pytest.mark.parametrize("mean", [0.7, 6.0, 30.0, 2000.0])
def test_speckle_gives_negative_binomial_counts(mean):
    # Exponential intensity: Bose-Einstein counts, variance mean + mean^2 (physics: M = 1 mode).
    light = np.random.default_rng(3).exponential(mean, N).astype(np.float32)
    counts = electrons(CLEAN.evolve(shot_noise=True), light)
    assert chi_square(counts, stats.geom(1 / (1 + mean), loc=-1)) > 1e-6


# ---------------------------------------------------------------------- EMVA 1288


def test_photon_transfer_slope_is_the_gain():
    dark_mean, dark_variance = shoot(REAL, 0.0).astype(np.float64).mean(), temporal_variance(REAL, 0.0)
    photons = np.linspace(0.05, 0.7, 8) * REAL.full_well_e / REAL.quantum_efficiency
    signal = [shoot(REAL, p).astype(np.float64).mean() - dark_mean for p in photons]
    noise = [temporal_variance(REAL, p) - dark_variance for p in photons]
    # A variance from n pixels has a relative error of sqrt(2 / n) = 0.2 %; eight levels make 0.1 %.
    slope = np.dot(signal, noise) / np.dot(signal, signal)
    assert slope == pytest.approx(REAL.gain_dn_per_e, rel=0.005)
    np.testing.assert_allclose(np.divide(noise, signal), REAL.gain_dn_per_e, rtol=5 * math.sqrt(2 / N) * 1.1)


@pytest.mark.parametrize("exposure_s", [0.0, 1e-3, 0.1, 1.0, 10.0])
def test_dark_moments(exposure_s):
    camera = REAL.evolve(prnu=0.0, dsnu_e=0.0, hot_pixel_fraction=0.0)
    dark_e = camera.dark_current_e_per_s * exposure_s
    frame = shoot(camera, 0.0, exposure_s=exposure_s).astype(np.float64)
    k = camera.gain_dn_per_e
    variance = k**2 * (camera.read_noise_e**2 + dark_e) + 1 / 12
    assert frame.mean() == pytest.approx(camera.black_level_dn + k * dark_e, abs=FIVE * math.sqrt(variance))
    assert frame.var() == pytest.approx(variance, rel=FIVE * math.sqrt(2) * 1.1)


def test_response_is_linear():
    # EMVA 1288, 7.2: deviation from the line through black level and 90 % of saturation, relative to the value.
    photons = np.linspace(0.05, 0.9, 12) * REAL.full_well_e / REAL.quantum_efficiency
    black = shoot(REAL, 0.0).astype(np.float64).mean()
    signal = np.array([shoot(REAL, p).astype(np.float64).mean() - black for p in photons])
    line = np.dot(photons, signal) / np.dot(photons, photons) * photons
    assert np.abs(signal / line - 1).max() < 0.005
    expected = REAL.gain_dn_per_e * REAL.quantum_efficiency * photons
    np.testing.assert_allclose(signal, expected, rtol=0.001)


def test_signal_to_noise_ratio_is_that_of_the_standard():
    camera = REAL.evolve(prnu=0.0, dsnu_e=0.0, hot_pixel_fraction=0.0, dark_current_e_per_s=0.0)
    for photons in (300.0, 3000.0, 30_000.0):
        mu_e = camera.quantum_efficiency * photons
        expected = mu_e / math.sqrt(camera.read_noise_e**2 + 1 / 12 / camera.gain_dn_per_e**2 + mu_e)
        frame = shoot(camera, photons).astype(np.float64)
        assert (frame.mean() - camera.black_level_dn) / frame.std() == pytest.approx(expected, rel=FIVE * 2)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_saturation_at_full_scale(bits):
    camera = REAL.evolve(bits=bits, gain_dn_per_e=(2**bits - 1) / 10_000, full_well_e=math.inf)
    for photons in (1e5, 1e7, 1e12, 1e30):
        frame = shoot(camera, photons)
        assert frame.dtype == (np.uint8 if bits == 8 else np.uint16)
        assert (frame == 2**bits - 1).all()  # and never wraps


def test_saturation_at_the_full_well():
    camera = REAL.evolve(full_well_e=20_000.0, bits=12, dsnu_e=0.0, read_noise_e=0.0, black_level_dn=40.0)
    level = round(40 + camera.gain_dn_per_e * 20_000)
    assert level < camera.full_scale_dn
    for photons in (1e5, 1e9):
        assert (shoot(camera, photons) == level).all()
        assert (electrons(camera, photons) == 20_000).all()
    # Read noise comes after the well: it still shows, and shot noise does not.
    noisy = shoot(camera.evolve(read_noise_e=30.0), 1e6).astype(np.float64)
    assert noisy.var() == pytest.approx((camera.gain_dn_per_e * 30) ** 2 + 1 / 12, rel=FIVE * 2)


def test_dark_counts_stop_at_zero():
    frame = shoot(REAL.evolve(black_level_dn=0.0, read_noise_e=100.0), 0.0)
    assert frame.min() == 0 and (frame == 0).mean() == pytest.approx(0.5, abs=0.03)
    assert frame.max() < 100


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_rounding_adds_one_twelfth(bits):
    # A ramp over many grey levels: the place between two levels is uniform, as the formula supposes.
    camera = CLEAN.evolve(bits=bits)
    ramp = np.linspace(10.0, camera.full_scale_dn - 10.0, N, dtype=np.float32)
    error = shoot(camera, ramp) - ramp.astype(np.float64)
    assert abs(error).max() <= 0.5
    assert error.var() == pytest.approx(1 / 12, rel=0.01)
    assert abs(error.mean()) < 0.003


def test_rounding_takes_the_nearest():
    levels = np.array([0.0, 0.4, 0.6, 1.4, 1.6, 254.4, 254.6, 255.4, 300.0], np.float32)
    camera = CLEAN.evolve(bits=8)
    maps = camera.maps(0, np.arange(levels.size))
    out = camera.expose(levels, exposure_s=0.0, seed=0, maps=maps)
    assert out.tolist() == [0, 0, 1, 1, 2, 254, 255, 255, 255]


def test_rounding_noise_adds_to_read_noise():
    # From a read noise of half a grey level on, the rounding noise is uniform wherever the mean lies.
    for mean in (100.0, 100.25, 100.5):
        frame = shoot(CLEAN.evolve(read_noise_e=1.5), mean).astype(np.float64)
        assert frame.var() == pytest.approx(1.5**2 + 1 / 12, rel=FIVE * math.sqrt(2))


def test_shot_noise_in_electrons_does_not_depend_on_the_bits():
    well, mean = 10_000.0, 4000.0
    found, drawn = [], []
    for bits in (8, 10, 12, 16):
        camera = CLEAN.evolve(bits=bits, gain_dn_per_e=(2**bits - 1) / well, shot_noise=True)
        frame = shoot(camera, mean).astype(np.float64)
        found.append((frame.var() - 1 / 12) / camera.gain_dn_per_e**2)
        drawn.append(electrons(camera, mean))
    np.testing.assert_allclose(found, mean, rtol=FIVE * math.sqrt(2))
    assert all(np.array_equal(drawn[0], other) for other in drawn[1:])


@pytest.mark.parametrize("photons", [3.0, 12.0, 25.0, 400.0, 20_000.0])
def test_kernel_agrees_with_the_plain_version(photons):
    maps = REAL.maps(2)
    light = np.full(N, photons, np.float32)
    fast = REAL.expose(light, exposure_s=EXPOSURE_S, seed=2, maps=maps)
    plain = REAL.expose_reference(light, exposure_s=EXPOSURE_S, generator=np.random.default_rng(9), maps=maps)
    assert fast.dtype == plain.dtype and fast.shape == plain.shape
    a, b = fast.astype(np.float64), plain.astype(np.float64)
    # The two share PRNU and DSNU; what differs is temporal.
    spread = np.std(a - b)
    assert abs(a.mean() - b.mean()) < FIVE * spread
    assert abs(a.var() - b.var()) < 2 * FIVE * math.sqrt(2) * a.var()
    top = int(max(a.max(), b.max())) + 1
    both = np.stack([np.bincount(x, minlength=top) for x in (fast, plain)])
    both = both[:, both.sum(axis=0) >= 20]
    assert stats.chi2_contingency(both).pvalue > 1e-6


# ---------------------------------------------------------------------- fixed patterns


def test_fixed_patterns_have_the_spread_asked_for():
    maps = REAL.maps(4)
    response = maps.gain / np.float32(REAL.quantum_efficiency)
    assert response.mean() == pytest.approx(1, abs=FIVE * REAL.prnu)
    assert response.std() == pytest.approx(REAL.prnu, rel=FIVE)
    assert maps.offset_e.mean() == pytest.approx(0, abs=FIVE * REAL.dsnu_e)
    assert maps.offset_e.std() == pytest.approx(REAL.dsnu_e, rel=FIVE)
    hot = maps.dark_e_per_s == REAL.hot_pixel_dark_e_per_s
    assert hot.mean() == pytest.approx(REAL.hot_pixel_fraction, abs=FIVE * math.sqrt(REAL.hot_pixel_fraction))
    assert (maps.dark_e_per_s[~hot] == REAL.dark_current_e_per_s).all()
    assert abs(np.corrcoef(maps.gain, maps.offset_e)[0, 1]) < FIVE


def test_fixed_patterns_stay_from_frame_to_frame():
    # The mean of many frames shows the pattern: offset in the dark, response in the light.
    camera = REAL.evolve(shape=(100, 100))
    maps = camera.maps(4)
    dark = shoot(camera, 0.0, frames=400, seed=4).astype(np.float64).mean(axis=0)
    light = shoot(camera, 20_000.0, frames=400, seed=4).astype(np.float64).mean(axis=0)
    usual = maps.dark_e_per_s == camera.dark_current_e_per_s
    np.testing.assert_allclose(
        dark[usual],
        camera.black_level_dn + camera.gain_dn_per_e * (maps.dark_e(EXPOSURE_S) + maps.offset_e)[usual],
        atol=6 * math.sqrt((0.124 * 7.1) ** 2 + 1 / 12) / 20,  # six: 10 000 pixels
    )
    np.testing.assert_allclose(
        (light - dark) / (0.124 * 20_000), maps.gain, atol=6 * math.sqrt(12_000) / 20 / 20_000 * 1.1
    )
    # EMVA 1288, 8.3: PRNU from the spatial variances of averaged frames.
    spatial = np.var(light) - np.var(dark) - 0.124**2 * 12_000 / 400
    assert math.sqrt(spatial) / (light.mean() - dark.mean()) == pytest.approx(camera.prnu, rel=0.05)


def test_hot_pixels_stand_out_in_a_long_exposure():
    camera = REAL.evolve(dsnu_e=0.0)
    hot = camera.maps(1).dark_e_per_s == camera.hot_pixel_dark_e_per_s
    frame = shoot(camera, 0.0, exposure_s=0.5).astype(np.float64)
    assert frame[hot].mean() == pytest.approx(40 + 0.124 * 10_000, rel=0.01)
    assert frame[~hot].max() < frame[hot].min()


def test_two_sensors_differ():
    a, b = REAL.maps(1), REAL.maps(2)
    for name in ("gain", "offset_e"):
        assert abs(np.corrcoef(getattr(a, name), getattr(b, name))[0, 1]) < FIVE
    assert not np.array_equal(a.dark_e_per_s, b.dark_e_per_s)


def test_maps_of_some_pixels_are_those_of_the_sensor():
    whole = REAL.maps(3)
    chosen = np.array([5, 3, N - 1, 0, 77_777, 3])
    part = REAL.maps(3, chosen)
    for name in ("pixels", "gain", "dark_e_per_s", "offset_e"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[chosen])


# ---------------------------------------------------------------------- one switch each

IDEAL = REAL.ideal()
SWITCHES = {
    "shot noise": {"shot_noise": True},
    "read noise": {"read_noise_e": 7.0},
    "dark current": {"dark_current_e_per_s": 125.0},
    "PRNU": {"prnu": 0.01},
    "DSNU": {"dsnu_e": 15.0},
    "hot pixels": {"hot_pixel_fraction": 0.001},
    "full well": {"full_well_e": 2000.0},
    "black level": {"black_level_dn": 40.0},
    "quantisation": {"quantise": True},
}
PHOTONS = 5000.33
MEAN_E = 0.6 * PHOTONS


def test_the_ideal_camera_is_a_ruler():
    light = np.random.default_rng(0).exponential(PHOTONS, N).astype(np.float32)
    frame = shoot(IDEAL, light)
    assert frame.dtype == np.float32
    np.testing.assert_allclose(frame, 0.124 * 0.6 * light, rtol=3e-7)


@pytest.mark.parametrize("name", SWITCHES)
def test_each_imperfection_alone(name):
    frame = shoot(IDEAL.evolve(**SWITCHES[name]), PHOTONS, exposure_s=0.1).astype(np.float64) / 0.124
    excess = {
        "dark current": 12.5,
        "hot pixels": 2000 * np.mean(IDEAL.evolve(hot_pixel_fraction=0.001).maps(1).dark_e_per_s > 0),
        "full well": 2000 - MEAN_E,
        "black level": 40 / 0.124,
        "quantisation": round(0.124 * MEAN_E) / 0.124 - MEAN_E,
    }.get(name, 0.0)
    spread = {
        "shot noise": math.sqrt(MEAN_E),
        "read noise": 7.0,
        "PRNU": 0.01 * MEAN_E,
        "DSNU": 15.0,
        "hot pixels": 2000 * math.sqrt(0.001),
    }.get(name, 0.0)
    assert frame.mean() == pytest.approx(MEAN_E + excess, abs=FIVE * spread + 2e-3)
    if name == "hot pixels":
        assert frame.std() == pytest.approx(spread, rel=0.2)
    else:
        assert frame.std() == pytest.approx(spread, rel=FIVE, abs=1e-3)


@pytest.mark.parametrize("name", ["shot noise", "read noise"])
def test_switching_one_noise_off_leaves_the_others(name):
    off = {"shot noise": {"shot_noise": False}, "read noise": {"read_noise_e": 0.0}}[name]
    quantum = {"shot noise": 7.0**2, "read noise": MEAN_E + 0.05}[name]
    assert temporal_variance(REAL.evolve(**off), PHOTONS) == pytest.approx(
        0.124**2 * quantum + 1 / 12, rel=FIVE * math.sqrt(2) * 1.1
    )


def test_without_noise_frames_are_equal():
    a, b = shoot(REAL.evolve(shot_noise=False, read_noise_e=0.0), PHOTONS, frames=2)
    np.testing.assert_array_equal(a, b)


def test_electrons_are_those_behind_the_counts():
    camera = REAL.evolve(read_noise_e=0.0, dsnu_e=0.0, quantise=False)
    counts = shoot(camera, 200.0, seed=6, frame0=11)
    drawn = electrons(camera, 200.0, seed=6, frame0=11)
    np.testing.assert_allclose((counts - 40) / 0.124, drawn, rtol=1e-5)
    # Read noise adds to them without changing them.
    noisy = shoot(camera.evolve(read_noise_e=7.0), 200.0, seed=6, frame0=11)
    rest = (noisy - 40) / 0.124 - drawn
    assert rest.std() == pytest.approx(7.0, rel=FIVE)
    assert abs(np.corrcoef(rest, drawn)[0, 1]) < FIVE


# ---------------------------------------------------------------------- independence, and the address of noise


def correlation(a, b):
    return abs(np.corrcoef(np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64))[0, 1])


@pytest.mark.parametrize("photons", [4.0, 1000.0])
def test_noise_is_independent_over_frames_seeds_and_pixels(photons):
    camera = REAL.evolve(prnu=0.0, dsnu_e=0.0, hot_pixel_fraction=0.0)
    frames = shoot(camera, photons, frames=3)
    a = frames[0].reshape(SIDE, SIDE)
    assert correlation(frames[0], frames[1]) < FIVE
    assert correlation(frames[0], frames[2]) < FIVE
    assert correlation(frames[0], shoot(camera, photons, seed=2)) < FIVE
    assert correlation(frames[0], shoot(camera, photons, frame0=2**32)) < FIVE
    assert correlation(frames[0], shoot(camera, photons, frame0=2**62)) < FIVE
    for rows, columns in ((0, 1), (1, 0), (1, 1), (0, 2), (0, BLOCK)):
        left = a[: SIDE - rows, : SIDE - columns]
        assert correlation(left, a[rows:, columns:]) < FIVE * 1.5
        assert correlation(left**2.0, a[rows:, columns:] ** 2.0) < FIVE * 1.5


@pytest.fixture(scope="module")
def sequence():
    """Seven frames of speckle from dim to bright, and their counts."""
    generator = np.random.default_rng(8)
    light = generator.exponential(1.0, (7, 5000)) * np.array([1, 5, 10, 20, 100, 1000, 10_000.0])[:, None]
    camera = REAL.evolve(shape=(50, 100))
    maps = camera.maps(3)
    return camera, maps, light.astype(np.float32), camera.expose(light, exposure_s=EXPOSURE_S, seed=3, maps=maps)


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_no_bit(sequence, threads):
    camera, maps, light, counts = sequence
    again = camera.expose(light, exposure_s=EXPOSURE_S, seed=3, maps=maps, threads=threads)
    np.testing.assert_array_equal(again, counts)


@settings(max_examples=40, deadline=None)
@given(
    first=st.integers(0, 6), last=st.integers(0, 7), row=st.integers(0, 49), column=st.integers(0, 99),
    rows=st.integers(1, 50), columns=st.integers(1, 100),
)  # fmt: skip
def test_a_window_of_some_frames_has_the_same_bits(sequence, first, last, row, column, rows, columns):
    camera, _, light, counts = sequence
    place = np.arange(5000).reshape(50, 100)[row : row + rows, column : column + columns].ravel()
    maps = camera.maps(3, place)
    part = camera.expose(light[first:last][:, place], exposure_s=EXPOSURE_S, seed=3, maps=maps, frame0=first)
    np.testing.assert_array_equal(part, counts[first:last][:, place])


def test_pixels_in_any_order_have_the_same_bits(sequence):
    camera, _, light, counts = sequence
    order = np.random.default_rng(1).permutation(5000)
    maps = camera.maps(3, order)
    part = camera.expose(light[:, order], exposure_s=EXPOSURE_S, seed=3, maps=maps)
    np.testing.assert_array_equal(part, counts[:, order])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("m", [1, 7, BLOCK - 1, BLOCK])
def test_a_block_can_be_developed_alone(sequence, dtype, m):
    camera, maps, light, _ = sequence
    camera = camera.evolve(bits=8 if dtype == np.uint8 else 12, quantise=dtype != np.float32)
    whole = camera.expose(light, exposure_s=EXPOSURE_S, seed=3, maps=maps)
    out = np.full(2 * BLOCK, 77, dtype)
    key0, key1 = camera.noise_key(3)
    buffer = np.r_[np.float32(0), light[4, 300 : 300 + m]]
    develop_block(
        buffer, 1, m, maps.gain, maps.dark_e(EXPOSURE_S), maps.offset_e, maps.pixels, 300, np.uint64(4), key0, key1,
        camera.params(), make_scratch(), out, 5,
    )  # fmt: skip
    np.testing.assert_array_equal(out[5 : 5 + m], whole[4, 300 : 300 + m])
    assert (out[:5] == 77).all() and (out[5 + m :] == 77).all()


def test_any_real_array_is_taken(sequence):
    camera, maps, light, counts = sequence
    frozen = light.copy()
    frozen.flags.writeable = False
    for given_ in (light.astype(np.float64), np.asfortranarray(light), frozen, light[::-1][::-1], light.tolist()):
        np.testing.assert_array_equal(camera.expose(given_, exposure_s=EXPOSURE_S, seed=3, maps=maps), counts)
    one = camera.expose(light[0], exposure_s=EXPOSURE_S, seed=3, maps=maps)
    np.testing.assert_array_equal(one, counts[0])
    assert camera.expose(light[:0], exposure_s=EXPOSURE_S, seed=3, maps=maps).shape == (0, 5000)
    none = camera.maps(3, [])
    assert camera.expose(np.empty((2, 0), np.float32), exposure_s=1.0, seed=3, maps=none).shape == (2, 0)


# ---------------------------------------------------------------------- parameters

BAD = {
    "shape": [(0, 5), (5,), "ab", (1.5, 2), (70_000, 70_000)],
    "name": ["", 3, None],
    "bits": [1, 17, 8.0, "8", True],
    "quantise": [1, "yes", None],
    "shot_noise": [0, "no"],
    "polarised": [0.5],
}
NUMBERS = {
    "pixel_pitch_m": st.floats(max_value=0.0) | st.floats(min_value=0.02),
    "quantum_efficiency": st.floats(max_value=0.0) | st.floats(min_value=1.0, exclude_min=True),
    "frame_rate_hz": st.floats(max_value=0.0),
    "gain_dn_per_e": st.floats(max_value=0.0),
    "full_well_e": st.floats(max_value=0.0),
    "read_noise_e": st.floats(max_value=0.0, exclude_max=True),
    "dark_current_e_per_s": st.floats(max_value=0.0, exclude_max=True),
    "prnu": st.floats(max_value=0.0, exclude_max=True) | st.floats(min_value=1.0, exclude_min=True),
    "dsnu_e": st.floats(max_value=0.0, exclude_max=True),
    "hot_pixel_fraction": st.floats(max_value=0.0, exclude_max=True) | st.floats(min_value=1.0, exclude_min=True),
    "hot_pixel_dark_e_per_s": st.floats(max_value=0.0, exclude_max=True),
    "black_level_dn": st.floats(max_value=0.0, exclude_max=True),
    "pixel_over_grain": st.floats(max_value=0.0, exclude_max=True),
}


@pytest.mark.parametrize("field", NUMBERS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_bad_numbers_are_refused_in_a_sentence(field, data):
    bad = data.draw(NUMBERS[field] | st.just(math.nan) | st.text(max_size=3) | st.none() | st.booleans() | st.just([1.0]))
    with pytest.raises((TypeError, ValueError)) as caught:
        REAL.evolve(**{field: bad})
    sentence = str(caught.value)
    assert f"camera.{field} is {bad!r}" in sentence and "must be a number in" in sentence and sentence.endswith(".")


@pytest.mark.parametrize(("field", "bad"), [(field, bad) for field, values in BAD.items() for bad in values])
def test_other_bad_parameters_are_refused_in_a_sentence(field, bad):
    with pytest.raises((TypeError, ValueError), match=rf"camera\.{field}") as caught:
        REAL.evolve(**{field: bad})
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"photons": [[1.0, np.nan]]}, ValueError, ["photons", "nan", "finite", "at least 0"]),
        ({"photons": [[1.0, np.inf]]}, ValueError, ["photons", "inf", "finite"]),
        ({"photons": [[1.0, 1e300]]}, ValueError, ["photons", "inf", "finite"]),
        ({"photons": [[1.0, -1e-9]]}, ValueError, ["photons", "-1e-09", "at least 0"]),
        ({"photons": [[1.0, 1.0, 1.0]]}, ValueError, ["photons", "(1, 3)", "(2,) or (frames, 2)"]),
        ({"photons": 1.0}, ValueError, ["photons", "()"]),
        ({"photons": [[1j, 1.0]]}, TypeError, ["photons", "complex128", "real"]),
        ({"photons": ["a", "b"]}, TypeError, ["photons", "real"]),
        ({"exposure_s": -1.0}, ValueError, ["exposure_s is -1.0"]),
        ({"exposure_s": np.nan}, ValueError, ["exposure_s is nan"]),
        ({"seed": -3}, ValueError, ["seed is -3"]),
        ({"frame0": -1}, ValueError, ["frame0 is -1"]),
        ({"frame0": 1.0}, TypeError, ["frame0 is 1.0"]),
        ({"threads": 0}, ValueError, ["threads is 0"]),
        ({"maps": None}, TypeError, ["maps is None", "Camera.maps"]),
    ],
)
def test_bad_exposures_are_refused_in_a_sentence(change, error, words):
    arguments = {"photons": [[1.0, 2.0]], "exposure_s": 1e-3, "seed": 0, "maps": REAL.maps(0, [0, 1]), **change}
    with pytest.raises(error) as caught:
        REAL.expose(arguments.pop("photons"), **arguments)
    assert all(word in str(caught.value) for word in words)
    assert shoot(REAL, 100.0).size == N  # and the camera stays usable


@pytest.mark.parametrize("pixels", [[-1], [N], [[0, 1]], [0.5], ["a"]])
def test_bad_pixels_are_refused_in_a_sentence(pixels):
    with pytest.raises((TypeError, ValueError), match="pixels"):
        REAL.maps(0, pixels)


def test_timing():
    camera = REAL.evolve(shape=(1088, 2040), frame_rate_hz=340.0)
    assert camera.readout_s(1088) == pytest.approx(1 / 340)
    assert camera.readout_s(64) == pytest.approx(64 * camera.row_time_s)
    with pytest.raises(ValueError, match=r"n_rows is 1089, but it must be a whole number from 1 to 1088"):
        camera.readout_s(1089)


def test_a_camera_is_a_plain_record():
    assert Camera(**REAL.to_dict()) == REAL
    assert isinstance(REAL.maps(0, [1]), SensorMaps) and len(REAL.maps(0, [1, 2])) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        REAL.bits = 8  # type: ignore[misc]


# ---------------------------------------------------------------------- presets

PRESETS = {"cmv2000", "cmv4000", "imx174", "imx250", "imx252", "zyla-4.2", "flash4.0-v3"}


def preset(name):
    text = (resources.files("opusim") / "presets" / "cameras" / f"{name}.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    assert table.pop("version") == 1 and table.pop("description")
    return Camera(**table)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_cameras_that_use_their_range(name):
    camera = preset(name)
    dark = shoot(camera.evolve(shape=(100, 100)), 0.0)
    assert (dark == 0).mean() < 0.02  # dark noise is not cut off
    # Full well reaches full scale, or a good part of it: no bits are wasted, no well is left unread but at high gain.
    assert camera.black_level_dn + camera.gain_dn_per_e * camera.full_well_e > 0.95 * camera.full_scale_dn


def test_cmv2000_has_the_noise_of_the_real_device():
    # The OPU's examples: 1.0 to 1.2 grey levels rms at a mean of 21.6, of which the pattern differs from pixel to pixel.
    camera = preset("cmv2000").evolve(shape=(SIDE, SIDE))
    maps = camera.maps(1)
    light = np.random.default_rng(5).exponential(1.0, N) * (21.6 - 2.0) / 0.04 / 0.6
    a, b = (camera.expose(light, exposure_s=EXPOSURE_S, seed=1, maps=maps, frame0=i).astype(np.float64) for i in (0, 1))
    assert a.mean() == pytest.approx(21.6, abs=0.2)
    assert 1.0 < np.std(a - b) / math.sqrt(2) < 1.2
