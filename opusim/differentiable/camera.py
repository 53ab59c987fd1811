"""The mean of a camera's counts as a torch function: shot noise, full well, read noise, clipping and rounding.

With Poisson electrons taken as normal ones, of a variance equal to the mean, the expectation of a clipped signal has a
closed form. For x normal with mean m and standard deviation s::

    E[min(x, c)] = min(m, c) - s h(|c - m| / s),        h(t) = phi(t) - t Phi(-t)

phi and Phi being the standard normal density and distribution function. So the mean of a pixel that saturates is soft:
its width is the pixel's own noise s, it lies below the hard limit by at most h(0) s = .399 s (where m = c), by .083 s
one s away from there, and by 4e-4 s three away. For a full well of 13 500 electrons s is 116 electrons, so that the
soft limit and the hard one differ by .35 % of full well at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

from opusim.base.errors import no_torch

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise no_torch("opusim.differentiable", error) from error

__all__ = ["ROUNDINGS", "Reading", "expected_counts", "soft_minimum"]

ROUNDINGS = ("mean", "straight-through", "none")
# A text, because the documentation is made without torch.
Number: TypeAlias = "Tensor | float"
_ROOT_2 = math.sqrt(2.0)
_ROOT_2_PI = math.sqrt(2 * math.pi)
# Electrons squared. A signal without any noise would have no width, and a slope that is not a number at its limits.
_LEAST_VARIANCE = 1e-6
# Grey levels. Up to this noise the rounded levels are added up one by one; above, the steps of the rounding average
# out to exp(-2 pi^2 s^2) / pi, which is 3e-4.
_NARROW_DN = 0.6
_REACH = 4  # levels on each side of the mean, 6.7 standard deviations or more


@dataclass(frozen=True)
class Reading:
    """Numbers of a camera that its mean counts depend on; each may be a tensor, of which the counts have a gradient.

    Parameters
    ----------
    full_well_e : float or Tensor
        Most electrons of a pixel; `inf` for no limit.
    read_noise_e, gain_dn_per_e, black_level_dn : float or Tensor
        As in `opusim.device.camera.Camera`; the read noise may be one for each pixel.
    full_scale_dn : float
        Highest count; `inf` if counts are neither rounded nor clipped.
    nonlinearity : float
        As in `Camera`.
    scale_end_e : float or Tensor
        Charge at which the bent response meets the straight line again (`Camera.scale_end_e`).
    """

    full_well_e: Number = math.inf
    read_noise_e: Number = 0.0
    gain_dn_per_e: Number = 1.0
    black_level_dn: Number = 0.0
    full_scale_dn: float = math.inf
    nonlinearity: float = 0.0
    scale_end_e: Number = math.inf


def expected_counts(
    mean_e: Tensor, variance_e2: Tensor, offset_e: Tensor, reading: Reading, *, rounding: str = "mean"
) -> Tensor:
    """Return the mean of clip(rint(black + gain (R(min(n, full well)) + offset + read noise)), 0, full scale).

    Parameters
    ----------
    mean_e : Tensor of float, shape (..., n_pixels)
        Mean electrons of each pixel, dark current included, before the full well.
    variance_e2 : Tensor of float, same shape
        Variance of their number; the mean, if there is shot noise alone; 0 without.
    offset_e : Tensor of float, shape (n_pixels,)
        Fixed offset of each pixel in electrons.
    reading : Reading
        Full well, read noise, gain, black level, full scale.
    rounding : {"mean", "straight-through", "none"}
        "mean": the mean of the rounded level. "straight-through": the mean of the level before rounding, rounded;
        its gradient is that without rounding. "none": the mean of the level, clipped but not rounded.

    Returns
    -------
    Tensor of float, shape of `mean_e`
        Grey levels.

    Notes
    -----
    With the read noise r w fixed, the level reaches the full scale where n = C - r w, for a C of electrons, and
    min(min(n, F) + r w, C) = r w + min(n, min(F, C - r w)). The last minimum is a random limit, independent of n. Its
    mean and its variance have closed forms, and with a normal limit the mean of the whole has one. This is exact (for
    normal n) where one of the two limits is far from the other or there is no read noise. Where they meet, the error is
    a few hundredths of the read noise, and less if this is small against the shot noise.

    What is left of the Poisson law is its skewness: at most .04 electrons at an upper limit of more than a hundred
    electrons, and .1 electrons at the lower limit, for a camera without black level and read noise. Rounding changes
    the mean at the two ends of the scale by the density there over 24, and in between where the noise is below
    .6 grey levels. The levels are then added up one by one.

    A response R that is bent (`Camera.response_e`) is taken to the second order of the noise: what it makes of n is
    normal, of the mean R(m) + R'' s^2 / 2 and the standard deviation R' s, and the full well F becomes R(F). Where n is
    far from the full well the mean is exact, as R is a parabola.
    """
    if reading.nonlinearity:
        mean_e, variance_e2, reading = _bent(mean_e, variance_e2, reading)
    gain, black, scale = reading.gain_dn_per_e, reading.black_level_dn, reading.full_scale_dn
    read_variance = reading.read_noise_e * reading.read_noise_e
    if not math.isfinite(scale):
        return black + gain * (soft_minimum(mean_e, variance_e2, reading.full_well_e) + offset_e)
    top_e = (scale - black) / gain - offset_e
    limit, limit_variance = _clipped_moments(top_e, read_variance + torch.zeros_like(top_e), reading.full_well_e)
    kept = soft_minimum(mean_e, variance_e2 + limit_variance, limit)
    # The lower limit: only a pixel that is almost dark reaches it, far from its full well.
    deviation = _root(variance_e2 + read_variance)
    missing = -black / gain - mean_e - offset_e
    kept = kept + _larger(missing, 0.0) + deviation * _overshoot(missing.abs() / deviation)
    level = black + gain * (kept + offset_e)
    if rounding == "none":
        return level
    if rounding == "straight-through":
        return torch.round(level).detach() + (level - level.detach())
    # A pixel is either full, at one level with read noise, or has electrons of the normal law.
    read_variance = torch.as_tensor(read_variance, dtype=mean_e.dtype, device=mean_e.device)
    bias = _rounding_bias(black + gain * (mean_e + offset_e), gain * deviation, scale)
    if isinstance(reading.full_well_e, Tensor) or math.isfinite(reading.full_well_e):
        full = _tail((reading.full_well_e - mean_e) / _root(variance_e2))
        at_top = black + gain * (reading.full_well_e + offset_e)
        bias = bias + full * (_rounding_bias(at_top, gain * _root(read_variance + 0 * at_top), scale) - bias)
    return level + bias


def _bent(mean: Tensor, variance: Tensor, reading: Reading) -> tuple[Tensor, Tensor, Reading]:
    """Mean and variance behind a bent response, and a camera with a straight one that reads them."""
    end, bend = reading.scale_end_e, 4 * reading.nonlinearity

    def response(charge: Number) -> Tensor:
        below = _smaller(torch.as_tensor(charge, dtype=mean.dtype, device=mean.device), end)
        return below * (1 + bend * (1 - below / end)) + (charge - below) * (1 - bend)

    below = _smaller(mean, end)
    slope = 1 + bend * (1 - 2 * below / end)
    moved = torch.where(mean < end, -bend * variance / end, torch.zeros_like(mean))
    well = reading.full_well_e
    if isinstance(well, Tensor) or math.isfinite(well):
        well = response(well)
    return response(mean) + moved, slope * slope * variance, replace(reading, full_well_e=well, nonlinearity=0.0)


def soft_minimum(mean: Tensor, variance: Tensor, limit: Number) -> Tensor:
    """Return E[min(x, limit)] for normal x: `mean` itself for an infinite limit.

    Parameters
    ----------
    mean, variance : Tensor of float
        Of x. A variance below 1e-6 counts as that.
    limit : float or Tensor
        c, of a shape that broadcasts.
    """
    if not isinstance(limit, Tensor) and math.isinf(limit):
        return mean
    deviation = _root(variance)
    return _smaller(mean, limit) - deviation * _overshoot((limit - mean).abs() / deviation)


def _clipped_moments(mean: Tensor, variance: Tensor, limit: Number) -> tuple[Tensor, Tensor]:
    """Mean and variance of min(x, limit) for normal x.

    With u = (z - a)+ for a standard normal z and a >= 0: E u = h(a), E u^2 = (1 + a^2) Phi(-a) - a phi(a), and
    E[z u] = Phi(-a). The minimum is z - u on one side of the limit and the mirror image of u on the other.
    """
    if not isinstance(limit, Tensor) and math.isinf(limit):
        return mean, variance
    deviation = _root(variance)
    distance = (limit - mean) / deviation
    t = torch.where(distance >= 0, distance, -distance)  # unlike abs with a slope at 0, where the whole has one
    tail, density = _tail(t), _density(t)
    first = density - t * tail
    second = (1 + t * t) * tail - t * density - first * first
    share = torch.where(distance >= 0, 1 - 2 * tail + second, second).clamp(min=0)
    return soft_minimum(mean, variance, limit), share * deviation * deviation


def _rounding_bias(mean: Tensor, deviation: Tensor, scale: float) -> Tensor:
    """Return E[clip(rint(x), 0, scale)] - E[clip(x, 0, scale)] for normal x.

    The first is the sum of P(x > k + 1/2) over the levels k below the scale, the second the integral of P(x > t) from
    0 to the scale. By Euler and Maclaurin they differ by (p(scale) - p(0)) / 24, p being the density of x.
    """
    ends = _density((scale - mean) / deviation) - _density(mean / deviation)
    smooth = ends / (24 * deviation)
    narrow = deviation < _NARROW_DN
    if not bool(narrow.any()):
        return smooth
    centre, width = mean[narrow], deviation[narrow]
    first = torch.floor(centre.detach()) - _REACH
    total = first.clamp(0, scale)  # these levels are passed for certain
    for j in range(2 * _REACH + 1):
        k = first + j
        passed = _tail((k + 0.5 - centre) / width)
        total = total + torch.where((k >= 0) & (k < scale), passed, 0.0)
    clipped = _larger(_smaller(centre, scale), 0.0)
    clipped = clipped - width * _overshoot((scale - centre).abs() / width) + width * _overshoot(centre.abs() / width)
    return smooth.masked_scatter(narrow, (total - clipped).to(smooth.dtype))


def _smaller(x: Tensor, limit: Number) -> Tensor:
    """min(x, limit), with half the slope where they are equal, as the mean has."""
    return torch.minimum(x, torch.as_tensor(limit, dtype=x.dtype, device=x.device))


def _larger(x: Tensor, limit: Number) -> Tensor:
    """max(x, limit), with half the slope where they are equal."""
    return torch.maximum(x, torch.as_tensor(limit, dtype=x.dtype, device=x.device))


def _root(variance: Tensor) -> Tensor:
    return torch.sqrt(variance.clamp(min=_LEAST_VARIANCE))


def _density(t: Tensor) -> Tensor:
    return torch.exp(-0.5 * t * t) / _ROOT_2_PI


def _tail(t: Tensor) -> Tensor:
    """P(z > t)."""
    return 0.5 * torch.erfc(t / _ROOT_2)


def _overshoot(t: Tensor) -> Tensor:
    """h(t) = E[(z - t)+] for t >= 0."""
    return _density(t) - t * _tail(t)
