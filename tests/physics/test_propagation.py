"""Laws of free space and of a lens."""

from __future__ import annotations

import numpy as np
import pytest

from opusim import propagation, theory

WAVELENGTH_M = 532e-9


def beam(side: int, step_m: float, waist_m: float) -> np.ndarray:
    x = (np.arange(side) - side // 2) * step_m
    return np.exp(-(x[:, None] ** 2 + x[None, :] ** 2) / waist_m**2).astype(np.complex64)


def second_moment_radius(field: np.ndarray, step_m: float) -> float:
    """1/e^2 radius of a Gaussian from its second moment: w = 2 sigma."""
    intensity = np.abs(field.astype(np.complex128)) ** 2
    x = (np.arange(field.shape[-1]) - field.shape[-1] // 2) * step_m
    return float(2 * np.sqrt(np.sum(intensity * x[None, :] ** 2) / np.sum(intensity)))


@pytest.mark.parametrize("distance_m", [0.0, 1e-3, 3e-3, -3e-3])
def test_gaussian_beam_has_its_analytic_width(distance_m):
    """w(z) = w0 sqrt(1 + (z/z_R)^2). Within 0.1 %: paraxial theory is off by (lambda / (pi w0))^2 = 3e-5."""
    waist, step = 30e-6, 2e-6
    out = propagation.angular_spectrum(
        beam(512, step, waist), step_m=step, wavelength_m=WAVELENGTH_M, distance_m=distance_m
    )
    expected = theory.gaussian_beam_radius(waist, distance_m, WAVELENGTH_M)
    assert second_moment_radius(out, step) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("distance_m", [20e-6, 1e-3, 1e-2])
def test_free_space_keeps_the_energy_of_any_field(distance_m):
    """No evanescent waves at this step, so the map is unitary. 1e-5: float32 sums over 256^2 points."""
    rng = np.random.default_rng(3)
    field = (rng.standard_normal((256, 256)) + 1j * rng.standard_normal((256, 256))).astype(np.complex64)
    out = propagation.angular_spectrum(field, step_m=0.4e-6, wavelength_m=WAVELENGTH_M, distance_m=distance_m)
    before = np.sum(np.abs(field.astype(np.complex128)) ** 2)
    assert np.sum(np.abs(out.astype(np.complex128)) ** 2) == pytest.approx(before, rel=1e-5)


def test_going_there_and_back_changes_nothing():
    field = beam(128, 1e-6, 20e-6)
    there = propagation.angular_spectrum(field, step_m=1e-6, wavelength_m=WAVELENGTH_M, distance_m=5e-4)
    back = propagation.angular_spectrum(there, step_m=1e-6, wavelength_m=WAVELENGTH_M, distance_m=-5e-4)
    np.testing.assert_allclose(back, field, atol=2e-6)


def test_evanescent_waves_decay():
    """At a step of 0.2 um the checkerboard has |f| > 1/wavelength: over a wavelength it must lose exp(-2 pi ...)."""
    field = np.fromfunction(lambda i, j: (-1.0) ** (i + j), (64, 64)).astype(np.complex64)
    out = propagation.angular_spectrum(field, step_m=0.2e-6, wavelength_m=WAVELENGTH_M, distance_m=WAVELENGTH_M)
    frequency_squared = 2 * (1 / 0.4e-6) ** 2
    expected = np.exp(-2 * np.pi * WAVELENGTH_M * np.sqrt(frequency_squared - 1 / WAVELENGTH_M**2))
    assert np.abs(out).max() == pytest.approx(expected, rel=1e-3)


def test_lens_turns_an_aperture_into_its_airy_like_sinc():
    """A slit of n points has the transform sin(pi k n / N) / sin(pi k / N) / N: the far field of a slit."""
    n, side = 16, 256
    field = np.zeros((side, side), dtype=np.complex64)
    field[0, :n] = 1
    pattern = np.abs(propagation.fourier(field)[0])
    k = np.arange(1, side)
    expected = np.abs(np.sin(np.pi * k * n / side) / np.sin(np.pi * k / side)) / side
    np.testing.assert_allclose(pattern[1:], expected, atol=2e-6)


def test_pruned_lenses_equal_the_whole_transform():
    rng = np.random.default_rng(0)
    field = np.zeros((2, 64, 64), dtype=np.complex64)
    field[:, 20:40] = rng.standard_normal((2, 20, 64)) + 1j * rng.standard_normal((2, 20, 64))
    whole = propagation.fourier(field.copy())
    np.testing.assert_allclose(propagation.lens_from_rows(field.copy(), slice(20, 40)), whole, atol=1e-5)
    np.testing.assert_allclose(propagation.lens_to_rows(field.copy(), slice(5, 50)), whole[:, 5:50], atol=1e-5)


def test_good_sides_are_even_smooth_and_smallest():
    assert [propagation.good_side(n) for n in (1, 7, 101, 2040, 2049)] == [2, 8, 108, 2048, 2160]
