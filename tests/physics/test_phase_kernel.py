"""The kernel of |R exp(i phase)|^2 against its closed form: independent matrices, and a device's counts."""

from __future__ import annotations

import numpy as np
import pytest

from opusim import OpticalBench, theory
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import PhasePatterns
from phase_benches import phase_device

D = 64


def phases(levels=256):
    """Six vectors of levels, from the first one to one that has nothing to do with it."""
    rng = np.random.default_rng(2)
    base = rng.integers(0, levels, D)
    spread = np.array([0, 10, 30, 60, 100, levels // 2])
    return np.stack([(base + rng.integers(-s, s + 1, D)) % levels for s in spread]).astype(np.uint8)


def test_equal_and_opposite_and_independent_phases():
    """2 d^2 for a vector with itself or turned as a whole, d^2 where the phasors are orthogonal."""
    x = np.random.default_rng(0).random((1, D))
    whole = theory.phase_kernel(x, np.concatenate([x, x + 0.3, x + np.arange(D) / D, x + 5.0]))
    np.testing.assert_allclose(whole, [[2 * D**2, 2 * D**2, D**2, 2 * D**2]], rtol=1e-9)
    assert theory.phase_kernel(x, x, modes=2)[0, 0] == pytest.approx(1.5 * D**2)
    # Light that no phase turns is alike in all: of nothing else the kernel is that of one vector.
    np.testing.assert_allclose(theory.phase_kernel(x, x + 0.3, unmodulated=1.0), 2 * D**2, rtol=1e-9)


def test_phases_of_signs_are_the_kernel_of_real_inputs():
    """0 and half a turn are +1 and -1: `optical_kernel` of these."""
    bits = np.random.default_rng(1).integers(0, 2, (5, D))
    np.testing.assert_allclose(
        theory.phase_kernel(bits / 2, bits / 2), theory.optical_kernel(1.0 - 2 * bits, 1.0 - 2 * bits), rtol=1e-9
    )


@pytest.mark.parametrize("unmodulated, modes", [(0.0, 1), (0.15, 1), (0.0, 3)])
def test_independent_entries_have_the_kernel(unmodulated, modes):
    """Circular Gaussian matrices drawn here, 200 000 outputs.

    A product of two intensities has the variance 3 (E|a|^2 |b|^2)^2 or so, up to 20 of it for a vector with itself: a
    relative error of 1 %.
    """
    turns = phases() / 256
    rng = np.random.default_rng(3)
    z = np.sqrt(1 - unmodulated) * np.exp(2j * np.pi * turns) + np.sqrt(unmodulated)
    total = np.zeros((6, 6))
    for _ in range(10):
        y = np.zeros((6, 20_000))
        for _ in range(modes):
            t = (rng.standard_normal((D, 20_000)) + 1j * rng.standard_normal((D, 20_000))) / np.sqrt(2)
            y += np.abs(z @ t) ** 2 / modes
        total += y @ y.T
    expected = theory.phase_kernel(turns, turns, modes, unmodulated)
    np.testing.assert_allclose(total / 200_000, expected, rtol=0.025)


@pytest.mark.parametrize("unmodulated", [0.0, 0.1])
def test_counts_of_a_device_have_the_kernel(unmodulated):
    """20 000 outputs of a noise-free device: pairs within 8 %, their mean within 4 %.

    The bounds are those of the kernel of real inputs (`test_device.py`), whose reasons are the same: the spread of a
    mean over 20 000 speckles, and an uneven light over the region.
    """
    bench = OpticalBench(phase_device(reference=False, unmodulated=unmodulated), seed=1)
    layout = MirrorLayout.lined(bench.mirror_shape, D)
    shown = PhasePatterns(phases(), layout)
    counts = bench.expose(shown, exposure_s=400e-6, roi=(490, 970, 100, 200)).reshape(6, -1).astype(np.float64)
    camera = bench.device.camera
    counts /= bench.photons_per_intensity(400e-6) * camera.gain_dn_per_e * camera.quantum_efficiency
    counts /= layout.mirrors_per_feature
    expected = theory.phase_kernel(shown.bits / 256, shown.bits / 256, unmodulated=unmodulated)
    ratio = (counts @ counts.T / counts.shape[1] / expected)[np.triu_indices(6, 1)]
    assert np.abs(ratio - 1).max() < 0.08
    assert ratio.mean() == pytest.approx(1, abs=0.04)
