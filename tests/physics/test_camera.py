"""The camera by the laws of EMVA 1288: what goes in as photons comes out as counts with the right moments.

Seeds are fixed, so a test passes or fails for good; each bound of five standard errors would raise a false
alarm with probability 6e-7 for a new seed, each chi-square test with 1e-6.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import plain_camera
from opusim.device.camera import Camera
from opusim.device.camera_kernels import _ALIAS, POISSON_THRESHOLD
from opusim.device.poisson_table_kernels import alias_rows
from shooting import EXPOSURE_S, REAL, SIDE, shoot

N = SIDE * SIDE
FIVE = 5 / math.sqrt(N)  # five standard errors of a mean, in standard deviations of one value

# Every imperfection off but those that each test adds; one electron per photon.
CLEAN = Camera("clean", (SIDE, SIDE), 5.5e-6, 1.0, 100.0, 1.0, 16, shot_noise=False)


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


def test_the_kept_table_is_what_decimal_numbers_give():
    assert np.array_equal(alias_rows(), _ALIAS) and _ALIAS.dtype == alias_rows().dtype == np.uint32


def test_table_of_dim_pixels_is_the_poisson_law():
    # Every node of the table, all 64 columns: the law to the resolution of 32 random bits.
    rows = _ALIAS.reshape(-1, 64)
    assert rows.shape[0] == POISSON_THRESHOLD * 8
    for node, row in enumerate(rows):
        chance, alias = (row >> 6) / 2**26, (row & 63).astype(int)
        law = (chance + np.bincount(alias, weights=1 - chance, minlength=64)) / 64
        assert np.abs(law - stats.poisson.pmf(np.arange(64), node / 8)).sum() / 2 < 5e-9


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


def words_of_noise(key, frame, n):
    """The first two Philox words of pixels 0 ... n - 1 in a frame, by the paper's recipe in numpy."""
    low = np.uint64(0xFFFFFFFF)
    c = [np.arange(n, dtype=np.uint64), *(np.full(n, v, np.uint64) for v in (0, frame & 0xFFFFFFFF, frame >> 32))]
    k = [int(key[0]), int(key[1])]
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(second >> 32) ^ c[1] ^ np.uint64(k[0]), second & low, (first >> 32) ^ c[3] ^ np.uint64(k[1]), first & low]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[0], c[1]


def test_kernel_is_what_it_says_pixel_by_pixel():
    # Philox by (key, frame, pixel), Box and Muller, Giles: all again in double precision.
    mean, frame = 500.0, 2**40 + 3
    r0, r1 = words_of_noise(CLEAN.noise_key(1), frame, N)
    radius = np.sqrt(-2 * np.log((r0 + 0.5) / 2**32))
    angle = np.pi * (r1 & np.uint64(0xFFFFFFFE)).astype(np.uint32).view(np.int32) / 2**32
    w_shot = radius * np.cos(angle) * (1 - 2.0 * (r1 & np.uint64(1)))
    w_read = radius * np.sin(angle)
    drawn = electrons(CLEAN.evolve(shot_noise=True), mean, frame0=frame)
    expected = np.floor(expansion(w_shot, mean))
    assert np.abs(drawn - expected).max() <= 1 and (drawn != expected).mean() < 1e-3  # rounding beside a whole number
    read = shoot(CLEAN.evolve(read_noise_e=1.0, quantise=False), 0.0, frame0=frame)
    # Single precision shows where the radius is small: its uniform number lies just below 1.
    np.testing.assert_allclose(read, w_read, rtol=1e-5, atol=1e-4)
    assert np.abs(read - w_read).mean() < 2e-7


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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "changes", [{}, {"telegraph_fraction": 0.4, "telegraph_e": 8.0, "nonlinearity": 0.04}], ids=["plain", "curved"]
)
@pytest.mark.parametrize("photons", [3.0, 12.0, 25.0, 400.0, 20_000.0])
def test_kernel_agrees_with_the_plain_version(photons, changes):
    camera = REAL.evolve(**changes)
    maps = camera.maps(2)
    light = np.full(N, photons, np.float32)
    fast = camera.expose(light, exposure_s=EXPOSURE_S, seed=2, maps=maps)
    plain = plain_camera.expose(camera, light, exposure_s=EXPOSURE_S, generator=np.random.default_rng(9), maps=maps)
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


# ---------------------------------------------------------------------- temperature


@pytest.mark.parametrize(("celsius", "factor"), [(25.0, 1.0), (33.0, 2.0), (9.0, 0.25), (29.0, math.sqrt(2))])
def test_dark_current_doubles_with_temperature(celsius, factor):
    # EMVA 1288 release 4: mu_I(T) = mu_I,ref 2^((T - T_ref) / T_d); every dark current, the hot ones too.
    camera = REAL.evolve(temperature_c=celsius, dark_current_stated_c=25.0, dark_current_doubling_k=8.0, dsnu_e=0.0)
    assert camera.dark_current_factor == pytest.approx(factor, rel=1e-15)
    assert camera.mean_dark_current_e_per_s == pytest.approx(REAL.dark_current_e_per_s * factor, rel=1e-15)
    before, maps = REAL.maps(1), camera.maps(1)
    np.testing.assert_allclose(maps.dark_e_per_s, factor * before.dark_e_per_s, rtol=1e-6)
    exposure_s = 0.5  # 62 electrons at the stated temperature
    frame = shoot(camera, 0.0, exposure_s=exposure_s).astype(np.float64)
    mean = camera.black_level_dn + camera.gain_dn_per_e * maps.dark_e(exposure_s).mean(dtype=np.float64)
    assert frame.mean() == pytest.approx(mean, abs=FIVE * frame.std())


def test_without_a_doubling_temperature_there_is_no_temperature():
    camera = REAL.evolve(temperature_c=60.0)
    assert camera.dark_current_factor == 1.0 and camera.mean_dark_current_e_per_s == REAL.dark_current_e_per_s
    assert REAL.evolve(temperature_c=-273.15, dark_current_doubling_k=0.1).dark_current_factor == 0.0
    with pytest.raises(ValueError, match=r"camera\.temperature_c is 60\.0, but with .* it may be at most 55, 30 doub"):
        REAL.evolve(temperature_c=60.0, dark_current_doubling_k=1.0)
