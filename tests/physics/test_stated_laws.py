"""Laws and numbers of docs/physics.md that no other test holds; its section 7 says which test holds which law."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from opusim import OpticalBench
from opusim.device.camera import Camera
from opusim.device.medium import ModeGrid, PhaseScreenMedium
from opusim.device.record import Device
from opusim.device.reference import Reference
from opusim.noise import noise_at_level
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

WAVELENGTH_M = 532e-9
TILT_RAD = math.radians(12)
IDEAL = Device.load("ideal")
LAYOUT = MirrorLayout.lined((912, 1140), 100)


@pytest.mark.parametrize(
    ("pitch_m", "at_532_nm", "at_633_nm"),
    [(7.637e-6, 0.74, 0.06), (7.56e-6, 0.83, 0.13), (13.68e-6, 0.21, 0.57), (10.8e-6, 0.68, 0.81)],
    ids=["DLP4500", "DLP6500", "DLP7000", "DLP9500"],
)
def test_blaze_is_how_near_an_order_lies_to_the_mirrors_reflection(pitch_m, at_532_nm, at_633_nm):
    """By geometry, to half of the last digit that docs/physics.md gives.

    Light along the array's normal leaves a mirror at twice its tilt, in the diagonal plane, whose rows of mirrors are
    d / sqrt 2 apart: at the order p = sin(2 theta) d / (sqrt 2 lambda). mu is 1 for a whole p, 0 half-way between two.
    """
    for wavelength_m, expected in ((532e-9, at_532_nm), (633e-9, at_633_nm)):
        order = math.sin(2 * TILT_RAD) * pitch_m / math.sqrt(2) / wavelength_m
        assert abs(2 * abs(order - round(order)) - 1) == pytest.approx(expected, abs=0.0051)


@pytest.mark.parametrize(("n_screens", "sigma"), [(1, 0.7), (2, 0.8), (3, 0.5)])
def test_random_screens_let_ballistic_light_through_as_exp_minus_k_sigma_squared(n_screens, sigma):
    """Each screen leaves the mean <exp(i phi)> = exp(-sigma^2 / 2) of the field.

    The unscattered part of a field is what lies along the field of the same layer without screens. Its share fluctuates
    with the mean of exp(i phi) over a screen of some (64 x .4 / .8)^2 = 1000 independent places: the share's deviation
    in one layer is about 2 K sigma^2 exp(-K sigma^2) / sqrt 1000, a tenth of which remains after 100 layers: four of
    these, and what the scattered light has there by chance, 1 / 4096.
    """
    grid = ModeGrid(64, (64, 64), (64, 64))
    field = np.exp(2j * np.pi * np.random.default_rng(2).random((1, 64, 64))).astype(np.complex64)

    def behind(seed: int, **fields) -> np.ndarray:
        layer = {"depolarising": False, "n_screens": n_screens, "thickness_m": 1e-4}
        return PhaseScreenMedium(**layer, **fields).operator(grid, wavelength_m=WAVELENGTH_M, seed=seed).forward(field)

    straight = behind(0, phase_std_rad=0.0).astype(complex)
    norm = np.sum(np.abs(straight) ** 2)
    found = [abs(np.vdot(straight, behind(seed, phase_std_rad=sigma))) ** 2 / norm**2 for seed in range(100)]
    strength = n_screens * sigma**2
    expected = math.exp(-strength)
    assert np.mean(found) == pytest.approx(expected, abs=4 * 2 * strength * expected / math.sqrt(1000 * 100) + 1 / 4096)


@pytest.mark.parametrize(
    ("n_screens", "sigma", "steps", "told"),
    [(3, 3.0, 2.0, False), (3, 3.0, 4.2, False), (3, 1.826, 2.55, False), (3, 3.0, 0.4, False), (3, 3.0, 6.0, True),
     (3, 3.0, 50.0, True), (3, 1.5, 2.0, True)],
)  # fmt: skip
def test_screens_that_scatter_over_half_of_the_grid_have_the_moments_of_independent_entries(
    n_screens, sigma, steps, told
):
    """<|t|^4>/<|t|^2>^2 is 2 for independent entries, and within the .05 of section 5 where no sentence is told.

    Beyond the limits it is above 2.1: pixels away from the axis are darker. Half of the side of 256 modes is read; 64
    inputs, a million entries: the spread of the ratio is .005.
    """
    medium = PhaseScreenMedium(n_screens=n_screens, phase_std_rad=sigma, correlation_length_m=steps * 0.4e-6)
    spread = sigma * math.sqrt(2 * n_screens) / steps / math.pi  # rms slope of the phases over pi, a step
    assert medium.angular_spread == pytest.approx(spread, rel=1e-12)
    operator = medium.operator(ModeGrid(256, (8, 8), (128, 128)), wavelength_m=WAVELENGTH_M, seed=1)
    unit = np.eye(64, dtype=np.complex64).reshape(64, 8, 8)
    intensity = np.square(np.abs(operator.forward(unit).astype(np.complex128)))
    ratio = np.mean(intensity**2) / np.mean(intensity) ** 2
    assert bool(medium.doubts()) == told
    assert (ratio > 2.1) if told else abs(ratio - 2) < 0.05


def test_kernel_of_amplitudes_is_that_of_elliptic_integrals():
    """<|Rx| |Ry|> = |x| |y| / 2 [2 E(rho^2) - (1 - rho^2) K(rho^2)] for a circular Gaussian Rx of variance |x|^2.

    16 320 pixels; the product of two amplitudes has a relative deviation of .52 to 1 of its mean: four deviations are
    .03 at most.
    """
    x = np.zeros((4, 100), dtype=np.uint8)
    x[0, :60] = x[1, :40] = x[2, 30:90] = x[3, 60:] = 1
    counts = OpticalBench(IDEAL).transform(
        MirrorPatterns(x, LAYOUT), exposure_s=400e-6, roi=(500, 0, 8, 2040), n_pixels=16320
    )
    amplitude = np.sqrt(counts.astype(float) / (counts.mean(axis=1, dtype=float) / x.sum(axis=1)).mean())
    for i in range(4):
        for j in range(i):
            norms = math.sqrt(x[i].sum() * x[j].sum())
            rho2 = (float(x[i] @ x[j].astype(int)) / norms) ** 2
            kernel = norms / 2 * (2 * special.ellipe(rho2) - (1 - rho2) * special.ellipk(rho2))
            assert np.mean(amplitude[i] * amplitude[j]) == pytest.approx(kernel, rel=0.03)


@pytest.mark.parametrize(("times", "share"), [(3, 0.05), (5, 0.007), (8, 0.0003)])
def test_share_of_saturated_pixels(times, share):
    """exp(-full scale / mean) of exponential speckle, in the budget of noise and in frames of 130 560 pixels.

    Five deviations of a binomial law, and 2 % of the exponent for the mean of so many pixels and the level's rounding.
    """
    assert math.exp(-times) == pytest.approx(share, rel=0.13)  # the digits of docs/physics.md
    device = IDEAL.evolve(**{"camera.quantise": True, "camera.bits": 12, "camera.black_level_dn": 0.0})
    bench, n_pixels = OpticalBench(device), 64 * 2040
    one_e = device.camera.quantum_efficiency * bench.photons_per_intensity(400e-6) * device.dmd.n_mirrors / 2
    device = device.evolve(**{"camera.gain_dn_per_e": 4095 / times / one_e})
    budget = noise_at_level(device, 4095 / times, 400e-6, speckle=True)
    assert budget.saturation_probability == pytest.approx(math.exp(-times), rel=1e-6)
    half = (np.arange(100) % 2)[None].astype(np.uint8)
    counts = OpticalBench(device).transform(
        MirrorPatterns(half, LAYOUT), exposure_s=400e-6, roi=(500, 0, 64, 2040), n_pixels=n_pixels
    )
    expected = math.exp(-times)
    limit = 5 * math.sqrt(expected / n_pixels) + 0.02 * times * expected
    assert np.mean(counts == 4095) == pytest.approx(expected, abs=limit)


def test_absolute_threshold_of_the_standard():
    """At (sigma_dark / K + 1/2) / eta photons the signal is as large as its noise (EMVA 1288 release 4, section 2).

    The exact root of mu_e = sqrt(mu_e + s^2) is 1/2 + sqrt(1/4 + s^2) = s + 1/2 + 1 / (8 s): 1e-3 above for s = 13.
    Mean and deviation of 10^6 numbers: the ratio is good to 5 sqrt(1 + 1/2) / 1000 = .006.
    """
    camera = Camera(
        name="standard", shape=(1000, 1000), pixel_pitch_m=5e-6, quantum_efficiency=0.6, frame_rate_hz=100.0,
        gain_dn_per_e=0.5, bits=12, read_noise_e=13.0, black_level_dn=200.0,
    )  # fmt: skip
    dark_e = math.sqrt(13.0**2 + 1 / 12 / 0.5**2)
    photons = np.full(camera.n_pixels, (dark_e + 0.5) / 0.6, dtype=np.float32)
    frame = camera.expose(photons, exposure_s=1e-3, seed=3, maps=camera.maps(3)).astype(float)
    assert (frame.mean() - 200.0) / frame.std() == pytest.approx(1, abs=0.007)


def test_a_burst_drifts_by_less_than_a_milliradian():
    """Four frames at 340 Hz, .1 rad a minute: the rms over 200 arms of what the last is off the first."""
    times_s = np.array([0.0, 3 / 340])
    arm = Reference(relative_amplitude=1.0, drift_rad_per_minute=0.1)
    moved = [
        np.ptp(arm.phases_rad(np.zeros(2), np.arange(2), 1000 + times_s, seed=seed)) for seed in range(200)
    ]  # fmt: skip
    assert 0 < math.sqrt(np.mean(np.square(moved))) < 1e-3


def test_entries_that_are_not_divided_by_the_reference_have_a_kurtosis_of_six():
    """2 Re(conj(M1) M_j) is |M1| times a normal number: 3 <|M1|^4> / <|M1|^2>^2 = 6, an excess of 3.

    1000 features and 4000 pixels; |M1|^4 has the deviation sqrt(20) of its <|M1|^2>^2: 5 x 3 sqrt(20 / 4000) = 1.1 for
    the whole, to which its 4 000 000 entries add little. Divided, the excess is 0 to 5 sqrt(24 / 4e6) = .012.
    """
    generator = np.random.default_rng(7)
    M = generator.standard_normal((4000, 1000)) + 1j * generator.standard_normal((4000, 1000))
    M1 = M.sum(axis=1, keepdims=True)
    entries = np.real(np.conj(M1) * M)
    assert stats.kurtosis(entries, axis=None) == pytest.approx(3, abs=1.1)
    divided = entries / np.abs(M1)
    assert abs(stats.kurtosis(divided, axis=None)) < 0.02
    for level, kept in ((0.02, 0.98), (0.05, 0.95), (0.1, 0.90)):
        share = np.mean(np.abs(M1) ** 2 >= level * np.mean(np.abs(M1) ** 2))
        assert share == pytest.approx(math.exp(-level), abs=5 * math.sqrt(level / 4000))
        assert math.exp(-level) == pytest.approx(kept, abs=0.0051)


def test_the_table_of_laws_names_tests_that_there_are():
    tests = Path(__file__).parents[1]
    section = (
        (tests.parent / "docs" / "physics.md").read_text(encoding="utf-8").partition("## 7. Laws and their tests")[2]
    )
    names = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", section)
    assert len(names) > 40
    for file, function in names:
        text = (tests / file).read_text(encoding="utf-8")
        assert not function or f"\ndef {function}(" in text, f"{file} has no {function}"
