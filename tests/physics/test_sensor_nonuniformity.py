"""What differs from pixel to pixel, what a response that is no line does, and read noise with a tail.

Laws of EMVA 1288 release 4 and closed forms, each written here anew. Seeds are fixed, so a test passes or fails for
good; each bound of five standard errors would raise a false alarm with probability 6e-7 for a new seed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from opusim.device.camera import Camera
from shooting import EXPOSURE_S, REAL, SIDE, shoot

N = SIDE * SIDE
FIVE = 5 / math.sqrt(N)

# Every imperfection off but those that each test adds; one electron per photon, one grey level per electron.
CLEAN = Camera("clean", (SIDE, SIDE), 5.5e-6, 1.0, 100.0, 1.0, 16, shot_noise=False, quantise=False)


# ---------------------------------------------------------------------- rows, columns and pixels


def components(picture):
    """Variances of rows, columns and pixels, by analysis of variance, as release 4 takes them apart.

    What is left without the means of rows and columns is of pixels. Means of rows have the variance
    s_row^2 + s_pixel^2 / columns, those of columns s_column^2 + s_pixel^2 / rows.
    """
    rows, columns = picture.shape
    of_rows, of_columns = picture.mean(axis=1), picture.mean(axis=0)
    rest = picture - of_rows[:, None] - of_columns + picture.mean()
    pixel2 = np.sum(rest**2) / ((rows - 1) * (columns - 1))
    return np.array([of_rows.var(ddof=1) - pixel2 / columns, of_columns.var(ddof=1) - pixel2 / rows, pixel2])


@pytest.mark.parametrize("spreads", [(3.0, 2.0, 10.0), (5.0, 0.0, 0.0), (0.0, 4.0, 1.0), (2.0, 2.0, 0.0)])
@pytest.mark.parametrize("what", ["offset", "response"])
def test_rows_columns_and_pixels_have_their_own_spread(what, spreads):
    shape, seeds = (300, 400), range(10)
    names = ("dsnu_row_e", "dsnu_column_e", "dsnu_e") if what == "offset" else ("prnu_row", "prnu_column", "prnu")
    scale = 1.0 if what == "offset" else 1e-3
    camera = CLEAN.evolve(shape=shape, **{name: scale * s for name, s in zip(names, spreads, strict=True)})
    found = []
    for seed in seeds:
        maps = camera.maps(seed)
        picture = maps.offset_e if what == "offset" else maps.gain - np.float32(camera.quantum_efficiency)
        found.append(components(picture.reshape(shape).astype(float) / scale))
    variance = np.mean(found, axis=0)
    # A variance of n normal numbers has a relative error of sqrt(2 / n). That of the lines also holds what pixels leave
    # in their means, s_pixel^2 / (pixels of a line), with its error.
    n = np.array([shape[0], shape[1], shape[0] * shape[1]]) * len(seeds)
    means = np.square(spreads) + spreads[2] ** 2 / np.array([shape[1], shape[0], math.inf])
    assert np.all(np.abs(variance - np.square(spreads)) <= 5 * means * np.sqrt(2 / n) + 1e-6)
    whole = camera.total_dsnu_e(1.0) if what == "offset" else camera.total_prnu / scale
    assert whole == pytest.approx(math.sqrt(sum(np.square(spreads))), rel=1e-12)


def test_rows_and_columns_differ_and_so_do_seeds_and_offsets_and_responses():
    camera = CLEAN.evolve(shape=(600, 600), dsnu_row_e=1.0, prnu_row=0.01)
    columns = CLEAN.evolve(shape=(600, 600), dsnu_column_e=1.0)
    maps = camera.maps(1)
    lines = [
        maps.offset_e.reshape(600, 600)[:, 0],
        maps.gain.reshape(600, 600)[:, 0],
        camera.maps(2).offset_e.reshape(600, 600)[:, 0],
        columns.maps(1).offset_e.reshape(600, 600)[0],
    ]
    assert np.abs(np.corrcoef(lines) - np.eye(4)).max() < 5 / math.sqrt(600)


def test_a_region_has_the_rows_and_columns_of_its_places():
    camera = REAL.evolve(dsnu_row_e=3.0, dsnu_column_e=2.0, prnu_row=0.01, prnu_column=0.02, telegraph_fraction=0.3,
                         telegraph_e=5.0, dark_current_spread_e_per_s=90.0)  # fmt: skip
    whole = camera.maps(7)
    place = np.arange(N).reshape(SIDE, SIDE)
    far = np.array([N - 1, 0, 350 * SIDE + 20], dtype=np.int64)  # fewer pixels than rows between them
    for pixels in (place[100:140, 333:500].ravel(), far, np.array([5]), np.array([], dtype=int)):
        part = camera.maps(7, pixels)
        for name in ("gain", "offset_e", "dark_e_per_s"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[pixels])
        if part.telegraph_e.size:
            np.testing.assert_array_equal(part.telegraph_e, whole.telegraph_e[pixels])
        else:
            assert not whole.telegraph_e[pixels].any()
    # The largest sensors that there may be, a row and a column of 2**32 pixels.
    for shape in ((1, 2**32), (2**32, 1)):
        both = camera.evolve(shape=shape).maps(7, [2**32 - 1, 0])
        np.testing.assert_array_equal(both.offset_e[1:], camera.evolve(shape=shape).maps(7, [0]).offset_e)
    # What a row and a column share, they share exactly.
    lines = CLEAN.evolve(dsnu_row_e=3.0).maps(7).offset_e.reshape(SIDE, SIDE)
    assert np.all(lines == lines[:, :1]) and np.unique(lines).size > SIDE - 3
    lines = CLEAN.evolve(dsnu_column_e=3.0).maps(7).offset_e.reshape(SIDE, SIDE)
    assert np.all(lines == lines[:1]) and np.unique(lines).size > SIDE - 3


def test_what_is_off_is_as_it_was():
    """Nothing is drawn for it, and the pixels keep the numbers that they had without lines."""
    plain, uneven = REAL.maps(3), REAL.evolve(dsnu_row_e=1e-30, telegraph_e=5.0, telegraph_fraction=0.0).maps(3)
    np.testing.assert_array_equal(plain.offset_e, uneven.offset_e)
    assert plain.telegraph_e.size == uneven.telegraph_e.size == 0
    assert plain.telegraph_e is CLEAN.maps(1).telegraph_e  # one array for all
    assert REAL.evolve(telegraph_fraction=1.0).maps(3).telegraph_e.size == 0  # of no amplitude
    assert np.unique(CLEAN.evolve(dark_current_e_per_s=20.0).maps(3).dark_e_per_s).tolist() == [20.0]


def test_a_frame_shows_the_lines():
    # The fixed pattern itself, as nothing else is on: counts in electrons are the map.
    camera = CLEAN.evolve(dsnu_e=4.0, dsnu_row_e=3.0, dsnu_column_e=2.0, black_level_dn=100.0)
    frame = shoot(camera, 50.0, seed=5).astype(float)
    np.testing.assert_allclose(frame, 150 + camera.maps(5).offset_e, atol=2e-5)


# ---------------------------------------------------------------------- dark current


@pytest.mark.parametrize("celsius", [10.0, 25.0, 45.0])
@pytest.mark.parametrize(("mean", "spread"), [(100.0, 40.0), (5.0, 0.5), (10.0, 10.0)])
def test_mean_and_spread_of_the_dark_current_at_any_temperature(mean, spread, celsius):
    """Log-normal: both moments, and the normal law of the logarithm, written with the moments' closed forms."""
    camera = CLEAN.evolve(
        dark_current_e_per_s=mean, dark_current_spread_e_per_s=spread, hot_pixel_fraction=0.001,
        hot_pixel_dark_e_per_s=1e6, temperature_c=celsius, dark_current_doubling_k=6.5,
    )  # fmt: skip
    factor = 2 ** ((celsius - 25) / 6.5)
    dark = camera.maps(1).dark_e_per_s.astype(float) / factor
    hot = np.abs(dark - 1e6) < 1
    assert hot.mean() == pytest.approx(0.001, abs=FIVE * math.sqrt(0.001))
    dark = dark[~hot]
    s2 = math.log(1 + (spread / mean) ** 2)
    kurtosis = math.exp(4 * s2) + 2 * math.exp(3 * s2) + 3 * math.exp(2 * s2) - 3
    assert dark.mean() == pytest.approx(mean, abs=FIVE * spread)
    assert dark.std() == pytest.approx(spread, rel=FIVE * math.sqrt((kurtosis - 1) / 4) * 1.01)
    normal = (np.log(dark / mean) + s2 / 2) / math.sqrt(s2)
    assert stats.kstest(normal[::7], "norm").pvalue > 1e-6
    assert camera.mean_dark_current_e_per_s == pytest.approx(mean * factor, rel=1e-12)


@pytest.mark.parametrize("exposure_s", [4e-4, 0.1, 1.0])
def test_dark_signal_nonuniformity_grows_with_the_exposure(exposure_s):
    # Offsets and currents are independent: sqrt(dsnu^2 + (spread t)^2). By a frame that has no noise of time.
    camera = CLEAN.evolve(
        dsnu_e=12.0, dsnu_row_e=3.0, dark_current_e_per_s=125.0, dark_current_spread_e_per_s=50.0,
        temperature_c=33.0, dark_current_doubling_k=8.0, black_level_dn=100.0,
    )  # fmt: skip
    frame = shoot(camera, 0.0, exposure_s=exposure_s).astype(float)
    expected = math.sqrt(12**2 + 3**2 + (2 * 50 * exposure_s) ** 2)
    # Rows are 700 numbers: their part of the variance has a relative error of sqrt(2 / 700). Currents have a kurtosis
    # of 6 where their spread is .4 of their mean.
    error = 5 * math.hypot(9 * math.sqrt(2 / SIDE), (144 + (100 * exposure_s) ** 2) * math.sqrt(5 / N))
    assert frame.var() == pytest.approx(expected**2, abs=error)
    assert camera.total_dsnu_e(exposure_s) == pytest.approx(expected, rel=1e-12)
    mean = 100 + 2 * 125 * exposure_s
    assert frame.mean() == pytest.approx(mean, abs=5 * 3 / math.sqrt(SIDE) + FIVE * expected)


def test_no_dark_current_has_no_spread_and_a_very_wide_one_is_refused():
    camera = REAL.evolve(dark_current_spread_e_per_s=50.0)
    off = camera.evolve(dark_current_e_per_s=0.0, hot_pixel_fraction=0.0)
    assert not off.maps(1).dark_e_per_s.any() and off.total_dsnu_e(1.0) == off.dsnu_e
    with pytest.raises(
        ValueError, match=r"camera\.dark_current_spread_e_per_s is 50\.0, but it may be at most 10, 100"
    ):
        camera.evolve(dark_current_e_per_s=0.01)


# ---------------------------------------------------------------------- non-linearity


@pytest.mark.parametrize("share", [0.01, -0.03, 0.2, -0.2])
@pytest.mark.parametrize("well", [20_000.0, 50_000.0, math.inf])
def test_levels_lie_on_the_parabola(share, well):
    """Integral non-linearity: the deviation from the line through both ends is largest at half of the scale."""
    end = min(well, 32_000.0)
    camera = CLEAN.evolve(
        shape=(1, 1001), bits=12, gain_dn_per_e=4095 / 32_000, full_well_e=well, nonlinearity=share,
    )  # fmt: skip
    assert camera.scale_end_e == pytest.approx(end)
    charge = np.linspace(0, end, 1001)
    read = shoot(camera, charge).astype(float) / camera.gain_dn_per_e
    deviation = (read - charge) / end
    np.testing.assert_allclose(deviation, 4 * share * charge / end * (1 - charge / end), atol=5e-7)
    assert deviation[500] == pytest.approx(share, abs=5e-7) and np.abs(deviation).argmax() == 500
    np.testing.assert_allclose(read, camera.response_e(charge), atol=5e-7 * end)


@pytest.mark.parametrize("share", [0.2, -0.2])
@pytest.mark.parametrize("well", [20_000.0, 50_000.0, math.inf])
def test_more_light_is_never_read_as_less(share, well):
    camera = CLEAN.evolve(shape=(1, 5000), bits=12, gain_dn_per_e=4095 / 32_000, full_well_e=well, nonlinearity=share)
    light = np.r_[np.linspace(0, 80_000, 4990), np.geomspace(1e5, 1e38, 10)]
    read = shoot(camera, light).astype(float)
    assert np.all(np.diff(read) >= 0)
    electrons = np.minimum(light, well)
    np.testing.assert_allclose(read, camera.gain_dn_per_e * camera.response_e(electrons), rtol=1e-6)
    counts = shoot(camera.evolve(quantise=True), light)
    assert (counts[light >= 32_000] == min(4095, round(camera.gain_dn_per_e * well if well < 32_000 else 4095))).all()
    # Electrons are those of the pixel, not of what reads it.
    maps = camera.maps(1)
    drawn = camera.electrons(light, exposure_s=EXPOSURE_S, seed=1, maps=maps)
    np.testing.assert_array_equal(drawn, np.minimum(light.astype(np.float32), np.float32(well)))


def test_slope_is_that_of_the_response():
    camera = REAL.evolve(nonlinearity=0.07, full_well_e=50_000.0)
    charge = np.array([0.0, 1.0, 5000.0, 20_000.0, 0.99 * camera.scale_end_e, 1.01 * camera.scale_end_e, 60_000.0])
    numeric = (camera.response_e(charge + 0.25) - camera.response_e(charge - 0.25)) / 0.5
    np.testing.assert_allclose(camera.response_slope(charge), numeric, rtol=1e-8)


@pytest.mark.parametrize("share", [0.02, -0.05])
def test_photon_transfer_bends_with_the_response(share):
    """Temporal variance K^2 (sigma_d^2 + slope^2 mu_e): read noise comes after the response, shot noise before it."""
    camera = REAL.evolve(
        nonlinearity=share, quantise=False, prnu=0.0, dsnu_e=0.0, hot_pixel_fraction=0.0, dark_current_e_per_s=0.0
    )
    end, k = min(camera.full_well_e, camera.full_scale_e), camera.gain_dn_per_e
    for mean_e in (300.0, 4000.0, 15_000.0, 28_000.0):
        a, b = shoot(camera, mean_e / camera.quantum_efficiency, frames=2).astype(float)
        slope = 1 + 4 * share * (1 - 2 * mean_e / end)
        expected = k**2 * (camera.read_noise_e**2 + slope**2 * mean_e)
        assert np.var(a - b) / 2 == pytest.approx(expected, rel=FIVE * math.sqrt(2))
        # Of a parabola the mean of the levels is the level of the mean, and half of the curvature times the variance.
        level = mean_e * (1 + 4 * share * (1 - mean_e / end)) - 4 * share / end * mean_e
        both = (a.mean() + b.mean()) / 2 - camera.black_level_dn
        assert both == pytest.approx(k * level, abs=FIVE * math.sqrt(expected / 2) + 1e-6 * k * level)


# ---------------------------------------------------------------------- telegraph noise


def test_a_share_of_pixels_has_exponential_amplitudes():
    camera = CLEAN.evolve(telegraph_fraction=0.2, telegraph_e=6.0)
    amplitude = camera.maps(3).telegraph_e
    has = amplitude > 0
    assert has.mean() == pytest.approx(0.2, abs=FIVE * 0.4)
    assert stats.kstest(amplitude[has], "expon", (0, 6.0)).pvalue > 1e-6
    assert not np.array_equal(amplitude, camera.maps(4).telegraph_e)
    # A larger share has more pixels, and those that had some keep theirs.
    np.testing.assert_array_equal(camera.evolve(telegraph_fraction=0.6).maps(3).telegraph_e[has], amplitude[has])


def test_a_pixel_has_three_levels():
    """-A, 0 and A with 1/4, 1/2 and 1/4: differences of two moments of a signal that is up in half of the time."""
    camera = CLEAN.evolve(shape=(100, 100), telegraph_fraction=0.5, telegraph_e=6.0)
    amplitude = camera.maps(1).telegraph_e.astype(float)
    frames = shoot(camera, 0.0, frames=40).astype(float)
    assert not frames[:, amplitude == 0].any()
    has = amplitude > 0
    steps = frames[:, has] / amplitude[has]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    steps = np.rint(steps).astype(int)
    seen = np.bincount(steps.ravel() + 1, minlength=3)
    assert seen.size == 3
    assert stats.chisquare(seen, steps.size * np.array([0.25, 0.5, 0.25])).pvalue > 1e-6
    # Neither frames nor neighbours have anything in common.
    assert abs(np.corrcoef(steps[:-1].ravel(), steps[1:].ravel())[0, 1]) < 5 / math.sqrt(steps.size)
    assert abs(np.corrcoef(steps[:, :-1].ravel(), steps[:, 1:].ravel())[0, 1]) < 5 / math.sqrt(steps.size)


@pytest.mark.parametrize("mean", [0.06, 0.9, 5.0, 11.9, 300.0])
def test_steps_do_not_know_the_electrons(mean):
    # The low bits of a word of which the law of dim pixels takes the high ones: the two have no common law.
    camera = CLEAN.evolve(shot_noise=True, telegraph_fraction=1.0, telegraph_e=1e5, black_level_dn=30_000.0)
    maps = camera.maps(1)
    light = np.full((2, N), mean, np.float32)
    seen = camera.expose(light, exposure_s=0.0, seed=1, maps=maps).astype(float) - 30_000
    electrons = camera.electrons(light, exposure_s=0.0, seed=1, maps=maps)
    steps = np.rint((seen - electrons) / maps.telegraph_e).astype(int)
    top = int(electrons.max()) + 1
    table = np.bincount((3 * electrons.astype(int) + steps + 1).ravel(), minlength=3 * top).reshape(top, 3)
    table = table[table.sum(axis=1) >= 100]
    assert len(table) > 1 and stats.chi2_contingency(table).pvalue > 1e-6


@pytest.mark.parametrize(("fraction", "read_e"), [(0.2, 6.0), (1.0, 0.0), (1.0, 2.0), (0.05, 1.0)])
def test_variance_and_kurtosis_of_dark_noise(fraction, read_e):
    """Over all pixels and frames: s^2 + f m^2, and fourth moment 3 s^4 + 6 s^2 f m^2 + 12 f m^4 (of A^4 / 2)."""
    m = 6.0
    camera = CLEAN.evolve(telegraph_fraction=fraction, telegraph_e=m, read_noise_e=read_e, black_level_dn=1000.0)
    noise = shoot(camera, 0.0, frames=4).astype(float) - 1000
    second = read_e**2 + fraction * m**2
    fourth = 3 * read_e**4 + 6 * read_e**2 * fraction * m**2 + 12 * fraction * m**4
    # E x^8 of the sum, from moments of A: E A^2k / 2 = (2k)! m^2k / 2.
    a2, a4, a6, a8 = (fraction * math.factorial(k) * m**k / 2 for k in (2, 4, 6, 8))
    s2 = read_e**2
    eighth = 105 * s2**4 + 28 * 15 * s2**3 * a2 + 70 * 3 * s2**2 * a4 + 28 * s2 * a6 + a8
    # Pixels keep their amplitudes: the frames do not make these means much better, and are not counted.
    assert noise.var() == pytest.approx(second, abs=FIVE * math.sqrt(fourth))
    assert (noise**4).mean() == pytest.approx(fourth, abs=FIVE * math.sqrt(eighth))
    kurtosis = fourth / second**2 - 3
    assert stats.kurtosis(noise, axis=None) == pytest.approx(kurtosis, abs=FIVE * math.sqrt(eighth) / second**2 * 1.2)
    assert camera.temporal_dark_noise_e == pytest.approx(math.sqrt(second), rel=1e-12)
    by_differences = math.sqrt(np.var(noise[0] - noise[1]) / 2)  # as the standard measures it
    assert by_differences == pytest.approx(camera.temporal_dark_noise_e, rel=FIVE * math.sqrt(fourth) / second)


@pytest.mark.slow
@pytest.mark.parametrize(("fraction", "read_e"), [(1.0, 2.0), (0.3, 1.5)])
def test_noise_of_pixels_has_its_median_and_its_tail(fraction, read_e):
    """Temporal variance of a pixel is s^2 + A^2 / 2 with exponential A: P(above v) = f exp(-sqrt(2 (v - s^2)) / m)."""
    m, frames, side = 5.0, 2000, 60
    camera = CLEAN.evolve(
        shape=(side, side), telegraph_fraction=fraction, telegraph_e=m, read_noise_e=read_e, black_level_dn=1000.0
    )
    variance = shoot(camera, 0.0, frames=frames).astype(float).var(axis=0, ddof=1)
    for share in (0.5, 0.9, 0.99):
        above = 1 - share
        amplitude = m * math.log(fraction / above) if above < fraction else 0.0
        expected = math.sqrt(read_e**2 + amplitude**2 / 2)
        # Of the quantile's own spread: sqrt(p (1 - p) / n) over the density f exp(-A / m) / m of amplitudes; and of a
        # variance of 2000 frames, 2 %, which moves a quantile far less.
        spread = math.sqrt(share * above / side**2) * m / above * amplitude / (2 * expected)
        found = math.sqrt(np.quantile(variance, share))
        assert found == pytest.approx(expected, abs=5 * spread + 0.02 * expected)
    amplitude = camera.maps(1).telegraph_e.astype(float)
    law = read_e**2 + amplitude**2 / 2
    # Relative to its own law, each has a deviation of sqrt((kurtosis - 1) / frames) of 2.2 % to 3.2 %.
    assert np.std(variance / law) < 0.035 and np.mean(variance / law) == pytest.approx(1, abs=5 * 0.032 / side)
