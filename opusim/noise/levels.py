"""What limits an output: the variance that each source of noise adds to a grey level, in closed form.

All variances are in DN² (squares of a grey level) at the camera's output. The sensor's terms are those of
EMVA 1288 release 4, section 2: with K the gain (DN per electron) and mu_e the mean number of electrons that
light made, sigma_y² = K² sigma_d² + sigma_q² + K² mu_e, where sigma_q² = 1/12 DN².

Two kinds are kept apart. *Temporal* noise is new in every frame. A *fixed pattern* (PRNU, DSNU, hot pixels)
stays the same from frame to frame: it makes another matrix rather than a noisy one, and a linear fit on the
outputs learns most of it.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import optimize, special

from opusim.base import validation
from opusim.base.user_arrays import checked_array
from opusim.theory import exposure_contrast, speckle_contrast

from .flicker import between_frames

if TYPE_CHECKING:
    from opusim.device.camera import Camera
    from opusim.device.record import Device

    from .budget import ErrorBudget

__all__ = [
    "NoiseBudget",
    "NoiseTerm",
    "dark_level_dn",
    "error_budget",
    "level_distribution",
    "noise_at_level",
    "noise_terms",
]

Kind = Literal["temporal", "fixed"]
# Of bursts, above which too few frames are left for the closed forms of the linear mode.
_MOST_CLIPPED = 0.3


@dataclass(frozen=True)
class NoiseTerm:
    """One source of noise.

    Parameters
    ----------
    name : str
        What it is.
    kind : "temporal" or "fixed"
        Whether it is new in every frame or the same in all.
    variance_dn2 : float
        Variance that it adds to a grey level, in DN².
    """

    name: str
    kind: Kind
    variance_dn2: float

    @property
    def rms_dn(self) -> float:
        """Standard deviation in grey levels."""
        return math.sqrt(self.variance_dn2)


@dataclass(frozen=True)
class NoiseBudget:
    """The sources of noise of a device at one mean grey level.

    Parameters
    ----------
    level_dn : float
        Mean grey level, black level and dark signal included.
    speckle : bool
        Whether that is the mean over a speckle pattern (True) or the level of one pixel (False).
    contrast : float
        Standard deviation of the speckle divided by its mean; 0 for one pixel.
    full_scale_dn : float
        Level at which an output saturates: the digital full scale or the full well, what comes first.
    saturation_probability : float
        Share of outputs beyond it.
    terms : tuple of NoiseTerm
        The sources.
    """

    level_dn: float
    speckle: bool
    contrast: float
    full_scale_dn: float
    saturation_probability: float
    terms: tuple[NoiseTerm, ...]

    def variance_dn2(self, kind: Kind | None = None) -> float:
        """Return the sum of the variances.

        Parameters
        ----------
        kind : {"temporal", "fixed"}, optional
            Of which sources; of all by default.

        Returns
        -------
        float
            Variance in DN².
        """
        return math.fsum(term.variance_dn2 for term in self.terms if kind is None or term.kind == kind)

    def rms_dn(self, kind: Kind | None = None) -> float:
        """Return the root of `variance_dn2`.

        Parameters
        ----------
        kind : {"temporal", "fixed"}, optional
            Of which sources; of all by default.

        Returns
        -------
        float
            Standard deviation in grey levels.
        """
        return math.sqrt(self.variance_dn2(kind))

    def share(self, name: str) -> float:
        """Return the share of a source in the whole variance.

        Parameters
        ----------
        name : str
            Name of the source.

        Returns
        -------
        float
            Between 0 and 1; 0 if there is no noise.

        Raises
        ------
        ValueError
            If there is no source of that name.
        """
        for term in self.terms:
            if term.name == name:
                total = self.variance_dn2()
                return term.variance_dn2 / total if total else 0.0
        raise ValueError(f"name is {name!r}, but it must be one of {', '.join(term.name for term in self.terms)}.")


def dark_level_dn(device: Device, exposure_s: float) -> float:
    """Return the mean grey level without light: the black level and the dark current of ordinary and hot pixels.

    Parameters
    ----------
    device : Device
        The device.
    exposure_s : float
        Exposure in seconds.

    Returns
    -------
    float
        Grey levels.
    """
    device, exposure_s = _loaded(device), _checked_exposure(exposure_s)
    camera = device.camera
    dark_e = camera.mean_dark_e(exposure_s)
    if camera.nonlinearity:
        dark_e = float(camera.response_e(dark_e))
    return camera.black_level_dn + camera.gain_dn_per_e * dark_e


def noise_at_level(device: Device, level_dn: float, exposure_s: float, *, speckle: bool = False) -> NoiseBudget:
    """Noise of an output whose mean grey level is known.

    Parameters
    ----------
    device : Device
        The device; its camera and its laser are read.
    level_dn : float
        Mean grey level, black level and dark signal included; at least the level of a dark frame.
    exposure_s : float
        Exposure in seconds (> 0), for the dark current.
    speckle : bool, optional
        False: one pixel whose expected level is `level_dn`. True: the average over the pixels of a speckle
        pattern with that mean, whose intensities follow a gamma law of the camera's contrast C (exponential
        for C = 1), less what an exposure takes that is long against the medium's decorrelation
        (`opusim.theory.exposure_contrast`), and what the line of the laser takes (`Device.line_contrast`). Terms that
        grow as the square of the signal then carry the factor 1 + C².
        Around a measured matrix C is that over its own outputs, of unequal strength and with their background
        (`Medium.output_powers`).

    Returns
    -------
    NoiseBudget
        The sources and their variances.

    Raises
    ------
    TypeError, ValueError
        If the level is below the dark level, the exposure is not positive, or one is not a number.

    Notes
    -----
    Clipping is left out of the variances: below a level of about one standard deviation the output of a camera
    without a black level is cut off at zero, and its noise is smaller than stated here.

    With a response that is bent (`Camera.response_e`) a level stands for another charge, and what comes before the
    read-out is multiplied by the slope there; over speckle these are means over its gamma law. The bend itself is no
    noise of a level: it is an error of an output (`error_budget`). So is lag, which leaves the noise of a level as is.
    """
    device, exposure_s = _loaded(device), _checked_exposure(exposure_s)
    camera, laser = device.camera, device.laser
    validation.flag("speckle", speckle)
    gain = camera.gain_dn_per_e
    dark_e = camera.mean_dark_e(exposure_s)
    dark_dn = dark_level_dn(device, exposure_s)
    # A little slack: a level that was computed in other ways may fall short of the dark level by rounding.
    if isinstance(level_dn, bool) or not isinstance(level_dn, Real):
        raise TypeError(
            f"level_dn is {level_dn!r}, but it must be a number of at least the dark level, {dark_dn:.3g} DN."
        )
    if not (math.isfinite(level_dn) and level_dn >= dark_dn - 1e-6 * (1 + dark_dn)):
        raise ValueError(f"level_dn is {level_dn!r}, but it must be at least the dark level, {dark_dn:.3g} DN.")
    contrast = speckle_contrast(device.pixel_over_grain, camera.polarised) if speckle else 0.0
    if speckle and (powers := device.medium.output_powers()) is not None:
        contrast = _uneven_contrast(device, powers, exposure_s, level_dn - dark_dn)
    if device.drift_within(exposure_s) is not None:
        contrast *= exposure_contrast(exposure_s / device.medium.decorrelation_time_s)
    contrast *= device.line_contrast
    if camera.nonlinearity:
        signal_dn = gain * _signal_e(camera, (level_dn - camera.black_level_dn) / gain, dark_e, contrast)
        slope2, times, squared = _bent(camera, signal_dn / gain, dark_e, contrast)
        first_dn, square_dn2 = gain * times, gain**2 * squared
    else:
        signal_dn, slope2 = max(level_dn - dark_dn, 0.0), 1.0
        first_dn, square_dn2 = signal_dn, signal_dn**2 * (1 + contrast**2)

    # Two kinds of pixels, with shares h and 1 - h: the variance of a rate over them is h (1 - h) times the
    # square of the difference.
    hot = camera.hot_pixel_fraction
    hot_excess_e = (camera.hot_dark_current_e_per_s - camera.mean_dark_current_e_per_s) * exposure_s
    hot_variance_e2 = hot * (1 - hot) * hot_excess_e**2 * slope2
    offset_e2 = camera.total_dsnu_e(0.0) ** 2
    spread_e2 = (1 - hot) * (camera.dark_current_deviation_e_per_s * exposure_s) ** 2 * slope2
    terms = (
        NoiseTerm("shot noise", "temporal", gain * first_dn if camera.shot_noise else 0.0),
        NoiseTerm("read noise", "temporal", (gain * camera.temporal_dark_noise_e) ** 2),
        NoiseTerm("quantisation", "temporal", 1 / 12 if camera.quantise else 0.0),
        NoiseTerm("dark current", "temporal", gain**2 * dark_e * slope2 if camera.shot_noise else 0.0),
        NoiseTerm("laser power", "temporal", laser.power_noise_in(exposure_s) ** 2 * square_dn2),
        NoiseTerm("PRNU", "fixed", camera.total_prnu**2 * square_dn2),
        NoiseTerm("DSNU", "fixed", gain**2 * (offset_e2 + spread_e2)),
        NoiseTerm("hot pixels", "fixed", gain**2 * hot_variance_e2),
    )
    if device.modulator.moves and not device.modulator.binary:  # what moves mirrors is no flicker
        # Of speckle of the contrast C; of one level as of the mean, at which it is as large.
        moved = 1 - between_frames(device.lit_modulator, device.averaged_s(exposure_s))
        terms += (NoiseTerm("phase flicker", "temporal", moved * first_dn**2 * (contrast**2 if speckle else 1.0)),)
    full_scale_dn = camera.black_level_dn + gain * camera.full_well_e
    if camera.quantise:
        full_scale_dn = min(full_scale_dn, float(2**camera.bits - 1))
    saturated = _saturation(signal_dn, full_scale_dn - dark_dn, contrast)
    return NoiseBudget(float(level_dn), speckle, contrast, full_scale_dn, saturated, terms)


def noise_terms(device: Device, n_on: int, exposure_s: float) -> NoiseBudget:
    """Noise of a device's outputs, averaged over the speckle of `n_on` mirrors that are on.

    Parameters
    ----------
    device : Device
        The device.
    n_on : int
        Number of mirrors that are on; of a phase modulator all pixels.
    exposure_s : float
        Exposure in seconds.

    Returns
    -------
    NoiseBudget
        At the mean grey level that `OpticalBench.expected_level_dn` gives: of light that passes a Fourier stop whole.
    """
    from opusim.bench.bench import OpticalBench

    device, exposure_s = _loaded(device), _checked_exposure(exposure_s)
    n_on = validation.integer("n_on", n_on, low=0, high=device.dmd.n_mirrors)
    if not device.modulator.binary and n_on != device.dmd.n_mirrors:
        raise ValueError(
            f"n_on is {n_on}, but a phase modulator lights all of its pixels: it must be {device.dmd.n_mirrors}."
        )
    level_dn = OpticalBench(device).expected_level_dn(n_on, exposure_s)
    return noise_at_level(device, float(level_dn), exposure_s, speckle=True)


def error_budget(device: Device, mode: str = "intensity", **circumstances: Any) -> ErrorBudget:
    """Return the part of each source in the error of an output, in closed form, relative to the variance of outputs.

    Parameters
    ----------
    device : Device, str or Path
        The device, a preset's name, or the path of a TOML file.
    mode : {"intensity", "linear"}
        What an output is: a count, or a field measured by phase-shifting holography.
    **circumstances
        Any of share_on, exposure_s, elapsed_s, n_steps, frametime_s, roi: as for
        `opusim.noise.working_point.working_point`.

    Returns
    -------
    ErrorBudget
        The parts. What counts as an error is said in the module ``opusim.noise.sources``, the formulas and where they
        come from in ``opusim.noise.intensity`` and ``opusim.noise.linear``.
        `opusim.noise.measured.measured_error_budget` finds the same by switching each source off on a bench.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, there is no reference arm for the linear mode, or no light.

    Warns
    -----
    UserWarning
        If the error is above 10, where it means no more than that nothing is left; or in linear mode, if more bursts
        have a saturated frame than the closed form is made for.

    Notes
    -----
    Limits of validity. Intensities: noise is taken as normal, so the gain must be below a count or so per electron, and
    an output must hold more than a few electrons. The linear mode: as that, and up to 30 % of bursts with a saturated
    frame. With 2 to 5 bits parts are within a tenth of the whole error, but single ones may be off by more; with a
    contrast of the mirrors of 10 to 100 leakage is within 15 %. The part of saturation is right within three hundredths
    of the whole error on the default device, and less well with bright off mirrors or few bits. With a response that is
    bent by more than .01 errors of the linear mode are told too small where bursts have saturated frames: by a fifth
    with .03 at the driver's exposure.
    """
    from .budget import ErrorBudget
    from .intensity import intensity_errors
    from .light import clipped_share
    from .linear import linear_errors
    from .working_point import checked_point

    point = checked_point(device, mode, circumstances)
    errors, whole = linear_errors(point) if point.mode == "linear" else intensity_errors(point)
    budget = ErrorBudget(point, errors, whole, measured=False)
    for note in budget.notes:
        warnings.warn(note, stacklevel=2)
    if point.mode == "linear" and (share := clipped_share(point)) > _MOST_CLIPPED:
        warnings.warn(
            f"{share:.0%} of bursts have a saturated frame at exposure_s = {point.exposure_s:.4g}, but the closed form "
            f"is made for {_MOST_CLIPPED:.0%} at most: exposure_s must be shorter for it.",
            stacklevel=2,
        )
    return budget


def level_distribution(device: Device, mean_dn: float, exposure_s: float, edges: np.ndarray) -> np.ndarray:
    """Distribution of grey levels over a speckle pattern, with the noise of the camera.

    Parameters
    ----------
    device : Device
        The device.
    mean_dn : float
        Mean grey level of the pattern.
    exposure_s : float
        Exposure in seconds.
    edges : ndarray of float, shape (n + 1,)
        Edges of the bins in grey levels, rising. The first and the last bin also take what lies below and
        above them, as the ends of a camera's scale do.

    Returns
    -------
    ndarray of float64, shape (n,)
        Probability of each bin; the sum is 1. The gamma law of `noise_at_level`, at each level widened by a
        normal law of that level's noise (all kinds).

    Raises
    ------
    TypeError, ValueError
        As `noise_at_level`, and if the edges are not a list of at least two rising numbers.
    """
    device = _loaded(device)
    edges = checked_array("edges", edges, "rising numbers, in grey levels")
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(
            f"edges is an array of {edges.dtype} of shape {edges.shape}, but it must be a list of at least two rising "
            "numbers, in grey levels."
        )
    budget = noise_at_level(device, mean_dn, exposure_s, speckle=True)
    dark_dn = dark_level_dn(device, exposure_s)
    camera = device.camera
    gain, dark_e = camera.gain_dn_per_e, camera.mean_dark_e(exposure_s)
    if camera.nonlinearity:
        level_e = (mean_dn - camera.black_level_dn) / gain
        signal_dn = gain * _signal_e(camera, level_e, dark_e, budget.contrast)
    else:
        signal_dn = max(mean_dn - dark_level_dn(device, exposure_s), 0.0)
    # A pattern without light is one slice of no width.
    slices, weights = _slices(budget.contrast, 4001 if signal_dn > 0 else 2)
    straight = device.evolve(**{"camera.nonlinearity": 0.0})
    dark_dn = dark_level_dn(straight, exposure_s)
    levels = dark_dn + signal_dn * (slices[1:] + slices[:-1]) / 2
    low = noise_at_level(straight, dark_dn, exposure_s).variance_dn2()
    mid = noise_at_level(straight, dark_dn + 1.0, exposure_s).variance_dn2() - low
    high = noise_at_level(straight, dark_dn + 2.0, exposure_s).variance_dn2() - low
    # Every term is constant, linear or quadratic in the signal: three points give the polynomial.
    square = (high - 2 * mid) / 2
    over = levels - dark_dn
    # Rounding is in the edges of the bins already, so it is taken out of the width.
    rounding = 1 / 12 if camera.quantise else 0.0
    variance = low - rounding + (mid - square) * over + square * over**2
    if camera.nonlinearity:
        charge = (levels - camera.black_level_dn) / gain
        levels = camera.black_level_dn + gain * camera.response_e(charge)
        after = gain**2 * (camera.temporal_dark_noise_e**2 + camera.total_dsnu_e(0.0) ** 2)
        variance = after + camera.response_slope(charge) ** 2 * (variance - after)
    sigma = np.sqrt(np.maximum(variance, 1e-12))
    # Two halves of the axis, each from its own end, so that the faint tail does not drown in rounding.
    score = (np.asarray(edges, dtype=np.float64)[:, None] - levels) / sigma
    below, above = special.ndtr(score) @ weights, special.ndtr(-score) @ weights
    below[0], below[-1], above[0], above[-1] = 0.0, 1.0, 1.0, 0.0
    return np.where(below[1:] < 0.5, np.diff(below), -np.diff(above))


def _uneven_contrast(
    device: Device, powers: tuple[np.ndarray, np.ndarray], exposure_s: float, signal_dn: float
) -> float:
    """Contrast over outputs of unequal strength, at a mean signal: of Gaussian fields beside a still background.

    Output i has <I> = s_i + b_i and <I^2> = 2 s_i^2 + 4 s_i b_i + b_i^2 (Goodman, Speckle Phenomena, 2nd ed., section
    3.2.2), with s_i the light of the inputs that are on and b_i that of the background. The mean square of n Gaussian
    entries has itself a square that is too large by 1 + 1/n, which is taken off.
    """
    rows, background = powers
    inputs = device.medium.n_inputs
    assert inputs is not None
    camera = device.camera
    unit_dn = camera.gain_dn_per_e * camera.quantum_efficiency * device.photons_per_intensity(exposure_s)
    unit_dn *= device.dmd.n_mirrors // inputs
    # Inputs that are on, of which the signal is what the background leaves.
    n_on = max(signal_dn / unit_dn - float(background.mean()), 0.0) / float(rows.mean()) if unit_dn > 0 else 0.0
    light = n_on * rows
    mean = float((light + background).mean())
    if not mean > 0:
        return 1.0
    square = 2 * np.square(light) / (1 + 1 / inputs) + 4 * light * background + np.square(background)
    return math.sqrt(max(float(square.mean()) / mean**2 - 1, 0.0))


def _loaded(device: Device) -> Device:
    from opusim.device.record import Device

    return Device.load(device)


def _checked_exposure(exposure_s: float) -> float:
    if isinstance(exposure_s, bool) or not isinstance(exposure_s, Real):
        raise TypeError(f"exposure_s is {exposure_s!r}, but it must be a time in seconds above 0.")
    if not (math.isfinite(exposure_s) and exposure_s > 0):
        raise ValueError(f"exposure_s is {exposure_s!r}, but it must be a time in seconds above 0.")
    return float(exposure_s)


def _speckle(contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """Levels of a gamma law of the mean 1, and their weights; one level without contrast."""
    if not contrast:
        return np.ones(1), np.ones(1)
    slices, weights = _slices(contrast)
    level = (slices[1:] + slices[:-1]) / 2
    return level / float(weights @ level), weights


def _slices(contrast: float, n: int = 4001) -> tuple[np.ndarray, np.ndarray]:
    """Edges of slices of a gamma law of the mean 1, fine near zero and reaching 60 means, and their exact weights."""
    shape = contrast**-2
    slices = 60 * np.linspace(0, 1, n) ** 2
    return slices, -np.diff(special.gammaincc(shape, shape * slices))


def _signal_e(camera: Camera, level_e: float, dark_e: float, contrast: float) -> float:
    """Mean electrons of light whose mean level is `level_e`, by a bent response."""
    level, weights = _speckle(contrast)

    def over(signal_e: float) -> float:
        return float(weights @ camera.response_e(dark_e + signal_e * level)) - level_e

    # No response is steeper than 1 + 4 |a|, nor flatter than 1 - 4 |a|, which is a fifth at least.
    return 0.0 if over(0.0) >= 0 else float(optimize.brentq(over, 0.0, 10 * max(level_e, 1.0), xtol=1e-9))


def _bent(camera: Camera, signal_e: float, dark_e: float, contrast: float) -> tuple[float, float, float]:
    """Means over speckle of the squared slope, alone and times the signal and its square."""
    level, weights = _speckle(contrast)
    signal = signal_e * level
    slope2 = np.square(camera.response_slope(dark_e + signal)) * weights
    return float(slope2.sum()), float(slope2 @ signal), float(slope2 @ np.square(signal))


def _saturation(mean: float, limit: float, contrast: float) -> float:
    """Probability that a gamma-distributed intensity of that mean and contrast exceeds `limit`."""
    if limit <= 0:
        return 1.0
    if mean <= 0 or math.isinf(limit):
        return 0.0
    if contrast == 0:
        return float(mean > limit)
    shape = contrast**-2
    return float(special.gammaincc(shape, shape * limit / mean))
