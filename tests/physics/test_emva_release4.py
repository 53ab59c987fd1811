"""Frames of a sensor that has every imperfection, by the formulas of EMVA 1288 release 4, against its parameters.

The formulas are those of tests/support/emva_release4.py, which the standard's own program agrees with
(benchmarks/emva_peers.py). Seeds are fixed; a bound of five standard errors would fail a new seed with a probability of
6e-7.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import emva_release4 as release4
from opusim.device.camera import Camera

SIDE, EXPOSURE_S, STACK = 400, 1e-3, 40
EVERY = Camera(
    "every", (SIDE, SIDE), 5.5e-6, 0.6, 100.0, 0.124, 12,
    full_well_e=32000.0, read_noise_e=7.0, dark_current_e_per_s=125.0, prnu=0.01, dsnu_e=10.0, black_level_dn=60.0,
    dsnu_row_e=6.0, dsnu_column_e=8.0, prnu_row=0.004, prnu_column=0.006, dark_current_spread_e_per_s=60.0,
    temperature_c=35.0, dark_current_doubling_k=8.0, nonlinearity=0.01, telegraph_fraction=0.02, telegraph_e=15.0,
)  # fmt: skip
END_E = 32000.0  # the full well comes before the highest count
SEED = 5


class Lamp:
    """Frames of even light, each with a number of its own."""

    def __init__(self, camera):
        self.camera, self.maps, self.frame = camera, camera.maps(SEED), 0

    def shoot(self, photons, n=2, exposure_s=EXPOSURE_S):
        light = np.full((1, len(self.maps)), photons, np.float32)
        for _ in range(n):
            self.frame += 1
            yield self.camera.expose(
                light, exposure_s=exposure_s, seed=SEED, maps=self.maps, frame0=self.frame
            ).reshape(SIDE, SIDE)


def read(electrons, a):
    return electrons * (1 + 4 * a * (1 - electrons / END_E))


@pytest.mark.parametrize("a", [0.0, 0.01, -0.02])
def test_gain_efficiency_and_linearity(a):
    # A parabola n (1 + 4 a (1 - n / E)) has the slope 1 + 4 a (1 - 2 n / E): signals bend by one, variances by the
    # square of the other, and the lines of the standard through both give another gain and another efficiency.
    camera = EVERY.evolve(nonlinearity=a)
    lamp, q, k, n = Lamp(camera), camera.quantum_efficiency, camera.gain_dn_per_e, SIDE**2
    photons = np.linspace(0, 0.95 * END_E / q, 31)[1:]
    dark, pairs = release4.pair_of(lamp.shoot(0.0)), [release4.pair_of(lamp.shoot(p)) for p in photons]
    curve = release4.Transfer(
        photons, np.array([p.mean for p in pairs]) - dark.mean, np.array([p.variance for p in pairs]) - dark.variance
    )
    electrons = photons * lamp.maps.gain.mean(dtype=np.float64)
    # PRNU bends the mean by the parabola's second derivative, a part in 1e6, and shot noise by less.
    expected = release4.Transfer(
        photons, k * read(electrons, a), k**2 * (1 + 4 * a * (1 - 2 * electrons / END_E)) ** 2 * electrons
    )
    lower, middle = curve.lower, curve.middle
    x = curve.signal[lower]
    error = math.sqrt(2 / n * np.sum((x * curve.variance[lower]) ** 2)) / (x @ x)
    assert curve.gain() == pytest.approx(expected.gain(lower), abs=5 * error)
    efficiency = expected.responsivity(lower) / expected.gain(lower)
    assert curve.responsivity() / curve.gain() == pytest.approx(efficiency, rel=5 * error / k)
    # To first order: levels weigh by their squares.
    u = electrons[lower] / END_E
    w = np.sum(u**3) / np.sum(u**2)
    assert expected.gain(lower) / k == pytest.approx(1 + 4 * a * (1 - 3 * w), abs=20 * a**2 + 1e-12)
    bent = (1 + 4 * a * (1 - w)) / (1 + 4 * a * (1 - 3 * w))
    assert efficiency / lamp.maps.gain.mean(dtype=np.float64) == pytest.approx(bent, abs=20 * a**2 + 1e-9)
    if a:
        assert abs(expected.gain(lower) / k - 1) > 10 * error / k  # the shift is there to be seen
    noise = math.sqrt(curve.variance[middle][0] / (2 * n)) / curve.signal[middle][0]
    np.testing.assert_allclose(curve.deviations(), expected.deviations(middle), atol=5 * noise)


def test_dark_noise_is_the_rms_over_the_pixels():
    # K sigma_d is what is read: the gain is known here. Dark electrons have their shot noise, 125 x 2^(10/8) x 1 ms.
    lamp, k, n = Lamp(EVERY.evolve(nonlinearity=0.0)), EVERY.gain_dn_per_e, SIDE**2
    dark = release4.pair_of(lamp.shoot(0.0))
    shot = 125.0 * 2 ** (10 / 8) * EXPOSURE_S
    rms = math.sqrt(7.0**2 + 0.02 * 15.0**2 + shot)
    # Variances of pixels are v = s^2 + A^2 / 2: A^2 / 2 has the mean t^2 and the mean square 6 t^4.
    spread = 0.02 * 6 * 15.0**4 - (0.02 * 15.0**2) ** 2
    each = 2 * (rms**4 + spread) - 3 * 0.02 * 15.0**4 + spread
    assert release4.dark_noise(dark.variance, k) == pytest.approx(rms, abs=5 * math.sqrt(each / n) / (2 * rms))


def test_rows_columns_and_pixels_in_the_dark_and_lit():
    camera = EVERY.evolve(nonlinearity=0.0)
    lamp, k, m = Lamp(camera), camera.gain_dn_per_e, SIDE
    half = END_E / 2 / camera.quantum_efficiency
    dark, lit = (release4.stack_of(lamp.shoot(p, STACK)) for p in (0.0, half))
    signal = lit.mean.mean() - dark.mean.mean()
    spread = 60.0 * 2 ** (10 / 8) * EXPOSURE_S
    dsnu = {part: v / k for part, v in dark.spatial().roots().items()}
    prnu = {part: v / signal for part, v in lit.spatial().minus(dark.spatial()).roots().items()}
    laws = (
        (dsnu, {"row": 6.0, "column": 8.0, "pixel": math.hypot(10.0, spread)}),
        (prnu, {"row": 0.004, "column": 0.006, "pixel": 0.01}),
    )
    for measured, law in laws:
        for part, value in law.items():
            # So many normal numbers are drawn; what pixels leave in the mean of a line is a twentieth of it at most.
            count = m**2 if part == "pixel" else m
            assert measured[part] == pytest.approx(value, rel=5 * 1.1 / math.sqrt(2 * (count - 1))), part
    # This sensor's own rows are known: the estimate is of them, to what the noise of the frames leaves.
    of_maps = release4.spatial_of(lamp.maps.offset_e.reshape(m, m) + lamp.maps.dark_e(EXPOSURE_S).reshape(m, m)).roots()
    for part, value in of_maps.items():
        assert dsnu[part] == pytest.approx(value, rel=0.005), part


def test_dark_current_by_mean_and_by_variance():
    camera = EVERY.evolve(nonlinearity=0.0)
    lamp, k, n = Lamp(camera), camera.gain_dn_per_e, SIDE**2
    times = np.array([0.02, 0.1, 0.2, 0.3, 0.4])
    pairs = [release4.pair_of(lamp.shoot(0.0, exposure_s=t)) for t in times]
    weights = (times - times.mean()) / np.sum((times - times.mean()) ** 2)
    law = 125.0 * 2 ** (10 / 8)
    variances = np.array([p.variance for p in pairs])
    by_mean = release4.line(times, np.array([p.mean for p in pairs]))[0] / k
    sensor = 60.0 * 2 ** (10 / 8) / math.sqrt(n)  # the mean of so many pixels
    assert by_mean == pytest.approx(law, abs=5 * math.hypot(math.sqrt(weights**2 @ variances / (2 * n)) / k, sensor))
    by_variance = release4.line(times, variances)[0] / k**2
    # Variances differ between pixels, by telegraph noise and by dark currents: their mean square is at most twice.
    assert by_variance == pytest.approx(law, abs=5 * math.sqrt(2 * weights**2 @ variances**2 * 2 / n) / k**2)


# ---------------------------------------------------------------------- the formulas themselves


def test_change_of_the_whole_frame_is_no_noise():
    a = np.random.default_rng(0).normal(50, 2, (300, 300))
    b = np.random.default_rng(1).normal(50, 2, (300, 300))
    still = release4.pair_of([a, b]).variance
    assert still == pytest.approx(4, rel=5 * math.sqrt(2 / a.size))
    assert release4.pair_of([a, b + 3]).variance == pytest.approx(still, rel=1e-9)


def test_variances_of_rows_columns_and_pixels_have_no_bias():
    rng, m, n, draws = np.random.default_rng(2), 20, 30, 2000
    found = np.empty((draws, 3))
    for each in found:
        image = rng.normal(0, 1, (m, 1)) + rng.normal(0, 2, n) + rng.normal(0, 3, (m, n))
        spatial = release4.spatial_of(image)
        each[:] = spatial.row, spatial.column, spatial.pixel
    error = found.std(axis=0) / math.sqrt(draws)
    assert np.all(np.abs(found.mean(axis=0) - [1, 4, 9]) < 5 * error)


def test_straight_lines_have_no_linearity_error_and_least_noise_is_a_rounded_one():
    photons = np.linspace(10, 1000, 50)
    curve = release4.Transfer(photons, 3 + 0.5 * photons, 0.1 * photons)
    assert np.abs(curve.deviations()).max() < 1e-12
    assert release4.dark_noise(0.1, 0.5) == pytest.approx(math.sqrt(0.24 - 1 / 12) / 0.5)
