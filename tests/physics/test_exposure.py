"""What a phase that moves during an exposure leaves of the fringes: against Bessel's integral and plain quadrature."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import integrate, signal, special

from opusim import OpticalBench
from opusim.bench.region import Region, Roi
from opusim.device.medium import GaussianMedium
from opusim.device.record import Device
from opusim.device.reference import Reference
from opusim.device.vibration import SPECTRUM_LINES, Lines, bessel_j0, mean_phasors, spectrum_lines, spectrum_variance
from opusim.noise.levels import error_budget
from opusim.noise.light import vibration_contrast
from opusim.noise.measured import measured_error_budget
from opusim.noise.working_point import working_point
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.theory import exposure_moments

IDEAL = Device.load("ideal").evolve(**{"operation.exposure_average": True})
LAYOUT = MirrorLayout.lined((912, 1140), 60)
ROI = (500, 900, 4, 60)
ALL_OFF = MirrorPatterns(np.zeros((1, 60), dtype=np.uint8), LAYOUT)
LIT = MirrorPatterns(np.random.default_rng(1).integers(0, 2, (1, 60), dtype=np.uint8), LAYOUT)
EIGHT = np.pi / 4 * np.arange(8)


def phasors(arm, times, exposure_s, seed=1):
    n = len(times)
    return arm.phasors(np.zeros(n), np.arange(n), np.asarray(times, dtype=float), exposure_s, seed=seed)


def plainly(phase, start_s, exposure_s):
    """Mean of exp(i phase(t)) by scipy's adaptive quadrature."""
    whole = integrate.quad(
        lambda t: np.exp(1j * phase(t)), start_s, start_s + exposure_s, limit=500, epsabs=1e-10, complex_func=True
    )[0]
    return whole / exposure_s


def contrast(bench, exposure_s, shown=LIT):
    """Contrast of the fringes of eight steps on a bench, by the reference and the signal alone: 1 for full fringes."""
    frames = bench.expose(shown, exposure_s=exposure_s, roi=ROI, reference_phase_rad=EIGHT).reshape(8, -1)
    alone = bench.expose(ALL_OFF, exposure_s=exposure_s, roi=ROI, reference_phase_rad=0.0).reshape(-1)
    signal_alone = bench.expose(shown, exposure_s=exposure_s, roi=ROI).reshape(-1)
    fringe = np.abs(np.exp(1j * EIGHT) @ frames) / 4
    return np.sqrt(np.mean(fringe**2) / np.mean(4 * alone * signal_alone))


@pytest.mark.parametrize("execution", ["matrix", "waves"])
@pytest.mark.parametrize(("amplitude", "left"), [(1.0, 0.7652), (2.4048, 0.0), (0.1, 0.9975)])
def test_whole_periods_leave_j0_of_the_contrast(execution, amplitude, left):
    """50 ms over six periods: J0(a), from tables (Abramowitz and Stegun 9.1.18). Frames are float32: 1e-4."""
    device = IDEAL.evolve(**{"reference.vibration_rad": amplitude, "reference.vibration_hz": 120.0})
    bench = OpticalBench(device, execution=execution)
    whole = contrast(OpticalBench(IDEAL, execution=execution), 0.05)
    assert contrast(bench, 0.05) / whole == pytest.approx(left, abs=2e-4)


def test_without_the_average_the_fringes_keep_their_contrast():
    device = IDEAL.evolve(**{"reference.vibration_rad": 1.0, "operation.exposure_average": False})
    still = device.evolve(**{"reference.vibration_rad": 0.0})
    # Nine whole periods apart, so that all steps have the same phase.
    shown = [
        OpticalBench(d).expose(LIT, exposure_s=0.05, frametime_s=0.075, roi=ROI, reference_phase_rad=EIGHT)
        for d in (device, still)
    ]
    fringe = [np.abs(np.tensordot(np.exp(1j * EIGHT), frames, axes=1)) for frames in shown]
    np.testing.assert_allclose(fringe[0], fringe[1], rtol=1e-4, atol=1e-4 * fringe[1].mean())


@pytest.mark.parametrize("arm", [
    Reference(3.0, vibration_rad=0.5, vibration_hz=120.0),
    Reference(3.0, vibration_rad=2.0, vibration_hz=17.0, drift_rad_per_minute=200.0),
    Reference(3.0, vibration_rad=30.0, vibration_hz=8.0),
    Reference(3.0, drift_rad_per_minute=300.0),
    Reference(3.0, vibration_lines_hz=(3.0, 50.0, 90.0), vibration_lines_rad=(0.3, 1.0, 0.2)),
    Reference(3.0, vibration_psd_hz=(1.0, 10.0, 90.0), vibration_psd_rad2_per_hz=(0.1, 0.1, 1e-3)),
])  # fmt: skip
@pytest.mark.parametrize("exposure_s", [4e-4, 0.003, 0.11])
def test_any_part_of_a_period_is_the_integral(arm, exposure_s):
    """Mean of exp(i phase(t)) with the phase of `phases_rad`, by adaptive quadrature: 1e-7."""

    def phase(t):
        return arm.phases_rad(np.zeros(1), np.zeros(1, dtype=int), np.array([t]), seed=1)[0]

    for start in (0.0, 77.7):
        moments = start + np.linspace(0, exposure_s, 4001)
        known = arm.phases_rad(np.zeros(4001), np.zeros(4001, dtype=int), moments, seed=1)
        expected = integrate.simpson(np.exp(1j * known), x=moments) / exposure_s
        assert abs(phasors(arm, [start], exposure_s)[0] - expected) < 1e-7
    if len(arm.vibration(1)) < 2:
        assert abs(plainly(phase, start, exposure_s) - expected) < 1e-7


def test_a_long_exposure_under_drift():
    """An exposure of a minute and a half while the path drifts by radians: the integral, to 1e-6."""
    arm = Reference(3.0, drift_rad_per_minute=2.0, vibration_rad=0.1, vibration_hz=0.7)
    moments = 500 + np.linspace(0, 90, 400_001)
    known = arm.phases_rad(np.zeros(400_001), np.zeros(400_001, dtype=int), moments, seed=1)
    expected = integrate.simpson(np.exp(1j * known), x=moments) / 90
    assert abs(phasors(arm, [500.0], 90.0)[0] - expected) < 1e-6


def test_asked_phase_and_jitter_turn_the_mean():
    arm = Reference(3.0, vibration_rad=0.7, jitter_rad=0.2, scale_error=0.1)
    asked = np.array([0.0, 1.0, 2.5])
    still = dataclasses.replace(arm, vibration_rad=0.0)
    frames, times = np.arange(3), np.full(3, 0.123)
    turned = still.phases_rad(asked, frames, times, seed=1)
    bare = phasors(Reference(3.0, vibration_rad=0.7), times, 0.004)
    found = arm.phasors(asked, frames, times, 0.004, seed=1)
    np.testing.assert_allclose(found, np.exp(1j * turned) * bare, atol=1e-14)
    np.testing.assert_allclose(still.phasors(asked, frames, times, 0.004, seed=1), np.exp(1j * turned), atol=1e-15)


def test_a_frame_has_its_mean_whatever_else_is_shown():
    arm = Reference(3.0, vibration_rad=0.7, drift_rad_per_minute=1.0, jitter_rad=0.1)
    times = np.arange(9) * 0.013
    whole = arm.phasors(np.zeros(9), np.arange(9), times, 0.01, seed=3)
    singly = [arm.phasors(np.zeros(1), np.array([i]), times[i : i + 1], 0.01, seed=3)[0] for i in range(9)]
    np.testing.assert_array_equal(whole, singly)


def test_no_exposure_is_the_moment():
    arm = Reference(3.0, vibration_rad=0.7, drift_rad_per_minute=1.0)
    times = np.arange(5) * 0.013
    moment = arm.phases_rad(np.zeros(5), np.arange(5), times, seed=1)
    np.testing.assert_allclose(phasors(arm, times, 0.0), np.exp(1j * moment), atol=1e-13)


def test_very_fast_lines_are_left_to_their_mean():
    """J0(a) per line, wrong by at most 2 |J1(a)| / (pi f T): here 1e-7."""
    fast = Reference(3.0, vibration_lines_hz=(3e5, 7e5, 2.0), vibration_lines_rad=(1.0, 0.5, 0.4))
    slow = Reference(3.0, vibration_lines_hz=(0.0, 0.0, 2.0), vibration_lines_rad=(0.0, 0.0, 0.4))
    left = special.j0(1.0) * special.j0(0.5)
    assert abs(phasors(fast, [0.3], 10.0)[0] - left * phasors(slow, [0.3], 10.0)[0]) < 3e-7
    one = Reference(3.0, vibration_rad=1.0, vibration_hz=1e3)
    # A second of a thousand periods is followed: J0 to the quadrature's 1e-7 although it is not asked for.
    assert abs(phasors(one, [0.3], 1.0)[0] - special.j0(1.0)) < 1e-7


def test_bessel_function_is_scipys():
    x = np.linspace(0, 200, 401)
    np.testing.assert_allclose([bessel_j0(a) for a in x], special.j0(x), atol=1e-13)


def test_what_the_fringes_lose_is_light_that_does_not_interfere():
    """Mean over whole turns of the phase: |S|^2 + |R|^2 whatever the vibration. Float32 frames: 1e-5."""
    bench = [
        OpticalBench(IDEAL.evolve(**{"reference.vibration_rad": a, "reference.coherence": 0.8})) for a in (0.0, 1.3)
    ]
    # At 120 Hz and frames of 50 ms each step has the same mean phasor, so that the fringes drop out of the mean.
    still, shaken = (
        b.expose(LIT, exposure_s=0.05, frametime_s=0.1, roi=ROI, reference_phase_rad=EIGHT).astype(float) for b in bench
    )
    np.testing.assert_allclose(shaken.mean(axis=0), still.mean(axis=0), rtol=1e-5)
    assert np.abs(shaken - still).max() > 0.1 * still.mean()


def test_frames_are_the_interference_of_the_mean_phasor():
    """|S|^2 + |R|^2 + 2 c Re(S conj(R m)) with S of `inspect` and m by plain quadrature, float64; also by `inspect`."""
    device = IDEAL.evolve(**{
        "reference.coherence": 0.9, "reference.vibration_rad": 0.9, "reference.vibration_hz": 31.0,
        "reference.drift_rad_per_minute": 20.0,
    })  # fmt: skip
    bench, exposure_s = OpticalBench(device, seed=4), 0.02
    arm = device.reference
    bench.skip_frames(7, frametime_s=3.3)
    start = bench.clock.elapsed_s
    planes = bench.inspect(LIT, exposure_s=exposure_s, roi=ROI, reference_phase_rad=2.0)
    frame = bench.expose(LIT, exposure_s=exposure_s, roi=ROI, reference_phase_rad=2.0)[0]
    np.testing.assert_array_equal(frame, planes.counts)
    moments = start + np.linspace(0, exposure_s, 2001)
    phase = arm.phases_rad(np.full(2001, 2.0), np.zeros(2001, dtype=int), moments, seed=4)
    mean = integrate.simpson(np.exp(1j * phase), x=moments) / exposure_s
    region = Region(Roi(*ROI), ROI[2] * ROI[3], bench.sensor_shape[1])
    R = arm.field(
        region.pixels(), sensor_shape=bench.sensor_shape, pixel_pitch_m=5.5e-6, n_mirrors=912 * 1140, seed=4
    ).astype(np.complex128)  # fmt: skip
    S = planes.medium_field.reshape(-1).astype(np.complex128)
    unit = bench.photons_per_intensity(exposure_s) * device.camera.quantum_efficiency * device.camera.gain_dn_per_e
    expected = unit * (np.abs(S) ** 2 + np.abs(R) ** 2 + 2 * 0.9 * np.real(S * np.conj(R * mean)))
    assert abs(mean) < 0.95
    assert np.max(np.abs(frame.reshape(-1) - expected)) < 1e-5 * expected.mean()


def test_pixels_with_many_samples_and_a_blocked_arm():
    """The plain way of numpy (more than 128 samples) and the kernels see the same incoherent light."""
    shaken = {"reference.vibration_rad": 1.0, "reference.vibration_hz": 120.0}
    blocked = [OpticalBench(IDEAL.evolve(**c)).expose(LIT, exposure_s=0.05, roi=ROI) for c in ({}, shaken)]
    np.testing.assert_array_equal(*blocked)
    device = IDEAL.remagnified().evolve(**shaken, **{"camera.pixel_over_grain": 0.5})
    bench = OpticalBench(device)
    planes = bench.inspect(LIT, exposure_s=0.05, roi=ROI, reference_phase_rad=1.0)
    unit = device.camera.quantum_efficiency * device.camera.gain_dn_per_e
    np.testing.assert_allclose(planes.counts, planes.photons * unit, rtol=1e-5)


# ---------------------------------------------------------------- lines and spectra


def test_lines_add_to_the_phase():
    arm = Reference(3.0, vibration_lines_hz=(40.0, 130.0), vibration_lines_rad=(0.3, 0.1))
    times = np.arange(2000) * 5e-4  # a second
    phase = arm.phases_rad(np.zeros(2000), np.arange(2000), times, seed=2)
    for hz, rad in zip(arm.vibration_lines_hz, arm.vibration_lines_rad, strict=True):
        assert 2 * np.abs(np.mean(phase * np.exp(-2j * np.pi * hz * times))) == pytest.approx(rad, rel=1e-9)
    other = arm.phases_rad(np.zeros(2000), np.arange(2000), times, seed=3)
    assert np.abs(other - phase).max() > 0.05  # starts are the seed's


@pytest.mark.parametrize(("hz", "density", "variance"), [
    ((10.0, 110.0), (1e-3, 1e-3), 0.1),
    ((1.0, 100.0), (1.0, 1e-4), 1 - 1 / 100),  # f^-2: 1/f1 - 1/f2
    ((1.0, 100.0), (0.1, 1e-3), 0.1 * np.log(100)),  # f^-1
    ((1.0, 10.0, 1000.0), (1e-3, 0.1, 1e-5), 1e-3 * 333 + 0.1 * 10 * 10 * (0.1 - 1e-3)),  # f^2, then f^-2
])  # fmt: skip
def test_variance_is_the_integral_of_the_density(hz, density, variance):
    """Closed forms of the integrals of powers; the lines' a^2 / 2 add up to it, and so does a long record."""
    lines = spectrum_lines(hz, density, 5)
    assert len(lines) == SPECTRUM_LINES
    assert np.sum(lines.rad**2) / 2 == pytest.approx(variance, rel=1e-9)
    assert lines.hz.min() >= hz[0] and lines.hz.max() <= hz[-1] and (np.diff(lines.hz) >= 0).all()


def test_spectrum_is_the_density_that_was_asked_for():
    """Periodogram (Welch's, by scipy) averaged over 60 seeds in bands: 64 lines a seed, so 4 / sqrt(60) of a line each.

    Bands hold five lines or more of each seed, whose places are random: within 12 %.
    """
    hz, density = (2.0, 20.0, 200.0), (1e-2, 1e-2, 1e-5)
    arm = Reference(3.0, vibration_psd_hz=hz, vibration_psd_rad2_per_hz=density)
    rate, n = 1000.0, 8000
    times = np.arange(n) / rate
    mean = 0.0
    for seed in range(60):
        phase = arm.phases_rad(np.zeros(n), np.arange(n), times, seed=seed)
        f, power = signal.welch(phase, rate, "hann", 4000, detrend=False)
        mean = mean + power / 60
    edges = [3, 6, 12, 18, 30, 60, 120, 190]
    for low, high in zip(edges, edges[1:], strict=False):
        band = (f >= low) & (f < high)
        asked = np.exp(np.interp(np.log(f[band]), np.log(hz), np.log(density)))
        assert np.sum(mean[band]) / np.sum(asked) == pytest.approx(1, abs=0.12), (low, high)


def test_a_narrow_peak_keeps_its_power_and_its_place():
    """A resonance of .5 Hz in a band of three decades: half of the lines go by power, so it is no single sine."""
    hz = (1.0, 99.7, 99.9, 100.1, 100.3, 1000.0)
    density = (1e-6, 1e-6, 0.1, 0.1, 1e-6, 1e-6)
    lines = spectrum_lines(hz, density, 1)
    inside = (lines.hz > 99.7) & (lines.hz < 100.3)
    whole = integrate.quad(
        lambda x: np.exp(x + np.interp(x, np.log(hz), np.log(density))), 0, np.log(1e3), points=np.log(hz[1:-1]),
        epsabs=1e-12,
    )[0]  # fmt: skip
    assert np.sum(lines.rad**2) / 2 == pytest.approx(whole, rel=1e-6)
    assert inside.sum() > SPECTRUM_LINES / 3
    assert np.sum(lines.rad[inside] ** 2) / np.sum(lines.rad**2) > 0.9


def test_a_fast_random_vibration_leaves_the_gaussian_contrast():
    """Many sines of variance v, all far faster than the exposure: the product of J0(a), near exp(-v / 2)."""
    arm = Reference(3.0, vibration_psd_hz=(500.0, 900.0), vibration_psd_rad2_per_hz=(1e-3, 1e-3))
    found = np.mean([abs(phasors(arm, [0.0], 2.0, seed)[0]) for seed in range(4)])
    assert found == pytest.approx(np.exp(-0.4 / 2), abs=0.02)


STEEP = [
    ((6.4585e-07, 6.5767e-05), (2.606e-05, 8.11e-29)), ((1e-9, 1e6), (1e6, 1e-30)), ((1.0, 1 + 1e-9), (1e6, 1e-30)),
    ((1.0, 1 + 4e-16), (1e6, 1e-30)), ((1e-9, 1e6), (1e-30, 1e-5)), ((1e-9, 1e6), (1e-30, 1e-30)),
]  # fmt: skip


def spectra(n, seed):
    """Spectra of every kind that may be: few to seven points, of all magnitudes, of which some are next to each other.

    Each is made weaker until its variance, an integral of straight lines on logarithmic scales, is below 5000 rad^2.
    """
    draw = np.random.default_rng(seed)
    while n:
        size = draw.integers(2, 8)
        hz = np.exp(draw.uniform(np.log(1e-9), np.log(1e6), size))
        if draw.random() < 0.3:
            hz = hz[0] * (1 + np.cumsum(10 ** draw.uniform(-16, 0, size)))
        hz = np.unique(np.clip(hz, 1e-9, 1e6))
        density = 10 ** draw.uniform(-30, 6, len(hz))
        if draw.random() < 0.3:
            density = np.where(draw.random(len(hz)) < 0.5, 1e-30, 1e6)
        if len(hz) < 2:
            continue
        n -= 1
        # An upper bound of the integral: the larger density over each part.
        bound = np.sum(np.maximum(density[:-1], density[1:]) * np.diff(hz))
        yield tuple(hz.tolist()), tuple(np.maximum(density * min(1.0, 4900 / bound), 1e-30).tolist())


def test_every_spectrum_that_may_be_has_its_power_in_finite_sines():
    """Sum of a^2 / 2 is the integral, to rounding: 1e-12; 100 spectra, and steep ones that were NaN once.

    What is lost below rounding of the power may be a sine of no amplitude, and then is none of the vibration.
    """
    for hz, density in [*STEEP, *spectra(100, 5)]:
        lines = spectrum_lines(hz, density, 3)
        assert np.isfinite(lines.hz).all() and np.isfinite(lines.rad).all() and (lines.rad >= 0).all(), (hz, density)
        assert np.sum(lines.rad**2) / 2 == pytest.approx(spectrum_variance(hz, density), rel=1e-12), (hz, density)
        assert lines.hz.min() >= hz[0] * (1 - 1e-12) and lines.hz.max() <= hz[-1] * (1 + 1e-12)
        arm = Reference(3.0, vibration_psd_hz=hz, vibration_psd_rad2_per_hz=density)
        kept = arm.vibration(3)
        assert len(kept) and (kept.rad > 0).all() and len(set(kept.hz.tolist())) == len(kept)


@pytest.mark.parametrize(("hz", "density"), [
    ((1.0, 2.0, 4.0, 1e5), (1e-3, 1e-3, 1e-9, 1e-9)), ((0.01, 3.0), (2.0, 1e-4)), ((5.0, 6.0), (1e-8, 1e-1)),
])  # fmt: skip
def test_the_power_of_a_spectrum_is_its_integral(hz, density):
    """By scipy's quadrature, on the logarithmic scale between each two points: 1e-8."""
    logs = np.log(hz)
    whole = sum(
        integrate.quad(lambda x: np.exp(x + np.interp(x, logs, np.log(density))), a, b, epsabs=0, epsrel=1e-10)[0]
        for a, b in zip(logs, logs[1:], strict=False)
    )
    assert np.sum(spectrum_lines(hz, density, 2).rad ** 2) / 2 == pytest.approx(whole, rel=1e-8)


def test_a_steep_spectrum_has_frames_of_light():
    few = np.random.default_rng(1).integers(0, 2, (1, 16, 16), dtype=np.uint8)
    device = IDEAL.evolve(**{
        "dmd.shape": (16, 16), "camera.shape": (16, 16), "operation.ones_range": (1, 250),
        "reference.vibration_psd_hz": STEEP[0][0], "reference.vibration_psd_rad2_per_hz": STEEP[0][1],
    })  # fmt: skip
    # Its variance is 2e-12 square radians: the frame of a reference that stands still.
    still = device.evolve(**{"reference.vibration_psd_hz": (), "reference.vibration_psd_rad2_per_hz": ()})
    found, expected = (
        OpticalBench(one).expose(few, exposure_s=0.01, roi=(0, 0, 8, 8), reference_phase_rad=0.3)
        for one in (device, still)
    )
    assert expected.mean() > 0
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.mean())


def test_sines_of_equal_frequency_are_one():
    """a sin(wt + p) + b sin(wt + q) is the sine of the phasor a exp(ip) + b exp(iq); written anew, to 1e-12."""
    arm = Reference(
        3.0, vibration_rad=0.4, vibration_hz=50.0, vibration_lines_hz=(20.0, 50.0, 70.0, 20.0),
        vibration_lines_rad=(0.3, 1.1, 0.2, 0.0),
    )  # fmt: skip
    times = np.random.default_rng(1).uniform(0, 100, 1000)
    for seed in range(3):
        apart, one = arm.vibration(seed, apart=True), arm.vibration(seed)
        assert apart.hz.tolist() == [50.0, 20.0, 50.0, 70.0] and one.hz.tolist() == [50.0, 20.0, 70.0]
        sums = [
            (lines.rad * np.sin(2 * np.pi * lines.hz * times[:, None] + lines.start)).sum(axis=1)
            for lines in (apart, one)
        ]
        np.testing.assert_allclose(sums[1], sums[0], atol=1e-11)
        # What has no equal stays to the bit.
        assert (one.rad[1:] == apart.rad[[1, 3]]).all() and (one.start[1:] == apart.start[[1, 3]]).all()
    opposite = Lines(np.array([3.0, 3.0]), np.array([0.0, 0.0]), np.array([0.0, 1.0]))
    assert len(opposite.added()) == 0


@pytest.mark.parametrize("x", [0.0, 2.405, 150.0, 200.0, 250.0, 1000.0])
def test_bessel_function_of_sums_that_are_large(x):
    """Against scipy's: three lines of 100 rad may add up to 300."""
    assert bessel_j0(x) == pytest.approx(special.j0(x), abs=2e-13)


def test_mean_phasors_of_no_lines_is_one():
    none = Lines(np.zeros(0), np.zeros(0), np.zeros(0))
    np.testing.assert_allclose(mean_phasors(np.arange(3.0), 1.0, none), 1, atol=1e-15)


# ---------------------------------------------------------------- moments, and the budget of noise


@pytest.mark.parametrize(("fields", "exposure_s"), [
    ({"vibration_rad": 0.5, "vibration_hz": 120.0}, 0.004),
    ({"vibration_rad": 2.0, "vibration_hz": 120.0}, 0.004),
    ({"vibration_rad": 1.0, "vibration_hz": 120.0}, 0.0),
    ({"vibration_lines_hz": (30.0, 50.0, 400.0), "vibration_lines_rad": (0.3, 1.0, 0.2)}, 0.01),
    ({"vibration_rad": 1.5, "vibration_hz": 1e5}, 0.01),
])  # fmt: skip
def test_moments_of_the_mean_phasor(fields, exposure_s):
    """Against the phasors of exposures at random moments of ten seeds: within 4 standard errors, .011 or less.

    4000 a seed; 50 where an exposure holds so many periods that they hardly differ.
    """
    arm = Reference(3.0, **fields)
    times = np.random.default_rng(3).uniform(0, 1000, 50 if exposure_s * arm.vibration_hz > 100 else 4000)
    found = np.concatenate([phasors(arm, times, exposure_s, seed) for seed in range(10)])
    lines = arm.vibration(0)
    mean, power, square = exposure_moments(lines.hz, lines.rad, exposure_s)
    for moment, values in ((mean, found), (power, np.abs(found) ** 2), (square, found**2)):
        assert abs(values.mean() - moment) < max(4 * values.std() / np.sqrt(len(values)), 1e-4)
    assert mean == pytest.approx(np.prod(special.j0(lines.rad)), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("exposure_s", [0.0, 0.004])
def test_moments_of_lines_of_equal_frequency_are_those_of_their_sum(seed, exposure_s):
    """Frames of one device against the closed forms of its vibration: 4 standard errors of 20 000 random moments.

    As lines of independent starts, J0(1) J0(.9) J0(.8) = .52, the mean of a device is off by up to .5.
    """
    arm = Reference(
        3.0, vibration_rad=1.0, vibration_hz=50.0, vibration_lines_hz=(50.0, 50.0), vibration_lines_rad=(0.9, 0.8)
    )
    found = phasors(arm, np.random.default_rng(seed).uniform(0, 1000, 20_000), exposure_s, seed)
    lines = arm.vibration(seed)
    assert len(lines) == 1
    for moment, values in zip(
        exposure_moments(lines.hz, lines.rad, exposure_s), (found, np.abs(found) ** 2, found**2), strict=True
    ):
        assert abs(values.mean() - moment) < max(4 * values.std() / np.sqrt(len(values)), 1e-6)


def test_budgets_of_lines_of_equal_frequency_are_of_the_mean_over_devices():
    """Mean power of the phasor over 4000 seeds, of frames at random: four standard errors. The budget says so."""
    fields = {"vibration_rad": 0.8, "vibration_hz": 50.0, "vibration_lines_hz": (50.0,), "vibration_lines_rad": (0.8,)}
    device = Device.load("aurora").evolve(
        **{f"reference.{name}": value for name, value in fields.items()}, **{"operation.exposure_average": True}
    )
    point = working_point(device, "linear", exposure_s=0.004)
    times = np.random.default_rng(2).uniform(0, 1000, 4000)
    arm = Reference(3.0, **fields)
    power = np.abs([phasors(arm, times[k : k + 1], 0.004, k)[0] for k in range(4000)]) ** 2
    assert abs(vibration_contrast(point) ** 2 - power.mean()) < 4 * power.std() / math.sqrt(4000)
    assert any("equal frequencies" in note for note in error_budget(device, "linear").notes)
    apart = device.evolve(**{"reference.vibration_hz": 51.0})
    assert not any("equal frequencies" in note for note in error_budget(apart, "linear").notes)


@pytest.mark.parametrize(("hz", "rad"), [(1500.0, 0.3), (12_000.0, 0.8)], ids=["part of a period", "many periods"])
def test_what_is_faster_than_the_exposure_is_lost_contrast_rather_than_jitter(hz, rad):
    """The part of the reference's phase in a budget by closed forms, against a bench of 400 vectors: within 15 %.

    400 vectors leave 7 % of a variance of frames to chance. A tenth of what it is without the average.
    """
    device = Device.load("aurora")
    device = device.evolve(
        medium=GaussianMedium(device.medium.transmission),
        **{
            "reference.vibration_hz": hz, "reference.vibration_rad": rad, "reference.jitter_rad": 0.0,
            "operation.exposure_average": True,
        },
    )  # fmt: skip
    closed = error_budget(device, "linear").errors["reference phase"]
    rows, columns = device.camera.shape
    roi = ((rows - 32) // 2, (columns - 32) // 2, 32, 32)
    measured = measured_error_budget(device, "linear", n_vectors=400, sources=["reference phase"], roi=roi)
    assert closed == pytest.approx(measured.errors["reference phase"], rel=0.15)
    momentary = error_budget(device.evolve(**{"operation.exposure_average": False}), "linear")
    assert closed < 0.1 * momentary.errors["reference phase"]


# ---------------------------------------------------------------- what may not be


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"vibration_lines_hz": (1.0,)}, "reference.vibration_lines_hz holds 1 number, but reference.vibration_lines_rad"),
    ({"vibration_psd_hz": (1.0, 2.0), "vibration_psd_rad2_per_hz": (1.0,)}, "vibration_psd_hz holds 2 numbers, but"),
    ({"vibration_psd_hz": (1.0,), "vibration_psd_rad2_per_hz": (1.0,)}, r"vibration_psd_hz is \[1.0\], but it must be"),
    ({"vibration_psd_hz": (2.0, 1.0), "vibration_psd_rad2_per_hz": (1.0, 1.0)}, "two frequencies that rise"),
    ({"vibration_psd_hz": (0.0, 1.0), "vibration_psd_rad2_per_hz": (1.0, 1.0)}, r"vibration_psd_hz\[0\] is 0.0, but"),
    ({"vibration_psd_hz": (1.0, 9e5), "vibration_psd_rad2_per_hz": (1.0, 1.0)}, "has an integral of 9e.05 rad.2, but"),
    ({"vibration_lines_hz": 3.0}, "vibration_lines_hz is 3.0, but it must be a list of numbers"),
    ({"vibration_lines_hz": (3.0,), "vibration_lines_rad": (200.0,)}, r"vibration_lines_rad\[0\] is 200.0, but"),
])  # fmt: skip
def test_a_vibration_that_contradicts_itself_is_refused(fields, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        Reference(3.0, **fields)


def test_a_bad_exposure_is_refused():
    for bad in (-1.0, np.nan, np.inf, "long"):
        with pytest.raises((TypeError, ValueError), match="exposure_s is .* but it must be"):
            phasors(Reference(3.0, vibration_rad=1.0), [0.0], bad)


def test_lists_go_through_tables_and_are_switched_off():
    fields = {
        "reference.vibration_lines_hz": [30.0, 60.0], "reference.vibration_lines_rad": [0.1, 0.2],
        "reference.vibration_psd_hz": [1.0, 9.0], "reference.vibration_psd_rad2_per_hz": [0.1, 0.1],
    }  # fmt: skip
    device = IDEAL.evolve(**fields)
    back = Device.from_toml(device.to_toml())
    assert back == device and back.reference.vibration_lines_hz == (30.0, 60.0)
    assert device.reference.text("vibration_lines_hz") == "30, 60 Hz"
    assert IDEAL.reference.text("vibration_lines_hz") == "none"
    still = device.evolve(**device.imperfections()["vibration"])
    assert not still.reference.moves and still == device.ideal().evolve(name=still.name, description=still.description)


def test_fingerprint_of_a_device_without_is_that_of_before():
    old = Device.load("aurora@1")
    table = old.to_dict()
    for name in ("vibration_lines_hz", "vibration_lines_rad", "vibration_psd_hz", "vibration_psd_rad2_per_hz"):
        del table["reference"][name]
    assert Device.from_stored(table).fingerprint() == old.fingerprint()
    shaken = old.evolve(**{"reference.vibration_lines_hz": (9.0,), "reference.vibration_lines_rad": (0.1,)})
    assert shaken.fingerprint() != old.fingerprint()
