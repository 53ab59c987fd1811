"""Fields of saturated bursts: the compiled loop against its plain form, and against fields that are known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from opusim.base import elementary
from opusim.fringes import demodulation


def bursts(n: int, steps: int, clipped_share: float, coherence: float, seed: int):
    """Frames without noise, cut off at a full scale that the given share of the bursts reaches."""
    rng = np.random.default_rng(seed)
    phases = 2 * np.pi * np.arange(steps) / steps + rng.normal(0, 0.02, steps)
    field = rng.normal(size=n) + 1j * rng.normal(size=n)
    amplitude = 1 + np.sqrt(rng.exponential(4, n))
    fringe = 2 * amplitude[:, None] * (field[:, None] * np.exp(-1j * phases)).real
    light = np.abs(field)[:, None] ** 2 / coherence**2 + amplitude[:, None] ** 2 + fringe
    full = np.quantile(light.max(axis=1), 1 - clipped_share)
    return np.minimum(light, full), light >= full, amplitude, phases, field


@pytest.mark.parametrize("n", [0, 1, 5000])  # the last is shared out over threads
@pytest.mark.parametrize("steps", [3, 4, 8])
def test_compiled_loop_equals_its_plain_form(n, steps):
    """The same sums in the same order but for how a library adds up a row: equal to rounding of doubles."""
    light, clipped, amplitude, phases, field = bursts(max(n, 1), steps, 0.5, 0.9, seed=steps)
    given = light[:n], clipped[:n], amplitude[:n], phases, 0.9, (0.7 * field[:n]).astype(np.complex64)
    found, plain = demodulation.field_of_clipped(*given), demodulation._fit_clipped(*given)
    assert found.dtype == np.complex128
    np.testing.assert_allclose(found, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [3, 4, 5])
def test_fits_of_any_number_of_frames_add_them_up_one_after_the_other(steps):
    """To the bit, whether a number of frames has a loop of its own or not: whole columns are added in their order."""
    light, clipped, r, phases, field = bursts(300, steps, 0.5, 0.9, seed=steps)
    start = (0.7 * field).astype(np.complex64)
    own = 1 / (0.9 * 0.9)
    x, y = start.real.astype(np.float64), start.imag.astype(np.float64)
    for _ in range(8):
        alone = own * (x * x + y * y) + r * r
        xx, yy, xy, gx, gy = np.zeros((5, len(x)))
        for k, (c, s) in enumerate(zip(elementary.cos(phases), elementary.sin(phases), strict=True)):
            rest = light[:, k] - (alone + 2 * r * (x * c + y * s))
            used = ~clipped[:, k] | (rest > 0)
            along_x, along_y = np.where(used, 2 * own * x + 2 * r * c, 0), np.where(used, 2 * own * y + 2 * r * s, 0)
            rest = np.where(used, rest, 0)
            xx, yy, xy = xx + along_x * along_x, yy + along_y * along_y, xy + along_x * along_y
            gx, gy = gx + along_x * rest, gy + along_y * rest
        damping = 1e-3 * (xx + yy) + 1e-12
        xx, yy = xx + damping, yy + damping
        determinant = xx * yy - xy * xy
        x, y = x + (yy * gx - xy * gy) / determinant, y + (xx * gy - xy * gx) / determinant
    found = demodulation.field_of_clipped(light, clipped, r, phases, 0.9, start)
    assert np.array_equal(found, x + 1j * y)


def test_saturated_bursts_give_back_the_field():
    """Four steps and one saturated frame: three equations for two unknowns, without noise, from a guess 20 % off.

    Gauss and Newton with a damping of 1e-3 shrink the error by about that factor a step; far fewer than eight remain.
    """
    light, clipped, amplitude, phases, field = bursts(4000, 4, 0.3, 0.95, seed=1)
    one = clipped.sum(axis=1) == 1
    assert one.sum() > 400
    start = 0.8 * field[one]
    found = demodulation.field_of_clipped(light[one], clipped[one], amplitude[one], phases, 0.95, start)
    np.testing.assert_allclose(found, field[one], atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("steps", [3, 4, 5])
@pytest.mark.parametrize("n_pixels", [1, 700, 2048, 70_001])  # the last is shared out over threads, with a part block
def test_one_pass_over_counts_equals_its_plain_form(dtype, steps, n_pixels):
    """Sums over the steps in single precision, and the fit of `field_of_clipped` from there, double by double.

    A sum of N terms in single precision is off by at most N times 6e-8 of the largest, which is below a hundred times
    the rms field times |R|: 1e-4 of the rms bounds it. The fit shrinks that further, but where hardly a frame is left.
    """
    rng = np.random.default_rng(steps)
    n, full = 2, {"uint8": 255, "uint16": 4095}[dtype]
    phases = 2 * np.pi * np.arange(steps) / steps + rng.normal(0, 0.02, steps)
    dark = rng.uniform(0, 3, n_pixels).astype(np.float32)
    amplitude = np.sqrt(full / 6 * (0.2 + rng.exponential(1, n_pixels))).astype(np.float32)
    field = np.sqrt(full / 16) * (rng.normal(size=(n, n_pixels)) + 1j * rng.normal(size=(n, n_pixels)))
    fringe = 2 * amplitude * (field[:, None] * np.exp(-1j * phases)[:, None]).real
    light = np.abs(field)[:, None] ** 2 / 0.9**2 + amplitude**2 + fringe + dark
    frames = np.minimum(np.rint(light), full).reshape(n * steps, n_pixels).astype(dtype)
    found = demodulation.fields_of_counts(frames, phases, amplitude, dark, float(full), 0.9)
    assert found.dtype == np.complex64 and found.shape == (n, n_pixels)

    stack = frames.reshape(n, steps, n_pixels).astype(np.float64)
    plain = np.tensordot(demodulation.least_squares_row(phases), stack, axes=(0, 1)) / amplitude
    burst, pixel = np.nonzero(stack.max(axis=1) >= full)
    rms = np.sqrt(np.mean(np.abs(plain) ** 2))
    error = np.abs(found - plain) / rms
    error[burst, pixel] = 0
    assert error.max() < 1e-4
    counts = stack[burst, :, pixel]
    fitted = demodulation.field_of_clipped(
        counts - dark[pixel, None], counts >= full, amplitude[pixel], phases, 0.9,
        plain[burst, pixel].astype(np.complex64),
    )  # fmt: skip
    error = np.abs(found[burst, pixel] - fitted) / rms
    assert n_pixels == 1 or n_pixels // 50 < len(error) < n * n_pixels
    assert not len(error) or np.quantile(error, 0.98) < 1e-4
    # Rounding to whole counts moves a field of N equal steps by sqrt(1 / 12 / N) / |R| rms; these are nearly equal.
    whole = stack.max(axis=1) < full
    apart = ((found - field) * amplitude)[whole]
    expected = np.sqrt(1 / 12 / steps)
    assert n_pixels < 700 or np.sqrt(np.mean(np.abs(apart) ** 2)) == pytest.approx(expected, rel=0.12)


def test_counts_that_are_no_whole_bursts_are_refused():
    phases, maps = np.arange(4) * np.pi / 2, np.ones(5, dtype=np.float32)
    frames = np.zeros((8, 5), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"frames has shape \(7, 5\)"):
        demodulation.fields_of_counts(frames[:7], phases, maps, maps, 255.0, 1.0)
    with pytest.raises(ValueError, match=r"amplitude has shape \(4,\)"):
        demodulation.fields_of_counts(frames, phases, maps[:4], maps, 255.0, 1.0)
    with pytest.raises(ValueError, match=r"dark_dn has shape \(4,\)"):
        demodulation.fields_of_counts(frames, phases, maps, maps[:4], 255.0, 1.0)


@pytest.mark.parametrize("steps", [3, 4, 7, 24])
def test_pseudoinverse_is_the_exact_one_rounded(steps):
    phases = np.sort(np.random.default_rng(steps).uniform(0, 2 * np.pi, steps))
    columns = np.stack([np.ones(steps), 2 * np.cos(phases), 2 * np.sin(phases)], axis=1)
    found = demodulation.pseudoinverse(columns)
    # The true one solves (A' A) rows = A': with whole fractions its error can be told exactly.
    a = [[Fraction(v) for v in row] for row in columns.tolist()]
    gram = [[sum(row[i] * row[j] for row in a) for j in range(3)] for i in range(3)]
    for k in range(steps):
        column = [Fraction(float(v)) for v in found[:, k]]
        left = [sum(g * c for g, c in zip(gram[i], column, strict=True)) - a[k][i] for i in range(3)]
        size = max(abs(v) for v in found[:, k]) * float(max(map(max, gram)))
        assert max(abs(float(v)) for v in left) < 3 * 2.0**-53 * size
    np.testing.assert_allclose(found, np.linalg.pinv(columns), atol=1e-12 * np.abs(found).max())


def test_pseudoinverse_of_columns_that_depend_on_each_other_is_the_least_one():
    columns = np.stack([np.ones(4), 2 * np.ones(4), np.zeros(4)], axis=1)
    np.testing.assert_allclose(demodulation.pseudoinverse(columns), np.linalg.pinv(columns), atol=1e-15)


def test_coefficients_of_four_equal_steps():
    found = demodulation.least_squares_row(np.arange(4) * np.pi / 2)
    np.testing.assert_allclose(found, np.array([1, 1j, -1, -1j]) / 4, atol=1e-16)


def test_pseudoinverse_of_what_is_not_finite_is_not():
    assert np.isnan(demodulation.pseudoinverse(np.array([[1.0, 2, 0], [1, np.nan, 1], [1, 0, 2]]))).all()
