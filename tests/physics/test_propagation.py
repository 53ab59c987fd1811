"""Laws of free space and of a lens."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from opusim import theory
from opusim.base.arrays import Arrays
from opusim.device import propagation

WAVELENGTH_M = 532e-9


def beam(side: int, step_m: float, waist_m: float) -> np.ndarray:
    x = (np.arange(side) - side // 2) * step_m
    return np.exp(-(x[:, None] ** 2 + x[None, :] ** 2) / waist_m**2).astype(np.complex64)


def angular_spectrum(field: np.ndarray, *, step_m: float, wavelength_m: float, distance_m: float) -> np.ndarray:
    """The field after so much free space, on a periodic grid: what a layer does between two screens."""
    transfer = propagation.transfer_function(
        field.shape, step_m=step_m, wavelength_m=wavelength_m, distance_m=distance_m
    )
    spectrum = propagation.fourier(np.array(field, dtype=np.complex64))
    spectrum *= transfer
    return propagation.inverse_fourier(spectrum)


def second_moment_radius(field: np.ndarray, step_m: float) -> float:
    """1/e^2 radius of a Gaussian from its second moment: w = 2 sigma."""
    intensity = np.abs(field.astype(np.complex128)) ** 2
    x = (np.arange(field.shape[-1]) - field.shape[-1] // 2) * step_m
    return float(2 * np.sqrt(np.sum(intensity * x[None, :] ** 2) / np.sum(intensity)))


@pytest.mark.parametrize("distance_m", [0.0, 1e-3, 3e-3, -3e-3])
def test_gaussian_beam_has_its_analytic_width(distance_m):
    """w(z) = w0 sqrt(1 + (z/z_R)^2). Within 0.1 %: paraxial theory is off by (lambda / (pi w0))^2 = 3e-5."""
    waist, step = 30e-6, 2e-6
    out = angular_spectrum(beam(512, step, waist), step_m=step, wavelength_m=WAVELENGTH_M, distance_m=distance_m)
    expected = theory.gaussian_beam_radius(waist, distance_m, WAVELENGTH_M)
    assert second_moment_radius(out, step) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("distance_m", [20e-6, 1e-3, 1e-2])
def test_free_space_keeps_the_energy_of_any_field(distance_m):
    """No evanescent waves at this step, so the map is unitary. 1e-5: float32 sums over 256^2 points."""
    rng = np.random.default_rng(3)
    field = (rng.standard_normal((256, 256)) + 1j * rng.standard_normal((256, 256))).astype(np.complex64)
    out = angular_spectrum(field, step_m=0.4e-6, wavelength_m=WAVELENGTH_M, distance_m=distance_m)
    before = np.sum(np.abs(field.astype(np.complex128)) ** 2)
    assert np.sum(np.abs(out.astype(np.complex128)) ** 2) == pytest.approx(before, rel=1e-5)


def test_going_there_and_back_changes_nothing():
    field = beam(128, 1e-6, 20e-6)
    there = angular_spectrum(field, step_m=1e-6, wavelength_m=WAVELENGTH_M, distance_m=5e-4)
    back = angular_spectrum(there, step_m=1e-6, wavelength_m=WAVELENGTH_M, distance_m=-5e-4)
    np.testing.assert_allclose(back, field, atol=2e-6)


def test_evanescent_waves_decay():
    """At a step of 0.2 um the checkerboard has |f| > 1/wavelength: over a wavelength it must lose exp(-2 pi ...)."""
    field = np.fromfunction(lambda i, j: (-1.0) ** (i + j), (64, 64)).astype(np.complex64)
    out = angular_spectrum(field, step_m=0.2e-6, wavelength_m=WAVELENGTH_M, distance_m=WAVELENGTH_M)
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


LIBRARIES = ["numpy", "torch"]


def library_named(name: str) -> Arrays:
    if name != "numpy":
        pytest.importorskip(name, reason=f"{name} is not installed")
    return Arrays(name, "cpu")


@pytest.mark.parametrize("side", [64, 600])
@pytest.mark.parametrize("library", LIBRARIES)
def test_pruned_lenses_equal_the_whole_transform(library, side):
    """Both against scipy's transform of the whole grid; 600 points a side go block by block."""
    arrays = library_named(library)
    rng = np.random.default_rng(0)
    lit, read, columns = slice(side // 3, side // 2), slice(5, side - 14), slice(3, side // 2)
    field = np.zeros((2, side, side), dtype=np.complex64)
    shape = field[:, lit].shape
    field[:, lit] = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    factor = np.exp(1j * rng.standard_normal((side, side))).astype(np.complex64)
    whole = scipy.fft.fft2(field.astype(np.complex128), norm="ortho")
    there = [arrays.from_host(array.copy()) for array in (field, field, factor)]
    out = propagation.lens_from_rows(there[0], lit, times=there[2], arrays=arrays, workers=2)
    np.testing.assert_allclose(arrays.to_host(out), whole * factor, atol=1e-5)
    out = propagation.lens_to_block(there[1], read, columns, arrays=arrays, workers=2)
    np.testing.assert_allclose(arrays.to_host(out), whole[:, read, columns], atol=1e-5)


def test_dark_rows_count_as_zero_whatever_they_hold():
    rng = np.random.default_rng(1)
    field = propagation.padded_grids(1, (48, 48))
    field[...] = rng.standard_normal((1, 48, 48))
    dark = field.copy()
    dark[:, :10] = dark[:, 20:] = 0
    np.testing.assert_array_equal(
        propagation.lens_from_rows(field, slice(10, 20)), propagation.lens_from_rows(dark, slice(10, 20))
    )


@pytest.mark.parametrize("side", [48, 540])
@pytest.mark.parametrize("inverse", [False, True])
def test_transforms_have_the_same_bits_whatever_the_blocks_and_threads_and_are_scipys(side, inverse):
    """Whatever the padding of the rows, too. Of scipy 1.18 the last bits of `fft2` are others."""
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((3, side, side)) + 1j * rng.standard_normal((3, side, side))).astype(np.complex64)
    expected = propagation.fourier(x.copy(), inverse=inverse, workers=1)
    exact = (scipy.fft.ifft2 if inverse else scipy.fft.fft2)(x.astype(np.complex128), norm="ortho")
    # The error of a transform of n numbers: eps times the root of log2 n, of the rms (Schatzman 1996); five of it.
    rms = np.sqrt(np.mean(np.abs(exact) ** 2))
    assert np.abs(expected - exact).max() < 5 * np.finfo(np.float32).eps * np.sqrt(np.log2(side**2)) * rms
    for workers in (1, 2, 3):
        field = propagation.padded_grids(3, (side, side))
        assert field.strides[1] // 64 % 2 == 1  # an odd number of cache lines
        field[...] = x
        out = propagation.fourier(field, inverse=inverse, workers=workers)
        np.testing.assert_array_equal(out, expected, strict=True)
        assert np.may_share_memory(out, field)  # in place


@pytest.mark.parametrize("library", LIBRARIES)
def test_transform_and_its_inverse_cancel(library):
    arrays = library_named(library)
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((2, 20, 36)) + 1j * rng.standard_normal((2, 20, 36))).astype(np.complex64)
    there = propagation.fourier(arrays.from_host(x.copy()), arrays=arrays)
    np.testing.assert_allclose(arrays.to_host(propagation.inverse_fourier(there, arrays=arrays)), x, atol=1e-6)


def test_good_sides_are_even_smooth_and_smallest():
    assert [propagation.good_side(n) for n in (1, 7, 101, 2040, 2049)] == [2, 8, 108, 2048, 2160]
