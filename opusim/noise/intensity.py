"""Closed forms of the error of an output in intensity mode.

With mu the mean signal in electrons, C the contrast of the speckle (C^2 = 1 / modes), K the gain in DN per electron,
f the share of mirrors on (1 for a phase modulator, all of whose pixels are lit), eps^2 the leakage of one that is off
and u the share of the light that no phase turns, the parts are, as long as nothing is clipped and
noise spans a grey level:

=================  =====================================  ==============================================================
source             part                                   from
=================  =====================================  ==============================================================
shot noise         (mu + d) / (mu C)^2                    Poisson law, EMVA 1288 release 4, section 2; d: dark electrons
read noise         sigma_d^2 / (mu C)^2                   EMVA 1288, section 2
quantisation       1 / (12 K^2 mu^2 C^2)                  EMVA 1288, section 2
non-linearity      (4 a mu / E)^2 2 C^2 (1 + C^2)         what the best line leaves of 4 a n^2 / E over the gamma law
                                                          (`Camera.response_e`, E the charge of the scale's end)
PRNU, laser power  sigma^2 (1 + C^2) / C^2                mean square of speckle, mu^2 (1 + C^2); sigma of the power
                                                          is that of an exposure (`Laser.power_noise_in`)
DSNU               sigma^2 / (mu C)^2                     EMVA 1288, section 3; rows, columns, pixels and the spread of
                                                          the dark current over an exposure: their squares add up
dark current       (d + variance over pixels) / (mu C)^2  hot pixels: a mixture of two rates
lag                l^2 (1 - p^2) / (1 - l + l p)^2        light of another pattern: p the correlation of the
                                                          intensities of two, the square of that of their fields,
                                                          which is f; and less speckle stands against all other noise
decorrelation      exp(4 L) - 1                           intensities correlate as the square of the fields (Goodman,
                                                          Speckle Phenomena, 2nd ed., section 3.3), fields as exp(-L)
off-state leakage  (1 + eps^2 (1 - f) / f)^2 - 1          as decorrelation: the field of the off mirrors is added
phase flicker      1 / c^2 - 1                            c the mean correlation with speckle without it
                                                          (`opusim.noise.flicker`)
unmodulated light  1 / (1 - u)^2 - 1                      as off-state leakage: fields correlate as sqrt(1 - u)
pixel integration  M - 1                                  a point's intensity correlates with the mean over the pixel as
                                                          1 / sqrt(M) (`theory.pixel_modes`)
=================  =====================================  ==============================================================

What the camera makes of a level is put in by the moments of a normal law that is clipped by the full well and the ends
of the scale and rounded, averaged over the gamma law of speckle: noise of a clipped level is lost, and the clipped part
is an error. That part alone is, for C = 1 and a limit of F electrons, 2 mu^2 exp(-F / mu), less what the best line
takes off. Where noise is narrower than a step rounding is taken count by count (`noise_rounding`), so that few bits and
little light are no exception: then it is not 1/12 DN^2, and depends on where the black level lies between two counts.

Pixels with telegraph noise are a kind of their own, with the mean variance of their amplitudes: they do not make
rounding the smaller error for all others, as an rms over all pixels would. That their law has three levels and a tail
is left out; nothing but the rounding and the clipping of these few pixels knows of it. With lag a share of up to 2 l of
the part of the laser's power is counted too much, as the power of two frames is taken for one.

Limits of validity: noise is taken as normal, which a gain of more than a count or so per electron and a signal of a few
electrons are not. An error above 10 (`noise_sources.LARGEST_ERROR`) has no meaning beyond "nothing is left".
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy import special

from opusim.theory import pixel_modes, speckle_contrast

from .budget import parts_of
from .flicker import with_target
from .point import WorkingPoint
from .rounding import clipped_moments, rounded_moments

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
    averaging = pixel_modes(point.device.pixel_over_grain) - 1
    return parts_of(point, _error, averaging)


def _error(point: WorkingPoint, off: Collection[str]) -> float:
    """Error against the same pixel without any source, some sources being off."""
    correlation = 1.0 if "decorrelation" in off else point.field_correlation
    leaks = "off-state leakage" not in off
    leaked = point.leakage * (1 - point.share_on) / point.share_on if leaks else 0.0
    # Covariance of the light of a frame with the target, and its variance, both over that of the frame's own light.
    shared, mixed = 1 / (1 + leaked), 1.0
    still = 0.0 if "unmodulated light" in off else point.unmodulated
    shared *= 1 - still
    if "phase flicker" not in off:
        shared *= with_target(point.device.lit_modulator, point.device.averaged_s(point.exposure_s))
    if point.device.camera.lag and "lag" not in off:
        lag = point.device.camera.lag
        # The pattern before shares the mirrors of the target with it: those on in both, and by eps those on here alone.
        # Random phases share nothing; what they do not turn is that of both frames, and not of the target.
        alike, before = still, 0.0
        if point.device.modulator.binary:
            alike = point.pattern_correlation(leakage=leaks)
            before = point.share_on + (math.sqrt(point.leakage) * (1 - point.share_on) if leaks else 0.0)
        mixed = (1 - lag) ** 2 + lag**2 + 2 * lag * (1 - lag) * alike**2
        shared *= 1 - lag + lag * before**2
    # Correlations of independent causes multiply, and 1 + error is one over the square of a correlation.
    return (1 + _camera_error(point, leaked, off, mixed)) * mixed / shared**2 / correlation**4 - 1


def _camera_error(point: WorkingPoint, leaked: float, off: Collection[str], mixed: float) -> float:
    """Error that light and camera make of a given speckle pattern, of which lag has left a part of the variance."""
    device = point.device
    camera, laser = device.camera, device.laser
    mean_e = point.electrons_per_intensity * point.share_on * device.dmd.n_mirrors * (1 + leaked)
    contrast = speckle_contrast(device.pixel_over_grain, camera.polarised) * device.line_contrast * math.sqrt(mixed)
    signal, weight = _speckle(mean_e, contrast)
    bounded = "saturation" not in off

    def on(source: str, value: float) -> float:
        return 0.0 if source in off else value

    # Kinds of pixels: ordinary ones and hot ones, with telegraph noise and without.
    hot = on("dark current", camera.hot_pixel_fraction)
    telegraph = on("read noise", camera.telegraph_fraction if camera.telegraph_e else 0.0)
    spread_e2 = 0.0 if "dark current" in off else on("DSNU", point.dark_spread_e) ** 2
    read_e2 = on("read noise", camera.read_noise_e) ** 2
    kinds = [
        (of_dark * of_read, dark, spread, read)
        for of_dark, dark, spread in (
            (1 - hot, on("dark current", point.ordinary_dark_e), spread_e2), (hot, point.hot_dark_e, 0.0)
        )
        # Exponential amplitudes of the mean m have the mean square 2 m^2, and three levels half of an amplitude's.
        for of_read, read in ((1 - telegraph, read_e2), (telegraph, read_e2 + camera.telegraph_e**2))
        if of_dark * of_read
    ]  # fmt: skip
    weight = np.concatenate([share * weight for share, _, _, _ in kinds])
    dark_e, dark_e2, noise_e2 = (np.repeat([kind[i] for kind in kinds], len(signal)) for i in (1, 2, 3))
    signal = np.tile(signal, len(kinds))

    level = signal + dark_e
    factor = on("PRNU", camera.total_prnu) ** 2 + on("laser power", laser.power_noise_in(point.exposure_s)) ** 2
    variance = factor * signal**2 + dark_e2
    if camera.shot_noise and "shot noise" not in off:
        variance = variance + level
    level, variance, _ = clipped_moments(level, variance, -math.inf, camera.full_well_e if bounded else math.inf)
    if on("non-linearity", camera.nonlinearity):
        level, variance = camera.response_e(level), camera.response_slope(level) ** 2 * variance
    variance = variance + noise_e2 + on("DSNU", camera.total_dsnu_e(0.0)) ** 2
    if camera.quantise:
        gain = camera.gain_dn_per_e
        level, variance = camera.black_level_dn + gain * level, gain**2 * variance
        low, high = (0.0, float(camera.full_scale_dn)) if bounded else (-math.inf, math.inf)
        if "quantisation" in off:
            level, variance, _ = clipped_moments(level, variance, low, high)
        else:
            level, variance = rounded_moments(level, variance, low, high)
    own = _covariance(weight, signal, signal)
    whole = _covariance(weight, level, level) + float(weight @ variance)
    shared = _covariance(weight, level, signal) ** 2
    return whole * own / shared - 1 if shared > 0 else math.inf


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


def _covariance(weight: Array, a: Array, b: Array) -> float:
    return float(weight @ ((a - weight @ a) * (b - weight @ b)))
