"""Laws of the frequency of the light: wavelength, line, spectral correlation, surroundings. Seeds are fixed."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from opusim import Device, OpticalBench, theory
from opusim.calibration import lock_frequency
from opusim.device.laser import LIGHT_SPEED_M_PER_S
from opusim.device.lines import line_contrast, spectral_lines
from opusim.device.medium import GaussianMedium, ModeGrid, PhaseScreenMedium
from opusim.noise import error_budget, noise_at_level

WAVELENGTH_M = 532e-9
SIDE, STEP_M = 256, 0.4e-6
FREQUENCY_HZ = LIGHT_SPEED_M_PER_S / WAVELENGTH_M


def stack(**fields):
    """Five screens of 3 rad, 20 um apart."""
    return PhaseScreenMedium(**{"n_screens": 5, "phase_std_rad": 3.0, "thickness_m": 80e-6} | fields)


def speckle(medium, seed, *, inputs=4, wavelength_m=WAVELENGTH_M, shift=0.0, **grid):
    """Fields of single mirrors on 96 x 96 places: complex128 (inputs, places)."""
    cells = np.zeros((inputs, 2, inputs), dtype=np.complex64)
    cells[np.arange(inputs), 0, np.arange(inputs)] = 1
    modes = ModeGrid(SIDE, (2, inputs), (96, 96), **grid)
    operator = medium.shifted(shift).operator(modes, wavelength_m=wavelength_m, seed=seed)
    return operator.forward(cells).reshape(inputs, -1).astype(np.complex128)


def intensity_correlation(a, b):
    """Covariance of the intensities over the places, over that of each alone; mean over inputs."""
    i, j = np.abs(a) ** 2, np.abs(b) ** 2
    i, j = i / i.mean(axis=-1, keepdims=True) - 1, j / j.mean(axis=-1, keepdims=True) - 1
    return float((i * j).mean() / math.sqrt((i * i).mean() * (j * j).mean()))


def independent_stack(shift, seed, *, n_screens=5, gap_m=20e-6, sigma=3.0, length_m=0.8e-6):
    """Correlation of intensities behind a stack made here: numpy's transforms and random numbers, double precision."""
    draw = np.random.default_rng(seed)
    f = np.fft.fftfreq(SIDE, STEP_M)
    squares = f[:, None] ** 2 + f**2
    screens = []
    for _ in range(n_screens):
        smooth = np.fft.fft2(draw.normal(size=(SIDE, SIDE))) * np.exp(-0.5 * (np.pi * length_m) ** 2 * squares)
        phase = np.fft.ifft2(smooth).real
        screens.append(sigma * phase / phase.std())

    def behind(d, tilt):
        wavelength_m = WAVELENGTH_M / (1 + d)
        k_z = 2 * np.pi * np.sqrt(np.maximum(1 / wavelength_m**2 - squares, 0))
        field = np.exp(2j * np.pi * (tilt[0] * np.arange(SIDE)[:, None] + tilt[1] * np.arange(SIDE)) / SIDE)
        for k, phase in enumerate(screens):
            field = field * np.exp(1j * (1 + d) * phase)
            if k < n_screens - 1:
                field = np.fft.ifft2(np.fft.fft2(field) * np.exp(1j * gap_m * k_z))
        middle = slice(SIDE // 2 - 48, SIDE // 2 + 48)
        return np.fft.fftshift(np.fft.fft2(field))[middle, middle].ravel()

    tilts = [(0, 0), (5, 9), (-20, 13)]
    return intensity_correlation(*(np.array([behind(d, tilt) for tilt in tilts]) for d in (0.0, shift)))


# ---------------------------------------------------------------------------------------------- the wavelength


def test_screens_are_lengths_of_path():
    """Phases go as one over the wavelength, exactly; other wavelengths see other speckle of the same path."""
    medium = stack(stated_wavelength_m=WAVELENGTH_M)
    here, there = (medium.screen_phase(1, 64, seed=3, wavelength_m=w).astype(np.float64) for w in (532e-9, 633e-9))
    np.testing.assert_allclose(there, here * 532 / 633, rtol=1e-5, atol=1e-6)  # single precision
    assert here.std() == pytest.approx(3.0, rel=0.05)
    # A device at the stated wavelength is the one that states none.
    grid = ModeGrid(64, (4, 4), (8, 8))
    one, other = (m.factors(grid, wavelength_m=WAVELENGTH_M, seed=3) for m in (medium, stack()))
    assert np.array_equal(one.screens, other.screens) and np.array_equal(one.transfer, other.transfer)
    far = medium.factors(grid, wavelength_m=633e-9, seed=3)
    turned = [np.angle(a * np.conj(b)) for a, b in zip(far.screens, one.screens, strict=True)]
    phase = medium.screen_phase(1, 64, seed=3).astype(np.float64)
    np.testing.assert_allclose(np.exp(1j * turned[1]), np.exp(1j * phase * (532 / 633 - 1)), atol=1e-4)


# ---------------------------------------------------------------------------------------------- spectral correlation


@pytest.mark.parametrize("shift", [0.01, 0.015, 0.02, 0.03])
def test_a_stack_decorrelates_with_frequency_as_an_independent_propagation(shift):
    """Five screens of 3 rad, 20 um apart, read about the axis. Tolerance: .02, of a spread of about .004 of each."""
    ours = [intensity_correlation(speckle(stack(), s), speckle(stack(), s, shift=shift)) for s in range(3)]
    theirs = [independent_stack(shift, seed) for seed in range(2)]
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.02)
    # And in closed form, by which a line is cut into frequencies: over all angles, .03 lower than about the axis.
    closed = stack().spectral_correlation(shift, WAVELENGTH_M) ** 2
    assert closed - 0.01 < np.mean(ours) < closed + 0.04


def test_the_paths_of_a_stack_are_those_of_its_thickness_on_any_grid():
    """A grid whose angles are half or twice the true ones has another depth, but the same spectrum. Tolerance: .03."""
    own = WAVELENGTH_M / (SIDE * STEP_M)
    theirs = independent_stack(0.01, 0)
    for angle in (own / 2, 2 * own):
        pair = [speckle(stack(), 5, shift=d, cell_angle_rad=angle) for d in (0.0, 0.01)]
        assert stack().depth_on(ModeGrid(SIDE, (2, 4), (96, 96), cell_angle_rad=angle), WAVELENGTH_M) == angle / own
        assert intensity_correlation(*pair) == pytest.approx(theirs, abs=0.03)


@pytest.mark.parametrize("n_screens, sigma", [(2, 3.0), (3, 3.0), (5, 3.0), (6, 1.7)])
def test_a_slab_decorrelates_with_frequency_by_its_law_and_keeps_its_light(n_screens, sigma):
    """x^2 / (cosh x - cos x), x^2 = 2 w L^2 / D, between any two frequencies. Tolerance: .03, five times the spread; of
    the mean light about the axis .05, as delays scatter a little into what angles are left (.04 of two screens)."""
    time_s = 1e-12
    medium = stack(n_screens=n_screens, phase_std_rad=sigma, spectral_law="slab", diffusion_time_s=time_s)
    assert medium.doubts() == []
    for x in (1.0, 3.0, 5.0, 8.0):
        shift_hz = x * x / (4 * np.pi * time_s)
        law = x**2 / (np.cosh(x) - np.cos(x))
        assert theory.slab_correlation(shift_hz, time_s) == pytest.approx(law, rel=1e-9)
        for start in (0.0, 4e-3):
            d = shift_hz / FREQUENCY_HZ
            pairs = [[speckle(medium, s, shift=start + each, inputs=8) for each in (0.0, d)] for s in range(2)]
            assert np.mean([intensity_correlation(*pair) for pair in pairs]) == pytest.approx(law, abs=0.03)
            lights = [np.mean(np.abs(pair[1]) ** 2) / np.mean(np.abs(pair[0]) ** 2) for pair in pairs]
            assert np.mean(lights) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"n_screens": 10, "phase_std_rad": 1.0}, "into 0.71 of the grid's .* medium.phase_std_rad = 1.27 would do"),
        ({"n_screens": 3, "correlation_length_m": 3e-6}, "into 0.31 of the grid's angles"),
        ({"n_screens": 1, "phase_std_rad": 6.0}, "medium.n_screens must be 2 at least"),
    ],
)  # fmt: skip
def test_a_slab_of_screens_that_leave_angles_free_is_doubted(fields, words):
    """There delays scatter light away from the axis: 10 screens of 1 rad keep .9 of it at half of the correlation."""
    plain = stack(**fields)
    told = stack(**fields, spectral_law="slab", diffusion_time_s=1e-12).doubts()
    assert len(told) == len(plain.doubts()) + 1 and re.search(words, told[-1])
    if "would do" in words:
        mended = stack(**fields | {"phase_std_rad": 1.27}, spectral_law="slab", diffusion_time_s=1e-12)
        assert mended.doubts() == []


def test_the_law_of_a_slab_is_smooth_where_it_is_close_to_one():
    """By its series 1 - x^4 / 360 (the next term has x^8), and nothing is left far away."""
    for x in (0.05, 0.0999, 0.1001, 0.2):
        law = theory.slab_correlation(x * x / (4 * np.pi), 1.0)
        assert law == pytest.approx(1 - x**4 / 360, abs=1e-7)
    assert theory.slab_correlation(1e12, 1.0) == 0.0 and theory.slab_correlation(0.0, 1.0) == 1.0


# ---------------------------------------------------------------------------------------------- the line of a laser


def slab_device(ratio, law="gaussian", **changes):
    """A small device whose line is `ratio` times 1 / (2 pi L^2 / D) wide, without noise, pixels that sample points."""
    time_s = 1e-10
    device = Device.load("ideal").evolve(
        **{"laser.linewidth_hz": ratio / (2 * np.pi * time_s), "laser.line": law, "dmd.shape": (64, 64),
           "operation.ones_range": (1, 4096), "camera.shape": (128, 128), "resolution": "mirrors"} | changes
    )  # fmt: skip
    medium = PhaseScreenMedium(
        spectral_law="slab", diffusion_time_s=time_s, transmission=device.medium.transmission, thickness_m=100e-6
    )
    return device.evolve(medium=medium)


def law_of_contrast(ratio, law):
    """Root of the double integral of line, line and correlation, by a sum of a million frequencies drawn here."""
    draw = np.random.default_rng(0)
    one = [draw.normal(size=10**6) / 2.3548 if law == "gaussian" else draw.standard_cauchy(10**6) / 2 for _ in range(2)]
    x = np.sqrt(2 * np.abs(one[0] - one[1]) * ratio) + 1e-9
    x = np.minimum(x, 300)
    return math.sqrt(np.mean(x**2 / (np.cosh(x) - np.cos(x))))


@pytest.mark.parametrize("law", ["gaussian", "lorentzian"])
@pytest.mark.parametrize("ratio", [1.0, 10.0, 60.0])
def test_contrast_falls_with_the_line_by_its_law(law, ratio):
    """Contrast^2 is the integral of the line's autocorrelation times the spectral correlation. Tolerance: .01 for the
    frequencies that stand for the line (they are chosen to), .005 for the law, .02 for 16 384 pixels of six frames."""
    device = slab_device(ratio, law)
    wanted = law_of_contrast(ratio, law)
    assert device.line_contrast == pytest.approx(wanted, abs=0.005)
    draw = np.random.default_rng(1)
    patterns = (draw.random((6, 64, 64)) < 0.5).astype(np.uint8)
    frames = OpticalBench(device, 4).expose(patterns, exposure_s=1e-3).astype(np.float64)
    contrast = math.sqrt(np.mean(frames**2) / np.mean(frames) ** 2 - 1)
    assert contrast == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("law", ["gaussian", "lorentzian"])
def test_a_line_on_a_stack_leaves_the_contrast_that_is_told(law):
    """What is told is the closed form over all angles; pixels see light about the axis, which is more alike. Tolerance
    .03, as of the spectral correlation: seen .02 above it."""
    device = slab_device(0.0).evolve(
        **{"medium.spectral_law": "stack", "medium.diffusion_time_s": 0.0, "medium.thickness_m": 2e-3,
           "laser.linewidth_hz": 300e9, "laser.line": law}
    )  # fmt: skip
    patterns = (np.random.default_rng(1).random((6, 64, 64)) < 0.5).astype(np.uint8)
    frames = OpticalBench(device, 4).expose(patterns, exposure_s=1e-3).astype(np.float64)
    contrast = math.sqrt(np.mean(frames**2) / np.mean(frames) ** 2 - 1)
    assert contrast == pytest.approx(device.line_contrast, abs=0.03)
    assert contrast < 0.85  # of a laser of one frequency it is 1


def test_a_line_has_as_few_frequencies_as_it_takes_and_the_mean_light_stays():
    device = slab_device(1e-3)
    assert device.sampling.lines == (0.0,)
    wide = slab_device(60.0)
    lines = np.array(wide.sampling.lines)
    assert 4 < len(lines) <= 64 and np.array_equal(lines, -lines[::-1])
    assert wide.photons_per_intensity(1e-3) == device.photons_per_intensity(1e-3)
    assert wide.evolve(**{"camera.polarised": False}).photons_per_intensity(1e-3) == 2 * device.photons_per_intensity(
        1e-3
    )
    patterns = np.ones((1, 64, 64), dtype=np.uint8)
    levels = [OpticalBench(d, 4).expose(patterns, exposure_s=1e-3).mean() for d in (device, wide)]
    assert levels[0] == pytest.approx(levels[1], rel=0.05)


def test_a_medium_without_paths_keeps_its_contrast():
    assert line_contrast(GaussianMedium(), WAVELENGTH_M, 1e12, "gaussian") == 1.0
    assert spectral_lines(GaussianMedium(), WAVELENGTH_M, 1e12, "gaussian") == (0.0,)


# ---------------------------------------------------------------------------------------------- surroundings and tuning


def warming_device(**changes):
    """A slab that a kelvin takes through half of its correlation and more, and a laser that can follow."""
    return slab_device(0.0, **{"laser.tuning_range_hz": 30e9} | changes).evolve(
        **{"medium.expansion_per_k": 3e-6, "medium.index_per_k": 7e-6, "medium.index_per_pa": 2e-9,
           "medium.diffusion_time_s": 5e-10}
    )  # fmt: skip


PATTERNS = (np.random.default_rng(3).random((2, 64, 64)) < 0.5).astype(np.uint8)


def frames_of(bench):
    return bench.expose(PATTERNS, exposure_s=1e-3).reshape(2, -1).astype(np.float64)


def pearson(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_warmth_and_pressure_act_as_a_shift_of_the_frequency():
    """d = (alpha + n^-1 dn/dT) dT + (n^-1 dn/dp) dp; speckle falls by the law of the slab. Tolerance: .03, of 32 768
    outputs whose correlation has a spread of .006."""
    bench = OpticalBench(warming_device(), 1)
    first = frames_of(bench)
    for change in ({"temperature_change_k": 1.0}, {"temperature_change_k": -0.5}, {"pressure_change_pa": 4000.0}):
        bench.surround(**{"temperature_change_k": 0.0, "pressure_change_pa": 0.0} | change)
        d = 1e-5 * change.get("temperature_change_k", 0.0) + 2e-9 * change.get("pressure_change_pa", 0.0)
        assert bench.frequency_shift == pytest.approx(d, rel=0.01)
        law = theory.slab_correlation(d * FREQUENCY_HZ, 5e-10)
        assert pearson(first, frames_of(bench)) == pytest.approx(law, abs=0.03)
    bench.surround(temperature_change_k=1.0, pressure_change_pa=0.0)
    bench.tune(-1e-5 * FREQUENCY_HZ)  # undoes it, but for the steps in which the medium is computed
    assert pearson(first, frames_of(bench)) > 0.9998


def test_a_servo_recovers_the_correlation_after_a_kelvin():
    """To .99 of that of two frames of one state, with the noise of a real camera; by the law alone it is below .2."""
    device = warming_device()
    noisy = device.evolve(camera=Device.load("aurora").camera.evolve(shape=(128, 128)))
    bench = OpticalBench(noisy, 2)
    how = {"exposure_s": 400e-6}
    kept = lock_frequency(bench, PATTERNS, **how)
    assert kept.tuning_hz == pytest.approx(0, abs=0.02 * kept.width_hz)
    # Half is left where x^2 / (cosh x - cos x) is 1/2: x = 4.23.
    assert kept.width_hz == pytest.approx(4.23**2 / (4 * np.pi * 5e-10), rel=0.3)
    bench.surround(temperature_change_k=1.0)
    found = lock_frequency(bench, PATTERNS, reference=kept, **how)
    assert found.correlation_before < 0.25
    assert found.correlation > 0.99 * found.correlation_of_one_state
    assert bench.tuning_hz == found.tuning_hz == pytest.approx(-1e-5 * FREQUENCY_HZ, abs=0.05 * kept.width_hz)


# ---------------------------------------------------------------------------------------------- what counts with it


@pytest.mark.parametrize("name", ["phase_std_rad", "thickness_m"])
def test_phases_of_a_shifted_layer_grow_with_its_fields_as_they_say(name):
    """A change of 1e-3 of the field turns each factor by slope x change; single precision leaves 1e-3 of a radian."""
    grid = ModeGrid(64, (4, 4), (8, 8), cell_angle_rad=0.02)
    medium = stack(stated_wavelength_m=500e-9, frequency_shift=0.01)
    change = 1e-3 * getattr(medium, name)
    how = {"wavelength_m": WAVELENGTH_M, "seed": 2}
    here = medium.factors(grid, **how)
    there = stack(
        stated_wavelength_m=500e-9, frequency_shift=0.01, **{name: getattr(medium, name) + change}
    ).factors(grid, **how)  # fmt: skip
    slopes = medium.phase_slopes(name, grid, **how)
    for one, other, slope in [
        (here.screens[1], there.screens[1], slopes.screens[1] if slopes.screens else 0.0),
        (here.transfer, there.transfer, 0.0 if slopes.transfer is None else slopes.transfer),
    ]:
        np.testing.assert_allclose(other, one * np.exp(1j * slope * change), atol=2e-3 * np.abs(one).max())


def test_budgets_of_noise_count_with_the_contrast_that_the_line_leaves():
    device = slab_device(10.0).evolve(camera=Device.load("aurora").camera.evolve(shape=(128, 128)))
    sharp = device.evolve(**{"laser.linewidth_hz": 0.0})
    one, other = (noise_at_level(d, 20.0, exposure_s=4e-4, speckle=True) for d in (sharp, device))
    assert one.contrast == 1.0 and other.contrast == pytest.approx(law_of_contrast(10.0, "gaussian"), abs=0.005)
    with pytest.raises(ValueError, match=r"laser.linewidth_hz is .*, and a budget of linear outputs knows one frequ"):
        error_budget(device.evolve(**{"reference.relative_amplitude": 2.0}), "linear")


def test_fringes_of_a_line_are_the_sum_of_those_of_its_frequencies():
    """|S_k + R|^2 added up: the mean fringe is that of the mean field, and nothing of the light is lost."""
    device = slab_device(10.0, **{"reference.relative_amplitude": 2.0})
    bench = OpticalBench(device, 4)
    phases = np.pi / 2 * np.arange(4)
    frames = bench.expose(PATTERNS[:1], exposure_s=1e-3, reference_phase_rad=phases).reshape(4, -1).astype(np.float64)
    alone = bench.expose(PATTERNS[:1], exposure_s=1e-3).ravel().astype(np.float64)
    fringe = (frames * np.exp(1j * phases)[:, None]).mean(axis=0)
    reference = frames.mean(axis=0) - alone  # |R|^2
    # The mean field over the line, S = fringe / R, has the power <|S|^2> / n <sum over pairs of correlations>.
    power = np.mean(np.abs(fringe) ** 2 / reference) / alone.mean()
    shifts = np.array(device.sampling.lines)
    pairs = [math.sqrt(theory.slab_correlation(d * FREQUENCY_HZ, 1e-10)) for d in (shifts[:, None] - shifts).ravel()]
    z = np.sqrt(2j * np.pi * (shifts[:, None] - shifts).ravel() * FREQUENCY_HZ * 1e-10 + 1e-30)
    turned = z / np.sinh(z) * np.exp(z**2 / 6)  # the mean delay is no part of the layer
    np.testing.assert_allclose(np.abs(turned), pairs, atol=1e-6)
    assert power == pytest.approx(np.mean(turned).real, abs=0.03)
