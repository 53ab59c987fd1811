"""Results follow the magnitude of what is given, for any magnitude: no square on the way over- or underflows.

Each law is a degree: f(2^k x) = 2^(k n) f(x), to the bit, since a power of two rounds nothing.
"""

from __future__ import annotations

import numpy as np
import pytest

from doors import fringes, hologram
from opusim import theory
from opusim.applications.sketching import sketch_noise
from opusim.base.user_arrays import exponent_of, times_two_to
from opusim.calibration.algorithms import hadamard, off_axis
from opusim.calibration.algorithms import phase_shifting as ps
from opusim.calibration.procedures.focus import focus_binary, focus_phase, phase_enhancement_of

STEPS = np.arange(5) * 2 * np.pi / 5
MATRIX = np.random.default_rng(4).normal(size=(2, 6, 9))
ROWS = MATRIX[0] + 1j * MATRIX[1]
TILT = (0.25, 0.0)
EXPONENTS = (1000, -950, 600, -600, 520, -520)
LAWS = {
    "four steps": (fringes(), ps.four_step, 1, lambda r: r.q),
    "least squares": (fringes(5), lambda x: ps.least_squares(x, STEPS), 1, lambda r: r.q),
    "carre, field": (fringes(), ps.carre, 1, lambda r: r[0].q),
    "carre, step": (fringes(), ps.carre, 0, lambda r: np.array(r[1])),
    "carre by pixel": (fringes(), lambda x: ps.carre(x, per_pixel=True), 0, lambda r: r[1]),
    "iterative, steps": (fringes(5), lambda x: ps.advanced_iterative(x, STEPS), 0, lambda r: r.phases_rad),
    "iterative, powers": (
        fringes(5), lambda x: ps.advanced_iterative(x, STEPS, fit_power=True), 0, lambda r: r.powers
    ),
    "powers by fit": (fringes(5), lambda x: ps.frame_powers(x, STEPS), 0, np.asarray),
    "modulation": (fringes(5), lambda x: ps.least_squares(x, STEPS).modulation, 0, np.asarray),
    "dark pixels": (fringes(5)[0], ps.dark_pixels, 0, np.asarray),
    "carrier": (hologram(), lambda x: off_axis.find_carrier(x, 0.06), 0, np.asarray),
    "off axis": (hologram(), lambda x: off_axis.demodulate(x, TILT, 0.06), 1, lambda r: r.q),
    "focus by phase": (ROWS, focus_phase, 0, np.asarray),
    "focus by mirrors": (ROWS, focus_binary, 0, np.asarray),
    "enhancement": (ROWS, phase_enhancement_of, 0, np.asarray),
    "noise of a sketch": (MATRIX, lambda x: sketch_noise(x[0], x[1]), 0, np.asarray),
}  # fmt: skip


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("name", LAWS)
def test_a_magnitude_goes_through(name, exponent):
    x, f, degree, part = LAWS[name]
    known = np.asarray(part(f(x)))
    found = np.asarray(part(f(times_two_to(x, exponent))))
    back = times_two_to(found, -degree * exponent) if degree else found
    assert np.isfinite(known).any() and back.dtype == known.dtype
    np.testing.assert_allclose(back, known, rtol=1e-9, equal_nan=True)


def test_sums_beyond_a_type_are_told_as_that():
    frames, weak = np.full((4, 6), 3e38, dtype=np.float32), np.full(4, 0.1)
    phases = ps.FOUR_STEP_PHASES
    with pytest.raises(ValueError, match="frames holds 3e.38, whose sums are beyond what float32 holds in 6 pixels"):
        ps.least_squares(frames, phases, powers=weak)
    frames[0, 0] = np.nan
    with pytest.raises(ValueError, match="frames is not finite"):
        ps.least_squares(frames, phases, powers=weak)


@pytest.mark.parametrize(
    ("array", "exponent"),
    [
        (np.zeros(3), 0),
        (np.zeros(0), 0),
        (np.array([1.0, -5.0]), 3),
        (np.array([1j, 0.25]), 1),
        (np.array([2.0**-1074]), -1073),
        (np.array([-128], dtype=np.int8), 8),
        (np.array([2**63], dtype=np.uint64), 64),
    ],
)
def test_exponent_of_the_largest_entry(array, exponent):
    assert exponent_of(array) == exponent
    if array.dtype.kind in "fc" and array.any():
        scaled = times_two_to(array, -exponent)
        parts = np.abs([scaled.real, scaled.imag])
        assert 0.5 <= parts.max() < 1


def test_squares_of_small_types_do_not_wrap_around():
    """|x|^2 |y|^2 + (x . y)^2 of vectors of three hundreds."""
    x = np.full((1, 3), 100, dtype=np.int8)
    assert theory.optical_kernel(x, x) == 2 * 30_000.0**2
    with pytest.raises(TypeError, match="values is an array of int8, but it is written over with sums"):
        hadamard.fast_transform(np.full((256, 1), 100, dtype=np.int8))
    with pytest.raises(ValueError, match="values must not be written"):
        hadamard.fast_transform(np.broadcast_to(np.ones(2), (4, 2)))


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("shape", [(8,), (8, 3), (8, 3, 2)])
def test_a_transform_in_place_is_in_place_in_any_layout(layout, shape):
    values = np.asarray(np.random.default_rng(1).normal(size=shape), order=layout)
    known = np.tensordot(hadamard.rows(0, 8, 8).astype(np.float64), values, axes=1)
    result = hadamard.fast_transform(values)
    assert result is values
    np.testing.assert_allclose(values, known, atol=1e-12)


def test_the_memory_effect_falls_to_nothing():
    far = theory.memory_effect(np.array([0.0, 1e-9, 1.0, 400.0, 1e200, np.inf, -np.inf]), 1.0)
    np.testing.assert_allclose(far, [1, 1, 1 / np.sinh(1) ** 2, 0, 0, 0, 0], atol=1e-200)
