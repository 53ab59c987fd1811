"""Fields of saturated bursts: the compiled loop against its plain form, and against fields that are known."""

from __future__ import annotations

import numpy as np
import pytest

from opusim import demodulation


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
