"""The mean of a camera's counts in closed form, against exact sums over the Poisson law, and its gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from opusim.differentiable.camera import Reading, expected_counts, soft_minimum  # noqa: E402

# full well, read noise, gain, black level, full scale, and how far in grey levels the closed form may be off: the
# skewness of the Poisson law is .04 electrons at an upper limit, .1 electrons for a pixel that holds but a hundred, and
# moves a rounding edge of a dim pixel by up to phi(0) / (6 sqrt(mean)) of a level. Where the two limits meet within a
# read noise that is above the shot noise, it is .05 of the read noise.
CAMERAS = {
    "OPU": (13500.0, 13.0, 0.04, 2.0, 255.0, 0.003),
    "full well below full scale": (6000.0, 13.0, 0.04, 2.0, 255.0, 0.006),
    "full well is full scale": (13500.0, 13.0, 253 / 13500, 2.0, 255.0, 0.006),
    "no read noise": (13500.0, 0.0, 0.04, 0.0, 255.0, 0.015),
    "12 bits, low noise": (30000.0, 0.9, 0.133, 100.0, 4095.0, 0.03),
    "single electrons": (1000.0, 0.3, 1.0, 10.0, 4095.0, 0.05),
    "a hundred electrons": (127.0, 5.0, 2.0, 1.0, 255.0, 0.11),
    "loud where limits meet": (1000.0, 100.0, 0.2, 20.0, 220.0, 1.0),
}
OFFSETS = (0.0, 17.0)


def means_of(full_well, gain, black, scale):
    """From a dark pixel to one five times full, close together where a limit is."""
    top = (scale - black) / gain
    parts = [[0.05, 0.5, 2, 5, 20, 100]]
    parts += [limit * np.linspace(0.85, 1.2, 15) for limit in (min(full_well, top), full_well)]
    return np.concatenate([*parts, [2 * full_well, 5 * full_well]])


def exact(mean, offset, full_well, noise, gain, black, scale, rounding):
    """Sum over the Poisson law of the mean over the read noise."""
    width = 9 * math.sqrt(mean) + 40
    n = np.arange(max(0, int(mean - width)), int(mean + width))
    level = black + gain * (np.minimum(n, full_well) + offset)
    chance, s = stats.poisson.pmf(n, mean), gain * noise
    if rounding == "mean":
        if not s:
            return chance @ np.clip(np.rint(level), 0, scale)
        k = np.floor(level)[:, None] + np.arange(-int(8 * s + 2), int(8 * s + 3))
        inside = (k >= 0) & (k < scale)
        passed = stats.norm.sf((k + 0.5 - level[:, None]) / s)
        return chance @ (np.clip(k[:, 0], 0, scale) + np.sum(passed * inside, axis=1))
    if not s:
        return chance @ np.clip(level, 0, scale)
    law = stats.norm(level, s)
    inside = level * (law.cdf(scale) - law.cdf(0)) - s * s * (law.pdf(scale) - law.pdf(0))
    return chance @ (inside + scale * law.sf(scale))


def closed(means, offset, full_well, noise, gain, black, scale, rounding, dtype=torch.float64):
    mean = torch.tensor(means, dtype=dtype)[:, None]
    reading = Reading(full_well, noise, gain, black, scale)
    return expected_counts(mean, mean, torch.tensor([offset], dtype=dtype), reading, rounding=rounding)[:, 0]


@pytest.mark.parametrize("rounding", ["mean", "none"])
@pytest.mark.parametrize("name", CAMERAS)
def test_mean_counts_are_the_sum_over_the_poisson_law(name, rounding):
    *camera, off = CAMERAS[name]
    means = means_of(camera[0], *camera[2:])
    for offset in OFFSETS:
        expected = [exact(mean, offset, *camera, rounding) for mean in means]
        np.testing.assert_allclose(closed(means, offset, *camera, rounding), expected, rtol=0, atol=off)


@pytest.mark.parametrize("name", CAMERAS)
def test_single_precision_is_enough(name):
    *camera, _ = CAMERAS[name]
    means = means_of(camera[0], *camera[2:])
    single, double = (closed(means, 17.0, *camera, "mean", dtype=t) for t in (torch.float32, torch.float64))
    # A level has 24 bits, and a density at an edge a few less.
    np.testing.assert_allclose(single, double, rtol=1e-6, atol=1e-3)


def test_how_far_the_soft_limit_is_from_the_hard_one():
    s = 116.0
    mean = torch.tensor([0.0, 1, 3, -1, -3], dtype=torch.float64) * s + 13500
    distance = torch.clamp(mean, max=13500) - soft_minimum(mean, torch.full_like(mean, s * s), 13500.0)
    h = [1 / math.sqrt(2 * math.pi), *[stats.norm.pdf(t) - t * stats.norm.sf(t) for t in (1, 3, 1, 3)]]
    np.testing.assert_allclose(distance, np.array(h) * s, rtol=1e-9)
    assert h[0] == pytest.approx(0.399, abs=1e-3) and h[1] == pytest.approx(0.083, abs=1e-3)
    assert h[2] == pytest.approx(4e-4, rel=0.1)


def test_without_noise_the_limits_are_hard():
    mean = torch.tensor([[0.0, 5.0, 100.0, 300.0]])
    none, zero = torch.zeros_like(mean), torch.zeros(4)
    level = expected_counts(mean, none, zero, Reading(full_scale_dn=255.0), rounding="none")
    np.testing.assert_allclose(level, [[0, 5, 100, 255]], atol=2e-3)
    whole = expected_counts(mean + 0.3, none, zero, Reading(full_scale_dn=255.0))
    np.testing.assert_allclose(whole, [[0, 5, 100, 255]], atol=2e-3)


def test_a_camera_that_does_not_round_is_not_clipped():
    mean = torch.tensor([[0.0, 5.0, 1e5]])
    level = expected_counts(mean, mean, torch.tensor([1.0, -9.0, 0.0]), Reading(gain_dn_per_e=2.0, black_level_dn=3.0))
    np.testing.assert_allclose(level, [[5.0, -5.0, 200003.0]], rtol=1e-6)


# ---------------------------------------------------------------- gradients

PIXELS = {
    "dark": 0.3,
    "dim": 30.0,
    "bright": 3000.0,
    "at the limit": 6325.0,
    "saturated": 7000.0,
    "at the well": 13500.0,
}


@pytest.mark.parametrize("rounding", ["mean", "none"])
@pytest.mark.parametrize("gain", [0.04, 253 / 13500, 0.3])
@pytest.mark.parametrize("name", PIXELS)
def test_gradients_are_those_of_finite_differences(name, gain, rounding):
    def counts(mean, variance, offset, well, noise, gain, black):
        reading = Reading(well, noise, gain, black, 255.0)
        return expected_counts(mean, variance, offset, reading, rounding=rounding)

    mean = PIXELS[name]
    inputs = [[[mean]], [[1.01 * mean]], [4.0], 13500.0, 13.0, gain, 2.0]
    inputs = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in inputs]
    assert torch.autograd.gradcheck(counts, inputs, eps=1e-7, atol=2e-6, rtol=1e-5)


def test_straight_through_rounding_has_whole_values_and_the_slope_without_rounding():
    camera = CAMERAS["OPU"][:-1]
    mean = torch.tensor([[10.0, 300.0, 6300.0, 9000.0]], requires_grad=True)
    level = {}
    slope = {}
    for rounding in ("none", "straight-through"):
        level[rounding] = expected_counts(mean, mean, torch.zeros(4), Reading(*camera), rounding=rounding)
        (slope[rounding],) = torch.autograd.grad(level[rounding].sum(), mean, retain_graph=True)
    assert torch.equal(level["straight-through"], torch.round(level["none"]))
    assert torch.equal(slope["straight-through"], slope["none"])
    assert slope["none"][0, 1].item() == pytest.approx(0.04, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_gradient_is_lost_in_the_dark_or_far_beyond_the_limits(dtype):
    mean = torch.tensor([[0.0, 1e-30, 1e-8, 1e6, 1e8]], dtype=dtype, requires_grad=True)
    noise, well = (torch.tensor(v, dtype=dtype, requires_grad=True) for v in (1e-3, 13500.0))
    level = expected_counts(mean, mean, torch.zeros(5, dtype=dtype), Reading(well, noise, 0.04, 2.0, 255.0))
    slopes = torch.autograd.grad(level.sum(), [mean, noise, well])
    assert all(bool(slope.isfinite().all()) for slope in slopes)
    assert slopes[0][0, -1] == 0 and level[0, -1].item() == pytest.approx(255, abs=1e-3)
