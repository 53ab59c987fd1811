"""Closed forms of the error of an output in intensity mode.

With mu the mean signal in electrons, C the contrast of the speckle (C^2 = 1 / modes), K the gain in DN per electron,
f the share of mirrors on and eps^2 the leakage of one that is off, the parts are, as long as nothing is clipped:

=================  =====================================  ==============================================================
source             part                                   from
=================  =====================================  ==============================================================
shot noise         (mu + d) / (mu C)^2                    Poisson law, EMVA 1288 release 4, section 2; d: dark electrons
read noise         sigma_d^2 / (mu C)^2                   EMVA 1288, section 2
quantisation       1 / (12 K^2 mu^2 C^2)                  EMVA 1288, section 2
PRNU, laser power  sigma^2 (1 + C^2) / C^2                mean square of speckle, mu^2 (1 + C^2)
DSNU               sigma^2 / (mu C)^2                     EMVA 1288, section 3
dark current       (d + variance over pixels) / (mu C)^2  hot pixels: a mixture of two rates
decorrelation      exp(4 L) - 1                           intensities correlate as the square of the fields (Goodman,
                                                          Speckle Phenomena, 2nd ed., section 3.3), fields as exp(-L)
off-state leakage  (1 + eps^2 (1 - f) / f)^2 - 1          as decorrelation: the field of the off mirrors is added
pixel integration  M - 1                                  a point's intensity correlates with the mean over the pixel as
                                                          1 / sqrt(M) (`theory.pixel_modes`)
=================  =====================================  ==============================================================

Full well and the ends of the scale are put in by the moments of a clipped normal law, averaged over the gamma law of
speckle: noise of a clipped level is lost, and the clipped part is an error. That part alone is, for C = 1 and a limit
of F electrons, 2 mu^2 exp(-F / mu), less what the best line takes off.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .noise_sources import WorkingPoint, parts_of
from .theory import pixel_modes, speckle_contrast

__all__ = ["intensity_errors"]

Array = NDArray[np.float64]
_SLICES = 4001


def intensity_errors(point: WorkingPoint) -> tuple[dict[str, float], float]:
    """Parts of each source in the error of an output in intensity mode, and the error with all of them.

    Parameters
    ----------
    point : WorkingPoint
        In intensity mode.

    Returns
    -------
    errors : dict of float
        By source; see the module's table.
    whole : float
    """
    averaging = pixel_modes(point.device.camera.pixel_over_grain) - 1
    return parts_of(point, _error, averaging)


def _error(point: WorkingPoint, off: Collection[str]) -> float:
    """Error against the same pixel without any source, some sources being off."""
    correlation = 1.0 if "decorrelation" in off else point.field_correlation
    leaked = 0.0 if "off-state leakage" in off else point.leakage * (1 - point.share_on) / point.share_on
    # Correlations of independent causes multiply, and 1 + error is one over the square of a correlation.
    return (1 + _camera_error(point, leaked, off)) * (1 + leaked) ** 2 / correlation**4 - 1


def _camera_error(point: WorkingPoint, leaked: float, off: Collection[str]) -> float:
    """Error that light and camera make of a given speckle pattern."""
    device = point.device
    camera, laser = device.camera, device.laser
    mean_e = point.electrons_per_intensity * point.share_on * device.dmd.n_mirrors * (1 + leaked)
    contrast = speckle_contrast(camera.pixel_over_grain, camera.polarised)
    signal, weight = _speckle(mean_e, contrast)

    def on(source: str, value: float) -> float:
        return 0.0 if source in off else value

    dark_e = on("dark current", point.dark_e)
    level = signal + dark_e
    variance = level if camera.shot_noise and "shot noise" not in off else np.zeros_like(level)
    factor = on("PRNU", camera.prnu) ** 2 + on("laser power", laser.power_noise) ** 2
    variance = variance + factor * signal**2 + on("dark current", _hot_variance_e2(point))
    bounded = "saturation" not in off
    well = camera.full_well_e if bounded else math.inf
    level, variance, _ = _clipped(level, variance, -math.inf, well)
    variance = variance + on("read noise", camera.read_noise_e) ** 2 + on("DSNU", camera.dsnu_e) ** 2
    if camera.quantise:
        gain, black = camera.gain_dn_per_e, camera.black_level_dn
        low, high = (-black / gain, (camera.full_scale_dn - black) / gain) if bounded else (-math.inf, math.inf)
        level, variance, inside = _clipped(level, variance, low, high)
        variance = variance + inside * on("quantisation", 1 / (12 * gain**2))
    own = _covariance(weight, signal, signal)
    whole = _covariance(weight, level, level) + float(weight @ variance)
    return whole * own / _covariance(weight, level, signal) ** 2 - 1


def _hot_variance_e2(point: WorkingPoint) -> float:
    """Variance of the dark electrons over the pixels: two kinds, with shares h and 1 - h."""
    camera = point.device.camera
    share = camera.hot_pixel_fraction
    excess_e = (camera.hot_pixel_dark_e_per_s - camera.dark_current_e_per_s) * point.exposure_s
    return share * (1 - share) * excess_e**2


def _speckle(mean: float, contrast: float) -> tuple[Array, Array]:
    """Levels and weights of the gamma law of speckle, fine near zero and reaching far into the tail."""
    shape = contrast**-2
    # The tail is below 1e-15 of the whole.
    edges = (special.gammainccinv(shape, 1e-15) * np.linspace(0, 1, _SLICES) ** 2).astype(np.float64)
    weight = -np.diff(special.gammaincc(shape, edges))
    # The mean of each slice: the law of shape + 1.
    first = -shape * np.diff(special.gammaincc(shape + 1, edges))
    weight = np.maximum(weight, 1e-300)
    return mean / shape * first / weight, weight / weight.sum()


def _clipped(mean: Array, variance: Array, low: float, high: float) -> tuple[Array, Array, Array]:
    """Mean, variance and probability of being inside, of a normal law that is clipped at two ends."""
    if math.isinf(low) and math.isinf(high):
        return mean, variance, np.ones_like(mean)
    width = np.sqrt(np.maximum(variance, 1e-12))
    a, b = (low - mean) / width, (high - mean) / width
    below, above = special.ndtr(a), special.ndtr(-b)
    inside = 1 - below - above
    pa, pb = (np.exp(-0.5 * np.square(v)) / math.sqrt(2 * math.pi) for v in (a, b))
    # In units of the width, from the mean; infinite ends have no weight.
    at_a, at_b = (np.where(np.isfinite(v), v, 0.0) for v in (a, b))
    first = at_a * below + at_b * above + pa - pb
    second = at_a**2 * below + at_b**2 * above + inside + at_a * pa - at_b * pb
    return mean + width * first, variance * np.maximum(second - first**2, 0.0), inside


def _covariance(weight: Array, a: Array, b: Array) -> float:
    return float(weight @ ((a - weight @ a) * (b - weight @ b)))
