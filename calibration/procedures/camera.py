"""The camera by the photon-transfer method of EMVA standard 1288, from dark frames and flat fields."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import validation
from opusim.base.short_repr import short_repr
from opusim.base.warn import warn_outside
from opusim.bench.protocol import Exposing, Lamp, LitCamera, checked_bench, elapsed_s
from opusim.bench.region import AnyRoi, Roi
from opusim.bench.returned import flat_frames
from opusim.calibration.algorithms.camera_statistics import (
    Estimate,
    FrameStatistics,
    bend,
    gain_fit,
    gather,
    hot_pixels,
    line,
    linearity,
    noise_quantile,
    proportional,
    relative_deviations,
    root_interval,
    spatial_variance,
    spread_of_rises,
    variance_components,
)
from opusim.calibration.contents import held
from opusim.calibration.on_bench import dark_frames

from .base import EXPOSURE, LONGEST, Procedure, Progress, Row, checked_confidence

if TYPE_CHECKING:
    from opusim.calibration.session import Calibration
    from opusim.device.record import Device

__all__ = ["CameraRecord", "characterise_camera"]

Interval = tuple[float, float]

# EMVA 1288 release 4, 6.6: the gain from levels up to 70 % of saturation; 6.7: linearity from 5 % to 95 %.
_GAIN_TO, _LINEAR_FROM, _LINEAR_TO = 0.70, 0.05, 0.95
# The last level is set to 95 % by the slope of faint light. Of a curve it may come out above this, where pixels clip.
_LINEAR_END = 0.97
# EMVA 1288, 6.5: below a dark variance of .24 DN^2 rounding rules, and the read noise is only known to be below .4 DN.
_LEAST_DARK_VARIANCE, _LEAST_READ_NOISE_DN = 0.24, 0.40
_DARK_EXPOSURES = 6
# Light from which the search for saturation starts, and at which it ends, in photons per pixel.
_FAINTEST, _BRIGHTEST = 4.0, 1e9
# A pixel that far above 0, in standard deviations, is not clipped.
_ABOVE_ZERO = 3.0
_LEAST_SIGNIFICANCE = 3.0
_LEAST_PIXELS = 64
# What is told of the dark where rounding hides its noise, if it is more than that.
_SEEN_DN = 0.01
# Share of the pixels whose read noise is below the one that is told.
_TAIL = 0.99
# Where a camera that never clips is measured: shot noise of 1 %.
_UNCLIPPED_PHOTONS = 1e4


@short_repr
@dataclass(frozen=True)
class CameraRecord:
    """A camera's figures with their confidence intervals, and the photon-transfer curve they come from.

    Parameters
    ----------
    gain_dn_per_e, gain_interval : float, tuple of float
        System gain K in DN per electron.
    quantum_efficiency, quantum_efficiency_interval : float, tuple of float
        Electrons per photon.
    read_noise_e, read_noise_interval : float, tuple of float
        Temporal dark noise of one frame at `exposure_s` in electrons, root mean square over the pixels, rounding and
        dark current's shot noise taken off.
    read_noise_dn : float
        The same in DN.
    dark_current_e_per_s, dark_current_interval : float, tuple of float
        Dark current of ordinary pixels, in electrons per second.
    saturation_e, saturation_interval : float, tuple of float
        Electrons at which a pixel saturates, the dark signal not counted; inf if it does not.
    saturation_by : str
        "full scale": counts end before the full well is reached, which then is at least `saturation_e`;
        "full well": the well is full before counts end; "none".
    saturation_dn : float
        Level of a saturated pixel in DN.
    linearity_error, linearity_interval : float, tuple of float
        Mean deviation of the level from a line through the dark level, relative to it, from 5 % to 95 % of saturation,
        as a share.
    prnu, prnu_interval : float, tuple of float
        Standard deviation of the relative response over the pixels, as a share: rows, columns and pixels together.
    dsnu_e, dsnu_interval : float, tuple of float
        The same of the dark level, in electrons, at `exposure_s`.
    dsnu_dn : float
        The same in DN.
    dark_level_dn : float
        Mean level without light at `exposure_s`, in DN.
    dark_clipped_share : float
        Share of dark counts that are 0. Above some tenths of a per cent DSNU and read noise come out too small, and the
        black level should be raised.
    hot_pixels : ndarray of int64, shape (n, 2)
        (row, column) on the sensor of pixels whose dark current is far above that of the others.
    confidence : float
        Probability with which each interval alone holds the true value.
    exposure_s : float
        Exposure of the flat fields, in seconds.
    roi : tuple of int
        Region measured: row, column, n_rows, n_columns.
    frames_per_level : int
        Frames of each level.
    photons : ndarray of float64, shape (n,)
        Mean photons per pixel of each level; 0 first.
    level_dn : ndarray of float64, shape (n,)
        Mean level of each, dark level included.
    variance_dn2 : ndarray of float64, shape (n,)
        Temporal variance of each.
    dark_exposures_s, dark_levels_dn : ndarray of float64, shape (m,)
        Mean dark level of ordinary pixels against exposure.
    elapsed_s : float
        Device time at the end, in seconds.
    dsnu_row_e, dsnu_column_e, dsnu_pixel_e : float or None
        Parts of `dsnu_e`: what a row has in common, what a column has, and what each pixel has alone. Their squares add
        up. None, as all below, in files from before they were found; these and those of `prnu` also where the region
        has fewer than 8 rows or columns.
    dsnu_row_interval, dsnu_column_interval, dsnu_pixel_interval : tuple of float, or None
        Their intervals.
    prnu_row, prnu_column, prnu_pixel : float or None
        The same parts of `prnu`.
    prnu_row_interval, prnu_column_interval, prnu_pixel_interval : tuple of float, or None
        Their intervals.
    linearity_least, linearity_most : float or None
        Least and largest deviation of the level from the line of EMVA 1288 release 4, relative to it, from 5 % to 95 %
        of saturation, as shares: LE_min and LE_max of the standard.
    nonlinearity, nonlinearity_interval : float, tuple of float, or None
        Integral non-linearity: largest deviation of the level from the line between the ends of the scale, as a share
        of the scale, positive above the line; of the parabola that fits best.
    dark_current_spread_e_per_s, dark_current_spread_interval : float, tuple of float, or None
        Standard deviation of the dark current over ordinary pixels, in electrons per second, from what their dark
        signal rises by between the shortest and the longest exposure.
    dark_dsnu_e : ndarray of float64, shape (m,), or None
        DSNU of ordinary pixels in electrons, at each of `dark_exposures_s`.
    read_noise_median_e : float or None
        Median over the pixels of the temporal dark noise, in electrons.
    read_noise_99_e, read_noise_99_normal_e : float or None
        What 99 % of the pixels are below, by their own few dark frames; and what it would be if all pixels had the
        noise of the median. One far above the other is a tail: pixels with random telegraph noise.
    """

    gain_dn_per_e: float = held(low=0.0, low_open=True)
    gain_interval: Interval = held(shape=(2,))
    quantum_efficiency: float = held()
    quantum_efficiency_interval: Interval = held(shape=(2,))
    read_noise_e: float = held(low=0.0)
    read_noise_interval: Interval = held(shape=(2,))
    read_noise_dn: float = held(low=0.0)
    dark_current_e_per_s: float = held()
    dark_current_interval: Interval = held(shape=(2,))
    saturation_e: float = held(inf=True)
    saturation_interval: Interval = held(shape=(2,), inf=True)
    saturation_by: str = held(choices=("full scale", "full well", "none"))
    saturation_dn: float = held(inf=True)
    linearity_error: float = held()
    linearity_interval: Interval = held(shape=(2,))
    prnu: float = held()
    prnu_interval: Interval = held(shape=(2,))
    dsnu_e: float = held(low=0.0)
    dsnu_interval: Interval = held(shape=(2,))
    dsnu_dn: float = held(low=0.0)
    dark_level_dn: float = held()
    dark_clipped_share: float = held(low=0.0, high=1.0)
    hot_pixels: np.ndarray = held(low=0.0, shape=("hot", 2), of="whole")
    confidence: float = held(low=0.0, high=1.0)
    exposure_s: float = held(low=0.0, low_open=True)
    roi: Roi = held(low=0.0, shape=(4,), of="whole")
    frames_per_level: int = held(low=1.0, of="whole")
    photons: np.ndarray = held(low=0.0, shape=("levels",), of="number")
    level_dn: np.ndarray = held(shape=("levels",), of="number")
    variance_dn2: np.ndarray = held(shape=("levels",), of="number")
    dark_exposures_s: np.ndarray = held(low=0.0, low_open=True, shape=("darks",), of="number")
    dark_levels_dn: np.ndarray = held(shape=("darks",), of="number")
    elapsed_s: float = held()
    dsnu_row_e: float | None = held(low=0.0, later=None)
    dsnu_column_e: float | None = held(low=0.0, later=None)
    dsnu_pixel_e: float | None = held(low=0.0, later=None)
    dsnu_row_interval: Interval | None = held(shape=(2,), later=None)
    dsnu_column_interval: Interval | None = held(shape=(2,), later=None)
    dsnu_pixel_interval: Interval | None = held(shape=(2,), later=None)
    prnu_row: float | None = held(low=0.0, later=None)
    prnu_column: float | None = held(low=0.0, later=None)
    prnu_pixel: float | None = held(low=0.0, later=None)
    prnu_row_interval: Interval | None = held(shape=(2,), later=None)
    prnu_column_interval: Interval | None = held(shape=(2,), later=None)
    prnu_pixel_interval: Interval | None = held(shape=(2,), later=None)
    linearity_least: float | None = held(later=None)
    linearity_most: float | None = held(later=None)
    nonlinearity: float | None = held(later=None)
    nonlinearity_interval: Interval | None = held(shape=(2,), later=None)
    dark_current_spread_e_per_s: float | None = held(low=0.0, later=None)
    dark_current_spread_interval: Interval | None = held(shape=(2,), later=None)
    dark_dsnu_e: np.ndarray | None = held(low=0.0, shape=("darks",), of="number", later=None)
    read_noise_median_e: float | None = held(low=0.0, later=None)
    read_noise_99_e: float | None = held(low=0.0, later=None)
    read_noise_99_normal_e: float | None = held(low=0.0, later=None)

    @property
    def below_rounding(self) -> bool:
        """Whether rounding hides the dark noise, so that intervals do not hold: its read noise has no lower end."""
        low, high = self.read_noise_interval
        hidden = low == 0 and high * self.gain_dn_per_e >= _LEAST_READ_NOISE_DN * (1 - 1e-9)
        return hidden and float(self.variance_dn2[0]) < _LEAST_DARK_VARIANCE


def characterise_camera(
    bench: LitCamera,
    *,
    roi: AnyRoi | None = None,
    exposure_s: float = 400e-6,
    levels: int = 20,
    frames_per_level: int = 8,
    dark_frames_per_exposure: int = 32,
    longest_dark_s: float = 1.0,
    confidence: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> CameraRecord:
    """Measure a camera's gain, noise, dark current, saturation, linearity and fixed patterns of rows, columns, pixels.

    Parameters
    ----------
    bench : LitCamera
        The bench, with a `flat_field` of known light.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default. Intervals shrink as the root of its pixels.
    exposure_s : float, optional
        Exposure of every frame but the long dark ones, in seconds. The light is changed, not the exposure.
    levels : int, optional
        Levels of light, at equal distances up to 95 % of saturation; EMVA 1288 asks for 50, from 8 on it works.
    frames_per_level : int, optional
        Frames of each level, at least 2.
    dark_frames_per_exposure : int, optional
        Dark frames of each of 6 exposures, at least 2.
    longest_dark_s : float, optional
        Longest exposure in the dark, in seconds; the dark current shows in it.
    confidence : float, optional
        Probability with which each interval is to hold the true value.
    progress : callable, optional
        Told (done, total) levels.

    Returns
    -------
    CameraRecord
        What was found, with intervals.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, the flat field gives no light or is saturated throughout, or its noise
        does not grow with the light.

    Warns
    -----
    UserWarning
        If rounding hides the dark noise, so that intervals do not hold (`CameraRecord.below_rounding`).

    Notes
    -----
    EMVA 1288 release 4. Temporal variance from the differences of frames, with the change of their means taken off
    (eq. 18, for two frames); gain K as the slope of the variance against the level up to 70 % of saturation (6.6),
    here a weighted fit; read noise from sigma_y.dark^2 = K^2 sigma_d^2 + 1/12 DN^2; spatial variance of mean images
    with the temporal part removed (8.2), after a second-degree surface (an uneven lamp) is taken off, and its parts of
    rows, columns and pixels from the variances of the means of rows and of columns; DSNU from
    dark frames, PRNU from the level nearest to half of saturation. Unlike the standard, PRNU is found from the
    difference of bright and dark mean images: the same expected value, but the dark pattern cancels in each pixel.

    The read noise is found from pixels that stand well above 0 in the dark, so that clipping does not bend it: choosing
    pixels by their mean leaves their variance as it is. Where the level is not straight, the gain is the slope of the
    variance against a curve, as the standard has it too, and differs from that of a dark pixel by some times the
    non-linearity.

    Lag is not seen: the light of each level is there before its first frame, and electrons that are left for the next
    frame, each by itself, leave mean and variance as they are.
    """
    rectangle = _checked_roi(bench, roi)
    validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True)
    validation.integer("levels", levels, low=8, high=10_000)
    validation.integer("frames_per_level", frames_per_level, low=2)
    validation.integer("dark_frames_per_exposure", dark_frames_per_exposure, low=2)
    validation.number("longest_dark_s", longest_dark_s, low=2 * exposure_s, high=3600.0)
    quantile = checked_confidence(confidence)
    dark_exposures = np.geomspace(exposure_s, longest_dark_s, _DARK_EXPOSURES)
    tell = progress or (lambda done, total: None)
    total = levels + _DARK_EXPOSURES + 1

    darks = []
    for i, time_s in enumerate(dark_exposures):
        darks.append(gather(dark_frames(bench, float(time_s), dark_frames_per_exposure, rectangle)))
        tell(i + 1, total)
    dark, ordinary = darks[0], ~hot_pixels(darks[0], darks[-1])
    dark_levels = np.array([d.mean_image[ordinary].mean() for d in darks])

    top = _saturation(bench, exposure_s, rectangle, dark)
    tell(_DARK_EXPOSURES + 1, total)
    if dark_levels[-1] > (dark.mean + top.level_dn) / 2:
        raise ValueError(
            f"longest_dark_s is {longest_dark_s!r}, but in that time the dark current alone fills half of the "
            f"range, to {dark_levels[-1]:.4g} DN: it must be shorter."
        )
    photons = top.photons * _LINEAR_TO * np.arange(1, levels + 1) / levels
    lit = []
    for i, light in enumerate(photons):
        frames = flat_frames(bench, float(light), exposure_s=exposure_s, n_frames=frames_per_level, roi=rectangle)
        lit.append(gather(frames))
        tell(_DARK_EXPOSURES + 2 + i, total)

    curve = _Curve(photons, photons / top.photons, lit, dark, ordinary, dark_exposures, dark_levels, darks, quantile)
    patterns = _patterns(curve)
    record = CameraRecord(
        **_temporal(curve, top, patterns),
        **patterns.fields(),
        **_linear(curve, top),
        **_dark(curve),
        **_tail(curve),
        dark_level_dn=dark.mean,
        dark_clipped_share=dark.zero_share if dark.integers else 0.0,
        hot_pixels=np.argwhere(~ordinary) + np.array(rectangle[:2]),
        confidence=float(confidence),
        exposure_s=float(exposure_s),
        roi=rectangle,
        frames_per_level=frames_per_level,
        photons=np.concatenate([[0.0], photons]),
        level_dn=np.array([s.mean for s in (dark, *lit)]),
        variance_dn2=np.array([s.variance for s in (dark, *lit)]),
        dark_exposures_s=dark_exposures,
        dark_levels_dn=dark_levels,
        elapsed_s=elapsed_s(bench),
    )
    if record.below_rounding:
        warn_outside(
            f"The dark noise of this camera has a variance of {record.variance_dn2[0]:.3g} DN^2. Below "
            f"{_LEAST_DARK_VARIANCE} DN^2 (EMVA 1288, 6.5) rounding hides it: gain, quantum efficiency and what is "
            "told in electrons are biased by more than their intervals say, and what is not seen in the dark may be "
            "there."
        )
    return record


@dataclass(frozen=True)
class _Top:
    """Where the camera ends: level in DN, photons that reach it, and what ends it."""

    level_dn: float
    photons: float
    by: str


@dataclass(frozen=True)
class _Curve:
    """The measurements, and the gain that follows from them."""

    photons: np.ndarray
    share: np.ndarray  # of saturation
    lit: list[FrameStatistics]
    dark: FrameStatistics
    ordinary: np.ndarray
    dark_exposures: np.ndarray
    dark_levels: np.ndarray
    darks: list[FrameStatistics]
    quantile: float

    @property
    def signal(self) -> np.ndarray:
        return np.array([s.mean for s in self.lit]) - self.dark.mean

    def straight(self, top: _Top) -> np.ndarray:
        """Which levels are asked for linearity: from 5 % to 95 % of saturation."""
        end = top.level_dn - self.dark.mean
        return (self.share >= _LINEAR_FROM) & (self.signal <= _LINEAR_END * end)

    def gain(self) -> tuple[float, float, float]:
        """System gain in DN per electron, its standard error, and its derivative by the dark variance."""
        used = self.share <= _GAIN_TO
        variance, dof = np.array([s.variance for s in self.lit]), np.array([s.dof for s in self.lit])
        gain, error, follows = gain_fit(
            self.signal[used], variance[used], dof[used], *self.dark.variance_above(_ABOVE_ZERO)
        )
        if not gain > _LEAST_SIGNIFICANCE * error:
            raise ValueError(
                "The noise of the flat field does not grow with its light, so the gain cannot be found: the camera has "
                "no shot noise, or the region has too few pixels."
            )
        return gain, error, follows

    def around(self, value: float, error: float, least: float = -math.inf) -> Interval:
        return max(value - self.quantile * error, least), value + self.quantile * error


def _temporal(curve: _Curve, top: _Top, patterns: _Patterns) -> dict[str, Any]:
    """Gain, response, read noise, dark current, saturation and linearity."""
    dark, quantile = curve.dark, curve.quantile
    gain, gain_error, follows = curve.gain()
    relative = gain_error / gain

    slope, slope_error = line(curve.dark_exposures, curve.dark_levels, np.array([d.mean_error for d in curve.darks]))
    current = slope / gain
    # The mean of the region differs from that of the sensor by the spread over the root of its pixels.
    spread, _ = _spread(curve).root(gain)
    spread /= float(curve.dark_exposures[-1] - curve.dark_exposures[0]) * math.sqrt(curve.ordinary.sum())
    current_error = math.sqrt((slope_error / gain) ** 2 + (current * relative) ** 2 + spread**2)

    variance, error = dark.variance_above(_ABOVE_ZERO)
    shot = gain * max(slope, 0.0) * curve.dark_exposures[0]
    noise2 = variance - (1 / 12 if dark.integers else 0.0) - shot
    # The gain follows the dark variance (downwards), so its error counts once, with both effects.
    own = math.sqrt(max(gain_error**2 - (follows * error) ** 2, 0.0)) / gain
    low, high = _in_electrons(noise2, error * (1 - 2 * noise2 * follows / gain), gain, own, quantile)
    if dark.integers and variance < _LEAST_DARK_VARIANCE:
        low, high = 0.0, max(high, _LEAST_READ_NOISE_DN / gain)
    read_dn = math.sqrt(max(noise2, 0.0))

    straight = curve.straight(top)
    light, signal = curve.photons[straight], curve.signal[straight]
    errors = np.array([math.hypot(s.mean_error, dark.mean_error) for s in curve.lit])[straight]
    response, response_error = proportional(light, signal, errors)
    deviation, least, most = linearity(signal, response * light, errors, quantile)
    efficiency = response / gain

    # The region's mean response and offset differ from the sensor's by the patterns over the root of its pixels.
    by_prnu, by_dsnu = patterns.of_mean("prnu"), patterns.of_mean("dsnu")
    saturation = (top.level_dn - dark.mean) / gain
    saturation_error = math.hypot(saturation * relative, by_dsnu) if math.isfinite(saturation) else 0.0
    return {
        "gain_dn_per_e": gain,
        "gain_interval": curve.around(gain, gain_error),
        "quantum_efficiency": efficiency,
        "quantum_efficiency_interval": curve.around(
            efficiency, efficiency * math.hypot(relative, response_error / response, by_prnu)
        ),
        "read_noise_e": read_dn / gain,
        "read_noise_interval": (low, high),
        "read_noise_dn": read_dn,
        "dark_current_e_per_s": current,
        "dark_current_interval": curve.around(current, current_error, 0.0),
        "saturation_e": saturation,
        "saturation_interval": curve.around(saturation, saturation_error),
        "saturation_by": top.by,
        "saturation_dn": top.level_dn,
        "linearity_error": deviation,
        "linearity_interval": (least, most),
    }


@dataclass(frozen=True)
class _Patterns:
    """DSNU in electrons and PRNU as a share: of all pixels, and of rows, columns and pixels where they can be told."""

    dsnu: dict[str, tuple[float, Interval]]
    prnu: dict[str, tuple[float, Interval]]
    dsnu_dn: float
    shape: tuple[int, int]

    def fields(self) -> dict[str, Any]:
        """Return what a record holds of them."""
        found: dict[str, Any] = {"dsnu_dn": self.dsnu_dn}
        for name, unit in (("dsnu", "_e"), ("prnu", "")):
            for part, (value, interval) in getattr(self, name).items():
                found[f"{name}{part}{unit}"], found[f"{name}{part}_interval"] = value, interval
        return found

    def of_mean(self, name: str) -> float:
        """Return by how much the mean of the region differs from that of the sensor, rms, by a pattern."""
        parts, (rows, columns) = getattr(self, name), self.shape
        if "_row" not in parts:
            return float(parts[""][0]) / math.sqrt(rows * columns)
        by_row, by_column, by_pixel = (parts[part][0] ** 2 for part in ("_row", "_column", "_pixel"))
        return math.sqrt(by_row / rows + by_column / columns + by_pixel / (rows * columns))


def _patterns(curve: _Curve) -> _Patterns:
    """PRNU and DSNU."""
    dark, quantile = curve.dark, curve.quantile
    gain, gain_error, _ = curve.gain()
    dark_part = dark.variance / dark.frames
    half = int(np.argmin(np.abs(curve.share - 0.5)))
    lit, signal = curve.lit[half], float(curve.signal[half])
    response = _squares(lit.mean_image - dark.mean_image, lit.variance / lit.frames + dark_part, quantile)
    offset = _squares(dark.mean_image, dark_part, quantile, leave_out=~curve.ordinary)
    return _Patterns(
        {part: one.root(gain, quantile * gain_error / gain) for part, one in offset.items()},
        {part: one.root(signal) for part, one in response.items()},
        math.sqrt(max(offset[""].square, 0.0)),
        (dark.mean_image.shape[0], dark.mean_image.shape[1]),
    )


def _squares(
    image: np.ndarray, temporal: float, quantile: float, *, leave_out: np.ndarray | None = None
) -> dict[str, Estimate]:
    """Return the spatial variance of an image, under "", and its parts by the endings that names of them have."""
    parts = variance_components(image, temporal, quantile, leave_out=leave_out)
    if parts is None:  # too few rows or columns
        square, error = spatial_variance(image, temporal, leave_out=leave_out)
        return {"": Estimate(square, (square - quantile * error, square + quantile * error))}
    return {"": parts.total, "_row": parts.row, "_column": parts.column, "_pixel": parts.pixel}


def _linear(curve: _Curve, top: _Top) -> dict[str, Any]:
    """Deviations from a straight line."""
    straight = curve.straight(top)
    light, signal = curve.photons[straight], curve.signal[straight]
    deviations = relative_deviations(light, signal)
    errors = np.array([math.hypot(s.mean_error, curve.dark.mean_error) for s in curve.lit])[straight]
    end = top.level_dn - curve.dark.mean
    if not math.isfinite(end):  # a camera without an end has one where it was measured last
        end = float(curve.signal[-1])
    value, error = bend(light, signal, errors, end)
    return {
        "linearity_least": float(deviations.min()),
        "linearity_most": float(deviations.max()),
        "nonlinearity": value,
        "nonlinearity_interval": curve.around(value, error),
    }


def _spread(curve: _Curve) -> Estimate:
    """Variance of the rise of the dark signal over ordinary pixels, in DN^2."""
    return spread_of_rises(curve.darks[0], curve.darks[-1], curve.quantile, leave_out=~curve.ordinary)


def _dark(curve: _Curve) -> dict[str, Any]:
    """Spread of the dark current, and DSNU against the exposure."""
    gain, gain_error, _ = curve.gain()
    rising_s = float(curve.dark_exposures[-1] - curve.dark_exposures[0])
    value, interval = _spread(curve).root(gain * rising_s, curve.quantile * gain_error / gain)
    squares = [
        _squares(one.mean_image, one.variance / one.frames, curve.quantile, leave_out=~curve.ordinary)[""].square
        for one in curve.darks
    ]
    return {
        "dark_current_spread_e_per_s": value,
        "dark_current_spread_interval": interval,
        "dark_dsnu_e": np.sqrt(np.maximum(squares, 0.0)) / gain,
    }


def _tail(curve: _Curve) -> dict[str, Any]:
    """How the read noise is distributed over the pixels."""
    dark = curve.dark
    gain, _, _ = curve.gain()
    slope, _ = line(curve.dark_exposures, curve.dark_levels, np.array([d.mean_error for d in curve.darks]))
    beside = (1 / 12 if dark.integers else 0.0) + gain * max(slope, 0.0) * float(curve.dark_exposures[0])

    def in_electrons(variance: float) -> float:
        return math.sqrt(max(variance - beside, 0.0)) / gain

    middle, found, normal = noise_quantile(dark, _TAIL)
    return {
        "read_noise_median_e": in_electrons(middle),
        "read_noise_99_e": in_electrons(found),
        "read_noise_99_normal_e": in_electrons(normal),
    }


def _in_electrons(square: float, error: float, gain: float, relative: float, quantile: float) -> Interval:
    """Interval of a standard deviation in electrons, from its square in DN^2 and the gain, both with an error."""
    return root_interval(square / gain**2, math.hypot(error, 2 * relative * square) / gain**2, quantile)


def _saturation(bench: LitCamera, exposure_s: float, roi: AnyRoi, dark: FrameStatistics) -> _Top:
    """Raise the light until the level no longer follows."""
    light, last = _FAINTEST, 0.0
    seen: list[tuple[float, float]] = []
    while light <= _BRIGHTEST:
        frames = flat_frames(bench, light, exposure_s=exposure_s, n_frames=2, roi=roi)
        signal = float(frames.mean(dtype=np.float64)) - dark.mean
        noise = math.sqrt(float(np.var(frames)) / frames.size) + dark.mean_error
        visible = signal > 10 * noise
        if visible and last and signal < 1.02 * last:
            below = [(p, s) for p, s in seen if s < 0.6 * signal]
            if not below:
                raise ValueError(
                    f"The flat field is saturated already with {_FAINTEST:g} photons a pixel, so that no photon "
                    "transfer can be measured."
                )
            # The brightest light that is not near the end tells how much light fills the range.
            photons, level = below[-1]
            highest = frames.max()
            code = int(highest) + 1
            ends = float(np.mean(frames == highest)) > 0.99 and code & (code - 1) == 0
            by = "full scale" if frames.dtype.kind in "iu" and ends else "full well"
            return _Top(signal + dark.mean, photons * signal / level, by)
        if visible:
            seen.append((light, signal))
            last = signal
        light *= 4
    if not seen:
        raise ValueError("The flat field gives no light: its frames are as dark as dark frames.")
    return _Top(math.inf, _UNCLIPPED_PHOTONS, "none")


def _checked_roi(bench: LitCamera, roi: AnyRoi | None) -> Roi:
    """Return the region after checking the bench and that there are pixels enough."""
    checked_bench(bench, Exposing, Lamp)
    region = Roi.whole(bench.sensor_shape) if roi is None else Roi(*map(int, roi))
    if region.n_pixels < _LEAST_PIXELS:
        raise ValueError(f"roi is {roi!r}, but it must hold at least {_LEAST_PIXELS} pixels.")
    return region


class CameraProcedure(Procedure):
    """The photon transfer of the camera."""

    name = "camera"
    title = "The camera by photon transfer: gain, noise, dark current, linearity, hot pixels."
    records = (CameraRecord,)
    order = 20.0
    needs_lamp = True
    options = (EXPOSURE, LONGEST)

    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Change the light, not the exposure."""
        asked = session.options["exposure_s"]
        exposure: dict[str, Any] = {} if asked is None else {"exposure_s": asked}
        if (longest_s := session.options["longest_s"]) is not None:
            exposure["longest_dark_s"] = longest_s
        bench: Any = session.bench  # whether it has a lamp is asked there
        return {"camera": characterise_camera(bench, roi=session.roi, progress=progress, **exposure)}

    def summary(self, record: CameraRecord, device: Device | None = None) -> list[Row]:
        """Say in a few rows what a record holds."""
        camera = None if device is None else device.camera

        def with_interval(value: float, interval: tuple[float, float], scale: float = 1.0, unit: str = "") -> str:
            low, high = interval
            if record.below_rounding:
                return f"{scale * value:.4g}{unit}"
            return f"{scale * value:.4g} ({scale * low:.4g} to {scale * high:.4g}){unit}"

        def in_the_dark(value: float, interval: tuple[float, float], unit: str) -> str:
            # Pixels that all read the same count tell nothing of what is below a level.
            if record.below_rounding and value * record.gain_dn_per_e < _SEEN_DN:
                return "not seen"
            return with_interval(value, interval, 1, unit)

        def own(name: str, scale: float = 1.0) -> str:
            return "" if camera is None else f"{scale * getattr(camera, name):.4g}"

        def parts(
            name: str, own: tuple[str, str, str], scale: float = 1.0, *, ending: str = "", unit: str
        ) -> list[Row]:
            found = [getattr(record, f"{name}_{part}{ending}") for part in ("row", "column", "pixel")]
            if None in found:
                return []
            values = ", ".join(f"{scale * value:.3g}" for value in found) + unit
            truth = "" if camera is None else ", ".join(f"{scale * getattr(camera, one):.3g}" for one in own)
            return [(f"{name.upper()} of rows, columns, pixels", values, truth)]

        top = record.saturation_e
        # The record's is that of all pixels together: of rows and columns too, and of dark currents.
        dsnu = "" if camera is None else f"{camera.total_dsnu_e(record.exposure_s):.4g}"
        rows: list[Row] = [
            (
                "gain",
                with_interval(record.gain_dn_per_e, record.gain_interval, 1, " DN/e"),
                own("gain_dn_per_e"),
            ),
            (
                "quantum efficiency",
                with_interval(record.quantum_efficiency, record.quantum_efficiency_interval),
                own("quantum_efficiency"),
            ),
            (
                "read noise",
                f"not seen: below {record.read_noise_interval[1]:.3g} e"
                if record.below_rounding
                else with_interval(record.read_noise_e, record.read_noise_interval, 1, " e"),
                own("temporal_dark_noise_e"),
            ),
        ]
        if record.read_noise_99_e is not None and not record.below_rounding:
            rows.append(
                (
                    "read noise of pixels",
                    f"half below {record.read_noise_median_e:.3g}, 99 % below {record.read_noise_99_e:.3g} e "
                    f"({record.read_noise_99_normal_e:.3g} if all were alike)",
                    "",
                )
            )
        rows.append(
            (
                "dark current",
                in_the_dark(record.dark_current_e_per_s, record.dark_current_interval, " e/s"),
                own("mean_dark_current_e_per_s"),
            )
        )
        if record.dark_current_spread_e_per_s is not None and record.dark_current_spread_interval is not None:
            rows.append(
                (
                    "dark current differs by",
                    in_the_dark(record.dark_current_spread_e_per_s, record.dark_current_spread_interval, " e/s"),
                    own("dark_current_deviation_e_per_s"),
                )
            )
        rows += [
            ("saturation", f"{top:.4g} e, by {record.saturation_by}" if math.isfinite(top) else "none", ""),
            (
                "PRNU",
                with_interval(record.prnu, record.prnu_interval, 100, " %"),
                own("total_prnu", 100),
            ),
            *parts("prnu", ("prnu_row", "prnu_column", "prnu"), 100, unit=" %"),
            (
                "DSNU",
                in_the_dark(record.dsnu_e, record.dsnu_interval, " e"),
                dsnu,
            ),
            *(
                []
                if record.below_rounding
                else parts("dsnu", ("dsnu_row_e", "dsnu_column_e", "dsnu_e"), ending="_e", unit=" e")
            ),
            ("linearity error", f"{100 * record.linearity_error:.2g} %", ""),
        ]
        if record.linearity_least is not None and record.linearity_most is not None:
            ends = f"{100 * record.linearity_least:.2g} to {100 * record.linearity_most:.2g} %"
            rows.append(("linearity, EMVA 1288", ends, ""))
        if record.nonlinearity is not None and record.nonlinearity_interval is not None:
            rows.append(
                (
                    "non-linearity",
                    with_interval(record.nonlinearity, record.nonlinearity_interval, 100, " %"),
                    own("nonlinearity", 100),
                )
            )
        return [
            *rows,
            ("hot pixels", f"{len(record.hot_pixels)} of {record.roi[2] * record.roi[3]:,}", ""),
            ("intervals", "none: rounding hides the dark noise, and biases gain and quantum efficiency", "")
            if record.below_rounding
            else ("intervals hold with", f"{100 * record.confidence:g} %, each alone", ""),
        ]
