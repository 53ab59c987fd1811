"""Rows, columns and pixels, dark currents that differ, a bent response, noisy pixels: by EMVA 1288 release 4."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from opusim import OpticalBench
from opusim.calibration.algorithms.camera_statistics import (
    bend,
    gather,
    hot_pixels,
    noise_quantile,
    relative_deviations,
    spread_of_rises,
    variance_components,
)
from opusim.calibration.files import read_record, write_record
from opusim.calibration.procedures.camera import CameraRecord, characterise_camera
from opusim.calibration.report import summary
from opusim.device.record import Device

AURORA = Device.load("aurora@1")
RELEASE = Path(__file__).parents[2] / "releases" / "0.1.0"
TWO_SIGMA = stats.norm.isf(0.05)  # intervals of 90 %


def image_of(generator, shape, row, column, pixel, temporal=0.0):
    """A mean image with normal parts of given standard deviations."""
    return (
        generator.normal(0, row, (shape[0], 1))
        + generator.normal(0, column, (1, shape[1]))
        + generator.normal(0, pixel, shape)
        + generator.normal(0, temporal, shape)
    )


# ---------------------------------------------------------------- estimators


def test_parts_are_those_of_the_standards_formulas():
    """The three equations of EMVA 1288 release 4, 8.2, solved as they stand there, on an image without a slope.

    They divide by the number of rows and columns, and take no surface off; ours counts degrees of freedom: within
    4 / N of the squares, for N = 300 columns and 240 rows.
    """
    m, n, temporal = 240, 300, 0.7
    image = image_of(np.random.default_rng(3), (m, n), 1.0, 2.0, 3.0, temporal)
    t = temporal**2
    measured = image.var() - t
    cav, rav = image.mean(axis=0).var() - t / m, image.mean(axis=1).var() - t / n
    d = m * n - m - n
    col = (m * n - m) / d * cav - n / d * (measured - rav)
    row = (m * n - n) / d * rav - m / d * (measured - cav)
    pixel = m * n / d * (measured - cav - rav)
    found = variance_components(image, t, TWO_SIGMA)
    assert found.column.square == pytest.approx(col, rel=4 / n)
    assert found.row.square == pytest.approx(row, rel=4 / m)
    assert found.pixel.square == pytest.approx(pixel, rel=1e-3)
    assert found.total.square == pytest.approx(found.row.square + found.column.square + found.pixel.square, rel=1e-12)


@pytest.mark.parametrize("left_out", [0, 12], ids=["whole", "some left out"])
def test_parts_are_unbiased_and_their_intervals_hold(left_out):
    """Mean over 1 500 images of 12 x 16 pixels, much of it temporal, under an uneven lamp: 5 standard errors.

    Intervals of 90 % hold as often as they say, to five sigma of the binomial law (3.9 %) and 1 % for the approximation
    of modified large samples (Burdick and Graybill).
    """
    generator, shape, n = np.random.default_rng(4), (12, 16), 1500
    true = {"row": 0.5**2, "column": 0.8**2, "pixel": 1.0, "total": 0.25 + 0.64 + 1.0}
    lamp = 20 * (np.arange(shape[1])[None, :] / 16) ** 2 - 3 * np.arange(shape[0])[:, None]
    squares, hits = {name: [] for name in true}, dict.fromkeys(true, 0)
    for _ in range(n):
        image = image_of(generator, shape, 0.5, 0.8, 1.0, 1.0) + lamp
        mask = np.zeros(shape, bool)
        mask.flat[generator.choice(mask.size, left_out, replace=False)] = True
        image[mask] = 1e4
        found = variance_components(image, 1.0, TWO_SIGMA, leave_out=mask if left_out else None)
        for name, value in true.items():
            one = getattr(found, name)
            squares[name].append(one.square)
            hits[name] += one.interval[0] <= value <= one.interval[1]
    for name, value in true.items():
        assert abs(np.mean(squares[name]) - value) < 5 * np.std(squares[name]) / math.sqrt(n), name
        assert abs(hits[name] / n - 0.9) < 5 * math.sqrt(0.9 * 0.1 / n) + 0.01, (name, hits[name] / n)


def test_narrow_regions_have_no_parts():
    assert variance_components(np.zeros((7, 100)), 0.0, 2.0) is None
    assert variance_components(np.zeros((100, 7)), 0.0, 2.0) is None


def test_linearity_error_is_that_of_the_standard():
    """The sums by which EMVA 1288 release 4 gives slope and offset, on a curve with noise; equal to rounding."""
    generator = np.random.default_rng(0)
    x = np.linspace(500, 9500, 18)
    y = 0.03 * x * (1 + 0.05 * (1 - x / 1e4)) * (1 + generator.normal(0, 1e-3, x.size))
    xy, xy2, x2y2 = np.sum(x / y), np.sum(x / y**2), np.sum((x / y) ** 2)
    y1, y2 = np.sum(1 / y), np.sum(1 / y**2)
    offset = (xy * xy2 - x2y2 * y1) / (xy2**2 - x2y2 * y2)
    slope = (xy - offset * xy2) / x2y2
    np.testing.assert_allclose(relative_deviations(x, y), (y - slope * x - offset) / (slope * x + offset), atol=1e-12)


@pytest.mark.parametrize("a", [-0.02, 0.0, 0.01])
def test_bend_is_the_largest_deviation_from_the_line_between_the_ends(a):
    """n (1 + 4 a (1 - n / E)) lies a E above n at E / 2: known exactly, and with errors within five of them."""
    end, light = 9000.0, np.linspace(400, 8600, 20)
    signal = light * (1 + 4 * a * (1 - light / end))
    errors = np.full(20, 2.0)
    assert bend(light, signal, errors, end)[0] == pytest.approx(a, abs=1e-12)
    generator = np.random.default_rng(1)
    found = [bend(light, signal + generator.normal(0, 2.0, 20), errors, end) for _ in range(300)]
    values, own = np.array(found).T
    assert values.mean() == pytest.approx(a, abs=5 * values.std() / math.sqrt(300))
    assert values.std() == pytest.approx(own.mean(), rel=5 / math.sqrt(2 * 300))


def dark_frames_of(generator, current, exposure_s, n, read=5.0):
    return gather(
        generator.poisson(current * exposure_s, (n, *current.shape)) + generator.normal(0, read, (n, *current.shape))
    )


def test_a_tail_of_dark_currents_is_no_crowd_of_hot_pixels():
    """Log-normal currents of a mean of 100 e/s and a spread of 80 e/s; ten pixels of 20 000 e/s are hot.

    The largest of 64 x 64 log-normal ones lies at some four sigma of the logarithm: 1 in 3 million is above five. The
    spread of the others comes back within five standard errors, whose fourth moment is that of the law.
    """
    generator = np.random.default_rng(5)
    sigma2 = math.log(1 + 0.8**2)
    current = 100 * np.exp(math.sqrt(sigma2) * generator.normal(size=(64, 64)) - sigma2 / 2)
    hot = np.zeros((64, 64), bool)
    hot.flat[generator.choice(4096, 10, replace=False)] = True
    current[hot] = 2e4
    short, long = (dark_frames_of(generator, current, time_s, 16) for time_s in (1e-3, 1.0))
    found = hot_pixels(short, long)
    np.testing.assert_array_equal(found, hot)
    spread = spread_of_rises(short, long, 5.0, leave_out=found)
    true = (0.999 * current[~hot].std()) ** 2
    assert spread.interval[0] < true < spread.interval[1]
    assert spread.square == pytest.approx(true, rel=0.05)


def test_without_a_spread_hot_pixels_are_those_above_the_noise():
    generator = np.random.default_rng(6)
    for mean in (0.0, 100.0):
        current = np.full((64, 64), mean)
        current[3, 5] = mean + 100.0
        short, long = (dark_frames_of(generator, current, time_s, 16) for time_s in (1e-3, 1.0))
        np.testing.assert_array_equal(np.argwhere(hot_pixels(short, long)), [[3, 5]])


def test_a_tail_of_noisy_pixels_is_seen():
    """Of pixels that are alike the quantile is that of chi^2: five standard errors, sqrt(p (1 - p) / n) / density.

    With telegraph noise in a tenth of the pixels it is that of the law, drawn anew. The amplitude at 10 % of 4 000
    exponential ones has an error of sqrt(.09 / 4000) / (.1 ln 10) = 2 %, its square 4 %, five of which are 20 %.
    """
    generator, n, frames = np.random.default_rng(7), 200 * 200, 32
    plain = generator.normal(0, 2.0, (frames, 200, 200))
    middle, found, normal = noise_quantile(gather(plain), 0.99)
    law = stats.chi2(frames - 1)
    error = math.sqrt(0.01 * 0.99 / n) / law.pdf(law.ppf(0.99)) * 4 / (frames - 1)
    assert found == pytest.approx(4 * law.ppf(0.99) / (frames - 1), abs=5 * error)
    assert normal == pytest.approx(found, rel=0.02) and middle == pytest.approx(4.0, rel=0.01)

    def noisy(seed):
        own = np.random.default_rng(seed)
        amplitude = np.where(own.random((200, 200)) < 0.1, own.exponential(6.0, (200, 200)), 0.0)
        return own.normal(0, 2.0, (frames, 200, 200)) + amplitude * own.choice([-1, 0, 0, 1], (frames, 200, 200))

    wanted = np.quantile(np.concatenate([noisy(seed).var(axis=0, ddof=1).ravel() for seed in range(20, 28)]), 0.99)
    middle, found, normal = noise_quantile(gather(noisy(13)), 0.99)
    assert found == pytest.approx(wanted, rel=0.2) and found > 3 * normal
    assert middle == pytest.approx(4.0, rel=0.06)  # a twentieth of the pixels has moved across the median


# ---------------------------------------------------------------- the whole procedure


UNEVEN = {
    "bits": 12, "gain_dn_per_e": 0.25, "black_level_dn": 100.0, "full_well_e": 15000.0, "read_noise_e": 5.0,
    "prnu": 0.01, "prnu_row": 0.004, "prnu_column": 0.006, "dsnu_e": 3.0, "dsnu_row_e": 2.0, "dsnu_column_e": 4.0,
    "dark_current_e_per_s": 200.0, "dark_current_spread_e_per_s": 60.0, "temperature_c": 35.0,
    "dark_current_stated_c": 25.0, "dark_current_doubling_k": 10.0, "hot_pixel_fraction": 0.0,
}  # fmt: skip


def test_set_values_of_rows_columns_and_currents_come_back():
    """14 intervals of 99.99 %: a false alarm once in 700 changes of the seed. Currents are twice those at 25 °C."""
    camera = AURORA.camera.evolve(**UNEVEN)
    record = characterise_camera(
        OpticalBench(AURORA.evolve(camera=camera), seed=3), roi=(500, 500, 96, 96), confidence=0.9999
    )
    true = {
        "dsnu": math.sqrt(9 + 4 + 16), "dsnu_row": 2.0, "dsnu_column": 4.0, "dsnu_pixel": 3.0,
        "prnu": math.sqrt(0.01**2 + 0.004**2 + 0.006**2), "prnu_row": 0.004, "prnu_column": 0.006, "prnu_pixel": 0.01,
        "dark_current": 400.0, "dark_current_spread": 120.0, "nonlinearity": 0.0, "read_noise": 5.0,
        "gain": 0.25, "quantum_efficiency": camera.quantum_efficiency,
    }  # fmt: skip
    for name, value in true.items():
        low, high = getattr(record, f"{name}_interval")
        assert low <= value <= high, (name, value, low, high)
    # And they say something: parts to 40 %, by 96 rows and columns; the pixels' own to 5 %.
    for name in ("dsnu_row", "dsnu_column", "prnu_row", "prnu_column"):
        low, high = getattr(record, f"{name}_interval")
        assert (high - low) / (high + low) < 0.4
    for name in ("dsnu_pixel", "prnu_pixel", "dark_current_spread"):
        low, high = getattr(record, f"{name}_interval")
        assert (high - low) / (high + low) < 0.15
    assert len(record.hot_pixels) == 0
    # DSNU against the exposure: offsets and spread x exposure, in squares; 5 % for the tail of 9 216 currents.
    law = np.sqrt(29 + (120 * record.dark_exposures_s) ** 2)
    np.testing.assert_allclose(record.dark_dsnu_e, law, rtol=0.15)
    assert record.dark_dsnu_e[-1] == pytest.approx(law[-1], rel=0.05)
    assert record.read_noise_median_e == pytest.approx(5.0, rel=0.02)
    assert record.read_noise_99_e == pytest.approx(record.read_noise_99_normal_e, rel=0.03)
    assert -0.002 < record.linearity_least <= 0 <= record.linearity_most < 0.002


def test_a_bent_response_and_noisy_pixels_come_back():
    """Non-linearity within .05 % of the scale, of 1.5 %; read noise is the rms of normal and telegraph noise.

    LE of the standard by closed form: that of the parabola's own levels, without noise, to .1 %.
    """
    camera = AURORA.camera.evolve(**UNEVEN | {"nonlinearity": -0.015, "telegraph_fraction": 0.03, "telegraph_e": 30.0})
    record = characterise_camera(
        OpticalBench(AURORA.evolve(camera=camera), seed=5), roi=(500, 500, 96, 96), confidence=0.9999
    )
    assert record.nonlinearity == pytest.approx(-0.015, abs=0.0005)
    low, high = record.nonlinearity_interval
    assert low < record.nonlinearity < high and high - low < 0.001
    charge = record.photons[1:] * camera.quantum_efficiency
    level = camera.response_e(charge)
    used = (record.photons[1:] >= 0.05 / 0.95 * record.photons[-1] * 0.99) & (level <= 0.97 * camera.scale_end_e)
    straight = relative_deviations(charge[used], level[used])
    assert record.linearity_least == pytest.approx(straight.min(), abs=1e-3)
    assert record.linearity_most == pytest.approx(straight.max(), abs=1e-3)
    # The gain found is that of a curve: K dR/dn at the levels used; by that factor all figures in electrons differ.
    gain = record.gain_dn_per_e / 0.25
    assert abs(gain - 1) < 4 * 0.015 * 1.5
    assert record.read_noise_e * gain == pytest.approx(math.sqrt(25 + 0.03 * 30**2), rel=0.1)
    assert record.read_noise_median_e * gain == pytest.approx(5.0, rel=0.05)
    assert record.read_noise_99_e > 2 * record.read_noise_99_normal_e


def test_older_files_hold_no_parts(tmp_path):
    """A record of version 0.1.0 is read, and says of these figures that it does not know them."""
    old = read_record(RELEASE / "cal.h5", "camera", CameraRecord)
    assert old.gain_dn_per_e > 0
    for name in ("dsnu_row_e", "prnu_pixel_interval", "nonlinearity", "dark_dsnu_e", "read_noise_99_e"):
        assert getattr(old, name) is None
    rows = {name for name, _, _ in summary(old)}
    assert "DSNU" in rows and not any("rows" in name for name in rows)


def test_records_with_and_without_parts_survive_the_file(tmp_path):
    bench = OpticalBench(AURORA, seed=3)
    for i, roi in enumerate([(500, 500, 16, 16), (500, 500, 4, 32)]):
        record = characterise_camera(bench, roi=roi, levels=8, frames_per_level=2, dark_frames_per_exposure=4)
        path = tmp_path / f"{i}.h5"
        write_record(path, "camera", record, bench=bench)
        back = read_record(path, "camera", CameraRecord, bench=bench)
        for name in CameraRecord.__dataclass_fields__:
            assert np.array_equal(getattr(back, name), getattr(record, name)), name
        assert (record.dsnu_row_e is None) == (roi[2] < 8)
        told = dict((name, (value, truth)) for name, value, truth in summary(record, AURORA))
        assert ("DSNU of rows, columns, pixels" in told) == (roi[2] >= 8)
        assert told["DSNU"][1] == "15" or float(told["DSNU"][1]) == pytest.approx(AURORA.camera.dsnu_e, rel=1e-3)
